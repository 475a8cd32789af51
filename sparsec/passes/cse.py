"""Computes the same thing once.

    %a = exp %x : f32[8]
    %b = exp %x : f32[8]      ->      %a = exp %x : f32[8]
    %c = add %a, %b                   %c = add %a, %a

Ops are the same if name, operands and the *text* of attributes and types are: -0.0 differs from 0.0, and a
NaN equals itself. Values that are written later, and two that are both results, keep storages of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from sparsec.ir.forms import Form
from sparsec.ir.graph import Func, Op, Region, Value
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.remarks import Topic, remark
from sparsec.ir.text import attr_text, type_to_text
from sparsec.passes.base import Pass
from sparsec.passes.facts import PURE, used_symbols, written_storages
from sparsec.passes.rebuild import retyped, swap, with_regions

__all__ = ["Cse"]

Key = tuple[str, tuple[str, ...], str, str]


@dataclass(frozen=True)
class Cse(Pass):
    """A region sees what is computed around it, and nothing outside sees what a region computes."""

    name: ClassVar[str] = "cse"
    requires: ClassVar[Form] = Form.TRACED

    def run(self, func: Func) -> Func:
        work = _Numbering(func)
        ops = work.op_list(func.ops, {})
        results, writes = swap(func.results, work.same), swap(func.writes, work.same)
        return replace(func, ops=ops, results=results, writes=writes)


class _Numbering:
    """`same`: a value that was computed before -> that value."""

    def __init__(self, func: Func) -> None:
        self.same: dict[str, Value] = {}
        self._escaping = {v.storage for v in func.ends}
        self._fixed = written_storages(func)
        self._symbols = used_symbols(func)

    def op_list(self, ops: Sequence[Op], known: dict[Key, Op]) -> tuple[Op, ...]:
        out = []
        for op in ops:
            new = retyped(op, swap(op.operands, self.same))  # views follow to the storage that stays
            self.same.update((r.name, n) for r, n in zip(op.results, new.results) if r != n)
            if self._found(new, known):
                continue
            out.append(with_regions(new, lambda region: self._region(region, known)))
        return tuple(out)

    def _region(self, region: Region, known: dict[Key, Op]) -> Region:
        ops = self.op_list(region.ops, dict(known))
        return replace(region, ops=ops, yields=swap(region.yields, self.same))

    def _found(self, op: Op, known: dict[Key, Op]) -> bool:
        kind = record(op.name).kind
        if kind is not Kind.CHECK and kind not in PURE:
            return False
        key = _key(op)
        before = known.setdefault(key, op)
        if before is op:
            return False
        if kind is not Kind.VIEW and not self._may_share(before, op):
            return False
        self.same.update((r.name, b) for r, b in zip(op.results, before.results))
        if kind is not Kind.VIEW:
            remark(Topic.GONE, f"the same is computed{_where(before)} already", op)
        return True

    def _may_share(self, before: Op, op: Op) -> bool:
        for one, other in zip(before.results, op.results):
            storages = {one.storage, other.storage}
            if storages & self._fixed or storages <= self._escaping or other.name in self._symbols:
                return False
        if any(r.storage in self._escaping for r in op.results):
            self._escaping.update(r.storage for r in before.results)
        return True


def _where(op: Op) -> str:
    return f" in line {op.loc.line}" if op.loc is not None else ""


def _key(op: Op) -> Key:
    attrs = ",".join(f"{k}={attr_text(v)}" for k, v in sorted(op.attrs.items()))
    # A view says where it lies; anything else begins a storage, whose name is its own.
    view = record(op.name).kind is Kind.VIEW
    types = ",".join(type_to_text(r.type if view else r.type.fresh()) for r in op.results)
    return op.name, tuple(v.name for v in op.operands), attrs, types
