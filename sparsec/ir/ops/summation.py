"""Pairwise summation: the float sum with an error that grows with log n, in NumPy's own order.

A run of at most 128 numbers is summed by 8 accumulators (64 and 4 for complex numbers); a longer one is cut in
two near its middle, and the two sums are added. That is the tree that NumPy builds for a contiguous row, so the sum
of one equals NumPy's bit for bit. The recursion is a loop over a small stack here. The order depends on the count
alone: not on threads, not on vector width.

Several sums of equal length can be taken abreast (`width`): each step is then a loop over them, for vectors. The
subtrees below the first cuts (`cuts`) can be summed by a parallel loop: the tree is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from sparsec.ir.loops import Const, Expr, Var
from sparsec.ir.nest import NestBuilder
from sparsec.ir.scalar import S, const, index
from sparsec.ir.types import BOOL, I64, DType

Element = Callable[[Expr], Expr]

#: Cuts of a count below 2**63 into halves until a run is left.
_DEPTH = 64


def pairwise_sum(
    nest: NestBuilder, count: Expr, element: Element, dtype: DType, *, tile: bool = False, cuts: int = 0
) -> Expr:
    """Appends the statements that sum `element(0)` … `element(count - 1)`; 0 for none.

    `element` may append statements of its own (`nest.read`); it is called inside loops. tile: the elements of a
    run are computed in a loop of their own, which vectorises, and summed from there. cuts: `2 ** cuts` subtrees
    are turns of a parallel loop; a subtree must be longer than a run.
    """
    if cuts:
        total = _subtrees(nest, count, element, dtype, tile, cuts)
    else:
        total = _tree_sum(nest, count, element, dtype, tile)
    # NumPy adds the tree's sum to its start value 0, which makes 0.0 of -0.0.
    return nest.let(S.add(const(0, dtype), total))


def _subtrees(nest: NestBuilder, count: Expr, element: Element, dtype: DType, tile: bool, cuts: int) -> Expr:
    """The sums of all subtrees below the first cuts, then those of the nodes above, level by level."""
    sums = nest.scratch(dtype, 1 << cuts, "subtrees")
    with nest.loop(index(1 << cuts), bind="parallel") as which:
        start: Expr = index(0)
        size = count
        for level in reversed(range(cuts)):
            left = nest.let(_left_half(size, _lanes(dtype)))
            right = S.ne(S.logical_and(which, index(1 << level)), index(0))
            start = nest.let(S.add(start, S.select(right, left, index(0))))
            size = nest.let(S.select(right, S.sub(size, left), left))
        nest.store(sums, which, _tree_sum(nest, size, lambda at: element(S.add(start, at)), dtype, tile))
    for level in reversed(range(cuts)):
        with nest.loop(index(1 << level)) as k:
            first = nest.let(S.mul(k, index(2)))
            pair = [nest.load(sums, S.add(first, index(j)), dtype) for j in (0, 1)]
            nest.store(sums, k, S.add(*pair))
    return nest.load(sums, index(0), dtype)


def _tree_sum(nest: NestBuilder, count: Expr, element: Element, dtype: DType, tile: bool) -> Expr:
    """The sum of the tree over `count` elements; 0 for none."""

    def one_run(start: Expr, size: Expr) -> Expr:
        if not tile:
            return _run(nest, start, size, element, dtype)
        run = nest.scratch(dtype, 16 * _lanes(dtype), "run")
        with nest.loop(size, bind="parallel") as at:
            nest.store(run, at, element(S.add(start, at)))
        return _run(nest, index(0), size, lambda at: nest.load(run, at, dtype), dtype)

    if isinstance(count, Const) and count.value.real <= 16 * _lanes(dtype):
        total: Expr = one_run(index(0), count)
    else:
        cell = nest.mut(const(0, dtype), "total")
        sums = nest.scratch(dtype, _DEPTH, "sums")  # of the left halves of what is being summed

        def finished_run(start: Expr, size: Expr) -> None:
            nest.assign(cell, one_run(start, size))

        def add_left(depth: Expr) -> None:
            nest.assign(cell, S.add(nest.load(sums, depth, dtype), cell))

        _walk(nest, count, _lanes(dtype), finished_run, add_left, lambda depth: nest.store(sums, depth, cell))
        total = cell
    return total


def pairwise_sums(
    nest: NestBuilder, count: Expr, width: Expr, most: int, element: Callable[[Expr, Expr], Expr], dtype: DType
) -> str:
    """As `pairwise_sum`, `width` sums of `element(position, which)` abreast, at most `most`. Gives the name of
    the scratch memory where they are."""
    sums = _Abreast(nest, width, most, element, dtype)
    if isinstance(count, Const) and 0 < count.value.real <= 16 * sums.lanes:
        sums.run(index(0), count)
    else:
        sums.set_totals(lambda which: const(0, dtype))
        _walk(nest, count, sums.lanes, sums.run, sums.add_left, sums.keep)
    sums.set_totals(lambda which: S.add(const(0, dtype), sums.total(which)))
    return sums.totals


class _Abreast:
    """The steps of several sums of equal length, each a loop over the sums."""

    def __init__(
        self, nest: NestBuilder, width: Expr, most: int, element: Callable[[Expr, Expr], Expr], dtype: DType
    ) -> None:
        self.nest, self.width, self.most, self.element, self.dtype = nest, width, most, element, dtype
        self.lanes = _lanes(dtype)
        self.totals = nest.scratch(dtype, most, "totals")
        self.parts = nest.scratch(dtype, self.lanes * most, "parts")  # accumulators, a row of `most` for each
        self.sums = nest.scratch(dtype, _DEPTH * most, "sums")  # of left halves, a row for each depth

    def total(self, which: Expr) -> Expr:
        return self.nest.load(self.totals, which, self.dtype)

    def set_totals(self, value: Callable[[Expr], Expr]) -> None:
        with self._each() as which:
            self.nest.store(self.totals, which, value(which))

    def run(self, start: Expr, size: Expr) -> None:
        """As `_run`: the sums of a run become the totals."""
        nest = self.nest
        whole = nest.let(S.logical_and(size, index(-self.lanes)))
        with nest.loop(index(self.lanes)) as k, self._each() as which:
            nest.store(self.parts, self._place(k, which), const(0, self.dtype))
        with nest.loop(whole, step=self.lanes) as at, nest.loop(index(self.lanes)) as k:
            here = nest.let(S.add(S.add(start, at), k))
            with self._each() as which:
                old = self._part(k, which)
                nest.store(self.parts, self._place(k, which), S.add(old, self.element(here, which)))
        self.set_totals(lambda which: _tree([self._part(index(k), which) for k in range(self.lanes)]))
        with nest.loop(size, whole) as at:
            here = nest.let(S.add(start, at))
            self.set_totals(lambda which: S.add(self.total(which), self.element(here, which)))

    def add_left(self, depth: Expr) -> None:
        """Adds what `keep` kept at this depth."""
        with self._each() as which:
            left = self.nest.load(self.sums, self._place(depth, which), self.dtype)
            self.nest.store(self.totals, which, S.add(left, self.total(which)))

    def keep(self, depth: Expr) -> None:
        with self._each() as which:
            self.nest.store(self.sums, self._place(depth, which), self.total(which))

    def _each(self) -> AbstractContextManager[Expr]:
        return self.nest.loop(self.width, bind="parallel")

    def _place(self, row: Expr, which: Expr) -> Expr:
        return S.add(S.mul(row, index(self.most)), which)

    def _part(self, row: Expr, which: Expr) -> Expr:
        return self.nest.load(self.parts, self._place(row, which), self.dtype)


def _lanes(dtype: DType) -> int:
    return 4 if dtype.kind == "c" else 8


def _walk(
    nest: NestBuilder, count: Expr, lanes: int, run: Callable[[Expr, Expr], None],
    add_left: Callable[[Expr], None], keep: Callable[[Expr], None],
) -> None:
    """The tree over `count` elements. run(start, size) makes the sum of a run the total; add_left(depth) adds to
    it what keep(depth) kept."""
    pending = nest.scratch(I64, _DEPTH, "pending")  # sizes of right halves; -1: being summed now
    start = nest.mut(index(0), "start")
    size, depth = nest.mut(nest.let(count), "size"), nest.mut(index(0), "depth")
    going = nest.mut(S.gt(size, index(0)), "going")
    with nest.while_(going):
        _descend(nest, size, depth, pending, lanes)
        run(start, size)
        nest.assign(start, S.add(start, size))
        _ascend(nest, depth, pending, add_left)
        with nest.if_(S.eq(depth, index(0))):
            nest.assign(going, S.logical_not(going))
        with nest.else_():
            top = nest.let(S.sub(depth, index(1)))
            keep(top)
            nest.assign(size, nest.load(pending, top, I64))
            nest.store(pending, top, index(-1))


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


def _ascend(nest: NestBuilder, depth: Var, pending: str, add_left: Callable[[Expr], None]) -> None:
    """Adds the left sums of all halves that are complete."""
    more = nest.mut(const(True, BOOL), "more")
    with nest.while_(more):
        with nest.if_(S.gt(depth, index(0))):
            top = nest.let(S.sub(depth, index(1)))
            with nest.if_(S.lt(nest.load(pending, top, I64), index(0))):
                add_left(top)
                nest.assign(depth, top)
            with nest.else_():
                nest.assign(more, S.logical_not(more))
        with nest.else_():
            nest.assign(more, S.logical_not(more))


def _run(nest: NestBuilder, start: Expr, size: Expr, element: Element, dtype: DType) -> Expr:
    """The sum of `size` elements from `start`: accumulators, a tree over them, then the rest."""
    lanes = _lanes(dtype)
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
