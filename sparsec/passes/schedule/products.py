"""Sums of products: what they multiply, how their loops move through it, and their taps written out.

    for j in 0..n bind(parallel) { for q in 0..49 bind(parallel) {
      mut s = 0.0
      for p in 0..k { s = fma(%x[p * 49 + q], %w[j * k + p], s) }      factors: %x[…], %w[…]; strides by q: 1, 0
      %y[j * 49 + q] = s
    } }
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from sparsec.ir.loop_rewrite import map_body, map_exprs, nodes, simplify, substitute
from sparsec.ir.loops import Apply, Assign, Body, Const, Expr, For, Load, Stmt, Store, Var, exprs, walk_stmts
from sparsec.ir.scalar import S, index
from sparsec.ir.types import I64
from sparsec.passes.schedule.copies import Namer, turns_of, unroll
from sparsec.passes.schedule.nests import Nest

__all__ = [
    "adds_product", "along_one_axis", "factors", "loops_in", "most_turns", "products_in", "stride", "taps_of",
    "written_out",
]

#: The most taps that are written out.
_UNROLLED = 16


def adds_product(stmt: Stmt) -> bool:
    """Whether it adds a product to a sum."""
    return isinstance(stmt, Assign) and isinstance(stmt.value, Apply) and stmt.value.fn == "fma"


def products_in(body: Body) -> Iterator[Apply]:
    """What inner loops add up: the multiply-adds assigned in them."""
    for stmt in body:
        if isinstance(stmt, For):
            yield from (inner.value for inner in walk_stmts(stmt.body) if adds_product(inner))  # type: ignore[union-attr, misc]


def factors(product: Apply, body: Body) -> list[Load]:
    """The elements that are multiplied, through the names that they have."""
    bound: dict[str, list[Expr]] = {}
    for stmt in walk_stmts(body):
        if hasattr(stmt, "var") and exprs(stmt) and not isinstance(stmt, For):
            bound.setdefault(stmt.var.name, []).extend(exprs(stmt))
    found: list[Load] = []
    todo, seen = list(product.args[:2]), set()
    while todo:
        for node in nodes(todo.pop()):
            if isinstance(node, Load):
                found.append(node)
            elif isinstance(node, Var) and node.name not in seen and node.dtype != I64:
                seen.add(node.name)
                todo += bound.get(node.name, [])
    return found


def along_one_axis(nest: Nest, loads: Sequence[Load]) -> tuple[For, ...]:
    """The innermost loops over which result and operands move as over one axis, of known length."""
    places = [stmt.index for stmt in walk_stmts(nest.body) if isinstance(stmt, Store)]
    found: list[For] = []
    length = 1
    for loop in reversed(nest.loops):
        turns = turns_of(loop)
        steps = [stride(load.index, loop.var) for load in loads]
        if not found:
            first = steps
        goes_on = all(step is not None and step == length * one for step, one in zip(steps, first) if one is not None)
        if not turns or not goes_on or any(stride(place, loop.var) != length for place in places):
            break
        length *= len(turns)
        found.insert(0, loop)
    return tuple(found) if length > 1 else ()


def stride(at: Expr, by: Var) -> int | None:
    """How far a position moves with a variable, if that is a number."""
    there = map_exprs((Store("", at, at),), simplify)[0]
    moved = substitute((there,), {by.name: S.add(by, index(1))})
    (first, second) = (stmt.index for stmt in (there, *moved) if isinstance(stmt, Store))
    step = simplify(S.sub(second, first))
    return int(step.value.real) if isinstance(step, Const) else None


def most_turns(block: For | None, around: Sequence[For], body: Body, sizes: Mapping[str, int]) -> int:
    """Turns of a loop whose number the call decides: each has results of its own, for which there is room."""
    if block is None:
        return 0
    turns = turns_of(block)
    if turns is not None:
        return len(turns)
    room = [sizes.get(stmt.buffer, -1) for stmt in walk_stmts(body) if isinstance(stmt, Store)]
    each = math.prod(len(turns_of(loop) or (0,)) for loop in around)
    return max(min(room, default=-1), 0) // each


def taps_of(body: Body) -> int:
    """Multiply-adds in a turn of the innermost sums."""
    found = (sum(map(adds_product, loop.body)) for loop in loops_in(body))
    return max(found, default=0) or 1


def loops_in(body: Body) -> Iterator[For]:
    """Loops anywhere in a body."""
    return (stmt for stmt in walk_stmts(body) if isinstance(stmt, For))


def written_out(body: Body, names: Namer, most: int = 2) -> Body:
    """The taps of a window one after the other, if they are few; of `most` loops."""
    for _ in range(most):
        inner = frozenset(loop.var.name for loop in loops_in(body) if not any(loops_in(loop.body)))
        body = map_body(body, partial(_turns_out, names=names, loops=inner))
    return body


def _turns_out(stmt: Stmt, names: Namer, loops: frozenset[str]) -> Body:
    if isinstance(stmt, For) and stmt.var.name in loops:
        turns = turns_of(stmt)
        sums = sum(isinstance(inner, Assign) for inner in stmt.body)
        if turns is not None and stmt.bind == "seq" and len(turns) * sums <= _UNROLLED:
            return unroll(stmt, names)
    return (stmt,)
