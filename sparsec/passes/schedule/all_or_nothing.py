"""A program that may fail after it has written to a parameter leaves the parameter as it was.

Two ways, and the cheaper one is taken: what it checks runs first, as a program without such writes
(`checks_first.py`); or parameters are kept in the arena, and put back if it fails (`Restore`).
"""

from __future__ import annotations

from dataclasses import replace

from sparsec.ir.loops import Buffer, Program, Restore, Slot
from sparsec.ir.work import statements
from sparsec.passes.schedule.checks_first import checks_of, written_params

__all__ = ["all_or_nothing"]

#: Bytes that are copied in the time of a statement.
_BYTES = 32

#: The turns of a loop whose length values decide, about.
_TURNS = 100

_ALIGN = 64


def all_or_nothing(program: Program) -> Program | None:
    """The program, made so; None if parameters whose size only a call knows would have to be kept."""
    checks = checks_of(program)
    written = frozenset(written_params(program))
    kept = [slot for slot in program.slots if slot.buffer.name in written]
    sizes = [slot.buffer.size * slot.buffer.dtype.itemsize for slot in kept]
    unknown = any(size < 0 for size in sizes)
    if checks is not None and (unknown or _BYTES * statements(checks, _TURNS) < sum(sizes)):
        return replace(program, kernels=(*checks.kernels, *program.kernels), body=(*checks.body, *program.body))
    return None if unknown else _restoring(program, kept)


def _restoring(program: Program, params: list[Slot]) -> Program:
    """With a place in the arena for each of these parameters."""
    slots, restores, end = list(program.slots), [], program.arena_bytes
    names = {slot.buffer.name for slot in slots}
    for slot in params:
        buffer = slot.buffer
        name = f"{buffer.name}.before"
        while name in names:
            name += "_"
        names.add(name)
        end += -end % _ALIGN
        slots.append(Slot(Buffer(name, buffer.dtype, buffer.size, "global", "rw", _ALIGN), "arena", end))
        restores.append(Restore(buffer.name, name))
        end += buffer.size * buffer.dtype.itemsize
    return replace(program, slots=tuple(slots), arena_bytes=end, restores=tuple(restores))
