"""Whether a program may fail when it has written to a parameter already: the write must not be seen then."""

from __future__ import annotations

from collections.abc import Sequence

from sparsec.ir.graph import Func, Op, walk
from sparsec.ir.loops import Launch, Program, Reserve, Stmt, walk_stmts
from sparsec.ir.ops.control import LOOPS
from sparsec.ir.ops.record import Kind, record

__all__ = ["may_fail_late", "reserves_late"]


def may_fail_late(func: Func) -> bool:
    """Whether a check stands behind a write to a parameter: the write must not be seen if it fails."""
    params = {p.storage for p in func.params}

    def writes(op: Op) -> bool:
        return record(op.name).kind is Kind.UPDATE and op.result.storage in params

    def late(ops: Sequence[Op], written: bool) -> bool:
        for op in ops:
            if written and record(op.name).kind is Kind.CHECK:
                return True
            inside = [inner for region in op.regions for inner in region.ops]
            before = written or (op.name in LOOPS and any(map(writes, walk(inside))))  # by an earlier turn
            if late(inside, before):
                return True
            written = before or any(map(writes, walk((op,))))
        return False

    return late(func.ops, False)


def reserves_late(program: Program) -> bool:
    """Whether the program may ask for memory in vain after it has written to a parameter."""
    params = {slot.buffer.name for slot in program.slots if slot.role == "param"}
    writes = {kernel.name: [k for k, b in enumerate(kernel.buffers) if "w" in b.access] for kernel in program.kernels}

    def is_write(stmt: Stmt) -> bool:
        return isinstance(stmt, Launch) and any(stmt.buffers[k] in params for k in writes[stmt.kernel])

    written = False
    for stmt in program.body:
        inside = list(walk_stmts((stmt,)))
        written = written or any(map(is_write, inside))
        if written and any(isinstance(s, Reserve) for s in inside):
            return True
    return False
