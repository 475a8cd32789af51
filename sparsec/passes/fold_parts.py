"""A fold of everything, in parts that do not depend on each other: turns of a parallel loop, which threads share.

    m = x.max()        for p in 0..64 bind(parallel) { parts[p] = max of x[p * 4096 … (p + 1) * 4096] }
                       then the parts, merged in order

How many parts there are follows from the count alone. Only folds whose parts merge exactly come here, and pairwise
sums, whose tree has such parts by itself (`ir/ops/summation.py`): the result is that of one loop, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sparsec.ir.loops import Const, Expr
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops.record import Fold
from sparsec.ir.scalar import S, index

__all__ = ["PARTS", "fold_parts", "worth_parts"]

#: At most so many parts, a power of two: enough for threads to share evenly.
PARTS = 64

#: A part has at least so many elements: in fewer, merging it would show.
_LEAST = 8192

#: Fewer elements than this are folded in one go.
_WORTH = 8 * _LEAST


def worth_parts(count: Expr) -> bool:
    """Whether so many elements are folded in parts. Where only the call knows, they are not."""
    return isinstance(count, Const) and count.value.real >= _WORTH


def fold_parts(
    nest: NestBuilder,
    folds: Sequence[Fold],
    starts: Sequence[tuple[Expr, ...]],
    count: Expr,
    turns: Expr,
    unit: int,
    part: Callable[[Expr, Expr], Sequence[tuple[Expr, ...]]],
) -> list[tuple[Expr, ...]]:
    """The accumulators of each fold, of all elements.

    starts: the first accumulators of each fold. count: of elements; turns: of the loop that is cut; both literals.
    unit: parts are multiples of it. part(first, last): appends the fold of these turns and gives its accumulators.
    """
    assert isinstance(count, Const) and isinstance(turns, Const)
    most = min(PARTS, int(count.value.real) // _LEAST)
    size = -(-int(turns.value.real) // (most * unit)) * unit
    parts = -(-int(turns.value.real) // size)
    cells = [[(nest.scratch(x.dtype, parts, "parts"), x.dtype) for x in start] for start in starts]
    with nest.loop(index(parts), bind="parallel") as p:
        first = nest.let(S.mul(p, index(size)))
        last = nest.let(S.min(S.add(first, index(size)), turns))
        for row, values in zip(cells, part(first, last), strict=True):
            for (cell, _), value in zip(row, values, strict=True):
                nest.store(cell, p, value)
    totals = [tuple(nest.mut(nest.load(cell, index(0), dtype), "total") for cell, dtype in row) for row in cells]
    with nest.loop(index(parts), index(1)) as p:
        for fold, row, total in zip(folds, cells, totals):
            assert fold.merge is not None
            merged = fold.merge(S, total, tuple(nest.load(cell, p, dtype) for cell, dtype in row))
            for old, new in list(zip(total, [nest.let(x, "a") for x in merged])):
                nest.assign(old, new)
    return list(totals)
