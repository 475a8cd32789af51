"""Sorting, search in what is sorted, and counts by class.

All sorts here are stable: equal elements (-0.0 and 0.0 too) keep their order. NumPy promises that for
`kind="stable"` only, so `argsort` without it may name equal elements in another order than NumPy does.
`partition` sorts everything, which satisfies what NumPy promises of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.convert import as_traced, cast
from sparsec.frontend.dispatch import implements
from sparsec.frontend.numpy_api.creation import empty_like
from sparsec.frontend.numpy_api.support import (
    agreed,
    axis_index,
    axis_last,
    axis_to,
    flattened,
    gathered,
    known_array,
    made,
    new_array,
    positions,
    strong,
)
from sparsec.frontend.ufuncs import store
from sparsec.ir.graph import Value
from sparsec.ir.types import F16, F32, I64

# --- sorts -----------------------------------------------------------------------------------------------


def _check_options(order: Any, kind: Any, stable: Any) -> None:
    if order is not None:
        raise ValueError("Cannot specify order when the array has no fields.")
    if kind is not None and stable is not None:
        raise ValueError(
            "`kind` and `stable` parameters can't be provided at the same time. Use only one of them."
        )
    if kind is not None and kind not in ("quicksort", "mergesort", "heapsort", "stable"):
        raise ValueError(f"sort kind must be one of 'quick', 'heap', or 'stable' (got {kind!r})")


def _ordered(x: Traced, axis: int, op: str) -> Value:
    """`sort` or `argsort` along one axis: the elements or positions, that axis last."""
    value = axis_last(x, axis).read()
    if x.dtype == F16:
        value = cast(x.trace, value, F32)
    result, _ = x.trace.ops(op, value)
    return cast(x.trace, result, F16) if x.dtype == F16 and op == "sort" else result


@implements(np.sort)
def sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Traced:
    _check_options(order, kind, stable)
    x = strong(a)
    if axis is None:
        x, axis = flattened(x), 0
    result = empty_like(x)
    _write_sorted(x, result, axis_index(axis, x.ndim))
    return result


@implements(method="sort")
def sort_method(
    x: Traced, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> None:
    _check_options(order, kind, stable)
    x.trace.check_writable(x)
    _write_sorted(x, x, axis_index(axis, x.ndim))


def _write_sorted(source: Traced, target: Traced, axis: int) -> None:
    if source.size:
        store(source.trace, axis_last(target, axis), _ordered(source, axis, "sort"))


@implements(np.argsort, method="argsort")
def argsort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Traced:
    """Equal elements in their order, whatever `kind` says."""
    _check_options(order, kind, stable)
    x = strong(a)
    if axis is None:
        x, axis = flattened(x), 0
    x = x[None] if x.ndim == 0 and axis in (0, -1) else x
    axis = axis_index(axis, x.ndim)
    result = new_array(x.trace, x.shape, I64)
    if x.size:
        store(x.trace, axis_last(result, axis), _ordered(x, axis, "argsort"))
    return result


def _check_kth(kth: Any, size: int, function: str) -> None:
    known = np.atleast_1d(known_array(kth, function, "kth"))
    if known.dtype.kind not in "iu":
        raise TypeError("Partition index must be integer")
    for k in known.ravel().tolist():
        if not -size <= k < size:
            raise ValueError(f"kth(={k}) out of bounds ({size})")


@implements(np.partition)
def partition(a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None) -> Traced:
    x = strong(a)
    if axis is None:
        x, axis = flattened(x), 0
    _check_kth(kth, x.shape[axis_index(axis, x.ndim)], "np.partition")
    return sort(x, axis, order=order)


@implements(method="partition")
def partition_method(
    x: Traced, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None
) -> None:
    _check_kth(kth, x.shape[axis_index(axis, x.ndim)], "ndarray.partition")
    sort_method(x, axis, order=order)


@implements(np.argpartition, method="argpartition")
def argpartition(a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None) -> Traced:
    x = strong(a)
    if axis is None:
        x, axis = flattened(x), 0
    _check_kth(kth, x.shape[axis_index(axis, x.ndim)], "np.argpartition")
    return argsort(x, axis, order=order)


@implements(np.sort_complex)
def sort_complex(a: Any) -> Traced:
    result = sort(a)
    if result.dtype.kind == "c":
        return result
    small = result.dtype.kind in "iu" and result.dtype.itemsize <= 2
    return result.astype("c8" if small else "c16")  # type: ignore[no-any-return]


@implements(np.lexsort)
def lexsort(keys: Any, axis: Any = -1) -> Traced:
    """A stable sort by each key in turn, the last one last."""
    columns = [strong(k) for k in keys]
    if not columns:
        raise TypeError("need sequence of keys with len > 0 in lexsort")
    if len({c.ndim for c in columns}) > 1:
        raise ValueError("all keys need to be the same shape")
    for column in columns[1:]:
        for one, other in zip(columns[0].shape, column.shape):
            agreed(column.trace, one, other, "all keys need to be the same shape")
    if columns[0].ndim == 0:
        return Traced.scalar(columns[0].trace, columns[0].trace.const(0, I64))
    axis = axis_index(axis, columns[0].ndim)
    columns = [axis_last(c, axis) for c in columns]
    if columns[0].size == 0:
        return axis_to(new_array(columns[0].trace, columns[0].shape, I64), columns[0].ndim - 1, axis)
    order = argsort(columns[0])
    for column in columns[1:]:
        order = _pick(order, argsort(_pick(column, order)))
    return axis_to(order, order.ndim - 1, axis)


def _pick(x: Traced, order: Traced) -> Traced:
    """`take_along_axis` of the last axis with positions that are known to be in range."""
    leading = [positions(x.trace, x.shape, k) for k in range(x.ndim - 1)]
    return gathered(x, [*leading, order.read()], x.shape)


# --- search ----------------------------------------------------------------------------------------------


@implements(np.searchsorted)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    row, value = strong(a), as_traced(v)
    if side not in ("left", "right"):
        raise ValueError(f"search side must be 'left' or 'right' (got {side!r})")
    if row.ndim != 1:
        raise ValueError(
            "object too deep for desired array"
            if row.ndim > 1
            else "object of too small depth for desired array"
        )
    if sorter is not None:
        order = as_traced(sorter)
        if order.dtype.kind not in "iu":
            raise TypeError("sorter must only contain integers")
        if order.shape != row.shape:
            raise ValueError("sorter.size must equal len(a)")
        row = row[order]
    found = search(row, value, side)
    return Traced.scalar(row.trace, found) if value.ndim == 0 else made(row.trace, found, value.shape)


@implements(method="searchsorted")
def searchsorted_method(x: Traced, v: Any, side: str = "left", sorter: Any = None) -> Any:
    return searchsorted(x, v, side, sorter)


def search(row: Traced, value: Traced, side: str) -> Value:
    dtype = np.result_type(row.dtype, value.dtype)
    dtype = F32 if dtype == F16 else dtype
    trace = row.trace
    return trace.op(
        "searchsorted", cast(trace, row.read(), dtype), cast(trace, value.read(), dtype), side=side
    )
