"""A sum of products over a window with lanes along its taps: for a pixel that no vector has room for.

    mut s = 0.0                                          alloc %taps: private f32[16]
    for p in 0..k {                                      for tap in 0..16 bind(vector) { if tap < 9 {
      for y in 0..3 { for x in 0..3 {                      mut s_1 = 0.0
        s = fma(%i[p, y, x], %w[p, y, x], s)       ->      for p in 0..k {
      } }                                                    s_1 = fma(%i[p, tap / 3, tap % 3], %w[p * 9 + tap], s_1)
    }                                                      }
                                                           %taps[tap] = s_1
                                                         } }
                                                         mut s = 0.0
                                                         s = s + %taps[0]  …  s = s + %taps[8]

The weights of a window are neighbours in memory, so that one multiply-add takes the place of nine.
"""

from __future__ import annotations

from dataclasses import replace

from sparsec.ir.loop_rewrite import map_exprs, rename, simplify
from sparsec.ir.loops import (
    Alloc,
    Assign,
    Body,
    Buffer,
    For,
    If,
    Let,
    Load,
    Mut,
    Stmt,
    Store,
    Var,
    walk_stmts,
)
from sparsec.ir.scalar import S, const, index
from sparsec.passes.schedule.copies import Namer, turns_of
from sparsec.passes.schedule.nests import fuse

__all__ = ["taps_in_lanes"]


def taps_in_lanes(body: Body, lanes: int, names: Namer) -> tuple[Var, int, Body] | None:
    """The variable that lanes run along, how many taps there are, and the body for one pixel; None where the body is
    not one sum over windows of known size."""
    for place, stmt in enumerate(body):
        if isinstance(stmt, For):
            found = _window(stmt, names)
            start = [s for s in body[:place] if isinstance(s, Mut)]
            if found is None or len(start) != 1 or not _only(stmt, start[0].var):
                return None
            taps, inner = found
            summed = _summed(replace(stmt, body=inner), start[0].var, taps, lanes, names)
            return taps.var, len(turns_of(taps) or ()), (*body[:place], *summed, *body[place + 1 :])
    return None


def _window(loop: For, names: Namer) -> tuple[For, Body] | None:
    """The loops over the taps as one, and a turn of `loop` for one tap."""
    *before, taps = loop.body
    if not isinstance(taps, For) or not all(isinstance(stmt, Let) for stmt in before):
        return None
    inner: Body = taps.body
    while turns_of(taps) and len(inner) == 1 and isinstance(inner[0], For) and turns_of(inner[0]):
        taps, inner = fuse(taps, inner[0], inner[0].body, names)
    if len(turns_of(taps) or ()) < 2 or any(isinstance(stmt, For) for stmt in walk_stmts(inner)):
        return None
    return taps, map_exprs((*before, *inner), simplify)


def _only(loop: For, total: Var) -> bool:
    """Whether `total` is all that a loop hands on."""
    own = {stmt.var.name for stmt in walk_stmts(loop.body) if isinstance(stmt, Mut)}
    changed = {stmt.var.name for stmt in walk_stmts(loop.body) if isinstance(stmt, Assign)}
    return changed - own == {total.name} and not any(isinstance(stmt, Store) for stmt in walk_stmts(loop.body))


def _summed(loop: For, total: Var, taps: For, lanes: int, names: Namer) -> Body:
    """The sums of each tap, and their sum added to `total`."""
    count = len(turns_of(taps) or ())
    width = -(-count // lanes) * lanes
    part = Buffer(names.fresh("taps"), total.dtype, width, "private", align=64)
    own = Var(names.fresh(total.name), total.dtype)
    each: Stmt = If(S.lt(taps.var, index(count)), (
        Mut(own, const(0.0, total.dtype)), *rename((loop,), {total.name: own.name}), Store(part.name, taps.var, own),
    ))  # fmt: skip
    sums = (Assign(total, S.add(total, Load(part.name, index(tap), total.dtype))) for tap in range(count))
    return (Alloc(part), For(taps.var, index(0), index(width), 1, (each,), "vector"), *sums)
