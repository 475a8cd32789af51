"""A write of a whole array that is no argument is not a write: the new elements are the array from then on.

    %t = sub %a, %b : f32[8]                         %t = sub %a, %b : f32[8]
    %v = mul %t, %t : f32[8]                         %v = mul %t, %t : f32[8]
    %t1 = update %t, %t, %v : f32[8] @t       ->     %r = neg %v : f32[8]
    %r = neg %t1 : f32[8]

This is what `t *= t` becomes. Its storage must not be an argument's, nor be carried by control flow; the new
elements must be freshly computed, in the same layout, and not a result of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from sparsec.ir.forms import Form
from sparsec.ir.graph import Func, Op, Region, Value, walk
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.tensorref import contiguous_strides
from sparsec.passes.base import Pass
from sparsec.passes.facts import PURE, is_plain_write
from sparsec.passes.rebuild import retyped, swap, with_regions

__all__ = ["WholeWrites"]


@dataclass(frozen=True)
class WholeWrites(Pass):
    """One walk; a chain of such writes ends in its last value."""

    name: ClassVar[str] = "whole-writes"
    requires: ClassVar[Form] = Form.TRACED

    def run(self, func: Func) -> Func:
        work = _Renamer(func)
        ops = work.op_list(func.ops)
        results, writes = swap(func.results, work.same), swap(func.writes, work.same)
        return replace(func, ops=ops, results=results, writes=writes)


class _Renamer:
    """`same`: what a value is called now. A storage may take over another's name once."""

    def __init__(self, func: Func) -> None:
        self.same: dict[str, Value] = {}
        self._fixed = {p.storage for p in func.params} | _carried(func)
        self._definitions = {r.name: op for op in walk(func.ops) for r in op.results}
        self._taken = {op.operands[0].storage for op in walk(func.ops) if record(op.name).kind is Kind.UPDATE}
        self._taken |= {v.storage for v in func.ends}

    def op_list(self, ops: Sequence[Op]) -> tuple[Op, ...]:
        out = []
        for op in ops:
            new = retyped(op, swap(op.operands, self.same))
            value = self._whole(op, new)
            if value is not None:
                self.same[op.result.name] = value
                self._taken.add(value.storage)
                continue
            self.same.update((r.name, n) for r, n in zip(op.results, new.results) if r != n)
            out.append(with_regions(new, self._region))
        return tuple(out)

    def _region(self, region: Region) -> Region:
        ops = self.op_list(region.ops)
        return replace(region, ops=ops, yields=swap(region.yields, self.same))

    def _whole(self, op: Op, new: Op) -> Value | None:
        """What the result is from now on, if the op writes all of a storage that may be renamed."""
        if not is_plain_write(new):
            return None
        version, region, value = new.operands
        shape = version.type.shape
        if op.operands[0].storage in self._fixed or version.storage in self._fixed:
            return None
        if region.type.shape != shape or region.ref != version.ref or value.type.shape != shape:
            return None
        if region.type.dtype != version.type.dtype:
            return None
        if version.ref.offset != 0 or version.ref.strides != contiguous_strides(shape):
            return None
        made = self._definitions.get(value.name)
        fresh = made is not None and value.type.ref is None and record(made.name).kind in PURE
        if not fresh or value.storage in self._taken or value.storage in self._fixed:
            return None
        return value if record(made.name).kind is not Kind.CONST else None  # type: ignore[union-attr]


def _carried(func: Func) -> set[str]:
    """Storages that control flow hands from one version to the next."""
    found: set[str] = set()
    for op in walk(func.ops):
        if record(op.name).kind is Kind.CONTROL:
            found.update(v.storage for v in (*op.operands, *op.results))
            found.update(v.storage for r in op.regions for v in (*r.params, *r.yields))
    return found
