"""Launches of loops that go over the same turns are one launch of one loop.

    kernel @f_0 { for i in 0..80 { %y[i * 99] = A } }              kernel @f_0 {
    kernel @f_1 { for i in 0..80 {                                   for i in 0..80 {
                    for j in 0..98 { %y[i * 99 + j + 1] = B } } }      %y[i * 99] = A
    launch @f_0(%y)                                          ->        for j in 0..98 { %y[i * 99 + j + 1] = B }
    launch @f_1(%y)                                                  }
                                                                   }
                                                                   launch @f_0(%y)

The pieces that an array is computed in (its border and its middle, the parts of a roll) are written while what they
have in common is in the cache, and threads meet once. It is right where no turn touches what another turn of the
other loop writes: the elements of a turn lie in a window of their own, or the two loops use memory that is apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sparsec.errors import Loc
from sparsec.ir.loop_rewrite import (
    declared_names,
    index_step,
    map_expr,
    nodes,
    rename,
    simplify,
    substitute,
    with_bodies,
    writes,
)
from sparsec.ir.loops import (
    Body,
    Buffer,
    Const,
    Expr,
    For,
    Kernel,
    Launch,
    Let,
    Load,
    Program,
    Slot,
    Stmt,
    Store,
    Var,
    exprs,
    walk_stmts,
)
from sparsec.ir.scalar import S, index
from sparsec.ir.types import I64, DType
from sparsec.passes.schedule.copies import Namer, turns_of

__all__ = ["side_by_side"]

#: A loop with fewer turns is left alone: what is inside of it may be shared out better.
_LEAST = 8

#: Launches that become one, at most, and launches between them: kernels should not grow without end.
_MOST, _BETWEEN = 16, 8


def side_by_side(program: Program) -> Program:
    """The program with such launches put together, wherever they follow each other."""
    joining = _Joining(program)
    body = joining.body(program.body)
    used = {stmt.kernel for stmt in walk_stmts(body) if isinstance(stmt, Launch)}
    kernels = [joining.kernels[name] for name in joining.kernels if name in used]
    return program if body == program.body else replace(program, kernels=tuple(kernels), body=body)


@dataclass(frozen=True, slots=True)
class _Group:
    """Launches that are one by now: a loop over the program's own buffers. `launch`: the first of them."""

    launch: Launch
    loop: For
    buffers: Mapping[str, Buffer]
    locs: tuple[Loc, ...]
    count: int = 1


class _Joining:
    def __init__(self, program: Program) -> None:
        self.kernels = {kernel.name: kernel for kernel in program.kernels}
        self._slots = {slot.buffer.name: slot for slot in program.slots}
        launched = [stmt.kernel for stmt in walk_stmts(program.body) if isinstance(stmt, Launch)]
        self._once = {name for name in launched if launched.count(name) == 1}
        self._names = Namer(name for kernel in program.kernels for name in declared_names(kernel.body))

    def body(self, body: Body) -> Body:
        """A host body with the launches that stand in a row put together."""
        result: list[Stmt] = []
        run: list[_Group | Launch] = []
        for stmt in body:
            if isinstance(stmt, Launch):
                self._add(run, stmt)
                continue
            result += [self._launch(item) for item in run]
            run = []
            result.append(with_bodies(stmt, self.body))
        return (*result, *(self._launch(item) for item in run))

    def _add(self, run: list[_Group | Launch], launch: Launch) -> None:
        """Puts a launch into the last group that can take it, if it may move there, else behind all."""
        new = self._group(launch)
        if new is None:
            run.append(launch)
            return
        for k in reversed(range(max(len(run) - _BETWEEN, 0), len(run))):
            group = run[k]
            if not isinstance(group, _Group):
                break
            joined = self._joined(group, new)
            if joined is not None:
                run[k] = joined
                return
            if not self._disjoint(group, new) or _conflict(group.loop, new.loop, ()):
                break
        run.append(new)

    def _group(self, launch: Launch) -> _Group | None:
        kernel = self.kernels[launch.kernel]
        if launch.scalars or launch.kernel not in self._once or len(kernel.body) != 1:
            return None
        (loop,) = kernel.body
        if not isinstance(loop, For) or not _simple(loop):
            return None
        places = {own.name: name for own, name in zip(kernel.buffers, launch.buffers, strict=True)}
        (loop,) = rename((loop,), {}, places)
        buffers = {places[own.name]: replace(own, name=places[own.name]) for own in kernel.buffers}
        return _Group(launch, loop, buffers, kernel.locs) if isinstance(loop, For) else None

    def _joined(self, group: _Group, new: _Group) -> _Group | None:
        if group.count >= _MOST or not self._disjoint(group, new):
            return None
        renamed = {name: self._names.fresh(name) for name in declared_names((new.loop,))}
        (loop,) = rename((new.loop,), renamed)
        assert isinstance(loop, For)
        one, other = self._split(group.loop, loop), self._split(loop, group.loop)
        both = _join(one, other, ()) if len(turns_of(one) or ()) >= _LEAST else None
        if both is None:
            return None
        buffers = dict(group.buffers)
        for name, buffer in new.buffers.items():
            old = buffers.get(name, buffer)
            access = "".join(sorted({*old.access, *buffer.access}))
            buffers[name] = replace(old, access=access, align=min(old.align, buffer.align))
        locs = tuple(dict.fromkeys((*group.locs, *new.locs)))
        return replace(group, loop=both, buffers=buffers, locs=locs, count=group.count + 1)

    def _split(self, loop: For, like: For) -> For:
        """A loop as loops in each other, if the other statement begins with such that have as many turns in all."""
        turns, counts = len(turns_of(loop) or ()), list(_counts(like))
        depth = next((k for k in range(2, len(counts) + 1) if math.prod(counts[:k]) == turns), 0)
        if not depth:
            return loop
        names = [Var(self._names.fresh(loop.var.name), I64) for _ in range(depth)]
        place: Expr = names[0]
        for var, count in zip(names[1:], counts[1:depth], strict=True):
            place = S.add(S.mul(place, index(count)), var)
        body = substitute(loop.body, {loop.var.name: place})
        for var, count in reversed([*zip(names, counts[:depth], strict=True)]):
            body = (replace(loop, var=var, stop=index(count), body=body),)
        (split,) = body
        assert isinstance(split, For)
        return split

    def _disjoint(self, group: _Group, new: _Group) -> bool:
        """Whether buffers of different names are different memory."""
        return not any(
            one != other and _share(self._slots[one], self._slots[other])
            for one in group.buffers for other in new.buffers
        )  # fmt: skip

    def _launch(self, item: _Group | Launch) -> Launch:
        if isinstance(item, Launch) or item.count == 1:
            return item if isinstance(item, Launch) else item.launch
        name = item.launch.kernel
        self.kernels[name] = Kernel(name, tuple(item.buffers.values()), (), (item.loop,), item.locs)
        return Launch(name, tuple(item.buffers))


def _share(one: Slot, other: Slot) -> bool:
    """Whether the memory of two slots may overlap."""
    if one.role != other.role or one.role in ("param", "result", "const"):
        return False
    if one.role != "arena":
        return one.position == other.position
    first, second = sorted((one, other), key=lambda slot: slot.position)
    size = first.buffer.size * first.buffer.dtype.itemsize
    return first.buffer.size < 0 or first.position + size > second.position


def _simple(loop: For) -> bool:
    """Whether it is independent loops over all turns, with nothing in them but values and stores."""
    return all(
        isinstance(stmt, Let | Store)
        or (isinstance(stmt, For) and stmt.bind == "parallel" and stmt.step == 1 and stmt.start == index(0)
            and turns_of(stmt) is not None)
        for stmt in walk_stmts((loop,))
    )


def _counts(loop: For) -> Iterator[int]:
    """The turns of loops of which each holds nothing but the next."""
    yield len(turns_of(loop) or ())
    if len(loop.body) == 1 and isinstance(loop.body[0], For):
        yield from _counts(loop.body[0])


def _join(one: For, other: For, around: tuple[Var, ...]) -> For | None:
    """One loop for both, in the turns of `around`; None if that is not right, or not good."""
    if turns_of(one) != turns_of(other) or _spoils(one, other) or _conflict(one, other, around, turn=True):
        return None
    body = substitute(other.body, {other.var.name: one.var})
    return replace(one, body=_appended(one.body, body, (*around, one.var)))


def _appended(body: Body, new: Body, around: tuple[Var, ...]) -> Body:
    """One body behind another, a loop that is all of the second one joined with one of the first if that may be."""
    if len(new) == 1 and isinstance(new[0], For):
        for k in reversed(range(len(body))):
            old = body[k]
            if isinstance(old, For):
                joined = _join(old, new[0], around)
                if joined is not None:
                    return (*body[:k], joined, *body[k + 1 :])
            if _conflict(old, new[0], around):
                break
    return (*body, *new)


def _spoils(one: For, other: For) -> bool:
    """Whether an innermost loop along memory, which makes vectors, would no longer be one."""
    innermost = [loop for loop in (one, other) if not any(isinstance(stmt, For) for stmt in loop.body)]
    if len(innermost) == 2:
        return True
    return any(
        index_step(stmt.index, loop.var) in (None, -1, 0, 1)
        for loop in innermost for stmt in loop.body if isinstance(stmt, Store)
    )


# --- which elements ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Access:
    """Elements of a buffer that a statement touches: `turn` further with each turn of the loop that it is in, the
    rest from `low` to `high`. outer: how far it moves with the loops around; None: nothing is known."""

    buffer: str
    dtype: DType
    write: bool
    outer: tuple[int, ...] | None
    turn: int = 0
    low: int = 0
    high: int = 0


def _conflict(one: Stmt, other: Stmt, around: tuple[Var, ...], *, turn: bool = False) -> bool:
    """Whether one statement may touch what the other writes, in the same turn of the loops `around`. turn: they are
    loops that become one, so that it does not matter what equal turns of them do."""
    written = {*writes((one, other))}
    first, second = (dict.fromkeys(_accesses(s, written, around, turn)) for s in (one, other))
    turns = len(turns_of(one) or ()) if turn and isinstance(one, For) else 1
    return any(
        a.buffer == b.buffer and (a.write or b.write) and not _apart(a, b, turns) for a in first for b in second
    )


def _apart(a: _Access, b: _Access, turns: int) -> bool:
    """Whether different turns, of so many, touch different elements."""
    if a.outer is None or a.outer != b.outer or a.dtype != b.dtype:
        return False
    if a.turn == b.turn and max(a.high, b.high) - min(a.low, b.low) < abs(a.turn):
        return True
    (low, high), (start, end) = (
        (x.low + min(0, x.turn * (turns - 1)), x.high + max(0, x.turn * (turns - 1))) for x in (a, b)
    )
    return high < start or end < low


def _accesses(stmt: Stmt, buffers: set[str], around: tuple[Var, ...], turn: bool) -> Iterator[_Access]:
    """What a statement touches of these buffers. turn: it is a loop, whose turns are looked at one by one."""
    if turn and isinstance(stmt, For):
        for inner in stmt.body:
            yield from _inner_accesses(inner, buffers, (*around, stmt.var), len(around), {})
    else:
        yield from _inner_accesses(stmt, buffers, around, len(around), {})


def _inner_accesses(
    stmt: Stmt, buffers: set[str], around: tuple[Var, ...], outer: int, inside: Mapping[Var, int]
) -> Iterator[_Access]:
    """around: `outer` loops, and perhaps one whose turns are told apart. inside: loops and their numbers of turns."""
    if isinstance(stmt, For):
        inside = {**inside, stmt.var: len(turns_of(stmt) or ())}
        for inner in stmt.body:
            yield from _inner_accesses(inner, buffers, around, outer, inside)
        return
    touched: list[tuple[str, Expr, DType, bool]] = []
    if isinstance(stmt, Store):
        touched.append((stmt.buffer, stmt.index, stmt.value.dtype, True))
    loads = (node for expr in exprs(stmt) for node in nodes(expr) if isinstance(node, Load))
    touched += [(node.buffer, node.index, node.dtype, False) for node in loads]
    for buffer, at, dtype, write in touched:
        if buffer not in buffers:
            continue
        steps = [index_step(at, v) for v in around]
        spans = [(index_step(at, v), turns) for v, turns in inside.items()]
        start = _at_zero(at, {*around, *inside})
        known = [step for step in steps if step is not None]
        if start is None or len(known) < len(steps) or any(step is None for step, _ in spans):
            yield _Access(buffer, dtype, write, None)
            continue
        ends = [(step or 0) * (turns - 1) for step, turns in spans]
        low, high = start + sum(min(e, 0) for e in ends), start + sum(max(e, 0) for e in ends)
        yield _Access(buffer, dtype, write, tuple(known[:outer]), sum(known[outer:]), low, high)


def _at_zero(at: Expr, loops: set[Var]) -> int | None:
    """The position where all loops begin; None if other names are in it."""
    value = simplify(map_expr(at, lambda node: index(0) if isinstance(node, Var) and node in loops else node))
    return int(value.value.real) if isinstance(value, Const) else None
