"""pow.

x**y = exp(y log|x|) with the logarithm in two words: log(1 + f) = 2s + 2/3 s**3 + s**5 q(s*s) for
s = f / (2 + f), of which the first two terms need both words (the plan of FreeBSD's e_pow.c, without its
table). The special values are C's (ISO C, F.10.4.4).
"""

from __future__ import annotations

from sparsec.codegen.vector_math.coefficients import EXP, LN2_SHORT, LOG_TAIL, TWO_THIRDS
from sparsec.codegen.vector_math.exponential import clamp, exp_bounds, reduce
from sparsec.codegen.vector_math.logarithm import split
from sparsec.codegen.vector_math.number import (
    Number,
    bits_of,
    eq,
    float_of,
    fma,
    magnitude,
    ne,
    polynomial,
    rint,
    select,
    times_power_of_two,
)
from sparsec.codegen.vector_math.words import Words, divide, fast_sum, product, two_sum

__all__ = ["pow"]

INFINITY, NAN = float("inf"), float("nan")


def _times(x: Words, y: Words) -> Words:
    high = x.high * y.high
    low = fma(x.high, y.high, -high)
    return Words(high, fma(x.high, y.low, fma(x.low, y.high, low)))


def _log(x: Number) -> Words:
    """log(x) for positive finite x; the relative error is about 2**-12 of a unit in the last place."""
    part = split(x)
    f = part.m - 1.0
    s = divide(Words(f, x.lift(0.0)), fast_sum(x.lift(2.0), f))
    z = _times(s, s)
    third, third_low = TWO_THIRDS[x.format.size]
    factor = fast_sum(x.lift(third), z.high * polynomial(LOG_TAIL, z.high))
    cube = _times(s, _times(z, Words(factor.high, factor.low + third_low)))
    log_m = fast_sum(s.high + s.high, cube.high)
    log_m = Words(log_m.high, log_m.low + (fma(s.low, 2.0, cube.low)))
    high, low = LN2_SHORT[x.format.size]
    total = two_sum(part.n * high, log_m.high)
    return fast_sum(total.high, total.low + fma(part.n, low, log_m.low))


def _exp(x: Words) -> Number:
    """exp(x)."""
    low, high = exp_bounds(x.high.format)
    inside = (x.high > low) & (x.high < high)
    parts = reduce(clamp(x.high, low, high))
    r = two_sum(parts.r, select(inside, x.low, 0.0))
    tail = fma(r.high * r.high, polynomial(EXP, r.high), parts.rest + r.low)
    return times_power_of_two(1.0 + (r.high + tail), parts.power)


def _is_odd(y: Number) -> Number:
    """Whether y is an odd integer: then y is whole and y/2 is not."""
    half = y * 0.5
    return eq(y, rint(y)) & ne(half, rint(half))


def _positive(a: Number, y: Number) -> Number:
    """a**y for a >= 0, neither NaN; infinite y counts as huge."""
    huge = 2.0 ** (a.format.digits + 12)
    usual = (a > 0.0) & (a < INFINITY)
    log_a = _log(select(usual, a, 1.0))
    limited = clamp(y, -huge, huge)
    high = product(limited, log_a.high)
    regular = _exp(Words(high.high, fma(limited, log_a.low, high.low)))
    at_end = select(ne(eq(a, 0.0), y < 0.0), 0.0, a.lift(INFINITY))
    return select(usual, regular, at_end)


def pow(x: Number, y: Number) -> Number:
    """x**y."""
    size = _positive(magnitude(x), y)
    sign = select(_is_odd(y), bits_of(x) & x.format_sign(), bits_of(x.lift(0.0)))
    result = float_of(bits_of(size) ^ sign)
    finite = magnitude(x) < INFINITY
    result = select((x < 0.0) & finite & ne(y, rint(y)), NAN, result)
    result = select(x.isnan() | y.isnan(), x + y, result)
    return select(eq(x, 1.0) | eq(y, 0.0), 1.0, result)
