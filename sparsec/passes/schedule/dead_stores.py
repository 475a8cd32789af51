"""A store that the next one to the same place overwrites, with no read of its buffer in between, goes.

    %y[i] = a                 let b = a + 1
    let b = a + 1      ->     %y[i] = b
    %y[i] = b

Only in one list of statements, and only across statements that neither branch nor may leave the kernel.
"""

from __future__ import annotations

from sparsec.ir.loop_rewrite import nodes, with_bodies
from sparsec.ir.loops import Assign, Body, Expr, Let, Load, Mut, Stmt, Store, exprs

__all__ = ["without_dead_stores"]


def without_dead_stores(body: Body) -> Body:
    """The body, and those inside it, without such stores."""
    kept: list[Stmt] = []
    later: dict[tuple[str, Expr], int] = {}  # places that are stored to below, with the size of the element
    for stmt in reversed(body):
        stmt = with_bodies(stmt, without_dead_stores)
        if not isinstance(stmt, Let | Mut | Assign | Store):
            later.clear()
        elif isinstance(stmt, Store):
            place, size = (stmt.buffer, stmt.index), stmt.value.dtype.itemsize
            if later.get(place) == size:
                continue
            if not any(isinstance(node, Load) for node in nodes(stmt.index)):  # what it loads may change
                later[place] = size
        if isinstance(stmt, Assign):  # an index may name what changes here
            later.clear()
        read = {node.buffer for expr in exprs(stmt) for node in nodes(expr) if isinstance(node, Load)}
        later = {place: size for place, size in later.items() if place[0] not in read}
        kept.append(stmt)
    return tuple(reversed(kept))
