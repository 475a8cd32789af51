"""Weights that nobody writes to, in blocks of outputs: vectors run along the outputs of a convolution or product.

    slot %w: f32[6400] = param 1 constant 100       slot %w: f32[6400] = param 1 constant 100 block 32

    for j in 0..64 bind(parallel) {                 for j in 0..64 step 32 bind(parallel) {
      for y in 0..7 bind(parallel) {                  for y in 0..7 bind(parallel) {
        for x in 0..7 bind(parallel) {                  for i in 0..32 bind(vector) {
          mut s = 0.0                                     mut s = 0.0  mut s_1 = 0.0  …  mut s_6 = 0.0
          for p in 0..100 {                    ->         for p in 0..100 {
            s = fma(%x[p, y, x], %w[j, p], s)               s = fma(%x[p, y, 0], %w[j * 100 + p * 32 + i], s)
          }                                                 …  s_6 = fma(%x[p, y, 6], %w[j * 100 + p * 32 + i], s_6)
          %y[j, y, x] = s                                 }
        }                                                 %y[j + i, y, 0] = s  …  %y[j + i, y, 6] = s_6
    } } }                                           } } }

49 pixels fill 49 of the 64 lanes of four vectors; outputs mostly are a multiple of them. The elements of one
row of an image are done side by side, so that it is known of each which taps lie outside: these cost nothing. A block
of the packed weights is read from beginning to end; where an index names the live inputs, what belongs to others is
left out, and each row of an image asks for a part of the next block ahead of time. Each sum is formed in its own
order, as ever.

That is a second copy of the weights. It is made where what it saves at each call is worth its bytes, by lanes that
are filled; a parameter is packed for all kernels that read it, or for none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from sparsec.errors import Loc
from sparsec.ir.loop_rewrite import declared_names, map_body, map_expr, map_exprs, nodes, simplify, substitute
from sparsec.ir.loops import (
    Apply,
    Body,
    Buffer,
    Expr,
    Extern,
    For,
    If,
    Kernel,
    Launch,
    Let,
    Load,
    Prefetch,
    Program,
    Slot,
    Stmt,
    Store,
    Var,
    exprs,
    walk_stmts,
)
from sparsec.ir.scalar import S, index, var
from sparsec.ir.types import I32, I64
from sparsec.ir.varying import in_lockstep
from sparsec.passes.schedule.copies import Namer, jam, turns_of
from sparsec.passes.schedule.decide import decided
from sparsec.passes.schedule.narrow import narrowed
from sparsec.passes.schedule.nests import Nest, nested, perfect_nest
from sparsec.passes.schedule.outputs_in_lanes import suitable
from sparsec.passes.schedule.products import (
    along_one_axis,
    factors,
    most_turns,
    products_in,
    stride,
    taps_of,
    written_out,
)
from sparsec.passes.schedule.register_block import Registers

__all__ = ["Packing", "pack_weights", "packed_elements"]

#: Elements of a row of an image that are done side by side, at most: longer rows fill vectors themselves.
_WIDEST = 8

#: Vectors of a block, at most; sums side by side, at most, and how many hide the time that an addition takes.
_PARTS, _SUMS, _LATENCY = 8, 16, 8

#: Vector operations for one pixel alone, with lanes along its taps.
_ALONE = 2.2

#: Vector operations that a byte which is kept for good must save at each call.
_PRICE = 1 / 16

#: Bytes that packed weights are aligned to.
ALIGN = 64


@dataclass(frozen=True, slots=True)
class Packing:
    """What was decided about a constant parameter. block: its rows in a block, 0 where it stays as it is.
    nbytes: of the packed copy, at most."""

    name: str
    block: int
    nbytes: int
    text: str
    loc: Loc | None


class _Stays(Exception):
    """Why a weight is not packed."""


def packed_elements(rows: int, columns: int, block: int) -> int:
    """Elements of so many rows in blocks, of which the last is filled up."""
    return -(-rows // block) * block * columns


def pack_weights(program: Program, machine: Registers, room: int = -1) -> tuple[Program, tuple[Packing, ...]]:
    """The program with its constant weights packed where that pays, and what was decided of each.

    room: the most bytes that packed weights may take; -1: as many as they need.
    """
    uses = _Uses.of(program)
    if not uses.constants or not machine.vector_bytes:
        return program, ()
    reasons: _Reasons = {}
    found = dict(_candidates(program, uses, machine, reasons))
    _agree(found, uses, reasons)
    if room >= 0:
        _within(found, uses, room, reasons)
        _agree(found, uses, reasons)
    return _applied(program, found, uses), tuple(_decisions(program, found, uses, reasons))


_Reasons = dict[str, tuple[str, Loc | None]]  # why a weight stays as it is, and the line that says so


def _candidates(
    program: Program, uses: _Uses, machine: Registers, reasons: _Reasons
) -> Iterator[tuple[str, _Found]]:
    """Kernels that gain by a packed weight; of the others the reasons."""
    for kernel in program.kernels:
        for place, columns in uses.weights(kernel):
            try:
                yield kernel.name, _Found.of(kernel, place, columns, machine)
            except _Stays as why:
                loc = kernel.locs[0] if kernel.locs else None
                reasons.update(dict.fromkeys(uses.passed(kernel.name, place), (str(why), loc)))


def _agree(found: dict[str, _Found], uses: _Uses, reasons: _Reasons) -> None:
    """Leaves those of which all readers of a weight want it in the same blocks."""
    while wrong := uses.disagreeing(found):
        for kernel, text in wrong.items():
            gone = found.pop(kernel)
            reasons.update(dict.fromkeys(uses.passed(kernel, gone.place), (text, gone.loc)))


def _within(found: dict[str, _Found], uses: _Uses, room: int, reasons: _Reasons) -> None:
    """Leaves those whose copies have room, where bytes save most."""
    for name in sorted(found, key=lambda name: found[name].gain, reverse=True):
        one = found[name]
        nbytes = one.nbytes * len(uses.passed(name, one.place))
        if nbytes <= room:
            room -= nbytes
        else:
            text = f"a packed copy would take {nbytes:,} bytes, but the memory limit leaves {room:,}"
            reasons.update(dict.fromkeys(uses.passed(name, one.place), (text, one.loc)))
            del found[name]


def _decisions(
    program: Program, found: Mapping[str, _Found], uses: _Uses, reasons: _Reasons
) -> Iterator[Packing]:
    packed = {name: one for kernel, one in found.items() for name in uses.passed(kernel, one.place)}
    for slot in program.slots:
        name = slot.buffer.name
        if name in packed:
            one = packed[name]
            yield Packing(name, one.block, one.nbytes, one.text, one.loc)
        elif name in reasons:
            yield Packing(name, 0, 0, *reasons[name])


def _applied(program: Program, found: Mapping[str, _Found], uses: _Uses) -> Program:
    packed = {name: one for kernel, one in found.items() for name in uses.passed(kernel, one.place)}

    def slot(old: Slot) -> Slot:
        one = packed.get(old.buffer.name)
        return old if one is None else replace(old, buffer=one.packed(old.buffer), block=one.block)

    kernels = tuple(found[k.name].kernel if k.name in found else k for k in program.kernels)
    return replace(program, slots=tuple(map(slot, program.slots)), kernels=kernels)


@dataclass(frozen=True)
class _Uses:
    """Who reads the constants of a program. launches: the buffers of each launch, by kernel. others: those that the
    host reads, or passes on to a library."""

    constants: Mapping[str, int]  # columns by slot
    launches: Mapping[str, list[tuple[str, ...]]]
    others: frozenset[str]

    @staticmethod
    def of(program: Program) -> _Uses:
        launches: dict[str, list[tuple[str, ...]]] = {}
        others: set[str] = set()
        for stmt in walk_stmts(program.body):
            if isinstance(stmt, Launch):
                launches.setdefault(stmt.kernel, []).append(stmt.buffers)
            elif isinstance(stmt, Extern):
                others.update(name for name, _ in stmt.buffers)
            others.update(node.buffer for e in exprs(stmt) for node in nodes(e) if isinstance(node, Load))
        constants = {slot.buffer.name: slot.columns for slot in program.slots if slot.columns and not slot.block}
        return _Uses(constants, launches, frozenset(others))

    def passed(self, kernel: str, place: int) -> dict[str, None]:
        """What launches pass as a kernel's buffer of this number; each once, in order."""
        return dict.fromkeys(buffers[place] for buffers in self.launches.get(kernel, ()))

    def weights(self, kernel: Kernel) -> Iterator[tuple[int, int]]:
        """The numbers of a kernel's buffers that are constant matrices in all launches, and their columns."""
        for place in range(len(kernel.buffers)):
            columns = {self.constants.get(name, 0) for name in self.passed(kernel.name, place)}
            if len(columns) == 1 and 0 not in columns:
                yield place, columns.pop()

    def disagreeing(self, found: Mapping[str, _Found]) -> dict[str, str]:
        """Kernels that want a weight packed which others want as it is, or in other blocks; and who."""
        wanted: dict[str, set[int]] = {name: {0} for name in self.others}
        for kernel, launches in self.launches.items():
            for buffers in launches:
                for place, name in enumerate(buffers):
                    one = found.get(kernel)
                    wanted.setdefault(name, set()).add(one.block if one and one.place == place else 0)
        why = "it is read in another order, too"
        return {
            kernel: why for kernel, one in found.items()
            if any(wanted[name] != {one.block} for name in self.passed(kernel, one.place))
        }  # fmt: skip


@dataclass(frozen=True)
class _Found:
    """A kernel that reads packed weights. place: which of its buffers they are. gain: what a byte saves."""

    kernel: Kernel
    place: int
    columns: int
    block: int
    nbytes: int
    gain: float
    text: str

    @property
    def loc(self) -> Loc | None:
        return self.kernel.locs[0] if self.kernel.locs else None

    def packed(self, buffer: Buffer) -> Buffer:
        size = packed_elements(buffer.size // self.columns, self.columns, self.block) if buffer.size >= 0 else -1
        return replace(buffer, size=size, align=ALIGN)

    @staticmethod
    def of(kernel: Kernel, place: int, columns: int, machine: Registers) -> _Found:
        """Raises _Stays with the reason."""
        weight = kernel.buffers[place]
        readers = [n for n, stmt in enumerate(kernel.body) if weight.name in _read(stmt)]
        if len(readers) != 1:
            raise _Stays("several loops of one kernel read it")
        if any(isinstance(stmt, Extern) for stmt in walk_stmts(kernel.body)):
            raise _Stays("a library multiplies by it")
        product = _Product.of(kernel, kernel.body[readers[0]], weight, columns)
        block, gain, text = product.price(machine)
        if suitable(kernel.body[readers[0]], kernel, machine.wide) is not None:
            raise _Stays("vectors run along its outputs as it is")
        names = Namer((*(v.name for v in kernel.scalars), *declared_names(kernel.body)))
        made = product.blocked(block, names)
        if not all(in_lockstep(s) for s in walk_stmts(made) if isinstance(s, For) and s.bind == "vector"):
            raise _Stays("what its outputs become is not computed side by side")
        nbytes = packed_elements(product.most, columns, block) * weight.dtype.itemsize
        found = _Found(kernel, place, columns, block, nbytes, gain, text.format(f"{nbytes:,}"))
        body = (*kernel.body[: readers[0]], *made, *kernel.body[readers[0] + 1 :])
        buffers = tuple(found.packed(b) if b is weight else b for b in kernel.buffers)
        return replace(found, kernel=replace(kernel, buffers=buffers, body=body))


def _read(stmt: Stmt) -> set[str]:
    """The buffers that a statement, or anything in it, reads or hands to a library."""
    inside = list(walk_stmts((stmt,)))
    loads = {node.buffer for s in inside for e in exprs(s) for node in nodes(e) if isinstance(node, Load)}
    return loads | {name for s in inside if isinstance(s, Extern) for name, _ in s.buffers}


@dataclass(frozen=True)
class _Product:
    """Sums of products with a row of the weight for each turn of `outputs`. row: the loop whose turns are done side
    by side, if there is one; others: the rest. most: turns of `outputs`, at most."""

    weight: Buffer
    columns: int
    nest: Nest
    outputs: For
    row: For | None
    loads: tuple[Load, ...]
    most: int

    @staticmethod
    def of(kernel: Kernel, stmt: Stmt, weight: Buffer, columns: int) -> _Product:
        nest = perfect_nest(stmt)
        products = list(products_in(nest.body)) if nest is not None else []
        if nest is None or not products:
            raise _Stays("no sums of products read it")
        loads = tuple(node for product in products for node in factors(product, nest.body))
        outputs = next((loop for loop in nest.loops if _is_row(nest, loop, loads, weight, columns)), None)
        if outputs is None:
            raise _Stays("its outputs are not one axis of the result")
        row = next((loop for loop in reversed(nest.loops) if loop is not outputs), None)
        width = len(turns_of(row) or ()) if row is not None else 1
        if not 1 <= width <= _WIDEST:
            raise _Stays(f"rows of {width or 'unknown'} elements fill vectors themselves")
        sizes = {buffer.name: buffer.size for buffer in kernel.buffers}
        around = [loop for loop in nest.loops if loop is not outputs]
        return _Product(weight, columns, nest, outputs, row, loads, most_turns(outputs, around, nest.body, sizes))

    def price(self, machine: Registers) -> tuple[int, float, str]:
        """Rows in a block, vector operations that a byte of the copy saves at each call, and words for that.
        Raises _Stays where it is not worth it."""
        lanes = machine.vector_bytes // self.weight.dtype.itemsize
        width = len(turns_of(self.row) or ()) if self.row is not None else 1
        if self.most < lanes:
            raise _Stays(f"{self.most} outputs do not fill a vector")
        turns = {
            parts: -(-self.most // (parts * lanes)) * max(parts * width, _LATENCY) for parts in range(_PARTS, 0, -1)
            if parts == 1 or (parts * width <= _SUMS and parts * (width + 1) + 1 <= machine.count)
        }  # fmt: skip
        parts = min(turns, key=lambda parts: turns[parts])
        block, after = parts * lanes, self.most * width / turns[parts]
        before = self._lanes_now(lanes)
        points = math.prod(len(turns_of(loop) or (0,)) for loop in self.nest.loops if loop is not self.outputs)
        gain = points * (1 / before - 1 / after) / self.weight.dtype.itemsize
        filled = f"vectors along its inputs have {before:.1f} of {lanes} lanes filled, along its outputs {after:.1f}"
        if gain < _PRICE:
            raise _Stays(f"{filled}: that is not worth a second copy")
        return block, gain, f"{filled}; {{}} bytes are kept beside it, in blocks of {block} outputs"

    def _lanes_now(self, lanes: int) -> float:
        """Lanes that are filled on average where vectors run along images, if they do. Pixels that are left over have
        a vector, or are done one by one along the taps of a window."""
        along = along_one_axis(self.nest, self.loads)
        if not along or self.outputs in along:
            return 1.0
        count = math.prod(len(turns_of(loop) or ()) for loop in along)
        whole, left = divmod(count, lanes)
        taps = taps_of(written_out(self.nest.body, Namer(())))
        return count / (whole + min(left * _ALONE / taps if taps > 1 else left, 1))

    def blocked(self, block: int, names: Namer) -> Body:
        body = written_out(map_exprs(self.nest.body, self._packed_reads(block)), names)
        others = tuple(loop for loop in self.nest.loops if loop is not self.outputs and loop is not self.row)
        if self.row is not None:
            body = jam(body, self.row.var.name, [index(k) for k in turns_of(self.row) or ()], names)
        first = Var(names.fresh(f"{self.outputs.var.name}_block"), self.outputs.var.dtype)

        def vectors(full: bool) -> Body:
            lane = var(names.fresh("lane"))
            here = S.add(first, lane)
            made = map_body(body, lambda stmt: self._asking(stmt, block, others))
            made = substitute(made, {self.outputs.var.name: here, _FIRST.name: first, _LANE.name: lane})
            if not full:
                made = (If(S.lt(here, self.outputs.stop), made),)
            return nested(others, (For(lane, index(0), index(block), 1, made, "vector"),))

        turns = turns_of(self.outputs)
        if turns is not None and len(turns) % block == 0:
            made = vectors(True)
        else:
            whole = S.le(S.add(first, index(block)), self.outputs.stop)
            made = (If(whole, vectors(True), vectors(False)),)
        made = nested((replace(self.outputs, var=first, step=block),), made)
        return decided(map_exprs(made, simplify), rest=narrowed)

    def _asking(self, stmt: Stmt, block: int, others: tuple[For, ...]) -> Body:
        """A statement; if it looks up a live input, each of several rows then asks for a part of what the next block
        has for that input: what an index leaves out breaks the pattern by which caches read ahead. (Where there is no
        other row, memory has no time to spare.)"""
        rows = next((loop for loop in reversed(others) if turns_of(loop) != range(1)), None)
        looks_up = isinstance(stmt, Let) and stmt.var.dtype == I64 and _is_entry(stmt.value, self.nest.body)
        if rows is None or not isinstance(stmt, Let) or not looks_up:
            return (stmt,)
        steps = (stride(load.index, stmt.var) for load in _loads_of(self.nest.body, self.weight.name))
        apart = block * max((step for step in steps if step), default=0)
        line = ALIGN // self.weight.dtype.itemsize
        each = -(-apart // (line * len(turns_of(rows) or (0,))))
        next_block = S.mul(S.add(_FIRST, index(block)), index(self.columns))
        at = S.add(next_block, S.add(S.mul(stmt.var, index(apart)), S.mul(rows.var, index(each * line))))
        return (stmt, *(Prefetch(self.weight.name, S.add(at, index(k * line))) for k in range(each)))

    def _packed_reads(self, block: int) -> Callable[[Expr], Expr]:
        """Loads of the packed weight, by its block's first row and the row's number in the block."""

        def moved(expr: Expr) -> Expr:
            if not isinstance(expr, Load) or expr.buffer != self.weight.name:
                return expr
            column = _at_zero(expr.index, self.outputs.var.name)
            at = S.add(S.mul(_FIRST, index(self.columns)), S.add(S.mul(column, index(block)), _LANE))
            return Load(expr.buffer, at, expr.dtype)

        return lambda expr: map_expr(expr, moved)


#: Stand for the first row of a block, and a row's number in it.
_FIRST, _LANE = var("first row!"), var("row in block!")


def _at_zero(at: Expr, name: str) -> Expr:
    (there,) = substitute((Store("", at, at),), {name: index(0)})
    assert isinstance(there, Store)
    return simplify(there.index)


def _is_row(nest: Nest, loop: For, loads: tuple[Load, ...], weight: Buffer, columns: int) -> bool:
    """Whether each turn of a loop reads one row of the weight, and nothing else that it multiplies moves with it."""
    for load in loads:
        step = stride(load.index, loop.var)
        if step != (columns if load.buffer == weight.name else 0):
            return False
    return all(_in_row(nest, loop, node, columns) for node in _loads_of(nest.body, weight.name))


def _loads_of(body: Body, buffer: str) -> Iterator[Load]:
    for stmt in walk_stmts(body):
        for expr in exprs(stmt):
            yield from (node for node in nodes(expr) if isinstance(node, Load) and node.buffer == buffer)


def _in_row(nest: Nest, loop: For, load: Load, columns: int) -> bool:
    """Whether a position is a place in the row that the loop's turn names: `columns` times that, and loops inside
    that count through a part of the row; beside these, at most one entry of an index of channels."""
    inner = {s.var.name: turns_of(s) for s in walk_stmts(nest.body) if isinstance(s, For)}
    entries = {s.var.name for s in walk_stmts(nest.body) if isinstance(s, Let) and _is_entry(s.value, nest.body)}
    here, reach, through = load.index, 0, []
    for name in {node.name: node for node in nodes(load.index) if isinstance(node, Var)}.values():
        step = stride(load.index, name)
        turns = inner.get(name.name)
        if step is None or step < 0:
            return False
        if name.name == loop.var.name:
            if step != columns:
                return False
        elif name.name in entries:
            through.append(step)
        elif turns:
            reach += step * turns[-1]
        elif step:
            return False
        here = _at_zero(here, name.name)
    room = through[0] if through else columns
    return here == index(0) and reach < room and len(through) <= 1 and room > 0 and columns % room == 0


def _is_entry(value: Expr, body: Body) -> bool:
    """Whether a value is an entry of a list of i32: which channel is live."""
    match value:
        case Apply("cast", (inner,)):
            return _is_entry(inner, body)
        case Var(name=name):
            lets = (s for s in walk_stmts(body) if isinstance(s, Let) and s.var.name == name)
            return any(_is_entry(let.value, body) for let in lets)
    return isinstance(value, Load) and value.dtype == I32
