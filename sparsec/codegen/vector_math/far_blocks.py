"""Loops with sin, cos or tan: a look ahead for arguments that are beyond the formulas.

    for i in 0..n {                 ->   for b in 0..n step 256 {
      %y[i] = sin(%x[i])                   mut far1 = false
    }                                      for i in b..min(b + 256, n) { far1 = far1 or <%x[i] is huge> }
                                           if far1 { for i in ... { as before, a branch per element } }
                                           else { for i in ... { formulas only } }
                                         }

Both bodies give the same value wherever the formula holds, so that no result depends on its neighbours. Arguments
that take a while to compute are kept from the look ahead: `%kept[i - b] = a / c`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, TypeGuard

from sparsec.ir.loop_rewrite import nodes
from sparsec.ir.loops import (
    INDEPENDENT,
    Alloc,
    Apply,
    Assign,
    Body,
    Buffer,
    Const,
    Expr,
    For,
    If,
    Let,
    Load,
    Mut,
    Note,
    Stmt,
    Store,
    Var,
    children,
    exprs,
    walk_stmts,
)
from sparsec.ir.scalar import S, const, index
from sparsec.ir.types import BOOL, I64

if TYPE_CHECKING:
    from sparsec.codegen.vector_math.expand import Expander

__all__ = ["split"]

#: Iterations that are looked over before they are run: the arguments stay in the nearest cache.
BLOCK = 256

#: What takes no longer than a store and a load.
_QUICK = ("add", "sub", "mul", "fma", "neg", "abs", "cast", "min", "max", "select")

_LINE = 64  # bytes

#: A loop that is shorter gains nothing from vectors.
SHORTEST = 16


def split(loop: For, expander: Expander) -> For | None:
    """The loop with its formulas, in blocks; None if it has no use for them or cannot look ahead."""
    lets = _lookahead(loop)
    if lets is None:
        return None
    first, end = expander.fresh("block", I64), expander.fresh("end", I64)
    mark = expander.fresh("far", BOOL)
    kept = _kept(loop, lets, first, expander)
    part = replace(loop, start=first, stop=end, body=tuple(kept[id(s)][1] if id(s) in kept else s for s in loop.body))
    ahead = tuple(new for stmt in lets for new in (stmt, *kept.get(id(stmt), ())[:1]))
    look = replace(part, body=(*ahead, *_marks(loop, mark, expander)), bind="seq")
    body: Body = (
        Let(end, S.min(S.add(first, index(BLOCK)), loop.stop)),
        *(Alloc(Buffer(put.buffer, put.value.dtype, BLOCK, "private", "rw", _LINE)) for put, _ in kept.values()),
        Mut(mark, const(False, BOOL)),
        *expander.body((look,), near=True),
        If(mark, (expander.plain(part, near=False),), (expander.plain(part, near=True),)),
    )
    return For(first, loop.start, loop.stop, BLOCK, body, loop.bind)


def _marks(loop: For, mark: Var, expander: Expander) -> Body:
    """Statements that set `mark` if one of the arguments is far."""
    from sparsec.codegen.vector_math.expand import far

    args = [(expander.fresh("x", arg.dtype), arg) for arg in _arguments(loop)]
    found: Expr = mark
    for var, _ in args:
        found = S.logical_or(found, far(var))
    return (*(Let(var, arg) for var, arg in args), Assign(mark, found))


def _kept(loop: For, lets: Body, first: Var, expander: Expander) -> dict[int, tuple[Store, Let]]:
    """By the identity of statements of the look ahead whose values are kept: what keeps one, and what finds it."""
    arguments = {arg.name for arg in _arguments(loop) if isinstance(arg, Var)}
    found: dict[int, tuple[Store, Let]] = {}
    place = S.sub(loop.var, first)
    for stmt in lets:
        slow = isinstance(stmt, Let) and any(isinstance(n, Apply) and n.fn not in _QUICK for n in nodes(stmt.value))
        if isinstance(stmt, Let) and stmt.var.name in arguments and slow and stmt.var.dtype.kind == "f":
            buffer = expander.fresh("kept", stmt.var.dtype).name
            found[id(stmt)] = Store(buffer, place, stmt.var), Let(stmt.var, Load(buffer, place, stmt.var.dtype))
    return found


def _arguments(loop: For) -> list[Expr]:
    """Arguments of the periodic functions in the loop's own statements."""
    return [node.args[0] for stmt in loop.body for expr in exprs(stmt) for node in nodes(expr) if _periodic(node)]


def _periodic(node: Expr) -> TypeGuard[Apply]:
    from sparsec.codegen.vector_math.expand import PERIODIC, expandable

    return isinstance(node, Apply) and node.fn in PERIODIC and expandable(node)


def _lookahead(loop: For) -> Body | None:
    """The statements that the arguments depend on, if they can be run before the loop is."""
    if loop.step != 1 or _is_short(loop) or not _arguments(loop):
        return None
    if any(not isinstance(stmt, Let | Mut | Assign | Store | If | Note) for stmt in walk_stmts(loop.body)):
        return None
    if any(_periodic(node) for stmt in loop.body if isinstance(stmt, If) for inner in _inside(stmt)
           for expr in exprs(inner) for node in nodes(expr)):  # fmt: skip
        return None
    return _slice(loop)


def _is_short(loop: For) -> bool:
    count = S.sub(loop.stop, loop.start)
    return isinstance(count, Const) and int(count.value.real) < SHORTEST


def _inside(stmt: Stmt) -> Iterator[Stmt]:
    for body in children(stmt):
        yield from walk_stmts(body)


def _slice(loop: For) -> Body | None:
    """The Lets that the arguments need; None if they need what the loop changes as it goes."""
    changing = {s.var.name for s in walk_stmts(loop.body) if isinstance(s, Mut | Assign)}
    stored = _first_stores(loop)
    needed: set[str] = set()
    lets: list[Stmt] = []
    for position, stmt in reversed(list(enumerate(loop.body))):
        wanted = [arg for expr in exprs(stmt) for node in nodes(expr) if _periodic(node) for arg in node.args]
        if isinstance(stmt, Let) and stmt.var.name in needed:
            wanted.append(stmt.value)
            lets.append(stmt)
        for node in (node for expr in wanted for node in nodes(expr)):
            if isinstance(node, Load) and not _stays(node.buffer, position, stored, loop):
                return None
            if isinstance(node, Var):
                needed.add(node.name)
    return None if needed & changing else tuple(reversed(lets))


def _first_stores(loop: For) -> dict[str, int]:
    """Where each buffer is first stored to."""
    found: dict[str, int] = {}
    for position, stmt in enumerate(loop.body):
        for inner in walk_stmts((stmt,)):
            if isinstance(inner, Store):
                found.setdefault(inner.buffer, position)
    return found


def _stays(buffer: str, position: int, stored: dict[str, int], loop: For) -> bool:
    """Whether a load sees the same before the loop. (A store's own operands are read before it writes.)"""
    return buffer not in stored or (loop.bind in INDEPENDENT and position <= stored[buffer])
