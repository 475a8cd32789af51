"""asin, acos, atan and atan2.

asin(s) = s + s**3 q(s*s) for |s| <= 1/2, and asin(x) = pi/2 - 2 asin(sqrt((1 - x)/2)) beyond (FreeBSD's
e_asin.c). The angle of (x, y) is atan of the smaller over the larger coordinate, by one odd polynomial on
[0, 1], turned into its octant.
"""

from __future__ import annotations

from sparsec.codegen.vector_math.coefficients import ASIN, ATAN, HALF_PI, PI
from sparsec.codegen.vector_math.number import (
    Number,
    bits_of,
    copysign,
    eq,
    magnitude,
    polynomial,
    select,
    sqrt,
)

__all__ = ["acos", "asin", "atan", "atan2"]

INFINITY = float("inf")


def _arc(x: Number) -> tuple[Number, Number, Number]:
    """Whether |x| is at most 1/2; s = |x| or sqrt((1 - |x|) / 2); and asin(s) - s."""
    size = magnitude(x)
    small = size <= 0.5
    z = select(small, x * x, 0.5 - 0.5 * size)
    s = select(small, size, sqrt(z))
    return small, s, s * (z * polynomial(ASIN, z))


def asin(x: Number) -> Number:
    """The inverse sine; NaN beyond 1 (the square root is)."""
    high, low, _ = HALF_PI[x.format.size]
    small, s, rest = _arc(x)
    far = high - (2.0 * s - (low - 2.0 * rest))
    return copysign(select(small, s + rest, far), x)


def acos(x: Number) -> Number:
    """The inverse cosine."""
    half, half_low, _ = HALF_PI[x.format.size]
    full, full_low = PI[x.format.size]
    small, s, rest = _arc(x)
    middle = half - (copysign(s, x) - (half_low - copysign(rest, x)))
    left = full - (2.0 * s - (full_low - 2.0 * rest))
    right = 2.0 * (s + rest)
    return select(small, middle, select(x < 0.0, left, right))


def _first_octant(t: Number) -> Number:
    """atan(t) - t for t in [0, 1]."""
    z = t * t
    return t * (z * polynomial(ATAN, z))


def atan(x: Number) -> Number:
    """The inverse tangent."""
    high, low, _ = HALF_PI[x.format.size]
    size = magnitude(x)
    steep = size > 1.0
    t = select(steep, -1.0 / size, size)
    rest = _first_octant(t)
    return copysign(select(steep, high + (t + (low + rest)), t + rest), x)


def atan2(y: Number, x: Number) -> Number:
    """The angle of the point (x, y), in (-pi, pi]; zeros and infinities by their signs (ISO C, F.10.1.4)."""
    half, half_low, _ = HALF_PI[x.format.size]
    full, full_low = PI[x.format.size]
    a, b = magnitude(x), magnitude(y)
    steep = b > a
    larger, smaller = select(steep, b, a), select(steep, a, b)
    diagonal = eq(smaller, INFINITY)  # both infinite: as if both were 1
    below = select(diagonal | eq(larger, 0.0), 1.0, larger)
    t = select(diagonal, 1.0, smaller) / below
    rest = _first_octant(t)
    left = bits_of(x) < 0
    # The angle from the nearest axis, counted from the positive x axis: 0 + t, pi/2 -+ t, or pi - t.
    turned = steep ^ left
    base = select(steep, half, select(left, full, y.lift(0.0)))
    base_low = select(steep, half_low, select(left, full_low, y.lift(0.0)))
    angle = select(turned, -t, t)
    total = base + (angle + (base_low + select(turned, -rest, rest)))
    return select(x.isnan() | y.isnan(), x + y, copysign(total, y))
