"""Builds loop-IR statements: what lowerings of whole ops (scan, sort, product, scatter, check) are written with.

    def lower(nest, axis):                       # cumulative sum along the last axis of a matrix
        rows, cols = nest.shape(0)
        with nest.loop(rows, bind="parallel") as i:
            acc = nest.mut(const(0, F64))
            with nest.loop(cols) as j:
                nest.assign(acc, nest.s.add(acc, nest.read(0, i, j)))
                nest.write(0, (i, j), acc)

Operands and results are reached by index only; where their elements lie is the caller's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sparsec.ir.loops import (
    Alloc,
    Assign,
    Body,
    Buffer,
    Expr,
    Extern,
    Fail,
    For,
    If,
    Let,
    Load,
    Mut,
    Note,
    Stmt,
    Store,
    Var,
    While,
)
from sparsec.ir.scalar import S, ScalarBuilder, index
from sparsec.ir.types import I64, DType

Read = Callable[..., Expr]  # (*index) -> Expr
Address = Callable[..., Expr]  # (*index) -> flat element position


class NestBuilder:
    """Statements under construction. Names are `stem` + a counter, unique in one kernel.

    operands[k](*index) loads operand k; addresses give (buffer, flat position) for `Extern` calls and
    for stores to results; shapes are i64 expressions. finish: takes the place of stores to the one result.
    """

    def __init__(
        self,
        operands: Sequence[Read] = (),
        results: Sequence[tuple[str, Address, DType]] = (),
        operand_places: Sequence[tuple[str, Address, DType]] = (),
        operand_shapes: Sequence[tuple[Expr, ...]] = (),
        result_shapes: Sequence[tuple[Expr, ...]] = (),
        fail_code: Callable[[str, str], int] | None = None,
        finish: Callable[[Sequence[Expr], Expr], None] | None = None,
    ) -> None:
        self.s: ScalarBuilder = S
        self._operands, self._results = operands, results
        self._operand_places = operand_places
        self._operand_shapes, self._result_shapes = operand_shapes, result_shapes
        self._fail_code, self._finish = fail_code, finish
        self._stack: list[list[Stmt]] = [[]]
        self._count = 0

    # --- operands and results ---

    def shape(self, operand: int) -> tuple[Expr, ...]:
        return self._operand_shapes[operand]

    def result_shape(self, result: int = 0) -> tuple[Expr, ...]:
        return self._result_shapes[result]

    def read(self, operand: int, *at: Expr) -> Expr:
        """The element of an operand, bound to a name so that it is loaded once, here."""
        return self.let(self._operands[operand](*at))

    def read_result(self, result: int, *at: Expr) -> Expr:
        """The element of a result that this nest has already written."""
        buffer, address, dtype = self._results[result]
        return self.let(Load(buffer, address(*at), dtype))

    def write(self, result: int, at: Sequence[Expr], value: Expr) -> None:
        if self._finish is not None:
            self._finish(at, value)
            return
        buffer, address, _ = self._results[result]
        self.emit(Store(buffer, address(*at), value))

    def operand_place(self, operand: int, *at: Expr) -> tuple[str, Expr]:
        buffer, address, _ = self._operand_places[operand]
        return buffer, address(*at)

    def result_place(self, result: int, *at: Expr) -> tuple[str, Expr]:
        buffer, address, _ = self._results[result]
        return buffer, address(*at)

    def operand_count(self) -> int:
        return len(self._operands)

    def operand_stride(self, operand: int, axis: int) -> Expr:
        """Elements between neighbours along an axis, as an expression; whatever where the axis has one index."""
        return _stride(self._operand_places[operand][1], len(self.shape(operand)), axis)

    def result_stride(self, axis: int) -> Expr:
        """As `operand_stride`, of the first result."""
        return _stride(self._results[0][1], len(self.result_shape()), axis)

    def operand_dtype(self, operand: int) -> DType:
        return self._operand_places[operand][2]

    def result_dtype(self, result: int = 0) -> DType:
        return self._results[result][2]

    # --- statements ---

    def emit(self, stmt: Stmt) -> None:
        self._stack[-1].append(stmt)

    def name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}{self._count}"

    def let(self, value: Expr, stem: str = "t") -> Expr:
        """Binds a value; literals and names are returned as they are."""
        if not isinstance(value, Load) and not hasattr(value, "args"):
            return value
        bound = Var(self.name(stem), value.dtype)
        self.emit(Let(bound, value))
        return bound

    def mut(self, value: Expr, stem: str = "m") -> Var:
        cell = Var(self.name(stem), value.dtype)
        self.emit(Mut(cell, value))
        return cell

    def assign(self, cell: Var, value: Expr) -> None:
        self.emit(Assign(cell, value))

    @contextmanager
    def _body(self) -> Iterator[list[Stmt]]:
        self._stack.append([])
        try:
            yield self._stack[-1]
        finally:
            self._stack.pop()

    @contextmanager
    def loop(
        self, stop: Expr, start: Expr | None = None, step: int = 1, bind: str = "seq", stem: str = "i"
    ) -> Iterator[Var]:
        """`for i in start..stop step step`; "parallel" promises independent iterations."""
        counter = Var(self.name(stem), I64)
        with self._body() as body:
            yield counter
        self.emit(For(counter, start if start is not None else index(0), stop, step, tuple(body), bind))

    @contextmanager
    def loops(self, shape: Sequence[Expr], bind: str = "seq") -> Iterator[tuple[Var, ...]]:
        """A perfect nest over a shape, outermost axis first."""
        counters = tuple(Var(self.name("i"), I64) for _ in shape)
        with self._body() as body:
            yield counters
        inner: Body = tuple(body)
        for counter, stop in reversed(list(zip(counters, shape, strict=True))):
            inner = (For(counter, index(0), stop, 1, inner, bind),)
        for stmt in inner:
            self.emit(stmt)

    @contextmanager
    def while_(self, cond: Expr) -> Iterator[None]:
        """`cond` must read `mut` cells: it is evaluated anew before each turn."""
        with self._body() as body:
            yield
        self.emit(While(cond, tuple(body)))

    @contextmanager
    def if_(self, cond: Expr) -> Iterator[None]:
        with self._body() as body:
            yield
        self.emit(If(cond, tuple(body)))

    @contextmanager
    def else_(self) -> Iterator[None]:
        """The other branch of the `if_` just closed."""
        last = self._stack[-1].pop()
        assert isinstance(last, If) and not last.orelse
        with self._body() as body:
            yield
        self.emit(If(last.cond, last.then, tuple(body)))

    def fail(self, kind: str, message: str) -> None:
        """Stops the program with an error of `kind` ("index", "value", "overflow")."""
        assert self._fail_code is not None
        self.emit(Fail(self._fail_code(kind, message)))

    def note(self, flag: int) -> None:
        self.emit(Note(flag))

    def extern(
        self, name: str, buffers: Sequence[tuple[str, Expr]], args: Sequence[Expr], dtype: DType
    ) -> None:
        self.emit(Extern(name, tuple(buffers), tuple(args), dtype))

    # --- scratch memory ---

    def scratch(self, dtype: DType, size: int, stem: str = "scratch") -> str:
        """Private memory until the end of the enclosing body; small (it lives on the stack)."""
        buffer = Buffer(self.name(stem), dtype, size, "private", "rw", dtype.itemsize)
        self.emit(Alloc(buffer))
        return buffer.name

    def load(self, buffer: str, at: Expr, dtype: DType) -> Expr:
        return self.let(Load(buffer, at, dtype))

    def store(self, buffer: str, at: Expr, value: Expr) -> None:
        self.emit(Store(buffer, at, value))

    def done(self) -> Body:
        """The finished statements."""
        (body,) = self._stack
        return tuple(body)


def _stride(address: Address, rank: int, axis: int) -> Expr:
    """Addresses are linear in each index, so one step from the origin tells the stride."""
    zero = index(0)
    origin = address(*[zero] * rank)
    step = address(*[index(1) if k == axis else zero for k in range(rank)])
    return S.sub(step, origin)  # type: ignore[no-any-return]
