"""Expressions of OpenCL C as text: types, literals, how tightly operators bind, and what a name may be."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from sparsec.codegen.emit import illegal
from sparsec.codegen.gemm import part_dtype
from sparsec.ir.types import DType

__all__ = ["ADD", "ATOM", "BIT_OPERATORS", "COMPARISONS", "LOW", "MUL", "OPERATORS", "UNARY", "Text", "at_level",
           "identifier", "is_literal", "literal", "memory_type", "value_type"]

_INTEGERS = {1: "char", 2: "short", 4: "int", 8: "long"}


def value_type(dtype: DType) -> str:
    """The C type of a value in a variable."""
    match dtype.kind:
        case "b":
            return "bool"
        case "i":
            return _INTEGERS[dtype.itemsize]
        case "u":
            return "u" + _INTEGERS[dtype.itemsize]
        case "f":
            return {2: "ushort", 4: "float", 8: "double"}[dtype.itemsize]
    illegal(f"a value of {dtype}", "legalize")


def memory_type(dtype: DType) -> str:
    """The C type of a value in memory."""
    return "uchar" if dtype.kind == "b" else value_type(part_dtype(dtype))


@dataclass(frozen=True, slots=True)
class Text:
    """An expression: its C text, how tightly it binds, and whether its value stays while others change."""

    code: str
    level: int
    stable: bool = True

    def __str__(self) -> str:
        return self.code


# How tightly an operator binds: an operand that binds less is put in parentheses. Bit operators and
# comparisons bind least of all here, so that no reader needs C's table.
ATOM, UNARY, MUL, ADD, LOW = 5, 4, 3, 2, 1


def at_level(value: Text, level: int) -> str:
    """An operand of an operator that binds so tightly."""
    return value.code if value.level >= level else f"({value.code})"


def literal(value: Any, dtype: DType) -> Text:
    """The literal with exactly these bits."""
    match dtype.kind:
        case "b":
            return Text("true" if value else "false", ATOM)
        case "i" | "u":
            return _integer_literal(int(value), dtype)
    if dtype.itemsize == 2:
        with np.errstate(all="ignore"):
            half = np.float16(value)
        bits = f"{int(half.view(np.uint16)):#06x}"
        return Text(f"(ushort){_opaque(bits) if np.isnan(half) else bits}", UNARY)
    suffix, name = ("f", "float") if dtype.itemsize == 4 else ("", "double")
    value = float(dtype.type(value))
    if not math.isfinite(value):
        bits = f"{int(dtype.type(value).view(np.dtype(f'u{dtype.itemsize}'))):#x}{'UL' if suffix == '' else 'u'}"
        return Text(f"as_{name}{_opaque(bits) if math.isnan(value) else f'({bits})'}", ATOM)
    code = repr(value)
    if len(code) > 8 or "e" in code or Decimal(code) != Decimal(value):  # not exact in a few digits
        code = value.hex()
    return Text(code + suffix, UNARY if code.startswith("-") else ATOM)


def _opaque(bits: str) -> str:
    """The bits of a NaN that no compiler knows: PoCL's folds `floor(NaN)`, `exp(NaN)` and others to anything."""
    return f"({bits} | (get_global_size(0) == 0))"


def _integer_literal(value: int, dtype: DType) -> Text:
    suffix = "" if dtype.itemsize < 8 else "L"
    if dtype.kind == "u" and dtype.itemsize >= 4:
        return Text(f"{value}{'UL' if suffix else 'u'}", ATOM)
    if value == -(1 << 31) or value == -(1 << 63):  # C has no such literal
        code = f"(-{-value - 1}{suffix} - 1)"
        return Text(code, ATOM)
    if dtype.itemsize < 4:
        return Text(f"({value_type(dtype)}){f'({value})' if value < 0 else value}", UNARY)
    # A small long needs no suffix: an int literal is widened wherever it meets a long.
    return Text(f"{value}{suffix}", UNARY if value < 0 else ATOM)


def is_literal(value: Text) -> bool:
    """Whether it is an integer's literal without suffix."""
    return re.fullmatch(r"-?\d+", value.code) is not None


OPERATORS = {"add": ("+", ADD), "sub": ("-", ADD), "mul": ("*", MUL), "div": ("/", MUL)}
BIT_OPERATORS = {"and": "&", "or": "|", "xor": "^", "shl": "<<", "shr": ">>"}
COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}

#: What a variable may not be called: words of OpenCL C, functions and names that the emitted text uses.
_RESERVED_TEXT = """
auto break case char const continue default do double else enum extern float for goto if inline int long
register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
bool uchar ushort uint ulong half size_t ptrdiff_t intptr_t uintptr_t global local constant private generic
kernel read_only write_only read_write true false complex imaginary quad event_t sampler_t pipe
abs min max fabs fmod sqrt floor ceil trunc rint copysign exp exp2 expm1 log log2 log10 log1p sin cos tan asin
acos atan sinh cosh tanh asinh acosh atanh cbrt pow atan2 hypot nextafter fma status atomic_or atomic_cmpxchg
get_global_id get_global_size vload_half vstore_half_rte half_to_float float_to_half double_to_half
as_char as_uchar as_short as_ushort as_int as_uint as_long as_ulong as_float as_double
linux unix
"""
_RESERVED = frozenset(_RESERVED_TEXT.split())


_VECTOR = r"(u?(char|short|int|long)|float|double|half|bool|quad)\d|image"


def identifier(name: str) -> str:
    """A name that is sure to mean nothing in OpenCL C, as near to `name` as can be."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", name)
    # Capitals and leading underscores are where macros live; a type's name with digits is a vector type.
    if not re.match(r"[a-z]", name) or re.match(_VECTOR, name):
        name = f"v_{name.lstrip('_')}"
    return f"{name}_" if name in _RESERVED else name
