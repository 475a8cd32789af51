"""The text form of the loop IR: `parse(print(x)) == x` for every kernel and program, legal or not.

    program @f {
      arena 128
      slot %x: global f32[32] r align 4 = param 0
      slot %y: global f32[8] w = result 1
      slot %c: global i32[1] r = const 0 "2a000000"
      failure index "index 9 is out of bounds" at "f.py":3:4:9
      kernel @f_0(%x: global f32[32] r, %y: global f32[8] w; n) {  // f.py:3
        for i in 0..n bind(parallel) {
          let a = %x[i * 4 + 1]
          if a < 0.5:f32 { fail 1 } else { %y[i] = exp(a) }
        }
      }
      host {
        launch @f_0(%x, %y; 8)
      }
    }

A dtype is written (`a:f32`, `cast:f32(x)`, `%x:u8[i]`) where it does not follow from the declaration or from
the operands; variables and literals are i64 by default. Lines of the user's program are comments.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, MutableMapping

from sparsec.errors import Loc
from sparsec.ir.lexer import bare_name, constant_text, loc_text, quoted, ref_name
from sparsec.ir.loop_reader import COMPARE, INFIX, KEYWORDS, parse_kernel, parse_program
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
    Kernel,
    Launch,
    Let,
    Load,
    Mut,
    Note,
    Prefetch,
    Program,
    Reserve,
    Stmt,
    Store,
    Var,
    While,
)
from sparsec.ir.scalar import result_dtype
from sparsec.ir.types import I64, DType, dtype_name

__all__ = ["expr_text", "kernel_text", "parse_kernel", "parse_program", "program_text", "stmt_text"]

_Names = MutableMapping[str, DType]


def program_text(program: Program) -> str:
    """A program, ending in a newline."""
    return "\n".join(_program_lines(program)) + "\n"


def kernel_text(kernel: Kernel) -> str:
    """A kernel, ending in a newline."""
    return "\n".join(_kernel_lines(kernel)) + "\n"


def stmt_text(stmt: Stmt) -> str:
    """A statement by itself, for messages: the dtypes of names are left out."""
    return "\n".join(_Printer({}, {}, bare=True).stmt(stmt))


def expr_text(expr: Expr) -> str:
    """An expression by itself, for messages: the dtypes of names are left out."""
    return _Printer({}, {}, bare=True).expr(expr)


def _program_lines(program: Program) -> Iterator[str]:
    yield f"program {ref_name('@', program.name)} {{"
    if program.arena_bytes:
        yield f"  arena {program.arena_bytes}"
    for slot in program.slots:
        data = f" {quoted(slot.data.hex())}" if slot.data else ""
        rows = f" constant {slot.columns}" if slot.columns else ""
        packed = f" block {slot.block}" if slot.block else ""
        yield f"  slot {_buffer(slot.buffer)} = {_word(slot.role)} {slot.position}{data}{rows}{packed}"
    for failure in program.failures:
        at = f" at {_loc(failure.loc)}" if failure.loc else ""
        yield f"  failure {_word(failure.kind)} {quoted(failure.message)}{at}"
    for restore in program.restores:
        yield f"  restore {ref_name('%', restore.buffer)} from {ref_name('%', restore.kept)}"
    for kernel in program.kernels:
        yield from _indent(_kernel_lines(kernel))
    host = _Printer({}, {slot.buffer.name: slot.buffer.dtype for slot in program.slots})
    yield from _indent(host.block("host", program.body))
    yield "}"


def _kernel_lines(kernel: Kernel) -> Iterator[str]:
    params = ", ".join(_buffer(b) for b in kernel.buffers)
    scalars = ", ".join(_Printer({}, {}).declared(v) for v in kernel.scalars)
    head = f"kernel {ref_name('@', kernel.name)}({params}{f'; {scalars}' if scalars else ''})"
    printer = _Printer({v.name: v.dtype for v in kernel.scalars}, {b.name: b.dtype for b in kernel.buffers})
    first, *rest = printer.block(head, kernel.body)
    lines = dict.fromkeys(loc_text(loc) for loc in kernel.locs)
    comment = f"  // {', '.join(lines)}" if lines else ""
    # An empty body closes on the first line; the comment still ends it.
    yield first + comment
    yield from rest


def _loc(loc: Loc) -> str:
    return f"{quoted(loc.file)}:{loc.line}:{loc.col}:{loc.end_col}"


def _buffer(b: Buffer) -> str:
    size = "?" if b.size == -1 else str(b.size)
    align = f" align {b.align}" if b.align != 1 else ""
    name, space, access = ref_name("%", b.name), _word(b.space), _word(b.access)
    return f"{name}: {space} {dtype_name(b.dtype)}[{size}] {access}{align}"


def _word(text: str) -> str:
    """A word where only a word can stand, so that none is reserved."""
    return bare_name(text, frozenset())


def _indent(lines: Iterator[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)


class _Printer:
    """Prints in the scope of what has been declared so far, which says where a dtype can be left out."""

    def __init__(self, names: _Names, buffers: _Names, bare: bool = False) -> None:
        self.names, self.buffers, self.bare = ChainMap(dict(names)), ChainMap(dict(buffers)), bare

    def block(self, head: str, body: Body, tail: str = "}") -> Iterator[str]:
        """`head {`, the indented body in a scope of its own, `}`."""
        if not body and tail == "}":
            yield f"{head} {{ }}"
            return
        yield f"{head} {{"
        outer = self.names, self.buffers
        self.names, self.buffers = self.names.new_child(), self.buffers.new_child()
        for stmt in body:
            yield from _indent(self.stmt(stmt))
        self.names, self.buffers = outer
        yield tail

    def stmt(self, stmt: Stmt) -> Iterator[str]:
        match stmt:
            case Let(var, value) | Mut(var, value):
                word = "let" if isinstance(stmt, Let) else "mut"
                name = bare_name(var.name, KEYWORDS)
                dtype = f": {dtype_name(var.dtype)}" if var.dtype != value.dtype else ""
                yield f"{word} {name}{dtype} = {self.expr(value)}"
                self.names[var.name] = var.dtype
            case Assign(var, value):
                yield f"{self.expr(var)} = {self.expr(value)}"
            case Store(buffer, at, value):
                yield f"{ref_name('%', buffer)}[{self.expr(at)}] = {self.expr(value)}"
            case For():
                yield from self.loop(stmt)
            case While(cond, body):
                yield from self.block(f"while {self.expr(cond)}", body)
            case If(cond, then, ()):
                yield from self.block(f"if {self.expr(cond)}", then)
            case If(cond, then, orelse):
                yield from self.block(f"if {self.expr(cond)}", then, tail="} else {")
                yield from list(self.block("", orelse))[1:]
            case Alloc(buffer):
                yield f"alloc {_buffer(buffer)}"
                self.buffers[buffer.name] = buffer.dtype
            case Barrier():
                yield "barrier"
            case Fail(code):
                yield f"fail {code}"
            case Note(flag):
                yield f"note {flag}"
            case Prefetch(buffer, at):
                yield f"prefetch {ref_name('%', buffer)}[{self.expr(at)}]"
            case Extern(name, buffers, args, dtype):
                places = ", ".join(f"{ref_name('%', b)}[{self.expr(at)}]" for b, at in buffers)
                yield f"extern {_word(name)}:{dtype_name(dtype)}({places}{self.scalars(args)})"
            case Launch(kernel, names, scalars):
                passed = ", ".join(ref_name("%", b) for b in names)
                yield f"launch {ref_name('@', kernel)}({passed}{self.scalars(scalars)})"
            case Reserve(buffer, nbytes, code):
                yield f"reserve {ref_name('%', buffer)}, {self.expr(nbytes)} else fail {code}"

    def loop(self, loop: For) -> Iterator[str]:
        step = f" step {loop.step}" if loop.step != 1 else ""
        bind = f" bind({_word(loop.bind)})" if loop.bind != "seq" else ""
        bounds = f"{self.expr(loop.start)}..{self.expr(loop.stop)}"
        outer = self.names
        self.names = outer.new_child({loop.var.name: loop.var.dtype})
        yield from self.block(f"for {self.declared(loop.var)} in {bounds}{step}{bind}", loop.body)
        self.names = outer

    def scalars(self, args: tuple[Expr, ...]) -> str:
        return "; " + ", ".join(self.expr(a) for a in args) if args else ""

    def declared(self, var: Var) -> str:
        """A variable where it is declared as a loop variable or kernel scalar: i64 by default."""
        dtype = f": {dtype_name(var.dtype)}" if var.dtype != I64 else ""
        return bare_name(var.name, KEYWORDS) + dtype

    def expr(self, expr: Expr, level: int = 0) -> str:
        """`level` is how tightly the place around the expression binds."""
        match expr:
            case Const(value, dtype):
                return constant_text(value, dtype)
            case Var(name, dtype):
                return bare_name(name, KEYWORDS) + self.suffix(dtype, self.names.get(name))
            case Load(buffer, at, dtype):
                suffix = self.suffix(dtype, self.buffers.get(buffer))
                return f"{ref_name('%', buffer)}{suffix}[{self.expr(at)}]"
            case Apply(fn, args, dtype):
                inferred = result_dtype(fn, [a.dtype for a in args])
                if fn in INFIX and len(args) == 2 and not _suffix(dtype, inferred):
                    return self.infix(fn, args, level)
                shown = ", ".join(self.expr(a) for a in args)
                return f"{bare_name(fn, KEYWORDS)}{_suffix(dtype, inferred)}({shown})"

    def suffix(self, dtype: DType, known: DType | None) -> str:
        return "" if self.bare else _suffix(dtype, known)

    def infix(self, fn: str, args: tuple[Expr, ...], level: int) -> str:
        sign, own = INFIX[fn]
        left = self.expr(args[0], own + 1 if own == COMPARE else own)
        text = f"{left} {sign} {self.expr(args[1], own + 1)}"
        return f"({text})" if own < level else text


def _suffix(dtype: DType, known: DType | None) -> str:
    # NumPy finds float64 equal to None.
    return "" if known is not None and dtype == known else f":{dtype_name(dtype)}"
