"""`sparsec.constant`: a promise that arrays are never written to, kept by NumPy itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sparsec.errors import ArgumentError
from sparsec.frontend.array import Traced
from sparsec.frontend.spec import check_array
from sparsec.frontend.tree import flatten, unflatten
from sparsec.runtime.constants import fixed
from sparsec.sparse.channel import ChannelSparse

__all__ = ["constant"]


def constant(x: Any) -> Any:
    """A copy of `x` of which the elements never change.

    x: an array, a `ChannelSparse` (its data are what is fixed; its index may differ from call to call, as ever), a
        pruned weight, or a tuple, list or dict of these, such as the parameters of a network. Numbers, strings and
        None are left as they are.

    What comes back are plain NumPy arrays, of the same dtype and shape, in C order, that are read-only for good. They
    may be passed to compiled functions, captured by them, and used like any other array. A compiled function may keep
    a second copy of a weight in the order in which it reads it best (docs/sparsity.md: when, and how many bytes);
    it lives as long as the array. Copies and views of a constant are ordinary arrays.

    Raises ArgumentError for anything else, and inside a compiled function; UnsupportedDtype for dtypes that compiled
    code does not take.
    """
    leaves: list[Any] = []
    tree = flatten(x, leaves)
    made = iter([_fixed(leaf) for leaf in leaves])
    return unflatten(tree, lambda: next(made))


def _fixed(x: Any) -> Any:
    if isinstance(x, Traced):
        raise ArgumentError("sparsec.constant inside a compiled function: its arrays differ from call to call",
                            hint="make constants outside, and pass or capture them")
    if isinstance(x, np.ndarray):
        check_array(x)
        return fixed(x)
    if type(x) is ChannelSparse:
        check_array(x.data)
        return replace(x, data=fixed(x.data))
    if x is None or isinstance(x, (bool, int, float, complex, str, np.generic)):
        return x
    raise ArgumentError(f"sparsec.constant takes arrays, and tuples, lists or dicts of them, not {type(x).__name__}")
