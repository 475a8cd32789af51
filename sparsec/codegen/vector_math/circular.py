"""sin, cos and tan.

x = n pi/2 + r with |r| <= pi/4, where pi/2 has three parts (Cody and Waite) and r two words; then odd and
even polynomials of r, chosen by n modulo 4 (FreeBSD's k_sin.c, k_cos.c have the same shape). That holds up
to `FAST`; beyond it, `expand` asks another function, because the reduction needs more of pi than three words.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsec.codegen.vector_math.coefficients import COS, HALF_PI, SIN, TWO_OVER_PI
from sparsec.codegen.vector_math.number import (
    Number,
    bits_of,
    float_of,
    fma,
    magnitude,
    ne,
    nearest,
    polynomial,
    select,
)
from sparsec.codegen.vector_math.words import Words, fast_sum, product, quotient

__all__ = ["FAST", "cos", "sin", "tan"]

#: Up to here the reduction keeps its precision, by item size.
FAST = {4: 2.0**16, 8: 2.0**29}


@dataclass(frozen=True, slots=True)
class _Angle:
    """x = k pi/2 + r.high + r.low."""

    k: Number
    r: Words


def _reduce(x: Number) -> _Angle:
    first, second, third = HALF_PI[x.format.size]
    turn = nearest(x, TWO_OVER_PI[x.format.size][0])
    n = turn.n
    # Exact: a multiple of the last bit of `first` and of x, and less than 1.
    start = fma(n, -first, x)
    step = product(n, second)
    r = start - step.high
    # Exact if the two cancel, or if `start` is the larger. Else r is at least half of the step, and what is
    # lost less than half of its last bit.
    rest = (start - r) - step.high
    return _Angle(turn.k, Words(r, fma(n, -third, rest - step.low)))


def _sine(r: Words) -> Words:
    """sin(r), not yet summed: the words do not overlap by much."""
    x = r.high
    z = x * x
    return Words(x, fma(z * x, polynomial(SIN, z), fma(r.low, -0.5 * z, r.low)))


def _cosine(r: Words) -> Words:
    """cos(r) = 1 - z/2 + z*z q(z) - r.high * r.low."""
    x = r.high
    z = x * x
    half = 0.5 * z
    high = 1.0 - half
    return Words(high, ((1.0 - high) - half) + fma(z * z, polynomial(COS, z), -(x * r.low)))


def _signed(x: Number, turn: Number) -> Number:
    """x, negated if bit 1 of `turn` is set."""
    width = 8 * x.format.size
    sign = (turn << (width - 2)) & x.format_sign()
    return float_of(bits_of(x) ^ sign)


def _wave(x: Number, quarter: int) -> Number:
    """sin(x + quarter * pi/2)."""
    angle = _reduce(x)
    turn = angle.k + quarter if quarter else angle.k
    odd = ne(turn & 1, 0)
    sine, cosine = _sine(angle.r), _cosine(angle.r)
    return _signed(select(odd, cosine.high, sine.high) + select(odd, cosine.low, sine.low), turn)


def _tiny(x: Number) -> Number:
    """Where sin(x) = tan(x) = x: keeps the sign of zero and all bits of denormals."""
    return magnitude(x) < x.format.pick(2.0**-13, 2.0**-27)


def sin(x: Number) -> Number:
    """The sine, for |x| <= FAST."""
    return select(_tiny(x), x, _wave(x, 0))


def cos(x: Number) -> Number:
    """The cosine, for |x| <= FAST."""
    return _wave(x, 1)


def tan(x: Number) -> Number:
    """The tangent, for |x| <= FAST: sin/cos, or -cos/sin beside the poles, both in two words."""
    angle = _reduce(x)
    odd = ne(angle.k & 1, 0)
    sine, cosine = (fast_sum(w.high, w.low) for w in (_sine(angle.r), _cosine(angle.r)))
    above = Words(select(odd, -cosine.high, sine.high), select(odd, -cosine.low, sine.low))
    below = Words(select(odd, sine.high, cosine.high), select(odd, sine.low, cosine.low))
    return select(_tiny(x), x, quotient(above, below))
