"""sinh, cosh and tanh, from exp(x) or exp(x) - 1 in two words.

sinh(x) = (E + E/(E + 1)) / 2 and tanh(x) = E2 / (E2 + 2), where E = expm1(x), E2 = expm1(2x): the formulas of
FreeBSD's e_sinh.c and s_tanh.c. In two words they need no other formula near 0.
"""

from __future__ import annotations

from sparsec.codegen.vector_math.exponential import (
    Reduced,
    clamp,
    exp_bounds,
    exponential_less_one,
    reduce,
    scaled_less_one,
)
from sparsec.codegen.vector_math.number import (
    Number,
    copysign,
    fma,
    magnitude,
    power_of_two,
    select,
    times_power_of_two,
)
from sparsec.codegen.vector_math.words import divide, fast_sum, quotient

__all__ = ["cosh", "sinh", "tanh"]


def _half_exp(parts: Reduced) -> Number:
    """exp(x) / 2, which overflows later than exp(x)."""
    p = exponential_less_one(parts)
    return times_power_of_two(1.0 + (p.high + p.low), parts.power, less=1)


def _large(x: Number) -> Number:
    """Where exp(-x) does not count beside exp(x)."""
    return x > x.format.pick(11.0, 22.0)


def _reduced(size: Number) -> Reduced:
    bound = exp_bounds(size.format)[1] + 1.0
    return reduce(select(size > bound, bound, size))


def sinh(x: Number) -> Number:
    """The hyperbolic sine."""
    size = magnitude(x)
    parts = _reduced(size)
    half = scaled_less_one(parts, halves=True)
    ratio = divide(half, half.plus(x.lift(0.5))).scaled(0.5)
    total = fast_sum(half.high, ratio.high)
    near = total.high + (total.low + (half.low + ratio.low))
    result = select(_large(size), _half_exp(parts), near)
    # Below, x**3 / 6 does not count, and a half of a denormal would not be exact.
    tiny = size < x.format.pick(2.0**-13, 2.0**-27)
    return select(tiny, x, copysign(result, x))


def cosh(x: Number) -> Number:
    """The hyperbolic cosine: exp(x)/2 + 1/(2 exp(x))."""
    size = magnitude(x)
    parts = _reduced(size)
    p = exponential_less_one(parts)
    scale = power_of_two(parts.power.k - 1)
    half = fast_sum(scale, scale * p.high)
    low = fma(scale, p.low, half.low)
    inverse = 0.25 / half.high
    rest = fma(inverse, fma(half.high, -4.0 * inverse, 1.0), -(4.0 * inverse * (inverse * low)))
    near = half.high + (inverse + (low + rest))
    return select(_large(size), _half_exp(parts), near)


def tanh(x: Number) -> Number:
    """The hyperbolic tangent."""
    size = magnitude(x)
    twice = size + size
    bound = x.format.pick(22.0, 44.0)  # from half of it on, the result rounds to 1
    e = scaled_less_one(reduce(clamp(twice, 0.0, bound)), halves=False)
    return copysign(quotient(e, e.plus(x.lift(2.0))), x)
