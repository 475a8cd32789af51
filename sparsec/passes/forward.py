"""Inside a kernel, hands what was just written to its reader; drops writes that nobody else sees.

    %t1 = fused () {                                     %y = fused () {
      %a = add %x, %x : f32[8]                             %a = add %x, %x : f32[8]
      %t1.in = update %t, %t, %a : f32[8] @t       ->      %y.in = neg %a : f32[8]
      %y.in = neg %t1.in : f32[8]                          yield %y.in
      yield %t1.in, %y.in                                } : f32[8]
    } : f32[8] @t, f32[8]

Only inside a kernel: across kernels the value would need memory of its own, and the region is memory already.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from sparsec.ir.forms import Form
from sparsec.ir.graph import Func, Op, Region, Value, touched_storages
from sparsec.ir.ops.record import Kind, record
from sparsec.passes.accesses import access, accesses, is_kernel, overlap, same_mapping
from sparsec.passes.base import Pass
from sparsec.passes.facts import is_plain_write

__all__ = ["Forward"]


@dataclass(frozen=True)
class Forward(Pass):
    """One walk over each kernel."""

    name: ClassVar[str] = "forward"
    requires: ClassVar[Form] = Form.FUSED

    def run(self, func: Func) -> Func:
        seen = Counter(name for op in _outer(func.ops) for name in _touched(op))
        shared = {name for name, count in seen.items() if count > 1}
        shared |= {v.storage for v in (*func.params, *func.ends)}
        return func.with_ops(_op_list(func.ops, shared))


def _outer(ops: Sequence[Op]) -> Iterator[Op]:
    """Kernels and control ops; not what is inside kernels, and no metadata."""
    for op in ops:
        if op.regions:
            yield op
        if not is_kernel(op):
            for region in op.regions:
                yield from _outer(region.ops)


def _touched(op: Op) -> set[str]:
    # What control flow carries counts twice: the next turn sees it.
    return touched_storages(op) | {
        v.storage for r in op.regions if not is_kernel(op) for v in (*r.params, *r.yields)
    }


def _op_list(ops: Sequence[Op], shared: set[str]) -> tuple[Op, ...]:
    out = []
    for op in ops:
        if is_kernel(op):
            op = _without_private_writes(_forwarded(op), shared)
        elif op.regions:
            op = replace(op, regions=tuple(replace(r, ops=_op_list(r.ops, shared)) for r in op.regions))
        out.append(op)
    return tuple(out)


# --- reads -----------------------------------------------------------------------------------------------


def _forwarded(op: Op) -> Op:
    """The kernel, with what it has just computed in place of what it would read back."""
    writes: list[Op] = []
    body = []
    for inner in op.regions[0].ops:
        rec = record(inner.name)
        skip = 2 if rec.kind is Kind.UPDATE else len(inner.operands) if rec.kind is Kind.VIEW else 0
        operands = tuple(
            v if position < skip else _just_written(inner, position, writes)
            for position, v in enumerate(inner.operands)
        )
        inner = replace(inner, operands=operands)
        if rec.kind is Kind.UPDATE:
            writes.append(inner)
        body.append(inner)
    return replace(op, regions=(replace(op.regions[0], ops=tuple(body)),))


def _just_written(op: Op, position: int, writes: Sequence[Op]) -> Value:
    """The value that the last write to these elements put there; the operand itself if that is not known."""
    value = op.operands[position]
    if not _is_pointwise(op, position):
        return value
    read = access(value, write=False, pointwise=True)
    for write in reversed(writes):
        done = accesses(write)
        written = next((a for a in done if a.write), None)
        if written is None or written.storage != read.storage or not overlap(written, read):
            continue
        new = write.operands[2] if is_plain_write(write) else None
        if new is not None and any(w.result.storage == new.storage for w in writes):
            return value  # the value lies in memory that the kernel has overwritten
        fits = new is not None and new.type.shape == value.type.shape and new.type.dtype == value.type.dtype
        return new if new is not None and fits and same_mapping(written, read) else value
    return value


def _is_pointwise(op: Op, position: int) -> bool:
    rec = record(op.name)
    if rec.kind is Kind.MAP:
        return position in rec.pointwise
    return rec.kind in (Kind.ELEMENTWISE, Kind.REDUCE, Kind.CHECK) or (rec.kind is Kind.UPDATE and rec.region)


# --- writes ----------------------------------------------------------------------------------------------


def _without_private_writes(op: Op, shared: set[str]) -> Op:
    """The kernel without writes to storages that only it touches and that it does not read back."""
    region = op.regions[0]
    read = {a.storage for inner in region.ops for a in accesses(inner) if not a.write}
    dead = {
        inner.operands[0].storage for inner in region.ops
        if record(inner.name).kind is Kind.UPDATE and record(inner.name).region
    } - read - shared
    if not dead:
        return op
    kept = [(y, r) for y, r in zip(region.yields, op.results) if r.storage not in dead]
    views = {record(inner.name).kind is Kind.VIEW and inner.result.name for inner in region.ops}
    ops = tuple(
        inner for inner in region.ops
        if not (inner.results and inner.result.storage in dead and (
            record(inner.name).kind is Kind.UPDATE or inner.result.name in views))
    )
    new = Region((), ops, tuple(y for y, _ in kept))
    return replace(op, results=tuple(r for _, r in kept), regions=(new,))
