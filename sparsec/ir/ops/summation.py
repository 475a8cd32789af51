"""Pairwise summation: the float sum with an error that grows with log n, in NumPy's own order.

A run of at most 128 numbers is summed by 8 accumulators (64 and 4 for complex numbers); a longer one is
cut in
two near its middle, and the two sums are added. That is the tree that NumPy builds for a contiguous row, so
the sum of one equals NumPy's bit for bit. The recursion is a loop over a small stack here. The order
depends on
the count alone: not on threads, not on vector width.
"""

from __future__ import annotations

from collections.abc import Callable

from sparsec.ir.loops import Expr, Var
from sparsec.ir.nest import NestBuilder
from sparsec.ir.scalar import S, const, index
from sparsec.ir.types import BOOL, I64, DType

Element = Callable[[Expr], Expr]

#: Cuts of a count below 2**63 into halves until a run is left.
_DEPTH = 64


def pairwise_sum(nest: NestBuilder, count: Expr, element: Element, dtype: DType) -> Expr:
    """Appends the statements that sum `element(0)` … `element(count - 1)`; 0 for none.

    `element` may append statements of its own (`nest.read`); it is called inside loops.
    """
    lanes = 4 if dtype.kind == "c" else 8
    pending = nest.scratch(I64, _DEPTH, "pending")  # sizes of right halves; -1: being summed now
    sums = nest.scratch(dtype, _DEPTH, "sums")  # of the left halves beside them
    zero = const(0, dtype)
    total, start = nest.mut(zero, "total"), nest.mut(index(0), "start")
    size, depth = nest.mut(nest.let(count), "size"), nest.mut(index(0), "depth")
    going = nest.mut(S.gt(size, index(0)), "going")
    with nest.while_(going):
        _descend(nest, size, depth, pending, lanes)
        nest.assign(total, _run(nest, start, size, element, dtype, lanes))
        nest.assign(start, S.add(start, size))
        _ascend(nest, total, depth, pending, sums, dtype)
        with nest.if_(S.eq(depth, index(0))):
            nest.assign(going, S.logical_not(going))
        with nest.else_():
            top = nest.let(S.sub(depth, index(1)))
            nest.store(sums, top, total)
            nest.assign(size, nest.load(pending, top, I64))
            nest.store(pending, top, index(-1))
    # NumPy adds the tree's sum to its start value 0, which makes 0.0 of -0.0.
    return nest.let(S.add(zero, total))


def _descend(nest: NestBuilder, size: Var, depth: Var, pending: str, lanes: int) -> None:
    """Cuts `size` down to a run, remembering the right halves. The left half is a multiple of the lanes."""
    with nest.while_(S.gt(size, index(16 * lanes))):
        left = nest.let(_left_half(size, lanes))
        nest.store(pending, depth, S.sub(size, left))
        nest.assign(size, left)
        nest.assign(depth, S.add(depth, index(1)))


def _left_half(size: Expr, lanes: int) -> Expr:
    half = S.shr(size, index(1))
    return S.logical_and(half, index(-lanes))


def _ascend(nest: NestBuilder, total: Var, depth: Var, pending: str, sums: str, dtype: DType) -> None:
    """Adds the left sums of all halves that are complete."""
    more = nest.mut(const(True, BOOL), "more")
    with nest.while_(more):
        with nest.if_(S.gt(depth, index(0))):
            top = nest.let(S.sub(depth, index(1)))
            with nest.if_(S.lt(nest.load(pending, top, I64), index(0))):
                nest.assign(total, S.add(nest.load(sums, top, dtype), total))
                nest.assign(depth, top)
            with nest.else_():
                nest.assign(more, S.logical_not(more))
        with nest.else_():
            nest.assign(more, S.logical_not(more))


def _run(nest: NestBuilder, start: Expr, size: Expr, element: Element, dtype: DType, lanes: int) -> Expr:
    """The sum of `size` elements from `start`: `lanes` accumulators, a tree over them, then the rest."""
    whole = nest.let(S.logical_and(size, index(-lanes)))
    zero = const(0, dtype)
    accumulators = [nest.mut(zero, "lane") for _ in range(lanes)]
    with nest.loop(whole, step=lanes) as at:
        for k, lane in enumerate(accumulators):
            nest.assign(lane, S.add(lane, element(S.add(S.add(start, at), index(k)))))
    result = nest.mut(_tree(list(accumulators)))
    with nest.loop(size, whole) as at:
        nest.assign(result, S.add(result, element(S.add(start, at))))
    return result


def _tree(parts: list[Expr]) -> Expr:
    while len(parts) > 1:
        parts = [S.add(a, b) for a, b in zip(parts[::2], parts[1::2])]
    return parts[0]
