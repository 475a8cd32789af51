"""Checks that a kernel or program follows the rules of the loop IR; the error shows the statement.

What is checked is what every reader of loops relies on: names are defined once before they are used, dtypes
fit the table of scalar functions, buffers are declared and used as their access says, iterations that are
said to be independent assign nothing from outside, and a launch passes what the kernel takes. Whether an
index stays inside its buffer is for the interpreter to find.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from sparsec.errors import VerifyError
from sparsec.ir.lexer import MAX_NESTING
from sparsec.ir.loop_text import stmt_text
from sparsec.ir.loops import (
    BINDINGS,
    INDEPENDENT,
    SPACES,
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
    operands,
)
from sparsec.ir.scalar import FNS, const, result_dtype
from sparsec.ir.types import BOOL, I64, DType, dtype_name, is_supported

__all__ = ["EXTERNS", "verify_kernel", "verify_program"]

#: Library calls: number of buffers (the first is written, the others are read), of scalars, and the dtypes.
EXTERNS = {"gemm": (3, 9, ("f32", "f64", "c64", "c128"))}

ROLES = ("param", "result", "arena", "const", "heap", "made")


def verify_program(program: Program) -> None:
    """Raises VerifyError for the first broken rule, naming the kernel and the statement."""
    _unique("kernel", (k.name for k in program.kernels), f"program @{program.name}")
    _unique("slot", (s.buffer.name for s in program.slots), f"program @{program.name}")
    for slot in program.slots:
        _check_slot(slot, program.arena_bytes)
    for kernel in program.kernels:
        verify_kernel(kernel, len(program.failures))
    _check_restores(program)
    buffers = [s.buffer for s in program.slots]
    _Checker(f"program @{program.name}", buffers, (), len(program.failures), program).run(program.body)


def _check_restores(program: Program) -> None:
    slots = {slot.buffer.name: slot for slot in program.slots}
    for restore in program.restores:
        here, kept = slots.get(restore.buffer), slots.get(restore.kept)
        if here is None or here.role != "param" or here.buffer.size < 0:
            raise VerifyError(f"program @{program.name}: %{restore.buffer} is no parameter of known size to restore")
        sizes = [(s.buffer.dtype, s.buffer.size) for s in (here, kept) if s is not None]
        if kept is None or kept.role != "arena" or sizes[0] != sizes[1]:
            raise VerifyError(f"program @{program.name}: %{restore.kept} in the arena cannot keep %{restore.buffer}")


def verify_kernel(kernel: Kernel, failures: int | None = None) -> None:
    """Raises VerifyError for the first broken rule. `failures`: how many codes `Fail` may name."""
    where = f"kernel @{kernel.name}"
    _unique("buffer", (b.name for b in kernel.buffers), where)
    _unique("scalar", (v.name for v in kernel.scalars), where)
    for buffer in kernel.buffers:
        _check_buffer(buffer, where)
        if buffer.space == "private":
            raise VerifyError(f"{where}: %{buffer.name} is passed in, so it cannot be private")
    for var in kernel.scalars:
        if var.dtype != I64:
            raise VerifyError(f"{where}: scalar {var.name} is {var.dtype}, not i64")
    _Checker(where, kernel.buffers, kernel.scalars, failures, None).run(kernel.body)


def _unique(what: str, names: Iterable[str], where: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise VerifyError(f"{where}: {what} {name} is declared twice")
        seen.add(name)


def _check_buffer(b: Buffer, where: str) -> None:
    for holds, message in (
        (is_supported(b.dtype), f"dtype {b.dtype}"),
        (b.size >= -1, f"size {b.size}"),
        (b.space in SPACES, f"space {b.space!r}"),
        (b.access in ("r", "w", "rw"), f"access {b.access!r}"),
        (b.align >= 1 and b.align & (b.align - 1) == 0, f"alignment {b.align}"),
    ):
        if not holds:
            raise VerifyError(f"{where}: %{b.name} has the impossible {message}")


def _check_slot(slot: Slot, arena_bytes: int) -> None:
    b, where = slot.buffer, f"slot %{slot.buffer.name}"
    _check_buffer(b, where)
    nbytes = b.size * b.dtype.itemsize
    match slot.role:
        case "const" if b.access != "r" or len(slot.data) != nbytes:
            raise VerifyError(f"{where}: a constant is read-only and has {nbytes} bytes of data")
        case "arena" if b.size < 0 or not 0 <= slot.position <= arena_bytes - nbytes:
            raise VerifyError(f"{where}: outside the arena of {arena_bytes} bytes")
        case "heap" | "made" if b.size != -1:
            raise VerifyError(f"{where}: only the program can tell the size of what it reserves")
        case "arena" if slot.position % b.align:
            raise VerifyError(f"{where}: position {slot.position} is not aligned to {b.align}")
        case role if role not in ROLES or slot.position < 0:
            raise VerifyError(f"{where}: there is no {role!r} {slot.position}")
        case role if (slot.columns or slot.block) and (role != "param" or slot.columns < 1 or slot.block < 0):
            raise VerifyError(f"{where}: only constant parameters have rows that are packed")


@dataclass(frozen=True, slots=True)
class _Name:
    dtype: DType
    level: int = -1  # of a Mut: how many independent loops it stands in


class _Checker:
    """Walks one body with what is in scope."""

    def __init__(
        self, where: str, buffers: Iterable[Buffer], scalars: Iterable[Var], failures: int | None,
        program: Program | None,
    ) -> None:  # fmt: skip
        self.where, self.failures, self.program = where, failures, program
        self.names = ChainMap({v.name: _Name(v.dtype) for v in scalars})
        self.buffers = ChainMap({b.name: b for b in buffers})
        self.stmt: Stmt | None = None
        self.depth = 0  # bodies around the statement
        self.level = 0  # independent loops around the statement

    def fail(self, message: str) -> NoReturn:
        head = stmt_text(self.stmt).splitlines()[0] if self.stmt is not None else ""
        raise VerifyError(f"{self.where}: {message}\n    {head}")

    def run(self, body: Body) -> None:
        outer = self.names, self.buffers
        self.names, self.buffers = self.names.new_child(), self.buffers.new_child()
        self.depth += 1
        if self.depth >= MAX_NESTING:
            raise VerifyError(f"{self.where}: bodies are nested deeper than {MAX_NESTING}")
        for stmt in body:
            self.check(stmt)
        self.depth -= 1
        self.names, self.buffers = outer

    # --- statements --------------------------------------------------------------------------------------

    def check(self, stmt: Stmt) -> None:
        self.stmt = stmt
        match stmt:
            case Let(var, value) | Mut(var, value):
                if self.expr(value) != var.dtype:
                    self.fail(f"{var.name} is {var.dtype}, its value {value.dtype}")
                self.define(var, self.level if isinstance(stmt, Mut) else -1)
            case Assign(var, value):
                self.assign(var, self.expr(value))
            case Store(buffer, index, value):
                self.place(buffer, index, "w")
                self.expr(value)
            case Prefetch(buffer, index):
                self.place(buffer, index, "r")
            case For():
                self.loop(stmt)
            case While(cond, body):
                self.condition(cond)
                self.run(body)
            case If(cond, then, orelse):
                self.condition(cond)
                self.run(then)
                self.run(orelse)
            case Alloc(buffer):
                self.alloc(buffer)
            case Barrier():
                if self.program is not None:
                    self.fail("a barrier outside a kernel")
            case Fail(code):
                self.failure(code)
            case Note(flag):
                if not 0 < flag < 1 << 31:
                    self.fail(f"{flag} is not a flag")
            case Extern():
                self.extern(stmt)
            case Launch():
                self.launch(stmt)
            case Reserve():
                self.reserve(stmt)
            case _:
                raise VerifyError(f"{self.where}: {stmt!r} is not a statement")

    def failure(self, code: int) -> None:
        if code < 1 or (self.failures is not None and code > self.failures):
            self.fail(f"no failure has the code {code}")

    def reserve(self, stmt: Reserve) -> None:
        slots = self.program.slots if self.program is not None else ()
        if not any(s.role in ("heap", "made") and s.buffer.name == stmt.buffer for s in slots):
            self.fail(f"%{stmt.buffer} is not memory that can be reserved here")
        self.index(stmt.nbytes)
        self.failure(stmt.code)

    def define(self, var: Var, level: int = -1) -> None:
        if var.name in self.names:
            self.fail(f"{var.name} is already defined here")
        self.names[var.name] = _Name(var.dtype, level)

    def assign(self, var: Var, dtype: DType) -> None:
        name = self.names.get(var.name)
        if name is None or name.level < 0:
            self.fail(f"{var.name} is not a `mut` variable")
        if name.level != self.level:
            self.fail(f"{var.name} is assigned in a loop whose iterations are said to be independent")
        if not name.dtype == var.dtype == dtype:
            self.fail(f"{var.name} is {name.dtype}, its value {dtype}")

    def loop(self, loop: For) -> None:
        for bound in (loop.start, loop.stop):
            self.index(bound)
        if loop.var.dtype != I64:
            self.fail(f"the loop variable is {loop.var.dtype}, not i64")
        if loop.step == 0:
            self.fail("the step is 0")
        if loop.bind not in BINDINGS:
            self.fail(f"no binding is called {loop.bind!r}")
        outer = self.names
        self.names = self.names.new_child()
        self.define(loop.var)
        independent = loop.bind in INDEPENDENT
        self.level += independent
        self.run(loop.body)
        self.level -= independent
        self.names = outer

    def alloc(self, buffer: Buffer) -> None:
        _check_buffer(buffer, self.where)
        if buffer.name in self.buffers:
            self.fail(f"%{buffer.name} is already declared here")
        if buffer.space == "global" or buffer.size < 0:
            self.fail("scratch memory is local or private, and its size is known")
        self.buffers[buffer.name] = buffer

    def condition(self, cond: Expr) -> None:
        if self.expr(cond) != BOOL:
            self.fail(f"the condition is {cond.dtype}, not bool")

    def extern(self, stmt: Extern) -> None:
        if stmt.name not in EXTERNS:
            self.fail(f"no library function is called {stmt.name!r}")
        buffers, args, dtypes = EXTERNS[stmt.name]
        if (len(stmt.buffers), len(stmt.args)) != (buffers, args):
            self.fail(f"{stmt.name} takes {buffers} buffers and {args} scalars")
        if dtype_name(stmt.dtype) not in dtypes:
            self.fail(f"{stmt.name} takes {', '.join(dtypes)}")
        for k, (buffer, offset) in enumerate(stmt.buffers):
            self.place(buffer, offset, "r" if k else "w")
        for arg in stmt.args:
            self.index(arg)

    def launch(self, stmt: Launch) -> None:
        kernels = {k.name: k for k in self.program.kernels} if self.program else {}
        kernel = kernels.get(stmt.kernel)
        if kernel is None:
            self.fail(f"there is no kernel @{stmt.kernel} to launch here")
        if (len(stmt.buffers), len(stmt.scalars)) != (len(kernel.buffers), len(kernel.scalars)):
            self.fail(f"@{kernel.name} takes {len(kernel.buffers)} buffers and {len(kernel.scalars)} scalars")
        for scalar in stmt.scalars:
            self.index(scalar)
        for name, param in zip(stmt.buffers, kernel.buffers):
            self.passed(name, param)
        self.disjoint(stmt, kernel)

    def passed(self, name: str, param: Buffer) -> None:
        buffer = self.buffers.get(name)
        if buffer is None:
            self.fail(f"%{name} is not declared")
        if not set(param.access) <= set(buffer.access):
            self.fail(f"%{name} is {buffer.access}, but the kernel's %{param.name} is {param.access}")
        if param.align > buffer.align:
            self.fail(f"%{name} is aligned to {buffer.align}, the kernel's %{param.name} to {param.align}")
        if 0 <= buffer.size * buffer.dtype.itemsize < param.size * param.dtype.itemsize:
            self.fail(f"%{name} is smaller than the kernel's %{param.name}")

    def disjoint(self, stmt: Launch, kernel: Kernel) -> None:
        """Distinct buffers of a kernel never overlap, unless all it does is read them."""
        assert self.program is not None
        slots = {s.buffer.name: s for s in self.program.slots}
        passed = [(slots[n], p) for n, p in zip(stmt.buffers, kernel.buffers) if n in slots]
        for k, (slot, param) in enumerate(passed):
            for other, other_param in passed[:k]:
                if "w" in param.access + other_param.access and _share_memory(slot, other):
                    self.fail(f"%{param.name} and %{other_param.name} of the kernel would overlap")

    # --- expressions -------------------------------------------------------------------------------------

    def place(self, name: str, index: Expr, access: str) -> None:
        self.index(index)
        self.reach(name, access)

    def reach(self, name: str, access: str) -> None:
        buffer = self.buffers.get(name)
        if buffer is None:
            self.fail(f"%{name} is not declared")
        if access not in buffer.access:
            verb = "written" if access == "w" else "read"
            self.fail(f"%{name} is {verb}, but its access is {buffer.access!r}")

    def index(self, expr: Expr) -> None:
        if self.expr(expr) != I64:
            self.fail(f"an index or scalar argument is {expr.dtype}, not i64")

    def expr(self, expr: Expr) -> DType:
        """Checks each distinct node once, operands first; returns the dtype."""
        height: dict[int, int] = {}
        stack: list[tuple[Expr, bool]] = [(expr, False)]
        while stack:
            node, ready = stack.pop()
            if id(node) in height:
                continue
            inner = operands(node)
            if not ready and inner:
                stack.append((node, True))
                stack.extend((x, False) for x in reversed(inner))
                continue
            height[id(node)] = 1 + max((height[id(x)] for x in inner), default=0)
            # Each level may cost a reader of the text two: the operation and its parentheses.
            if 2 * height[id(node)] + self.depth > MAX_NESTING:
                kind = type(self.stmt).__name__  # printing the statement would recurse as deeply
                raise VerifyError(f"{self.where}: a {kind} holds too deep an expression: bind parts of it")
            self.node(node)
        return expr.dtype

    def node(self, expr: Expr) -> None:
        match expr:
            case Const(value, dtype):
                if not is_supported(dtype) or const(value, dtype) != expr:
                    self.fail(f"{value!r} is not held exactly as {dtype} would")
            case Var(name, dtype):
                known = self.names.get(name)
                if known is None:
                    self.fail(f"{name} is not defined here")
                if known.dtype != dtype:
                    self.fail(f"{name} is {known.dtype}, used as {dtype}")
            case Load(buffer, index):
                if index.dtype != I64:
                    self.fail(f"the index of %{buffer} is {index.dtype}, not i64")
                self.reach(buffer, "r")
            case Apply():
                self.apply(expr)
            case _:
                raise VerifyError(f"{self.where}: {expr!r} is not an expression")

    def apply(self, expr: Apply) -> None:
        fn = FNS.get(expr.fn)
        if fn is None:
            self.fail(f"there is no scalar function {expr.fn!r}")
        dtypes = [a.dtype for a in expr.args]
        if len(dtypes) != fn.arity or not _fits(expr.fn, dtypes, expr.dtype):
            shown = ", ".join(map(str, dtypes))
            self.fail(f"{expr.fn} does not take ({shown}) to {expr.dtype}")


def _fits(name: str, args: list[DType], result: DType) -> bool:
    """Whether a function of the table takes operands of these dtypes to this result."""
    fn = FNS[name]
    if name == "select":
        return args[0] == BOOL and args[1] == args[2] == result and is_supported(result)
    if any(a.kind not in fn.kinds or a != args[0] for a in args) or not is_supported(result):
        return False
    match name:
        case "cast":
            return True
        case "bitcast":
            return result.kind in fn.kinds and result.itemsize == args[0].itemsize
        case "complex":
            return result.kind == "c" and result.itemsize == 2 * args[0].itemsize
    return result == result_dtype(name, args)


def _share_memory(a: Slot, b: Slot) -> bool:
    if a.role != b.role or a.role == "const":
        return a.buffer.name == b.buffer.name
    if a.role != "arena":
        return a.position == b.position
    ends = [s.position + s.buffer.size * s.buffer.dtype.itemsize for s in (a, b)]
    return a.position < ends[1] and b.position < ends[0]
