"""Copies of a body for different values of a variable: one after the other, or side by side.

    for j in 0..2 {                        mut a = 0.0
      mut s = 0.0                          mut a_1 = 0.0
      for p in 0..n {                      for p in 0..n {
        let v = %x[p]            jam         let v = %x[p]
        s = fma(v, %w[j], s)     ->          a = fma(v, %w[0], a)
      }                                      a_1 = fma(v, %w[1], a_1)
      %y[j] = s                            }
    }                                      %y[0] = a
                                           %y[1] = a_1

What does not depend on the variable is done once. Copies side by side are right for independent turns only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sparsec.ir.loop_rewrite import declared_names, rename
from sparsec.ir.loops import Alloc, Body, Const, Expr, For, If, Stmt, While, walk_stmts
from sparsec.ir.scalar import index
from sparsec.ir.varying import Varying

__all__ = ["Namer", "jam", "turns_of", "unroll"]


class Namer:
    """Names that nobody uses."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)

    def fresh(self, stem: str) -> str:
        name, count = stem, 0
        while name in self._taken:
            count += 1
            name = f"{stem}_{count}"
        self._taken.add(name)
        return name


def turns_of(loop: For) -> range | None:
    """The values that the loop's variable takes, where they are known."""
    if isinstance(loop.start, Const) and isinstance(loop.stop, Const):
        return range(int(loop.start.value.real), int(loop.stop.value.real), loop.step)
    return None


def unroll(loop: For, names: Namer) -> Body:
    """The turns of a loop, whose number must be known, one after the other."""
    turns = turns_of(loop)
    if turns is None:
        raise ValueError(f"the turns of {loop.var.name} are not known")
    return tuple(stmt for turn in turns for stmt in _copy(loop.body, loop.var.name, index(turn), names))


def jam(body: Body, var: str, values: Sequence[Expr], names: Namer) -> Body:
    """Copies of `body`, one for each value of the variable `var`, side by side."""
    known = Varying((var,), body)
    declared = [name for name in declared_names(body) if name in known.names]
    buffers = [s.buffer.name for s in walk_stmts(body) if isinstance(s, Alloc)]
    own = [({n: names.fresh(n) for n in declared}, {b: names.fresh(b) for b in buffers}) for _ in values]

    def together(stmts: Body) -> Body:
        return tuple(new for stmt in stmts for new in jammed(stmt))

    def jammed(stmt: Stmt) -> Iterable[Stmt]:
        if not known.stmt(stmt):
            return (stmt,)
        match stmt:
            case For(start=start, stop=stop) if not (known.expr(start) or known.expr(stop)):
                return (replace(stmt, body=together(stmt.body)),)
            case While(cond=cond) if not known.expr(cond):
                return (replace(stmt, body=together(stmt.body)),)
            case If(cond=cond) if not known.expr(cond):
                return (If(cond, together(stmt.then), together(stmt.orelse)),)
        return tuple(
            new for value, (variables, places) in zip(values, own)
            for new in rename((stmt,), variables, places, {var: value})
        )  # fmt: skip

    return together(body)


def _copy(body: Body, var: str, value: Expr, names: Namer) -> Body:
    buffers = {s.buffer.name: names.fresh(s.buffer.name) for s in walk_stmts(body) if isinstance(s, Alloc)}
    return rename(body, {name: names.fresh(name) for name in declared_names(body)}, buffers, {var: value})
