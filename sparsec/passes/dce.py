"""Removes ops whose results nobody needs. Checks, notes and what the caller can see of writes stay.

    %a = exp %x : f32[8]
    %b = neg %x : f32[8]      ->      %b = neg %x : f32[8]
    return %b                         return %b
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from sparsec.ir.forms import Form
from sparsec.ir.graph import Func, Op, Region, symbol_uses, uses, value_symbols, walk
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
        op = with_regions(op, _region)
        live.update(v.name for v in uses(op))
        live.update(symbol_uses(op))
        kept.append(op)
    return tuple(reversed(kept))


def _region(region: Region) -> Region:
    """All that a region yields is needed: the next turn, or what follows the op, may read it."""
    live = {v.name for v in region.yields}
    return replace(region, ops=_needed(region.ops, live))


def _has_effect(op: Op) -> bool:
    return any(record(inner.name).kind is Kind.CHECK for inner in walk([op]))
