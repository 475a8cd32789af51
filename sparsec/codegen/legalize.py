"""Makes a program expressible on a target, so that a backend only prints.

    let z = %x[i] * %x[i]   ->   let re = %x[i * 2]
                                 let im = %x[i * 2 + 1]
                                 let z_re = re * re - im * im
                                 let z_im = re * im + im * re

Complex numbers become pairs of floats, in memory too: a buffer of n complex elements is one of 2n floats.
(An `Extern` keeps its complex dtype: it says what the library computes in, and its offsets count.) Library
calls become loops where there is no library; functions become arithmetic where the target wants our own
(`vector_math`); loop bindings that the target does not have become ones that it
has. What cannot be made legal is an error: a CompileError, or a DeviceError for a device without doubles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from sparsec.codegen.device_calls import without_calls
from sparsec.codegen.device_parts import trip_count
from sparsec.codegen.gemm import part_dtype
from sparsec.codegen.target import Target
from sparsec.codegen.vector_math import expand_math
from sparsec.errors import CompileError, DeviceError, SparsecError
from sparsec.ir.loop_rewrite import declared_names, map_body, nodes
from sparsec.ir.loop_text import expr_text, stmt_text
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
    For,
    If,
    Kernel,
    Launch,
    Let,
    Load,
    Mut,
    Program,
    Reserve,
    Stmt,
    Store,
    Var,
    While,
    exprs,
    walk_stmts,
)
from sparsec.ir.scalar import S, apply, const, index
from sparsec.ir.types import F64, DType, dtype_name

__all__ = ["check_legal", "legalize"]

_HALF_FNS = ("cast", "select", "bitcast")  # what may touch a float16: nothing that rounds twice


def legalize(program: Program, target: Target) -> Program:
    """The program such that `check_legal(program, target)` holds. Raises as `check_legal` does."""
    if not target.has_blas:
        program = without_calls(program)
    kernels = []
    for kernel in program.kernels:
        body = _own_math(_legal_body(kernel.body, kernel.scalars, target), kernel.scalars, target)
        kernels.append(replace(kernel, buffers=tuple(map(_real_buffer, kernel.buffers)), body=body))
    slots = tuple(replace(slot, buffer=_real_buffer(slot.buffer)) for slot in program.slots)
    host = _legal_body(program.body, (), target)
    program = replace(program, slots=slots, kernels=tuple(kernels), body=host)
    check_legal(program, target)
    return program


def _legal_body(body: Body, scalars: tuple[Var, ...], target: Target) -> Body:
    body = map_body(body, lambda stmt: (_clamp(stmt, target),))
    return _Pairs({*(v.name for v in scalars), *declared_names(body)}).body(body)


def _own_math(body: Body, scalars: tuple[Var, ...], target: Target) -> Body:
    """Functions as arithmetic that vector units have. In blocks, where vectors are made of loops."""
    if not target.own_math:
        return body
    taken = (*(v.name for v in scalars), *declared_names(body))
    return expand_math(body, taken, blocks=target.kind == "cpu")


def _clamp(stmt: Stmt, target: Target) -> Stmt:
    """A loop over work-items becomes an ordinary one where there are no work-groups, or none so large."""
    if not isinstance(stmt, For) or stmt.bind not in ("group", "local"):
        return stmt
    if stmt.bind == "group":
        return stmt if target.max_group else replace(stmt, bind="parallel")
    if _fits_a_group(stmt, target) or any(isinstance(inner, Barrier) for inner in walk_stmts(stmt.body)):
        return stmt
    return replace(stmt, bind="seq")


def _fits_a_group(loop: For, target: Target) -> bool:
    items = _items(loop)
    return items is not None and items <= target.max_group


def _items(loop: For) -> int | None:
    """Work-items of a local loop and the local loops in it; None if that is not known."""
    count = trip_count(loop)
    inner = [_items(s) for s in walk_stmts(loop.body) if isinstance(s, For) and s.bind == "local"]
    known = [n for n in inner if n is not None]
    if not isinstance(count, Const) or len(known) < len(inner):
        return None
    return int(count.value.real) * max(known, default=1)


# --- complex numbers as pairs ----------------------------------------------------------------------------


_WORDS = ("re", "im")


def _real_buffer(b: Buffer) -> Buffer:
    if b.dtype.kind != "c":
        return b
    return replace(b, dtype=part_dtype(b.dtype), size=2 * b.size if b.size >= 0 else b.size)


class _Pairs:
    """Rewrites bodies. `parts` gives one real expression, or two for a complex one.

    The parts of a complex operation are bound to names in front of the statement: they are used more than
    once, and a store of the first must not change what the second reads.
    """

    def __init__(self, taken: set[str]) -> None:
        self.taken = taken
        self.fixed: set[str] = set()  # names bound by `named`, which never change
        self.pairs: dict[str, tuple[Var, Var]] = {}
        self.before: list[Stmt] | None = []  # None: a condition that is evaluated again and again
        self.done: dict[int, tuple[Expr, ...]] = {}

    def body(self, body: Body) -> Body:
        return tuple(stmt for old in body for stmt in self.stmt(old))

    def stmt(self, stmt: Stmt) -> Iterator[Stmt]:
        before: list[Stmt] = []
        self.before, self.done = before, {}
        match stmt:
            case Let() | Mut() | Assign():
                after = list(self.bind(stmt))
            case Store():
                after = list(self.store(stmt))
            case For(start=start, stop=stop):
                stmt = replace(stmt, start=self.real(start), stop=self.real(stop))
                after = [replace(stmt, body=self.body(stmt.body))]
            case While(cond, body):
                self.before = None
                cond = self.real(cond)
                after = [While(cond, self.body(body))]
            case If(cond, then, orelse):
                cond = self.real(cond)
                after = [If(cond, self.body(then), self.body(orelse))]
            case Alloc(buffer):
                after = [Alloc(_real_buffer(buffer))]
            case Extern(buffers=buffers, args=args):
                places = tuple((name, self.real(offset)) for name, offset in buffers)
                after = [replace(stmt, buffers=places, args=tuple(map(self.real, args)))]
            case Launch(scalars=scalars):
                after = [replace(stmt, scalars=tuple(map(self.real, scalars)))]
            case Reserve(nbytes=nbytes):
                after = [replace(stmt, nbytes=self.real(nbytes))]
            case _:
                after = [stmt]
        yield from before
        yield from after

    def bind(self, stmt: Let | Mut | Assign) -> Iterator[Stmt]:
        var = stmt.var
        if var.dtype.kind != "c":
            yield replace(stmt, value=self.real(stmt.value))
            return
        values = self.split(stmt.value, f"{var.name}_" if isinstance(stmt, Let) else "")
        if isinstance(stmt, Assign):
            # `z = complex(imag(z), real(z))` reads both parts before it writes either.
            own = self.pairs[var.name]
            values = tuple(self.named(value, word, own) for value, word in zip(values, _WORDS))
        else:
            dtype = part_dtype(var.dtype)
            re, im = (
                value if isinstance(stmt, Let) and isinstance(value, Var) and value.name in self.fixed
                else self.fresh(f"{var.name}_{word}", dtype)
                for value, word in zip(values, _WORDS)
            )  # fmt: skip
            self.pairs[var.name] = re, im
        for part, value in zip(self.pairs[var.name], values):
            if part is not value:
                yield replace(stmt, var=part, value=value)

    def store(self, stmt: Store) -> Iterator[Stmt]:
        at, parts = self.real(stmt.index), self.parts(stmt.value)
        if len(parts) == 1:
            yield Store(stmt.buffer, at, parts[0])
            return
        for place, value in zip(_places(at), parts):
            yield Store(stmt.buffer, place, value)

    # --- names ---

    def fresh(self, stem: str, dtype: DType) -> Var:
        name, count = stem, 1
        while name in self.taken:
            name, count = f"{stem}{count}", count + 1
        self.taken.add(name)
        return Var(name, dtype)

    def named(self, value: Expr, stem: str, changing: tuple[Var, ...] = ()) -> Expr:
        """The value, bound to a name in front of the statement unless it is a literal or has a name (of
        which those in `changing` do not count)."""
        if isinstance(value, Const) or self.before is None:
            return value
        if isinstance(value, Var) and value not in changing:
            return value
        var = self.fresh(stem, value.dtype)
        self.fixed.add(var.name)
        self.before.append(Let(var, value))
        return var

    # --- expressions ---

    def real(self, expr: Expr) -> Expr:
        (part,) = self.parts(expr)
        return part

    def parts(self, expr: Expr) -> tuple[Expr, ...]:
        found = self.done.get(id(expr))
        if found is None:
            found = self.done[id(expr)] = self.split(expr)
        return found

    def split(self, expr: Expr, prefix: str = "") -> tuple[Expr, ...]:
        dtype = expr.dtype
        if dtype.kind != "c":
            return (self.one(expr),)
        part = part_dtype(dtype)
        match expr:
            case Const(value):
                return Const(complex(value).real, part), Const(complex(value).imag, part)
            case Var(name):
                return self.pairs[name]
            case Load(buffer, at):
                values: Iterable[Expr] = [Load(buffer, place, part) for place in _places(self.real(at))]
            case Apply(fn, args):
                values = self.compute(fn, [self.parts(arg) for arg in args], part)
        re, im = values
        return self.named(re, f"{prefix}re"), self.named(im, f"{prefix}im")

    def one(self, expr: Expr) -> Expr:
        """A real expression, whose operands may be complex."""
        match expr:
            case Load(index=at):
                place = self.real(at)
                return expr if place is at else replace(expr, index=place)
            case Apply(fn, args, dtype):
                parts = [self.parts(arg) for arg in args]
                if any(len(p) == 2 for p in parts):
                    return _from_complex(fn, parts, dtype)
                real = tuple(p[0] for p in parts)
                return expr if all(a is b for a, b in zip(args, real)) else replace(expr, args=real)
        return expr

    def compute(self, fn: str, args: list[tuple[Expr, ...]], part: DType) -> Iterable[Expr]:
        """The parts of a complex result."""
        match fn, args:
            case ("add" | "sub" | "neg"), _:
                return [apply(fn, *pair) for pair in zip(*args)]
            case "mul", [(a, b), (c, d)]:
                return S.sub(S.mul(a, c), S.mul(b, d)), S.add(S.mul(a, d), S.mul(b, c))
            case "select", [(cond,), x, y]:
                return [S.select(cond, p, q) for p, q in zip(x, y)]
            case "cast", [(x,)]:
                return S.cast(x, part), const(0.0, part)
            case "cast", [(re, im)]:
                return S.cast(re, part), S.cast(im, part)
            case "complex", [(re,), (im,)]:
                return re, im
        raise CompileError(f"{fn} on complex numbers reached legalize")


def _places(at: Expr) -> tuple[Expr, Expr]:
    first = S.mul(at, index(2))
    return first, S.add(first, index(1))


def _from_complex(fn: str, args: list[tuple[Expr, ...]], dtype: DType) -> Expr:
    """A real result of complex operands."""
    match fn, args:
        case "real", [(re, _)]:
            return re
        case "imag", [(_, im)]:
            return im
        case "eq", [(a, b), (c, d)]:
            return apply("and", S.eq(a, c), S.eq(b, d))
        case "ne", [(a, b), (c, d)]:
            return apply("or", S.ne(a, c), S.ne(b, d))
        case "cast", [(re, im)] if dtype.kind == "b":
            return apply("or", S.ne(re, const(0.0, re.dtype)), S.ne(im, const(0.0, im.dtype)))
        case "cast", [(re, _)]:
            return S.cast(re, dtype)
    raise CompileError(f"{fn} on complex numbers reached legalize")


# --- the predicate ---------------------------------------------------------------------------------------


def check_legal(program: Program, target: Target) -> None:
    """LEGAL(target): raises CompileError for what the backend cannot print, DeviceError (with the user's
    line) for what the device cannot do."""
    for slot in program.slots:
        _check_dtype(slot.buffer.dtype, f"slot %{slot.buffer.name}")
    for kernel in program.kernels:
        for buffer in kernel.buffers:
            _check_dtype(buffer.dtype, f"%{buffer.name} of @{kernel.name}")
        _check_body(kernel.body, target, f"@{kernel.name}")
        if not target.fp64:
            _check_no_doubles(kernel, target)
    _check_body(program.body, target, "the host body")


def _check_body(body: Body, target: Target, where: str) -> None:
    for stmt in walk_stmts(body):
        match stmt:
            case Extern(name=name) if not target.has_blas:
                raise _illegal(f"{target.name} has no library function {name}", where, stmt_text(stmt))
            case For(bind="group" | "local" as bind) if not target.max_group:
                raise _illegal(f"{target.name} has no work-groups to bind a {bind} loop to", where)
            case For(bind="local") if not _fits_a_group(stmt, target):
                raise _illegal(f"a group of {target.name} has at most {target.max_group} work-items", where)
            case Barrier() if not target.max_group:
                raise _illegal(f"{target.name} has no work-groups, so no barrier", where)
            case Alloc(buffer):
                _check_dtype(buffer.dtype, f"%{buffer.name} in {where}")
        for expr in exprs(stmt):
            _check_expr(expr, where)


def _check_expr(expr: Expr, where: str) -> None:
    for node in nodes(expr):
        _check_dtype(node.dtype, where)
        if not isinstance(node, Apply) or node.fn in _HALF_FNS:
            continue
        if any(_is_half(dtype) for dtype in (node.dtype, *(arg.dtype for arg in node.args))):
            raise _illegal("arithmetic on float16", where, expr_text(node))


def _is_half(dtype: DType) -> bool:
    return dtype.kind == "f" and dtype.itemsize == 2


def _check_dtype(dtype: DType, where: str) -> None:
    if dtype.kind == "c":
        raise _illegal(f"a value of {dtype_name(dtype)}", where)


def _illegal(what: str, where: str, text: str = "") -> SparsecError:
    return CompileError(f"{what} ({where})", hint=f"in `{text}`" if text else "")


def _check_no_doubles(kernel: Kernel, target: Target) -> None:
    declared = [b for b in kernel.buffers if b.dtype == F64]
    if not declared and not _any_node(kernel.body, lambda node: node.dtype == F64):
        return
    raise DeviceError(
        f"float64 is needed here, and {target.name} has none",
        loc=kernel.locs[0] if kernel.locs else None,
        hint="compute in float32 (`x.astype(np.float32)`), or use another device",
    )


def _any_node(body: Body, test: Callable[[Expr], bool]) -> bool:
    return any(test(node) for stmt in walk_stmts(body) for expr in exprs(stmt) for node in nodes(expr))
