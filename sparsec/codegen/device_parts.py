"""How a kernel of the loop IR becomes launches on a device: which loops turn into work-items.

    let n = %s0 + 1                          part 1: n*m work-items
    for i in 0..n bind(parallel) {             i = gid / m, j = gid % m
      for j in 0..m bind(parallel) { A }       A
    }
    for k in 0..m { B }                      part 2: one work-item, runs the loop over k

A device has no barrier over all work-items but the end of a launch, so each top-level parallel nest is a
launch of its own; what stands between two nests runs as one work-item. Names that parts share are computed
again in each, which is right only for pure expressions; a kernel with other shared state stays in one piece,
and runs as one work-item.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sparsec.errors import CompileError
from sparsec.ir.loop_rewrite import post_order
from sparsec.ir.loops import (
    Alloc,
    Apply,
    Body,
    Const,
    Expr,
    For,
    Kernel,
    Let,
    Load,
    Mut,
    Stmt,
    Store,
    Var,
    walk_stmts,
)
from sparsec.ir.scalar import S, index, var

__all__ = ["Part", "parts", "trip_count"]


#: The number of a work-item. No name of the loop IR has a space.
_GID = var("global id")


@dataclass(frozen=True, slots=True)
class Part:
    """One launch. `work`, directly in `body`, is the loop over all its work-items, or None if there is only
    one; `items`, over the kernel's scalars, counts them, or is None if only the kernel can tell."""

    body: Body
    work: For | None
    items: Expr | None


def parts(kernel: Kernel) -> tuple[Part, ...]:
    """The launches that a kernel becomes, in order."""
    body = kernel.body
    written = {stmt.buffer for stmt in walk_stmts(body) if isinstance(stmt, Store)}
    whole = (Part(body, None, index(1)),)
    if not any(_is_parallel(stmt) for stmt in body):
        return whole
    shared: tuple[Let, ...] = ()
    found: list[Part] = []
    between: list[Stmt] = []
    for stmt in body:
        match stmt:
            case Let():
                if not _is_pure(stmt.value, written):
                    return whole
                shared = (*shared, stmt)
            case Mut() | Alloc():
                return whole
            case For(bind="parallel"):
                found.extend(_single(shared, between))
                between = []
                found.append(_nest(shared, stmt, written))
            case _:
                between.append(stmt)
    return (*found, *_single(shared, between))


def _is_parallel(stmt: Stmt) -> bool:
    return isinstance(stmt, For) and stmt.bind == "parallel"


def _single(shared: Body, run: list[Stmt]) -> list[Part]:
    return [Part((*shared, *run), None, index(1))] if run else []


def _nest(shared: tuple[Let, ...], outer: For, written: set[str]) -> Part:
    """Parallel loops directly inside each other become one loop, as far as their bounds are known outside.

    for i in 0..n { for j in 0..m { A } }   ->   for g in 0..n*m { let i = g / m; let j = g % m; A }
    """
    loops, body = [outer], outer.body
    while body:
        *lets, inner = body
        hidden = {loop.var.name for loop in loops} | {let.var.name for let in lets if isinstance(let, Let)}
        if not isinstance(inner, For) or inner.bind != "parallel" or inner.step == 0:
            break
        if not all(isinstance(let, Let) and _is_pure(let.value, written) for let in lets):
            break
        if _mentions(inner.start, hidden) or _mentions(inner.stop, hidden):
            break
        loops.append(inner)
        body = (*lets, *inner.body)  # what the outer loop computes once, each turn of the inner one computes
    counts = [trip_count(loop) for loop in loops]
    total: Expr = index(1)
    for count in counts:
        total = S.mul(total, count)
    places = tuple(_place(loop, counts[n + 1 :], first=n == 0) for n, loop in enumerate(loops))
    work = For(_GID, index(0), total, 1, (*places, *body), "parallel")
    return Part((*shared, work), work, _inline(total, {let.var.name: let.value for let in shared}))


def _place(loop: For, inner: list[Expr], *, first: bool) -> Let:
    """The loop's variable in one work-item, where `inner` counts the loops inside."""
    size: Expr = index(1)
    for count in inner:
        size = S.mul(size, count)
    turn: Expr = _GID if size == index(1) else S.quo(_GID, size)
    if not first:
        turn = S.rem(turn, trip_count(loop))
    return Let(loop.var, S.add(loop.start, S.mul(turn, index(loop.step))))


def trip_count(loop: For) -> Expr:
    """How often the body runs, at least 0."""
    if loop.step == 0:
        raise CompileError(f"the loop over %{loop.var.name} has step 0")
    span = S.sub(loop.stop, loop.start) if loop.step > 0 else S.sub(loop.start, loop.stop)
    step = abs(loop.step)
    if isinstance(span, Const):
        return index(max(-(-int(span.value.real) // step), 0))
    if step != 1:
        span = S.quo(S.add(span, index(step - 1)), index(step))
    return S.max(span, index(0))


def _is_pure(expr: Expr, written: set[str]) -> bool:
    """Whether the value is the same in every work-item at any time."""
    return not any(isinstance(node, Load) and node.buffer in written for node in post_order([expr]))


def _mentions(expr: Expr, names: set[str]) -> bool:
    """Whether the value depends on these names, or on memory."""
    nodes = post_order([expr])
    return any(isinstance(node, Load) or (isinstance(node, Var) and node.name in names) for node in nodes)


def _inline(expr: Expr, known: dict[str, Expr]) -> Expr | None:
    """`expr` without the kernel's own names; None if it reads memory."""
    match expr:
        case Var(name=name) if name in known:
            return _inline(known[name], known)
        case Load():
            return None
        case Apply(args=args):
            inner = [_inline(arg, known) for arg in args]
            found = tuple(arg for arg in inner if arg is not None)
            return replace(expr, args=found) if len(found) == len(args) else None
    return expr
