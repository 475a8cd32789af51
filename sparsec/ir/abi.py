"""How a `Program` meets its caller: the order of its pointers, and what a device needs to launch a kernel.

Code generators and runtimes may not know each other; both know this page.

A compiled program is called with a list of pointers, one for each parameter, then one for each result, in
the order of `Slot.position`; and, apart from them, with one arena of `Program.arena_bytes`. The pointer of a
result that the program reserves itself ("made") is to the two words of an `ir.block`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsec.ir.loops import Expr, Program, Slot

__all__ = ["DeviceKernel", "DeviceSource", "pointer_index", "pointer_slots"]

_ROLES = {"param": 0, "result": 1, "made": 1}


def pointer_slots(program: Program) -> tuple[Slot, ...]:
    """The slots that the caller points to, in order; of several that share a pointer, the first."""
    first: dict[tuple[int, int], Slot] = {}
    for slot in program.slots:
        if slot.role in _ROLES:
            first.setdefault((_ROLES[slot.role], slot.position), slot)
    return tuple(first[key] for key in sorted(first))


def pointer_index(program: Program) -> dict[str, int]:
    """For each parameter and result: which pointer is its own, by the buffer's name."""
    order = [(_ROLES[slot.role], slot.position) for slot in pointer_slots(program)]
    return {
        slot.buffer.name: order.index((_ROLES[slot.role], slot.position))
        for slot in program.slots
        if slot.role in _ROLES
    }


@dataclass(frozen=True, slots=True)
class DeviceKernel:
    """One launch on a device. Its arguments: for each buffer the memory and, where `elements` is not 0, the
    i64 position of its first element, of so many bytes; then the i64 scalars, then the two status words.

    `items` is the number of work-items, over the kernel's scalars; None: only the kernel can tell, and it
    steps through them by the size of whatever range it is launched on.
    """

    name: str
    items: Expr | None
    elements: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DeviceSource:
    """The text of a program's kernels, the program that launches them (library calls of the host body are
    kernels in it), and the launches that each of its kernels became, by name."""

    text: str
    program: Program
    kernels: tuple[tuple[str, tuple[DeviceKernel, ...]], ...]
    fp64: bool  # uses double

    def launches(self, kernel: str) -> tuple[DeviceKernel, ...]:
        return dict(self.kernels)[kernel]
