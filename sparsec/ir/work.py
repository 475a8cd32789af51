"""How much a program does, roughly: how many statements of loop IR it runs, as far as its text tells."""

from __future__ import annotations

from sparsec.ir.loops import Body, Const, Expr, Extern, For, If, Kernel, Launch, Program, Stmt, While

__all__ = ["UNKNOWN", "statements"]

#: The count of a program whose length depends on values, and the largest count of any.
UNKNOWN = 1 << 62


def statements(program: Program, guess: int = UNKNOWN) -> int:
    """The number of statements that one run executes, or UNKNOWN. guess: the turns of a loop of unknown length."""
    kernels = {kernel.name: kernel for kernel in program.kernels}
    return min(_body(program.body, kernels, guess), UNKNOWN)


def _body(body: Body, kernels: dict[str, Kernel], guess: int) -> int:
    return sum(_stmt(stmt, kernels, guess) for stmt in body)


def _stmt(stmt: Stmt, kernels: dict[str, Kernel], guess: int) -> int:
    match stmt:
        case For(start=start, stop=stop, step=step, body=body):
            return 1 + _trips(start, stop, step, guess) * _body(body, kernels, guess)
        case If(then=then, orelse=orelse):
            return 1 + max(_body(then, kernels, guess), _body(orelse, kernels, guess))
        case Launch(kernel=name):
            return 1 + _body(kernels[name].body, kernels, guess)
        case While(body=body) if guess != UNKNOWN:
            return 1 + guess * _body(body, kernels, guess)
        case While() | Extern():
            return UNKNOWN
    return 1


def _trips(start: Expr, stop: Expr, step: int, guess: int) -> int:
    match start, stop:
        case Const(value=int() as first), Const(value=int() as end):
            return max(0, -((first - end) // step))  # `len(range(...))` has a limit
    return guess
