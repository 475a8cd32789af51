"""Sums of products (convolution, matrix product) in blocks of accumulators that stay in registers.

    for j in 0..n bind(parallel) {                  for j in 0..n step 8 bind(parallel) {
      for q in 0..196 bind(parallel) {                for q in 0..196 step 48 bind(parallel) {
        mut s = 0.0                                     for i in 0..48 bind(vector) {
        for p in 0..k {                     ->            mut s = 0.0  mut s_1 = 0.0  …  mut s_7 = 0.0
          s = fma(%x[p, q], %w[j, p], s)                  for p in 0..k {
        }                                                   s = fma(%x[p, q + i], %w[j, p], s)
        %y[j, q] = s                                        …  s_7 = fma(%x[p, q + i], %w[j + 7, p], s_7) }
      }                                                   %y[j, q + i] = s  …  %y[j + 7, q + i] = s_7
    }                                           } } }

Lanes run along the innermost axes of the result; what they all share (a weight) is loaded once for all of them, and
what the block's rows share (a vector of x) once for all rows. Each sum is still formed in its own order. What is
left over of the lanes at the end is done in a smaller block, or, of one or two pixels, with lanes along the taps of
a window (taps_in_lanes.py), whose sums are added up last; the last block of rows begins early enough to be full, and
does not store what is stored already. Lanes that lie outside of an image are masked, which costs as much as a
multiply-add: blocks of lanes away from the first and last rows have a body of their own, where fewer conditions are
open. Where little is computed with each pixel, the next ones are asked for early. Nothing here knows of convolution:
loops and loads decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

from sparsec.ir.loop_rewrite import declared_names, map_body, map_exprs, nodes, simplify, substitute
from sparsec.ir.loops import (
    Body,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Load,
    Prefetch,
    Program,
    Stmt,
    Var,
    exprs,
    walk_stmts,
)
from sparsec.ir.scalar import S, const, index, var
from sparsec.ir.types import BOOL
from sparsec.ir.varying import Varying, in_lockstep
from sparsec.passes.schedule.copies import Namer, jam, turns_of
from sparsec.passes.schedule.decide import Ranges, decide, decided
from sparsec.passes.schedule.narrow import narrowed
from sparsec.passes.schedule.nests import cover, fuse, nested, perfect_nest, strip
from sparsec.passes.schedule.outputs_in_lanes import outputs_in_lanes
from sparsec.passes.schedule.products import (
    adds_product,
    along_one_axis,
    factors,
    loops_in,
    most_turns,
    products_in,
    stride,
    taps_of,
    written_out,
)
from sparsec.passes.schedule.taps_in_lanes import taps_in_lanes

__all__ = ["Registers", "register_blocks"]

_Copied = Callable[[Body], Body]  # the body for one row to that of a block of rows
_Made = Callable[[_Copied], Body]  # and the block, for some pixels

#: The part of an image that is away from its first and last rows, from which on the code for the rest may be shorter.
_INSIDE = 0.8

#: Half cycles until a sum can be added to again, and for a load, those included that wait for another cache.
_LATENCY, _LOADS = 8, 1.2

#: And for the elements of a vector that are no neighbours.
_GATHER = 32

#: Bytes that a core surely has in a cache of its own, beside others.
_CACHE = 1 << 20

#: Rows of a block that lie where a list says: the address of each stays in a register.
_ADDRESSES = 8

#: The most vectors side by side in a block, and the rows that one work-item of a device computes.
_MOST_PARTS = 8
_DEVICE_ROWS = 4


@dataclass(frozen=True, slots=True)
class Registers:
    """What blocks are made for. vector_bytes: of one register, 0 where single elements are computed with;
    count: how many registers there are."""

    vector_bytes: int
    count: int

    @property
    def wide(self) -> int:
        """Bytes of a register where there are many wide ones, as lanes along outputs need; else 0."""
        return self.vector_bytes if self.vector_bytes >= 64 and self.count >= 32 else 0

    @property
    def masks(self) -> int:
        """Masks that have registers of their own: of 512-bit vectors only."""
        return 7 if self.vector_bytes >= 64 else 0


def register_blocks(program: Program, machine: Registers) -> Program:
    """The program with its sums of products in blocks."""
    return replace(program, kernels=tuple(_scheduled(kernel, machine) for kernel in program.kernels))


def _scheduled(kernel: Kernel, machine: Registers) -> Kernel:
    names = Namer((*(v.name for v in kernel.scalars), *declared_names(kernel.body)))
    body: list[Stmt] = []
    for stmt in kernel.body:
        by_output = outputs_in_lanes(stmt, kernel, machine.wide, names)
        if by_output:
            body += by_output
            continue
        found = _Contraction.find(stmt, kernel)
        blocked: Body = ()
        if found is not None:
            blocked = decided(map_exprs(_blocked(found, machine, names), simplify), rest=narrowed)
        body += blocked if blocked and _can_run(blocked) else (stmt,)
    return replace(kernel, body=tuple(body))


def _can_run(body: Body) -> bool:
    """Whether all vector loops can be vectors."""
    return all(in_lockstep(s) for s in walk_stmts(body) if isinstance(s, For) and s.bind == "vector")


@dataclass(frozen=True, slots=True)
class _Contraction:
    """A nest around sums of products. `along`: its innermost loops that neighbouring elements of the result are in;
    `block`: the loop whose turns share the loads that lanes differ in, if there is one; `others`: the rest."""

    others: tuple[For, ...]
    block: For | None
    along: tuple[For, ...]
    body: Body
    itemsize: int
    most: int  # turns of `block`, at most; 0: nothing tells
    own_bytes: int  # of the largest buffer of those that the block's turns have places of their own in
    shared_bytes: int  # and of those that they share
    listed: bool  # whether what they have of their own lies where a list says

    @staticmethod
    def find(stmt: Stmt, kernel: Kernel) -> _Contraction | None:
        nest = perfect_nest(stmt)
        products = list(products_in(nest.body)) if nest is not None else []
        if nest is None or not products or any(turns_of(loop) == range(0) for loop in nest.loops):
            return None
        loads = [node for product in products for node in factors(product, nest.body)]
        along = along_one_axis(nest, loads)
        in_lanes = Varying((loop.var.name for loop in along), nest.body)
        shared = [load for load in loads if in_lanes.expr(load.index)]
        own = [load for load in loads if not in_lanes.expr(load.index)]
        if not along or not shared or not own:
            return None
        block, listed = None, False
        for loop in nest.loops[: len(nest.loops) - len(along)]:
            known = Varying((loop.var.name,), nest.body)
            moving = [load for load in own if known.expr(load.index)]
            if moving and not any(known.expr(load.index) for load in shared):
                block, listed = loop, not all(stride(load.index, loop.var) for load in moving)
        others = tuple(loop for loop in nest.loops if loop not in along and loop is not block)
        once = {loop.var.name: index(0) for loop in others if turns_of(loop) == range(1)}
        others, body = tuple(loop for loop in others if loop.var.name not in once), substitute(nest.body, once)
        sizes = {buffer.name: buffer.size for buffer in kernel.buffers}
        itemsize = loads[0].dtype.itemsize
        seen = itemsize * max(sizes.get(load.buffer, -1) for load in shared)
        most = most_turns(block, (*others, *along), nest.body, sizes)
        held = itemsize * max(_size(load, sizes, block, most) for load in own)
        return _Contraction(others, block, along, body, itemsize, most, held, seen, listed)


def _size(load: Load, sizes: Mapping[str, int], block: For | None, most: int) -> int:
    """Elements of the buffer, at most: of one whose size the call decides, what the turns of `block` move through."""
    size = sizes.get(load.buffer, -1)
    return size if size >= 0 or block is None else most * abs(stride(load.index, block.var) or 0)


# --- the schedule ----------------------------------------------------------------------------------------


def _blocked(found: _Contraction, machine: Registers, names: Namer) -> Body:
    pixels, body = found.along[-1], found.body
    for outer in reversed(found.along[:-1]):
        pixels, body = fuse(outer, pixels, body, names)
    if not machine.vector_bytes:
        return _for_devices(found, pixels, written_out(body, names), names)
    lanes = machine.vector_bytes // found.itemsize
    window = _Window.of(found, body, pixels, lanes, names)
    rolled, body = written_out(body, names, most=1), written_out(body, names)
    taps = taps_of(body)
    parts, rows = block_size(found, body, pixels, window, machine)
    inside = _Tile.of(body, pixels, parts * lanes, machine)
    edges = rolled if inside.share >= _INSIDE else body
    by_rows = rows_first(found, rows, len(turns_of(pixels) or ()) / (parts * lanes))
    once = None if by_rows else _read_once(found, body, pixels)

    def over_rows(inner: Callable[[_Copied], Body]) -> Body:
        def block(turn: Expr, copies: int, since: Expr | None) -> Body:
            return inner(lambda one: _rows(found, one, turn, copies, names, since))

        return block(index(0), 1, None) if found.block is None else cover(found.block, rows, block, names)

    def over_pixels(inner: Callable[[_Made], Body]) -> Body:
        def vectors(first: Expr, count: int, turn: Body) -> Body:
            if once is not None and not isinstance(first, Const):
                # The last elements of vectors: the first ones share lines with what is there.
                ends = (S.add(first, index(count + part * lanes + lanes - 1)) for part in range(parts))
                turn = _asking(turn, once, pixels, ends)
            return inner(lambda copied: _in_lanes(turn, pixels, first, count, lanes, copied, names))

        def block(first: Expr, count: int) -> Body:
            if isinstance(first, Const):
                alone = _rest(count, rows, taps, inside, window, machine)[1] if count < parts * lanes else 0
                last = (inner(partial(window.pixel, S.add(first, index(n)))) for n in range(count - alone, count))
                return (*(vectors(first, count - alone, edges) if alone < count else ()), *chain.from_iterable(last))
            if not inside.inside:
                return vectors(first, count, edges)
            here = S.logical_and(S.ge(first, index(inside.inside.start)), S.lt(first, index(inside.inside.stop)))
            return (If(here, vectors(first, count, body), vectors(first, count, edges)),)

        return strip(pixels, parts * lanes, block, names)

    if found.block is None:
        return over_pixels(lambda made: nested(found.others, made(lambda one: one)))
    if by_rows:
        whole = over_rows(lambda copied: over_pixels(lambda made: made(copied)))
    else:
        whole = over_pixels(lambda made: over_rows(made))
    return nested(found.others, whole)


@dataclass(frozen=True, slots=True)
class _Window:
    """How one pixel is computed alone, with lanes along the taps of its window. taps: how many there are, 0 where it
    cannot be; lanes: of a vector."""

    pixels: For
    lanes: int
    taps: int
    body: Body

    @staticmethod
    def of(found: _Contraction, body: Body, pixels: For, lanes: int, names: Namer) -> _Window:
        made = taps_in_lanes(body, lanes, names) if found.block is not None else None
        if made is not None:
            tap, taps, inner = made
            in_lanes, along = Varying((pixels.var.name,), inner), Varying((tap.name,), inner)
            loads = [n for s in walk_stmts(inner) for e in exprs(s) for n in nodes(e) if isinstance(n, Load)]
            own = [load.index for load in loads if along.expr(load.index) and not in_lanes.expr(load.index)]
            if all(stride(place, tap) == 1 for place in own):
                return _Window(pixels, lanes, taps, inner)
        return _Window(pixels, lanes, 0, ())

    def pixel(self, at: Expr, copied: _Copied) -> Body:
        return copied(substitute(self.body, {self.pixels.var.name: at}))

    def cost(self, rows: int) -> float:
        """As `_cost`. The weights are masked loads across two cache lines, and what the rows share is gathered."""
        vectors = -(-self.taps // self.lanes)
        return vectors * ((2 + 2 * _LOADS) * rows + _GATHER)


def _read_once(found: _Contraction, body: Body, pixels: For) -> Load | None:
    """What a block of pixels reads of what rows share, if that is one element for each pixel, whose place nothing in
    memory tells: little time is spent on it, and the next is asked for early."""
    sums = tuple(loop for loop in loops_in(body) if any(map(adds_product, loop.body)))
    if found.block is None or len(sums) != 1:
        return None
    in_lanes, inside = Varying((pixels.var.name,), body), Varying(declared_names(sums[0].body), sums[0].body)
    every = (node for s in walk_stmts(sums) for e in exprs(s) for node in nodes(e) if isinstance(node, Load))
    shared = tuple(dict.fromkeys(load for load in every if in_lanes.expr(load.index)))
    plain = not any(isinstance(node, Load) or inside.expr(node) for load in shared for node in nodes(load.index))
    return shared[0] if len(shared) == 1 and plain else None


def _asking(body: Body, load: Load, pixels: For, places: Iterable[Expr]) -> Body:
    """The body with prefetches in the loop that makes the sums: of what it loads at other pixels."""
    asked = (Prefetch(load.buffer, load.index),)
    moved = tuple(stmt for place in places for stmt in substitute(asked, {pixels.var.name: place}))

    def node(stmt: Stmt) -> Body:
        if isinstance(stmt, For) and any(map(adds_product, stmt.body)):
            return (replace(stmt, body=(*moved, *stmt.body)),)
        return (stmt,)

    return map_body(body, node)


def rows_first(found: _Contraction, rows: int, blocks: float) -> bool:
    """Whether all blocks of pixels are computed for some rows before the next rows: where what rows have of their own
    is larger than what they share, unless a cache holds it all; then the loop of more turns, which threads share."""
    if found.own_bytes <= found.shared_bytes:
        return False
    return found.own_bytes > _CACHE or found.most / rows >= blocks


def _for_devices(found: _Contraction, pixels: For, body: Body, names: Namer) -> Body:
    """A work-item for each element along the lanes, and for a few rows."""
    if found.block is None:
        return nested((*found.others, pixels), body)
    rows = strip(found.block, _DEVICE_ROWS, lambda turn, copies: _rows(found, body, turn, copies, names), names)
    match rows:
        case (For(bind="parallel") as blocks,):
            return nested((*found.others, blocks, pixels), blocks.body)
    return nested((*found.others, pixels), rows)


def _rows(
    found: _Contraction, body: Body, turn: Expr, copies: int, names: Namer, since: Expr | None = None
) -> Body:
    """The rows from `turn` on side by side; of those before `since` only the sums are made, and nothing of them."""
    if found.block is None:
        return body
    if since is not None:
        sums = max(place for place, stmt in enumerate(body) if any(map(adds_product, walk_stmts((stmt,)))))
        body = (*body[: sums + 1], If(S.ge(found.block.var, since), body[sums + 1 :]))
    return jam(body, found.block.var.name, [S.add(turn, index(k)) for k in range(copies)], names)


def _in_lanes(
    body: Body, pixels: For, first: Expr, count: int, lanes: int, copied: Callable[[Body], Body], names: Namer
) -> Body:
    """The body for `count` pixels from `first` on, in vectors that are full, or masked at the end."""
    lane = var(names.fresh("lane"))
    here = S.add(first, lane)
    inner = copied(substitute(body, {pixels.var.name: here}))
    width = -(-count // lanes) * lanes
    if width != count:
        inner = (If(S.lt(here, pixels.stop), inner),)
    return (For(lane, index(0), index(width), 1, inner, "vector"),)


@dataclass(frozen=True, slots=True)
class _Tile:
    """Blocks of `size` pixels, and which conditions they are computed under.

    inside: where blocks begin in which the same conditions stay open as in the middle, away from the first and last
        rows of an image; empty where all blocks are alike. share: how many of all blocks these are. near, far: the
        conditions that are left inside, and in the other blocks. Without registers for masks they wait in memory,
        and nothing is gained, unless they are made in each turn of an inner loop: else all blocks are alike there.
    """

    inside: range
    share: float
    near: tuple[Expr, ...]
    far: tuple[Expr, ...]

    @staticmethod
    def of(body: Body, pixels: For, size: int, machine: Registers) -> _Tile:
        turns = turns_of(pixels) or range(0)
        conds = list(_conditions(body, {}))

        def left(first: int, last: int) -> tuple[Expr, ...]:
            found = (decide(cond, {**known, pixels.var.name: (first, last)}) for cond, known in conds)
            return tuple(cond for cond in found if cond != const(True, BOOL))

        far = left(0, len(turns) - 1)
        inner = {loop.var.name for loop in loops_in(body)}
        made_again = any(isinstance(node, Var) and node.name in inner for cond in far for node in nodes(cond))
        starts = range(0, len(turns) - size + 1, size) if machine.masks or made_again else range(0)
        middle = left(starts[len(starts) // 2], starts[len(starts) // 2] + size - 1) if starts else far
        if len(starts) < 2 or middle == far:
            return _Tile(range(0), 0, far, far)
        begin, end = 0, len(starts)
        while left(starts[begin], starts[begin] + size - 1) != middle:
            begin += 1
        while left(starts[end - 1], starts[end - 1] + size - 1) != middle:
            end -= 1
        share = (end - begin) * size / len(turns)
        return _Tile(range(starts[begin], starts[end - 1] + 1), share, middle, far)


def _conditions(body: Body, known: Ranges) -> Iterator[tuple[Expr, Ranges]]:
    """All that is asked in a body, with the ranges of the loops around it."""
    for stmt in body:
        match stmt:
            case For():
                turns = turns_of(stmt)
                yield from _conditions(stmt.body, {**known, stmt.var.name: (turns[0], turns[-1])} if turns else known)
            case If():
                yield stmt.cond, known
                yield from _conditions((*stmt.then, *stmt.orelse), known)


def block_size(
    found: _Contraction, body: Body, pixels: For, window: _Window, machine: Registers
) -> tuple[int, int]:
    """Vectors and rows of a block: those with the least work, as `_cost` counts it, for the whole result."""
    lanes = machine.vector_bytes // found.itemsize
    count = len(turns_of(pixels) or ())
    rows = found.most if found.block is not None else 1
    most = min(rows or machine.count, _ADDRESSES if found.listed else machine.count)
    taps = taps_of(body)

    def work(parts: int, height: int, tile: _Tile) -> float:
        """For all pixels of all rows; of as many rows as in a block, where these are not known."""
        blocks, left = divmod(count, parts * lanes)
        one = blocks * _cost(parts, height, taps, tile, machine) + _rest(left, height, taps, tile, window, machine)[0]
        return one * -(-rows // height) / rows if rows else one / height

    choices = {}
    for parts in range(1, min(-(-count // lanes), _MOST_PARTS) + 1):
        tile = _Tile.of(body, pixels, parts * lanes, machine)
        crowded = tile.inside and len(set(tile.near)) * parts > machine.masks
        other = 2 * parts + 3 if crowded else parts + 1  # masks without a register are made again, from vectors
        for height in range(1, most + 1):
            if parts * height + other < machine.count:
                choices[parts, height] = work(parts, height, tile)
    return min(choices, key=lambda size: choices[size])


def _rest(
    count: int, rows: int, taps: int, tile: _Tile, window: _Window, machine: Registers
) -> tuple[float, int]:
    """The cost of the pixels that are left over, and how many of them are computed alone."""

    def cost(alone: int) -> float:
        vectors = -(-(count - alone) // window.lanes)
        return (_cost(vectors, rows, taps, tile, machine) if vectors else 0) + alone * window.cost(rows)

    return min((cost(alone), alone) for alone in ((0, count % window.lanes) if window.taps else (0,)))


def _cost(parts: int, rows: int, taps: int, tile: _Tile, machine: Registers) -> float:
    """Cycles for one turn of the sums, in halves: two multiply-adds and two loads are issued side by side.

    A vector that lies across two cache lines counts twice, and once more as often for what a turn brings from the
    next cache. A masked vector takes a place among the multiply-adds as well, and so does a mask that finds no
    register. Few sums wait for each other. A little of what is hidden shows.
    """
    total = 0.0
    for conds, share in ((tile.near, tile.share), (tile.far, 1 - tile.share)):
        masks = len(set(conds))
        moved = len(conds) / max(masks, 1) * max(masks * parts - machine.masks, 0)
        loads = taps * (2 * parts + rows) + 2 * parts + moved
        issued = taps * parts * rows + len(conds) * parts + moved
        total += share * (max(issued, _LOADS * loads, _LATENCY * taps) + 0.1 * loads)
    return total + 0.5 * taps
