"""Reductions for vector units: several folds at a time, exact in every bit.

    across: x[i, j] over i            for j0 in 0..n step 32 {          each j folds its elements in order
                                        for i { for j { acc[j] = step(acc[j], x[i, j0 + j]) } } }

    along: max of x[j] over j         for j0 in 0..n step 64 {          each lane folds every 64th element;
                                        for j { acc[j] = step(acc[j], x[j0 + j]) } }     lanes merge at the end

Both keep their accumulators in small arrays, which become registers. `along` wants a fold whose parts merge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sparsec.ir.loops import Const, Expr
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops.record import Fold
from sparsec.ir.scalar import S, index
from sparsec.ir.types import DType

#: Bytes of one accumulator of all lanes: four registers of the widest machines.
_BYTES = 256


def lane_count(dtypes: Sequence[DType]) -> int:
    """How many folds go abreast: a power of two."""
    return max(16, min(_BYTES // max(dtype.itemsize for dtype in dtypes), 64))


class Lanes:
    """The accumulators of some folds, `count` of each."""

    def __init__(
        self, nest: NestBuilder, folds: Sequence[Fold], starts: Sequence[tuple[Expr, ...]], count: int
    ) -> None:
        self.nest, self.folds, self.count = nest, folds, count
        self.cells = [[(nest.scratch(x.dtype, count, "lanes"), x.dtype) for x in start] for start in starts]
        with nest.loop(index(count), bind="parallel") as j:
            for row, start in zip(self.cells, starts):
                self._put(row, j, start)

    def at(self, fold: int, j: Expr) -> tuple[Expr, ...]:
        """The accumulators of lane j."""
        return tuple(self.nest.load(cell, j, dtype) for cell, dtype in self.cells[fold])

    def take(self, j: Expr, elements: Sequence[Expr], position: Expr) -> None:
        """Lane j folds in an element of each fold."""
        old = [self.at(k, j) for k in range(len(self.folds))]
        for fold, row, cells, element in zip(self.folds, self.cells, old, elements, strict=True):
            self._put(row, j, fold.step(S, cells, element, position))

    def merged(self) -> list[tuple[Expr, ...]]:
        """The accumulators of all elements; halves the lanes until one is left."""
        half = self.count // 2
        while half:
            with self.nest.loop(index(half), bind="parallel") as j:
                pairs = [(self.at(k, j), self.at(k, S.add(j, index(half)))) for k in range(len(self.folds))]
                for fold, row, (one, other) in zip(self.folds, self.cells, pairs):
                    assert fold.merge is not None
                    self._put(row, j, fold.merge(S, one, other))
            half //= 2
        return [self.at(k, index(0)) for k in range(len(self.folds))]

    def _put(self, row: Sequence[tuple[str, DType]], j: Expr, values: Sequence[Expr]) -> None:
        named = [self.nest.let(value, "a") for value in values]
        for (cell, _), value in zip(row, named, strict=True):
            self.nest.store(cell, j, value)


def in_blocks(
    nest: NestBuilder, size: Expr, count: int, bind: str, body: Callable[[Expr, Expr], None]
) -> None:
    """body(first, width) for blocks of `count` turns of a loop over `size`, and for what is left."""
    if isinstance(size, Const):
        turns = int(size.value.real)
        whole: Expr = index(turns - turns % count)
        rest: Expr = index(turns % count)
    else:
        whole = nest.let(S.sub(size, S.rem(size, index(count))))
        rest = nest.let(S.sub(size, whole))
    if whole != index(0):
        with nest.loop(whole, step=count, bind=bind) as first:
            body(first, index(count))
    if not isinstance(rest, Const):
        with nest.if_(S.gt(rest, index(0))):
            body(whole, rest)
    elif rest != index(0):
        body(whole, rest)
