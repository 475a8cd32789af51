"""Numbers of twice the precision: unevaluated sums of two floats.

The error-free sums and products are Dekker's and Knuth's, the product with a fused multiply-add (Muller et
al., "Handbook of Floating-Point Arithmetic", 2nd ed., algorithms 4.3, 4.4 and 5.1).
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsec.codegen.vector_math.number import Number, fma, sqrt

__all__ = ["Words", "divide", "fast_sum", "product", "quotient", "root", "two_sum"]


@dataclass(frozen=True, slots=True)
class Words:
    """`high + low`, where low is at most about a unit in the last place of high."""

    high: Number
    low: Number

    def plus(self, x: Number) -> Words:
        """The sum with a float, the low word rounded."""
        total = two_sum(self.high, x)
        return Words(total.high, total.low + self.low)

    def scaled(self, factor: Number | float) -> Words:
        """The product with a power of two."""
        return Words(self.high * factor, self.low * factor)


def fast_sum(x: Number, y: Number) -> Words:
    """x + y exactly, where |x| >= |y| or x = 0."""
    total = x + y
    return Words(total, y - (total - x))


def two_sum(x: Number, y: Number) -> Words:
    """x + y exactly."""
    total = x + y
    other = total - x
    return Words(total, (x - (total - other)) + (y - other))


def product(x: Number, y: Number | float) -> Words:
    """x * y exactly, as long as nothing underflows."""
    high = x * y
    return Words(high, fma(x, y, -high))


def divide(x: Words, y: Words) -> Words:
    """x / y, by one division: the remainder of the first quotient gives the rest."""
    return fast_sum(*_quotient(x, y))


def quotient(x: Words, y: Words) -> Number:
    """x / y as one float."""
    high, low = _quotient(x, y)
    return high + low


def _quotient(x: Words, y: Words) -> tuple[Number, Number]:
    inverse = 1.0 / y.high
    high = x.high * inverse
    rest = fma(-high, y.high, x.high) + fma(-high, y.low, x.low)
    return high, rest * inverse


def root(x: Words) -> Words:
    """sqrt(x), x not 0: one Newton step on the correctly rounded root."""
    high = sqrt(x.high)
    rest = fma(-high, high, x.high) + x.low
    return fast_sum(high, rest / (high + high))
