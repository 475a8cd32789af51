"""What a group of ops goes over: the axes of its domain, kept ones and folded ones, and the loops over them.

    x[4,6] summed over axis 1:  kept (0,), folded (1,)         for i in 0..4 bind(parallel) { for j in 0..6 { … } }
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from sparsec.ir.dims import Dim, product
from sparsec.ir.graph import Op
from sparsec.ir.loop_rewrite import nodes
from sparsec.ir.loops import Const, Expr, Var
from sparsec.ir.ops.record import Fold, Kind, record
from sparsec.ir.scalar import S, index
from sparsec.ir.tensorref import self_overlaps
from sparsec.ir.types import I64
from sparsec.passes.accesses import accesses, domain
from sparsec.passes.axes import Loop, axis_positions, merged_loops
from sparsec.passes.groups import is_pairwise
from sparsec.passes.lower_kernel import KernelWriter
from sparsec.passes.op_cost import looks_at_index

At = list[Expr]  # an index for every axis of the domain


class Domain:
    """The domain of `ops`, of which its reductions fold the axes `folded`."""

    def __init__(self, k: KernelWriter, ops: Sequence[Op]) -> None:
        self.k, self.ops = k, ops
        shape = domain(ops[0])
        assert shape is not None
        self.shape = shape
        self.reductions = [op for op in ops if record(op.name).kind is Kind.REDUCE]
        self.folded: tuple[int, ...] = tuple(self.reductions[0].attrs["axes"]) if self.reductions else ()
        self.kept = [a for a in range(len(shape)) if a not in self.folded]

    def is_empty(self) -> bool:
        """Whether there is no element to write."""
        return any(self.shape[a] == 0 for a in self.kept) or (not self.reductions and 0 in self.shape)

    def loops(self, axes: Sequence[int]) -> tuple[Loop, ...]:
        """Loops over some of the axes, outermost first."""
        return merged_loops(self.shape, axes, self.strides(), merge=not self._needs_index())

    def strides(self) -> list[tuple[Dim, ...]]:
        """Of every view that is walked, one stride for each axis of the domain."""
        found = []
        for op in self.ops:
            rec = record(op.name)
            found += [a.ref.strides for a in accesses(op) if a.pointwise and a.shape == self.shape]
            if rec.kind is Kind.REDUCE:
                kept = iter(op.result.ref.strides)
                found.append(tuple(0 if a in self.folded else next(kept) for a in range(len(self.shape))))
            if rec.kind is Kind.MAP and rec.looks is not None:
                found += self._looked_at(op, rec.looks(op.attrs))
        return found

    def _looked_at(self, op: Op, axes: Sequence[int]) -> list[tuple[Dim, ...]]:
        """The first operand is walked along all axes but these, which merge with no other."""
        walked = tuple(0 if a in axes else s for a, s in enumerate(op.operands[0].ref.strides))
        return [walked, *(tuple(int(a == axis) for a in range(len(self.shape))) for axis in axes)]

    def _needs_index(self) -> bool:
        """Whether an op looks at the index itself, which merged axes do not have."""
        if any(r.lower is not None and not is_pairwise(op) and len(op.attrs["axes"]) > 1 and _counts(op)
               for op in self.reductions for r in (record(op.name),)):
            return True
        maps = [op for op in self.ops if record(op.name).kind is Kind.MAP]
        return any(record(op.name).looks is None and looks_at_index(op) for op in maps)

    def sequential(self) -> bool:
        """Whether an element may be written by two iterations, the later of which must win."""
        written = [a for op in self.ops for a in accesses(op) if a.write and a.pointwise]
        return any(self_overlaps(a.ref, a.shape) for a in written)

    @contextmanager
    def nest(
        self, loops: Sequence[Loop], bind: str, base: At | None = None, first: Sequence[Expr] = ()
    ) -> Iterator[At]:
        """Loops, and the index inside of them, which is that of `base` on other axes. first: the turns of the first
        loop, if not all of them."""
        with ExitStack() as stack:
            bounds: list[tuple[Expr, Expr]] = [(index(0), self.k.dim(loop.size)) for loop in loops]
            if first and loops:
                bounds[0] = (first[0], first[1])
            counters = [stack.enter_context(self.k.nest.loop(stop, start, bind=bind)) for start, stop in bounds]
            at = axis_positions(len(self.shape), loops, counters)
            yield [b if not _is_zero(b) else a for a, b in zip(at, base or at)]

    def flat(self, at: At) -> Expr:
        """The position among the folded elements, in C order."""
        total: Expr = index(0)
        for axis in self.folded:
            total = S.add(S.mul(total, self.k.dim(self.shape[axis])), at[axis])
        return total

    def count(self) -> Expr:
        """How many elements each fold takes."""
        return self.k.dim(product(self.shape[a] for a in self.folded))


def _counts(op: Op) -> bool:
    """Whether the reduction's step uses the position of the element (argmax)."""
    fold: Fold = record(op.name).lower
    dtype = op.operands[0].type.dtype
    cells = tuple(Var(f"acc{n}", x.dtype) for n, x in enumerate(fold.init(dtype, op.attrs)))
    position = Var("position", I64)
    return any(e == position for x in fold.step(S, cells, Var("x", dtype), position) for e in nodes(x))


def _is_zero(expr: Expr) -> bool:
    return isinstance(expr, Const) and expr.value == 0
