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
from collections.abc import Callable, Iterator, MutableMapping
from typing import TypeVar

from sparsec.errors import Loc, ParseError
from sparsec.ir import lexer
from sparsec.ir.lexer import Lexer, bare_name, constant_text, loc_text, quoted, ref_name
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
    Failure,
    For,
    If,
    Kernel,
    Launch,
    Let,
    Load,
    Mut,
    Note,
    Program,
    Reserve,
    Restore,
    Slot,
    Stmt,
    Store,
    Var,
    While,
)
from sparsec.ir.scalar import result_dtype
from sparsec.ir.types import I64, DType, dtype_name

#: Functions written between their operands, with how tightly they bind. Comparisons do not chain.
_INFIX = {"mul": ("*", 3), "add": ("+", 2), "sub": ("-", 2), "lt": ("<", 1), "le": ("<=", 1),
          "gt": (">", 1), "ge": (">=", 1), "eq": ("==", 1), "ne": ("!=", 1)}  # fmt: skip
_BY_SIGN = {sign: (name, level) for name, (sign, level) in _INFIX.items()}
_COMPARE = 1

_KEYWORDS = frozenset((
    "let", "mut", "for", "in", "step", "bind", "while", "if", "else", "alloc", "align", "barrier", "fail",
    "note", "extern", "launch", "reserve", "kernel", "program", "host", "slot", "failure", "arena", "at",
    "restore", "from",
    *lexer.LITERAL_WORDS,
))

_Names = MutableMapping[str, DType]
A = TypeVar("A")
B = TypeVar("B")

# --- printing --------------------------------------------------------------------------------------------


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
        yield f"  slot {_buffer(slot.buffer)} = {_word(slot.role)} {slot.position}{data}"
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
                name = bare_name(var.name, _KEYWORDS)
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
        return bare_name(var.name, _KEYWORDS) + dtype

    def expr(self, expr: Expr, level: int = 0) -> str:
        """`level` is how tightly the place around the expression binds."""
        match expr:
            case Const(value, dtype):
                return constant_text(value, dtype)
            case Var(name, dtype):
                return bare_name(name, _KEYWORDS) + self.suffix(dtype, self.names.get(name))
            case Load(buffer, at, dtype):
                suffix = self.suffix(dtype, self.buffers.get(buffer))
                return f"{ref_name('%', buffer)}{suffix}[{self.expr(at)}]"
            case Apply(fn, args, dtype):
                inferred = result_dtype(fn, [a.dtype for a in args])
                if fn in _INFIX and len(args) == 2 and not _suffix(dtype, inferred):
                    return self.infix(fn, args, level)
                shown = ", ".join(self.expr(a) for a in args)
                return f"{bare_name(fn, _KEYWORDS)}{_suffix(dtype, inferred)}({shown})"

    def suffix(self, dtype: DType, known: DType | None) -> str:
        return "" if self.bare else _suffix(dtype, known)

    def infix(self, fn: str, args: tuple[Expr, ...], level: int) -> str:
        sign, own = _INFIX[fn]
        left = self.expr(args[0], own + 1 if own == _COMPARE else own)
        text = f"{left} {sign} {self.expr(args[1], own + 1)}"
        return f"({text})" if own < level else text


def _suffix(dtype: DType, known: DType | None) -> str:
    # NumPy finds float64 equal to None.
    return "" if known is not None and dtype == known else f":{dtype_name(dtype)}"


# --- parsing ---------------------------------------------------------------------------------------------


def parse_program(text: str, file: str = "<loops>") -> Program:
    """Reads what `program_text` prints. Raises ParseError with line and column."""
    lex = Lexer(text, file)
    program = _program(lex)
    lex.expect_end()
    return program


def parse_kernel(text: str, file: str = "<loops>") -> Kernel:
    """Reads what `kernel_text` prints. Raises ParseError with line and column."""
    lex = Lexer(text, file)
    kernel = _kernel(lex)
    lex.expect_end()
    return kernel


def _program(lex: Lexer) -> Program:
    lex.expect("program")
    name = lex.ref("@")
    lex.expect("{")
    arena = lex.integer() if lex.accept("arena") else 0
    slots = tuple(_while(lex, "slot", _slot))
    failures = tuple(_while(lex, "failure", _failure))
    restores = tuple(_while(lex, "restore", _restore))
    kernels = tuple(_while(lex, "kernel", _kernel))
    lex.expect("host")
    host = _Parser(lex, {}, {slot.buffer.name: slot.buffer.dtype for slot in slots})
    body = host.block()
    lex.expect("}")
    return Program(name, slots, kernels, body, arena, failures, restores)


def _while(lex: Lexer, word: str, read: Callable[[Lexer], lexer.T]) -> Iterator[lexer.T]:
    while lex.at(word):
        yield read(lex)


def _slot(lex: Lexer) -> Slot:
    lex.expect("slot")
    buffer = _read_buffer(lex)
    lex.expect("=")
    role, position = lex.name(), lex.integer()
    token = lex.token
    try:
        data = bytes.fromhex(lex.string()) if token.kind == "string" else b""
    except ValueError as error:
        if isinstance(error, ParseError):
            raise
        raise lex.error("expected the bytes in hexadecimal", token) from None
    return Slot(buffer, role, position, data)


def _failure(lex: Lexer) -> Failure:
    lex.expect("failure")
    kind, message = lex.name(), lex.string()
    return Failure(kind, message, _read_loc(lex) if lex.accept("at") else None)


def _restore(lex: Lexer) -> Restore:
    lex.expect("restore")
    buffer = lex.ref("%")
    lex.expect("from")
    return Restore(buffer, lex.ref("%"))


def _read_loc(lex: Lexer) -> Loc:
    file = lex.string()
    line, col, end_col = (lex.expect(":") and lex.integer() for _ in range(3))
    return Loc(file, line, col, end_col)


def _kernel(lex: Lexer) -> Kernel:
    lex.expect("kernel")
    name = lex.ref("@")
    lex.expect("(")
    buffers, scalars = _arguments(lex, lambda: _read_buffer(lex), lambda: _declared(lex))
    parser = _Parser(lex, {v.name: v.dtype for v in scalars}, {b.name: b.dtype for b in buffers})
    return Kernel(name, buffers, scalars, parser.block())


def _arguments(
    lex: Lexer, first: Callable[[], A], second: Callable[[], B]
) -> tuple[tuple[A, ...], tuple[B, ...]]:
    """`first, …; second, …)`; either part may be empty, and `;` is left out with the second."""
    buffers: list[A] = []
    while not lex.at(";") and not lex.at(")"):
        if buffers:
            lex.expect(",")
        buffers.append(first())
    if lex.accept(";"):
        return tuple(buffers), tuple(lex.many(second, ")"))
    lex.expect(")")
    return tuple(buffers), ()


def _read_buffer(lex: Lexer) -> Buffer:
    name = lex.ref("%")
    lex.expect(":")
    space, dtype = lex.name(), lex.dtype()
    lex.expect("[")
    size = -1 if lex.accept("?") else lex.integer()
    lex.expect("]")
    access = lex.name()
    return Buffer(name, dtype, size, space, access, lex.integer() if lex.accept("align") else 1)


def _declared(lex: Lexer) -> Var:
    return Var(lex.name(), lex.dtype() if lex.accept(":") else I64)


class _Parser:
    """Reads statements and expressions; knows the dtype of every name in scope."""

    def __init__(self, lex: Lexer, names: _Names, buffers: _Names) -> None:
        self.lex = lex
        self.names, self.buffers = ChainMap(dict(names)), ChainMap(dict(buffers))

    def block(self, var: Var | None = None) -> Body:
        """`{ … }` in a scope of its own, to which a loop adds its variable."""
        lex = self.lex
        lex.expect("{")
        outer = self.names, self.buffers
        self.names = self.names.new_child({var.name: var.dtype} if var else {})
        self.buffers = self.buffers.new_child()
        body = []
        with lex.nested():
            while not lex.accept("}"):
                body.append(self.stmt())
        self.names, self.buffers = outer
        return tuple(body)

    def stmt(self) -> Stmt:
        lex = self.lex
        token = lex.token
        if token.kind == "ref":
            buffer = lex.ref("%")
            at = self.subscript()
            lex.expect("=")
            return Store(buffer, at, self.expr())
        read = _STATEMENTS.get(token.text) if token.kind == "name" else None
        if read is None:
            return self.assign()
        lex.next()
        return read(self)

    def assign(self) -> Stmt:
        if self.lex.token.kind not in ("name", "string"):
            raise self.lex.error(f"expected a statement, found {self.lex.found()}")
        var = self.variable()
        self.lex.expect("=")
        return Assign(var, self.expr())

    def let(self) -> Let:
        return Let(*self.binding())

    def mut(self) -> Mut:
        return Mut(*self.binding())

    def binding(self) -> tuple[Var, Expr]:
        lex = self.lex
        name = lex.name()
        dtype = lex.dtype() if lex.accept(":") else None
        lex.expect("=")
        value = self.expr()
        var = Var(name, value.dtype if dtype is None else dtype)
        self.names[name] = var.dtype
        return var, value

    def loop(self) -> For:
        lex = self.lex
        var = _declared(lex)
        lex.expect("in")
        start = self.expr()
        lex.expect("..")
        stop = self.expr()
        step = lex.integer() if lex.accept("step") else 1
        bind = "seq"
        if lex.accept("bind"):
            lex.expect("(")
            bind = lex.name()
            lex.expect(")")
        return For(var, start, stop, step, self.block(var), bind)

    def repeat(self) -> While:
        cond = self.expr()
        return While(cond, self.block())

    def branch(self) -> If:
        cond = self.expr()
        then = self.block()
        return If(cond, then, self.block() if self.lex.accept("else") else ())

    def alloc(self) -> Alloc:
        buffer = _read_buffer(self.lex)
        self.buffers[buffer.name] = buffer.dtype
        return Alloc(buffer)

    def extern(self) -> Extern:
        lex = self.lex
        name = lex.name()
        lex.expect(":")
        dtype = lex.dtype()
        lex.expect("(")
        buffers, args = _arguments(lex, lambda: (lex.ref("%"), self.subscript()), self.expr)
        return Extern(name, buffers, args, dtype)

    def launch(self) -> Launch:
        lex = self.lex
        kernel = lex.ref("@")
        lex.expect("(")
        return Launch(kernel, *_arguments(lex, lambda: lex.ref("%"), self.expr))

    def reserve(self) -> Reserve:
        lex = self.lex
        buffer = lex.ref("%")
        lex.expect(",")
        nbytes = self.expr()
        lex.expect("else")
        lex.expect("fail")
        return Reserve(buffer, nbytes, lex.integer())

    def subscript(self) -> Expr:
        self.lex.expect("[")
        at = self.expr()
        self.lex.expect("]")
        return at

    def expr(self, level: int = 0) -> Expr:
        """Operators that bind at least as tightly as `level`, by precedence climbing."""
        lex = self.lex
        with lex.nested():
            left = self.primary()
            chain = 0
            while lex.token.kind == "punct" and lex.token.text in _BY_SIGN:
                fn, own = _BY_SIGN[lex.token.text]
                if own < level:
                    break
                # `a + b + c + …` nests to the left as deeply as parentheses would.
                chain += 1
                lex.check_depth(chain)
                sign = lex.next()
                args = (left, self.expr(own + 1))
                dtype = result_dtype(fn, [a.dtype for a in args])
                if dtype is None:
                    raise lex.error(f"no dtype for `{sign.text}`", sign)
                left = Apply(fn, args, dtype)
                if own == _COMPARE:
                    level = own + 1
            return left

    def primary(self) -> Expr:
        lex = self.lex
        token = lex.token
        if lex.at_literal():
            return Const(*lex.constant())
        if lex.accept("("):
            inner = self.expr()
            lex.expect(")")
            return inner
        if token.kind == "ref":
            return self.load()
        if token.kind not in ("name", "string"):
            raise lex.error(f"expected an expression, found {lex.found()}")
        ahead = 3 if lex.peek().text == ":" else 1
        return self.call() if lex.peek(ahead).text == "(" else self.variable()

    def load(self) -> Load:
        lex = self.lex
        token = lex.token
        buffer = lex.ref("%")
        dtype = lex.dtype() if lex.accept(":") else self.buffers.get(buffer)
        if dtype is None:
            raise lex.error(f"unknown buffer %{buffer}", token)
        return Load(buffer, self.subscript(), dtype)

    def variable(self) -> Var:
        lex = self.lex
        token = lex.token
        name = lex.name()
        dtype = lex.dtype() if lex.accept(":") else self.names.get(name)
        if dtype is None:
            raise lex.error(f"unknown variable `{name}`", token)
        return Var(name, dtype)

    def call(self) -> Apply:
        lex = self.lex
        token = lex.token
        fn = lex.name()
        dtype = lex.dtype() if lex.accept(":") else None
        lex.expect("(")
        args = tuple(lex.many(self.expr, ")"))
        if dtype is None:
            dtype = result_dtype(fn, [a.dtype for a in args])
        if dtype is None:
            raise lex.error(f"`{fn}` needs a dtype, as in `{fn}:f32(…)`, or is no function", token)
        return Apply(fn, args, dtype)


#: What reads each statement that begins with a word; the word has been read.
_STATEMENTS: dict[str, Callable[[_Parser], Stmt]] = {
    "let": _Parser.let,
    "mut": _Parser.mut,
    "for": _Parser.loop,
    "while": _Parser.repeat,
    "if": _Parser.branch,
    "alloc": _Parser.alloc,
    "barrier": lambda parser: Barrier(),
    "fail": lambda parser: Fail(parser.lex.integer()),
    "note": lambda parser: Note(parser.lex.integer()),
    "extern": _Parser.extern,
    "launch": _Parser.launch,
    "reserve": _Parser.reserve,
}
