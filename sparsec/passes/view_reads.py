"""One list of ops, with what the passes that move reads ask about it: who makes, reads and writes a storage."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sparsec.ir.builder import Names
from sparsec.ir.graph import Func, Op, Region, Value, touched_storages, walk
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.tensorref import TensorRef
from sparsec.ir.types import TensorType
from sparsec.passes.accesses import access, overlap
from sparsec.passes.base import Pass
from sparsec.passes.facts import is_plain_write, reads_of
from sparsec.passes.index_map import compose, index_map
from sparsec.passes.rebuild import all_names, swap, with_regions

__all__ = ["ListPass", "Reads", "Source"]

#: A read looks at so many earlier writes: programs that write a thousand elements one by one stay cheap.
_MOST_STEPS = 64


class ListPass(Pass):
    """A pass that rewrites op lists one by one, those in regions too."""

    def run(self, func: Func) -> Func:
        names = Names(all_names(func))
        fixed = {v.storage for v in (*func.params, *func.ends)}
        views = {op.result.name: op for op in walk(func.ops) if record(op.name).kind is Kind.VIEW}
        ops, renamed = self._list(func.ops, fixed, func.ends, names, views)
        return replace(func, ops=ops, results=swap(func.results, renamed), writes=swap(func.writes, renamed))

    def _list(
        self, ops: Sequence[Op], fixed: set[str], ends: Sequence[Value], names: Names, views: Mapping[str, Op]
    ) -> tuple[tuple[Op, ...], Mapping[str, Value]]:
        ops = tuple(with_regions(op, lambda r: self._region(r, fixed, names, views)) for op in ops)
        reads = Reads(ops, fixed, tuple(ends), names, views)
        return self.rewrite(reads), reads.renamed

    def _region(self, region: Region, fixed: set[str], names: Names, views: Mapping[str, Op]) -> Region:
        inside = fixed | {v.storage for v in (*region.params, *region.yields)}
        ops, renamed = self._list(region.ops, inside, region.yields, names, views)
        return replace(region, ops=ops, yields=swap(region.yields, renamed))

    def rewrite(self, reads: Reads) -> tuple[Op, ...]:
        """The new list. What is outside called otherwise now is in `reads.renamed`."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Source:
    """Elements by place: those of `ref` in the version `version`."""

    version: Value
    ref: TensorRef


@dataclass
class Reads:
    """`private`: storages that this list makes and that nothing outside it sees, but by name in no region.

    `outer_views`: ops of views that this list may use and does not make, by what they make.
    """

    ops: tuple[Op, ...]
    fixed: set[str]
    ends: tuple[Value, ...]  # what the list hands on: results, or what a region yields
    names: Names
    outer_views: Mapping[str, Op]
    definitions: dict[str, Op] = field(default_factory=dict)
    position: dict[str, int] = field(default_factory=dict)  # of the op that makes a value
    private: set[str] = field(default_factory=set)
    writes: dict[str, list[int]] = field(default_factory=dict)  # positions of writes, by storage
    renamed: dict[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        captured: set[str] = set()
        for number, op in enumerate(self.ops):
            kind = record(op.name).kind
            if op.regions:
                captured |= touched_storages(op)
            for result in op.results:
                self.definitions[result.name] = op
                self.position[result.name] = number
                if kind in (Kind.CREATE, Kind.ELEMENTWISE, Kind.MAP) and result.type.ref is None:
                    self.private.add(result.storage)
                if kind is Kind.UPDATE or (kind is Kind.CONTROL and result.type.ref is not None):
                    self.writes.setdefault(result.storage, []).append(number)
        self.private -= captured | self.fixed

    def base(self, value: Value) -> Value | None:
        """The version that `value` is a view of, or is; None for a view that has another dtype."""
        op = self.definitions.get(value.name) or self.outer_views.get(value.name)
        if op is None or record(op.name).kind is not Kind.VIEW:
            return value
        source = op.operands[0]
        return source if source.type.dtype == value.type.dtype else None

    def resolve(self, value: Value) -> Source | None:
        """Where the elements of `value` were before they were written to where it sees them."""
        base, ref = self.base(value), value.ref
        for _ in range(_MOST_STEPS):
            if base is None:
                break
            op = self.definitions.get(base.name)
            if op is None or record(op.name).kind is not Kind.UPDATE:
                break
            if op.operands[1].type.dtype != value.type.dtype or not record(op.name).region:
                break
            step = self._before(op, value.type, ref)
            if step is None:
                break
            base, ref = step
        return None if base is None else Source(base, ref)

    def _before(self, op: Op, type: TensorType, ref: TensorRef) -> tuple[Value | None, TensorRef] | None:
        """Where a view of what a write makes was before it; None if the write made a part of it."""
        old, region, new = op.operands[:3]
        seen = Value("", type.with_ref(ref))
        if not overlap(access(region, write=True, pointwise=True), access(seen, write=False, pointwise=True)):
            return old, ref
        where = index_map(ref, type.shape, region.ref, region.type.shape)
        if where is None or not is_plain_write(op) or new.type.dtype != type.dtype:
            return None
        if new.type.shape == ():
            return self.base(new), TensorRef(new.ref.storage, new.ref.offset, (0,) * len(type.shape))
        return self.base(new), compose(where, new.ref)

    def written_between(self, storage: str, first: int, last: int) -> bool:
        """Whether an op after `first` and before `last` writes to the storage."""
        numbers = self.writes.get(storage, [])
        after = bisect_right(numbers, first)
        return after < len(numbers) and numbers[after] < last

    def readers(self) -> Iterator[tuple[int, int, Value]]:
        """Every read: the op's position, the operand's, and the operand. Places of writes are no reads."""
        for number, op in enumerate(self.ops):
            for position, value in reads_of(op):
                yield number, position, value

    def view(self, source: Source, like: Value, loc: Op) -> tuple[Value, list[Op]]:
        """A value of `like`'s shape that sees `source`, and the view op that it needs."""
        version, ref = source.version, source.ref
        if version.type.shape == like.type.shape and version.ref == ref:
            return version, []
        result = Value(self.names.fresh(f"{like.name}.r"), TensorType(like.type.dtype, like.type.shape, ref))
        attrs = {"offset": ref.offset, "shape": like.type.shape, "strides": ref.strides}
        return result, [Op("view", (version,), (result,), attrs, (), loc.loc)]


