"""One `fused` op to one kernel: what all kinds of kernel share. `lower_loops.py` and `lower_nest.py` fill it.

A `KernelWriter` knows the buffers and scalars that the kernel has asked for, how elements are read, and what
a failed check means. Statements are collected by a `NestBuilder`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sparsec.errors import UnsupportedError
from sparsec.ir.dims import Dim, Sym
from sparsec.ir.graph import Op, Value
from sparsec.ir.loop_rewrite import nodes
from sparsec.ir.loops import (
    Body,
    Buffer,
    Const,
    Expr,
    Extern,
    Kernel,
    Launch,
    Load,
    Store,
    Var,
    exprs,
    walk_stmts,
)
from sparsec.ir.nest import NestBuilder
from sparsec.ir.scalar import const
from sparsec.ir.types import I64
from sparsec.passes.address import address, dim_expr
from sparsec.passes.schedule.dead_stores import without_dead_stores


@dataclass(frozen=True, slots=True)
class Place:
    """What a kernel may know of a storage: storages with one `key` share their memory."""

    slot: str
    key: tuple[str, int] | str
    buffer: Buffer


#: What the program tells its kernels: places of storages, literals, host values of symbols, failure codes.
@dataclass(frozen=True)
class Surroundings:
    """What a kernel asks of the program around it.

    place: where a storage is. literals: `const` ops by storage. symbol: a symbol's value on the host, or
    its literal. scalars: loop counters of the host by value name. fail_code: (kind, message, op) to a code.
    lanes: whether reductions are written for vector units.
    """

    place: Callable[[str], Place]
    literals: Mapping[str, Op]
    symbol: Callable[[str], Expr]
    scalars: Mapping[str, Expr]
    fail_code: Callable[[str, str, Op], int]
    lanes: bool


class KernelWriter:
    """A kernel under construction."""

    def __init__(self, name: str, around: Surroundings) -> None:
        self.name, self.around = name, around
        self.nest = NestBuilder(fail_code=self._fail)
        self.lanes = around.lanes
        self.op: Op | None = None  # the op being lowered, for error locations
        self._buffers: dict[tuple[str, int] | str, Place] = {}
        self._scalars: dict[str, tuple[Var, Expr]] = {}

    # --- what the kernel asks for ---

    def buffer(self, storage: str) -> str:
        """The kernel's name for a storage. Storages that share their memory are one buffer."""
        place = self.around.place(storage)
        known = self._buffers.setdefault(place.key, place)
        if place.buffer.size > known.buffer.size:
            self._buffers[place.key] = replace(known, buffer=replace(known.buffer, size=place.buffer.size))
        return known.buffer.name

    def symbol(self, symbol: Sym) -> Expr:
        """The value of a symbol inside the kernel: a literal, or an i64 argument."""
        if not symbol.name.startswith("%"):
            raise UnsupportedError(
                f"the symbolic dim {symbol.name} of an argument is not lowered: nothing says its value at run time",
                hint=f"name it %{symbol.name}, and add a parameter %{symbol.name}: i64 that has its value",
            )
        return self._scalar(symbol.name[1:], self.around.symbol(symbol.name[1:]))

    def _scalar(self, name: str, host: Expr) -> Expr:
        if isinstance(host, Const):
            return host
        return self._scalars.setdefault(name, (Var(name, I64), host))[0]

    def dim(self, dim: Dim) -> Expr:
        return dim_expr(dim, self.symbol)

    def shape(self, value: Value) -> tuple[Expr, ...]:
        return tuple(self.dim(d) for d in value.type.shape)

    # --- elements ---

    def literal(self, value: Value) -> Expr | None:
        """The one number that all elements of `value` have, if that is known; a host loop's counter, too."""
        counter = self.around.scalars.get(value.name)
        if counter is not None:
            return self._scalar(value.name, counter)
        op = self.around.literals.get(value.storage)
        if op is None:
            return None
        number = op.attrs["value"]
        if isinstance(number, tuple):
            if len(number) != 1:
                return None
            number = number[0]
        if op.result.type.dtype != value.type.dtype:
            return None
        return const(number, value.type.dtype)

    def position(self, value: Value, at: Sequence[Expr]) -> Expr:
        return address(value.ref, at, self.symbol)

    def load(self, value: Value, at: Sequence[Expr]) -> Expr:
        """The element of a value that lies in memory (or is a literal); not bound to a name."""
        found = self.literal(value)
        if found is not None:
            return found
        return Load(self.buffer(value.storage), self.position(value, at), value.type.dtype)

    def store(self, value: Value, at: Sequence[Expr], element: Expr) -> None:
        self.nest.emit(Store(self.buffer(value.storage), self.position(value, at), element))

    def _fail(self, kind: str, message: str) -> int:
        assert self.op is not None
        return self.around.fail_code(kind, message, self.op)

    # --- the end ---

    def finish(self, ops: Sequence[Op]) -> tuple[Kernel, Launch]:
        """The kernel, with the buffers that it really uses, and its launch."""
        body = without_dead_stores(self.nest.done())
        read, written = _touched(body)
        places = [p for p in self._buffers.values() if p.buffer.name in read | written]
        buffers = tuple(replace(p.buffer, access=_access(p.buffer.name, read, written)) for p in places)
        used = _variables(body)
        scalars = [pair for pair in self._scalars.values() if pair[0] in used]
        locs = tuple(dict.fromkeys(op.loc for op in ops if op.loc is not None))
        kernel = Kernel(self.name, buffers, tuple(var for var, _ in scalars), body, locs)
        return kernel, Launch(self.name, tuple(p.slot for p in places), tuple(host for _, host in scalars))


def _access(name: str, read: set[str], written: set[str]) -> str:
    return ("r" if name in read else "") + ("w" if name in written else "")


def _touched(body: Body) -> tuple[set[str], set[str]]:
    """Buffers that are read, and buffers that are written; a library call may do both."""
    read: set[str] = set()
    written: set[str] = set()
    for stmt in walk_stmts(body):
        if isinstance(stmt, Store):
            written.add(stmt.buffer)
        if isinstance(stmt, Extern):
            read.update(name for name, _ in stmt.buffers)
            written.update(name for name, _ in stmt.buffers)
        for expr in exprs(stmt):
            read.update(e.buffer for e in nodes(expr) if isinstance(e, Load))
    return read, written


def _variables(body: Body) -> set[Var]:
    """Names that are read in a body."""
    parts = (e for stmt in walk_stmts(body) for x in exprs(stmt) for e in nodes(x))
    return {e for e in parts if isinstance(e, Var)}
