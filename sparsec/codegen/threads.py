"""Loops that threads share: which they are, and the functions that they become.

    kernel @f(%x, %y; n) {                     @f(x, y, n, flags):
      for i in 0..n bind(parallel) {             one thread, or little work:  @f.part(x, y, 0, n, flags)
        %y[i] = exp(%x[i])              ->       else:  @sparsec_share(@f.task, [x, y, flags, 0], n, grain, threads)
      }                                        @f.part(x, y, first, last, flags): the loop, from first to last
    }                                          @f.task(context, begin, end):  @f.part(x, y, …)

The outermost parallel loop is shared out, or one directly in it that has more turns. A part is compiled as the
kernel was: distinct buffers do not overlap, alignments hold, only the bounds of one loop are not known. Every
turn computes what it would have computed alone, so no result depends on how many threads there are.

A loop whose work is known and small stays as it was; where a call decides, the generated code asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sparsec.codegen.cost import body_cost
from sparsec.codegen.device_parts import trip_count
from sparsec.codegen.emit import Emitter
from sparsec.codegen.llfunc import Function
from sparsec.codegen.pool import SHARE
from sparsec.ir.loop_rewrite import declared_names, nodes, reads, writes
from sparsec.ir.loops import (
    Assign,
    Barrier,
    Buffer,
    Const,
    Expr,
    Extern,
    Fail,
    For,
    Launch,
    Let,
    Load,
    Stmt,
    Store,
    Var,
    While,
    exprs,
    walk_stmts,
)
from sparsec.ir.scalar import var
from sparsec.ir.types import I64

if TYPE_CHECKING:
    from sparsec.codegen.llvm_builder import LlvmBuilder

__all__ = ["Shared", "ThreadEmitter", "sharing_functions"]

#: A loop of less work than this, in picoseconds, is left to one thread. benchmarks/threads.py shows the price: two
#: threads that are awake have shared 4 us of work in 3, 8 in 5 and 16 in 9. (Below, code that is written twice and
#: estimates that are wrong by a factor count for more than the gain.)
WORTHWHILE = 16_000_000

#: Nobody takes less work than this at a time.
LEAST_CHUNK = 2_000_000

#: Turns of an innermost loop are handed out in such numbers: they make whole vectors and cache lines.
_TURNS = 64

#: A loop with fewer turns is not cut if one in it has more.
_FEW = 32

# The bounds of a part. No name of the loop IR has a space.
_FIRST, _LAST = var("first turn"), var("last turn")


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number that a function takes. `index`: it is index arithmetic. `facts`: what LLVM may know of it."""

    var: Var
    index: bool = True
    facts: str = ""


@dataclass(frozen=True, slots=True)
class Shared:
    """A loop nest over some turns of one of its loops, and what it takes from the kernel around it.

    `bounds`: of the turns. `step`: of the loop that is cut. `unit`: turns that had better stay together.
    """

    part: For
    step: int
    unit: int
    buffers: tuple[Buffer, ...]
    scalars: tuple[Scalar, ...]
    bounds: tuple[Scalar, Scalar]


class ThreadEmitter(Emitter[str]):
    """Writes one kernel, in which threads share the loops that are worth it."""

    _builder: LlvmBuilder

    def _control(self, stmt: Stmt) -> None:
        work = self._work(stmt) if isinstance(stmt, For) and stmt.bind == "parallel" and _separable(stmt) else None
        if work is None:
            super()._control(stmt)
        else:
            assert isinstance(stmt, For)
            self._share(stmt, _choice(stmt), work)

    def _work(self, nest: For) -> Expr | None:
        """The work of a nest that is worth sharing, or may be: then the call decides."""
        known: dict[str, Expr] = {name: Var(name, I64) for name, bound in self._names.items() if bound.index}
        work = body_cost((nest,), known)
        if isinstance(work, Const):
            return work if work.value.real >= WORTHWHILE else None
        if self._at_most(nest) < WORTHWHILE:
            return None
        # Scratch memory of a few elements is in registers, unless another function is given its address.
        scratch = {name for name, buffer in self._buffers.items() if buffer.space == "private"}
        return None if scratch & {*reads((nest,)), *writes((nest,))} else work

    def _at_most(self, nest: For) -> float:
        """A bound of the work of a nest whose turns are not known: each turn has an element of its own in every
        buffer that it stores to."""
        loop = list(_candidates(nest))[-1]
        sizes = [self._buffers[stmt.buffer].size for stmt in loop.body if isinstance(stmt, Store)]
        turn = body_cost(loop.body, {})
        known = [size for size in sizes if size >= 0]
        return min(known) * turn.value.real if known and isinstance(turn, Const) else float("inf")

    def _share(self, nest: For, loop: For, work: Expr) -> None:
        """Writes a nest in which the turns of `loop` are shared out."""
        part = _over(nest, loop)
        used = dict.fromkeys((*reads((part,)), *writes((part,))))
        buffers = tuple(self._buffers[name] for name in used if name in self._buffers)
        names = _taken(part)
        unit = 1 if any(isinstance(stmt, For | While) for stmt in walk_stmts(loop.body)) else _TURNS
        scalars = tuple(Scalar(name, self._names[name.name].index) for name in names)
        shared = Shared(part, loop.step, unit, buffers, scalars, _bounds(loop))
        *values, start, turns, cost = self._exprs(*names, loop.start, trip_count(loop), work)
        self._builder.share(shared, values, start, turns, cost)


def _separable(nest: For) -> bool:
    """Whether turns can be run by different threads: the loop promises it, but for what is not made for that."""
    if any(isinstance(stmt, Extern | Launch | Barrier) for stmt in walk_stmts(nest.body)):
        return False  # libraries have threads of their own
    own = {*declared_names((nest,))}
    assigned = {stmt.var.name for stmt in walk_stmts(nest.body) if isinstance(stmt, Assign)}
    return nest.step > 0 and nest.var.dtype == I64 and assigned <= own


def _choice(nest: For) -> For:
    """The loop that is cut: the outermost that has many turns, else the one with the most."""
    loops = list(_candidates(nest))
    return next((loop for loop in loops if _count(loop) >= _FEW), max(loops, key=_count))


def _count(loop: For) -> float:
    turns = trip_count(loop)
    return turns.value.real if isinstance(turns, Const) else float("inf")


def _candidates(nest: For) -> Iterator[For]:
    """The nest, and parallel loops directly in it whose turns can be cut instead: then every part does all of
    what stands around them, which must be nothing but the computation of values that do not change."""
    written = {*writes((nest,))}
    first_failure = any(isinstance(stmt, Fail) for stmt in walk_stmts(nest.body))  # parts are to be in its order
    hidden: set[str] = set()
    loop = nest
    while True:
        yield loop
        if not loop.body:
            return
        *lets, inner = loop.body
        hidden |= {loop.var.name, *(let.var.name for let in lets if isinstance(let, Let))}
        if first_failure or not isinstance(inner, For) or inner.bind != "parallel" or inner.step <= 0:
            return
        if not all(isinstance(let, Let) and not {*_loaded(let.value)} & written for let in lets):
            return
        bounds = [node for bound in (inner.start, inner.stop) for node in nodes(bound)]
        if any(isinstance(node, Load) or (isinstance(node, Var) and node.name in hidden) for node in bounds):
            return
        loop = inner


def _bounds(loop: For) -> tuple[Scalar, Scalar]:
    """The bounds of a part: LLVM proves less of addresses if it knows nothing of where they begin and end."""
    facts = ""
    if isinstance(loop.start, Const) and isinstance(loop.stop, Const):
        low, high = int(loop.start.value.real), int(loop.stop.value.real) + loop.step
        if -(1 << 62) < low < high < 1 << 62:  # no memory has more, but programs may be written
            facts = f"range(i64 {low}, {high + 1}) "
    return Scalar(_FIRST, facts=facts), Scalar(_LAST, facts=facts)


def _loaded(expr: Expr) -> Iterator[str]:
    return (node.buffer for node in nodes(expr) if isinstance(node, Load))


def _over(nest: For, loop: For) -> For:
    """The nest with other bounds of one loop in it."""
    if nest is loop:
        return replace(loop, start=_FIRST, stop=_LAST)
    *lets, inner = nest.body
    assert isinstance(inner, For)
    return replace(nest, body=(*lets, _over(inner, loop)))


def _taken(part: For) -> tuple[Var, ...]:
    """Names that a part reads and does not declare, its bounds left out."""
    own = {_FIRST.name, _LAST.name, *declared_names((part,))}
    found = (node for stmt in walk_stmts((part,)) for expr in exprs(stmt) for node in nodes(expr))
    return tuple(dict.fromkeys(node for node in found if isinstance(node, Var) and node.name not in own))


# --- the functions around a part -----------------------------------------------------------------------------


def sharing_functions(symbol: str, part: str, types: Sequence[str], loop: Shared) -> tuple[Function, Function]:
    """`symbol`, which a kernel calls, and the task that threads call. Both call `part`.

        i32 part(types..., i64 first, i64 last, ptr flags)
        i32 symbol(types..., i64 start, i64 turns, i64 work, ptr flags)
    """
    return _fork(symbol, part, types, loop), _task(symbol, part, types, loop.step)


def _turn(f: Function, start: str, number: str, step: int) -> str:
    return f.add(start, f.op(f"mul i64 {number}, {step}"))


def _task(symbol: str, part: str, types: Sequence[str], step: int) -> Function:
    f = Function("i32", f"{symbol}.task", [("ptr", "context"), ("i64", "begin"), ("i64", "end")])
    *given, start, flags = [f.load(type, "%context", 8 * k) for k, type in enumerate((*types, "i64", "ptr"))]
    bounds = [_turn(f, start, number, step) for number in ("%begin", "%end")]
    f.ret(f.call("i32", part, *zip(types, given, strict=True), *(("i64", b) for b in bounds), ("ptr", flags)))
    return f


def _fork(symbol: str, part: str, types: Sequence[str], loop: Shared) -> Function:
    given = [(type, f"x{k}") for k, type in enumerate(types)]
    f = Function("i32", symbol, [*given, ("i64", "start"), ("i64", "turns"), ("i64", "work"), ("ptr", "flags")])
    values = [(type, f"%{name}") for type, name in given]
    threads = f.load("i32", "%flags", 4)
    several = f.both(f.compare("sgt", "i32", threads, 1), f.compare("sge", "i64", "%work", WORTHWHILE))
    with f.when(several):
        context = f.array("i64", len(types) + 2)
        for k, (type, value) in enumerate((*values, ("i64", "%start"), ("ptr", "%flags"))):
            f.store(type, value, context, 8 * k)
        turn = f.op(f"udiv i64 %work, {_at_least_1(f, '%turns')}")
        least = f.add(f.op(f"udiv i64 {LEAST_CHUNK}, {_at_least_1(f, turn)}"), loop.unit)
        grain = f.op(f"mul i64 {f.op(f'udiv i64 {least}, {loop.unit}')}, {loop.unit}")
        f.ret(f.call("i32", SHARE, ("ptr", f"@{symbol}.task"), ("ptr", context), ("i64", "%turns"), ("i64", grain),
                     ("i64", "%work"), ("i32", threads)))
    end = _turn(f, "%start", "%turns", loop.step)
    f.ret(f.call("i32", part, *values, ("i64", "%start"), ("i64", end), ("ptr", "%flags")))
    return f


def _at_least_1(f: Function, value: str) -> str:
    return f.op(f"select i1 {f.compare('sgt', 'i64', value, 1)}, i64 {value}, i64 1")
