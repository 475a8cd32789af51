"""Sorting along the last axis, and search in what is sorted.

Both sorts are bottom-up merge sorts: stable, n log n, no recursion. A merge needs a second row, which is why
each sort has a second result: workspace, whose contents mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sparsec.errors import DTypeError, ShapeError
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Expr, Var
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops import rules
from sparsec.ir.ops.declare import SAMPLES, refuse_half
from sparsec.ir.ops.record import Case, Kind, OpRecord, case, register
from sparsec.ir.scalar import S, const, index
from sparsec.ir.types import BOOL, I64, DType, TensorType, dtype_name

_RUN = 16  # rows are cut into runs of this length, which insertion sorts before the merges

Before = Callable[[Expr, Expr], Expr]  # whether what the first names must stand before the second


class _Rows:
    """The two rows of one sort: `front` holds the data, `back` is the workspace; a merge moves it across."""

    def __init__(self, nest: NestBuilder, at: tuple[Expr, ...]) -> None:
        self._nest, self._at = nest, at

    def get(self, row: int, i: Expr) -> Expr:
        return self._nest.read_result(row, *self._at, i)

    def put(self, row: int, i: Expr, item: Expr) -> None:
        self._nest.write(row, (*self._at, i), item)


def _sort_rows(nest: NestBuilder, rows: _Rows, size: Expr, before: Before) -> None:
    """Sorts row 0. Merges go from row 0 to row 1 and back: each pass reads what the last one wrote."""
    _insertion(nest, rows, size, before)
    width = nest.mut(index(_RUN), "width")
    with nest.while_(S.lt(width, size)):
        _merge_pass(nest, rows, 0, 1, size, width, before)
        nest.assign(width, S.add(width, width))
        with nest.if_(S.lt(width, size)):
            _merge_pass(nest, rows, 1, 0, size, width, before)
            nest.assign(width, S.add(width, width))
        with nest.else_(), nest.loop(size) as i:
            rows.put(0, i, rows.get(1, i))


def _insertion(nest: NestBuilder, rows: _Rows, size: Expr, before: Before) -> None:
    with nest.loop(size, step=_RUN) as start:
        stop = nest.let(S.min(S.add(start, index(_RUN)), size))
        with nest.loop(stop, S.add(start, index(1))) as i:
            item = rows.get(0, i)
            hole, moving = nest.mut(i, "hole"), nest.mut(const(True, BOOL), "moving")
            with nest.while_(moving):
                with nest.if_(S.gt(hole, start)):
                    below = nest.let(S.sub(hole, index(1)))
                    left = rows.get(0, below)
                    with nest.if_(before(item, left)):
                        rows.put(0, hole, left)
                        nest.assign(hole, below)
                    with nest.else_():
                        nest.assign(moving, const(False, BOOL))
                with nest.else_():
                    nest.assign(moving, const(False, BOOL))
            rows.put(0, hole, item)


def _merge_pass(
    nest: NestBuilder, rows: _Rows, source: int, target: int, size: Expr, width: Var, before: Before
) -> None:
    """Merges neighbouring runs of `width`: the left item first unless the right must stand before it."""
    start = nest.mut(index(0), "start")
    with nest.while_(S.lt(start, size)):
        middle = nest.let(S.min(S.add(start, width), size))
        stop = nest.let(S.min(S.add(middle, width), size))
        left, right = nest.mut(start, "left"), nest.mut(middle, "right")
        with nest.loop(stop, start) as out:
            take_right = nest.mut(S.ge(left, middle), "take_right")
            both = S.logical_and(S.lt(left, middle), S.lt(right, stop))
            with nest.if_(both):
                nest.assign(take_right, before(rows.get(source, right), rows.get(source, left)))
            with nest.if_(take_right):
                rows.put(target, out, rows.get(source, right))
                nest.assign(right, S.add(right, index(1)))
            with nest.else_():
                rows.put(target, out, rows.get(source, left))
                nest.assign(left, S.add(left, index(1)))
        nest.assign(start, stop)


def _sort_types(name: str, result: Callable[[DType], DType]):  # type: ignore[no-untyped-def]
    def infer(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
        (x,) = types
        if x.rank == 0:
            raise ShapeError(f"{name} takes an array with at least one axis")
        refuse_half(name, x.dtype)
        return [TensorType(result(x.dtype), x.shape)] * 2

    return infer


def _sort_lower(nest: NestBuilder) -> None:
    *outer, size = nest.shape(0)
    with nest.loops(outer, bind="parallel") as at:
        rows = _Rows(nest, at)
        with nest.loop(size) as i:
            rows.put(0, i, nest.read(0, *at, i))
        _sort_rows(nest, rows, size, rules.sorts_before)


def _argsort_lower(nest: NestBuilder) -> None:
    *outer, size = nest.shape(0)
    with nest.loops(outer, bind="parallel") as at:
        rows = _Rows(nest, at)
        with nest.loop(size) as i:
            rows.put(0, i, i)

        def before(a: Expr, b: Expr) -> Expr:
            return rules.sorts_before(nest.read(0, *at, a), nest.read(0, *at, b))

        _sort_rows(nest, rows, size, before)


def _sort_arrays(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ordered = np.sort(x, axis=-1, kind="stable")
    return ordered, ordered.copy()


def _argsort_arrays(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(x, axis=-1, kind="stable")
    return order, order.copy()


def _row(size: int, dtype: str) -> np.ndarray:
    """Many equal keys, so that a sort which is not stable shows."""
    return (np.arange(size) * 7919 % 23 % 11).astype(dtype)


def _cases() -> tuple[Case, ...]:
    dtypes = [d for k in "biufc" for d in SAMPLES[k]]
    sizes = (1, 15, 16, 17, 33, 100)
    return (*(case((2, 5), dtypes=d) for d in dtypes), *(case(_row(n, "f8")) for n in sizes), case((2, 0)))


register(OpRecord(
    name="sort", kind=Kind.NEST, numpy=("sort",),
    doc="Sorted along the last axis, equal elements in their order, NaN last; result 1 is workspace.",
    infer=_sort_types("sort", lambda dtype: dtype), ref=_sort_arrays, lower=_sort_lower, cases=_cases(),
))
register(OpRecord(
    name="argsort", kind=Kind.NEST, numpy=("argsort",),
    doc="The i64 positions that sort the last axis, stable, NaN last; result 1 is workspace.",
    infer=_sort_types("argsort", lambda dtype: I64), ref=_argsort_arrays, lower=_argsort_lower,
    cases=_cases(),
))


def _search_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    x, value = types
    if x.rank != 1 or x.dtype != value.dtype:
        names = f"{dtype_name(x.dtype)} rank {x.rank}, {dtype_name(value.dtype)}"
        raise DTypeError(f"searchsorted takes a row and values of its dtype, not ({names})")
    if attrs["side"] not in ("left", "right"):
        raise ValueError(f"side must be 'left' or 'right', not {attrs['side']!r}")
    refuse_half("searchsorted", x.dtype)
    return [TensorType(I64, value.shape)]


def _search_lower(nest: NestBuilder, side: str) -> None:
    """Bisects [low, high): the answer for "left" is the first element not before the value."""
    (size,) = nest.shape(0)
    with nest.loops(nest.result_shape(), bind="parallel") as at:
        value = nest.read(1, *at)
        low, high = nest.mut(index(0), "low"), nest.mut(size, "high")
        with nest.while_(S.lt(low, high)):
            middle = nest.let(S.add(low, S.shr(S.sub(high, low), index(1))))
            item = nest.read(0, middle)
            if side == "left":
                goes_up = rules.sorts_before(item, value)
            else:
                goes_up = S.logical_not(rules.sorts_before(value, item))
            with nest.if_(goes_up):
                nest.assign(low, S.add(middle, index(1)))
            with nest.else_():
                nest.assign(high, middle)
        nest.write(0, at, low)


def _search_array(x: np.ndarray, value: np.ndarray, side: str) -> np.ndarray:
    return np.asarray(np.searchsorted(x, value, side), np.int64)  # type: ignore[call-overload,no-any-return]


_SORTED = np.array([1.0, 2, 2, 2, 5, np.inf, np.nan, np.nan])
_VALUES = np.array([[0.0, 1, 2], [3, np.nan, np.inf]])

register(OpRecord(
    name="searchsorted", kind=Kind.NEST, arity=2, attrs=("side",), numpy=("searchsorted",),
    doc='Where each value goes in a sorted row: before its equals (side "left") or after them ("right").',
    infer=_search_types, ref=_search_array, lower=_search_lower,
    cases=tuple(
        case(np.sort(x.astype(d)), v.astype(d), side=side)
        for side in ("left", "right") for x, v, d in (
            (_SORTED, _VALUES, "f8"), (_SORTED, _VALUES, "c16"), (np.arange(5) * 3, np.arange(16), "i4"),
            (np.zeros(0), np.zeros(2), "f4"),
        )
    ),
))
