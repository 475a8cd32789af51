"""cbrt and hypot.

cbrt: x = 2**(3k) m; y = m**(-1/3) by a polynomial and Halley steps y (1 + e/3 + 2 e*e/9), e = 1 - m y**3; then
m y*y is the root, and one Newton step with its cube in two words leaves the last rounding only.
"""

from __future__ import annotations

from sparsec.codegen.vector_math.coefficients import RCBRT
from sparsec.codegen.vector_math.logarithm import split
from sparsec.codegen.vector_math.number import (
    Number,
    copysign,
    eq,
    fma,
    magnitude,
    nearest,
    polynomial,
    power_of_two,
    select,
    sqrt,
)
from sparsec.codegen.vector_math.words import product

__all__ = ["cbrt", "hypot"]

INFINITY = float("inf")


def cbrt(x: Number) -> Number:
    """The cube root."""
    size = magnitude(x)
    usual = (size > 0.0) & (size < INFINITY)
    part = split(select(usual, size, 1.0))
    third = nearest(part.n, 1 / 3)
    n = third.n
    left = fma(n, -3.0, part.n)  # -1, 0 or 1
    m = part.m * select(left > 0.0, 2.0, select(left < 0.0, part.m.lift(0.5), 1.0))
    y = polynomial(RCBRT, m)
    for _ in range(1 if x.format.size == 4 else 2):
        e = fma(-(m * y), y * y, 1.0)
        y = fma(y * e, fma(e, 2 / 9, 1 / 3), y)
    inverse_square = y * y
    r = m * inverse_square
    square = product(r, r)
    cube = product(square.high, r)
    excess = (cube.high - m) + fma(square.low, r, cube.low)
    closer = fma(excess * inverse_square, -1 / 3, r)
    return select(usual, copysign(closer * power_of_two(third.k), x), x)


def hypot(x: Number, y: Number) -> Number:
    """sqrt(x*x + y*y), scaled by a power of two away from overflow and underflow; infinite beside NaN."""
    form = x.format
    a, b = magnitude(x), magnitude(y)
    larger, smaller = select(a > b, a, b), select(a > b, b, a)
    big, small = 2.0 ** (form.bias // 2), 2.0 ** -(form.bias // 2 - form.digits)
    up, down = 2.0 ** (form.bias // 2 + form.digits), 2.0 ** -(form.bias // 2 + 8)
    high, low = larger > big, larger < small
    scale = select(high, down, select(low, larger.lift(up), 1.0))
    back = select(high, 1 / down, select(low, larger.lift(1 / up), 1.0))
    p, q = larger * scale, smaller * scale
    length = sqrt(fma(p, p, q * q)) * back
    infinite = eq(a, INFINITY) | eq(b, INFINITY)
    return select(infinite, INFINITY, select(x.isnan() | y.isnan(), x + y, length))
