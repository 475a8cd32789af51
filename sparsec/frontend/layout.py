"""The memory order of new arrays. NumPy keeps the operands' order (order="K"); views of the result show it.

NumPy's own iterator is asked, on arrays whose memory is never touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsec.errors import ShapeError
from sparsec.frontend.locate import user_loc
from sparsec.ir.dims import Dim, evaluate, symbols

if TYPE_CHECKING:
    from sparsec.frontend.array import Traced


#: Axes that an array may have.
MAX_RANK = 32


class _Layout:
    """An array with real strides and no memory."""

    def __init__(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.__array_interface__ = {
            "version": 3, "data": (1 << 40, False), "shape": shape, "strides": strides, "typestr": "|u1",
        }


def phantom(array: Traced) -> np.ndarray[Any, Any]:
    """A byte array laid out as `array` is, to ask NumPy about its layout; never to be read."""
    ref = array.type.ref
    assert ref is not None
    return np.asarray(_Layout(_sample(array.shape), _sample(ref.strides)))


def _sample(dims: Sequence[Dim]) -> tuple[int, ...]:
    """Symbolic dims as some number above 1: the order of axes does not depend on which."""
    return tuple(evaluate(d, {s.name: 7 for s in symbols(d)}) for d in dims)


def order_like(arrays: Sequence[Traced], shape: tuple[int, ...], order: str = "K") -> tuple[int, ...] | None:
    """The axis permutation (outermost first) in which NumPy would lay out a new array of `shape`.

    None means C order. `order` is NumPy's: C, F, A or K.
    """
    if order not in ("C", "F", "A", "K", None):
        raise ShapeError(f"order must be one of 'C', 'F', 'A', or 'K' (got {order!r})", loc=user_loc())
    if order == "C" or len(shape) < 2:
        return None
    reverse = tuple(reversed(range(len(shape))))
    if order == "F":
        return reverse
    laid = [a for a in arrays if not a.is_scalar and a.ndim]
    if order == "A":
        return reverse if laid and all(phantom(a).flags.fnc for a in laid) else None
    if all(a.c_contiguous for a in laid) or 0 in shape:
        return None
    operands: Any = [*(phantom(a) for a in laid), None]
    flags: Any = [*([["readonly"]] * len(laid)), ["writeonly", "allocate"]]
    iterator = np.nditer(
        operands, flags=["multi_index"], op_flags=flags,
        op_dtypes=[np.dtype("u1")] * (len(laid) + 1), itershape=_sample(shape),
    )
    strides = iterator.operands[-1].strides
    perm = tuple(sorted(range(len(shape)), key=lambda k: (-abs(strides[k]), k)))
    return None if perm == tuple(range(len(shape))) else perm
