"""What schedules ask of a convolution's loops: where its weights, its images and its sum are.

    for n in 0..1 { for j in 0..64 { for y in 0..14 { for x in 0..14 {       others: n; outputs: j; y, x
      let row = cast:i64(%rows[j])                                           before
      mut s = 0.0                                                            total
      for p in 0..k {                                                        inputs
        let c = cast:i64(%live[p])                                           named
        for r in 0..3 { for t in 0..3 {                                      taps
          mut e = 0.0                                                        product
          if y + r >= 1 and y + r < 15 and x + t >= 1 and x + t < 15 { e = %x[p, y + r - 1, x + t - 1] }
          s = fma(e, %w[row, c, r, t], s)                                    weight: %w[…]; image: %x[…]
      } } }
      %y[j, y, x] = s                                                        rest
    } } } }
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import cast

from sparsec.ir.loop_rewrite import map_expr, map_exprs, nodes
from sparsec.ir.loops import (
    Apply,
    Assign,
    Body,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Let,
    Load,
    Mut,
    Stmt,
    Var,
    exprs,
    walk_stmts,
)
from sparsec.ir.scalar import S, const, index
from sparsec.ir.types import BOOL, DType
from sparsec.ir.varying import Varying
from sparsec.passes.schedule.copies import turns_of
from sparsec.passes.schedule.nests import perfect_nest
from sparsec.passes.schedule.products import factors, most_turns, products_in, stride

__all__ = ["Convolution", "Inside"]


@dataclass(frozen=True)
class Convolution:
    """One sum of products with weights for each output and pixel.

    others: loops around both, of images and groups. outputs: the loop that the weights move with, at most `most`
    turns. y, x: the loops that the image moves with. before: names that the body binds before the sum. total: the
    sum; inputs: the loop that forms it, with `taps` directly in it, whose weights are neighbours. product: what one
    tap does. rest: what becomes of the sum.
    """

    others: tuple[For, ...]
    outputs: For
    y: For
    x: For
    before: tuple[Let, ...]
    total: Mut
    inputs: For
    named: tuple[Let, ...]  # what a turn of `inputs` binds before its taps
    taps: tuple[For, ...]
    product: Body
    rest: Body
    body: Body  # all of it, as it was
    weight: Load
    image: tuple[Load, ...]
    most: int
    most_inputs: int  # -1: not known

    @staticmethod
    def of(stmt: Stmt, kernel: Kernel) -> Convolution | None:
        nest = perfect_nest(stmt)
        sums = [n for n, s in enumerate(nest.body) if isinstance(s, For)] if nest is not None else []
        if nest is None or len(nest.loops) < 3 or len(sums) != 1:
            return None
        *others, outputs, y, x = nest.loops
        before, rest = nest.body[: sums[0]], nest.body[sums[0] + 1 :]
        lets, muts = [s for s in before if isinstance(s, Let)], [s for s in before if isinstance(s, Mut)]
        inputs = nest.body[sums[0]]
        assert isinstance(inputs, For)
        products = list(products_in((inputs,)))
        if len(products) != 1 or len(muts) != 1 or len(lets) + 1 != len(before) or inputs.start != index(0):
            return None
        if any(turns_of(loop) == range(0) for loop in (*nest.loops, inputs)):
            return None
        named, taps, product = _taps(inputs)
        weight = _weight(products[0], nest.body, outputs, (y, x))
        known = turns_of(y) and turns_of(x) and isinstance(muts[0].value, Const) and inputs.step == 1
        known = known and all(turns_of(tap) and turns_of(tap) == range(len(turns_of(tap) or ())) for tap in taps)
        if weight is None or not known or not all(isinstance(s, Let) for s in named):
            return None
        if Varying((y.var.name, x.var.name), nest.body).expr(inputs.stop):
            return None
        sizes = {buffer.name: buffer.size for buffer in kernel.buffers}
        image = [load for load in factors(products[0], nest.body) if load != weight]
        most = most_turns(outputs, (*others, y, x), nest.body, sizes)
        found = Convolution(
            tuple(others), outputs, y, x, tuple(lets), muts[0], inputs, named, taps, product, rest, nest.body, weight,
            tuple(image), most, _most_inputs(inputs, image, sizes),
        )  # fmt: skip
        return found if found._is_plain() else None

    def _is_plain(self) -> bool:
        """Whether the weights of a window are neighbours in memory, only they tell the sums of outputs apart, and the
        sum is all that its loop hands on."""
        length, inner = 1, {tap.var.name for tap in self.taps}
        for tap in reversed(self.taps):
            if stride(self.weight.index, tap.var) != length:
                return False
            length *= len(turns_of(tap) or ())
        through = (n for let in self.where() for n in nodes(let.value) if isinstance(n, Var))
        own = {s.var.name for s in walk_stmts(self.product) if isinstance(s, Mut)}
        changed = {s.var.name for s in walk_stmts((self.inputs,)) if isinstance(s, Assign)} - own
        plain = all(isinstance(s, Let | Mut | Assign | If) for s in walk_stmts(self.product))
        rest = self.weighted((self.inputs,), const(0.0, self.dtype))
        by_output = Varying((self.outputs.var.name,), (*self.before, *rest))
        alike = not any(by_output.expr(expr) for s in walk_stmts(rest) for expr in exprs(s))
        return plain and alike and changed == {self.total.var.name} and all(n.name not in inner for n in through)

    def where(self) -> tuple[Let, ...]:
        """What binds the names in the weight's position, and those in what they stand for, in order."""
        lets = [s for s in walk_stmts(self.body) if isinstance(s, Let)]
        wanted = {n.name for n in nodes(self.weight.index) if isinstance(n, Var)}
        for let in reversed(lets):
            if let.var.name in wanted:
                wanted |= {n.name for n in nodes(let.value) if isinstance(n, Var)}
        return tuple(let for let in lets if let.var.name in wanted)

    def weighted(self, body: Body, weight: Expr) -> Body:
        """A part of the body with another weight."""
        return map_exprs(body, lambda expr: map_expr(expr, lambda node: weight if node == self.weight else node))

    @property
    def dtype(self) -> DType:
        return self.total.var.dtype

    @property
    def window(self) -> int:
        """Taps of a window."""
        return math.prod(len(turns_of(tap) or ()) for tap in self.taps)

    @property
    def height(self) -> int:
        return len(turns_of(self.y) or ())

    @property
    def width(self) -> int:
        return len(turns_of(self.x) or ())

    @property
    def step(self) -> int:
        """How far apart in an image neighbouring pixels read, at most; 0 where that is not a number."""
        return max((abs(stride(load.index, self.x.var) or 0) for load in self.image), default=0)

    @property
    def tap(self) -> Expr:
        """The number of a tap in its window."""
        number: Expr = index(0)
        for loop in self.taps:
            number = S.add(S.mul(number, index(len(turns_of(loop) or ()))), loop.var)
        return number


def _taps(inputs: For) -> tuple[tuple[Let, ...], tuple[For, ...], Body]:
    """What a turn binds, the loops in it that nothing else stands between, and what the innermost does."""
    named: list[Stmt] = []
    taps: list[For] = []
    body = inputs.body
    while body and isinstance(body[-1], For) and (not taps or len(body) == 1):
        named += body[:-1]
        taps.append(body[-1])
        body = body[-1].body
    return tuple(named), tuple(taps), body  # type: ignore[arg-type]


def _most_inputs(inputs: For, image: Sequence[Load], sizes: Mapping[str, int]) -> int:
    """Turns of the loop over inputs, at most: of one whose number the call decides, as many as begin in the memory of
    the images (which may lie in any order there); -1 where nothing tells."""
    turns = turns_of(inputs)
    if turns is not None:
        return len(turns)
    room = [(sizes.get(load.buffer, -1), stride(load.index, inputs.var)) for load in image]
    if not all(step and size >= 0 for size, step in room):
        return -1
    return min(-(-size // abs(step or 1)) for size, step in room)


def _weight(product: Apply, body: Body, outputs: For, pixels: Sequence[For]) -> Load | None:
    """The factor that moves with the outputs, if it alone does, and the other one with the pixels."""
    loads = factors(product, body)
    by_output = Varying((outputs.var.name,), body)
    by_pixel = Varying((loop.var.name for loop in pixels), body)
    own = [load for load in loads if by_output.expr(load.index)]
    shared = [load for load in loads if not by_output.expr(load.index)]
    apart = own and shared and not any(by_pixel.expr(load.index) for load in own)
    if not apart or len(set(own)) != 1 or not all(by_pixel.expr(load.index) for load in shared):
        return None
    return own[0]


@dataclass(frozen=True)
class Inside:
    """A product that is left out where the window lies outside of the image. rows: when its row of taps lies inside,
    asked before all columns; product: with what is left to ask."""

    rows: Expr
    product: Body

    @staticmethod
    def of(found: Convolution) -> Inside | None:
        """None where nothing is asked, or more than rows and columns tell."""
        place = next((n for n, s in enumerate(found.product) if isinstance(s, If)), 0)
        asked, zero = found.product[place], found.product[place - 1]
        product = found.product[place + 1 :]
        if not place or not isinstance(asked, If) or asked.orelse or any(isinstance(s, If) for s in product):
            return None
        if not isinstance(zero, Mut) or zero.value != const(0.0, found.dtype):
            return None
        by_row = {loop.var.name for loop in (found.y, *found.taps[:-1])}
        by_column = {loop.var.name for loop in (found.x, *found.taps[-1:])}
        conds = [(cond, {n.name for n in nodes(cond) if isinstance(n, Var)}) for cond in _both(asked.cond)]
        if not all(names <= by_row | by_column for _, names in conds):
            return None
        rows = _all(cond for cond, names in conds if names <= by_row)
        columns = _all(cond for cond, names in conds if not names <= by_row)
        reads = Varying((zero.var.name,), product)
        common = [s for s in product if isinstance(s, Let) and not reads.expr(s.value)]  # for all columns: the weight
        inner = If(columns, (zero, *asked.then, *(s for s in product if s not in common)))
        return Inside(rows, (*found.product[: place - 1], *common, inner))


def _both(cond: Expr) -> list[Expr]:
    """What must all hold."""
    match cond:
        case Apply("and", (x, y)):
            return [*_both(x), *_both(y)]
    return [cond]


def _all(conds: Iterable[Expr]) -> Expr:
    """Whether all hold."""
    return reduce(S.logical_and, conds, cast(Expr, const(True, BOOL)))
