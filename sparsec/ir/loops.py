"""The loop IR: what both backends are generated from. The whole language is on this page.

    kernel @f_0(%x: global f32[32] r, %y: global f32[32] w) {
      for i in 0..8 bind(parallel) {
        let a = %x[i * 4 + 1]
        %y[i] = exp(a)
      }
    }

expr  ::= Const | Var | Load | Apply          Apply names a scalar function of `scalar.py`
stmt  ::= Let | Mut | Assign | Store | For | While | If | Alloc | Barrier | Fail | Note | Prefetch | Extern | Launch
            | Reserve

Buffers are flat; an index counts elements of the dtype that is loaded or stored. Index arithmetic is i64.
Integers wrap. Nothing is implied: NaN rules, division by zero and index checks are spelled out by the ops'
lowerings, so a backend only prints. A `Program` launches kernels in order from a host body that is written
in the same statements.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from sparsec.errors import Loc
from sparsec.ir.types import DType

# --- expressions -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Const:
    """A scalar literal; bool, int, float or complex, held exactly as the dtype would.

    Constants are equal if their bits are: a NaN equals itself, 0.0 and -0.0 differ.
    """

    value: bool | int | float | complex
    dtype: DType

    def _bits(self) -> tuple[type, bool | int | bytes]:
        match self.value:
            case float(x):
                return float, struct.pack("<d", x)
            case complex(real=re, imag=im):
                return complex, struct.pack("<dd", re, im)
            case x:
                return type(x), x

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Const):
            return NotImplemented
        return self.dtype == other.dtype and self._bits() == other._bits()

    def __hash__(self) -> int:
        return hash((self.dtype, self._bits()))


@dataclass(frozen=True, slots=True)
class Var:
    """A loop variable, a `Let` or a `Mut`."""

    name: str
    dtype: DType


@dataclass(frozen=True, slots=True)
class Load:
    """Element `index` of a buffer, seen as an array of `dtype`."""

    buffer: str
    index: Expr
    dtype: DType


@dataclass(frozen=True, slots=True)
class Apply:
    """A scalar function: `add`, `select`, `cast`, `exp`, …; `dtype` is the result's."""

    fn: str
    args: tuple[Expr, ...]
    dtype: DType


Expr: TypeAlias = Const | Var | Load | Apply

# --- statements ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Let:
    """Binds a name once."""

    var: Var
    value: Expr


@dataclass(frozen=True, slots=True)
class Mut:
    """Declares a scalar that `Assign` may change (an accumulator)."""

    var: Var
    value: Expr


@dataclass(frozen=True, slots=True)
class Assign:
    """Gives a `Mut` its next value."""

    var: Var
    value: Expr


@dataclass(frozen=True, slots=True)
class Store:
    """The value's dtype is the dtype that the buffer is seen as."""

    buffer: str
    index: Expr
    value: Expr


#: What a loop's iterations become. Those of "vector" are lanes of vectors where their number is known and they can go
#: in lockstep.
BINDINGS = ("seq", "parallel", "vector", "unroll", "group", "local")
#: Bindings that promise that the iterations may run in any order.
INDEPENDENT = ("parallel", "vector", "group", "local")


@dataclass(frozen=True, slots=True)
class For:
    """`for var in start..stop step step`; a negative step runs down to, not including, `stop`."""

    var: Var
    start: Expr
    stop: Expr
    step: int
    body: Body
    bind: str = "seq"


@dataclass(frozen=True, slots=True)
class While:
    """Runs `body` while `cond`, which is evaluated before each turn."""

    cond: Expr
    body: Body


@dataclass(frozen=True, slots=True)
class If:
    """Runs one of two bodies."""

    cond: Expr
    then: Body
    orelse: Body = ()


#: Where memory lives: "global" is passed in; "local" is shared by a work-group; "private" is a thread's.
SPACES = ("global", "local", "private")


@dataclass(frozen=True, slots=True)
class Buffer:
    """`access` is "r", "w" or "rw"; `align` in bytes is what may be assumed of the address."""

    name: str
    dtype: DType
    size: int  # elements; -1: not known at compile time
    space: str = "global"
    access: str = "rw"
    align: int = 1


@dataclass(frozen=True, slots=True)
class Alloc:
    """Scratch memory of known size until the end of the enclosing body."""

    buffer: Buffer


@dataclass(frozen=True, slots=True)
class Barrier:
    """All work-items of a group arrive before one goes on."""


@dataclass(frozen=True, slots=True)
class Fail:
    """Puts `code` (> 0) into the status word and leaves the kernel; the program stops after it."""

    code: int


@dataclass(frozen=True, slots=True)
class Note:
    """Ors `flag` into the warning word and goes on (an integer division by zero)."""

    flag: int


@dataclass(frozen=True, slots=True)
class Prefetch:
    """Asks for an element that will be read: caches may bring its line. No value depends on it, and the position may
    lie outside of the buffer."""

    buffer: str
    index: Expr


@dataclass(frozen=True, slots=True)
class Extern:
    """A call into a library: a name that the runtime knows (`gemm`), buffers with offsets, scalars."""

    name: str
    buffers: tuple[tuple[str, Expr], ...]
    args: tuple[Expr, ...]
    dtype: DType


Stmt: TypeAlias = (
    "Let | Mut | Assign | Store | For | While | If | Alloc | Barrier | Fail | Note | Prefetch | Extern | Launch | "
    "Reserve"
)
Body: TypeAlias = tuple["Stmt", ...]

# --- kernels and programs --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kernel:
    """One launch: distinct buffers never overlap; `scalars` are read-only i64 arguments.

    `locs` are the user's lines that it computes, for `explain` and profiles.
    """

    name: str
    buffers: tuple[Buffer, ...]
    scalars: tuple[Var, ...]
    body: Body
    locs: tuple[Loc, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Launch:
    """Host statement: run a kernel on these program buffers (same order as its parameters)."""

    kernel: str
    buffers: tuple[str, ...]
    scalars: tuple[Expr, ...] = ()


@dataclass(frozen=True, slots=True)
class Reserve:
    """Host statement: lets a "heap" or "made" buffer hold so many bytes. What it held is lost if it has to grow;
    if it cannot, the program stops with failure `code`."""

    buffer: str
    nbytes: Expr
    code: int


@dataclass(frozen=True, slots=True)
class Slot:
    """A buffer of the program. `role`: "param" or "result" (`position` among the program's pointers),
    "arena" (`position` is the byte offset), "const" (`data` holds the bytes), "heap" (`position` among the
    memory that `Reserve` makes while the program runs), "made" (a result that `Reserve` makes).

    columns: of a parameter that nobody ever writes to ("constant"), the length of its rows; 0: it is none. block:
    what the program gets is not the parameter but its rows in blocks of so many, in each of which they are the
    innermost axis: element (r, c) at `r // block * block * columns + c * block + r % block`; the last block is filled
    up with zeros. 0: the parameter itself."""

    buffer: Buffer
    role: str
    position: int
    data: bytes = b""
    columns: int = 0
    block: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """What the status code of a `Fail` means to the user."""

    kind: str  # "index": IndexOutOfRange; "value": ShapeError; "overflow": ValueOverflow, …
    message: str
    loc: Loc | None = None


@dataclass(frozen=True, slots=True)
class Restore:
    """What parameter `buffer` holds is kept in arena buffer `kept` before the program begins, and put back if it
    stops with a failure."""

    buffer: str
    kept: str


@dataclass(frozen=True, slots=True)
class Program:
    """Kernels, the buffers between them, and the host body (`Launch`, loops, branches)."""

    name: str
    slots: tuple[Slot, ...]
    kernels: tuple[Kernel, ...]
    body: Body
    arena_bytes: int = 0
    failures: tuple[Failure, ...] = ()  # `Fail(code)` means `failures[code - 1]`
    restores: tuple[Restore, ...] = ()


def children(stmt: Stmt) -> tuple[Body, ...]:
    """The bodies inside a statement."""
    match stmt:
        case For(body=body) | While(body=body):
            return (body,)
        case If(then=then, orelse=orelse):
            return (then, orelse)
    return ()


def walk_stmts(body: Body) -> Iterator[Stmt]:
    """All statements, nested ones after their parent."""
    for stmt in body:
        yield stmt
        for inner in children(stmt):
            yield from walk_stmts(inner)


def exprs(stmt: Stmt) -> tuple[Expr, ...]:
    """The expressions that a statement evaluates itself (not those of its bodies)."""
    match stmt:
        case Let(value=value) | Mut(value=value) | Assign(value=value):
            return (value,)
        case Store(index=index, value=value):
            return (index, value)
        case Prefetch(index=index):
            return (index,)
        case For(start=start, stop=stop):
            return (start, stop)
        case While(cond=cond) | If(cond=cond):
            return (cond,)
        case Extern(buffers=buffers, args=args):
            return (*(offset for _, offset in buffers), *args)
        case Launch(scalars=scalars):
            return scalars
        case Reserve(nbytes=nbytes):
            return (nbytes,)
    return ()


def operands(expr: Expr) -> tuple[Expr, ...]:
    """The expressions that an expression is made of."""
    if isinstance(expr, Apply):
        return expr.args
    return (expr.index,) if isinstance(expr, Load) else ()


def scratch_bytes(kernel: Kernel) -> int:
    """Bytes of memory of its own that a kernel has on the stack."""
    buffers = (stmt.buffer for stmt in walk_stmts(kernel.body) if isinstance(stmt, Alloc))
    return sum(buffer.size * buffer.dtype.itemsize for buffer in buffers)
