"""asinh, acosh and atanh, as logarithms of an argument in two words.

asinh(x) = log(x + sqrt(x*x + 1)), acosh(x) = log(x + sqrt(x*x - 1)), atanh(x) = log((1 + x)/(1 - x)) / 2. The
second word carries what other codes use log1p and three ranges for.
"""

from __future__ import annotations

from sparsec.codegen.vector_math.logarithm import log_of_words
from sparsec.codegen.vector_math.number import Number, copysign, eq, fma, magnitude, select
from sparsec.codegen.vector_math.words import Words, divide, fast_sum, product, root, two_sum

__all__ = ["acosh", "asinh", "atanh"]

INFINITY, NAN = float("inf"), float("nan")


def _large(x: Number) -> Number:
    """Where x*x + 1 = x*x, nearly enough."""
    return x > x.format.pick(2.0**14, 2.0**29)


def _tiny(x: Number) -> Number:
    """Where x + x**3/6 is enough, and one word would be too little for 1 + x."""
    return magnitude(x) < x.format.pick(2.0**-8, 2.0**-20)


def _log_of_sum(size: Number, one: float) -> Number:
    """log(size + sqrt(size*size + one))."""
    large = _large(size)
    x = select(large, 2.0, size)
    square = product(x, x)
    radicand = two_sum(square.high, x.lift(one))
    radicand = fast_sum(radicand.high, radicand.low + square.low)
    # A zero under the root would divide by zero; its logarithm is 0 either way.
    zero = eq(radicand.high, 0.0)
    height = root(Words(select(zero, 1.0, radicand.high), radicand.low))
    height = Words(select(zero, 0.0, height.high), height.low)
    total = two_sum(height.high, x)
    u = fast_sum(total.high, total.low + height.low)
    u = Words(select(large, size, u.high), select(large, 0.0, u.low))
    return log_of_words(u, select(large, size.lift(1.0), 0.0))


def _cubic(x: Number, factor: float) -> Number:
    """x + factor * x**3."""
    return fma(x * (x * x), factor, x)


def asinh(x: Number) -> Number:
    """The inverse hyperbolic sine."""
    size = magnitude(x)
    finite = size < INFINITY
    far = select(finite, _log_of_sum(select(finite, size, 1.0), 1.0), size)
    return copysign(select(_tiny(x), _cubic(size, -1 / 6), far), x)


def acosh(x: Number) -> Number:
    """The inverse hyperbolic cosine; NaN below 1."""
    usual = (x >= 1.0) & (x < INFINITY)
    return select(usual, _log_of_sum(select(usual, x, 1.0), -1.0), select(x < 1.0, NAN, x))


def atanh(x: Number) -> Number:
    """The inverse hyperbolic tangent; NaN beyond 1."""
    size = magnitude(x)
    inside = size < 1.0
    a = select(inside, size, 0.0)
    u = divide(two_sum(x.lift(1.0), a), two_sum(x.lift(1.0), -a))
    far = select(inside, 0.5 * log_of_words(u), select(eq(size, 1.0), INFINITY, x.lift(NAN)))
    return copysign(select(_tiny(x), _cubic(size, 1 / 3), far), x)
