"""The memory order of new arrays. NumPy keeps the operands' order (order="K"); views of the result show it.

NumPy itself is asked: the function is called on tiny stand-ins, arrays of the same layout in which every axis
longer than 1 has length 2. The order of a result's axes depends on nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsec.errors import ShapeError
from sparsec.frontend.locate import user_loc
from sparsec.ir.dims import Dim, evaluate, symbols
from sparsec.ir.tensorref import contiguous_strides

if TYPE_CHECKING:
    from sparsec.frontend.array import Traced


#: Axes that an array may have.
MAX_RANK = 32

Perm = tuple[int, ...]


def in_c_order(array: Traced) -> bool:
    """Whether strides are those of C order; those of an array without elements count too."""
    return array.c_contiguous and 0 not in array.shape


def stand_in(array: Traced) -> np.ndarray[Any, Any]:
    """A tiny byte array laid out as `array` is; an axis of length 0 counts as a long one."""
    shape = _tiny(array.shape)
    ref = array.type.ref
    if ref is None or in_c_order(array):
        return np.zeros(shape, np.uint8)
    strides = _sample(ref.strides)
    reverse = tuple(reversed(array.shape))
    if tuple(reversed(strides)) == _sample(contiguous_strides(reverse)):
        return np.zeros(shape, np.uint8, order="F")
    # Equal strides stay equal, larger ones larger; nothing is contiguous by accident.
    ranks = {size: 4 ** (k + 1) for k, size in enumerate(sorted({abs(s) for s in strides} - {0}))}
    steps = [(1 if s > 0 else -1) * ranks[abs(s)] if s else 0 for s in strides]
    first = sum(-s for s, d in zip(steps, shape) if s < 0 and d > 1)
    memory = np.zeros(first + sum(s for s, d in zip(steps, shape) if s > 0 and d > 1) + 1, np.uint8)
    return np.lib.stride_tricks.as_strided(memory[first:], shape, steps)


def _sample(dims: Sequence[Dim]) -> tuple[int, ...]:
    """Symbolic dims as some number above 1: the order of axes does not depend on which."""
    return tuple(evaluate(d, {s.name: 7 for s in symbols(d)}) for d in dims)


def _tiny(dims: Sequence[Dim]) -> tuple[int, ...]:
    return tuple(1 if d == 1 else 2 for d in _sample(dims))


def order_of(result: np.ndarray[Any, Any]) -> Perm | None:
    """The axes of an array in memory order, outermost first; None for C order."""
    strides = result.strides
    perm = tuple(sorted(range(result.ndim), key=lambda k: (-abs(strides[k]), k)))
    return None if perm == tuple(range(result.ndim)) else perm


def order_of_long_axes(result: np.ndarray[Any, Any]) -> Perm | None:
    """The same, with the axes of length 1, which may stand anywhere, first."""
    perm = order_of(result) or tuple(range(result.ndim))
    long = [k for k in perm if result.shape[k] != 1]
    if long == sorted(long):
        return None
    return (*(k for k in range(result.ndim) if result.shape[k] == 1), *long)


def check_order(order: str) -> None:
    """Raises ShapeError for what is not one of NumPy's orders."""
    if order not in ("C", "F", "A", "K", None):
        raise ShapeError(f"order must be one of 'C', 'F', 'A', or 'K' (got {order!r})", loc=user_loc())


def order_of_copy(array: Traced, order: str = "K") -> Perm | None:
    """The axis order of a copy of `array` (`copy`, `astype`, `empty_like`, `sort`)."""
    check_order(order)
    if array.ndim < 2 or order == "C" or (order != "F" and in_c_order(array)):
        return None
    return order_of(np.empty_like(stand_in(array), order=order or "K"))  # type: ignore[call-overload]


def order_like(arrays: Sequence[Traced], shape: Sequence[Dim], order: str = "K") -> Perm | None:
    """The axis order of what an elementwise function of `arrays` makes; its shape is `shape`."""
    check_order(order)
    if order == "C" or len(shape) < 2:
        return None
    reverse = tuple(reversed(range(len(shape))))
    if order == "F":
        return reverse
    laid = [a for a in arrays if not a.is_scalar and a.ndim]
    if order == "A":
        return reverse if laid and all(stand_in(a).flags.fnc for a in laid) else None
    if all(map(in_c_order, laid)):
        return None
    operands = [stand_in(a) for a in laid]
    rank = max(o.ndim for o in operands)
    if len(operands) == 1 and rank == len(shape):
        return order_of(np.positive(operands[0]))
    if len(operands) == 2 and rank == len(shape):
        return order_of(np.add(*operands))
    return _iterated(operands, _tiny(shape))


def _iterated(operands: list[Any], shape: tuple[int, ...]) -> Perm | None:
    """The order that NumPy's iterator gives a new array beside these operands."""
    flags: Any = [*([["readonly"]] * len(operands)), ["writeonly", "allocate"]]
    iterator = np.nditer(
        [*operands, None], flags=["multi_index"], op_flags=flags,
        op_dtypes=[np.dtype("u1")] * (len(operands) + 1), itershape=shape,
    )
    return order_of(iterator.operands[-1])
