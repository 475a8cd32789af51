"""What is read from a fresh copy before it is written is read from the original.

    %t  = copy %x : f32[8,4]                          %t  = empty {…} : f32[8,4]
    %v  = view %t {…} : f32[8] @t:(4)                 %v  = view %x {…} : f32[8] @x:(4)
    %a  = exp %v : f32[8]                       ->    %a  = exp %v : f32[8]
    %w  = view %t …
    %t1 = update %t, %w, %a : f32[8,4] @t             %t1 = update %t, %w, %a : f32[8,4] @t    and so on

This is `out = x.copy()` and then `out[:, 0] = np.exp(out[:, 0])`. The original must not be written in between.
Where all of the copy is overwritten then, nothing is copied.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from sparsec.ir.forms import Form
from sparsec.ir.graph import Op, Value, free_values
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.remarks import Topic, remark
from sparsec.ir.tensorref import is_contiguous
from sparsec.passes.coverage import overwritten_unread
from sparsec.passes.facts import is_identity, reads_of
from sparsec.passes.index_map import compose, index_map
from sparsec.passes.view_reads import ListPass, Reads, Source

__all__ = ["SkipCopies"]


@dataclass(frozen=True)
class SkipCopies(ListPass):
    """Copies that are written or viewed later; `canonicalize` removes the others."""

    name: ClassVar[str] = "skip-copies"
    requires: ClassVar[Form] = Form.VIEWS_RESOLVED

    def rewrite(self, reads: Reads) -> tuple[Op, ...]:
        copies = {op.result.name for op in reads.ops if _is_copy(op, reads)}
        if not copies:
            return reads.ops
        out: list[Op] = []
        for number, op in enumerate(reads.ops):
            operands = list(op.operands)
            for position, value in reads_of(op):
                original = _original(reads, value, number) if value.storage in copies else None
                if original is not None:
                    operands[position], views = reads.view(original, value, op)
                    out += views
            out.append(replace(op, operands=tuple(operands)) if operands != list(op.operands) else op)
        ended = {base.name for v in reads.ends if (base := reads.base(v)) is not None}
        return tuple(_emptied(out, copies - ended))


def _is_copy(op: Op, reads: Reads) -> bool:
    if not (is_identity(op) and op.result.type.ref is None):
        return False
    if not (op.result.name in reads.writes or op.result.name in reads.private):
        return False
    source = op.operands[0]
    return source.type.shape == op.result.type.shape and is_contiguous(source.ref, source.type.shape)


def _original(reads: Reads, value: Value, number: int) -> Source | None:
    """Where the elements were before they were copied, if they still are there."""
    source = reads.resolve(value)
    if source is None or source.version.name != value.storage:
        return None
    made = reads.definitions[value.storage]
    old = made.operands[0]
    base = reads.base(old)
    where = index_map(source.ref, value.type.shape, made.result.ref, made.result.type.shape)
    since = reads.position[value.storage]
    if base is None or where is None or reads.written_between(old.storage, since, number):
        return None
    return Source(base, compose(where, old.ref))


def _emptied(ops: list[Op], copies: set[str]) -> list[Op]:
    """The list without the copies that are overwritten before anyone reads them."""
    out = []
    for number, op in enumerate(ops):
        if op.results and op.results[0].name in copies and _is_overwritten(op, ops[number + 1 :]):
            attrs = {"dtype": op.result.type.dtype, "shape": op.result.type.shape}
            remark(Topic.GONE, "all of the copy is overwritten before it is read", op)
            op = Op("empty", (), op.results, attrs, (), op.loc)
        out.append(op)
    return out


def _is_overwritten(op: Op, after: list[Op]) -> bool:
    first = next((k for k, o in enumerate(after) if record(o.name).kind is Kind.UPDATE
                  and o.operands[0].name == op.result.name), None)  # fmt: skip
    if first is None:
        return False
    # Views are no reads; whoever reads the copy itself before its first write, in a region too, keeps it.
    if any(v.storage == op.result.name for o in after[:first] if record(o.name).kind is not Kind.VIEW
           for v in free_values(o)):
        return False
    return overwritten_unread(after[first:])
