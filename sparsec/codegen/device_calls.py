"""Library calls for a device, which has no library: those of the host body become kernels, all become loops.

    host { extern gemm(%c, %a, %b; n) }     ->     kernel @gemm_0(%x0, %x1, %x2; n0) { for … { … } }
                                                   host { launch @gemm_0(%c, %a, %b; n) }
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sparsec.codegen.gemm import gemm_loops
from sparsec.ir.loop_rewrite import map_body
from sparsec.ir.loops import Body, Buffer, Const, Expr, Extern, Kernel, Launch, Program, Stmt, Var
from sparsec.ir.scalar import var

__all__ = ["without_calls"]


def without_calls(program: Program) -> Program:
    """The program with all its library calls as loops in kernels."""
    kernels = list(program.kernels)
    slots = {slot.buffer.name: slot.buffer for slot in program.slots}

    def outlined(stmt: Stmt) -> Body:
        if not isinstance(stmt, Extern):
            return (stmt,)
        kernel, launch = _as_kernel(stmt, _unused(f"{stmt.name}_{len(kernels)}", kernels), slots)
        kernels.append(kernel)
        return (launch,)

    host = map_body(program.body, outlined)
    spelled = tuple(replace(kernel, body=map_body(kernel.body, _spelled)) for kernel in kernels)
    return replace(program, kernels=spelled, body=host)


def _spelled(stmt: Stmt) -> Body:
    return gemm_loops(stmt) if isinstance(stmt, Extern) and stmt.name == "gemm" else (stmt,)


def _unused(name: str, kernels: Sequence[Kernel]) -> str:
    while any(kernel.name == name for kernel in kernels):
        name += "_"
    return name


def _as_kernel(call: Extern, name: str, slots: Mapping[str, Buffer]) -> tuple[Kernel, Launch]:
    """A kernel that makes the call, and its launch: what the host computes for the call becomes scalars."""
    scalars: list[Var] = []
    values: list[Expr] = []

    def passed(expr: Expr) -> Expr:
        if isinstance(expr, Const):
            return expr
        scalars.append(var(f"n{len(scalars)}"))
        values.append(expr)
        return scalars[-1]

    buffers = tuple((f"x{n}", passed(first)) for n, (_, first) in enumerate(call.buffers))
    inner = replace(call, buffers=buffers, args=tuple(passed(arg) for arg in call.args))
    params = tuple(
        replace(slots[outer], name=f"x{n}", access="w" if n == 0 else "r", space="global")
        for n, (outer, _) in enumerate(call.buffers)
    )
    launch = Launch(name, tuple(outer for outer, _ in call.buffers), tuple(values))
    return Kernel(name, params, tuple(scalars), (inner,)), launch
