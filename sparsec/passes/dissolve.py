"""A temporary all of whose reads can be answered by the values that were written to it is no memory at all.

    %t  = empty {shape=[8,2]} : f32[8,2]                   %y = neg %a : f32[8]
    %v  = view %t {offset=0, …} : f32[8] @t:(2)
    %t1 = update %t, %v, %a : f32[8,2] @t           ->
    %w  = view %t1 {offset=0, …} : f32[8] @t:(2)
    %y  = neg %w : f32[8]

A read must lie inside one write, or inside what was there before, and what the writer wrote must not have been
overwritten since. All reads of a storage move, or none: a value that is kept beside the storage costs memory.
The writes that are left go with `dce`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from sparsec.ir.forms import Form
from sparsec.ir.graph import Op
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.remarks import Topic, remark
from sparsec.passes.view_reads import ListPass, Reads, Source

__all__ = ["Dissolve"]


@dataclass(frozen=True)
class Dissolve(ListPass):
    """One walk over each list of ops."""

    name: ClassVar[str] = "dissolve"
    requires: ClassVar[Form] = Form.VIEWS_RESOLVED

    def rewrite(self, reads: Reads) -> tuple[Op, ...]:
        moved = _moved(reads)
        out: list[Op] = []
        for number, op in enumerate(reads.ops):
            operands = list(op.operands)
            for position, value in enumerate(op.operands):
                source = moved.get((number, position))
                if source is not None:
                    operands[position], views = reads.view(source, value, op)
                    out += views
            out.append(replace(op, operands=tuple(operands)) if operands != list(op.operands) else op)
        return tuple(out)


def _moved(reads: Reads) -> dict[tuple[int, int], Source]:
    """The reads that find their elements elsewhere, of storages of which all reads do."""
    wanted = {s for s in reads.writes if s in reads.private}
    found: dict[str, dict[tuple[int, int], Source]] = {s: {} for s in wanted}
    if not wanted:
        return {}
    for number, position, value in reads.readers():
        storage = value.storage
        if storage not in wanted:
            continue
        source = reads.resolve(value)
        if source is None or not _stands(reads, source, storage, number):
            wanted.discard(storage)
            inside = source is None or source.version.storage == storage
            reason = "sees a write in part" if inside else "reads what has been overwritten since"
            remark(Topic.MEMORY, f"a read of it {reason}", reads.ops[number], storage)
            continue
        found[storage][number, position] = source
    for storage in wanted:
        for number in reads.writes[storage]:
            remark(Topic.GONE, "its readers take the written value itself", reads.ops[number], storage)
    return {at: source for storage in wanted for at, source in found[storage].items()}


def _stands(reads: Reads, source: Source, storage: str, number: int) -> bool:
    """Whether the elements can be read from `source` by the op at `number`."""
    made = reads.definitions.get(source.version.name)
    if source.version.storage == storage:
        # What the storage was before all writes: a value of its own, if an op computed it.
        return source.version.name == storage and made is not None and record(made.name).kind is not Kind.CREATE
    since = reads.position.get(source.version.name, -1)
    return not reads.written_between(source.version.storage, since, number)
