"""Convolutions with lanes along their outputs, by a few weights at a time that are turned for it.

    for j in 0..64 bind(parallel) {                   for j_block in 0..64 step 32 bind(parallel) {
      for y in 0..14 bind(parallel) {                   alloc %tile[32 * 9 * 32]  alloc %sums[196 * 32]  …
        for x in 0..14 bind(parallel) {                 for b in 0..k step 32 {
          mut s = 0.0                                     for p in 0..32 { for i in 0..32 bind(vector) {
          for p in 0..k {                                   for t in 0..9 { %tile[p, t, i] = %w[j_block + i, b + p, t]
            for r in 0..3 { for t in 0..3 {      ->       } } }
              mut e = 0.0                                 for y in 0..14 { for i in 0..32 bind(vector) {
              if … { e = %x[p, y + r, x + t] }              mut s = %sums[y, 0, i]  …  mut s_6 = %sums[y, 6, i]
              s = fma(e, %w[j, p, r, t], s)                 for p in 0..32 {
            } }                                               s = fma(%x[b + p, y, 0], %tile[p, 0, i], s)  …
          }                                                 }
          %y[j, y, x] = s                                   %sums[y, 0, i] = s  …  %sums[y, 6, i] = s_6
        } } } }                                           } }
                                                        }
                                                        %y[j_block + i, y, x] = %sums[y, x, i]
                                                      }

Vectors of outputs are full where rows of 7 or 14 pixels fill none, an element of the image is one broadcast whatever
the stride is, and where the window of a pixel leaves the image, its taps there are left out instead of masked. The
tile holds what fits into the nearest cache, no more: weights stay where they are, and lists of live inputs and
outputs are read while turning. Where all inputs fit, sums stay in registers; else they wait in memory for the next
tile, whose weights are asked for early. Each sum is formed in its own order.

A tap outside of the image is a product with 0, which is NaN for a weight that is not finite: a block with such a
weight is computed as it was written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from sparsec.ir.loop_rewrite import (
    declared_names,
    map_exprs,
    rename,
    simplify,
    substitute,
)
from sparsec.ir.loops import (
    Alloc,
    Assign,
    Body,
    Buffer,
    Expr,
    For,
    If,
    Kernel,
    Let,
    Load,
    Mut,
    Prefetch,
    Stmt,
    Store,
    Var,
    walk_stmts,
)
from sparsec.ir.scalar import S, const, index, var
from sparsec.ir.types import BOOL, I64
from sparsec.ir.varying import in_lockstep
from sparsec.passes.schedule.convolution import Convolution, Inside
from sparsec.passes.schedule.copies import Namer, jam, turns_of, unroll
from sparsec.passes.schedule.decide import decided
from sparsec.passes.schedule.narrow import narrowed
from sparsec.passes.schedule.nests import nested

__all__ = ["outputs_in_lanes", "suitable", "suits_outputs"]

#: Bytes of turned weights: with some rows of an image they fit into the nearest cache.
_TILE = 36 << 10

#: Vectors side by side for a pixel, and sums side by side in registers. Half of the registers are left for the
#: elements of the image that taps share.
_VECTORS, _SUMS = 2, 16

#: Sums side by side that hide how long an addition takes.
_CHAINS = 4

#: Pixels that share a tile, at least, so that turning does not show, and blocks that threads want to find.
_PIXELS, _TASKS = 300, 8

#: Less of an image or of a vector is not worth it, nor are fewer taps, unless pixels are apart. More taps, or wider
#: images, would not leave the caches what they need.
_FEWEST_PIXELS, _FILLED, _FEWEST_TAPS, _MOST_TAPS, _WIDEST = 32, 0.75, 4, 128, 1024


def suits_outputs(
    vector_bytes: int, itemsize: int, outputs: int, pixels: tuple[int, int], taps: int, step: int
) -> bool:
    """Whether lanes along so many outputs are faster than lanes along pixels. vector_bytes: 0 where the machine has
    too few registers. pixels: height and width of the result. step: between what neighbouring pixels read."""
    if not vector_bytes or outputs <= 0 or taps > _MOST_TAPS or pixels[1] > _WIDEST:
        return False
    lanes = vector_bytes // itemsize
    filled = outputs / (-(-outputs // lanes) * lanes)
    return filled >= _FILLED and math.prod(pixels) >= _FEWEST_PIXELS and (taps >= _FEWEST_TAPS or step > 1)


def outputs_in_lanes(stmt: Stmt, kernel: Kernel, vector_bytes: int, names: Namer) -> Body:
    """A nest of convolution's loops in this order; nothing where it is none, or would gain nothing."""
    found = suitable(stmt, kernel, vector_bytes)
    if found is None:
        return ()
    made = _Schedule(found, vector_bytes // found.dtype.itemsize, names).made()
    made = decided(map_exprs(made, simplify), rest=narrowed)
    vectors = (s for s in walk_stmts(made) if isinstance(s, For) and s.bind == "vector")
    return made if all(map(in_lockstep, vectors)) else ()


def suitable(stmt: Stmt, kernel: Kernel, vector_bytes: int) -> Convolution | None:
    """The convolution that a statement is, if it gains by lanes along its outputs."""
    found = Convolution.of(stmt, kernel)
    if found is None:
        return None
    size, pixels = found.dtype.itemsize, (found.height, found.width)
    return found if suits_outputs(vector_bytes, size, found.most, pixels, found.window, found.step) else None


@dataclass(frozen=True)
class _Sizes:
    """block: outputs side by side. whole: whether one tile holds the weights of all inputs; at_once: inputs that it
    holds. band: rows of an image that share a tile, which threads share out. strip: rows whose sums are made and used
    before the next; where sums wait for another tile, all of a band."""

    block: int
    whole: bool
    at_once: int
    band: int
    strip: int

    @staticmethod
    def of(found: Convolution, lanes: int) -> _Sizes:
        block = lanes * min(_VECTORS, -(-found.most // lanes))
        room = max(_TILE // (found.window * block * found.dtype.itemsize), 1)
        whole = 0 <= found.most_inputs <= room
        at_once = found.most_inputs if whole else max(room // 2, 1)  # sums want a place in the cache, too
        if found.most_inputs > at_once:
            at_once = -(-found.most_inputs // -(-found.most_inputs // at_once))  # in equal parts
        blocks = -(-found.most // block)
        bands = max(min(found.height * found.width // _PIXELS, _TASKS // blocks), 1)
        strip = min(lanes // math.gcd(found.width, lanes), found.height) if whole else 1
        band = -(-found.height // (bands * strip)) * strip
        return _Sizes(block, whole, max(at_once, 1), band, strip if whole else band)


class _Schedule:
    """The loops in the new order. `j`: the first output of a block. `band`, `top`: the first rows of a band and of a
    strip."""

    def __init__(self, found: Convolution, lanes: int, names: Namer) -> None:
        self.found, self.lanes, self.names = found, lanes, names
        self.sizes = sizes = _Sizes.of(found, lanes)
        self.block = sizes.block
        outputs = turns_of(found.outputs)
        self.full = outputs is not None and len(outputs) % sizes.block == 0
        self.tile = self._scratch("tile", sizes.at_once * found.window * sizes.block)
        self.sums = self._scratch("sums", sizes.strip * found.width * sizes.block)
        self.checked = self._scratch("checked", sizes.block)
        stems = found.outputs.var, found.y.var, found.y.var
        self.j, self.band, self.top = (Var(names.fresh(f"{v.name}_block"), v.dtype) for v in stems)
        self.inside = Inside.of(found)

    def _scratch(self, name: str, size: int) -> Buffer:
        return Buffer(self.names.fresh(name), self.found.dtype, size, "private", align=64)

    def made(self) -> Body:
        """The whole nest."""
        found = self.found
        zero, first = index(0), var(self.names.fresh("first"))
        band: Body
        if self.sizes.whole:
            strip = (Alloc(self.sums), *self._adding(zero), *self._results())
            strips = For(self.top, self.band, self._end(self.band, self.sizes.band), self.sizes.strip, strip)
            band = (*self._turning(zero), strips)
        else:
            chunks = replace(found.inputs, var=first, step=self.sizes.at_once)
            adding = (*self._turning(first), *self._adding(first))
            band = (Alloc(self.sums), self._start(), *nested((chunks,), adding), *self._results())
            band = substitute(band, {self.top.name: self.band})
        return self._shared_out((Alloc(self.tile), *self._unchecked(), *band))

    def _shared_out(self, band: Body) -> Body:
        """A body for all blocks and bands, in one loop: threads take turns of one, and either may be few."""
        found, rows = self.found, self.sizes.band
        bands = -(-found.height // rows)
        if bands == 1:
            blocks = replace(found.outputs, var=self.j, step=self.block)
            return nested((*found.others, blocks), substitute(band, {self.band.name: index(0)}))
        task = var(self.names.fresh("task"))
        blocks = S.quo(S.add(found.outputs.stop, index(self.block - 1)), index(self.block))
        places = (
            Let(self.j, S.mul(S.quo(task, index(bands)), index(self.block))),
            Let(self.band, S.mul(S.rem(task, index(bands)), index(rows))),
        )
        tasks = replace(found.outputs, var=task, stop=S.mul(blocks, index(bands)))
        return nested((*found.others, tasks), (*places, *band))

    def _end(self, first: Expr, rows: int) -> Expr:
        """Where so many rows end, or the image does."""
        after = S.add(first, index(rows))
        return after if self.found.height % rows == 0 else S.min(after, self.found.y.stop)

    def _loop(
        self, stem: str, stop: Expr | int, body: Callable[[Var], Body], step: int = 1, bind: str = "seq"
    ) -> For:
        """A loop from 0."""
        at = var(self.names.fresh(stem))
        return For(at, index(0), index(stop) if isinstance(stop, int) else stop, step, body(at), bind)

    def _vectors(self, count: int, body: Callable[[Var], Body]) -> For:
        return self._loop("lane", count, body, bind="vector")

    # --- sizes ---

    @property
    def bottom(self) -> Expr:
        """Where the strip ends."""
        return self._end(self.top, self.sizes.strip)

    @property
    def made_here(self) -> Expr:
        """Outputs of the block that there are."""
        left = S.sub(self.found.outputs.stop, self.j)
        return index(self.block) if self.full else S.min(index(self.block), left)

    def _inputs_from(self, first: Expr) -> Expr:
        """How many inputs the tile holds."""
        turns = turns_of(self.found.inputs)
        if turns is not None and len(turns) % self.sizes.at_once == 0:
            return index(self.sizes.at_once)
        return S.min(index(self.sizes.at_once), S.sub(self.found.inputs.stop, first))

    def _in_tile(self, place: Expr, tap: Expr, lane: Expr) -> Expr:
        row = S.add(S.mul(place, index(self.found.window)), tap)
        return S.add(S.mul(row, index(self.block)), lane)

    def _in_sums(self, y: Expr, x: Expr, lane: Expr) -> Expr:
        pixel = S.add(S.mul(S.sub(y, self.top), index(self.found.width)), x)
        return S.add(S.mul(pixel, index(self.block)), lane)

    # --- parts ---

    def _start(self) -> Stmt:
        """All sums at their first value."""

        def pixel(at: Var) -> Body:
            def lanes(lane: Var) -> Body:
                return (Store(self.sums.name, S.add(S.mul(at, index(self.block)), lane), self.found.total.value),)

            return (self._vectors(self.block, lanes),)

        return self._loop("pixel", self.sums.size // self.block, pixel)

    def _turning(self, first: Expr) -> Body:
        """Weights of the block's outputs and of the inputs from `first` on, to the tile; a vector of rows after the
        other, since as many rows as a block has may be too many for the ways of a cache."""

        def copied(part: Var, place: Var, lane: Var) -> Body:
            here = S.add(part, lane)
            lets, at = self._weight_at(S.add(self.j, here), S.add(first, place))

            def tap(t: Var) -> Body:
                value = Load(self.found.weight.buffer, S.add(at, t), self.found.dtype)
                return (Store(self.tile.name, self._in_tile(place, t, here), value),)

            return (*lets, self._loop("tap", self.found.window, tap))

        def rows(part: Var) -> Body:
            def place(at: Var) -> Body:
                return (self._vectors(self.lanes, lambda lane: copied(part, at, lane)),)

            return (self._loop("place", self._inputs_from(first), place),)

        return (self._loop("part", self.block, rows, step=self.lanes), *self._checking(first))

    def _unchecked(self) -> Body:
        """What `_checking` begins with."""
        if self.inside is None:
            return ()
        zero = const(0.0, self.found.dtype)
        return Alloc(self.checked), self._vectors(self.block, lambda lane: (Store(self.checked.name, lane, zero),))

    def _checking(self, first: Expr) -> Body:
        """Weights times 0, added up: not 0 for outputs of which one is not finite."""
        if self.inside is None:
            return ()
        found = self.found
        taps = range(found.window)

        def lanes(lane: Var) -> Body:
            sums = [Var(self.names.fresh("check"), found.dtype) for _ in taps[:_CHAINS]]

            def add(place: Var) -> Body:
                loads = (Load(self.tile.name, self._in_tile(place, index(tap), lane), found.dtype) for tap in taps)
                into = (sums[tap % _CHAINS] for tap in taps)
                return tuple(Assign(to, S.fma(load, const(0.0, found.dtype), to)) for load, to in zip(loads, into))

            before = Load(self.checked.name, lane, found.dtype)
            starts = (Mut(one, const(0.0, found.dtype)) for one in sums)
            adding = self._loop("place", self._inputs_from(first), add)
            return (*starts, adding, Store(self.checked.name, lane, reduce(S.add, sums, before)))

        return (self._vectors(self.block, lanes),)

    def _weight_at(self, output: Expr, place: Expr, *, sure: bool = True) -> tuple[Body, Expr]:
        """What must be bound to know where the weights of a window begin, and where that is. Outputs that there may
        be none of (all, if not `sure`) stand for the last one."""
        found = self.found
        bound: Body = ()
        if not (self.full and sure):
            there = Var(self.names.fresh("output"), found.outputs.var.dtype)
            bound, output = (Let(there, S.min(output, S.sub(found.outputs.stop, index(1)))),), there
        lets = found.where()
        own = {let.var.name: self.names.fresh(let.var.name) for let in lets}
        values: dict[str, Expr] = {loop.var.name: index(0) for loop in found.taps}
        values |= {found.outputs.var.name: output, found.inputs.var.name: place}
        *names, at = rename((*lets, Store("", found.weight.index, index(0))), own, {}, values)
        assert isinstance(at, Store)
        return (*bound, *names), at.index

    def _adding(self, first: Expr) -> Body:
        """What the tile's inputs add to the sums of all pixels."""
        found = self.found
        blocks = _shares(found.width, self._side_by_side())

        def row(y: Var) -> Body:
            made: list[Stmt] = []
            for begin, size, count in _runs(blocks, alone=self.inside is not None):
                if count == 1:
                    made.append(self._pixels(y, index(begin), size, first, asks=not begin))
                else:
                    at = Var(self.names.fresh(f"{found.x.var.name}_block"), found.x.var.dtype)
                    inner = (self._pixels(y, at, size, first, asks=False),)
                    made.append(For(at, index(begin), index(begin + size * count), size, inner))
            return tuple(made)

        y = Var(self.names.fresh(found.y.var.name), found.y.var.dtype)
        return (For(y, self.top, self.bottom, 1, row(y)),)

    def _side_by_side(self) -> int:
        return max(_SUMS * self.lanes // self.block, 1)

    def _pixels(self, y: Expr, begin: Expr, size: int, first: Expr, *, asks: bool) -> Stmt:
        """Some neighbours of a row, each in a register. asks: whether these ask for weights of the next tile."""
        found, total = self.found, self.found.total.var

        def lanes(lane: Var) -> Body:
            place = var(self.names.fresh("place"))
            at = self._in_sums(y, found.x.var, lane)
            asked = self._asked(y, first, place) if asks else ()
            each = self._one_input(first, place, lane)
            inputs = For(place, index(0), self._inputs_from(first), 1, (*asked, *each))
            own = Var(self.names.fresh(total.name), total.dtype)
            start = found.total.value if self.sizes.whole else Load(self.sums.name, at, total.dtype)
            body: Body = (
                Mut(own, start), *rename((inputs,), {total.name: own.name}),
                Store(self.sums.name, at, own),
            )  # fmt: skip
            body = substitute(body, {found.y.var.name: y})
            return jam(body, found.x.var.name, [S.add(begin, index(k)) for k in range(size)], self.names)

        return self._vectors(self.block, lanes)

    def _one_input(self, first: Expr, place: Var, lane: Var) -> Body:
        """What one input adds to the sum of one pixel."""
        found = self.found
        weight = Load(self.tile.name, self._in_tile(place, found.tap, lane), found.dtype)
        body = found.weighted(found.product if self.inside is None else self.inside.product, weight)
        for loop in reversed(found.taps):
            inner = replace(loop, body=body)
            last = loop is found.taps[-1]
            body = unroll(inner, self.names) if last and len(turns_of(loop) or ()) <= _SUMS else (inner,)
            if last and self.inside is not None:
                body = (If(self.inside.rows, body),)
        return substitute((*found.named, *body), {found.inputs.var.name: S.add(first, place)})

    def _asked(self, y: Expr, first: Expr, place: Expr) -> Body:
        """Prefetches for the next tile, of one of its inputs: each row of the image asks for some outputs, so that
        memory has time."""
        found = self.found
        if self.sizes.whole:
            return ()
        later = S.add(first, S.add(place, index(self.sizes.at_once)))
        past = S.ge(later, found.inputs.stop)  # then it is the first tile of the next outputs
        input_, begin = S.select(past, place, later), S.add(self.j, S.select(past, index(self.block), index(0)))
        each = -(-self.block // self.sizes.strip)
        asked: list[Stmt] = []
        for n in range(each):
            output = S.min(S.add(S.mul(S.sub(y, self.top), index(each)), index(n)), index(self.block - 1))
            lets, at = self._weight_at(S.add(begin, output), input_, sure=False)
            ends = {0, found.window - 1}
            asked += (*lets, *(Prefetch(found.weight.buffer, S.add(at, index(end))) for end in sorted(ends)))
        return tuple(asked)

    def _results(self) -> Body:
        """What becomes of the sums."""
        if self.inside is None:
            return (self._written(),)
        finite = Var(self.names.fresh("finite"), BOOL)

        def asked(lane: Var) -> Body:
            fine = S.eq(Load(self.checked.name, lane, self.found.dtype), const(0.0, self.found.dtype))
            return (Assign(finite, S.logical_and(finite, fine)),)

        all_are = self._loop("lane", self.block, asked)
        return Mut(finite, const(True, BOOL)), all_are, If(finite, (self._written(),), (self._as_it_was(),))

    def _written(self) -> Stmt:
        """The sums turned back, a vector of neighbouring pixels after the other, and what the body does with them."""
        found, width = self.found, index(self.found.width)
        count = S.mul(S.sub(self.bottom, self.top), width)
        turned = self._scratch("turned", self.block * self.lanes)
        own = Var(self.names.fresh(found.total.var.name), found.dtype)

        def pixels(at: Var) -> Body:
            def back(lane: Var) -> Body:
                pixel = Var(self.names.fresh("pixel"), I64)
                there = S.min(S.add(at, lane), S.sub(count, index(1)))  # lanes without a pixel read, too

                def output(i: Var) -> Body:
                    value = Load(self.sums.name, S.add(S.mul(pixel, index(self.block)), i), found.dtype)
                    return (Store(turned.name, S.add(S.mul(i, index(self.lanes)), lane), value),)

                return (Let(pixel, there), self._loop("i", self.block, output))

            def results(lane: Var) -> Body:
                here = S.add(at, lane)
                pixel = S.add(S.mul(self.top, width), here)

                def output(i: Var) -> Body:
                    value = Load(turned.name, S.add(S.mul(i, index(self.lanes)), lane), found.dtype)
                    body = rename((*found.before, Mut(own, value), *found.rest), {found.total.var.name: own.name})
                    places = {found.y.var.name: S.quo(pixel, width), found.x.var.name: S.rem(pixel, width)}
                    return substitute(body, {found.outputs.var.name: S.add(self.j, i), **places})

                return (If(S.lt(here, count), (self._loop("i", self.made_here, output),)),)

            return (Alloc(turned), self._vectors(self.lanes, back), self._vectors(self.lanes, results))

        return self._loop("pixel", count, pixels, step=self.lanes)

    def _as_it_was(self) -> Stmt:
        """The block and the band, in the order in which they were written."""
        found = self.found
        loops = (
            For(found.outputs.var, self.j, S.add(self.j, self.made_here), 1, ()),
            For(found.y.var, self.top, self.bottom, 1, ()), replace(found.x, bind="seq"),
        )  # fmt: skip
        body = nested(loops, found.body)
        (made,) = rename(body, {name: self.names.fresh(name) for name in declared_names(body)})
        return made


def _shares(length: int, most: int) -> list[int]:
    """A length in parts of at most so many, nearly equal, the larger ones first."""
    parts = -(-length // most)
    return [length // parts + (n < length % parts) for n in range(parts)]


def _runs(sizes: Sequence[int], *, alone: bool) -> Iterator[tuple[int, int, int]]:
    """(begin, size, how many) of neighbours of one size; the first and the last by themselves if `alone`."""
    begin, last = 0, len(sizes) - 1
    groups: list[tuple[int, int, int]] = []
    for n, size in enumerate(sizes):
        edge = alone and n in (0, 1, last)
        if groups and groups[-1][1] == size and not edge:
            groups[-1] = (groups[-1][0], size, groups[-1][2] + 1)
        else:
            groups.append((begin, size, 1))
        begin += size
    return iter(groups)
