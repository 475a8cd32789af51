"""Reading the text of the loop IR; `loop_text.py` shows it and prints it."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator, MutableMapping
from typing import TypeVar

from sparsec.errors import Loc, ParseError
from sparsec.ir import lexer
from sparsec.ir.lexer import Lexer
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
    Prefetch,
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
from sparsec.ir.types import I64, DType

__all__ = ["COMPARE", "INFIX", "KEYWORDS", "parse_kernel", "parse_program"]

#: Functions written between their operands, with how tightly they bind. Comparisons do not chain.
INFIX = {"mul": ("*", 3), "add": ("+", 2), "sub": ("-", 2), "lt": ("<", 1), "le": ("<=", 1),
          "gt": (">", 1), "ge": (">=", 1), "eq": ("==", 1), "ne": ("!=", 1)}  # fmt: skip
_BY_SIGN = {sign: (name, level) for name, (sign, level) in INFIX.items()}
COMPARE = 1

KEYWORDS = frozenset((
    "let", "mut", "for", "in", "step", "bind", "while", "if", "else", "alloc", "align", "barrier", "fail",
    "note", "prefetch", "extern", "launch", "reserve", "kernel", "program", "host", "slot", "failure", "arena", "at",
    "restore", "from",
    *lexer.LITERAL_WORDS,
))

_Names = MutableMapping[str, DType]
A = TypeVar("A")
B = TypeVar("B")


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
    columns = lex.integer() if lex.accept("constant") else 0
    block = lex.integer() if lex.accept("block") else 0
    return Slot(buffer, role, position, data, columns, block)


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

    def prefetch(self) -> Prefetch:
        return Prefetch(self.lex.ref("%"), self.subscript())

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
                if own == COMPARE:
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
    "prefetch": _Parser.prefetch,
    "extern": _Parser.extern,
    "launch": _Parser.launch,
    "reserve": _Parser.reserve,
}
