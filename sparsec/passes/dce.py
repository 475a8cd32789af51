"""Removes ops whose results nobody needs, and what branches and loops hand on to nobody. Checks, notes and what the
caller can see of writes stay.

    %a = exp %x : f32[8]
    %b = neg %x : f32[8]      ->      %b = neg %x : f32[8]
    return %b                         return %b
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from sparsec.ir.forms import Form
from sparsec.ir.graph import Func, Op, Region, Value, symbol_uses, uses, value_symbols, walk
from sparsec.ir.ops.control import FIXED_OPERANDS, LOOPS
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.remarks import Topic, remark
from sparsec.passes.base import Pass
from sparsec.passes.rebuild import with_regions

__all__ = ["Dce"]


@dataclass(frozen=True)
class Dce(Pass):
    """One walk backwards. A write is needed if a later version is, or a view of it."""

    name: ClassVar[str] = "dce"
    requires: ClassVar[Form] = Form.TRACED

    def run(self, func: Func) -> Func:
        live = {v.name for v in func.ends}
        live.update(value_symbols(*func.ends))
        return func.with_ops(_needed(func.ops, live))


def _needed(ops: Sequence[Op], live: set[str]) -> tuple[Op, ...]:
    """The ops that define something in `live`, or that have an effect; `live` grows by what they use."""
    kept = []
    for op in reversed(ops):
        if not _has_effect(op) and not any(r.name in live for r in op.results):
            remark(Topic.GONE, "nobody needs its result", op)
            continue
        op = _control(op, live) if op.regions else op
        live.update(v.name for v in uses(op))
        live.update(symbol_uses(op))
        kept.append(op)
    return tuple(reversed(kept))


def _control(op: Op, live: set[str]) -> Op:
    """An op with regions: what it hands on is needed if its result is, or if a turn reads what an earlier one left.
    Versions of storages stay."""
    if op.name not in (*LOOPS, "if"):
        return with_regions(op, lambda region: _region(region, range(len(region.yields)))[0])
    needed = {k for k, r in enumerate(op.results) if r.name in live or r.type.ref is not None}
    while True:
        kept = sorted(needed)
        found = [_region(r, kept if k == len(op.regions) - 1 or op.name == "if" else range(len(r.yields)))
                 for k, r in enumerate(op.regions)]
        if op.name not in LOOPS:
            return replace(op, results=_at(op.results, kept), regions=tuple(region for region, _ in found))
        first = FIXED_OPERANDS[op.name]
        counters = len(op.regions[0].params) - len(op.results)
        read = {k for region, own in found for k, p in enumerate(region.params[counters:]) if p.name in own}
        if read <= needed:
            break
        needed |= read
    regions = tuple(replace(region, params=(*region.params[:counters], *_at(region.params[counters:], kept)))
                    for region, _ in found)
    operands = (*op.operands[:first], *_at(op.operands[first:], kept))
    return replace(op, operands=operands, results=_at(op.results, kept), regions=regions)


def _at(values: Sequence[Value], places: Sequence[int]) -> tuple[Value, ...]:
    return tuple(values[k] for k in places)


def _region(region: Region, kept: Sequence[int]) -> tuple[Region, set[str]]:
    """A region that yields only these of its values, and the names that it uses."""
    yields = _at(region.yields, kept)
    live = {v.name for v in yields}
    live.update(value_symbols(*yields, *region.params))
    return replace(region, ops=_needed(region.ops, live), yields=yields), live


def _has_effect(op: Op) -> bool:
    return any(record(inner.name).kind is Kind.CHECK for inner in walk([op]))
