"""Removes what does nothing: views that change nothing, writes of what is there, copies that nobody can tell.

    %a = slice %x {start=[0], size=[8], step=[1]} : f32[8] @x
    %b = copy %a : f32[8]                                             %c = exp %x : f32[8]
    %c = exp %b : f32[8]                                       ->     return %c writes %x
    %y = update %x, %v, %v : f32[8] @x
    return %c writes %y

A copy is only removed if it is nothing but an operand: never written, viewed or returned. Its reader then
reads the original; where that is overwritten in between, linearize puts the copy back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from sparsec.ir.forms import Form
from sparsec.ir.graph import Func, Op, Region, Value
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.remarks import Topic, remark
from sparsec.passes.base import Pass
from sparsec.passes.facts import direct_uses, is_identity, is_noop_view, is_plain_write, used_symbols
from sparsec.passes.rebuild import swap, with_regions

__all__ = ["Canonicalize"]


@dataclass(frozen=True)
class Canonicalize(Pass):
    """One walk: each op is looked at after its operands were simplified."""

    name: ClassVar[str] = "canonicalize"
    requires: ClassVar[Form] = Form.TRACED
    ensures: ClassVar[Form | None] = Form.CANONICAL

    def run(self, func: Func) -> Func:
        work = _Simplifier(func)
        ops = work.op_list(func.ops)
        results, writes = swap(func.results, work.same), swap(func.writes, work.same)
        return replace(func, ops=ops, results=results, writes=writes)


class _Simplifier:
    """`same`: a value that went -> what stands for it."""

    def __init__(self, func: Func) -> None:
        self.same: dict[str, Value] = {}
        self._uses = direct_uses(func.ops)
        self._kept = {v.name for v in func.ends} | used_symbols(func)

    def op_list(self, ops: Sequence[Op]) -> tuple[Op, ...]:
        out = []
        for op in ops:
            # Results keep their types: what an operand is replaced by lies in the same place.
            operands = swap(op.operands, self.same)
            new = op if operands is op.operands else replace(op, operands=operands)
            stand_in = self._stand_in(new)
            if stand_in is not None:
                self.same[op.result.name] = stand_in
                continue
            out.append(with_regions(new, self._region))
        return tuple(out)

    def _region(self, region: Region) -> Region:
        ops = self.op_list(region.ops)
        return replace(region, ops=ops, yields=swap(region.yields, self.same))

    def _stand_in(self, op: Op) -> Value | None:
        """The value that the op's result is, if it needs no op."""
        kind = record(op.name).kind
        if kind is Kind.VIEW and is_noop_view(op):
            return op.operands[0]
        if kind is Kind.UPDATE and _writes_nothing(op):
            remark(Topic.GONE, "it writes what is there already, or no element", op)
            return op.operands[0]
        if is_identity(op) and self._only_an_operand(op):
            remark(Topic.GONE, "the copy is only read: the original serves as well", op)
            return op.operands[0]
        return None

    def _only_an_operand(self, op: Op) -> bool:
        if op.result.name in self._kept:
            return False
        return all(_reads_elements(user, position) for user, position in self._uses.get(op.result.name, ()))


def _reads_elements(user: Op, position: int) -> bool:
    """Whether this operand is only read, in a loop where its layout matters little.

    Ops with loops of their own may want the layout that a copy gives (a library's matrix product).
    """
    rec = record(user.name)
    if rec.kind is Kind.UPDATE:
        return rec.region and position >= 2
    return position >= 0 and rec.kind in (Kind.ELEMENTWISE, Kind.MAP, Kind.REDUCE, Kind.CHECK)


def _writes_nothing(op: Op) -> bool:
    """A region without elements, or one that gets its own present elements."""
    if not record(op.name).region:
        return False
    region = op.operands[1]
    return 0 in region.type.shape or (is_plain_write(op) and op.operands[2].name == region.name)

