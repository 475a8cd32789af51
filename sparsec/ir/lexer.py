"""What both text forms (graph IR and loop IR) share: tokens, literals, names, and errors with a place.

The lexer is one regular expression, so reading is linear in the text. It knows nothing of any op or
statement. Literals are bit-exact: `parse(print(x))` gives the same bits for every value of every dtype.

    3  -7:i32  0.1:f32  1e-310  0x1.8p+1  -inf  nan  nan(0x7fc00001):f32  c64(1.0, -0.0)  true

A literal without a dtype is `i64`, `f64` or `bool`. `nan(bits)` spells all bits of the number.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np

from sparsec.errors import Loc, ParseError
from sparsec.ir.types import BOOL, DTYPES, F64, I64, DType, dtype_name

Number: TypeAlias = bool | int | float | complex
T = TypeVar("T")

#: How deep texts may nest. Readers and printers recurse, so this must stay well under Python's own limit.
MAX_NESTING = 200

_IDENT = r"[A-Za-z0-9_$]+(?:\.[A-Za-z0-9_$]+)*+"
_STRING = r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"'

# "ref" is a name with a sigil; "name" a bare one. Longer punctuation first.
_TOKENS = re.compile(
    rf"""(?P<skip>(?:\s++|//[^\n]*+)++)
    |(?P<float>0[xX][0-9a-fA-F]++(?:\.[0-9a-fA-F]++)?[pP][+-]?[0-9]++
              |[0-9]++\.[0-9]++(?:[eE][+-]?[0-9]++)?|[0-9]++[eE][+-]?[0-9]++)
    |(?P<int>0[xX][0-9a-fA-F]++|[0-9]++(?![A-Za-z_$]))
    |(?P<ref>[%@](?:{_IDENT}|{_STRING}))
    |(?P<name>[A-Za-z_$][A-Za-z0-9_$]*+(?:\.[A-Za-z0-9_$]+)*+)
    |(?P<string>{_STRING})
    |(?P<punct>\.\.|<=|>=|==|!=|->|<<|>>|[-+*/%@#<>=:;,.?!|&^~()\[\]{{}}])
    |(?P<bad>.)""",
    re.VERBOSE | re.DOTALL,
)
_PLAIN = re.compile(_IDENT)
_BARE = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*+(?:\.[A-Za-z0-9_$]+)*+")
_SHOWN_LINE = 300  # longer lines are not quoted in errors


class Token(NamedTuple):
    """`kind` is "int", "float", "ref", "name", "string", "punct" or "end"."""

    kind: str
    text: str
    pos: int


class Lexer:
    """A cursor over the tokens of `source`. All of its errors are ParseError with line and column."""

    def __init__(self, source: str, file: str = "<text>") -> None:
        self.source, self.file = source, file
        self._depth = 0
        self._next = 0
        self._tokens = list(self._scan())
        self.token = self._tokens[0]  # the one about to be read

    def _scan(self) -> Iterator[Token]:
        for match in _TOKENS.finditer(self.source):
            kind = match.lastgroup or "bad"
            token = Token(kind, match.group(), match.start())
            if kind == "bad":
                what = "unterminated string" if token.text == '"' else f"unexpected character {token.text!r}"
                raise self.error(what, token)
            if kind != "skip":
                yield token
        yield Token("end", "", len(self.source))

    # --- moving ------------------------------------------------------------------------------------------

    def next(self) -> Token:
        """The current token; moves past it (the end stays)."""
        token = self.token
        if token.kind != "end":
            self._next += 1
            self.token = self._tokens[self._next]
        return token

    def peek(self, ahead: int = 1) -> Token:
        """The token `ahead` places after the current one."""
        return self._tokens[min(self._next + ahead, len(self._tokens) - 1)]

    def at(self, text: str) -> bool:
        """Whether the current token is this punctuation or word."""
        return self.token.text == text and self.token.kind in ("punct", "name")

    def accept(self, text: str) -> bool:
        """Moves past the current token if it is this punctuation or word."""
        if self.at(text):
            self.next()
            return True
        return False

    def expect(self, text: str) -> Token:
        """Moves past this punctuation or word; anything else is an error."""
        if not self.at(text):
            raise self.error(f"expected `{text}`, found {self.found()}")
        return self.next()

    def expect_end(self) -> None:
        if self.token.kind != "end":
            raise self.error(f"expected the end of the text, found {self.found()}")

    def found(self) -> str:
        """The current token, for messages."""
        if self.token.kind == "end":
            return "the end of the text"
        text = self.token.text
        return f"`{text}`" if len(text) <= 60 else f"`{text[:60]}…`"

    def many(self, read: Callable[[], T], close: str) -> list[T]:
        """`a, b, c close`: zero or more of what `read` reads, up to and past `close`."""
        items: list[T] = []
        if self.accept(close):
            return items
        items.append(read())
        while self.accept(","):
            items.append(read())
        self.expect(close)
        return items

    @contextmanager
    def nested(self) -> Iterator[None]:
        """Around everything that recurses: too deep a text is an error, not a stack overflow."""
        self.check_depth(1)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def check_depth(self, more: int) -> None:
        """An error if `more` levels on top of the current ones pass the limit."""
        if self._depth + more > MAX_NESTING:
            raise self.error(f"nested deeper than {MAX_NESTING}")

    # --- errors ------------------------------------------------------------------------------------------

    def loc(self, token: Token | None = None) -> Loc:
        """Where a token (the current one by default) stands."""
        token = token or self.token
        begin = self.source.rfind("\n", 0, token.pos) + 1
        stop = self.source.find("\n", token.pos)
        stop = len(self.source) if stop < 0 else stop
        end = min(token.pos + len(token.text), stop)
        line = self.source.count("\n", 0, begin) + 1
        col, end_col = (_utf8_length(self.source[begin:at]) for at in (token.pos, end))
        shown = self.source[begin:stop] if stop - begin <= _SHOWN_LINE else ""
        return Loc(self.file, line, col, end_col, shown.encode(errors="replace").decode())

    def error(self, message: str, token: Token | None = None, hint: str = "") -> ParseError:
        """The error to raise at a token (the current one by default)."""
        return ParseError(message, loc=self.loc(token), hint=hint)

    # --- words -------------------------------------------------------------------------------------------

    def name(self) -> str:
        """A bare or quoted name."""
        token = self.token
        if token.kind == "string":
            return self.string()
        if token.kind != "name":
            raise self.error(f"expected a name, found {self.found()}")
        return self.next().text

    def ref(self, sigil: str) -> str:
        """The name in `%name` or `@name` (which may be quoted), without the sigil."""
        token = self.token
        if token.kind != "ref" or token.text[0] != sigil:
            raise self.error(f"expected a name with `{sigil}`, found {self.found()}")
        self.next()
        text = token.text[1:]
        return self._unquote(text, token) if text.startswith('"') else text

    def string(self) -> str:
        token = self.token
        if token.kind != "string":
            raise self.error(f"expected a string, found {self.found()}")
        self.next()
        return self._unquote(token.text, token)

    def _unquote(self, text: str, token: Token) -> str:
        try:
            return str(json.loads(text, strict=False))
        except ValueError:
            raise self.error("malformed string", token) from None

    def dtype(self) -> DType:
        """A dtype by its text name."""
        if self.token.kind == "name" and self.token.text in DTYPES:
            return DTYPES[self.next().text]
        raise self.error(f"expected a dtype, found {self.found()}", hint="one of " + ", ".join(DTYPES))

    # --- literals ----------------------------------------------------------------------------------------

    def integer(self) -> int:
        """An int of any size, with an optional `-`."""
        start = self.token
        sign = "-" if self.accept("-") else ""
        if self.token.kind != "int":
            raise self.error(f"expected an integer, found {self.found()}")
        return self._integer(sign + self.next().text, start)

    def _integer(self, text: str, token: Token) -> int:
        try:
            return int(text, 16 if "x" in text or "X" in text else 10)
        except ValueError:  # Python refuses to read thousands of digits
            raise self.error("integer too long", token) from None

    def at_literal(self) -> bool:
        """Whether a literal begins here."""
        token = self.token
        if token.text == "-" and token.kind == "punct":
            token = self.peek()
            return token.kind in ("int", "float") or (token.kind == "name" and token.text in ("inf", "nan"))
        if token.kind == "name" and token.text in ("c64", "c128"):
            return self.peek().text == "("
        return token.kind in ("int", "float") or (token.kind == "name" and token.text in LITERAL_WORDS)

    def constant(self) -> tuple[Number, DType]:
        """A literal that carries its dtype, as `constant_text` prints it."""
        start = self.token
        if start.text in ("c64", "c128"):
            dtype = DTYPES[start.text]
            return self.number(dtype), dtype
        text, default = self._raw()
        dtype = self.dtype() if self.accept(":") else default
        return self._value(text, dtype, start), dtype

    def number(self, dtype: DType) -> Number:
        """A literal of a dtype that is known from elsewhere, as `number_text` prints it."""
        start = self.token
        if dtype.kind != "c":
            return self._value(self._raw()[0], dtype, start)
        self.expect(dtype_name(dtype))
        self.expect("(")
        part = _part(dtype)
        re_ = self.number(part)
        self.expect(",")
        im = self.number(part)
        self.expect(")")
        return complex(re_, im)  # type: ignore[arg-type]

    def _raw(self) -> tuple[str, DType]:
        """The text of a real literal, and the dtype that it has when none is written."""
        sign = "-" if self.accept("-") else ""
        token = self.token
        if token.kind == "int" or token.kind == "float":
            self.next()
            return sign + token.text, I64 if token.kind == "int" else F64
        if token.kind == "name" and token.text in LITERAL_WORDS and not (sign and token.text in _BOOLS):
            self.next()
            bits = ""
            if token.text == "nan" and not sign and self.accept("("):
                bits = f"({self.integer():#x})"
                self.expect(")")
            return sign + token.text + bits, BOOL if token.text in _BOOLS else F64
        raise self.error(f"expected a literal, found {self.found()}")

    def _value(self, text: str, dtype: DType, token: Token) -> Number:
        if dtype.kind == "b" and text in _BOOLS:
            return text == "true"
        if dtype.kind in "iu" and text.lstrip("-")[0].isdigit() and _WHOLE.fullmatch(text):
            value = self._integer(text, token)
            info = np.iinfo(dtype)
            if info.min <= value <= info.max:
                return value
            raise self.error(f"integer out of range for {dtype_name(dtype)}", token)
        if dtype.kind == "f" and text not in _BOOLS:
            number = _read_float(text, dtype)
            if number is not None:
                return number
        raise self.error(f"`{text[:60]}` is not a value of {dtype_name(dtype)}", token)


_WHOLE = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|[0-9]+)")
_BOOLS = ("true", "false")

#: Words that are literals; no variable may be printed as one of them.
LITERAL_WORDS = ("true", "false", "inf", "nan")


def _utf8_length(text: str) -> int:
    """Columns of a Loc count UTF-8 bytes, as Python's own AST does."""
    return len(text.encode(errors="replace"))


# --- printing --------------------------------------------------------------------------------------------


def quoted(text: str) -> str:
    """A string literal: ASCII, one line, whatever the text holds."""
    return json.dumps(text)


def ref_name(sigil: str, name: str) -> str:
    """`%x`, or `%"odd name"`."""
    return sigil + (name if _PLAIN.fullmatch(name) else quoted(name))


def bare_name(name: str, reserved: frozenset[str] = frozenset(LITERAL_WORDS)) -> str:
    """`x`, or `"odd name"`; words of the grammar are quoted too."""
    return name if _BARE.fullmatch(name) and name not in reserved else quoted(name)


def loc_text(loc: Loc) -> str:
    """`file.py:12` for a comment; a file name that could end the comment is quoted."""
    return f"{loc.file if loc.file.isprintable() else quoted(loc.file)}:{loc.line}"


def constant_text(value: Number, dtype: DType) -> str:
    """A literal with its dtype (left out for i64, f64, bool)."""
    text = number_text(value, dtype)
    if dtype.kind == "c" or dtype in (I64, F64, BOOL):
        return text
    return f"{text}:{dtype_name(dtype)}"


def number_text(value: Number, dtype: DType) -> str:
    """A literal of a dtype that the reader knows."""
    match dtype.kind:
        case "b":
            return "true" if value else "false"
        case "c":
            part, number = _part(dtype), complex(value)
            return f"{dtype_name(dtype)}({_float_text(number.real, part)}, {_float_text(number.imag, part)})"
        case "f":
            return _float_text(float(value), dtype)  # type: ignore[arg-type]
    return str(int(value))  # type: ignore[arg-type]


def _part(dtype: DType) -> DType:
    return DTYPES["f32" if dtype.itemsize == 8 else "f64"]


def _float_text(value: float, dtype: DType) -> str:
    if math.isnan(value):
        bits = nan_bits(value, dtype)
        return "nan" if bits == nan_bits(math.nan, dtype) else f"nan({bits:#x})"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    text = repr(value) if dtype == F64 else str(dtype.type(value))
    # The short decimal is read through f64; where that rounds twice, hexadecimal is exact.
    return text if _read_float(text, dtype) == value else value.hex()


def _read_float(text: str, dtype: DType) -> float | None:
    """The value of a float literal rounded to `dtype`; None if it is malformed or too large."""
    if text.startswith("nan("):
        return nan_from_bits(int(text[4:-1], 16), dtype)
    try:
        value = float.fromhex(text) if "x" in text or "X" in text else float(text)
    except (ValueError, OverflowError):
        return None
    if math.isnan(value):
        return -math.nan if text.startswith("-") else math.nan
    with np.errstate(all="ignore"):
        rounded = float(dtype.type(value))
    return None if math.isinf(rounded) and "inf" not in text else rounded


# A NaN of a short dtype is held as a Python float with the payload at the top. Integers move it there and
# back, because the processor's own conversion would change signalling NaNs.
_MANTISSA = {2: 10, 4: 23, 8: 52}


def nan_bits(value: float, dtype: DType) -> int:
    """All bits that the NaN `value` has in `dtype`."""
    (bits,) = struct.unpack("<Q", struct.pack("<d", value))
    width, mantissa = 8 * dtype.itemsize, _MANTISSA[dtype.itemsize]
    exponent = ((1 << (width - 1 - mantissa)) - 1) << mantissa
    return (bits >> 63) << (width - 1) | exponent | (bits & ((1 << 52) - 1)) >> (52 - mantissa)


def nan_from_bits(bits: int, dtype: DType) -> float | None:
    """The Python float that stands for these bits of `dtype`; None if they are not those of a NaN."""
    width, mantissa = 8 * dtype.itemsize, _MANTISSA[dtype.itemsize]
    exponent = ((1 << (width - 1 - mantissa)) - 1) << mantissa
    payload = bits & ((1 << mantissa) - 1)
    if not 0 <= bits < 1 << width or bits & exponent != exponent or not payload:
        return None
    wide = (bits >> (width - 1)) << 63 | 0x7FF << 52 | payload << (52 - mantissa)
    (value,) = struct.unpack("<d", struct.pack("<Q", wide))
    return float(value)
