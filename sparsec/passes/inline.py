"""Computes what is read through a view at the place where it is read, if that is not more work.

    %c  = add %a, %b : f32[8,2]                     %a0 = view %a {…} : f32[8] @a:(2)
    %c0 = view %c {…} : f32[8] @c:(2)         ->    %b0 = view %b {…} : f32[8] @b:(2)
    %y  = neg %c0 : f32[8]                          %c2 = add %a0, %b0 : f32[8]
                                                    %y  = neg %c2 : f32[8]

A view of an element-wise result is the op on views of its operands. All readers of the result must be able to do
without it, and together they may not compute more elements than it has: a little more if an element is cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from sparsec.ir.dims import Dim, Poly, product, upper_bound
from sparsec.ir.forms import Form
from sparsec.ir.graph import Attrs, Op, Value
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.remarks import Topic, remark
from sparsec.ir.tensorref import TensorRef
from sparsec.ir.types import TensorType
from sparsec.passes.index_map import IndexMap, compose, index_map, is_identity_map
from sparsec.passes.op_cost import looks_at_index, op_cost
from sparsec.passes.view_reads import ListPass, Reads, Source

__all__ = ["Inline"]

#: An op of at most this many instructions for an element is done again rather than stored.
_CHEAP = 4
_CHEAP_TIMES = 2


@dataclass(frozen=True)
class Inline(ListPass):
    """One walk backwards over each list: readers first, so that chains move as a whole."""

    name: ClassVar[str] = "inline"
    requires: ClassVar[Form] = Form.VIEWS_RESOLVED

    def rewrite(self, reads: Reads) -> tuple[Op, ...]:
        return _Inliner(reads).run()


@dataclass(eq=False)
class _Node:
    """An op of the new list, at the position of an old one."""

    op: Op
    position: int


@dataclass(frozen=True, slots=True)
class _Use:
    """An operand that reads a version: through `ref`, in `shape`."""

    node: _Node
    operand: int
    value: Value


@dataclass
class _Inliner:
    reads: Reads
    before: dict[int, list[Op | _Node]] = field(default_factory=dict)  # new ops, by position
    uses: dict[str, list[_Use]] = field(default_factory=dict)  # by version

    def run(self) -> tuple[Op, ...]:
        nodes = [_Node(op, number) for number, op in enumerate(self.reads.ops)]
        for node in reversed(nodes):
            if not (self._may_move(node.op) and self._move(node)):
                self._note(node)
        out: list[Op] = []
        for node in nodes:
            # Later additions feed earlier ones.
            out += [new.op if isinstance(new, _Node) else new for new in reversed(self.before.get(node.position, []))]
            out.append(node.op)
        return tuple(out)

    def _note(self, node: _Node) -> None:
        kind = record(node.op.name).kind
        if kind is Kind.VIEW:
            return
        for position, value in enumerate(node.op.operands):
            base = self.reads.base(value)
            name = base.name if base is not None else value.storage
            self.uses.setdefault(name, []).append(_Use(node, position, value))

    # --- what may move ---

    def _may_move(self, op: Op) -> bool:
        rec = record(op.name)
        if rec.kind not in (Kind.ELEMENTWISE, Kind.MAP) or len(op.results) != 1:
            return False
        if not op.operands and rec.seen is None:
            return False
        result, reads = op.result, self.reads
        if result.name not in reads.private or result.name in reads.writes or result.type.channels is not None:
            return False
        return 0 not in result.type.shape and result.type.shape != ()

    def _move(self, node: _Node) -> bool:
        """Moves the op to its readers, if all of them can take it and one of them reads through a view."""
        op = node.op
        uses = self.uses.get(op.result.name, [])
        maps = [self._map(op, use) for use in uses]
        shape = op.result.type.shape
        if not uses or any(where is None for where in maps) or all(
            is_identity_map(where, use.value.type.shape, shape) for where, use in zip(maps, uses) if where
        ):
            return False
        if not self._pays(op, uses):
            remark(Topic.MEMORY, "computing it where it is read would be more work", op, op.result.storage)
            return False
        if not all(_can_be_seen(op, where, use) for where, use in zip(maps, uses)):
            return False
        if any(self._overwritten(op, node.position, use.node.position) for use in uses):
            remark(Topic.MEMORY, "what it is made of is overwritten before it is read", op, op.result.storage)
            return False
        remark(Topic.MOVED, _readers(uses), op)
        made: dict[tuple[int, TensorRef, tuple[object, ...]], Value] = {}
        for where, use in zip(maps, uses):
            assert where is not None
            key = (use.node.position, use.value.ref, use.value.type.shape)
            if key not in made:
                made[key] = self._put(op, where, use)
            operands = list(use.node.op.operands)
            operands[use.operand] = made[key]
            use.node.op = replace(use.node.op, operands=tuple(operands))
        return True

    def _map(self, op: Op, use: _Use) -> IndexMap | None:
        reader = use.node.op
        rec = record(reader.name)
        pointwise = {
            Kind.ELEMENTWISE: True, Kind.REDUCE: True, Kind.CHECK: True,
            Kind.MAP: use.operand in rec.pointwise, Kind.UPDATE: rec.region and use.operand >= 2,
        }.get(rec.kind, False)
        if not pointwise or use.value.type.dtype != op.result.type.dtype or use.value.type.shape == ():
            return None
        if self.reads.base(use.value) is None:
            return None
        return index_map(use.value.ref, use.value.type.shape, op.result.ref, op.result.type.shape)

    def _pays(self, op: Op, uses: Sequence[_Use]) -> bool:
        seen = {(use.value.ref, use.value.type.shape) for use in uses}
        total: Dim = 0
        for _, shape in seen:
            total = total + product(shape)
        size = product(op.result.type.shape)
        return _at_most(total, size) or (_at_most(total, size * _CHEAP_TIMES) and op_cost(op) <= _CHEAP)

    def _overwritten(self, op: Op, first: int, last: int) -> bool:
        return any(self.reads.written_between(v.storage, first, last) for v in op.operands)

    # --- the op at its reader ---

    def _put(self, op: Op, where: IndexMap, use: _Use) -> Value:
        shape = use.value.type.shape
        new: list[Op | _Node] = []
        operands = []
        for position, value in enumerate(op.operands):
            walked = record(op.name).kind is Kind.ELEMENTWISE or position in record(op.name).pointwise
            if value.type.shape == () or not walked:
                operands.append(value)
                continue
            base = self.reads.base(value)
            source = Source(base if base is not None else value, compose(where, value.ref))
            like = Value(value.name, TensorType(value.type.dtype, shape))
            seen, views = self._view(source, like, op)
            new += views
            operands.append(seen)
        result = Value(self.reads.names.fresh(f"{op.result.name}.at"), TensorType(op.result.type.dtype, shape))
        attrs = _seen(op, where, shape) if looks_at_index(op) else op.attrs
        node = _Node(Op(op.name, tuple(operands), (result,), attrs or {}, (), op.loc), use.node.position)
        self._note(node)
        self.before.setdefault(node.position, []).extend([node, *reversed(new)])
        return result

    def _view(self, source: Source, like: Value, op: Op) -> tuple[Value, list[Op]]:
        seen, views = self.reads.view(source, like, op)
        for view in views:
            self.reads.definitions[view.result.name] = view
        return seen, views


def _readers(uses: Sequence[_Use]) -> str:
    """Where an op has moved, for a remark."""
    lines = sorted({loc.line for use in uses if (loc := use.node.op.loc) is not None})
    return "where it is read" + (f": line {', '.join(map(str, lines))}" if lines else "")


def _can_be_seen(op: Op, where: IndexMap | None, use: _Use) -> bool:
    return where is not None and (not looks_at_index(op) or _seen(op, where, use.value.type.shape) is not None)


def _seen(op: Op, where: IndexMap, shape: Sequence[object]) -> Attrs | None:
    """The attributes of an op that looks at its index, for a view of its result."""
    rule = record(op.name).seen
    if rule is None or op.operands or any(isinstance(d, Poly) for d in shape):
        return None
    sizes = tuple(int(d) for d in shape)  # type: ignore[call-overload]
    return rule(op.attrs, sizes, where.start, where.steps)


def _at_most(count: Dim, limit: Dim) -> bool:
    """Whether that is certain, whatever symbolic sizes are."""
    most = upper_bound(count - limit)
    return most is not None and most <= 0


