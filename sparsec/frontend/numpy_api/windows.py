"""`np.lib.stride_tricks.sliding_window_view`: neighbourhoods as a view, no element copied."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from sparsec.errors import ShapeError
from sparsec.frontend.array import Traced
from sparsec.frontend.convert import as_traced
from sparsec.frontend.dispatch import implements
from sparsec.frontend.locate import user_loc
from sparsec.frontend.numpy_api.support import unsupported_argument
from sparsec.frontend.ufunc_methods import normalize_axis
from sparsec.ir.dims import lower_bound


@implements(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(
    x: Any, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False
) -> Traced:
    """A read-only view."""
    source = as_traced(x).as_array()
    if writeable:
        raise unsupported_argument("np.lib.stride_tricks.sliding_window_view", "writeable=True")
    size = tuple(operator.index(n) for n in (window_shape if isinstance(window_shape, Iterable) else (window_shape,)))
    if any(n < 0 for n in size):
        raise ShapeError("`window_shape` cannot contain negative values", loc=user_loc())
    axes = tuple(range(source.ndim)) if axis is None else tuple(
        normalize_axis(k, source.ndim) for k in (axis if isinstance(axis, Iterable) else (axis,))
    )
    if len(size) != len(axes):
        raise ShapeError(
            f"window_shape has {len(size)} sizes for {len(axes)} axes: NumPy wants one for each", loc=user_loc()
        )
    rest = list(source.type.shape)
    for k, n in zip(axes, size):
        rest[k] = rest[k] - (n - 1)
    if any(isinstance(d, int) and d < 1 for d in rest):
        raise ShapeError("window shape cannot be larger than input array shape", loc=user_loc())
    if any((least := lower_bound(d)) is None or least < 1 for d in rest):
        raise unsupported_argument("np.lib.stride_tricks.sliding_window_view", "a window that may not fit")
    return source.view("windows", size=size, axes=axes, readonly="windows overlap, so they are read-only")
