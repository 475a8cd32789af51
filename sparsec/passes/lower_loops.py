"""Groups over one domain as a loop nest: element-wise ops, maps, reductions, region updates and checks.

    %e = exp %x : f32[4,6]             for i in 0..4 bind(parallel) {
    %s = sum %e {axes=[1]}     ->        mut m = 0.0
    yield %s                             for j in 0..6 { m = m + exp(%x[i * 6 + j]) }
                                         %s[i] = m
                                       }

Every value of an iteration is bound to a name once. Without reductions all axes are outer loops; with them,
the kept axes are outside and the folded ones inside, in C order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sparsec.ir.dims import Dim, product
from sparsec.ir.graph import Op, Value
from sparsec.ir.loop_rewrite import nodes
from sparsec.ir.loops import Const, Expr, Var
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops.record import Fold, Kind, record
from sparsec.ir.ops.summation import pairwise_sum, pairwise_sums
from sparsec.ir.scalar import S, const, index
from sparsec.ir.tensorref import TensorRef, self_overlaps
from sparsec.ir.types import I64
from sparsec.passes.accesses import accesses, domain
from sparsec.passes.axes import Loop, axis_positions, merged_loops
from sparsec.passes.fold_parts import PARTS, fold_parts, worth_parts
from sparsec.passes.groups import is_pairwise
from sparsec.passes.lanes import Lanes, in_blocks, lane_count
from sparsec.passes.lower_kernel import KernelWriter
from sparsec.passes.op_cost import looks_at_index

NOTHING: Mapping[str, Expr] = MappingProxyType({})

At = list[Expr]  # an index for every axis of the domain


def lower_loops(k: KernelWriter, ops: Sequence[Op], shown: Mapping[str, Value]) -> None:
    """Writes the kernel of `ops`. shown: what the values that are visible outside are called there."""
    _LoopNest(k, [op for op in ops if domain(op) is not None], shown).write()


def elements_after(
    k: KernelWriter, op: Op, after: Sequence[Op], shown: Mapping[str, Value]
) -> Callable[[Sequence[Expr], Expr], None]:
    """What to do with an element of `op`'s result, at an index: `after` is applied to it. Scalars that all elements
    share are loaded where this is called."""
    if not after:
        return lambda at, value: None
    nest = _LoopNest(k, list(after), shown)
    nest.bind_scalars()
    return lambda at, value: nest.element_of(op.result, list(at), value)


@dataclass
class _Accumulator:
    """A reduction under way."""

    op: Op
    fold: Fold
    cells: tuple[Var, ...]


class _LoopNest:
    """The loop nest of one group."""

    def __init__(self, k: KernelWriter, ops: list[Op], shown: Mapping[str, Value]) -> None:
        self.k, self.ops, self.shown = k, ops, shown
        shape = domain(ops[0])
        assert shape is not None
        self.shape = shape
        self.reductions = [op for op in ops if record(op.name).kind is Kind.REDUCE]
        self.axes: tuple[int, ...] = tuple(self.reductions[0].attrs["axes"]) if self.reductions else ()
        self.kept = [a for a in range(len(shape)) if a not in self.axes]
        self.scalars: dict[str, Expr] = {}  # read once, before the loops
        self.env: dict[str, Expr] = {}  # of the iteration being written
        self.loaded: dict[tuple[Any, ...], tuple[TensorRef, Expr]] = {}

    def write(self) -> None:
        if any(self.shape[a] == 0 for a in self.kept) or (not self.reductions and 0 in self.shape):
            return
        self.bind_scalars()
        outer, inner = self._loops(self.kept), self._loops(self.axes)
        bind = "seq" if self._sequential() else "parallel"
        if self._abreast(outer):
            with self._nest(outer[:-1], bind) as at:
                self._across(at, outer[-1], inner, bind)
            return
        with self._nest(outer, bind) as at:
            if not self.reductions:
                self._element(at)
            elif is_pairwise(self.reductions[0]):
                self._pairwise(at, inner, alone=not outer)
            elif self._merges(inner):
                self._fold_along(at, inner, alone=not outer)
            else:
                self._fold(at, inner)

    # --- loops ---

    def _loops(self, axes: Sequence[int]) -> tuple[Loop, ...]:
        return merged_loops(self.shape, axes, self._strides(), merge=not self._needs_index())

    def _strides(self) -> list[tuple[Dim, ...]]:
        """Of every view that is walked, one stride for each axis of the domain."""
        found = []
        for op in self.ops:
            rec = record(op.name)
            found += [a.ref.strides for a in accesses(op) if a.pointwise and a.shape == self.shape]
            if rec.kind is Kind.REDUCE:
                kept = iter(op.result.ref.strides)
                found.append(tuple(0 if a in self.axes else next(kept) for a in range(len(self.shape))))
            if rec.kind is Kind.MAP and rec.looks is not None:
                found += self._looked_at(op, rec.looks(op.attrs))
        return found

    def _looked_at(self, op: Op, axes: Sequence[int]) -> list[tuple[Dim, ...]]:
        """The first operand is walked along all axes but these, which merge with no other."""
        walked = tuple(0 if a in axes else s for a, s in enumerate(op.operands[0].ref.strides))
        return [walked, *(tuple(int(a == axis) for a in range(len(self.shape))) for axis in axes)]

    def _sequential(self) -> bool:
        """Whether an element may be written by two iterations, the later of which must win."""
        written = [a for op in self.ops for a in accesses(op) if a.write and a.pointwise]
        return any(self_overlaps(a.ref, a.shape) for a in written)

    @contextmanager
    def _nest(
        self, loops: Sequence[Loop], bind: str, base: At | None = None, first: Sequence[Expr] = ()
    ) -> Iterator[At]:
        """`first`: the turns of the first loop, if not all of them."""
        with ExitStack() as stack:
            bounds: list[tuple[Expr, Expr]] = [(index(0), self.k.dim(loop.size)) for loop in loops]
            if first and loops:
                bounds[0] = (first[0], first[1])
            counters = [stack.enter_context(self.k.nest.loop(stop, start, bind=bind)) for start, stop in bounds]
            at = axis_positions(len(self.shape), loops, counters)
            yield [b if not _is_zero(b) else a for a, b in zip(at, base or at)]

    # --- elements ---

    def bind_scalars(self) -> None:
        """Scalars that every iteration reads are loaded once."""
        if self.shape == ():
            return
        for op in self.ops:
            rec = record(op.name)
            for position, value in enumerate(op.operands):
                walked = rec.kind is Kind.UPDATE and position < 2
                gathered = rec.kind is Kind.MAP and position not in rec.pointwise
                if value.type.shape == () and not walked and not gathered and value.name not in self.scalars:
                    self.scalars[value.name] = self.k.nest.let(self.k.load(value, ()), "s")

    def _read(self, value: Value, at: At) -> Expr:
        """The element of an operand at this iteration."""
        for known in (self.env, self.scalars):
            if value.name in known:
                return known[value.name]
        ref = value.ref
        key = (ref.storage, ref.offset, ref.strides, value.type.dtype)
        if key not in self.loaded:
            self.loaded[key] = (ref, self.k.nest.let(self.k.load(value, at), "x"))
        return self.loaded[key][1]

    def element_of(self, first: Value, at: At, value: Expr) -> None:
        """Writes all ops at one index, where the element of `first` is known."""
        self._element(at, {first.name: self.k.nest.let(value, "t")})

    def _element(self, at: At, given: Mapping[str, Expr] = NOTHING) -> dict[str, Expr]:
        """Writes all ops at one index; gives what each reduction folds in. given: elements that are known."""
        self.env, self.loaded = dict(given), {}
        folded: dict[str, Expr] = {}
        for op in self.ops:
            self.k.op = op
            rec = record(op.name)
            match rec.kind:
                case Kind.ELEMENTWISE:
                    operands = [self._read(v, at) for v in op.operands]
                    self._define(op, rec.lower(S, *operands, **op.attrs))
                case Kind.MAP:
                    reads = [self._reader(op, position, at) for position in range(len(op.operands))]
                    self._define(op, rec.lower(S, tuple(at), reads, **op.attrs))
                case Kind.REDUCE:
                    folded[op.result.name] = self._read(op.operands[0], at)
                case Kind.UPDATE:
                    self._update(op, at)
                case Kind.CHECK:
                    operands = [self._read(v, at) for v in op.operands]
                    rec.lower(_OnePoint(self.k.nest, operands, at), **op.attrs)
        for name, value in self.env.items():
            if name in self.shown:
                self.k.store(self.shown[name], at, value)
        return folded

    def _define(self, op: Op, value: Expr) -> None:
        self.env[op.result.name] = self.k.nest.let(value, "t")

    def _reader(self, op: Op, position: int, at: At) -> Callable[..., Expr]:
        """How a map reads an operand: here, or anywhere."""
        value = op.operands[position]
        if position in record(op.name).pointwise:
            return lambda *_: self._read(value, at)

        def read(*index: Expr, given: tuple[Expr, Any] | None = None) -> Expr:
            element = self.k.load(value, index)
            if given is None:
                return self.k.nest.let(element, "x")
            found = self.k.nest.mut(const(given[1], element.dtype), "x")
            with self.k.nest.if_(given[0]):
                self.k.nest.assign(found, element)
            return found

        return read

    def _update(self, op: Op, at: At) -> None:
        _, region, value, *more = op.operands
        operands = [self._read(v, at) for v in (value, *more)]
        new = record(op.name).lower(S, self.k.load(region, at), *operands, **op.attrs)
        element = self.k.nest.let(new, "t")
        self.k.store(region, at, element)
        # What was loaded from the storage may have changed; what was stored is known.
        self.loaded = {k: v for k, v in self.loaded.items() if v[0].storage != region.storage}
        ref = region.ref
        self.loaded[ref.storage, ref.offset, ref.strides, region.type.dtype] = (ref, element)

    # --- reductions ---

    def _fold(self, at: At, inner: Sequence[Loop]) -> None:
        nest = self.k.nest
        accs = [self._start(op) for op in self.reductions]
        with self._nest(inner, "seq", at) as here:
            elements = self._element(here)
            position = self._flat(here)
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
        shown = self.shown.get(op.result.name)
        if shown is not None:
            self.k.store(shown, [at[a] for a in self.kept], value)

    def _flat(self, at: At) -> Expr:
        """The position among the folded elements, in C order."""
        total: Expr = index(0)
        for axis in self.axes:
            total = S.add(S.mul(total, self.k.dim(self.shape[axis])), at[axis])
        return total

    def _pairwise(self, at: At, inner: Sequence[Loop], *, alone: bool) -> None:
        """`alone`: no loops are around it that threads could share."""
        (op,) = self.reductions
        dtype = op.operands[0].type.dtype
        tile = self.k.lanes and self._computes() and not self._sequential() and not self._is_short(inner)
        cuts = PARTS.bit_length() - 1 if alone and self._in_parts() else 0
        total = pairwise_sum(
            self.k.nest, self._count(), lambda i: self._folded_at(at, inner, i), dtype, tile=tile, cuts=cuts
        )
        self._finish(op, at, record(op.name).lower.finish(S, (total,)))

    def _is_short(self, inner: Sequence[Loop]) -> bool:
        """Whether the folded elements are too few for vectors of their own."""
        size = product(loop.size for loop in inner)
        return isinstance(size, int) and size < 32

    def _count(self) -> Expr:
        return self.k.dim(product(self.shape[a] for a in self.axes))

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
        for axis, where in enumerate(axis_positions(len(self.shape), inner, counters)):
            if axis in self.axes:
                here[axis] = where
        return self._element(here)[self.reductions[0].result.name]

    def _computes(self) -> bool:
        """Whether an element is more than a load."""
        return any(record(op.name).kind not in (Kind.REDUCE, Kind.VIEW) for op in self.ops)

    # --- reductions in lanes ---

    def _abreast(self, outer: Sequence[Loop]) -> bool:
        """Whether neighbours along the last kept axis had better be reduced at the same time: where memory runs
        along it, and not along the folded ones."""
        if not self.k.lanes or not self.reductions or not outer or not self.axes or self._sequential():
            return False
        size, axis = outer[-1].size, outer[-1].axes[-1]
        views = [s for s in self._strides() if any(s[a] != 0 for a in self.axes)]
        along = any(s[a] in (1, -1) and self.shape[a] != 1 for s in views for a in self.axes)
        return (not isinstance(size, int) or size >= 8) and not along and any(s[axis] == 1 for s in views)

    def _across(self, at: At, loop: Loop, inner: Sequence[Loop], bind: str) -> None:
        nest = self.k.nest
        axis = loop.axes[-1]
        count = lane_count([x.dtype for op in self.reductions for x in self._init(op)])
        if isinstance(loop.size, int):
            count = min(count, loop.size)

        def block(first: Expr, width: Expr) -> None:
            def lane(j: Expr, base: At = at) -> At:
                return [S.add(first, j) if a == axis else x for a, x in enumerate(base)]

            if is_pairwise(self.reductions[0]):
                (op,) = self.reductions
                dtype = op.operands[0].type.dtype

                def element(position: Expr, j: Expr) -> Expr:
                    return self._folded_at(lane(j), inner, position)

                totals = pairwise_sums(nest, self._count(), width, count, element, dtype)
                with nest.loop(width, bind=bind) as j:
                    total = nest.load(totals, j, dtype)
                    self._finish(op, lane(j), record(op.name).lower.finish(S, (total,)))
                return
            lanes = self._lanes(count)
            with self._nest(inner, "seq", at) as here:
                position = self._flat(here)
                with nest.loop(width, bind=bind) as j:
                    self._take(lanes, j, lane(j, here), position)
            with nest.loop(width, bind=bind) as j:
                for k, op in enumerate(self.reductions):
                    self._finish(op, lane(j), lanes.folds[k].finish(S, lanes.at(k, j)))

        in_blocks(nest, self.k.dim(loop.size), count, bind, block)

    def _merges(self, inner: Sequence[Loop]) -> bool:
        """Whether the folds may be taken in lanes along the innermost folded loop."""
        if not self.k.lanes or not inner or self._sequential():
            return False
        folds = [(record(op.name).lower, op.operands[0].type.dtype.kind) for op in self.reductions]
        return not self._is_short(inner[-1:]) and all(kind in fold.merges for fold, kind in folds)

    def _in_parts(self) -> bool:
        """Whether a fold of everything is cut into parts."""
        return self.k.lanes and worth_parts(self._count()) and not self._sequential()

    def _fold_along(self, at: At, inner: Sequence[Loop], *, alone: bool) -> None:
        """`alone`: no loops are around it that threads could share."""
        starts = list(map(self._init, self.reductions))
        folds: list[Fold] = [record(op.name).lower for op in self.reductions]
        count = lane_count([x.dtype for start in starts for x in start])
        turns = self.k.dim(inner[0].size)

        def part(first: Expr, last: Expr) -> list[tuple[Expr, ...]]:
            return self._along(at, inner, first, last, count).merged()

        if alone and self._in_parts():
            unit = count if len(inner) == 1 else 1
            merged = fold_parts(self.k.nest, folds, starts, self._count(), turns, unit, part)
        else:
            merged = part(index(0), turns)
        for op, fold, cells in zip(self.reductions, folds, merged):
            self._finish(op, at, fold.finish(S, cells))

    def _along(self, at: At, inner: Sequence[Loop], first: Expr, last: Expr, count: int) -> Lanes:
        """Folds turns of the outermost folded loop, in lanes along the innermost."""
        nest, axis = self.k.nest, inner[-1].axes[-1]
        lanes = self._lanes(count)
        with self._nest(inner[:-1], "seq", at, (first, last)) as base:
            size = self.k.dim(inner[-1].size) if len(inner) > 1 else nest.let(S.sub(last, first))
            start = index(0) if len(inner) > 1 else first

            def block(begin: Expr, width: Expr) -> None:
                with nest.loop(width, bind="parallel") as j:
                    here = [S.add(S.add(start, begin), j) if a == axis else x for a, x in enumerate(base)]
                    self._take(lanes, j, here, self._flat(here))

            in_blocks(nest, size, count, "seq", block)
        return lanes

    def _init(self, op: Op) -> tuple[Expr, ...]:
        fold: Fold = record(op.name).lower
        return fold.init(op.operands[0].type.dtype, op.attrs)

    def _lanes(self, count: int) -> Lanes:
        folds = [record(op.name).lower for op in self.reductions]
        return Lanes(self.k.nest, folds, list(map(self._init, self.reductions)), count)

    def _take(self, lanes: Lanes, j: Expr, here: At, position: Expr) -> None:
        elements = self._element(here)
        lanes.take(j, [elements[op.result.name] for op in self.reductions], position)

    # --- maps ---

    def _needs_index(self) -> bool:
        """Whether an op looks at the index itself, which merged axes do not have."""
        if any(r.lower is not None and not is_pairwise(op) and len(op.attrs["axes"]) > 1 and _counts(op)
               for op in self.reductions for r in (record(op.name),)):
            return True
        maps = [op for op in self.ops if record(op.name).kind is Kind.MAP]
        return any(record(op.name).looks is None and looks_at_index(op) for op in maps)


def _counts(op: Op) -> bool:
    """Whether the reduction's step uses the position of the element (argmax)."""
    fold: Fold = record(op.name).lower
    dtype = op.operands[0].type.dtype
    cells = tuple(Var(f"acc{n}", x.dtype) for n, x in enumerate(fold.init(dtype, op.attrs)))
    position = Var("position", I64)
    return any(e == position for x in fold.step(S, cells, Var("x", dtype), position) for e in nodes(x))


class _OnePoint:
    """The nest that a check is lowered with: its loops are those that the group has already."""

    def __init__(self, nest: NestBuilder, operands: Sequence[Expr], at: At) -> None:
        self._nest, self._values, self._at = nest, operands, at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._nest, name)

    def shape(self, operand: int) -> tuple[Expr, ...]:
        return tuple(self._at)  # only counted

    @contextmanager
    def loops(self, shape: Sequence[Expr], bind: str = "seq") -> Iterator[tuple[Expr, ...]]:
        yield tuple(self._at)

    def read(self, operand: int, *at: Expr) -> Expr:
        return self._values[operand]


def _is_zero(expr: Expr) -> bool:
    return isinstance(expr, Const) and expr.value == 0



