"""What one attempt at a call keeps on its stack."""

from __future__ import annotations

from dataclasses import dataclass

from sparsec.codegen.llfunc import Function, Variable
from sparsec.codegen.stub.phrases import release
from sparsec.ir.call_record import MAX_LEAVES, MAX_POINTERS, SCRATCH_BYTES, Record

__all__ = ["Frame"]


@dataclass(frozen=True, slots=True)
class Frame:
    """Tables, how far they are filled, and where an attempt goes that ends early."""

    values: str  # of the call, as the checks found them
    pointers: str  # for the compiled function: its parameters, then its results
    behind: str  # the results among them
    arrays: str  # those of results; null for scratch
    made: Variable  # how many results have their memory
    scratch: str  # words for results that are numbers
    stack: str  # objects that the returned one will hold
    depth: Variable
    undo: str  # label: nothing has been written, the slow path begins again
    failed: str  # label: a Python exception is set, which is the call's outcome

    @classmethod
    def of(cls, f: Function, values: str, undo: str, failed: str) -> Frame:
        pointers = f.array("ptr", MAX_POINTERS)
        return cls(
            values=values,
            pointers=pointers,
            behind=f.row(pointers, f.word("%record", Record.PARAM_COUNT), 1),
            arrays=f.array("ptr", MAX_POINTERS),
            made=f.variable("i64", 0),
            scratch=f.array(f"[{SCRATCH_BYTES} x i8]", MAX_POINTERS),
            stack=f.array("ptr", MAX_LEAVES),
            depth=f.variable("i64", 0),
            undo=undo,
            failed=failed,
        )

    def release_arrays(self, f: Function) -> None:
        with f.loop(self.made.get()) as k:
            release(f, f.item(self.arrays, k))

    def release_stack(self, f: Function) -> None:
        with f.loop(self.depth.get()) as k:
            release(f, f.item(self.stack, k))

    def drop_blocks(self, f: Function) -> None:
        f.call("void", "drop_blocks", ("ptr", "%record"), ("ptr", self.behind), ("ptr", self.arrays),
               ("i64", self.made.get()))
