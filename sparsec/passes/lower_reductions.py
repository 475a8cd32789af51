"""Reductions in a loop nest: one element after the other, in NumPy's pairwise tree, or in lanes (`lanes.py`).

    %s = sum %x {axes=[1]} of integers     ->     mut acc1 = 0
                                                  for j in 0..6 { acc1 = acc1 + %x[i * 6 + j] }
                                                  %s[i] = acc1
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sparsec.ir.dims import product
from sparsec.ir.graph import Op
from sparsec.ir.loops import Expr, Var
from sparsec.ir.ops.record import Fold, Kind, record
from sparsec.ir.ops.summation import pairwise_sum, pairwise_sums
from sparsec.ir.scalar import S, index
from sparsec.passes.axes import Loop, axis_positions
from sparsec.passes.fold_parts import PARTS, fold_parts, worth_parts
from sparsec.passes.groups import is_pairwise
from sparsec.passes.lanes import Lanes, in_blocks, lane_count
from sparsec.passes.lower_domain import At, Domain
from sparsec.passes.lower_elements import Elements

Lane = Callable[[Expr, At], At]  # (lane, index of another) -> its index


@dataclass
class _Accumulator:
    """A reduction under way."""

    op: Op
    fold: Fold
    cells: tuple[Var, ...]


class Reductions:
    """The reductions of a group, which fold the same axes."""

    def __init__(self, over: Domain, elements: Elements) -> None:
        self.over, self.elements, self.k = over, elements, over.k
        self.ops = over.reductions

    def write(self, at: At, inner: Sequence[Loop], *, alone: bool) -> None:
        """Folds the loops `inner` at one index of those around. alone: none are around, which threads could share."""
        if is_pairwise(self.ops[0]):
            self._pairwise(at, inner, alone=alone)
        elif self._merges(inner):
            self._along(at, inner, alone=alone)
        else:
            self._one_by_one(at, inner)

    # --- one element after the other ---

    def _one_by_one(self, at: At, inner: Sequence[Loop]) -> None:
        nest = self.k.nest
        accs = [self._start(op) for op in self.ops]
        with self.over.nest(inner, "seq", at) as here:
            elements = self.elements.write(here)
            position = self.over.flat(here)
            for acc in accs:
                new = acc.fold.step(S, acc.cells, elements[acc.op.result.name], position)
                # All steps are taken from the old accumulators.
                for cell, value in list(zip(acc.cells, [nest.let(x, "a") for x in new])):
                    nest.assign(cell, value)
        for acc in accs:
            self._finish(acc.op, at, acc.fold.finish(S, acc.cells))

    def _start(self, op: Op) -> _Accumulator:
        cells = tuple(self.k.nest.mut(x, "acc") for x in self._init(op))
        return _Accumulator(op, record(op.name).lower, cells)

    def _finish(self, op: Op, at: At, value: Expr) -> None:
        shown = self.elements.shown.get(op.result.name)
        if shown is not None:
            self.k.store(shown, [at[a] for a in self.over.kept], value)

    def _init(self, op: Op) -> tuple[Expr, ...]:
        fold: Fold = record(op.name).lower
        return fold.init(op.operands[0].type.dtype, op.attrs)

    # --- in a tree ---

    def _pairwise(self, at: At, inner: Sequence[Loop], *, alone: bool) -> None:
        (op,) = self.ops
        dtype = op.operands[0].type.dtype
        tile = self.k.lanes and self._computes() and not self.over.sequential() and not self._is_short(inner)
        cuts = PARTS.bit_length() - 1 if alone and self._in_parts() else 0
        total = pairwise_sum(
            self.k.nest, self.over.count(), lambda i: self._folded_at(at, inner, i), dtype, tile=tile, cuts=cuts
        )
        self._finish(op, at, record(op.name).lower.finish(S, (total,)))

    def _folded_at(self, at: At, inner: Sequence[Loop], position: Expr) -> Expr:
        """What the one reduction folds in at a position among the folded elements."""
        here = list(at)
        counters: list[Expr] = []
        rest = self.k.nest.let(position, "i")
        for loop in reversed(inner[1:]):
            size = self.k.dim(loop.size)
            rest = self.k.nest.let(rest, "i")
            counters.insert(0, self.k.nest.let(S.rem(rest, size), "i"))
            rest = S.quo(rest, size)
        counters[:0] = [rest] if inner else []
        for axis, where in enumerate(axis_positions(len(self.over.shape), inner, counters)):
            if axis in self.over.folded:
                here[axis] = where
        return self.elements.write(here)[self.ops[0].result.name]

    def _is_short(self, inner: Sequence[Loop]) -> bool:
        """Whether the folded elements are too few for vectors of their own."""
        size = product(loop.size for loop in inner)
        return isinstance(size, int) and size < 32

    def _computes(self) -> bool:
        """Whether an element is more than a load."""
        return any(record(op.name).kind not in (Kind.REDUCE, Kind.VIEW) for op in self.over.ops)

    def _in_parts(self) -> bool:
        """Whether a fold of everything is cut into parts."""
        return self.k.lanes and worth_parts(self.over.count()) and not self.over.sequential()

    # --- in lanes across the last kept axis ---

    def abreast(self, outer: Sequence[Loop]) -> bool:
        """Whether neighbours along the last kept axis had better be reduced at the same time: where memory runs
        along it, and not along the folded ones."""
        if not self.k.lanes or not self.ops or not outer or not self.over.folded or self.over.sequential():
            return False
        size, axis = outer[-1].size, outer[-1].axes[-1]
        views = [s for s in self.over.strides() if any(s[a] != 0 for a in self.over.folded)]
        along = any(s[a] in (1, -1) and self.over.shape[a] != 1 for s in views for a in self.over.folded)
        return (not isinstance(size, int) or size >= 8) and not along and any(s[axis] == 1 for s in views)

    def across(self, at: At, loop: Loop, inner: Sequence[Loop], bind: str) -> None:
        """Folds the loops `inner` for all turns of `loop`, some at a time."""
        count = lane_count([x.dtype for op in self.ops for x in self._init(op)])
        if isinstance(loop.size, int):
            count = min(count, loop.size)
        fold = self._trees_across if is_pairwise(self.ops[0]) else self._lanes_across

        def block(first: Expr, width: Expr) -> None:
            def lane(j: Expr, base: At) -> At:
                return [S.add(first, j) if a == loop.axes[-1] else x for a, x in enumerate(base)]

            fold(at, lane, inner, width, count, bind)

        in_blocks(self.k.nest, self.k.dim(loop.size), count, bind, block)

    def _trees_across(self, at: At, lane: Lane, inner: Sequence[Loop], width: Expr, most: int, bind: str) -> None:
        nest, (op,) = self.k.nest, self.ops
        dtype = op.operands[0].type.dtype

        def element(position: Expr, j: Expr) -> Expr:
            return self._folded_at(lane(j, at), inner, position)

        totals = pairwise_sums(nest, self.over.count(), width, most, element, dtype)
        with nest.loop(width, bind=bind) as j:
            total = nest.load(totals, j, dtype)
            self._finish(op, lane(j, at), record(op.name).lower.finish(S, (total,)))

    def _lanes_across(self, at: At, lane: Lane, inner: Sequence[Loop], width: Expr, most: int, bind: str) -> None:
        nest, lanes = self.k.nest, self._lanes(most)
        with self.over.nest(inner, "seq", at) as here:
            position = self.over.flat(here)
            with nest.loop(width, bind=bind) as j:
                self._take(lanes, j, lane(j, here), position)
        with nest.loop(width, bind=bind) as j:
            for k, op in enumerate(self.ops):
                self._finish(op, lane(j, at), lanes.folds[k].finish(S, lanes.at(k, j)))

    # --- in lanes along the innermost folded axis ---

    def _merges(self, inner: Sequence[Loop]) -> bool:
        """Whether the folds may be taken in lanes along the innermost folded loop."""
        if not self.k.lanes or not inner or self.over.sequential():
            return False
        folds = [(record(op.name).lower, op.operands[0].type.dtype.kind) for op in self.ops]
        return not self._is_short(inner[-1:]) and all(kind in fold.merges for fold, kind in folds)

    def _along(self, at: At, inner: Sequence[Loop], *, alone: bool) -> None:
        starts = list(map(self._init, self.ops))
        folds: list[Fold] = [record(op.name).lower for op in self.ops]
        count = lane_count([x.dtype for start in starts for x in start])
        turns = self.k.dim(inner[0].size)

        def part(first: Expr, last: Expr) -> list[tuple[Expr, ...]]:
            return self._lanes_of_turns(at, inner, first, last, count).merged()

        if alone and self._in_parts():
            unit = count if len(inner) == 1 else 1
            merged = fold_parts(self.k.nest, folds, starts, self.over.count(), turns, unit, part)
        else:
            merged = part(index(0), turns)
        for op, fold, cells in zip(self.ops, folds, merged):
            self._finish(op, at, fold.finish(S, cells))

    def _lanes_of_turns(self, at: At, inner: Sequence[Loop], first: Expr, last: Expr, count: int) -> Lanes:
        """Folds turns of the outermost folded loop, in lanes along the innermost."""
        nest, axis = self.k.nest, inner[-1].axes[-1]
        lanes = self._lanes(count)
        with self.over.nest(inner[:-1], "seq", at, (first, last)) as base:
            size = self.k.dim(inner[-1].size) if len(inner) > 1 else nest.let(S.sub(last, first))
            start = index(0) if len(inner) > 1 else first

            def block(begin: Expr, width: Expr) -> None:
                with nest.loop(width, bind="parallel") as j:
                    here = [S.add(S.add(start, begin), j) if a == axis else x for a, x in enumerate(base)]
                    self._take(lanes, j, here, self.over.flat(here))

            in_blocks(nest, size, count, "seq", block)
        return lanes

    def _lanes(self, count: int) -> Lanes:
        folds = [record(op.name).lower for op in self.ops]
        return Lanes(self.k.nest, folds, list(map(self._init, self.ops)), count)

    def _take(self, lanes: Lanes, j: Expr, here: At, position: Expr) -> None:
        elements = self.elements.write(here)
        lanes.take(j, [elements[op.result.name] for op in self.ops], position)
