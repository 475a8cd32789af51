"""The meaning of the loop IR: a slow interpreter that does what a program says, one scalar at a time.

    status, flags = run(program, [x.view(np.uint8), y.view(np.uint8)])

Every scalar is a NumPy scalar of its exact dtype; integers wrap. What the IR leaves undefined (an element
out of bounds, a division by zero, a cast out of range, reading what was never written) is an
InterpreterError: a lowering that lets it happen is wrong even if a backend would get away with it.
"""

from __future__ import annotations

import math
import operator
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from sparsec.errors import InterpreterError
from sparsec.ir.abi import pointer_index
from sparsec.ir.block import fill
from sparsec.ir.loop_text import stmt_text
from sparsec.ir.loop_verify import verify_program
from sparsec.ir.loops import (
    INDEPENDENT,
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
    Kernel,
    Launch,
    Let,
    Load,
    Mut,
    Note,
    Prefetch,
    Program,
    Reserve,
    Slot,
    Stmt,
    Store,
    Var,
    While,
)
from sparsec.ir.types import F64, DType, dtype_name

__all__ = ["ORDERS", "apply_scalar", "run"]

Scalar = Any  # a NumPy scalar
Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Known = np.ndarray[Any, np.dtype[np.bool_]]

#: In which order the iterations of a loop run that claims not to care.
ORDERS: dict[str, Callable[[range], Sequence[int]]] = {
    "forward": lambda turns: turns,
    "reverse": lambda turns: turns[::-1],
    "shuffle": lambda turns: random.Random(len(turns)).sample(turns, len(turns)),
}


def run(
    program: Program, pointers: Sequence[Bytes], order: str = "forward", uninitialised: bool = False
) -> tuple[int, int]:
    """Runs `program` on the bytes of its parameters and results (in the order of `abi.pointer_slots`).

    Returns the status (0, or the code of the `Fail` that stopped it) and the flags of its `Note`s.
    `uninitialised` allows reads of scratch memory that was not written, as a copy of `np.empty` needs.
    """
    verify_program(program)
    machine = _Machine(program, ORDERS[order])
    frame = _Frame(buffers=_slots(program, pointers, uninitialised))
    pairs = [(frame.buffers[r.buffer], frame.buffers[r.kept]) for r in program.restores]
    for held, kept in pairs:
        kept.data[:] = held.data[: len(kept.data)]
    with np.errstate(all="ignore"):
        try:
            for _ in machine.body(program.body, frame):
                pass
        except _Stop as stop:
            for held, kept in pairs:
                held.data[: len(kept.data)] = kept.data
            return stop.code, machine.flags
    index = pointer_index(program)
    for name in (slot.buffer.name for slot in program.slots if slot.role == "made"):
        fill(pointers[index[name]], frame.buffers[name].data)
    return 0, machine.flags


# --- memory ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Memory:
    """A buffer and its bytes; `known` marks the bytes that were written, where that is watched."""

    buffer: Buffer
    data: Bytes
    known: Known | None = None

    def span(self, at: int, dtype: DType, access: str) -> slice:
        b, first = self.buffer, at * dtype.itemsize
        end = len(self.data) if b.size < 0 else b.size * b.dtype.itemsize
        if access not in b.access:
            raise InterpreterError(f"%{b.name} has access {b.access!r}")
        if not 0 <= first <= end - dtype.itemsize:
            shown = f"{end // dtype.itemsize} elements of {dtype_name(dtype)}"
            raise InterpreterError(f"element {at} of %{b.name} is out of bounds: it has {shown}")
        return slice(first, first + dtype.itemsize)

    def load(self, at: int, dtype: DType) -> Scalar:
        span = self.span(at, dtype, "r")
        if self.known is not None and not self.known[span].all():
            raise InterpreterError(f"element {at} of %{self.buffer.name} is read before it is written")
        raw = self.data[span].tobytes()  # a copy, so that alignment does not matter
        return np.bool_(raw != b"\0") if dtype.kind == "b" else np.frombuffer(raw, dtype)[0]

    def store(self, at: int, value: Scalar) -> None:
        span = self.span(at, value.dtype, "w")
        self.data[span] = np.frombuffer(value.tobytes(), np.uint8)
        if self.known is not None:
            self.known[span] = True

    def passed_as(self, param: Buffer) -> _Memory:
        return _Memory(param, self.data, self.known)


def _scratch(nbytes: int, uninitialised: bool = False) -> tuple[Bytes, Known | None]:
    """Memory full of garbage (as floats, small negative numbers)."""
    return np.full(nbytes, 0xA5, np.uint8), None if uninitialised else np.zeros(nbytes, np.bool_)


def _slots(program: Program, pointers: Sequence[Bytes], uninitialised: bool) -> dict[str, _Memory]:
    index = pointer_index(program)
    count = len(set(index.values()))
    if len(pointers) != count:
        raise InterpreterError(f"@{program.name} takes {count} pointers, got {len(pointers)}")
    arena, known = _scratch(program.arena_bytes, uninitialised)

    def memory(slot: Slot) -> _Memory:
        b = slot.buffer
        match slot.role:
            case "const":
                return _Memory(b, np.frombuffer(slot.data, np.uint8))
            case "arena":
                part = slice(slot.position, slot.position + b.size * b.dtype.itemsize)
                return _Memory(b, arena[part], known[part] if known is not None else None)
            case "heap" | "made":
                return _Memory(b, *_scratch(0, uninitialised))
        data = pointers[index[b.name]]
        if data.dtype != np.uint8 or data.ndim != 1 or len(data) < b.size * b.dtype.itemsize:
            raise InterpreterError(f"%{b.name} needs {b.size * b.dtype.itemsize} bytes, got {data.shape}")
        return _Memory(b, data)

    return {slot.buffer.name: memory(slot) for slot in program.slots}


# --- statements ------------------------------------------------------------------------------------------


class _Stop(Exception):
    """A `Fail`, on its way out of the program."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class _Frame:
    """What the names mean to one thread of execution."""

    names: dict[str, Scalar] = field(default_factory=dict)
    buffers: dict[str, _Memory] = field(default_factory=dict)

    def copy(self) -> _Frame:
        return _Frame(dict(self.names), dict(self.buffers))


class _Machine:
    """Bodies run as generators that pause at each barrier."""

    def __init__(self, program: Program, order: Callable[[range], Sequence[int]]) -> None:
        self.kernels = {k.name: k for k in program.kernels}
        self.order = order
        self.flags = 0

    def body(self, body: Body, frame: _Frame) -> Iterator[None]:
        for stmt in body:
            try:
                yield from self.stmt(stmt, frame)
            except InterpreterError as error:
                raise self.placed(error, stmt) from None

    def placed(self, error: InterpreterError, stmt: Stmt) -> InterpreterError:
        """The error with the innermost statement, or the kernel's name, added."""
        if not error.hint:
            return InterpreterError(error.message, hint=f"in `{stmt_text(stmt).splitlines()[0]}`")
        if isinstance(stmt, Launch):
            locs = self.kernels[stmt.kernel].locs
            loc = locs[0] if locs else None
            return InterpreterError(f"@{stmt.kernel}: {error.message}", loc=loc, hint=error.hint)
        return error

    def stmt(self, stmt: Stmt, frame: _Frame) -> Iterator[None]:
        match stmt:
            case Let(var, value) | Mut(var, value) | Assign(var, value):
                frame.names[var.name] = evaluate(value, frame)
            case Store(buffer, index, value):
                frame.buffers[buffer].store(int(evaluate(index, frame)), evaluate(value, frame))
            case For():
                yield from self.loop(stmt, frame)
            case While(cond, body):
                while evaluate(cond, frame):
                    yield from self.body(body, frame)
            case If(cond, then, orelse):
                yield from self.body(then if evaluate(cond, frame) else orelse, frame)
            case Alloc(buffer):
                frame.buffers[buffer.name] = _Memory(buffer, *_scratch(buffer.size * buffer.dtype.itemsize))
            case Barrier():
                yield
            case Fail(code):
                raise _Stop(code)
            case Note(flag):
                self.flags |= flag
            case Prefetch():
                pass
            case Extern(name, buffers, args, dtype):
                places = [(frame.buffers[b], int(evaluate(at, frame))) for b, at in buffers]
                _EXTERNS[name](places, [int(evaluate(a, frame)) for a in args], dtype)
            case Launch():
                self.launch(stmt, frame)
            case Reserve(buffer, nbytes, code):
                self.reserve(frame, buffer, int(evaluate(nbytes, frame)), code)

    def reserve(self, frame: _Frame, name: str, nbytes: int, code: int) -> None:
        memory = frame.buffers[name]
        if len(memory.data) < nbytes:
            try:
                frame.buffers[name] = _Memory(memory.buffer, *_scratch(nbytes, memory.known is None))
            except MemoryError:
                raise _Stop(code) from None

    def launch(self, stmt: Launch, frame: _Frame) -> None:
        kernel: Kernel = self.kernels[stmt.kernel]
        passed = zip(stmt.buffers, kernel.buffers)
        buffers = {param.name: frame.buffers[name].passed_as(param) for name, param in passed}
        names = {var.name: evaluate(value, frame) for var, value in zip(kernel.scalars, stmt.scalars)}
        for _ in self.body(kernel.body, _Frame(names, buffers)):
            pass

    def loop(self, loop: For, frame: _Frame) -> Iterator[None]:
        start, stop = (int(evaluate(bound, frame)) for bound in (loop.start, loop.stop))
        turns: Sequence[int] = range(start, stop, loop.step)
        if loop.bind in INDEPENDENT:
            turns = self.order(range(start, stop, loop.step))
        if loop.bind == "local":
            yield from self.together(loop, turns, frame)
            return
        for turn in turns:
            frame.names[loop.var.name] = np.int64(turn)
            yield from self.body(loop.body, frame)

    def together(self, loop: For, turns: Sequence[int], frame: _Frame) -> Iterator[None]:
        """Work-items: all run up to a barrier before one goes on."""
        items = []
        for turn in turns:
            own = frame.copy()
            own.names[loop.var.name] = np.int64(turn)
            items.append(self.body(loop.body, own))
        while items:
            waiting = [item for item in items if next(item, _DONE) is not _DONE]
            if waiting and len(waiting) < len(items):
                raise InterpreterError("a barrier that not all work-items reach")
            items = waiting
            if items:
                yield


_DONE = object()

# --- expressions -----------------------------------------------------------------------------------------


def evaluate(expr: Expr, frame: _Frame) -> Scalar:
    """The value of an expression; a part that occurs several times is computed once."""
    return _evaluate(expr, frame, {})


def _evaluate(expr: Expr, frame: _Frame, done: dict[int, Scalar]) -> Scalar:
    match expr:
        case Const(literal, dtype):
            return dtype.type(literal)
        case Var(name):
            return frame.names[name]
    value: Scalar = done.get(id(expr))
    if value is None:
        if isinstance(expr, Load):
            value = frame.buffers[expr.buffer].load(int(_evaluate(expr.index, frame, done)), expr.dtype)
        else:
            value = apply_scalar(expr, [_evaluate(arg, frame, done) for arg in expr.args])
        done[id(expr)] = value
    return value


def apply_scalar(expr: Apply, args: Sequence[Scalar]) -> Scalar:
    """A scalar function on NumPy scalars of its operands' dtypes (under `np.errstate(all="ignore")`)."""
    result = _FUNCTIONS[expr.fn](expr.dtype, *args)
    assert result.dtype == expr.dtype, expr.fn
    return result


def _plain(function: Callable[..., Scalar]) -> Callable[..., Scalar]:
    return lambda dtype, *args: function(*args)


def _division(part: int) -> Callable[..., Scalar]:
    """Truncating division: the quotient (0) or the remainder (1)."""

    def divide(dtype: DType, x: Scalar, y: Scalar) -> Scalar:
        a, b = int(x), int(y)
        if b == 0 or (b == -1 and a == np.iinfo(dtype).min):
            raise InterpreterError(f"{dtype_name(dtype)} division of {a} by {b}")
        quotient = abs(a) // abs(b) * (-1 if (a < 0) != (b < 0) else 1)
        return dtype.type((quotient, a - quotient * b)[part])

    return divide


def _shift(function: Callable[..., Scalar]) -> Callable[..., Scalar]:
    def shift(dtype: DType, x: Scalar, amount: Scalar) -> Scalar:
        if not 0 <= amount < 8 * dtype.itemsize:
            raise InterpreterError(f"{dtype_name(dtype)} shifted by {amount}")
        return function(x, amount)

    return shift


def _cast(dtype: DType, x: Scalar) -> Scalar:
    if dtype.kind == "b":
        return np.bool_(x != 0)
    if x.dtype.kind == "c" and dtype.kind != "c":
        x = x.real
    if dtype.kind in "iu" and x.dtype.kind == "f":
        # Infinities and NaN fail the comparison; the bounds are exact as Python integers.
        info = np.iinfo(dtype)
        if not (np.isfinite(x) and info.min <= int(x) <= info.max):
            raise InterpreterError(f"cast of {x} to {dtype_name(dtype)}")
    return x.astype(dtype)


def _complex(dtype: DType, re: Scalar, im: Scalar) -> Scalar:
    return np.array([re, im]).view(dtype)[0]


def _mul(dtype: DType, x: Any, y: Any) -> Any:
    """Complex products are spelled out: NumPy's own may round differently from one processor to another."""
    if dtype.kind != "c":
        return x * y
    parts = (x.real * y.real - x.imag * y.imag, x.real * y.imag + x.imag * y.real)
    return np.stack(parts, axis=-1).view(dtype)[..., 0]


_MATH = (
    "fmod", "sqrt", "floor", "ceil", "trunc", "rint", "copysign", "exp", "exp2", "expm1", "log", "log2",
    "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh",
    "atanh", "cbrt", "pow", "atan2", "hypot", "nextafter",
)  # fmt: skip
_NUMPY_NAMES = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh",
    "atanh": "arctanh", "pow": "power", "atan2": "arctan2",
}  # fmt: skip


def _fma(dtype: DType, x: Scalar, y: Scalar, z: Scalar) -> Scalar:
    """Exact up to the one rounding."""
    if x == 0 or y == 0 or not (np.isfinite(x) and np.isfinite(y)):
        return x * y + z
    if not np.isfinite(z):
        return z
    exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
    if exact == 0:
        return dtype.type(0)
    try:
        double = float(exact)
    except OverflowError:
        return dtype.type(np.copysign(np.inf, 1 if exact > 0 else -1))
    if dtype == F64:
        return np.copysign(np.float64(double), 1 if exact > 0 else -1)
    # Rounding to odd in float64 makes the second rounding, to float32, the only one that counts.
    if exact != Fraction(double) and not struct.unpack("<q", struct.pack("<d", double))[0] & 1:
        double = math.nextafter(double, math.inf if exact > Fraction(double) else -math.inf)
    return np.float64(double).astype(dtype)


_FUNCTIONS: dict[str, Callable[..., Scalar]] = {
    "fma": _fma,
    "add": _plain(operator.add),
    "sub": _plain(operator.sub),
    "mul": lambda dtype, x, y: _mul(dtype, x, y)[()],
    "div": _plain(operator.truediv),
    "quo": _division(0),
    "rem": _division(1),
    "neg": _plain(np.negative),
    "abs": _plain(np.absolute),
    "min": _plain(np.minimum),
    "max": _plain(np.maximum),
    "and": _plain(operator.and_),
    "or": _plain(operator.or_),
    "xor": _plain(operator.xor),
    "not": _plain(operator.invert),
    "shl": _shift(np.left_shift),
    "shr": _shift(np.right_shift),
    **{name: _plain(getattr(operator, name)) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    "select": lambda dtype, cond, x, y: x if cond else y,
    "cast": _cast,
    "bitcast": lambda dtype, x: x.view(dtype),
    "complex": _complex,
    "real": _plain(operator.attrgetter("real")),
    "imag": _plain(operator.attrgetter("imag")),
    **{name: _plain(getattr(np, _NUMPY_NAMES.get(name, name))) for name in _MATH},
}

# --- library calls ---------------------------------------------------------------------------------------


def _gemm(places: Sequence[tuple[_Memory, int]], args: Sequence[int], dtype: DType) -> None:
    """C[m,n] = A[m,k] @ B[k,n] with element strides; each sum goes over increasing p."""
    m, n, k, sc0, sc1, sa0, sa1, sb0, sb1 = args
    (c, c_first), (a, a_first), (b, b_first) = places
    left, right, total = (np.zeros(shape, dtype) for shape in ((m, k), (k, n), (m, n)))
    for i, p in np.ndindex(m, k):
        left[i, p] = a.load(a_first + i * sa0 + p * sa1, dtype)
    for p, j in np.ndindex(k, n):
        right[p, j] = b.load(b_first + p * sb0 + j * sb1, dtype)
    for p in range(k):
        total += _mul(dtype, left[:, p : p + 1], right[p : p + 1])
    for i, j in np.ndindex(m, n):
        c.store(c_first + i * sc0 + j * sc1, total[i, j])


_EXTERNS = {"gemm": _gemm}
