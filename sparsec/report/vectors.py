"""Which vectors a kernel computes with, read from what LLVM made of it; and where there are none, what is in the
way, read from its loops."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sparsec.ir.loop_rewrite import index_step, nodes
from sparsec.ir.loops import (
    Assign,
    Const,
    Expr,
    Fail,
    For,
    If,
    Kernel,
    Load,
    Mut,
    Stmt,
    Store,
    While,
    children,
    exprs,
    walk_stmts,
)

__all__ = ["NativeCode", "loop_lines", "native_code", "obstacles"]

_FUNCTION = re.compile(r'^define [^@]*@"?k(\d+)\.')
_VECTOR = re.compile(r"<(\d+) x (float|double|half|i\d+)>")
_CALL = re.compile(r'\bcall\b[^@]*@"?([\w.$]+)')
#: Instructions that compute; the others only move what lies where.
_COMPUTES = re.compile(
    r"= (?:fadd|fsub|fmul|fdiv|fneg|fcmp|frem|icmp|add|sub|mul|sdiv|udiv|and|or|xor|shl|lshr|ashr|select|fptosi|"
    r"fptoui|sitofp|uitofp|fpext|fptrunc|trunc|sext|zext|(?:tail |musttail |notail )?call)\b"
)
_MOVES = re.compile(r"(?:= load|^\s*store|= (?:tail )?call .*@llvm\.masked|call void @llvm\.masked)\b")
_NAMES = {"float": "f32", "double": "f64", "half": "f16"}
_BITS = {"float": 32, "double": 64, "half": 16}


@dataclass(frozen=True, slots=True)
class NativeCode:
    """What the machine code of a kernel looks like. `vector`: like "16 x f32", of `bits` bits; "" for none."""

    vector: str
    bits: int
    gathers: bool
    scatters: bool
    block_copy: bool
    calls: tuple[str, ...]


def native_code(optimised: str) -> dict[int, NativeCode]:
    """By number of the kernel, from the text of an optimised module."""
    found: dict[int, list[str]] = {}
    lines: list[str] | None = None
    for line in optimised.splitlines():
        if line.startswith("define "):
            match = _FUNCTION.match(line)
            lines = found.setdefault(int(match[1]), []) if match else None
        elif lines is not None:
            lines.append(line)
    return {number: _code(body) for number, body in found.items()}


def _code(body: Sequence[str]) -> NativeCode:
    vectors: Counter[tuple[int, str]] = Counter()
    moves: Counter[tuple[int, str]] = Counter()
    calls: dict[str, None] = {}
    for line in body:
        target = vectors if _COMPUTES.search(line) else moves if _MOVES.search(line) else None
        types = [(int(n), kind) for n, kind in _VECTOR.findall(line) if kind != "i1"]
        if target is not None and types:
            target[types[0]] += 1
        called = _CALL.search(line)
        if called and not called[1].startswith("llvm."):
            calls[called[1]] = None
    text = "\n".join(body)
    number, kind = _mostly(vectors) or _mostly(moves) or (0, "")
    bits = number * _BITS.get(kind, int(kind[1:]) if kind.startswith("i") else 0)
    return NativeCode(
        f"{number} x {_NAMES.get(kind, kind)}" if number else "", bits, "@llvm.masked.gather" in text,
        "@llvm.masked.scatter" in text, "@llvm.memcpy" in text or "@llvm.memset" in text or "@llvm.memmove" in text,
        tuple(calls),
    )


def _mostly(vectors: Counter[tuple[int, str]]) -> tuple[int, str] | None:
    """The most frequent type; address arithmetic (i64) only where there is nothing else."""
    data = {type: count for type, count in vectors.items() if type[1] != "i64"} or dict(vectors)
    return max(data, key=lambda type: (data[type], type), default=None)


# --- loops -------------------------------------------------------------------------------------------------


def loop_lines(kernel: Kernel) -> tuple[str, ...]:
    """Each loop nest, its loops from outside to inside: `1000 parallel x 4`."""
    return tuple(dict.fromkeys(_nests(kernel.body, ())))


def _nests(body: Sequence[Stmt], around: tuple[str, ...]) -> Iterator[str]:
    found = False
    for stmt in body:
        name = _loop_name(stmt)
        for inner in children(stmt):
            deeper = (*around, name) if name else around
            below = list(_nests(inner, deeper))
            yield from below
            found = found or bool(below)
        if name and not found:
            yield " x ".join((*around, name))
            found = True


def _loop_name(stmt: Stmt) -> str:
    match stmt:
        case For():
            turns = _turns(stmt)
            bind = "" if stmt.bind == "seq" else f" {stmt.bind}"
            return f"{'?' if turns is None else turns}{bind}"
        case While():
            return "while"
    return ""


def _turns(loop: For) -> int | None:
    match loop.start, loop.stop:
        case Const(value=int(first)), Const(value=int(end)):
            return len(range(first, end, loop.step))
    return None


def obstacles(kernel: Kernel) -> tuple[str, ...]:
    """What keeps the innermost loops of a kernel from vectors, as far as the loops tell."""
    loops = list(_innermost(kernel.body))
    if not loops:
        return ("there is no loop",)
    return tuple(dict.fromkeys(reason for loop in loops for reason in _reasons(loop)))


def _innermost(body: Sequence[Stmt]) -> Iterator[For | While]:
    for stmt in body:
        inner = [loop for part in children(stmt) for loop in _innermost(part)]
        yield from inner
        if isinstance(stmt, For | While) and not inner:
            yield stmt


def _reasons(loop: For | While) -> Iterator[str]:
    if isinstance(loop, While):
        yield "how often a loop runs is decided turn by turn"
        return
    turns = _turns(loop)
    if turns is not None and turns < 8:
        yield f"a loop has {turns} turns only"
    declared = {stmt.var for stmt in walk_stmts(loop.body) if isinstance(stmt, Mut)}
    if any(isinstance(stmt, Assign) and stmt.var not in declared for stmt in walk_stmts(loop.body)):
        yield "each turn needs what the one before accumulated"
    places = list(_places(loop.body))
    for buffer in dict.fromkeys(name for name, _, write in places if write):
        if _comes_back(buffer, places):
            yield f"turns read what others may have written to @{buffer}"
    if any(isinstance(stmt, If) for stmt in walk_stmts(loop.body)):
        yield "it branches"
    if any(isinstance(stmt, Fail) for stmt in walk_stmts(loop.body)):
        yield "a check may end it"
    apart = dict.fromkeys(name for name, at, _ in places if index_step(at, loop.var) not in (0, 1, -1))
    if apart:
        yield f"its elements of {', '.join(f'@{name}' for name in apart)} are no neighbours"


def _places(body: Sequence[Stmt]) -> Iterator[tuple[str, Expr, bool]]:
    for stmt in walk_stmts(tuple(body)):
        for expr in exprs(stmt):
            yield from ((e.buffer, e.index, False) for e in nodes(expr) if isinstance(e, Load))
        if isinstance(stmt, Store):
            yield stmt.buffer, stmt.index, True


def _comes_back(buffer: str, places: Sequence[tuple[str, Expr, bool]]) -> bool:
    """Whether the buffer is read at another index than it is written."""
    written = {at for name, at, write in places if name == buffer and write}
    read = {at for name, at, write in places if name == buffer and not write}
    return bool(read - written)

