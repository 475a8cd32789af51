"""Small tools that passes over loops are made of. Nothing is changed in place.

Expressions may share parts (they are graphs, not trees): every tool visits a part once and keeps the sharing,
so that a pass stays linear. `fn` below gets a node whose operands are already rewritten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import is_

from sparsec.ir.loops import (
    Alloc,
    Apply,
    Assign,
    Body,
    Const,
    Expr,
    Extern,
    For,
    If,
    Launch,
    Let,
    Load,
    Mut,
    Prefetch,
    Reserve,
    Stmt,
    Store,
    Var,
    While,
    exprs,
    operands,
    walk_stmts,
)
from sparsec.ir.scalar import S, index
from sparsec.ir.types import I64

__all__ = [
    "affine", "declared_names", "index_step", "map_body", "map_expr", "map_exprs", "nodes", "post_order",
    "reads", "rename", "simplify", "substitute", "with_bodies", "with_exprs", "writes",
]  # fmt: skip

ExprFn = Callable[[Expr], Expr]

# --- expressions -----------------------------------------------------------------------------------------


def map_expr(expr: Expr, fn: ExprFn) -> Expr:
    """Rewrites bottom-up: `fn` is called once for each part, on the part with its operands rewritten."""
    return _map(expr, fn, {})


def _map(expr: Expr, fn: ExprFn, done: dict[int, Expr]) -> Expr:
    found = done.get(id(expr))
    if found is None:
        node = expr
        match expr:  # the same node where no operand changed
            case Load(buffer, old, dtype):
                new = _map(old, fn, done)
                node = expr if new is old else Load(buffer, new, dtype)
            case Apply(name, args, dtype):
                mapped = tuple([_map(arg, fn, done) for arg in args])
                node = expr if all(map(is_, args, mapped)) else Apply(name, mapped, dtype)
        found = done[id(expr)] = fn(node)
    return found


def nodes(expr: Expr) -> Iterator[Expr]:
    """`expr` and all its parts, each once, outer ones first."""
    seen: set[int] = set()
    todo = [expr]
    while todo:
        node = todo.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            if isinstance(node, Apply):  # not by `operands`: everything is walked, often
                todo.extend(reversed(node.args))
            elif isinstance(node, Load):
                todo.append(node.index)


def post_order(exprs: Sequence[Expr]) -> list[Expr]:
    """Every part of some expressions, each once, operands before what uses them."""
    order: list[Expr] = []
    seen: set[int] = set()
    todo: list[tuple[Expr, bool]] = [(expr, False) for expr in reversed(exprs)]
    while todo:
        node, ready = todo.pop()
        if ready:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            todo.append((node, True))
            todo.extend((operand, False) for operand in reversed(operands(node)))
    return order


def simplify(expr: Expr) -> Expr:
    """i64 sums and products in one form: like terms added up, the constant last. For index arithmetic,
    which is small.

    (i * 4 + 1) - i * 4 + (j + j)   ->   j * 2 + 1
    quo(q, 7) * 14 + rem(q, 7) * 2  ->   q * 2

    Only ring identities are used, and that of quotient and remainder, so the value is the same where the
    arithmetic wraps.
    """
    return _Simplifier().expr(expr)


def affine(expr: Expr) -> tuple[frozenset[tuple[Expr, int]], int]:
    """An i64 expression as its terms with their factors, and its constant: where the terms of two agree, the
    constants tell how far apart they are."""
    terms = _Simplifier().sum(expr)
    return frozenset((atom, factor) for atom, factor in terms.items() if atom and factor), terms.get(None, 0)


_Terms = dict["Expr | None", int]  # factor by atom in its simplest form (None: the constant), modulo 2^64


class _Simplifier:
    """What has been found of parts, by identity: of every part that is seen, something here holds on to it."""

    def __init__(self) -> None:
        self._exprs: dict[int, Expr] = {}
        self._sums: dict[int, _Terms] = {}

    def expr(self, expr: Expr) -> Expr:
        found = self._exprs.get(id(expr))
        if found is None:
            found = self._exprs[id(expr)] = self._form(expr)
        return found

    def sum(self, expr: Expr) -> _Terms:
        return self._divisions_undone(self._terms(expr))

    def _form(self, expr: Expr) -> Expr:
        match expr:
            case Load(buffer, at, dtype):
                return Load(buffer, self.expr(at), dtype)
            case Apply("add" | "sub" | "mul" | "neg", dtype=dtype) if dtype == I64:
                return _of_terms(self.sum(expr))
            case Apply(fn, args, dtype):
                return _divided(Apply(fn, tuple([self.expr(arg) for arg in args]), dtype))
        return expr

    def _terms(self, expr: Expr) -> _Terms:
        found = self._sums.get(id(expr))
        if found is None:
            found = self._sums[id(expr)] = self._linear(expr)
        return found

    def _linear(self, expr: Expr) -> _Terms:
        match expr:
            case Const(value=int(value)):
                return {None: value}
            case Apply("add" | "sub" as fn, (x, y)):
                return _sum(self._terms(x), self._terms(y), 1 if fn == "add" else -1)
            case Apply("neg", (x,)):
                return _sum({}, self._terms(x), -1)
            case Apply("mul", (x, y)):
                for terms, factor in ((self._terms(x), self._terms(y)), (self._terms(y), self._terms(x))):
                    if not factor.keys() - {None}:
                        return _sum({}, terms, factor.get(None, 0))
                return {Apply("mul", (_of_terms(self._terms(x)), _of_terms(self._terms(y))), I64): 1}
        match self.expr(expr):
            case Const(value=int(value)):
                return {None: value}
            case atom:
                return {atom: 1}

    def _divisions_undone(self, terms: _Terms) -> _Terms:
        """quo(a, c) * c + rem(a, c) is a, whatever a is."""
        for rest, factor in list(terms.items()):
            match rest:
                case Apply("rem", (a, Const(value=int(by)) as divisor)):
                    whole = Apply("quo", (a, divisor), I64)
                    if terms.get(whole) == _wrap(factor * by):
                        kept = {atom: times for atom, times in terms.items() if atom not in (whole, rest)}
                        return self._divisions_undone(_sum(kept, self._terms(a), factor))
        return terms


def _of_terms(terms: _Terms) -> Expr:
    """Their sum. Positive terms come first, so that it never begins with a negation."""
    total: Expr = index(0)
    for atom, factor in sorted(terms.items(), key=lambda term: (term[0] is None, term[1] < 0)):
        subtract = _LEAST < factor < 0 and total != index(0)
        size = -factor if subtract else factor
        term = index(size) if atom is None else S.mul(atom, index(size))
        total = S.sub(total, term) if subtract else S.add(total, term)
    return total


def _divided(expr: Apply) -> Expr:
    match expr:
        case Apply("quo" | "rem" as fn, (Const(value=int(a)), Const(value=int(b))), dtype) if a >= 0 < b:
            return index(a // b if fn == "quo" else a % b) if dtype == I64 else expr
    return expr


def _sum(x: _Terms, y: _Terms, factor: int) -> _Terms:
    total = dict(x)
    for atom, count in y.items():
        total[atom] = _wrap(total.get(atom, 0) + count * factor)
    return total


_LEAST = -(1 << 63)


def _wrap(value: int) -> int:
    return (value - _LEAST) % (1 << 64) + _LEAST


# --- statements ------------------------------------------------------------------------------------------


def map_exprs(body: Body, fn: Callable[[Expr], Expr]) -> Body:
    """Every whole expression of every statement, through `fn`. Assigned and declared names stay."""
    return map_body(body, lambda stmt: (with_exprs(stmt, fn),))


def map_body(body: Body, fn: Callable[[Stmt], Iterable[Stmt]]) -> Body:
    """Rewrites bottom-up: each statement, its bodies already rewritten, becomes what `fn` gives."""
    return tuple([new for stmt in body for new in fn(with_bodies(stmt, lambda inner: map_body(inner, fn)))])


def with_bodies(stmt: Stmt, fn: Callable[[Body], Body]) -> Stmt:
    """The statement with `fn` of each body directly inside it."""
    match stmt:
        case For() | While():
            return replace(stmt, body=fn(stmt.body))
        case If():
            return replace(stmt, then=fn(stmt.then), orelse=fn(stmt.orelse))
    return stmt


def with_exprs(stmt: Stmt, fn: Callable[[Expr], Expr]) -> Stmt:
    """The statement with `fn` of its own expressions; not of those inside its bodies."""
    match stmt:
        case Let(var, value) | Mut(var, value) | Assign(var, value):
            made = fn(value)
            return stmt if made is value else type(stmt)(var, made)
        case Store(buffer, at, value):
            there, made = fn(at), fn(value)
            return stmt if there is at and made is value else Store(buffer, there, made)
        case Prefetch(buffer, at):
            return Prefetch(buffer, fn(at))
        case For():
            return replace(stmt, start=fn(stmt.start), stop=fn(stmt.stop))
        case While() | If():
            return replace(stmt, cond=fn(stmt.cond))
        case Extern():
            buffers = tuple((name, fn(offset)) for name, offset in stmt.buffers)
            return replace(stmt, buffers=buffers, args=tuple(fn(arg) for arg in stmt.args))
        case Launch():
            return replace(stmt, scalars=tuple(fn(scalar) for scalar in stmt.scalars))
        case Reserve():
            return replace(stmt, nbytes=fn(stmt.nbytes))
    return stmt


def substitute(body: Body, values: Mapping[str, Expr]) -> Body:
    """Reads of the named variables replaced. The names must not be declared inside."""

    def put(expr: Expr) -> Expr:
        return values.get(expr.name, expr) if isinstance(expr, Var) else expr

    return map_exprs(body, lambda expr: map_expr(expr, put))


def rename(
    body: Body, names: Mapping[str, str], buffers: Mapping[str, str] | None = None,
    values: Mapping[str, Expr] | None = None,
) -> Body:
    """Variables and buffers by other names, declarations included; `values` replaces reads, as `substitute`."""
    places = buffers or {}
    known = values or {}

    def var(v: Var) -> Var:
        return replace(v, name=names.get(v.name, v.name))

    def node(expr: Expr) -> Expr:
        match expr:
            case Var(name=name):
                return known[name] if name in known else var(expr) if name in names else expr
            case Load(buffer=buffer) if buffer in places:
                return replace(expr, buffer=places[buffer])
        return expr

    def head(stmt: Stmt) -> tuple[Stmt]:
        match stmt:
            case Let() | Mut() | Assign() | For():
                return (replace(stmt, var=var(stmt.var)),)
            case Store(buffer=name) | Prefetch(buffer=name) | Reserve(buffer=name):
                return (replace(stmt, buffer=places.get(name, name)),)
            case Alloc(buffer=buffer):
                return (Alloc(replace(buffer, name=places.get(buffer.name, buffer.name))),)
            case Extern(buffers=passed):
                return (replace(stmt, buffers=tuple((places.get(b, b), at) for b, at in passed)),)
            case Launch(buffers=launched):
                return (replace(stmt, buffers=tuple(places.get(b, b) for b in launched)),)
        return (stmt,)

    return map_body(map_exprs(body, lambda expr: map_expr(expr, node)), head)


# --- questions -------------------------------------------------------------------------------------------


def reads(body: Body) -> tuple[str, ...]:
    """Buffers that statements read, those inside included; each once, in order."""
    return tuple(dict.fromkeys(_reads(body)))


def _reads(body: Body) -> Iterator[str]:
    for stmt in walk_stmts(body):
        for expr in exprs(stmt):
            yield from (node.buffer for node in nodes(expr) if isinstance(node, Load))
        if isinstance(stmt, Extern):
            yield from (buffer for buffer, _ in stmt.buffers[1:])


def writes(body: Body) -> tuple[str, ...]:
    """Buffers that statements write, those inside included; each once, in order."""
    stores = (s.buffer if isinstance(s, Store) else s.buffers[0][0]
              for s in walk_stmts(body) if isinstance(s, Store | Extern))  # fmt: skip
    return tuple(dict.fromkeys(stores))


def declared_names(body: Body) -> tuple[str, ...]:
    """Variables that statements declare, those inside included; each once, in order."""
    found = (s.var.name for s in walk_stmts(body) if isinstance(s, Let | Mut | For))
    return tuple(dict.fromkeys(found))


def index_step(index: Expr, var: Var) -> int | None:
    """How far a position moves when a loop's variable goes up by one; None where it is not plain arithmetic."""
    match index:
        case Const():
            return 0
        case Var():
            return 1 if index == var else 0
        case Apply("add" | "sub" as fn, (x, y)):
            a, b = index_step(x, var), index_step(y, var)
            return None if a is None or b is None else a + b if fn == "add" else a - b
        case Apply("mul", (x, Const(value=int(factor)))) | Apply("mul", (Const(value=int(factor)), x)):
            a = index_step(x, var)
            return None if a is None else a * factor
    return None
