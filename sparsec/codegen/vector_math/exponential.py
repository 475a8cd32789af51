"""exp, exp2 and expm1.

x = n log 2 + r with n an integer and |r| <= log(2)/2 (Cody and Waite, "Software Manual for the Elementary
Functions", 1980), then exp(x) = 2**n exp(r), and exp(r) = 1 + r + r**2 q(r) with a polynomial q.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsec.codegen.vector_math.coefficients import EXP, EXP2, LN2, LOG2_E
from sparsec.codegen.vector_math.number import (
    Format,
    Number,
    Rounded,
    eq,
    fma,
    nearest,
    polynomial,
    power_of_two,
    select,
    times_power_of_two,
)
from sparsec.codegen.vector_math.words import Words, fast_sum

__all__ = ["Reduced", "clamp", "exp", "exp2", "exp_bounds", "expm1", "exponential_less_one", "reduce"]


@dataclass(frozen=True, slots=True)
class Reduced:
    """x = n log 2 + r + rest."""

    power: Rounded
    r: Number
    rest: Number


def exp_bounds(form: Format) -> tuple[float, float]:
    """Where exp certainly is 0, and where it certainly overflows."""
    return (-104.0, 89.0) if form.size == 4 else (-746.0, 710.0)


def clamp(x: Number, low: float, high: float) -> Number:
    """x within bounds; NaN stays."""
    above = select(x > high, high, x)
    return select(above < low, low, above)


def reduce(x: Number) -> Reduced:
    """The first product and difference are exact: the result is a multiple of the last bit of log 2's first
    part, and small."""
    high, low = LN2[x.format.size]
    power = nearest(x, LOG2_E[x.format.size][0])
    first = fma(power.n, -high, x)
    r = fma(power.n, -low, first)
    return Reduced(power, r, fma(power.n, -low, first - r))


def exp(x: Number) -> Number:
    """e**x. The rest of r would be worth a quarter of a unit in the last place, and costs a third."""
    parts = reduce(clamp(x, *exp_bounds(x.format)))
    r = parts.r
    return times_power_of_two(fma(fma(polynomial(EXP, r), r, 1.0), r, 1.0), parts.power)


def exp2(x: Number) -> Number:
    """2**x: here r = x - n is exact."""
    low, high = (-151.0, 129.0) if x.format.size == 4 else (-1076.0, 1025.0)
    x = clamp(x, low, high)
    power = nearest(x)
    r = x - power.n
    return times_power_of_two(fma(polynomial(EXP2, r), r, 1.0), power)


def exponential_less_one(parts: Reduced) -> Words:
    """exp(r) - 1 for the r of a reduction, in two words."""
    r = parts.r
    return fast_sum(r, fma(r * r, polynomial(EXP, r), parts.rest))


def scaled_less_one(parts: Reduced, halves: bool) -> Words:
    """exp(x) - 1, or half of it, in two words, for x >= 0 as long as 2**n does not overflow. (Then 2**n - 1
    is 0 or the larger summand.)"""
    p = exponential_less_one(parts)
    scale, one = (power_of_two(parts.power.k - 1), 0.5) if halves else (power_of_two(parts.power.k), 1.0)
    total = fast_sum(scale - one, scale * p.high)
    return Words(total.high, fma(scale, p.low, total.low))


def expm1(x: Number) -> Number:
    """e**x - 1 = 2**n (exp(r) - 1) + (2**n - 1), at half its size, so that 2**n does not overflow first."""
    low, high = (-18.0, 89.0) if x.format.size == 4 else (-38.0, 710.0)
    parts = reduce(clamp(x, low, high))
    p = exponential_less_one(parts)
    scale = power_of_two(parts.power.k - 1)
    far = fma(scale, p.low, fma(scale, p.high, scale - 0.5))
    near = select(eq(x, 0.0), x, p.high)  # the words of -0 sum up to +0
    return select(eq(parts.power.n, 0.0), near, far + far)
