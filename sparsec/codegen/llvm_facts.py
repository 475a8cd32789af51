"""What LLVM may be told of a loop, beyond what its text shows."""

from __future__ import annotations

from sparsec.ir.loop_rewrite import affine, index_step, post_order, reads, writes
from sparsec.ir.loops import (
    INDEPENDENT,
    Apply,
    Assign,
    Body,
    Const,
    Expr,
    For,
    Let,
    Load,
    Mut,
    Stmt,
    Store,
    Var,
    While,
    exprs,
    walk_stmts,
)

__all__ = ["order_free", "order_shows", "picks_elements", "wants_masked_tail"]


def order_shows(body: Body) -> bool:
    """Whether no turn comes back to what it has stored, as far as indexes tell.

    LLVM takes a loop whose turns are independent for one without any dependence, also inside a turn: when it
    joins strided accesses into wide ones, it moves them past each other.
    """
    stored: dict[str, dict[object, set[int]]] = {}  # constants of indexes, by buffer and the rest of the index

    def apart(buffer: str, at: Expr) -> bool:
        if buffer not in stored:
            return True
        terms, constant = affine(at)
        return stored[buffer].keys() == {terms} and constant not in stored[buffer][terms]

    for stmt in walk_stmts(body):
        inner = stmt.body if isinstance(stmt, (For, While)) else ()
        carries = isinstance(stmt, While) or (isinstance(stmt, For) and stmt.bind not in INDEPENDENT)
        if carries and (written := writes(inner)) and not set(written).isdisjoint(reads(inner)):
            return False
        for node in post_order(exprs(stmt)):
            if isinstance(node, Load) and not apart(node.buffer, node.index):
                return False
        if isinstance(stmt, Store):
            if not apart(stmt.buffer, stmt.index):
                return False
            terms, constant = affine(stmt.index)
            stored.setdefault(stmt.buffer, {}).setdefault(terms, set()).add(constant)
    return True


def order_free(loop: For) -> bool:
    """Whether LLVM may be told to vectorise: that also allows it to reorder sums and memory accesses, so
    nothing may be carried from one turn to the next."""
    declared: set[str] = set()
    stored: set[str] = set()
    loaded: set[str] = set()
    for stmt in walk_stmts(loop.body):
        loaded.update(_loaded(stmt))
        match stmt:
            case Mut(var=var):
                declared.add(var.name)
            case Assign(var=var) if var.name not in declared:
                return False
            case Store(buffer=buffer):
                if buffer in stored:
                    return False
                stored.add(buffer)
    return not stored & loaded


def wants_masked_tail(loop: For) -> bool:
    """Whether the last vector of a loop had better be a masked one than single elements: in a short loop whose
    length no vector divides, over neighbouring elements (of others, masks make gathers)."""
    if not (isinstance(loop.start, Const) and isinstance(loop.stop, Const)) or loop.step != 1:
        return False
    turns = int(loop.stop.value.real - loop.start.value.real)
    if not 16 < turns < 512 or turns % 16 == 0:
        return False
    for stmt in loop.body:
        if not isinstance(stmt, Let | Store):
            return False
        places = [node for node in post_order(exprs(stmt)) if isinstance(node, Load)]
        sizes = [(node.index, node.dtype) for node in places]
        if isinstance(stmt, Store):
            sizes.append((stmt.index, stmt.value.dtype))
        if any(dtype.itemsize < 4 or index_step(at, loop.var) not in (0, 1) for at, dtype in sizes):
            return False
    return True


def picks_elements(body: Body) -> bool:
    """Whether a loop takes elements one by one, where LLVM would gather them into vectors: at places that follow from
    other elements or from floats, or on the way to places that are far apart themselves. (Where only the loads are
    far apart, LLVM may have nothing better than to gather.)"""
    loops = [stmt for stmt in walk_stmts(body) if isinstance(stmt, For | While)]
    return any(_reads_by_index(loop.body) or (isinstance(loop, For) and _scatters(loop)) for loop in loops)


#: Stores that are closer are joined into wide ones.
_FAR = 8


def _scatters(loop: For) -> bool:
    steps = [index_step(stmt.index, loop.var) for stmt in loop.body if isinstance(stmt, Store)]
    return any(step is not None and abs(step) > _FAR for step in steps)


def _reads_by_index(body: Body) -> bool:
    found: set[str] = set()  # names of what follows from elements
    for stmt in walk_stmts(body):
        parts = post_order(exprs(stmt))
        if any(isinstance(node, Load) and _follows(node.index, found) for node in parts):
            return True
        if isinstance(stmt, Let | Mut | Assign) and _follows(stmt.value, found):
            found.add(stmt.var.name)
    return False


def _follows(expr: Expr, found: set[str]) -> bool:
    """Whether an element, a rounded float or what is computed of one is in an expression."""
    for node in post_order((expr,)):
        match node:
            case Load():
                return True
            case Var(name=name) if name in found:
                return True
            case Apply(fn="cast", args=(x,), dtype=dtype) if x.dtype.kind == "f" and dtype.kind in "iu":
                return True
    return False


def _loaded(stmt: Stmt) -> set[str]:
    """Buffers that the expressions of `stmt` read."""
    return {node.buffer for node in post_order(exprs(stmt)) if isinstance(node, Load)}
