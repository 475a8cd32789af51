"""What a program checks, as a program of its own that runs before it and writes to no parameter.

    for b in 0..9 {                       for b in 0..9 { launch @f_0.check1(%at; b) }
      launch @f_0(%at, %t, %x; b)   ->    for b in 0..9 {
    }                                       launch @f_0(%at, %t, %x; b) …

The slice keeps every `Fail` and `Reserve` with the control flow around them, and of the kernels what these need:
nothing else is stored. Once it has gone through, the program cannot fail: memory that is reserved does not shrink.

Liveness runs backwards through the host body, over places in memory: buffers of different names may share one, and
hand values on that way. A scalar that is overwritten, or memory that is reserved anew, was not needed before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from sparsec.ir.loop_rewrite import nodes, with_bodies
from sparsec.ir.loops import (
    Alloc,
    Assign,
    Body,
    Const,
    Expr,
    Extern,
    Fail,
    For,
    If,
    Kernel,
    Launch,
    Let,
    Load,
    Mut,
    Note,
    Program,
    Reserve,
    Slot,
    Stmt,
    Store,
    Var,
    While,
    children,
    exprs,
    walk_stmts,
)

__all__ = ["checks_of", "written_params"]

#: Programs of more buffers are left alone: how they overlap is asked pair by pair.
_MOST_SLOTS = 1000

Names = frozenset[str]


class _Unfit(Exception):
    """The checks need what the program writes to a parameter, or what this file does not know."""


def written_params(program: Program) -> tuple[str, ...]:
    """The buffers of parameters that some launch may write."""
    params = [slot.buffer.name for slot in program.slots if slot.role == "param"]
    kernels = {kernel.name: kernel for kernel in program.kernels}
    written: set[str] = set()
    for stmt in walk_stmts(program.body):
        match stmt:
            case Launch(kernel=name, buffers=passed):
                given = zip(passed, kernels[name].buffers, strict=True)
                written.update(mine for mine, theirs in given if "w" in theirs.access)
            case Store(buffer=name) | Extern(buffers=((name, _), *_)):
                written.add(name)
    return tuple(name for name in params if name in written)


def checks_of(program: Program) -> Program | None:
    """The program that only checks and reserves; None where that cannot be told from what it writes."""
    if len(program.slots) > _MOST_SLOTS:
        return None
    slicer = _Slicer(program)
    try:
        body, _ = slicer.body(program.body, frozenset())
    except _Unfit:
        return None
    launched = {stmt.kernel for stmt in walk_stmts(body) if isinstance(stmt, Launch)}
    kernels = tuple(kernel for kernel in slicer.kernels.values() if kernel.name in launched)
    read = {stmt.buffers[k] for stmt in walk_stmts(body) if isinstance(stmt, Launch)
            for k, b in enumerate(slicer.named[stmt.kernel].buffers) if "r" in b.access}
    read |= {name for stmt in walk_stmts(body) for name in _loaded(exprs(stmt))}
    if read & set(written_params(program)):
        return None
    return replace(program, kernels=kernels, body=body, restores=())


def _loaded(found: Iterable[Expr]) -> set[str]:
    return {node.buffer for expr in found for node in nodes(expr) if isinstance(node, Load)}


# --- the host body ---------------------------------------------------------------------------------------


@dataclass
class _Slicer:
    program: Program
    kernels: dict[tuple[str, Names], Kernel] = field(default_factory=dict)  # by origin and what is needed of it
    named: dict[str, Kernel] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.origins = {kernel.name: kernel for kernel in self.program.kernels}
        slots = self.program.slots
        self.meets = {a.buffer.name: frozenset(b.buffer.name for b in slots if _meet(a, b)) for a in slots}
        self.inside = {a.buffer.name: frozenset(b.buffer.name for b in slots if _inside(b, a)) for a in slots}

    def needed(self, name: str, live: Names) -> bool:
        return not live.isdisjoint(self.meets[name])

    def body(self, body: Body, live: Names) -> tuple[Body, Names]:
        """What is kept of a body behind which the buffers `live` are read, and what is live before it."""
        kept: list[Stmt] = []
        for stmt in reversed(body):
            sliced, live = self.stmt(stmt, live)
            if sliced is not None:
                kept.append(sliced)
        return tuple(reversed(kept)), live

    def stmt(self, stmt: Stmt, live: Names) -> tuple[Stmt | None, Names]:
        match stmt:
            case Launch():
                return self.launch(stmt, live)
            case Reserve(buffer=name):
                return stmt, (live - self.meets[name]) | _loaded(exprs(stmt))
            case Fail():
                return stmt, frozenset()
            case Let() | Mut() | Assign():
                return stmt, live | _loaded(exprs(stmt))
            case Note():
                return None, live
            case If():
                then, before = self.body(stmt.then, live)
                orelse, other = self.body(stmt.orelse, live)
                if not then and not orelse:
                    return None, live
                return replace(stmt, then=then, orelse=orelse), before | other | _loaded(exprs(stmt))
            case For() | While():
                return self.loop(stmt, live)
        raise _Unfit

    def loop(self, stmt: For | While, live: Names) -> tuple[Stmt | None, Names]:
        """What is live before a turn is so behind the one before it."""
        asked = _loaded(exprs(stmt)) if isinstance(stmt, While) else set()
        head = live
        if not self.body(stmt.body, head)[0]:
            return None, live
        while True:
            body, before = self.body(stmt.body, head | asked)
            after = head | asked | before
            if after == head:
                return replace(stmt, body=body), head | _loaded(exprs(stmt))
            head = after

    def launch(self, stmt: Launch, live: Names) -> tuple[Stmt | None, Names]:
        origin = self.origins[stmt.kernel]
        passed = list(zip(origin.buffers, stmt.buffers, strict=True))
        wanted = frozenset(mine.name for mine, theirs in passed
                           if "w" in mine.access and self.needed(theirs, live))
        made = self.kernel(origin, wanted)
        if made is None:
            return None, live
        places = {mine.name: theirs for mine, theirs in passed}
        scalars = dict(zip((v.name for v in origin.scalars), stmt.scalars, strict=True))
        given = tuple(scalars[v.name] for v in made.scalars)
        launch = Launch(made.name, tuple(places[b.name] for b in made.buffers), given)
        for name in _overwritten(made, origin):
            live = live - self.inside[places[name]]
        read = frozenset(places[b.name] for b in made.buffers if "r" in b.access)
        return launch, live | read | _loaded(given)

    def kernel(self, origin: Kernel, wanted: Names) -> Kernel | None:
        """The part of a kernel that computes its buffers `wanted` and its checks; None if there is none."""
        found = self.kernels.get((origin.name, wanted))
        if found is None:
            body = _Slice(origin.body, set(wanted)).body(origin.body)
            if not body:
                return None
            found = _with_less(origin, body, f"{origin.name}.check{len(self.kernels)}")
            self.kernels[origin.name, wanted] = self.named[found.name] = found
        return found


def _span(slot: Slot) -> tuple[str, int, int]:
    """Which memory, and from where to where in it."""
    if slot.role == "arena":
        return "arena", slot.position, slot.position + slot.buffer.size * slot.buffer.dtype.itemsize
    return slot.role, slot.position, slot.position + 1


def _meet(a: Slot, b: Slot) -> bool:
    (x, first, end), (y, start, stop) = _span(a), _span(b)
    return x == y and first < stop and start < end


def _inside(a: Slot, b: Slot) -> bool:
    (x, first, end), (y, start, stop) = _span(a), _span(b)
    return x == y and start <= first and end <= stop


def _overwritten(made: Kernel, origin: Kernel) -> Iterable[str]:
    """Buffers of one element that the kernel always stores to, and does not read before."""
    sizes = {b.name: b for b in origin.buffers}
    for stmt in made.body:
        match stmt:
            case Store(buffer=name, index=Const(value=0), value=value):
                buffer = sizes[name]
                whole = buffer.size == 1 and value.dtype.itemsize == buffer.dtype.itemsize
                if whole:
                    yield name


def _with_less(origin: Kernel, body: Body, name: str) -> Kernel:
    """A kernel with the buffers and scalars that are left in its body."""
    loads = {name for stmt in walk_stmts(body) for name in _loaded(exprs(stmt))}
    stores: set[str] = set()
    for stmt in walk_stmts(body):
        match stmt:
            case Store(buffer=written):
                stores.add(written)
            case Extern(buffers=((written, _), *others)):
                stores.add(written)
                loads.update(other for other, _ in others)
    names = {node.name for stmt in walk_stmts(body) for expr in exprs(stmt) for node in nodes(expr)
             if isinstance(node, Var)}
    buffers = tuple(
        replace(b, access="rw" if b.name in loads & stores else "w" if b.name in stores else "r")
        for b in origin.buffers if b.name in loads | stores
    )
    return Kernel(name, buffers, tuple(v for v in origin.scalars if v.name in names), body, origin.locs)


# --- kernels ---------------------------------------------------------------------------------------------


class _Slice:
    """Which statements of a kernel are kept: those that store to a needed buffer, those that fail, and what they
    are computed from. Names and buffers are needed wherever they are made: order is not looked at."""

    def __init__(self, body: Body, buffers: set[str]) -> None:
        self.buffers, self.names = buffers, set[str]()
        self.kept: set[int] = set()
        while self._grow(body):
            pass

    def _grow(self, body: Body) -> bool:
        """Marks what is needed as far as known; gives whether it found something new."""
        grown = False
        for stmt in reversed(body):
            for inner in reversed(children(stmt)):
                grown |= self._grow(inner)
            if id(stmt) not in self.kept and self._needs(stmt):
                self.kept.add(id(stmt))
                self._ask(stmt)
                grown = True
        return grown

    def _needs(self, stmt: Stmt) -> bool:
        match stmt:
            case Let(var=var) | Mut(var=var) | Assign(var=var):
                return var.name in self.names
            case Store(buffer=name) | Extern(buffers=((name, _), *_)):
                return name in self.buffers
            case Alloc(buffer=buffer):
                return buffer.name in self.buffers
            case Fail():
                return True
            case For() | While() | If():
                return any(id(inner) in self.kept for body in children(stmt) for inner in body)
            case Note():
                return False
        raise _Unfit

    def _ask(self, stmt: Stmt) -> None:
        for expr in exprs(stmt):
            for node in nodes(expr):
                match node:
                    case Var(name=name):
                        self.names.add(name)
                    case Load(buffer=name):
                        self.buffers.add(name)
        match stmt:
            case Store(buffer=name):
                self.buffers.add(name)
            case Extern(buffers=passed):
                self.buffers.update(name for name, _ in passed)
            case Assign(var=var):
                self.names.add(var.name)

    def body(self, body: Body) -> Body:
        """The statements that are kept."""
        kept: list[Stmt] = []
        for stmt in body:
            if id(stmt) in self.kept:
                kept.append(with_bodies(stmt, self.body))
        return tuple(kept)
