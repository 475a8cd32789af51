"""Grids, triangles and diagonals: arrays whose positions say what they hold; positions as numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.convert import as_traced, broadcast, cast
from sparsec.frontend.dispatch import implements
from sparsec.frontend.numpy_api.creation import literal
from sparsec.frontend.numpy_api.ranges import arange
from sparsec.frontend.numpy_api.selecting import check_range, cycled, nonzero, where
from sparsec.frontend.numpy_api.support import (
    along,
    common_shape,
    flat_index,
    index_in,
    known_array,
    made,
    new_array,
    positions,
    reshaped,
    strong,
    unsupported_argument,
)
from sparsec.frontend.trace import Trace, require_trace
from sparsec.frontend.ufuncs import store
from sparsec.ir.graph import Value
from sparsec.ir.types import BOOL, I64, DType


@implements(np.ndenumerate)
def ndenumerate(arr: Any) -> Iterator[tuple[tuple[int, ...], Any]]:
    """Positions and elements, one by one."""
    x = strong(arr)
    return ((at, x[at]) for at in np.ndindex(x.shape))


# --- diagonals and triangles -----------------------------------------------------------------------------


@implements(np.tri, creates=True)
def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = float, *, like: Any = None) -> Traced:
    trace = require_trace("np.tri")
    shape = (int(N), int(N if M is None else M))
    return made(trace, cast(trace, _lower_triangle(trace, shape, int(k)), np.dtype(dtype)), shape)


def _lower_triangle(trace: Trace, shape: tuple[int, int], k: int) -> Value:
    """True on and below the k-th diagonal."""
    below = trace.op("add", positions(trace, shape, 0), trace.const(k, I64))
    return trace.op("greater_equal", below, positions(trace, shape, 1))


def _triangle(m: Any, k: Any, lower: bool) -> Traced:
    x = strong(m)
    if x.ndim == 0:
        raise TypeError("tri() needs an array with at least one axis")
    trace = x.trace
    rows = (x.shape[0], x.shape[0]) if x.ndim == 1 else x.shape[-2:]
    mask = Traced.fresh(trace, _lower_triangle(trace, rows, int(k) - (not lower)))  # type: ignore[arg-type]
    zero = Traced.scalar(trace, trace.const(0, x.dtype))
    return where(mask, x, zero) if lower else where(mask, zero, x)  # type: ignore[no-any-return]


@implements(np.tril)
def tril(m: Any, k: int = 0) -> Traced:
    return _triangle(m, k, True)


@implements(np.triu)
def triu(m: Any, k: int = 0) -> Traced:
    return _triangle(m, k, False)


@implements(np.tril_indices_from)
def tril_indices_from(arr: Any, k: int = 0) -> tuple[Traced, ...]:
    return _static_indices(np.tril_indices, strong(arr), k)


@implements(np.triu_indices_from)
def triu_indices_from(arr: Any, k: int = 0) -> tuple[Traced, ...]:
    return _static_indices(np.triu_indices, strong(arr), k)


def _static_indices(function: Any, x: Traced, k: int) -> tuple[Traced, ...]:
    if x.ndim != 2:
        raise ValueError("input array must be 2-d")
    return tuple(literal(x.trace, i) for i in function(x.shape[0], k=int(k), m=x.shape[1]))


@implements(np.diag_indices, creates=True)
def diag_indices(n: int, ndim: int = 2) -> tuple[Traced, ...]:
    """One array, as often as there are axes."""
    return (arange(n),) * ndim


@implements(np.diag_indices_from)
def diag_indices_from(arr: Any) -> tuple[Traced, ...]:
    x = strong(arr)
    if x.ndim < 2:
        raise ValueError("input array must be at least 2-d")
    if len(set(x.shape)) > 1:
        raise ValueError("All dimensions of input must be of equal length")
    return diag_indices(x.shape[0], x.ndim)


@implements(np.fill_diagonal)
def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    x = as_traced(a)
    if x.ndim < 2:
        raise ValueError("array must be at least 2-d")
    if x.ndim > 2 and len(set(x.shape)) > 1:
        raise ValueError("All dimensions of input must be of equal length")
    if wrap and x.ndim == 2 and x.shape[0] > x.shape[1]:
        raise unsupported_argument("np.fill_diagonal", "wrap=True for a tall matrix")
    diagonal = x
    while diagonal.ndim > 1:
        diagonal = diagonal.view("diagonal", offset=0, axis1=0, axis2=diagonal.ndim - 1)
    store(x.trace, diagonal, cycled(val, x, diagonal.size))


# --- grids -----------------------------------------------------------------------------------------------


@implements(np.ix_)
def ix_(*args: Any) -> tuple[Traced, ...]:
    out = []
    for k, arg in enumerate(args):
        x = strong(arg)
        if x.ndim != 1:
            raise ValueError("Cross index must be 1 dimensional")
        if x.dtype == BOOL:
            (x,) = nonzero(x)
        elif x.size == 0:
            x = x.astype(I64)
        out.append(reshaped(x, tuple(x.size if j == k else 1 for j in range(len(args)))))
    return tuple(out)


@implements(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Traced, ...]:
    if indexing not in ("xy", "ij"):
        raise ValueError("Valid values for `indexing` are 'xy' and 'ij'.")
    ndim = len(xi)
    out = [_on_axis(strong(x), k, ndim) for k, x in enumerate(xi)]
    if indexing == "xy" and ndim > 1:
        swap = (1, 0, *range(2, ndim))
        out = [_swapped_ones(x, swap) for x in out]
    shape = common_shape(*(x.shape for x in out))
    if copy:
        target = [x.shape if sparse else shape for x in out]
        return tuple(
            made(x.trace, x.trace.op("copy", broadcast(x.trace, x.read(), s)), s) for x, s in zip(out, target)
        )
    if sparse:
        return tuple(out)
    return tuple(_broadcast_view(x, shape) for x in out)


def _broadcast_view(x: Traced, shape: tuple[int, ...]) -> Traced:
    if x.shape == shape:
        return x
    raise unsupported_argument(
        "np.meshgrid",
        "copy=False without sparse=True",
        "NumPy returns arrays here whose elements overlap, and lets them be written",
    )


def _on_axis(x: Traced, axis: int, ndim: int) -> Traced:
    return reshaped(x, tuple(x.size if j == axis else 1 for j in range(ndim)))


def _swapped_ones(x: Traced, swap: Sequence[int]) -> Traced:
    return reshaped(x, tuple(x.shape[k] for k in swap))


@implements(np.indices, creates=True)
def indices(dimensions: Any, dtype: Any = int, sparse: bool = False) -> Any:
    trace = require_trace("np.indices")
    dims, target = tuple(int(d) for d in dimensions), np.dtype(dtype)
    if sparse:
        shapes = [tuple(d if j == k else 1 for j in range(len(dims))) for k, d in enumerate(dims)]
        return tuple(made(trace, _counter(trace, s, k, target), s) for k, s in enumerate(shapes))
    result = new_array(trace, (len(dims), *dims), target)
    for k in range(len(dims)):
        store(trace, along(result, 0, k), _counter(trace, dims, k, target))
    return result


def _counter(trace: Trace, shape: tuple[int, ...], axis: int, dtype: DType) -> Value:
    return cast(trace, positions(trace, shape, axis), dtype)


# --- flat positions --------------------------------------------------------------------------------------


@implements(np.unravel_index)
def unravel_index(indices: Any, shape: Any, order: str = "C") -> tuple[Any, ...]:
    x = as_traced(indices)
    dims = _dims(shape, "np.unravel_index")
    trace = x.trace
    if x.dtype.kind not in "iu":
        raise TypeError("only int indices permitted")
    flat = cast(trace, x.read(), I64)
    size = int(np.prod(dims, dtype=np.int64))
    check_range(trace, flat, 0, size, f"index is out of bounds for array with size {size}")
    parts = flat_index(trace, flat, dims if order == "C" else dims[::-1])
    parts = parts if order == "C" else parts[::-1]
    return tuple(Traced.scalar(trace, p) if x.ndim == 0 else made(trace, p, x.shape) for p in parts)


@implements(np.ravel_multi_index)
def ravel_multi_index(multi_index: Any, dims: Any, mode: Any = "raise", order: str = "C") -> Any:
    indexes = [as_traced(i) for i in multi_index]
    sizes = _dims(dims, "np.ravel_multi_index")
    if len(indexes) != len(sizes):
        raise ValueError("parameter multi_index must be a sequence of length " + str(len(sizes)))
    trace = indexes[0].trace
    shape = np.broadcast_shapes(*(i.shape for i in indexes))
    modes = [mode] * len(sizes) if isinstance(mode, str) else list(mode)
    total: Value | None = None
    pairs = list(zip(indexes, sizes, modes))
    for index, size, how in pairs if order == "C" else pairs[::-1]:
        if index.dtype.kind not in "iu":
            raise TypeError("only int indices permitted")
        value = _coordinate(trace, index, size, how)
        value = broadcast(trace, value, shape)
        if total is not None:
            total = trace.op("mul", total, trace.const(size, I64))
            value = trace.op("add", total, value)
        total = value
    assert total is not None
    return Traced.scalar(trace, total) if shape == () else made(trace, total, shape)


def _coordinate(trace: Trace, index: Traced, size: int, mode: str) -> Value:
    if mode != "raise":
        return index_in(trace, index, size, 0, mode, "np.ravel_multi_index")
    value = cast(trace, index.read(), I64)
    check_range(trace, value, 0, size, "invalid entry in coordinates array")
    return value


def _dims(shape: Any, function: str) -> tuple[int, ...]:
    known = known_array(shape, function, "shape")
    return tuple(int(d) for d in np.atleast_1d(known))
