"""How long loops run, roughly: enough to tell whether it pays to share them out among threads.

Estimates count picoseconds of one core. They take it that straight code is vectorised and that its memory is in
the second-level cache; both are the faster case, so that small work is not taken for large.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sparsec.codegen.device_parts import trip_count
from sparsec.ir.loop_rewrite import map_expr, nodes, simplify
from sparsec.ir.loops import (
    Apply,
    Assign,
    Body,
    Const,
    Expr,
    Fail,
    For,
    If,
    Let,
    Load,
    Mut,
    Stmt,
    Store,
    Var,
    While,
    children,
    exprs,
)
from sparsec.ir.scalar import S, apply, index
from sparsec.ir.types import I64

__all__ = ["body_cost"]

#: Of a byte that is loaded or stored, and of an operation for each byte of its result: 90 GB/s, and a polynomial
#: of 25 steps on 4 bytes in 0.4 ns, as measured on a core of 2.6 GHz with vectors of 512 bits.
_BYTE, _OPERATION = 11, 4

#: What takes longer than an addition, and how many times.
_SLOW = {"div": 8, "sqrt": 8, "fmod": 40, "quo": 10, "rem": 10}
_FAST = frozenset(("add", "sub", "mul", "neg", "abs", "min", "max", "and", "or", "xor", "not", "eq", "ne", "lt",
                   "le", "gt", "ge", "select", "cast", "bitcast", "shl", "shr", "copysign", "floor", "ceil",
                   "trunc", "rint", "fma"))  # fmt: skip

#: Of a function of the C library, in additions.
_CALL = 100

#: How much longer code runs in which one turn waits for the one before, and code that branches.
_WAITS, _BRANCHES = 2, 8

#: Turns of a loop of which nothing is known, and of one that runs while something holds.
_TURNS, _WHILE = 16, 2


def body_cost(body: Body, known: Mapping[str, Expr]) -> Expr:
    """Picoseconds that statements take, in terms of `known`: what may be said of names that the body uses. Names
    that are not in it are guessed at."""
    return _body(body, dict(known))


def _body(body: Body, known: dict[str, Expr]) -> Expr:
    kinds = {type(stmt) for stmt in body}
    slow = _BRANCHES if kinds & {If, While, Fail} else _WAITS if Assign in kinds else 1
    own, inside = 0, index(0)
    for stmt in body:
        own += sum(_expr(expr) for expr in exprs(stmt))
        if isinstance(stmt, Store):
            own += _BYTE * stmt.value.dtype.itemsize
        elif isinstance(stmt, Let | Mut) and stmt.var.dtype == I64:  # what changes is as large as it was at first
            known[stmt.var.name] = _about(stmt.value, known)
        inside = S.add(inside, _inside(stmt, known))
    return S.add(index(own * slow), inside)


def _inside(stmt: Stmt, known: dict[str, Expr]) -> Expr:
    """The cost of the bodies in a statement."""
    match stmt:
        case For(var=var, start=start, stop=stop, body=body):
            # For loops whose bounds depend on this one's turn: they run as often as in the middle of it.
            middle = _folded("quo", (S.add(_about(start, known), _about(stop, known)), index(2)))
            return S.mul(_turns(stmt, known), _body(body, {**known, var.name: middle}))
        case While(body=body):
            return S.mul(index(_WHILE), _body(body, known))
        case If():
            return _folded("max", [_body(body, known) for body in children(stmt)])
    return index(0)


def _turns(loop: For, known: dict[str, Expr]) -> Expr:
    """How often a loop runs. Where it ends at `min(a, b)`, one of them may tell more than the other."""
    start, stop = _about(loop.start, known), _about(loop.stop, known)
    ends = stop.args if isinstance(stop, Apply) and stop.fn == "min" else (stop,)
    spans = [simplify(S.sub(end, start) if loop.step > 0 else S.sub(start, end)) for end in ends]
    closed = [span for span in spans if not any(map(_is_open, nodes(span)))]
    fixed = [int(span.value.real) for span in closed if isinstance(span, Const)]
    if not closed:
        return index(_TURNS)
    span = index(min(fixed)) if fixed else closed[0]
    return trip_count(replace(loop, start=index(0), stop=span, step=abs(loop.step)))


def _expr(expr: Expr) -> int:
    """Of the parts of an expression, each once."""
    total = 0
    for node in nodes(expr):
        match node:
            case Load(dtype=dtype):
                total += _BYTE * dtype.itemsize
            case Apply(fn=fn, dtype=dtype) if dtype != I64 or fn not in ("add", "sub", "mul"):
                weight = 1 if fn in _FAST else _SLOW.get(fn, _CALL)
                total += weight * _OPERATION * dtype.itemsize
    return total


# --- what is known of integers -------------------------------------------------------------------------------


def _open(name: str) -> Var:
    """Stands for a number of which nothing is known."""
    return Var(f"open {name}", I64)


def _is_open(node: Expr) -> bool:
    return isinstance(node, Load) or (isinstance(node, Var) and node.name.startswith("open "))


def _about(expr: Expr, known: Mapping[str, Expr]) -> Expr:
    """The expression in known terms."""

    def put(node: Expr) -> Expr:
        match node:
            case Var(name):
                return known.get(name, _open(name))
            case Apply("and", (x, Const())) | Apply("select", (_, x, _)):  # cut to a multiple; one of two like sizes
                return x
            case Apply(fn, (Const(), Const()) as args, dtype) if dtype == I64 and fn in _INTEGER:
                return _folded(fn, args)
        return node

    return map_expr(expr, put)


_INTEGER: dict[str, Callable[[int, int], int]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "min": min, "max": max,
    "shr": lambda x, y: x >> y if 0 <= y < 64 else 0,
    "quo": lambda x, y: x // y if y else 0, "rem": lambda x, y: x % y if y else 0,
}  # fmt: skip


def _folded(fn: str, args: Sequence[Expr]) -> Expr:
    """A function of sizes."""
    x, y = args
    if isinstance(x, Const) and isinstance(y, Const):
        return index(_INTEGER[fn](int(x.value.real), int(y.value.real)))
    return apply(fn, x, y)
