"""How many bytes each op of a PLANNED function moves between memory and its kernel, and how few would do.

    %t = fused () { exp %x[:, 0] }       reads @x 4000 of 4000 at least, writes @t 4000 of 0
    %y = fused () { neg %t }             reads @t 4000 of 0,             writes @y 4000 of 4000 at least

Within a kernel every element that is read or written counts once, for the first op that touches it; what a
kernel computes and hands on in registers does not count at all. The least that any program could move is what
it reads of its arguments before writing it, and what it writes to arguments and results, each element once:
temporaries, and arrays that several kernels walk, are the rest.

Elements are marked, so the numbers are exact, overlapping views included. They are bounds (`exact` False) where
a gather chooses what is read, where sizes or places are known at run time only, and for storages too large to mark.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sparsec.ir.dims import Dim, evaluate, product, symbols
from sparsec.ir.graph import Func, Op, Value
from sparsec.ir.limits import Limits
from sparsec.ir.ops.control import FIXED_OPERANDS
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.tensorref import TensorRef, self_overlaps, span
from sparsec.passes.accesses import Access, access, domain, is_kernel
from sparsec.passes.facts import is_plain_write

__all__ = ["KernelTraffic", "OpTraffic", "kernel_traffic"]

_MOST_BYTES = 1 << 26  # of a storage whose elements are marked


@dataclass(frozen=True, slots=True)
class OpTraffic:
    """What one op of a kernel moves first, in one turn of the loops around it. `least`: how much of it, in all
    turns together, no program could do without."""

    op: Op
    storage: str
    write: bool
    nbytes: int
    least: int
    exact: bool


@dataclass(frozen=True, slots=True)
class KernelTraffic:
    """One `fused` op in one turn of the loops around it. `turns`: how often it runs; None: values decide."""

    op: Op
    turns: int | None
    items: tuple[OpTraffic, ...]


def kernel_traffic(func: Func, sizes: Mapping[str, int] | None = None) -> tuple[KernelTraffic, ...]:
    """The traffic of every `fused` op of a PLANNED function, in program order.

    sizes: values of symbols, by name, where they are known.
    """
    return tuple(_Traffic(func, sizes or {}).op_list(func.ops, 1))


@dataclass
class _Marks:
    """The bytes of one storage: read from outside so far, written so far."""

    read: np.ndarray
    written: np.ndarray

    @staticmethod
    def of(nbytes: int) -> _Marks:
        return _Marks(np.zeros(nbytes, np.bool_), np.zeros(nbytes, np.bool_))


@dataclass
class _Traffic:
    """Walks the program with marks on the storages that the caller sees."""

    func: Func
    sizes: Mapping[str, int]
    marks: dict[str, _Marks] = field(default_factory=dict)  # since the call began

    def __post_init__(self) -> None:
        self.limits = Limits.of(self.func)
        self.visible = {p.storage for p in self.func.plan if p.space in ("param", "result")}
        self.bytes = {p.storage: self._number(p.nbytes) for p in self.func.plan}
        self.literals = {p.storage for p in self.func.plan if p.space == "const"}
        self.numbers: dict[str, complex] = {}  # literals of one number, by name

    def op_list(self, ops: Sequence[Op], turns: int | None) -> Iterator[KernelTraffic]:
        for op in ops:
            if record(op.name).kind is Kind.CONST:
                self._literal(op)
            if is_kernel(op):
                yield KernelTraffic(op, turns, tuple(self._kernel(op, turns)))
            elif op.regions:
                inside = self._turns(op, turns)
                for region in op.regions:
                    yield from self.op_list(region.ops, inside)

    def _literal(self, op: Op) -> None:
        """Of one number in all elements, a literal is part of the code and takes no memory."""
        number = op.attrs["value"]
        if isinstance(number, tuple):
            if len(number) != 1:
                return
            (number,) = number
        self.numbers[op.result.name] = number

    def _turns(self, op: Op, around: int | None) -> int | None:
        """How often the regions of a control op run; a branch counts as taken."""
        fixed = FIXED_OPERANDS[op.name]
        if len(op.regions) == 2 and fixed:
            return around
        if len(op.regions) == 2 or around is None:
            return None
        known = [self.numbers.get(v.name, self.sizes.get(f"%{v.name}")) for v in op.operands[:fixed]]
        numbers = [int(n.real) for n in known if n is not None]
        return around * len(range(*numbers)) if len(numbers) == fixed and numbers[-1] else None

    # --- one kernel ---

    def _kernel(self, op: Op, turns: int | None) -> Iterator[OpTraffic]:
        inside: dict[str, _Marks] = {}
        region = op.regions[0]
        computed = {r.name for inner in region.ops if not _is_place(inner) for r in inner.results}
        shown = {value.name: outside for value, outside in zip(region.yields, op.results)}
        for inner in region.ops:
            for value, item, most in self._items(inner, computed, shown):
                if value.storage not in self.numbers:
                    yield self._count(inner, item, most, inside, turns)

    def _items(
        self, op: Op, computed: set[str], shown: Mapping[str, Value]
    ) -> Iterator[tuple[Value, Access, Dim | None]]:
        """(value, access, the most elements that it touches or None for all) for what an op moves, reads first."""
        rec = record(op.name)
        over = domain(op)
        if rec.kind in (Kind.VIEW, Kind.CONST, Kind.CREATE):
            return
        idle = over is not None and 0 in over  # a sum of nothing is written all the same
        places = 2 if rec.kind is Kind.UPDATE else 0  # a version and what is written of it
        for position, value in enumerate(op.operands[places:], places):
            if value.name not in computed and not idle:
                chosen = rec.kind is Kind.MAP and position not in rec.pointwise and over is not None
                most = product(over) if chosen and over is not None else None
                yield value, access(value, write=False, pointwise=not chosen), most
        if places:
            target = op.operands[1]
            most = None if rec.region else op.operands[-1].type.size
            if not is_plain_write(op):
                yield target, access(target, write=False, pointwise=True), most
            yield target, access(target, write=True, pointwise=True), most
        for result in op.results[1 if rec.kind is Kind.UPDATE else 0 :]:
            outside = shown.get(result.name)
            if outside is not None:
                yield outside, access(outside, write=True, pointwise=True), None

    # --- counting ---

    def _count(
        self, op: Op, item: Access, most: Dim | None, inside: dict[str, _Marks], turns: int | None
    ) -> OpTraffic:
        """What the access moves that its kernel has not moved yet."""
        storage, total = item.storage, self.bytes.get(item.storage)
        counted = storage in self.visible or storage in self.literals
        place = self._place(item)
        limit = self._elements((most,)) if most is not None else None
        if place is None or total is None or total > _MOST_BYTES or not place.inside(total) or (
            limit is not None and limit < math.prod(place.shape)
        ):
            nbytes = self._bound(item, limit, total)
            # Every turn may touch other elements.
            least = min(nbytes * (turns or 1), nbytes if total is None else total) if counted else 0
            return OpTraffic(op, storage, item.write, nbytes, least, False)
        here = inside.setdefault(storage, _Marks.of(total))
        nbytes = place.mark(here, item.write)
        least = place.mark(self.marks.setdefault(storage, _Marks.of(total)), item.write) if counted else 0
        return OpTraffic(op, storage, item.write, nbytes, least, most is None)

    def _place(self, item: Access) -> _Place | None:
        """The access in numbers; None where symbols are left."""
        try:
            shape = [max(evaluate(d, self.sizes), 0) for d in item.shape]
            strides = [evaluate(s, self.sizes) for s in item.ref.strides]
            offset = evaluate(item.ref.offset, self.sizes)
        except KeyError:
            return None
        kept = [k for k, stride in enumerate(strides) if stride != 0 or shape[k] == 0]
        return _Place(offset, tuple(shape[k] for k in kept), tuple(strides[k] for k in kept), item.itemsize)

    def _bound(self, item: Access, limit: int | None, total: int | None) -> int:
        """The bytes of as many elements as the access may have, or of the storage."""
        counts = [n for n in (self._elements(item.shape), limit) if n is not None]
        found = [n * item.itemsize for n in counts] + ([total] if total is not None else [])
        return min(found, default=0)

    def _elements(self, shape: Sequence[Dim]) -> int | None:
        sizes = [self._number(d) for d in shape]
        return None if any(n is None for n in sizes) else math.prod(max(n, 0) for n in sizes if n is not None)

    def _number(self, dim: Dim) -> int | None:
        """The value of a dim, or the most that it may be."""
        for known in (dim, self.limits.dim(dim)):
            if known is not None and all(s.name in self.sizes for s in symbols(known)):
                return evaluate(known, self.sizes)
        return None


@dataclass(frozen=True, slots=True)
class _Place:
    """The elements of an access, in numbers, without axes that repeat them."""

    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    itemsize: int

    def inside(self, total: int) -> bool:
        """Whether a storage of so many bytes has all of them: what is not so is never run."""
        low, high = span(TensorRef("", self.offset, self.strides), self.shape)
        return low >= 0 and high * self.itemsize <= total

    def mark(self, marks: _Marks, write: bool) -> int:
        """Marks the elements as read or written; gives how many bytes were not. What was written before it is
        read need not come from outside."""
        mine = marks.written if write else marks.read
        new = ~self._of(mine) if write else ~(self._of(mine) | self._of(marks.written))
        if self_overlaps(TensorRef("", self.offset, self.strides), self.shape):
            once = np.zeros_like(mine)
            self._of(once)[new] = True
            new = once
        self._of(mine)[...] = True
        return int(np.count_nonzero(new))

    def _of(self, marks: np.ndarray) -> np.ndarray:
        """The marks of these bytes, a row for each element."""
        if 0 in self.shape:
            return marks[:0]
        strides = (*(s * self.itemsize for s in self.strides), 1)
        start = marks[self.offset * self.itemsize :]
        return np.lib.stride_tricks.as_strided(start, (*self.shape, self.itemsize), strides)


def _is_place(op: Op) -> bool:
    """Whether the results name memory, and not what was computed."""
    return record(op.name).kind in (Kind.VIEW, Kind.UPDATE, Kind.CONST, Kind.CREATE)
