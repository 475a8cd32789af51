"""Positions of true elements: where shapes begin to depend on data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparsec.errors import DTypeError
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Const, Expr
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops.record import Kind, OpRecord, case, register
from sparsec.ir.scalar import const, index
from sparsec.ir.types import BOOL, I64, TensorType, dtype_name


def _positions_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    (mask,) = types
    if mask.dtype != BOOL or not mask.rank:
        raise DTypeError(f"nonzero takes a bool array, not {dtype_name(mask.dtype)} of rank {mask.rank}")
    return [TensorType(I64, (attrs["count"],))] * mask.rank


#: Neighbours that are looked at together: a block without any true element is passed over at once.
_BLOCK = 64


def _positions_lower(nest: NestBuilder, count: object) -> None:
    """Walks the mask in C order, blocks of its last axis at a time; the next free place is carried along.

    While a whole block of places is free, every position is written to the next one and only those of true
    elements move on: branches on random masks cost more than stores.
    """
    *outer, last = nest.shape(0)
    (places,) = nest.result_shape(0)
    place = nest.mut(index(0))

    def write(at: tuple[Expr, ...]) -> None:
        for axis, i in enumerate(at):
            nest.write(axis, (place,), i)

    def visit(at: tuple[Expr, ...], start: Expr, stop: Expr) -> None:
        with nest.loop(stop, start) as j, nest.if_(nest.read(0, *at, j)):
            write((*at, j))
            nest.assign(place, nest.s.add(place, const(1, I64)))

    def write_all(at: tuple[Expr, ...], start: Expr, stop: Expr) -> None:
        with nest.loop(stop, start) as j:
            write((*at, j))
            nest.assign(place, nest.s.add(place, nest.s.cast(nest.read(0, *at, j), I64)))

    if isinstance(last, Const):
        whole: Expr = index(int(last.value.real) // _BLOCK * _BLOCK)
    else:
        whole = nest.let(nest.s.sub(last, nest.s.rem(last, index(_BLOCK))))
    with nest.loops(outer) as at:
        with nest.loop(whole, step=_BLOCK) as first:
            stop = nest.let(nest.s.add(first, index(_BLOCK)))
            found = nest.mut(const(False, BOOL), "found")
            with nest.loop(stop, first) as j:
                nest.assign(found, nest.s.logical_or(found, nest.read(0, *at, j)))
            with nest.if_(found):
                with nest.if_(nest.s.le(nest.s.add(place, index(_BLOCK)), places)):
                    write_all(at, first, stop)
                with nest.else_():
                    visit(at, first, stop)
        visit(at, whole, last)


register(
    OpRecord(
        name="nonzero",
        kind=Kind.NEST,
        attrs=("count",),
        doc="The positions of the true elements in C order, one i64 array per axis; `count` is how many there are.",
        infer=_positions_types,
        ref=lambda mask, count: tuple(np.nonzero(mask)),
        lower=_positions_lower,
        cases=(
            case(np.array([True, False, True]), dtypes="bool", count=2),
            case(np.array([[False, True], [True, True], [False, False]]), dtypes="bool", count=3),
            case(np.array([False, False]), dtypes="bool", count=0),
        ),
    )
)
