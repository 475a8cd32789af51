"""Loops directly inside each other, and what can be done to them without changing a value.

    for y in 0..4 { for x in 0..7 { A(y, x) } }
        fused:      for q in 0..28 { A(quo(q, 7), rem(q, 7)) }
        stripped:   for q in 0..28 step 16 { if q < 1 { block(q, 16) } else { block(16, 12) } }
        covered:    for q in 0..28 step 16 { block(min(q, 12), 16), of which turns before q have been made }

All loops here are independent ("parallel"), so their order is free.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sparsec.ir.loop_rewrite import substitute
from sparsec.ir.loops import Body, Expr, For, If, Stmt, Var
from sparsec.ir.scalar import S, index, var
from sparsec.passes.schedule.copies import Namer, turns_of

__all__ = ["Nest", "cover", "fuse", "nested", "perfect_nest", "strip"]

Block = Callable[[Expr, int], Body]  # (first turn, how many) to statements


@dataclass(frozen=True, slots=True)
class Nest:
    """Loops from 0 in steps of 1, outermost first (their own bodies do not count), around one body."""

    loops: tuple[For, ...]
    body: Body


def perfect_nest(stmt: Stmt) -> Nest | None:
    """The parallel loops that a statement consists of, as far as each holds nothing but the next."""
    loops: list[For] = []
    body: Body = (stmt,)
    while len(body) == 1 and isinstance(body[0], For) and body[0].bind == "parallel":
        loop = body[0]
        if loop.step != 1 or loop.start != index(0):
            break
        loops.append(loop)
        body = loop.body
    return Nest(tuple(loops), body) if loops else None


def nested(loops: Sequence[For], body: Body) -> Body:
    """Loops around a body, the first outermost. A loop of one turn is none."""
    for loop in reversed(loops):
        turns = turns_of(loop)
        if turns is not None and len(turns) == 1:
            body = substitute(body, {loop.var.name: index(turns[0])})
        else:
            body = (replace(loop, body=body),)
    return body


def fuse(outer: For, inner: For, body: Body, names: Namer) -> tuple[For, Body]:
    """One loop for two; `inner` has a known number of turns, at least one."""
    turns = turns_of(inner)
    if not turns:
        raise ValueError(f"the turns of {inner.var.name} are not known")
    both = var(names.fresh("q"))
    size = index(len(turns))
    places = {outer.var.name: S.quo(both, size), inner.var.name: S.rem(both, size)}
    if turns_of(outer) == range(1):
        places = {outer.var.name: index(0), inner.var.name: both}
    loop = replace(outer, var=both, stop=S.mul(outer.stop, size))
    return loop, substitute(body, places)


def cover(loop: For, size: int, block: Callable[[Expr, int, Expr | None], Body], names: Namer) -> Body:
    """The loop in steps of `size`, all of them full: the last begins early enough. `block(start, count, since)` must
    leave out what turns before `since` do; None: there are none. Where there are fewer turns than `size` (only the
    call may know), they are made one by one."""
    first = Var(names.fresh(f"{loop.var.name}_block"), loop.var.dtype)
    turns = turns_of(loop)
    if turns is not None:
        size = min(size, len(turns))
    if turns is not None and len(turns) % size == 0:
        body = block(first, size, None)
    else:
        body = block(S.min(first, S.sub(loop.stop, index(size))), size, first)
    if turns is None and size > 1:
        one = Var(names.fresh(loop.var.name), loop.var.dtype)
        few = For(one, index(0), loop.stop, 1, block(one, 1, None))
        body = (If(S.ge(loop.stop, index(size)), body, (few,)),)
    return nested((replace(loop, var=first, step=size),), body)


def strip(loop: For, size: int, block: Block, names: Namer) -> Body:
    """The loop in steps of `size`. What is left over is one smaller block, or, where only the call knows how
    much that is, blocks of halves of `size`."""
    first = Var(names.fresh(f"{loop.var.name}_block"), loop.var.dtype)
    turns = turns_of(loop)
    if turns is not None:
        rest = len(turns) % size
        full = len(turns) - rest
        body = block(first, size) if full else block(first, rest)
        if full and rest:
            last = index(full - size)  # where the last full block begins: this tells most about positions in it
            body = (If(S.lt(first, S.add(last, index(1))), body, block(index(full), rest)),)
    else:
        left = S.rem(loop.stop, index(size))
        body = block(first, size)
        if size > 1:
            halves = _halves(first, loop.stop, size // 2, block, names)
            body = (If(S.lt(first, S.sub(loop.stop, left)), body, halves),)
    return nested((replace(loop, var=first, step=size),), body)


def _halves(start: Expr, stop: Expr, size: int, block: Block, names: Namer) -> Body:
    """Blocks of `size`, then of half of it, down to 1, in order."""
    result: list[Stmt] = []
    while size:
        count = S.quo(S.sub(stop, start), index(size))
        end = S.add(start, S.mul(count, index(size))) if size > 1 else stop
        at = var(names.fresh("rest"))
        result.append(For(at, start, end, size, block(at, size)))
        start, size = end, size // 2
    return tuple(result)
