"""Scalars that formulas are written with: Python's operators build loop-IR expressions.

    z = x * x
    y = fma(z * x, polynomial(SIN, z), x)

Integers are lifted to the dtype of the other operand. Nothing is simplified: what is written is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from sparsec.codegen.vector_math.coefficients import Table
from sparsec.ir.loops import Apply, Expr
from sparsec.ir.scalar import apply, const
from sparsec.ir.types import DType

__all__ = [
    "Format", "Number", "Rounded", "bits_of", "copysign", "eq", "float_of", "fma", "format_of", "magnitude", "ne",
    "nearest", "polynomial", "power_of_two", "rint", "select", "sqrt", "times_power_of_two", "whole",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Format:
    """A float format: `digits` significant bits, the lowest stored in `mantissa` bits."""

    dtype: DType
    integer: DType
    digits: int
    bias: int

    @property
    def mantissa(self) -> int:
        return self.digits - 1

    @property
    def size(self) -> int:
        return self.dtype.itemsize

    @property
    def tiny(self) -> float:
        """The smallest normal number."""
        return 2.0 ** (1 - self.bias)

    def pick(self, single: float, double: float) -> float:
        return single if self.size == 4 else double


@cache
def format_of(dtype: DType) -> Format:
    """The facts of float32 or float64."""
    size = dtype.itemsize
    digits, bias = {4: (24, 127), 8: (53, 1023)}[size]
    return Format(np.dtype(f"f{size}"), np.dtype(f"i{size}"), digits, bias)


class Number:
    """A float, an integer or a truth value."""

    __slots__ = ("expr",)

    def __init__(self, expr: Expr) -> None:
        self.expr = expr

    @property
    def dtype(self) -> DType:
        return self.expr.dtype

    @property
    def format(self) -> Format:
        return format_of(self.dtype)

    def lift(self, other: Number | float | int) -> Number:
        """A literal of this number's dtype."""
        return other if isinstance(other, Number) else Number(const(other, self.dtype))

    def __add__(self, other: Number | float) -> Number:
        return _apply("add", self, self.lift(other))

    def __sub__(self, other: Number | float) -> Number:
        return _apply("sub", self, self.lift(other))

    def __mul__(self, other: Number | float) -> Number:
        return _apply("mul", self, self.lift(other))

    def __truediv__(self, other: Number | float) -> Number:
        return _apply("div", self, self.lift(other))

    def __radd__(self, other: float) -> Number:
        return self.lift(other) + self

    def __rsub__(self, other: float) -> Number:
        return self.lift(other) - self

    def __rmul__(self, other: float) -> Number:
        return self.lift(other) * self

    def __rtruediv__(self, other: float) -> Number:
        return self.lift(other) / self

    def __neg__(self) -> Number:
        return _apply("neg", self)

    def __and__(self, other: Number | int) -> Number:
        return _apply("and", self, self.lift(other))

    def __or__(self, other: Number | int) -> Number:
        return _apply("or", self, self.lift(other))

    def __xor__(self, other: Number | int) -> Number:
        return _apply("xor", self, self.lift(other))

    def __invert__(self) -> Number:
        return _apply("not", self)

    def __lshift__(self, amount: int) -> Number:
        return _apply("shl", self, self.lift(amount))

    def __rshift__(self, amount: int) -> Number:
        return _apply("shr", self, self.lift(amount))

    def __lt__(self, other: Number | float) -> Number:
        return _apply("lt", self, self.lift(other))

    def __le__(self, other: Number | float) -> Number:
        return _apply("le", self, self.lift(other))

    def __gt__(self, other: Number | float) -> Number:
        return _apply("gt", self, self.lift(other))

    def __ge__(self, other: Number | float) -> Number:
        return _apply("ge", self, self.lift(other))

    def format_sign(self) -> int:
        """The bit of the sign."""
        return -(1 << (8 * self.format.size - 1))

    def isnan(self) -> Number:
        return _apply("ne", self, self)


def _apply(fn: str, *args: Number) -> Number:
    return Number(apply(fn, *(arg.expr for arg in args)))


def _unary(fn: str) -> Callable[[Number], Number]:
    def build(x: Number) -> Number:
        return _apply(fn, x)

    return build


magnitude, sqrt, rint = _unary("abs"), _unary("sqrt"), _unary("rint")


def eq(x: Number, y: Number | float) -> Number:
    """x == y, false with NaN."""
    return _apply("eq", x, x.lift(y))


def ne(x: Number, y: Number | float) -> Number:
    """x != y, true with NaN."""
    return _apply("ne", x, x.lift(y))


def copysign(x: Number, y: Number) -> Number:
    """|x| with the sign of y."""
    return _apply("copysign", x, y)


def fma(x: Number, y: Number | float, z: Number | float) -> Number:
    """x * y + z, rounded once."""
    return _apply("fma", x, x.lift(y), x.lift(z))


def select(condition: Number, x: Number | float, y: Number | float) -> Number:
    """One of two values, of which one at least is a Number. Both are computed."""
    like = x if isinstance(x, Number) else y
    assert isinstance(like, Number)
    x, y = like.lift(x), like.lift(y)
    return Number(Apply("select", (condition.expr, x.expr, y.expr), like.dtype))


def bits_of(x: Number) -> Number:
    """The bits of a float as an integer."""
    return Number(Apply("bitcast", (x.expr,), x.format.integer))


def float_of(bits: Number) -> Number:
    """The float with these bits."""
    return Number(Apply("bitcast", (bits.expr,), format_of(bits.dtype).dtype))


def polynomial(table: Table, x: Number) -> Number:
    """Horner's rule, one fma for each power."""
    *rest, last = table[x.format.size]
    result = x.lift(last)
    for coefficient in reversed(rest):
        result = fma(result, x, coefficient)
    return result


@dataclass(frozen=True, slots=True)
class Rounded:
    """An integer as a float `n`, and in the low bits of `raw`, more by twice the bias of exponents."""

    n: Number
    raw: Number

    @property
    def k(self) -> Number:
        """The integer."""
        return self.raw - bits_of(self.n.lift(_magic(self.n.format)))


def nearest(x: Number, factor: float = 1.0) -> Rounded:
    """The integer nearest to x * factor, of size less than 2**(digits - 3).

    Adding 1.5 * 2**(digits - 1) leaves no bits behind the point, and the integer in the low bits: no
    conversion is needed, which AVX2 lacks for 64 bits. (Hacker's Delight, 2nd ed., section 17-3.)
    """
    magic = _magic(x.format)
    shifted = x + magic if factor == 1.0 else fma(x, factor, magic)
    return Rounded(shifted - magic, bits_of(shifted))


def whole(k: Number) -> Number:
    """The float of an integer, |k| < 2**(digits - 3): the same trick the other way round."""
    x = Number(const(_magic(format_of(k.dtype)), format_of(k.dtype).dtype))
    return float_of(k + bits_of(x)) - x


def _magic(form: Format) -> float:
    # Twice the bias is even: `nearest` breaks ties as it would without it.
    return 1.5 * 2.0**form.mantissa + 2 * form.bias


def power_of_two(k: Number) -> Number:
    """2**k for exponents of normal numbers."""
    form = format_of(k.dtype)
    return float_of((k + form.bias) << form.mantissa)


def times_power_of_two(x: Number, power: Rounded, less: int = 0) -> Number:
    """x * 2**(n - less), rounded once: two factors have twice the range of one, so results may overflow or be
    denormal. Each gets half of n + 2 * bias; what stands above it in `raw` is shifted out."""
    raw, mantissa = power.raw - less if less else power.raw, x.format.mantissa
    half = raw >> 1
    return x * float_of(half << mantissa) * float_of((raw - half) << mantissa)
