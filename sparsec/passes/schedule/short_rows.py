"""Values that repeat along short rows are laid out once, so that the rows become one long loop.

    for i in 0..400 {                              alloc %row[2880]
      for b in 0..320 {                            for b in 0..320 { for c in 0..9 { %row[b * 9 + c] = %x[b] } }
        for c in 0..9 {                      ->    for i in 0..400 {
          %y[i * 2880 + b * 9 + c] = %x[b] * %s[i]    for q in 0..2880 {
        }                                               %y[i * 2880 + q] = %row[q] * %s[i]
      }                                              }
    }                                              }

Nine turns make no vectors; 2880 do. What is laid out depends on the inner two loops alone, and stays in the cache
that is nearest. No value changes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from sparsec.ir.loop_rewrite import declared_names, index_step, map_expr, map_exprs, nodes, substitute, writes
from sparsec.ir.loops import (
    Alloc,
    Body,
    Buffer,
    Expr,
    For,
    Kernel,
    Let,
    Load,
    Program,
    Stmt,
    Store,
    Var,
    exprs,
)
from sparsec.ir.scalar import S, const, index, var
from sparsec.passes.schedule.copies import Namer, turns_of
from sparsec.passes.schedule.nests import nested, perfect_nest

__all__ = ["short_rows"]

#: Rows of more elements make vectors of their own.
_LONGEST = 15

#: Bytes that are laid out for one array, at most, and how often they must be used.
_BYTES, _USES = 8192, 8


def short_rows(program: Program) -> Program:
    """The program with its kernels so rewritten."""
    return replace(program, kernels=tuple(map(_kernel, program.kernels)))


def _kernel(kernel: Kernel) -> Kernel:
    buffers = {buffer.name: buffer for buffer in kernel.buffers}
    names = Namer((*buffers, *(v.name for v in kernel.scalars), *declared_names(kernel.body)))
    body = tuple(new for stmt in kernel.body for new in _flattened(stmt, buffers, names))
    return kernel if body == kernel.body else replace(kernel, body=body)


def _flattened(stmt: Stmt, buffers: dict[str, Buffer], names: Namer) -> Body:
    """The nest with its inner two loops as one, behind what had to be laid out; itself if that cannot be."""
    nest = perfect_nest(stmt)
    if nest is None or len(nest.loops) < 3 or not all(isinstance(s, Let | Store) for s in nest.body):
        return (stmt,)
    *outer, rows, row = nest.loops
    counts = [turns_of(loop) for loop in nest.loops]
    if any(turns is None for turns in counts):
        return (stmt,)
    *turns, height, width = (len(t) for t in counts if t is not None)
    if not 1 < width <= _LONGEST or math.prod(turns) < _USES:
        return (stmt,)
    spread = _spread(nest.body, outer, rows, row, width)
    if not spread or any(load.buffer not in buffers for load in spread):
        return (stmt,)
    if set(writes(nest.body)) & {load.buffer for load in spread}:
        return (stmt,)
    if any(height * width * load.dtype.itemsize > _BYTES for load in spread):
        return (stmt,)
    at = S.add(S.mul(rows.var, index(width)), row.var)
    both = var(names.fresh("q"))
    laid: list[Stmt] = []
    places: dict[Expr, Expr] = {}
    for load in spread:
        made = Buffer(names.fresh("row"), load.dtype, height * width, "private", "rw", 64)
        laid += [Alloc(made), *nested((rows, row), (Store(made.name, at, load),))]
        places[load] = Load(made.name, at, load.dtype)
    body = map_exprs(nest.body, lambda expr: map_expr(expr, lambda node: places.get(node, node)))
    body = substitute(body, {rows.var.name: index(0), row.var.name: both})
    return (*laid, *nested((*outer, replace(row, var=both, stop=index(height * width))), body))


def _spread(body: Body, outer: Sequence[For], rows: For, row: For, width: int) -> tuple[Load, ...] | None:
    """The loads that must be laid out; None if another one, or a store, does not go along the rows, or if values
    are computed from the loops' variables themselves."""
    hidden = {*declared_names(body)}
    found: dict[Load, None] = {}
    for stmt in body:
        if isinstance(stmt, Store) and (_along(stmt.index, rows, row, width) != 1 or _mentions(stmt.index, hidden)):
            return None
        for expr in exprs(stmt) if isinstance(stmt, Let) else (stmt.value,):  # type: ignore[union-attr]
            if _mentions(map_expr(expr, _without_loads), {rows.var.name, row.var.name}):
                return None
            for node in nodes(expr):
                if not isinstance(node, Load):
                    continue
                if _mentions(node.index, hidden):
                    return None
                if _along(node.index, rows, row, width) not in (0, 1):
                    steps = [index_step(node.index, loop.var) for loop in (*outer, rows, row)]
                    if None in steps or any(steps[: len(outer)]):
                        return None
                    found[node] = None
    return tuple(found)


def _without_loads(node: Expr) -> Expr:
    return const(0, node.dtype) if isinstance(node, Load) else node


def _mentions(expr: Expr, names: set[str]) -> bool:
    return any(isinstance(node, Var) and node.name in names for node in nodes(expr))


def _along(at: Expr, rows: For, row: For, width: int) -> int | None:
    """How far a position moves from one element to the next, through all rows; None where that varies."""
    step, jump = index_step(at, row.var), index_step(at, rows.var)
    return step if step is not None and jump == step * width else None
