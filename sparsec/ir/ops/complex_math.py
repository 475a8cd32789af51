"""Complex functions, written with the real scalar functions: C99's rules at zeros and infinities, NumPy's where it
has a formula of its own (log1p, expm1, exp2, powers by whole exponents).

The formulas for inverse functions are Kahan's ("Branch Cuts for Complex Elementary Functions", 1987): square
roots of 1 - z and 1 + z carry the sign of a zero to the right side of each branch cut.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log

import numpy as np

from sparsec.ir.loops import Const, Expr
from sparsec.ir.ops import rules
from sparsec.ir.scalar import S, const
from sparsec.ir.types import I64

#: Allowed distance from NumPy, relative to the size of the whole number rather than of each part.
ULP = 16

Pair = tuple[Expr, Expr]  # real and imaginary part
Function = Callable[[Expr], Expr]


def _function(of_parts: Callable[[Expr, Expr], Pair]) -> Function:
    return lambda z: S.complex(*of_parts(*rules.parts(z)))


def _finite(x: Expr) -> Expr:
    return S.lt(S.abs(x), rules.like(x, float("inf")))


def _zero(x: Expr) -> Expr:
    return S.eq(x, rules.like(x, 0))


def _times(x: Expr, factor: float) -> Expr:
    return S.mul(x, rules.like(x, factor))


def _largest_exponent(x: Expr) -> Const:
    """exp overflows a little above this."""
    return rules.like(x, float(np.floor(np.log(np.finfo(x.dtype).max))))


def _by_exp(x: Expr, factor: Expr) -> Expr:
    """exp(x) * factor; in two steps for large x, where exp(x) may overflow though the product does not."""
    half = S.exp(_times(x, 0.5))
    twice = S.mul(S.mul(half, factor), half)
    return S.select(S.gt(x, _largest_exponent(x)), twice, S.mul(S.exp(x), factor))


def exp(x: Expr, y: Expr) -> Pair:
    """exp(x) * (cos y + i sin y)."""
    inf, zero = rules.like(x, float("inf")), rules.like(x, 0)
    spins = S.logical_not(_finite(y))
    vanishes = S.logical_and(spins, S.eq(x, S.neg(inf)))
    explodes = S.logical_and(spins, S.eq(x, inf))
    real = S.select(explodes, inf, S.select(_zero(y), S.exp(x), _by_exp(x, S.cos(y))))
    imag = S.select(_zero(y), y, _by_exp(x, S.sin(y)))
    return S.select(vanishes, zero, real), S.select(vanishes, S.copysign(zero, y), imag)


def exp2(x: Expr, y: Expr) -> Pair:
    """exp(z * log 2)."""
    return exp(_times(x, log(2)), _times(y, log(2)))


def expm1(x: Expr, y: Expr) -> Pair:
    """exp(z) - 1: cos y - 1 is -2 sin(y/2)**2, which does not cancel."""
    half = S.sin(_times(y, 0.5))
    real = S.sub(S.mul(S.expm1(x), S.cos(y)), _times(S.mul(half, half), 2))
    return real, S.mul(S.exp(x), S.sin(y))


def _scale(m: Expr, up: float, down: float) -> Expr:
    """A factor that brings numbers of magnitude m away from overflow (`down`) and from denormals (`up`)."""
    info = np.finfo(m.dtype)
    high, low = rules.like(m, float(info.max) / 8), rules.like(m, float(info.tiny) / float(info.eps))
    one = rules.like(m, 1)
    return S.select(S.gt(m, high), rules.like(m, down), S.select(S.lt(m, low), rules.like(m, up), one))


def _log_size(x: Expr, y: Expr) -> Expr:
    """log |z|; close to 1 by log1p of |z|**2 - 1, since |z| itself would round the answer away."""
    a, b = S.abs(x), S.abs(y)
    swap = S.lt(a, b)
    m, n = S.select(swap, b, a), S.select(swap, a, b)
    one = rules.like(x, 1)
    excess = S.add(S.mul(S.sub(m, one), S.add(m, one)), S.mul(n, n))
    near = S.logical_and(S.gt(m, rules.like(m, 0.7)), S.lt(m, rules.like(m, 1.5)))
    up, down = 2.0**60, 0.25
    factor = _scale(m, up, down)
    far = S.log(S.hypot(S.mul(x, factor), S.mul(y, factor)))
    back = S.select(S.eq(factor, one), rules.like(x, 0), S.neg(S.log(factor)))
    return S.select(near, _times(S.log1p(excess), 0.5), S.add(far, back))


def log_(x: Expr, y: Expr) -> Pair:
    """log |z| + i angle(z)."""
    return _log_size(x, y), S.atan2(y, x)


def _log_of_base(base: float) -> Callable[[Expr, Expr], Pair]:
    def of_parts(x: Expr, y: Expr) -> Pair:
        real, imag = log_(x, y)
        return _times(real, 1 / log(base)), _times(imag, 1 / log(base))

    return of_parts


def log1p(x: Expr, y: Expr) -> Pair:
    """log(1 + z), as NumPy computes it: with no care for small z."""
    moved = S.add(x, rules.like(x, 1))
    return S.log(S.hypot(moved, y)), S.atan2(y, moved)


def sqrt(x: Expr, y: Expr) -> Pair:
    """The root with real part >= 0: its larger part from |z| + |x|, where nothing cancels; then the other."""
    inf, zero = rules.like(x, float("inf")), rules.like(x, 0)
    a, b = S.abs(x), S.abs(y)
    factor = _scale(S.select(S.lt(a, b), b, a), 2.0**60, 2.0**-2)
    back = S.select(
        S.eq(factor, rules.like(x, 2.0**60)), rules.like(x, 2.0**-30),
        S.select(S.eq(factor, rules.like(x, 2.0**-2)), rules.like(x, 2), rules.like(x, 1)),
    )
    u, v = S.mul(a, factor), S.mul(y, factor)
    root = S.sqrt(_times(S.add(S.hypot(u, v), u), 0.5))
    major, minor = S.mul(root, back), S.mul(S.div(v, S.add(root, root)), back)
    right = S.ge(x, zero)
    real = S.select(right, major, S.abs(minor))
    imag = S.select(right, minor, S.copysign(major, y))
    return _sqrt_special(x, y, S.select(rules.isinf(y), inf, real), imag)


def _sqrt_special(x: Expr, y: Expr, real: Expr, imag: Expr) -> Pair:
    """Infinite parts, and 0: there the quotient above is NaN."""
    inf, zero = rules.like(x, float("inf")), rules.like(x, 0)
    nan = S.select(rules.isnan(y), y, zero)  # what an infinite x leaves of a y that is NaN
    flat = S.logical_not(rules.isinf(y))
    left, right = S.logical_and(S.eq(x, S.neg(inf)), flat), S.logical_and(S.eq(x, inf), flat)
    real = S.select(left, nan, S.select(right, inf, real))
    imag = S.select(left, S.copysign(inf, y), S.select(right, S.copysign(nan, y), imag))
    origin = S.logical_and(_zero(x), _zero(y))
    return S.select(origin, zero, real), S.select(S.logical_or(origin, rules.isinf(y)), y, imag)


def _half_exp(x: Expr, plain: Expr, factor: Expr) -> Expr:
    """plain * factor, where plain is sinh or cosh of x and may overflow though the product does not."""
    size = S.abs(x)
    large = _times(_by_exp(size, factor), 0.5)
    signed = S.mul(large, S.copysign(rules.like(x, 1), plain))
    return S.select(S.ge(size, _largest_exponent(x)), signed, S.mul(plain, factor))


def sinh(x: Expr, y: Expr) -> Pair:
    """sinh x cos y + i cosh x sin y."""
    real = _half_exp(x, S.sinh(x), S.cos(y))
    imag = _half_exp(x, S.cosh(x), S.sin(y))
    stays = S.logical_or(_zero(x), S.logical_and(rules.isinf(x), S.logical_not(_finite(y))))
    flat = _zero(y)
    return S.select(stays, x, S.select(flat, S.sinh(x), real)), S.select(flat, y, imag)


def cosh(x: Expr, y: Expr) -> Pair:
    """cosh x cos y + i sinh x sin y."""
    real = _half_exp(x, S.cosh(x), S.cos(y))
    imag = _half_exp(x, S.sinh(x), S.sin(y))
    infinite = S.logical_and(rules.isinf(x), S.logical_not(_finite(y)))
    flat = _zero(y)
    real = S.select(infinite, S.abs(x), S.select(flat, S.cosh(x), real))
    sign = S.mul(S.copysign(rules.like(x, 1), x), y)
    still = S.logical_and(_zero(x), S.logical_not(_finite(y)))
    imag = S.select(flat, sign, S.select(still, x, imag))
    return real, imag


def tanh(x: Expr, y: Expr) -> Pair:
    """Kahan's formula by t = tan y and s = sinh x; for large x both would overflow, and the answer is +-1."""
    t, s = S.tan(y), S.sinh(x)
    one = rules.like(x, 1)
    beta = S.add(one, S.mul(t, t))
    scale = S.add(one, S.mul(beta, S.mul(s, s)))
    real = S.div(S.mul(S.mul(beta, S.sqrt(S.add(one, S.mul(s, s)))), s), scale)
    imag = S.div(t, scale)
    size = S.abs(x)
    bound = float(np.log(2 / np.finfo(x.dtype).eps))
    large = S.gt(size, rules.like(x, bound))
    tail = S.mul(S.mul(_times(S.sin(y), 4), S.cos(y)), S.exp(_times(size, -2)))
    far = S.select(_finite(y), tail, S.copysign(rules.like(y, 0), y))
    near = S.select(_zero(x), x, real)  # also beside an infinite y
    return S.select(large, S.copysign(one, x), near), S.select(large, far, imag)


def _turned(of_parts: Callable[[Expr, Expr], Pair]) -> Callable[[Expr, Expr], Pair]:
    """f(z) = -i g(i z): the circular function of a hyperbolic one, and the other way round."""

    def turned(x: Expr, y: Expr) -> Pair:
        real, imag = of_parts(S.neg(y), x)
        return imag, S.neg(real)

    return turned


def cos(x: Expr, y: Expr) -> Pair:
    """cosh(i z)."""
    return cosh(S.neg(y), x)


def _product_imag(a: Pair, b: Pair) -> Expr:
    """Imaginary part of conj(a) * b."""
    return S.sub(S.mul(a[0], b[1]), S.mul(a[1], b[0]))


def _product_real(a: Pair, b: Pair) -> Expr:
    """Real part of a * b."""
    return S.sub(S.mul(a[0], b[0]), S.mul(a[1], b[1]))


def _roots(x: Expr, y: Expr) -> tuple[Pair, Pair]:
    """sqrt(1 - z) and sqrt(1 + z)."""
    one = rules.like(x, 1)
    return sqrt(S.sub(one, x), S.neg(y)), sqrt(S.add(one, x), y)


def _if_infinite(x: Expr, y: Expr, there: Pair, elsewhere: Pair) -> Pair:
    """`there` where z is infinite: the products of roots are NaN then."""
    infinite = S.logical_or(rules.isinf(x), rules.isinf(y))
    return S.select(infinite, there[0], elsewhere[0]), S.select(infinite, there[1], elsewhere[1])


def _direction(x: Expr, y: Expr) -> Pair:
    """(cos, |sin|) of the angle of an infinite z, up to a factor: each is 0 or 1, the first signed as x."""
    zero, one = rules.like(x, 0), rules.like(x, 1)
    across = S.copysign(S.select(rules.isinf(x), one, zero), x)
    return across, S.select(rules.isinf(y), one, zero)


def _infinity(y: Expr) -> Expr:
    return S.copysign(rules.like(y, float("inf")), y)


def arcsin(x: Expr, y: Expr) -> Pair:
    """Kahan's inverse sine."""
    minus, plus = _roots(x, y)
    plain = S.atan2(x, _product_real(minus, plus)), S.asinh(_product_imag(minus, plus))
    return _if_infinite(x, y, (S.atan2(*_direction(x, y)), _infinity(y)), plain)


def arccos(x: Expr, y: Expr) -> Pair:
    """Kahan's inverse cosine."""
    minus, plus = _roots(x, y)
    plain = _times(S.atan2(minus[0], plus[0]), 2), S.asinh(_product_imag(plus, minus))
    across, up = _direction(x, y)
    return _if_infinite(x, y, (S.atan2(up, across), S.neg(_infinity(y))), plain)


def arccosh(x: Expr, y: Expr) -> Pair:
    """Kahan's inverse hyperbolic cosine."""
    one = rules.like(x, 1)
    minus, plus = sqrt(S.sub(x, one), y), sqrt(S.add(x, one), y)
    overlap = S.add(S.mul(minus[0], plus[0]), S.mul(minus[1], plus[1]))
    plain = S.asinh(overlap), _times(S.atan2(minus[1], plus[0]), 2)
    across, up = _direction(x, y)
    angle = S.copysign(S.atan2(up, across), y)
    return _if_infinite(x, y, (rules.like(x, float("inf")), angle), plain)


def arctanh(x: Expr, y: Expr) -> Pair:
    """log((1 + z) / (1 - z)) / 2, through the size and the angle of the quotient.

    The size is odd in x: |x| in its place keeps log1p away from -1, where digits would cancel.
    """
    one, size = rules.like(x, 1), S.abs(x)
    below, above, square = S.sub(one, size), S.add(one, size), S.mul(y, y)
    ratio = S.div(_times(size, 4), S.add(S.mul(below, below), square))
    angle = S.atan2(_times(y, 2), S.sub(S.mul(below, above), square))
    plain = S.copysign(_times(S.log1p(ratio), 0.25), x), _times(angle, 0.5)
    quarter = S.copysign(rules.like(y, np.pi / 2), y)
    return _if_infinite(x, y, (S.copysign(rules.like(x, 0), x), quarter), plain)


FUNCTIONS: dict[str, Function] = {
    name: _function(rule)
    for name, rule in {
        "exp": exp, "exp2": exp2, "expm1": expm1, "log": log_, "log2": _log_of_base(2),
        "log10": _log_of_base(10),
        "log1p": log1p, "sqrt": sqrt, "sinh": sinh, "cosh": cosh, "tanh": tanh, "sin": _turned(sinh),
        "cos": cos,
        "tan": _turned(tanh), "arcsin": arcsin, "arccos": arccos, "arctan": _turned(arctanh),
        "arcsinh": _turned(arcsin), "arccosh": arccosh, "arctanh": arctanh,
    }.items()
}

_SMALL_POWER = 100  # NumPy multiplies for whole exponents smaller than this


def power(a: Expr, b: Expr, divide: Callable[[Expr, Expr], Expr]) -> Expr:
    """a ** b: 1 for exponent 0, products for small whole exponents, exp(b log a) for the rest."""
    (x, y), (p, q) = rules.parts(a), rules.parts(b)
    zero, one = rules.like(a, 0), rules.like(a, 1)
    small = S.lt(S.abs(p), rules.like(p, _SMALL_POWER))
    whole = rules.all_of(_zero(q), small, S.eq(p, S.trunc(p)))
    count = S.cast(S.select(small, p, rules.like(p, 0)), I64)
    positive = _whole_power(a, count)
    by_products = S.select(S.lt(p, rules.like(p, 0)), divide(one, positive), positive)
    u, v = log_(x, y)
    general = S.complex(*exp(S.sub(S.mul(p, u), S.mul(q, v)), S.add(S.mul(p, v), S.mul(q, u))))
    nan = rules.like(a, complex("nan+nanj"))
    at_origin = S.select(S.gt(p, rules.like(p, 0)), zero, nan)
    base_zero = S.logical_and(_zero(x), _zero(y))
    result = S.select(base_zero, at_origin, S.select(whole, by_products, general))
    return S.select(S.logical_and(_zero(p), _zero(q)), one, result)


def _whole_power(a: Expr, count: Expr) -> Expr:
    """a to the power |count|, by squaring from 1 up; seven bits of the exponent reach beyond 99.

    Only exponents 1 to 3 do not begin with 1 * a, as in NumPy: with infinities that product has NaN.
    """
    result: Expr = rules.like(a, 1)
    powers, size = [a], S.abs(count)
    for bit in range(_SMALL_POWER.bit_length()):
        is_set = S.ne(S.logical_and(size, const(1 << bit, I64)), const(0, I64))
        result = S.select(is_set, S.mul(result, powers[-1]), result)
        powers.append(S.mul(powers[-1], powers[-1]))
    for exponent, direct in ((1, a), (2, powers[1]), (3, S.mul(a, powers[1]))):
        result = S.select(S.eq(count, const(exponent, I64)), direct, result)
    return result
