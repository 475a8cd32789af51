"""Kernels that differ in names only are one kernel, launched wherever one of them was.

    kernel @f_0(%x, %y) { … }  kernel @f_3(%a, %b) { … the same of %a and %b }
    launch @f_0(%x, %t)  launch @f_3(%t, %y)        ->        launch @f_0(%x, %t)  launch @f_0(%t, %y)

The layers of a network repeat: each shape is then scheduled, made legal and written once. Kernels that are given
different literals stay apart, because their code may look into those.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sparsec.ir.loop_rewrite import declared_names, map_body, rename
from sparsec.ir.loops import Alloc, Buffer, Kernel, Launch, Program, Stmt, walk_stmts

__all__ = ["same_kernels"]


def same_kernels(program: Program) -> Program:
    """The program with each kernel once; it is said to compute the lines of all those that it stands for."""
    literals = _literals(program)
    first: dict[object, Kernel] = {}
    stands_for: dict[str, str] = {}
    for kernel in program.kernels:
        plain = _plain(kernel)
        same = first.setdefault((plain, literals.get(kernel.name)), kernel)
        if same is not kernel:
            locs = tuple(dict.fromkeys((*same.locs, *kernel.locs)))
            first[plain, literals.get(kernel.name)] = replace(same, locs=locs)
        stands_for[kernel.name] = same.name

    def renamed(stmt: Stmt) -> Iterable[Stmt]:
        return (replace(stmt, kernel=stands_for[stmt.kernel]) if isinstance(stmt, Launch) else stmt,)

    return replace(program, kernels=tuple(first.values()), body=map_body(program.body, renamed))


def _plain(kernel: Kernel) -> Kernel:
    """The kernel with names that are numbers."""
    buffers = [*kernel.buffers, *(s.buffer for s in walk_stmts(kernel.body) if isinstance(s, Alloc))]
    places = {buffer.name: f"b{n}" for n, buffer in enumerate(buffers)}
    declared = (*(v.name for v in kernel.scalars), *declared_names(kernel.body))
    names = {name: f"v{n}" for n, name in enumerate(declared)}

    def plain(buffer: Buffer) -> Buffer:
        return replace(buffer, name=places[buffer.name])

    return Kernel(
        "", tuple(map(plain, kernel.buffers)), tuple(replace(v, name=names[v.name]) for v in kernel.scalars),
        rename(kernel.body, names, places),
    )  # fmt: skip


def _literals(program: Program) -> dict[str, frozenset[tuple[str, ...]]]:
    """By kernel, which of its buffers are literals, and which literals."""
    literals = {slot.buffer.name for slot in program.slots if slot.role == "const"}
    found: dict[str, set[tuple[str, ...]]] = {}
    for stmt in walk_stmts(program.body):
        if isinstance(stmt, Launch):
            found.setdefault(stmt.kernel, set()).add(tuple(b if b in literals else "" for b in stmt.buffers))
    return {kernel: frozenset(passed) for kernel, passed in found.items()}
