"""Cuts the domain of connected ops into boxes: each op becomes one op for each box.

    %a = add %x, %y : f32[8,2]               %a0 = add %x0, %y0 : f32[8]      %x0 = view %x {…} : f32[8] @x:(2)
    %t1 = update %t, %v, %a            ->    %a1 = add %x1, %y1 : f32[8]      …
                                             %t0 = update %t, %v0, %a0
                                             %t1 = update %t0, %v1, %a1

`columns.py` and `pieces.py` decide what is cut and where. Between the ops of a component a value goes on box by
box; for all other readers it is put together in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from sparsec.ir.dims import Dim
from sparsec.ir.graph import Op, Value
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.tensorref import TensorRef
from sparsec.ir.types import TensorType
from sparsec.passes.accesses import domain
from sparsec.passes.op_cost import looks_at_index
from sparsec.passes.rebuild import rename_op, retyped
from sparsec.passes.view_reads import Reads, Source

__all__ = ["Box", "Component", "components", "cut"]


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a domain: indexes `start + step * k`, k below `size`. `dropped` are axes (of size 1) that the
    new ops do without; no `step` is 1 everywhere."""

    start: tuple[int, ...]
    size: tuple[int, ...]
    dropped: tuple[int, ...] = ()
    step: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(d for axis, d in enumerate(self.size) if axis not in self.dropped)

    def of(self, ref: TensorRef) -> TensorRef:
        """The part of a view that has the domain's shape."""
        offset: Dim = ref.offset
        for start, stride in zip(self.start, ref.strides, strict=True):
            offset = offset + start * stride
        steps = self.step or (1,) * len(self.size)
        strides = tuple(s * k for axis, (s, k) in enumerate(zip(ref.strides, steps)) if axis not in self.dropped)
        return TensorRef(ref.storage, offset, strides)


@dataclass(eq=False)
class Component:
    """Ops over one domain that hand their values on element for element; positions in the list, in order."""

    shape: tuple[Dim, ...]
    positions: list[int] = field(default_factory=list)


def components(reads: Reads) -> dict[int, Component]:
    """The component of every op that can be cut, by position."""
    shapes: dict[int, tuple[Dim, ...]] = {}
    leader: dict[int, int] = {}  # a position of the same component, itself for the one that stands for all
    for number, op in enumerate(reads.ops):
        shape = domain(op)
        if shape is None or not _can_be_cut(op):
            continue
        shapes[number], leader[number] = shape, number
        for value in walked(op):
            made = reads.position.get(value.name, -1)
            if shapes.get(made) == shape and _makes(reads.ops[made], value):
                leader[_leader(leader, made)] = _leader(leader, number)
    found: dict[int, Component] = {}
    for number, shape in shapes.items():
        component = found.setdefault(_leader(leader, number), Component(shape, []))
        component.positions.append(number)
    return {number: found[_leader(leader, number)] for number in shapes}


def _leader(leader: dict[int, int], number: int) -> int:
    """Who stands for a position's component; shortens the way there."""
    while leader[number] != number:
        leader[number] = leader[leader[number]]
        number = leader[number]
    return number


def walked(op: Op) -> Iterator[Value]:
    """The operands that the op reads element for element with its domain."""
    rec = record(op.name)
    shape = domain(op)
    for position, value in enumerate(op.operands):
        if rec.kind is Kind.UPDATE and position < 2:
            continue
        if value.type.shape == shape and shape != () and (rec.kind is not Kind.MAP or position in rec.pointwise):
            yield value


def _makes(op: Op, value: Value) -> bool:
    return record(op.name).kind in (Kind.ELEMENTWISE, Kind.MAP) and op.results[0].name == value.name


def _can_be_cut(op: Op) -> bool:
    rec = record(op.name)
    if rec.kind is Kind.UPDATE:  # a view of another dtype is not cut: its parts are no views of the version
        return rec.region and len(op.results) == 1 and op.operands[1].type.dtype == op.operands[0].type.dtype
    if rec.kind is Kind.MAP and (looks_at_index(op) or not op.operands):
        return False
    return rec.kind in (Kind.ELEMENTWISE, Kind.MAP) and len(op.results) == 1 and op.result.type.channels is None


# --- cutting -----------------------------------------------------------------------------------------------


def cut(reads: Reads, plan: Sequence[tuple[Component, Sequence[Box]]]) -> tuple[Op, ...]:
    """The list with each component cut into its boxes."""
    boxes = {number: parts for component, parts in plan for number in component.positions}
    owner = {number: component for component, _ in plan for number in component.positions}
    cutter = _Cutter(reads, boxes, owner)
    cutter.find_outside()
    out: list[Op] = []
    for number, op in enumerate(reads.ops):
        out += cutter.op(number, op)
    return tuple(out)


@dataclass
class _Cutter:
    reads: Reads
    boxes: dict[int, Sequence[Box]]
    owner: dict[int, Component]
    parts: dict[str, list[Value]] = field(default_factory=dict)  # of a value, by box
    whole: dict[str, Value] = field(default_factory=dict)  # a value put together in memory
    outside: set[str] = field(default_factory=set)  # values that must be

    def op(self, number: int, op: Op) -> list[Op]:
        op = self._renamed(op)
        boxes = self.boxes.get(number)
        if boxes is None:
            return [op]
        if record(op.name).kind is Kind.UPDATE:
            return self._update(number, op, boxes)
        out: list[Op] = []
        parts = []
        original = self.reads.ops[number].operands
        for box in boxes:
            operands = tuple(self._part(number, op, v, k, box, out) for k, v in enumerate(original))
            type = TensorType(op.result.type.dtype, box.shape)
            result = Value(self.reads.names.fresh(f"{op.result.name}.part"), type)
            out.append(replace(op, operands=operands, results=(result,)))
            parts.append(result)
        self.parts[op.result.name] = parts
        return out + (self._assembled(op, boxes, parts) if op.result.name in self.outside else [])

    def _renamed(self, op: Op) -> Op:
        """The op with values that were put together under their new names."""
        if op.regions:
            return rename_op(op, self.whole)
        operands = tuple(self.whole.get(v.name, v) for v in op.operands)
        return retyped(op, operands) if operands != op.operands else op

    def _part(self, number: int, op: Op, value: Value, position: int, box: Box, out: list[Op]) -> Value:
        """The operand's part in a box. Parts of what the component made are at hand."""
        rec = record(op.name)
        walks = rec.kind is not Kind.MAP or position in rec.pointwise
        if value.type.shape == () or not walks:
            return self.whole.get(value.name, value)
        made = self.reads.position.get(value.name, -1)
        if value.name in self.parts and self.owner.get(made) is self.owner[number]:
            known = self.boxes[number]
            return self.parts[value.name][next(k for k, b in enumerate(known) if b is box)]
        return self._view(value, box, out, op)

    def _view(self, value: Value, box: Box, out: list[Op], op: Op) -> Value:
        base = self.reads.base(value)
        version = base if base is not None else value
        ref = box.of(value.ref)
        version = self.whole.get(version.name, version)
        like = Value(value.name, TensorType(value.type.dtype, box.shape))
        seen, views = self.reads.view(Source(version, ref), like, op)
        out += views
        return seen

    def _update(self, number: int, op: Op, boxes: Sequence[Box]) -> list[Op]:
        out: list[Op] = []
        original = self.reads.ops[number]
        version = op.operands[0]
        for k, box in enumerate(boxes):
            region = self._region(version, original.operands[1], box, out, op)
            values = [self._part(number, op, v, k + 2, box, out) for k, v in enumerate(original.operands[2:])]
            last = k == len(boxes) - 1
            name = op.result.name if last else self.reads.names.fresh(f"{op.result.name}.part")
            result = Value(name, op.result.type)
            out.append(replace(op, operands=(version, region, *values), results=(result,)))
            version = result
        return out

    def _region(self, version: Value, region: Value, box: Box, out: list[Op], op: Op) -> Value:
        like = Value(region.name, TensorType(region.type.dtype, box.shape))
        seen, views = self.reads.view(Source(version, box.of(region.ref)), like, op)
        out += views
        return seen

    # --- values that others read ---

    def find_outside(self) -> None:
        """Finds the values that are read by others than the ops of their component, element for element."""
        inside: Counter[str] = Counter()
        for number in self.boxes:
            for value in walked(self.reads.ops[number]):
                made = self.reads.position.get(value.name, -1)
                if self.owner.get(made) is self.owner[number] and _makes(self.reads.ops[made], value):
                    inside[value.name] += 1
        total = Counter(value.name for op in self.reads.ops for value in op.operands)
        names = {self.reads.ops[n].results[0].name for n in self.boxes}
        self.outside = {n for n in names if n not in self.reads.private or total[n] != inside[n]}

    def _assembled(self, op: Op, boxes: Sequence[Box], parts: Sequence[Value]) -> list[Op]:
        """The value in memory: its name is that of the fresh storage now."""
        type = op.result.type
        version = Value(op.result.name, type)
        out = [Op("empty", (), (version,), {"dtype": type.dtype, "shape": type.shape}, (), op.loc)]
        for box, part in zip(boxes, parts):
            region = self._region(version, op.result, box, out, op)
            result = Value(self.reads.names.fresh(f"{op.result.name}.whole"), type.with_ref(version.ref))
            out.append(Op("update", (version, region, part), (result,), {}, (), op.loc))
            version = result
        self.whole[op.result.name] = self.reads.renamed[op.result.name] = version
        return out
