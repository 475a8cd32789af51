"""The text form of the graph IR: what every stage is printed as, saved as, and resumed from.

    func @f(%x0: f32[8,6] @x, %hi: i32[k<=32]) {
      storage @e: arena+64, 128 bytes
      %v = slice %x0 {start=[0, 1], size=[4, 2], step=[2, 2]} : f32[4,2] @x+1:(12,2)  // f.py:4
      %e = exp %v : f32[4,2]
      %x1 = update %x0, %v, %e : f32[8,6] @x
      return %e writes %x1
    }

One grammar serves every op, so nothing here knows an op by name:

    func   ::= 'func' @name '(' [%name ':' type, …] ')' known '{' storage* op* return '}'
    known  ::= ['constant' @name, …] ['where' bound, …]
    bound  ::= [int '<='] symbol ['<=' int]
    op     ::= [%name, … '='] name [%name, …] ['{' key '=' attr, … '}'] region* [':' type, …]
    region ::= '(' [%name ':' type, …] ')' '{' op* 'yield' [%name, …] '}'
    type   ::= dtype ['[' dim ['of' int '@' %name], … ']'] ['@' name [('+' | '-') dim] [':' '(' dim, … ')']]
    attr   ::= int | float | complex | string | 'true' | 'false' | 'none' | dtype | dim | '[' attr, … ']'

A symbol's bounds hold in the whole function. An upper bound is written where the symbol is a dim of its own
(`[n<=1000,4]`); what cannot be said there stands behind `where`. Nobody ever writes to those behind `constant`.
`// file.py:4` is the user's line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from sparsec.errors import Loc, VerifyError
from sparsec.ir.dims import Dim, Poly, Sym, as_sym
from sparsec.ir.graph import Attr, Func, Op, Placement, Region, Value, walk
from sparsec.ir.lexer import LITERAL_WORDS, bare_name, loc_text, number_text, quoted, ref_name
from sparsec.ir.reader import parse, parse_all, parse_types
from sparsec.ir.tensorref import TensorRef, contiguous_strides
from sparsec.ir.types import DTYPES, F32, F64, TensorType, dtype_name

__all__ = ["attr_text", "op_error", "op_text", "parse", "parse_all", "parse_types", "to_text", "type_to_text"]

_INDENT = "  "
_LONGEST = 300  # characters of an op in a message

#: Stands between the message of an `op_error` and the op.
OP_MARK = "\n  in: "

#: Words that an attribute would be read as, were a symbol so called.
_RESERVED = frozenset({*LITERAL_WORDS, *DTYPES, "none", "of"})

#: Words that end a list of ops, so that no op can be so called.
_KEYWORDS = frozenset({"yield", "return", "storage"})


def to_text(func: Func, *, locs: bool = True) -> str:
    """The text of a function, ending in a newline; `parse` reads it back. `locs`: show the user's lines."""
    params = ", ".join(map(_declared, func.params))
    where = ", ".join(_bounds(func))
    constants = ", ".join(ref_name("@", name) for name in func.constants)
    known = f"{f'constant {constants} ' if constants else ''}{f'where {where} ' if where else ''}"
    head = f"func {ref_name('@', func.name)}({params}) {known}{{"
    lines = [head + _comment(func.loc, locs)]
    lines += [_INDENT + _placement(p) for p in func.plan]
    for op in func.ops:
        lines += _op_lines(op, _INDENT, locs)
    writes = f" writes {_names(func.writes)}" if func.writes else ""
    results = f" {_names(func.results)}" if func.results else ""
    return "\n".join([*lines, f"{_INDENT}return{results}{writes}", "}", ""])


def op_text(op: Op) -> str:
    """One op on one line, for messages; regions are shown as `{…}`."""
    text = _head(op) + "".join(" {…}" for _ in op.regions) + _types(op)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def op_error(op: Op, message: str) -> VerifyError:
    """The error for an op that breaks a rule: what is wrong, the op's text and the user's line."""
    return VerifyError(f"{message}{OP_MARK}{op_text(op)}", loc=op.loc)


def _op_lines(op: Op, indent: str, locs: bool) -> Iterator[str]:
    """The comment with the line stands where the op begins: a loop's header, not its end."""
    comment = _comment(op.loc, locs)
    line = indent + _head(op)
    for region in op.regions:
        yield f"{line} {_region_head(region)}{comment}"
        comment = ""
        for inner in region.ops:
            yield from _op_lines(inner, indent + _INDENT, locs)
        values = f" {_names(region.yields)}" if region.yields else ""
        yield f"{indent}{_INDENT}yield{values}"
        line = f"{indent}}}"
    yield line + _types(op) + comment


def _head(op: Op) -> str:
    results = f"{_names(op.results)} = " if op.results else ""
    operands = f" {_names(op.operands)}" if op.operands else ""
    attrs = ", ".join(f"{bare_name(key)}={attr_text(value)}" for key, value in op.attrs.items())
    return f"{results}{bare_name(op.name, _KEYWORDS)}{operands}{f' {{{attrs}}}' if attrs else ''}"


def _types(op: Op) -> str:
    return " : " + ", ".join(type_to_text(r.type) for r in op.results) if op.results else ""


def _region_head(region: Region) -> str:
    return f"({', '.join(map(_declared, region.params))}) {{"


def _comment(loc: Loc | None, locs: bool) -> str:
    return f"  // {loc_text(loc)}" if loc is not None and locs else ""


def _names(values: Iterable[Value]) -> str:
    return ", ".join(ref_name("%", v.name) for v in values)


def _declared(value: Value) -> str:
    return f"{ref_name('%', value.name)}: {type_to_text(value.type)}"


def _placement(p: Placement) -> str:
    return f"storage {ref_name('@', p.storage)}: {bare_name(p.space)}+{p.offset}, {p.nbytes} bytes"


# --- types and dims --------------------------------------------------------------------------------------


def type_to_text(t: TensorType) -> str:
    """As `str(t)`, with odd names quoted."""
    dims = [_shape_dim(d) for d in t.shape]
    if t.channels is not None:
        index = ref_name("%", t.channels.index.removeprefix("%"))
        dims[t.channels.axis] += f" of {t.channels.full} @{index}"
    text = dtype_name(t.dtype) + (f"[{','.join(dims)}]" if dims else "")
    return text if t.ref is None else f"{text} {_ref(t.ref, t.shape)}"


def _shape_dim(dim: Dim) -> str:
    symbol = as_sym(dim)
    bound = f"<={symbol.upper}" if symbol is not None and symbol.upper >= 0 else ""
    return _dim(dim) + bound


def _ref(ref: TensorRef, shape: tuple[Dim, ...]) -> str:
    text = ref_name("@", ref.storage)
    if ref.offset != 0:
        offset = _dim(ref.offset)
        text += offset if offset.startswith("-") else f"+{offset}"
    if ref.strides != contiguous_strides(shape):
        text += f":({','.join(map(_dim, ref.strides))})"
    return text


def _dim(dim: Dim) -> str:
    """`6*%i-6`, highest degree first; bounds are not shown."""
    if not isinstance(dim, Poly):
        return str(int(dim))
    text = ""
    for monomial, factor in sorted(dim.terms, key=lambda term: (-len(term[0]), term)):
        size = [str(abs(factor))] if abs(factor) != 1 or not monomial else []
        text += ("-" if factor < 0 else "+") + "*".join([*size, *map(_symbol, monomial)])
    return text.removeprefix("+")


def _symbol(symbol: Sym) -> str:
    if symbol.name.startswith("%"):
        return ref_name("%", symbol.name[1:])
    plain = bare_name(symbol.name, _RESERVED)
    return f"#{plain}" if plain.startswith('"') else plain


def _bounds(func: Func) -> Iterator[str]:
    """The bounds that no printed shape tells, in order of the symbols' names."""
    told: set[str] = set()
    found: dict[str, Sym] = {}
    for item in _texts(func):
        for dim in item.shape if isinstance(item, TensorType) else ():
            symbol = as_sym(dim)
            if symbol is not None and symbol.upper >= 0:
                told.add(symbol.name)
        found.update((s.name, s) for s in _symbols(item))
    for name, symbol in sorted(found.items()):
        low = f"{symbol.lower}<=" if symbol.lower != 0 else ""
        high = f"<={symbol.upper}" if symbol.upper >= 0 and name not in told else ""
        if low or high:
            yield low + _symbol(symbol) + high


def _texts(func: Func) -> Iterator[Any]:
    """Every type and attribute that the text of `func` shows."""
    yield from (p.type for p in func.params)
    for op in walk(func.ops):
        yield from op.attrs.values()
        yield from (r.type for r in op.results)
        yield from (p.type for region in op.regions for p in region.params)


def _symbols(item: Any) -> Iterator[Sym]:
    match item:
        case Poly():
            for monomial, _ in item.terms:
                yield from monomial
        case tuple() | list():
            for part in item:
                yield from _symbols(part)
        case TensorType():
            yield from _symbols(item.shape)
            if item.ref is not None:
                yield from _symbols((item.ref.offset, *item.ref.strides))


# --- attributes ------------------------------------------------------------------------------------------


def attr_text(value: Attr) -> str:
    """An attribute; the reader gives the same Python value with the same bits."""
    match value:
        case None:
            return "none"
        case np.generic():
            return attr_text(value.item())
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return _float(value)
        case complex():
            return number_text(value, DTYPES["c128"])
        case str():
            return quoted(value)
        case Poly():
            return _dim(value)
        case tuple() | list():
            return f"[{', '.join(map(attr_text, value))}]"
        case np.dtype():
            return dtype_name(value)
    raise TypeError(f"an attribute cannot be a {type(value).__name__}: {value!r}")


def _float(value: float) -> str:
    """The shortest text: a number that came from f32 reads `0.1:f32` rather than 0.10000000149011612."""
    text = number_text(value, F64)
    with np.errstate(all="ignore"):
        narrow = F32.type(value)
    if float(narrow) == value and len(short := f"{number_text(value, F32)}:f32") < len(text):
        return short
    return text
