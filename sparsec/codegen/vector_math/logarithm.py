"""log, log2, log10 and log1p.

x = 2**k m with m within a factor sqrt(2) of 1, f = m - 1, s = f / (2 + f), and then
log(1 + f) = f - f*f/2 + s (f*f/2 + R(s*s)): the formula of FreeBSD's e_log.c, after Tang, "Table-driven
implementation of the logarithm function" (1990). The other bases keep the logarithm in two words, so that
the factor does not add its own error; for log10 in float32, a polynomial in f does that in less.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsec.codegen.vector_math.coefficients import (
    LN2_SHORT,
    LOG,
    LOG2_E,
    LOG10_2_SHORT,
    LOG10_E,
    LOG10_SINGLE,
    Table,
)
from sparsec.codegen.vector_math.number import (
    Number,
    bits_of,
    eq,
    float_of,
    fma,
    polynomial,
    power_of_two,
    select,
    whole,
)
from sparsec.codegen.vector_math.words import Words, fast_sum, product, two_sum

__all__ = ["Split", "log", "log10", "log1p", "log2", "log_of_words", "split"]

INFINITY, NAN = float("inf"), float("nan")


@dataclass(frozen=True, slots=True)
class Split:
    """x = 2**k m; `n` is k as a float."""

    m: Number
    k: Number
    n: Number


def split_normal(x: Number) -> Split:
    """For normal positive numbers. (Subtracting the bits of sqrt(1/2) makes the exponent field floor to k:
    the trick of musl's logf.c.)"""
    form = x.format
    root_half = bits_of(x.lift(0.5**0.5))
    above = bits_of(x) - root_half
    k = above >> form.mantissa
    m = float_of((above & ((1 << form.mantissa) - 1)) + root_half)
    return Split(m, k, whole(k))


def split(x: Number) -> Split:
    """For all positive numbers."""
    form = x.format
    small = x < form.tiny
    part = split_normal(select(small, x * 2.0**form.digits, x))
    return Split(part.m, part.k, select(small, part.n - float(form.digits), part.n))


def special(x: Number, regular: Number) -> Number:
    """What a logarithm is of 0, of negative numbers, of infinity and of NaN."""
    of_finite = select(x > 0.0, regular, select(eq(x, 0.0), x.lift(-INFINITY), NAN))
    return select(x < INFINITY, of_finite, x)


def _series(f: Number) -> tuple[Number, Number]:
    """f*f/2, and the rest: log(1 + f) = f - square + rest."""
    s = f / (2.0 + f)
    z, square = s * s, 0.5 * f * f
    return square, s * fma(z, polynomial(LOG, z), square)


def _sum(n: Number, f: Number, rest: Number | None = None) -> Number:
    """n log 2 + log(1 + f) + rest."""
    high, low = LN2_SHORT[f.format.size]
    square, tail = _series(f)
    if rest is not None:
        tail = tail + rest
    return fma(n, high, f - (square - fma(n, low, tail)))


def log(x: Number) -> Number:
    """The natural logarithm."""
    part = split(x)
    return special(x, _sum(part.n, part.m - 1.0))


def log_of_words(u: Words, more: Number | float = 0.0) -> Number:
    """log(u) + more log 2, for normal u, with little error where u is near 1."""
    part = split_normal(u.high)
    # u.low is less than a unit of u.high: where the scale underflows it does not matter.
    k = part.k
    scale = power_of_two(-select(k > u.high.format.bias - 1, k.lift(u.high.format.bias - 1), k))
    f = fast_sum(part.m - 1.0, u.low * scale)
    return _sum(part.n + more, f.high, fma(-f.low, f.high, f.low))


def log1p(x: Number) -> Number:
    """log(1 + x), of the exact sum in two words."""
    regular = log_of_words(two_sum(x.lift(1.0), select(x > -1.0, x, 1.0)))
    regular = select(eq(x, 0.0), x, regular)
    of_finite = select(x > -1.0, regular, select(eq(x, -1.0), x.lift(-INFINITY), NAN))
    return select(x < INFINITY, of_finite, x)


def _two_words(f: Number) -> Words:
    """log(1 + f)."""
    square, tail = _series(f)
    high = f - square
    # What the square lost when it was rounded.
    lost = 0.5 * fma(f, f, -(f * f))
    return Words(high, (((f - high) - square) - lost) + tail)


def _times(x: Words, factor: Table) -> Words:
    """The product with a constant of two words."""
    first, second = factor[x.high.format.size]
    high = x.high * first
    return Words(high, fma(x.high, second, fma(x.low, first, fma(x.high, first, -high))))


def log2(x: Number) -> Number:
    """The logarithm to base 2: whole for powers of two."""
    part = split(x)
    log_m = _times(_two_words(part.m - 1.0), LOG2_E)
    total = fast_sum(part.n, log_m.high)
    return special(x, total.high + (total.low + log_m.low))


def _log10_single(m: Number) -> Words:
    """log10(m) by a polynomial in m - 1; the first product keeps both words."""
    f = m - 1.0
    first = product(f, LOG10_E[4][0])
    return Words(first.high, fma(f, polynomial(LOG10_SINGLE, f), first.low))


def log10(x: Number) -> Number:
    """The logarithm to base 10."""
    high, low = LOG10_2_SHORT[x.format.size]
    part = split(x)
    if x.format.size == 4:
        log_m = _log10_single(part.m)
    else:
        log_m = _times(_two_words(part.m - 1.0), LOG10_E)
    total = fast_sum(part.n * high, log_m.high)
    return special(x, total.high + (total.low + fma(part.n, low, log_m.low)))
