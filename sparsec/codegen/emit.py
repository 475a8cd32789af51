"""The one walk over loop IR, from which both backends are written.

The walk knows scopes, evaluates each shared subexpression once, tells index arithmetic from the user's, and
refuses what no builder can write; it knows nothing of either language.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

from sparsec.codegen.scalar_protocol import ARITH, BITS, COMPARE, MATH, Builder
from sparsec.errors import CompileError
from sparsec.ir.loop_rewrite import post_order
from sparsec.ir.loops import (
    Alloc,
    Apply,
    Assign,
    Barrier,
    Body,
    Buffer,
    Const,
    Expr,
    Extern,
    Fail,
    For,
    If,
    Launch,
    Let,
    Load,
    Mut,
    Note,
    Prefetch,
    Reserve,
    Stmt,
    Store,
    Var,
    While,
    operands,
)
from sparsec.ir.scalar import FNS
from sparsec.ir.types import I64, DType

__all__ = ["Emitter", "illegal"]

V = TypeVar("V")

#: Functions that make an index from indexes; the first three may then be told not to overflow.
_NO_WRAP = frozenset(("add", "sub", "mul"))
_INDEX_FNS = _NO_WRAP | {"quo", "rem", "min", "max"}


@dataclass(frozen=True, slots=True)
class _Name(Generic[V]):
    """What a name stands for. `index`: it is made of loop variables and constants only."""

    value: V
    mutable: bool = False
    index: bool = False


#: An expression that is deeper gets names for its parts: C compilers limit the nesting of parentheses.
_DEPTH = 40


@dataclass(frozen=True, slots=True)
class _Made(Generic[V]):
    """The value of a node; `depth` counts the nodes above the last name."""

    value: V
    index: bool = False
    depth: int = 0


def illegal(what: str, remover: str) -> NoReturn:
    """Raises the error for a node that an earlier pass should have removed."""
    raise CompileError(f"{what} reached code generation", hint=f"{remover} should have removed it")


class Emitter(Generic[V]):
    """Walks one kernel or host body; `buffers` and `scalars` are what it starts with. Scalars are index arithmetic
    (i64), but for those in `plain`."""

    def __init__(
        self,
        builder: Builder[V],
        buffers: Sequence[Buffer] = (),
        scalars: Mapping[str, V] | None = None,
        plain: Collection[str] = (),
    ) -> None:
        self._builder = builder
        self._names: dict[str, _Name[V]] = {
            name: _Name(value, index=name not in plain) for name, value in (scalars or {}).items()
        }
        self._buffers = {buffer.name: buffer for buffer in buffers}

    # --- statements ---

    def body(self, stmts: Body) -> None:
        """Writes statements in a scope of their own."""
        names, buffers = dict(self._names), dict(self._buffers)
        for stmt in stmts:
            self._stmt(stmt)
        self._names, self._buffers = names, buffers

    def _stmt(self, stmt: Stmt) -> None:
        b = self._builder
        match stmt:
            case Let(var, value):
                made = self._evaluate(value)[0]
                named = b.let(var.name, made.value, var.dtype)
                self._names[var.name] = _Name(named, index=made.index)
            case Mut(var, value):
                place = b.mut(var.name, self.expr(value), var.dtype)
                self._names[var.name] = _Name(place, mutable=True)
            case Assign(var, value):
                name = self._lookup(var.name)
                if not name.mutable:
                    raise CompileError(f"assignment to %{var.name}, which is not a Mut")
                b.assign(name.value, self.expr(value), var.dtype)
            case Store(buffer, index, value):
                at, what = self._exprs(index, value)
                b.store(self._buffer(buffer), at, what, _plain(value.dtype, f"store to %{buffer}"))
            case Alloc(buffer):
                b.alloc(buffer)
                self._buffers[buffer.name] = buffer
            case Fail(code):
                b.fail(code)
            case Note(flag):
                b.note(flag)
            case Prefetch(buffer, index):
                b.prefetch(self._buffer(buffer), self.expr(index))
            case Barrier():
                illegal("a barrier", "legalize (no pass binds work-groups yet)")
            case Extern(name, buffers, args, dtype):
                values = self._exprs(*(offset for _, offset in buffers), *args)
                places = [(self._buffer(buffer), offset) for (buffer, _), offset in zip(buffers, values)]
                b.extern(name, places, values[len(buffers) :], dtype)
            case Launch(kernel, buffers, scalars):
                b.launch(kernel, [self._buffer(name) for name in buffers], self._exprs(*scalars))
            case Reserve(buffer, nbytes, code):
                b.reserve(self._buffer(buffer), self.expr(nbytes), code)
            case _:
                self._control(stmt)

    def _control(self, stmt: Stmt) -> None:
        b = self._builder
        match stmt:
            case For(var, start, stop, step, body):
                if step == 0:
                    raise CompileError(f"the loop over %{var.name} has step 0")
                first, last = self._exprs(start, stop)

                def turn(value: V) -> None:
                    outer = self._names.get(var.name)
                    self._names[var.name] = _Name(value, index=True)
                    self.body(body)
                    if outer is None:
                        del self._names[var.name]
                    else:
                        self._names[var.name] = outer

                b.loop(stmt, first, last, turn)
            case While(cond, body):
                b.while_(lambda: self.expr(cond), lambda: self.body(body))
            case If(cond, then, orelse):
                other = (lambda: self.body(orelse)) if orelse else None
                b.if_(self.expr(cond), lambda: self.body(then), other)
            case _:
                raise CompileError(f"{type(stmt).__name__} is not a statement of the loop IR")

    # --- expressions ---

    def expr(self, expr: Expr) -> V:
        """The value of one expression."""
        return self._evaluate(expr)[0].value

    def _exprs(self, *exprs: Expr) -> list[V]:
        return [made.value for made in self._evaluate(*exprs)]

    def _evaluate(self, *exprs: Expr) -> list[_Made[V]]:
        """Values of expressions that are evaluated together: operands first, each shared node once."""
        order = post_order(exprs)
        shared = _shared_nodes(exprs, order)
        done: dict[int, _Made[V]] = {}
        for node in order:
            made = self._node(node, done)
            if isinstance(node, Load | Apply) and (id(node) in shared or made.depth >= _DEPTH):
                made = _Made(self._builder.let("t", made.value, node.dtype), made.index)
            done[id(node)] = made
        return [done[id(expr)] for expr in exprs]

    def _node(self, expr: Expr, done: dict[int, _Made[V]]) -> _Made[V]:
        """One node, whose operands are done."""
        match expr:
            case Const(value, dtype):
                return _Made(self._builder.const(value, _plain(dtype, "a constant")), dtype == I64)
            case Var(name, dtype):
                bound = self._lookup(name)
                if bound.mutable:
                    return _Made(self._builder.get(bound.value, dtype))
                return _Made(bound.value, bound.index and dtype == I64)
            case Load(buffer, index, dtype):
                at = done[id(index)]
                _plain(dtype, f"load from %{buffer}")
                return _Made(self._builder.load(self._buffer(buffer), at.value, dtype), depth=at.depth + 1)
            case Apply(fn, args, dtype):
                made = [done[id(arg)] for arg in args]
                # Only an expression of nothing but loop variables and constants is index arithmetic; the
                # rest may be the user's, and wraps.
                is_index = fn in _INDEX_FNS and dtype == I64 and all(arg.index for arg in made)
                wraps = not (is_index and fn in _NO_WRAP)
                result = self._apply(expr, [arg.value for arg in made], wraps=wraps)
                return _Made(result, is_index, 1 + max(arg.depth for arg in made))
        raise CompileError(f"{type(expr).__name__} is not an expression of the loop IR")

    def _apply(self, expr: Apply, args: list[V], *, wraps: bool) -> V:
        b, fn, dtype = self._builder, expr.fn, expr.dtype
        _check(expr)
        operand = expr.args[0].dtype
        if fn in ARITH:
            return b.arith(fn, args, dtype, wraps=wraps)
        if fn in BITS:
            return b.bits(fn, args, dtype)
        if fn in COMPARE:
            return b.compare(fn, args[0], args[1], operand)
        if fn in MATH:
            return b.math(fn, args, dtype)
        match fn:
            case "select":
                return b.select(args[0], args[1], args[2], dtype)
            case "cast":
                return args[0] if operand == dtype else b.cast(args[0], operand, dtype)
            case "bitcast":
                if operand.itemsize != dtype.itemsize:
                    raise CompileError(f"bitcast of {operand} to {dtype}")
                return args[0] if operand == dtype else b.bitcast(args[0], operand, dtype)
        illegal(f"scalar function {fn!r}", "legalize")

    # --- names ---

    def _lookup(self, name: str) -> _Name[V]:
        if name not in self._names:
            raise CompileError(f"%{name} is not defined here")
        return self._names[name]

    def _buffer(self, name: str) -> Buffer:
        if name not in self._buffers:
            raise CompileError(f"buffer %{name} is not defined here")
        return self._buffers[name]


def _shared_nodes(exprs: Sequence[Expr], order: Sequence[Expr]) -> set[int]:
    """Identities of the nodes, all of which are given, that are used more than once."""
    seen: set[int] = set()
    shared: set[int] = set()
    uses = [id(operand) for node in order for operand in operands(node)]
    for use in (*map(id, exprs), *uses):
        (shared if use in seen else seen).add(use)
    return shared


def _plain(dtype: DType, what: str) -> DType:
    if dtype.kind == "c":
        illegal(f"{what} of {dtype}", "legalize")
    return dtype


def _check(expr: Apply) -> None:
    """Refuses applications that no builder can write."""
    fn = FNS.get(expr.fn)
    if fn is None:
        raise CompileError(f"{expr.fn!r} is not a scalar function of the loop IR")
    if len(expr.args) != fn.arity:
        raise CompileError(f"{expr.fn} takes {fn.arity} operands, got {len(expr.args)}")
    dtypes = [arg.dtype for arg in expr.args]
    for dtype in (*dtypes, expr.dtype):
        _plain(dtype, expr.fn)
    half = any(dtype.kind == "f" and dtype.itemsize == 2 for dtype in dtypes)
    if half and expr.fn not in ("cast", "select", "bitcast"):
        illegal(f"{expr.fn} on float16", "legalize")
    operand = dtypes[1] if expr.fn == "select" else dtypes[0]
    if operand.kind not in fn.kinds:
        raise CompileError(f"{expr.fn} does not take {operand}")
