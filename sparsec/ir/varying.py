"""Which names differ between the turns of a loop: what vector lanes and unrolled copies must have one each of.

    for i in 0..8 {
      let a = %w[k]            the same in every turn
      let b = %x[i] * a        differs
      mut s = 0.0
      for p in 0..n { s = s + b }     the bounds are the same, s differs
    }
"""

from __future__ import annotations

from collections.abc import Iterable

from sparsec.ir.loop_rewrite import nodes, writes
from sparsec.ir.loops import (
    Alloc,
    Assign,
    Body,
    Const,
    Expr,
    For,
    If,
    Let,
    Load,
    Mut,
    Prefetch,
    Stmt,
    Store,
    Var,
    While,
    exprs,
    walk_stmts,
)

__all__ = ["Varying", "in_lockstep", "varying_names"]


class Varying:
    """Answers whether expressions differ between turns, once the names that do are known."""

    def __init__(self, names: Iterable[str], body: Body) -> None:
        self.names = set(names)
        self._changing = set(writes(body))  # what turns write, they may read back
        self._changing.update(s.buffer.name for s in walk_stmts(body) if isinstance(s, Alloc))
        self._seen: dict[int, tuple[frozenset[str], bool]] = {}  # what expressions read, while names are gathered
        while self._grow(body, None):
            pass
        self._seen.clear()

    def expr(self, expr: Expr) -> bool:
        """Whether the value may differ."""
        names, changing = self._reads(expr)
        return changing or not names.isdisjoint(self.names)

    def _reads(self, expr: Expr) -> tuple[frozenset[str], bool]:
        """The names that it reads, and whether it reads memory that turns write."""
        names, changing = [], False
        for node in nodes(expr):
            kind = type(node)
            if kind is Var:
                names.append(node.name)  # type: ignore[union-attr]
            elif kind is Load and node.buffer in self._changing:  # type: ignore[union-attr]
                changing = True
        return frozenset(names), changing

    def _differs(self, expr: Expr) -> bool:
        """`expr`, of one that is part of the body."""
        found = self._seen.get(id(expr))
        if found is None:
            found = self._seen[id(expr)] = self._reads(expr)
        return found[1] or not found[0].isdisjoint(self.names)

    def stmt(self, stmt: Stmt) -> bool:
        """Whether the statement, or anything in it, does something else in another turn."""
        for inner in walk_stmts((stmt,)):
            if isinstance(inner, Store | Alloc) or any(map(self.expr, exprs(inner))):
                return True
            if isinstance(inner, Let | Mut | Assign) and inner.var.name in self.names:
                return True
        return not isinstance(stmt, Let | Mut | Assign | Prefetch | For | While | If)

    def _grow(self, body: Body, own: set[str] | None) -> bool:
        """Adds names that turn out to differ; whether there were any. Where only some of the turns come, `own` are
        the cells declared there: the others keep what was in a cell, unless they never see it."""
        grown = False
        for stmt in body:
            match stmt:
                case Let(var=var, value=value) | Mut(var=var, value=value):
                    grown |= self._add(var.name, self._differs(value))
                    if own is not None:
                        own.add(var.name)
                case Assign(var=var, value=value):
                    some = own is not None and var.name not in own
                    grown |= self._add(var.name, some or self._differs(value))
                case For(var=var, start=start, stop=stop):
                    differs = self._differs(start) or self._differs(stop)
                    grown |= self._add(var.name, differs)
                    grown |= self._grow(stmt.body, set() if differs else own)
                case While(cond=cond):
                    grown |= self._grow(stmt.body, set() if self._differs(cond) else own)
                case If(cond=cond):
                    differs = self._differs(cond)
                    for branch in (stmt.then, stmt.orelse):
                        grown |= self._grow(branch, set() if differs else own)
        return grown

    def _add(self, name: str, differs: bool) -> bool:
        if not differs or name in self.names:
            return False
        self.names.add(name)
        return True


def varying_names(var: str, body: Body) -> frozenset[str]:
    """Names in `body` whose values depend on the loop variable `var`, itself included."""
    return frozenset(Varying((var,), body).names)


def in_lockstep(loop: For) -> bool:
    """Whether the turns of a loop can go through its body side by side, as the lanes of vectors do: their number
    is known, and all of them make the same turns of the loops inside."""
    if not (isinstance(loop.start, Const) and isinstance(loop.stop, Const)) or loop.step != 1:
        return False
    kinds = Let | Mut | Assign | Store | Prefetch | For | While | If
    if not all(isinstance(s, kinds) for s in walk_stmts(loop.body)):
        return False
    known = Varying((loop.var.name,), loop.body)
    for stmt in walk_stmts(loop.body):
        if isinstance(stmt, For) and (stmt.bind == "vector" or any(map(known.expr, exprs(stmt)))):
            return False
        if isinstance(stmt, While) and known.expr(stmt.cond):
            return False
    return True
