"""Runs the host body of a program where no native code does: statement by statement, in Python.

A host body launches kernels and decides, on integers and bools, which come next. `Host` is what it acts on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from sparsec.errors import CompileError
from sparsec.ir.loop_interp import apply_scalar
from sparsec.ir.loops import (
    Apply,
    Assign,
    Body,
    Const,
    Expr,
    Fail,
    For,
    If,
    Launch,
    Let,
    Load,
    Mut,
    Note,
    Reserve,
    Stmt,
    Store,
    Var,
    While,
)
from sparsec.ir.types import DType

__all__ = ["Host", "Stopped", "evaluate", "run_host_body"]


class Host(Protocol):
    """The machine that a host body commands."""

    def launch(self, kernel: str, buffers: Sequence[str], scalars: Sequence[int]) -> None: ...

    def load(self, buffer: str, index: int, dtype: DType) -> Any: ...

    def store(self, buffer: str, index: int, value: Any, dtype: DType) -> None: ...

    def note(self, flag: int) -> None: ...

    def reserve(self, buffer: str, nbytes: int) -> bool: ...


class Stopped(Exception):
    """A `Fail` of the host body."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def run_host_body(body: Body, host: Host) -> None:
    """Runs a host body to its end. Raises Stopped at a `Fail`."""
    _run(body, host, {})


def _run(body: Body, host: Host, outer: dict[str, list[Any]]) -> None:
    names = dict(outer)  # a Mut is a cell, so that inner bodies change the outer one's
    for stmt in body:
        _step(stmt, host, names)


def _step(stmt: Stmt, host: Host, names: dict[str, list[Any]]) -> None:
    def value(expr: Expr) -> Any:
        return evaluate(expr, {name: cell[0] for name, cell in names.items()}, host.load)

    match stmt:
        case Launch(kernel, buffers, scalars):
            host.launch(kernel, buffers, [int(value(scalar)) for scalar in scalars])
        case Let(var, expr) | Mut(var, expr):
            names[var.name] = [value(expr)]
        case Assign(var, expr):
            names[var.name][0] = value(expr)
        case Store(buffer, index, expr):
            host.store(buffer, int(value(index)), value(expr), expr.dtype)
        case For(var, start, stop, step, body):
            for turn in range(int(value(start)), int(value(stop)), step):
                _run(body, host, {**names, var.name: [var.dtype.type(turn)]})
        case While(cond, body):
            while value(cond):
                _run(body, host, names)
        case If(cond, then, orelse):
            _run(then if value(cond) else orelse, host, names)
        case Fail(code):
            raise Stopped(code)
        case Note(flag):
            host.note(flag)
        case Reserve(buffer, nbytes, code):
            if not host.reserve(buffer, int(value(nbytes))):
                raise Stopped(code)
        case _:
            raise CompileError(f"{type(stmt).__name__} cannot stand in a host body")


def evaluate(expr: Expr, names: dict[str, Any], load: Callable[[str, int, DType], Any] | None = None) -> Any:
    """The value of a scalar expression, as a NumPy scalar of its dtype."""
    match expr:
        case Const(value, dtype):
            return dtype.type(value)
        case Var(name, _):
            return names[name]
        case Load(buffer, index, dtype):
            if load is None:
                raise CompileError(f"the host cannot read %{buffer} here")
            return load(buffer, int(evaluate(index, names, load)), dtype)
        case Apply(args=args):
            with np.errstate(all="ignore"):
                return apply_scalar(expr, [evaluate(arg, names, load) for arg in args])
    raise CompileError(f"{type(expr).__name__} is not an expression of the loop IR")
