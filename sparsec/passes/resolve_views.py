"""Folds view chains: each view becomes one `view` of the storage's version, by absolute offset and strides.

    %a = slice %x {start=[1,0], …} : f32[4,6] @x+6          %b = view %x {offset=6, …} : f32[6,4] @x+6:(1,6)
    %b = transpose %a {perm=[1,0]} : f32[6,4] @x+6:(1,6)  ->
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from sparsec.ir.forms import Form
from sparsec.ir.graph import Func, Op, Region, Value, walk
from sparsec.ir.ops.record import Kind, record
from sparsec.passes.base import Pass
from sparsec.passes.rebuild import swap, view_op, with_regions

__all__ = ["ResolveViews"]


@dataclass(frozen=True)
class ResolveViews(Pass):
    """Views of views go; so do views that change nothing."""

    name: ClassVar[str] = "resolve-views"
    requires: ClassVar[Form] = Form.TRACED
    ensures: ClassVar[Form | None] = Form.VIEWS_RESOLVED

    def run(self, func: Func) -> Func:
        work = _Views({r.name: op for op in walk(func.ops) for r in op.results})
        ops = work.op_list(func.ops)
        results, writes = swap(func.results, work.same), swap(func.writes, work.same)
        return replace(func, ops=ops, results=results, writes=writes)


class _Views:
    """`same` maps a view that changes nothing to what it is a view of."""

    def __init__(self, definitions: dict[str, Op]) -> None:
        self.same: dict[str, Value] = {}
        self._definitions = definitions

    def op_list(self, ops: Sequence[Op]) -> tuple[Op, ...]:
        out = []
        for op in ops:
            new = self._view(op) if record(op.name).kind is Kind.VIEW else op
            if new is not None:
                operands = swap(new.operands, self.same)
                new = new if operands is new.operands else replace(new, operands=operands)
                out.append(with_regions(new, self._region))
        return tuple(out)

    def _region(self, region: Region) -> Region:
        ops = self.op_list(region.ops)
        return replace(region, ops=ops, yields=swap(region.yields, self.same))

    def _view(self, op: Op) -> Op | None:
        """The view of a version; None where it is that version."""
        source = op.operands[0]
        base, result = self._base(source), op.result
        if base.type.dtype != result.type.dtype:
            return op  # the parts of a complex array: no `view` can say that
        if base.type.with_ref(base.ref) == result.type.with_ref(result.ref):
            self.same[result.name] = base
            return None
        return view_op(result, base, op)

    def _base(self, value: Value) -> Value:
        """What a chain of views of one dtype is taken of."""
        while (op := self._definitions.get(value.name)) is not None and record(op.name).kind is Kind.VIEW:
            source = op.operands[0]
            if source.type.dtype != value.type.dtype:
                break
            value = source
        return self.same.get(value.name, value)
