"""Conditions that the ranges of loop variables decide are decided, and branches that never run go.

    for i in 0..8 {                              for i in 0..8 {
      let at = i + 2                               let at = i + 2
      if at >= 0 and at < n { A }      ->          if at < n { A }
      if i * 2 - 3 >= 0 { B }                      if i >= 2 { B }
    }                                            }
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from sparsec.ir.loop_rewrite import map_expr, with_exprs
from sparsec.ir.loops import Apply, Body, Const, Expr, For, If, Let, Stmt, Var, While
from sparsec.ir.scalar import const, index
from sparsec.ir.types import BOOL, I64
from sparsec.passes.schedule.copies import turns_of

__all__ = ["Ranges", "decide", "decided", "range_of"]

Range = tuple[int, int]  # the least and the greatest value
Ranges = Mapping[str, Range]
Rest = Callable[[Expr, Ranges], Expr]


def decided(body: Body, ranges: Ranges | None = None, rest: Rest = lambda expr, known: expr) -> Body:
    """The body with what can be told about conditions. ranges: of i64 names from outside. rest: what becomes of an
    expression that is left, where ranges are known."""
    known = dict(ranges or {})
    return tuple(new for stmt in body for new in _stmt(stmt, known, rest))


def _stmt(stmt: Stmt, known: dict[str, Range], rest: Rest) -> Body:
    stmt = with_exprs(stmt, lambda expr: decide(expr, known))
    kept = with_exprs(stmt, lambda expr: rest(expr, known))
    match stmt:
        case Let(var=var, value=value) if var.dtype == I64:
            found = range_of(value, known)
            if found is not None:
                known[var.name] = found
        case For(var=var):
            turns = turns_of(stmt)
            if turns is not None and not turns:
                return ()
            inner = dict(known)
            if turns:
                inner[var.name] = (min(turns[0], turns[-1]), max(turns[0], turns[-1]))
            return (replace(stmt, body=decided(stmt.body, inner, rest)),)
        case While():
            return (replace(stmt, body=decided(stmt.body, known, rest)),)
        case If(cond=Const(value=value)):
            return decided(stmt.then if value else stmt.orelse, known, rest)
        case If(cond=cond):
            then, orelse = _narrowed(cond, known)
            return (If(rest(cond, known), decided(stmt.then, then, rest), decided(stmt.orelse, orelse, rest)),)
    return (kept,)


def _narrowed(cond: Expr, known: Ranges) -> tuple[Ranges, Ranges]:
    """What is known where `cond` holds, and where it does not: of `name < number` and, where both hold, of
    `number <= name < number` only."""
    match cond:
        case Apply("and", (x, y)):
            return _narrowed(y, _narrowed(x, known)[0])[0], known
        case Apply("ge", (Var(name=name), Const(value=int(bound)))) if name in known:
            low, high = known[name]
            return {**known, name: (max(low, bound), high)}, {**known, name: (low, min(high, bound - 1))}
        case Apply("lt", (Var(name=name), Const(value=int(bound)))) if name in known:
            low, high = known[name]
            return {**known, name: (low, min(high, bound - 1))}, {**known, name: (max(low, bound), high)}
    return known, known


def decide(expr: Expr, known: Ranges) -> Expr:
    """The expression with what the ranges of i64 names tell about conditions in it."""
    return map_expr(expr, lambda node: _node(node, known))


def _node(node: Expr, known: Ranges) -> Expr:
    match node:
        case Apply("and" | "or" as fn, (x, y), dtype) if dtype == BOOL:
            for one, other in ((x, y), (y, x)):
                if isinstance(one, Const):
                    return other if bool(one.value) == (fn == "and") else one
        case Apply("lt" | "le" | "gt" | "ge" as fn, (x, y)) if x.dtype == I64:
            left, right = range_of(x, known), range_of(y, known)
            if left is not None and right is not None:
                return _solved(_compared(fn, left, right, node))
    return node


def _solved(node: Expr) -> Expr:
    """`x * 2 - 3 >= 0` as `x >= 2`, so that what asks the same looks the same. For sums that do not wrap."""
    match node:
        case Apply("lt" | "ge" as fn, (Apply("add", (x, Const(value=int(by)))), Const(value=int(bound)))):
            return _solved(Apply(fn, (x, index(bound - by)), BOOL))
        case Apply("lt" | "ge" as fn, (Apply("sub", (x, Const(value=int(by)))), Const(value=int(bound)))):
            return _solved(Apply(fn, (x, index(bound + by)), BOOL))
        case Apply("lt" | "ge" as fn, (Apply("mul", (x, Const(value=int(by)))), Const(value=int(bound)))) if by > 0:
            return _solved(Apply(fn, (x, index(-(-bound // by))), BOOL))
    return node


def _compared(fn: str, x: Range, y: Range, node: Expr) -> Expr:
    if fn in ("gt", "ge"):
        fn, x, y = {"gt": "lt", "ge": "le"}[fn], y, x
    strict = fn == "lt"
    if x[1] < y[0] or (not strict and x[1] == y[0]):
        return const(True, BOOL)
    if x[0] > y[1] or (strict and x[0] == y[1]):
        return const(False, BOOL)
    return node


#: Beyond this nothing is concluded: what is computed from it might wrap.
_LIMIT = 1 << 40


def range_of(expr: Expr, known: Ranges) -> Range | None:
    """Between which numbers an i64 expression is, as far as that is easy to tell."""
    match expr:
        case Const(value=int(value)):
            found: Range | None = (value, value)
        case Var(name=name):
            found = known.get(name)
        case Apply(fn, (x, y)):
            left, right = range_of(x, known), range_of(y, known)
            found = _combined(fn, left, right) if left is not None and right is not None else None
        case _:
            found = None
    return found if found is not None and max(map(abs, found)) < _LIMIT else None


def _combined(fn: str, x: Range, y: Range) -> Range | None:
    match fn:
        case "add":
            return x[0] + y[0], x[1] + y[1]
        case "sub":
            return x[0] - y[1], x[1] - y[0]
        case "mul":
            products = [a * b for a in x for b in y]
            return min(products), max(products)
        case "min" | "max":
            pick = min if fn == "min" else max
            return pick(x[0], y[0]), pick(x[1], y[1])
        case "quo" if x[0] >= 0 and y[0] > 0:
            return x[0] // y[1], x[1] // y[0]
        case "rem" if x[0] >= 0 and y[0] > 0:
            return (x[0], x[1]) if x[1] < y[0] else (0, min(x[1], y[1] - 1))
    return None
