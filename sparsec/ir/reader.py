"""Reads the text form of the graph IR (the grammar stands in `text.py`). All errors are ParseError.

The reader knows the grammar and where names are visible; what an op means is the verifier's business.
Sizes that a short text could blow up (nesting, polynomials) are limited, so time and memory stay linear.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator

from sparsec.errors import Loc
from sparsec.ir.dims import Dim, Poly, Sym, symbols
from sparsec.ir.graph import Attr, Func, Op, Placement, Region, Value
from sparsec.ir.lexer import Lexer, Token
from sparsec.ir.tensorref import TensorRef, contiguous_strides
from sparsec.ir.types import DTYPES, MAX_RANK, Channels, TensorType

MAX_TERMS = 256  # of a dim, and of the product of a shape's dims
MAX_DEGREE = 16
MAX_BITS = 192  # of an integer: a product of MAX_RANK of them is still short enough to print

_COMMENT_LOC = re.compile(r'//[ \t]*(?:"(?P<quoted>[^\n]*?)"|(?P<file>[^\n]+?)):(?P<line>[0-9]{1,9})(?=\s|$)')

Bounds = dict[str, tuple[int, int]]  # symbol -> (upper, lower)


def parse(text: str, file: str = "<text>") -> Func:
    """The one function in `text`."""
    reader = _Reader(Lexer(text, file))
    func = reader.func()
    reader.lx.expect_end()
    return func


def parse_all(text: str, file: str = "<text>") -> tuple[Func, ...]:
    """All functions in `text`."""
    reader = _Reader(Lexer(text, file))
    funcs = []
    while reader.lx.token.kind != "end":
        funcs.append(reader.func())
    return tuple(funcs)


def parse_types(text: str, file: str = "<text>") -> tuple[TensorType, ...]:
    """Types separated by commas: `f32[1000,4], i64`."""
    reader = _Reader(Lexer(text, file))
    reader.declare_bounds()
    types = reader.list_of(reader.type) if reader.lx.token.kind != "end" else ()
    reader.lx.expect_end()
    return types


class _Reader:
    """Recursive descent; `values` holds what is visible at the current place."""

    def __init__(self, lx: Lexer) -> None:
        self.lx = lx
        self.values: dict[str, Value] = {}
        self.shadowed: list[tuple[str, Value | None]] = []  # what a region's definitions hide, to be undone
        self.bounds: Bounds = {}

    # --- functions, regions, ops -------------------------------------------------------------------------

    def func(self) -> Func:
        lx = self.lx
        lx.expect("func")
        self.declare_bounds()
        self.forget(0)
        name = lx.ref("@")
        params = self.params()
        constants = self.list_of(lambda: lx.ref("@")) if lx.accept("constant") else ()
        if lx.accept("where"):
            self.list_of(self.bound)
        lx.expect("{")
        loc = self.comment()
        plan = tuple(self.repeat(self.placement, lambda: lx.at("storage") and lx.peek().text.startswith("@")))
        ops = tuple(self.repeat(self.op, lambda: not lx.at("return")))
        lx.expect("return")
        results = self.operands()
        writes = self.list_of(self.value) if lx.accept("writes") else ()
        lx.expect("}")
        return Func(name, params, ops, results, writes, plan, loc, constants)

    def placement(self) -> Placement:
        lx = self.lx
        lx.expect("storage")
        storage = lx.ref("@")
        lx.expect(":")
        space = lx.name()
        lx.expect("+")
        offset = lx.integer()
        lx.expect(",")
        nbytes = self.dim()
        lx.expect("bytes")
        return Placement(storage, space, offset, nbytes)

    def op(self) -> Op:
        lx = self.lx
        start = lx.token
        names = self.list_of(self.new_name) if start.kind == "ref" else ()
        if names:
            lx.expect("=")
        name = lx.name()
        operands = self.operands()
        attrs = self.attrs() if lx.accept("{") else {}
        loc = None
        regions = []
        with lx.nested():
            while lx.at("("):
                region, comment = self.region()
                regions.append(region)
                loc = loc or comment
        types = self.list_of(self.type) if lx.accept(":") else ()
        if len(types) != len(names):
            raise lx.error(f"{name} has {len(names)} results and {len(types)} types", start)
        results = tuple(map(Value, names, types))
        self.define(results)
        return Op(name, operands, results, attrs, tuple(regions), loc or self.comment())

    def region(self) -> tuple[Region, Loc | None]:
        lx = self.lx
        outside = len(self.shadowed)
        params = self.params()
        lx.expect("{")
        loc = self.comment()
        ops = tuple(self.repeat(self.op, lambda: not lx.at("yield")))
        lx.expect("yield")
        yields = self.operands()
        lx.expect("}")
        self.forget(outside)
        return Region(params, ops, yields), loc

    def params(self) -> tuple[Value, ...]:
        self.lx.expect("(")
        params = tuple(self.lx.many(self.param, ")"))
        self.define(params)
        return params

    def define(self, values: tuple[Value, ...]) -> None:
        for value in values:
            self.shadowed.append((value.name, self.values.get(value.name)))
            self.values[value.name] = value

    def forget(self, size: int) -> None:
        """Undoes definitions until `shadowed` has this size again."""
        while len(self.shadowed) > size:
            name, before = self.shadowed.pop()
            if before is None:
                del self.values[name]
            else:
                self.values[name] = before

    def param(self) -> Value:
        name = self.new_name()
        self.lx.expect(":")
        return Value(name, self.type())

    def new_name(self) -> str:
        return self.lx.ref("%")

    def operands(self) -> tuple[Value, ...]:
        return self.list_of(self.value) if self.at_value() else ()

    def value(self) -> Value:
        token = self.lx.token
        name = self.lx.ref("%")
        if name not in self.values:
            raise self.lx.error(f"%{name} is not defined here", token)
        return self.values[name]

    def at_value(self) -> bool:
        """A `%name` that is an operand and not the first result of the next op (`%x =`, `%x, %y =`)."""
        lx = self.lx
        ahead = 0
        while lx.peek(ahead).kind == "ref" and lx.peek(ahead).text[0] == "%":
            after = lx.peek(ahead + 1)
            if after.text != ",":
                return after.text != "="
            ahead += 2
        return ahead > 0

    def attrs(self) -> dict[str, Attr]:
        lx = self.lx
        attrs: dict[str, Attr] = {}

        def entry() -> None:
            token = lx.token
            key = lx.name()
            if key in attrs:
                raise lx.error(f"attribute {key} is given twice", token)
            lx.expect("=")
            attrs[key] = self.attr()

        lx.many(lambda: entry(), "}")
        return attrs

    # --- attributes --------------------------------------------------------------------------------------

    def attr(self) -> Attr:
        lx = self.lx
        token = lx.token
        if lx.accept("["):
            with lx.nested():
                return tuple(lx.many(self.attr, "]"))
        if token.kind == "string":
            return lx.string()
        if lx.accept("none"):
            return None
        if token.kind == "name" and token.text in DTYPES and lx.peek().text != "(":
            return lx.dtype()
        if lx.at_literal() and not self.at_int():
            return lx.constant()[0]
        return self.dim()

    def at_int(self) -> bool:
        lx = self.lx
        return (lx.peek() if lx.at("-") else lx.token).kind == "int"

    # --- types -------------------------------------------------------------------------------------------

    def type(self) -> TensorType:
        lx = self.lx
        dtype = lx.dtype()
        channels: list[Channels] = []
        dims: list[Dim] = []
        start = lx.token

        def axis() -> None:
            dims.append(self.shape_dim())
            if lx.accept("of"):
                full = lx.integer()
                lx.expect("@")
                channels.append(Channels(len(dims) - 1, full, "%" + lx.ref("%")))

        if lx.accept("["):
            lx.many(lambda: axis(), "]")
        if len(channels) > 1:
            raise lx.error("a type with more than one channel index", start)
        if len(dims) > MAX_RANK:
            raise lx.error(f"a type with more than {MAX_RANK} axes", start)
        # The product of many long dims, which C-order strides are, has exponentially many terms.
        if math.prod(len(d.terms) for d in dims if isinstance(d, Poly)) > MAX_TERMS:
            raise lx.error("a shape with too many symbols", start)
        shape = tuple(dims)
        ref = self.ref(shape) if lx.token.kind == "ref" and lx.token.text[0] == "@" else None
        return TensorType(dtype, shape, ref, channels[0] if channels else None)

    def ref(self, shape: tuple[Dim, ...]) -> TensorRef:
        lx = self.lx
        start = lx.token
        storage = lx.ref("@")
        offset = self.dim() if lx.at("-") or lx.accept("+") else 0
        if not self.at_strides():
            return TensorRef(storage, offset, contiguous_strides(shape))
        lx.expect(":")
        lx.expect("(")
        strides = tuple(lx.many(self.dim, ")"))
        if len(strides) != len(shape):
            raise lx.error(f"{len(strides)} strides for {len(shape)} axes", start)
        return TensorRef(storage, offset, strides)

    def at_strides(self) -> bool:
        return self.lx.at(":") and self.lx.peek().text == "("

    # --- dims --------------------------------------------------------------------------------------------

    def shape_dim(self) -> Dim:
        """A dim, with the upper bound if it is a symbol (`declare_bounds` has read that already)."""
        dim = self.dim()
        if self.lx.at("<=") and len(symbols(dim)) == 1:
            self.lx.next()
            self.lx.integer()
        return dim

    def dim(self) -> Dim:
        """A polynomial: signed products of ints and symbols."""
        lx = self.lx
        start = lx.token
        total: Dim = 0
        negative = lx.accept("-")
        for _ in range(MAX_TERMS):
            total = total + self.product(-1 if negative else 1)
            negative = lx.at("-")
            if not (lx.accept("-") or lx.accept("+")):
                return total
        raise lx.error(f"a dim with more than {MAX_TERMS} terms", start)

    def product(self, factor: int) -> Dim:
        lx = self.lx
        start = lx.token
        monomial: list[Sym] = []
        while True:
            if lx.token.kind == "int":
                factor *= lx.integer()
            else:
                monomial.append(self.symbol())
            if len(monomial) > MAX_DEGREE or factor.bit_length() > MAX_BITS:
                raise lx.error("a dim of too high a degree, or too large", start)
            if not lx.accept("*"):
                break
        if not factor or not monomial:
            return factor
        return Poly(((tuple(sorted(monomial)), factor),))

    def symbol(self) -> Sym:
        name = self.symbol_name()
        upper, lower = self.bounds.get(name, (-1, 0))
        return Sym(name, upper, lower)

    def symbol_name(self) -> str:
        lx = self.lx
        if lx.token.kind == "ref":
            return "%" + lx.ref("%")
        if lx.accept("#"):
            return lx.string()
        if lx.token.kind == "name":
            return lx.name()
        raise lx.error(f"expected an integer or a symbol, found {lx.found()}")

    def bound(self) -> None:
        """`1<=n<=1000`, one side optional; its content is known from `declare_bounds`."""
        lx = self.lx
        if self.at_int():
            lx.integer()
            lx.expect("<=")
            self.symbol_name()
            if not lx.accept("<="):
                return
        else:
            self.symbol_name()
            lx.expect("<=")
        lx.integer()

    def declare_bounds(self) -> None:
        """Reads ahead to the next function: a symbol may be used before the place that bounds it."""
        lx = self.lx
        self.bounds = {}
        if "<=" not in lx.source:
            return
        upper: dict[str, int] = {}
        lower: dict[str, int] = {}
        ahead = 0
        while (token := lx.peek(ahead)).kind != "end" and not (
            token.text == "func" and lx.peek(ahead + 1).text.startswith("@")
        ):
            if token.kind == "punct" and token.text == "<=" and ahead:
                self.note_bound(lx.peek(ahead - 1), lx.peek(ahead + 1), 1, upper)
                sign = -1 if ahead > 1 and lx.peek(ahead - 2).text == "-" else 1
                self.note_bound(lx.peek(ahead + 1), lx.peek(ahead - 1), sign, lower)
            ahead += 1
        self.bounds = {name: (upper.get(name, -1), lower.get(name, 0)) for name in (*upper, *lower)}

    def note_bound(self, name: Token, number: Token, sign: int, into: dict[str, int]) -> None:
        """Notes `name <= number` (or the reverse) if that is what the two tokens are."""
        if number.kind != "int" or name.kind not in ("name", "ref", "string"):
            return
        text = name.text.removeprefix("%")
        key = ("%" if name.kind == "ref" else "") + (_unquoted(text[1:-1]) if text.startswith('"') else text)
        if len(number.text) > MAX_BITS:
            raise self.lx.error("integer too long", number)
        value = sign * int(number.text, 16 if number.text[1:2] in ("x", "X") else 10)
        if into.setdefault(key, value) != value:
            raise self.lx.error(f"{key} has two bounds, {into[key]} and {value}", number)

    # --- helpers -----------------------------------------------------------------------------------------

    def list_of(self, read: Callable[[], object]) -> tuple:  # type: ignore[type-arg]
        """One or more of what `read` reads, separated by commas."""
        items = [read()]
        while self.lx.accept(","):
            items.append(read())
        return tuple(items)

    def repeat(self, read: Callable[[], object], more: Callable[[], bool]) -> Iterator:  # type: ignore[type-arg]
        while more():
            yield read()

    def comment(self) -> Loc | None:
        """The place in a comment that follows the token just read, on its line."""
        lx = self.lx
        begin = lx.peek(-1).pos + len(lx.peek(-1).text)
        stop = lx.source.find("\n", begin, lx.token.pos)
        gap = lx.source[begin : stop if stop >= 0 else lx.token.pos].lstrip()
        match = _COMMENT_LOC.match(gap)
        if match is None:
            return None
        file = match["file"] if match["quoted"] is None else _unquoted(match["quoted"])
        return Loc(file, int(match["line"]))


def _unquoted(text: str) -> str:
    """The string in quotes; one that is malformed stays as it is (a comment, or reported later)."""
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text
