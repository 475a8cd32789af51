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
from sparsec.ir.scalar import ScalarBuilder, const
from sparsec.ir.types import I64

_S = ScalarBuilder()

#: Allowed distance from NumPy, relative to the size of the whole number rather than of each part.
ULP = 16

Pair = tuple[Expr, Expr]  # real and imaginary part
Function = Callable[[Expr], Expr]


def _function(of_parts: Callable[[Expr, Expr], Pair]) -> Function:
    return lambda z: _S.complex(*of_parts(*rules.parts(z)))


def _finite(x: Expr) -> Expr:
    return _S.lt(_S.abs(x), rules.like(x, float("inf")))


def _zero(x: Expr) -> Expr:
    return _S.eq(x, rules.like(x, 0))


def _times(x: Expr, factor: float) -> Expr:
    return _S.mul(x, rules.like(x, factor))


def _largest_exponent(x: Expr) -> Const:
    """exp overflows a little above this."""
    return rules.like(x, float(np.floor(np.log(np.finfo(x.dtype).max))))


def _by_exp(x: Expr, factor: Expr) -> Expr:
    """exp(x) * factor; in two steps for large x, where exp(x) may overflow though the product does not."""
    half = _S.exp(_times(x, 0.5))
    twice = _S.mul(_S.mul(half, factor), half)
    return _S.select(_S.gt(x, _largest_exponent(x)), twice, _S.mul(_S.exp(x), factor))


def exp(x: Expr, y: Expr) -> Pair:
    """exp(x) * (cos y + i sin y)."""
    inf, zero = rules.like(x, float("inf")), rules.like(x, 0)
    spins = _S.logical_not(_finite(y))
    vanishes = _S.logical_and(spins, _S.eq(x, _S.neg(inf)))
    explodes = _S.logical_and(spins, _S.eq(x, inf))
    real = _S.select(explodes, inf, _S.select(_zero(y), _S.exp(x), _by_exp(x, _S.cos(y))))
    imag = _S.select(_zero(y), y, _by_exp(x, _S.sin(y)))
    return _S.select(vanishes, zero, real), _S.select(vanishes, _S.copysign(zero, y), imag)


def exp2(x: Expr, y: Expr) -> Pair:
    """exp(z * log 2)."""
    return exp(_times(x, log(2)), _times(y, log(2)))


def expm1(x: Expr, y: Expr) -> Pair:
    """exp(z) - 1: cos y - 1 is -2 sin(y/2)**2, which does not cancel."""
    half = _S.sin(_times(y, 0.5))
    real = _S.sub(_S.mul(_S.expm1(x), _S.cos(y)), _times(_S.mul(half, half), 2))
    return real, _S.mul(_S.exp(x), _S.sin(y))


def _scale(m: Expr, up: float, down: float) -> Expr:
    """A factor that brings numbers of magnitude m away from overflow (`down`) and from denormals (`up`)."""
    info = np.finfo(m.dtype)
    high, low = rules.like(m, float(info.max) / 8), rules.like(m, float(info.tiny) / float(info.eps))
    one = rules.like(m, 1)
    return _S.select(_S.gt(m, high), rules.like(m, down), _S.select(_S.lt(m, low), rules.like(m, up), one))


def _log_size(x: Expr, y: Expr) -> Expr:
    """log |z|; close to 1 by log1p of |z|**2 - 1, since |z| itself would round the answer away."""
    a, b = _S.abs(x), _S.abs(y)
    swap = _S.lt(a, b)
    m, n = _S.select(swap, b, a), _S.select(swap, a, b)
    one = rules.like(x, 1)
    excess = _S.add(_S.mul(_S.sub(m, one), _S.add(m, one)), _S.mul(n, n))
    near = _S.logical_and(_S.gt(m, rules.like(m, 0.7)), _S.lt(m, rules.like(m, 1.5)))
    up, down = 2.0**60, 0.25
    factor = _scale(m, up, down)
    far = _S.log(_S.hypot(_S.mul(x, factor), _S.mul(y, factor)))
    back = _S.select(_S.eq(factor, one), rules.like(x, 0), _S.neg(_S.log(factor)))
    return _S.select(near, _times(_S.log1p(excess), 0.5), _S.add(far, back))


def log_(x: Expr, y: Expr) -> Pair:
    """log |z| + i angle(z)."""
    return _log_size(x, y), _S.atan2(y, x)


def _log_of_base(base: float) -> Callable[[Expr, Expr], Pair]:
    def of_parts(x: Expr, y: Expr) -> Pair:
        real, imag = log_(x, y)
        return _times(real, 1 / log(base)), _times(imag, 1 / log(base))

    return of_parts


def log1p(x: Expr, y: Expr) -> Pair:
    """log(1 + z), as NumPy computes it: with no care for small z."""
    moved = _S.add(x, rules.like(x, 1))
    return _S.log(_S.hypot(moved, y)), _S.atan2(y, moved)


def sqrt(x: Expr, y: Expr) -> Pair:
    """The root with real part >= 0: its larger part from |z| + |x|, where nothing cancels; then the other."""
    inf, zero = rules.like(x, float("inf")), rules.like(x, 0)
    a, b = _S.abs(x), _S.abs(y)
    factor = _scale(_S.select(_S.lt(a, b), b, a), 2.0**60, 2.0**-2)
    back = _S.select(
        _S.eq(factor, rules.like(x, 2.0**60)), rules.like(x, 2.0**-30),
        _S.select(_S.eq(factor, rules.like(x, 2.0**-2)), rules.like(x, 2), rules.like(x, 1)),
    )
    u, v = _S.mul(a, factor), _S.mul(y, factor)
    root = _S.sqrt(_times(_S.add(_S.hypot(u, v), u), 0.5))
    major, minor = _S.mul(root, back), _S.mul(_S.div(v, _S.add(root, root)), back)
    right = _S.ge(x, zero)
    real = _S.select(right, major, _S.abs(minor))
    imag = _S.select(right, minor, _S.copysign(major, y))
    return _sqrt_special(x, y, _S.select(rules.isinf(y), inf, real), imag)


def _sqrt_special(x: Expr, y: Expr, real: Expr, imag: Expr) -> Pair:
    """Infinite parts, and 0: there the quotient above is NaN."""
    inf, zero = rules.like(x, float("inf")), rules.like(x, 0)
    nan = _S.select(rules.isnan(y), y, zero)  # what an infinite x leaves of a y that is NaN
    flat = _S.logical_not(rules.isinf(y))
    left, right = _S.logical_and(_S.eq(x, _S.neg(inf)), flat), _S.logical_and(_S.eq(x, inf), flat)
    real = _S.select(left, nan, _S.select(right, inf, real))
    imag = _S.select(left, _S.copysign(inf, y), _S.select(right, _S.copysign(nan, y), imag))
    origin = _S.logical_and(_zero(x), _zero(y))
    return _S.select(origin, zero, real), _S.select(_S.logical_or(origin, rules.isinf(y)), y, imag)


def _half_exp(x: Expr, plain: Expr, factor: Expr) -> Expr:
    """plain * factor, where plain is sinh or cosh of x and may overflow though the product does not."""
    size = _S.abs(x)
    large = _times(_by_exp(size, factor), 0.5)
    signed = _S.mul(large, _S.copysign(rules.like(x, 1), plain))
    return _S.select(_S.ge(size, _largest_exponent(x)), signed, _S.mul(plain, factor))


def sinh(x: Expr, y: Expr) -> Pair:
    """sinh x cos y + i cosh x sin y."""
    real = _half_exp(x, _S.sinh(x), _S.cos(y))
    imag = _half_exp(x, _S.cosh(x), _S.sin(y))
    stays = _S.logical_or(_zero(x), _S.logical_and(rules.isinf(x), _S.logical_not(_finite(y))))
    flat = _zero(y)
    return _S.select(stays, x, _S.select(flat, _S.sinh(x), real)), _S.select(flat, y, imag)


def cosh(x: Expr, y: Expr) -> Pair:
    """cosh x cos y + i sinh x sin y."""
    real = _half_exp(x, _S.cosh(x), _S.cos(y))
    imag = _half_exp(x, _S.sinh(x), _S.sin(y))
    infinite = _S.logical_and(rules.isinf(x), _S.logical_not(_finite(y)))
    flat = _zero(y)
    real = _S.select(infinite, _S.abs(x), _S.select(flat, _S.cosh(x), real))
    sign = _S.mul(_S.copysign(rules.like(x, 1), x), y)
    still = _S.logical_and(_zero(x), _S.logical_not(_finite(y)))
    imag = _S.select(flat, sign, _S.select(still, x, imag))
    return real, imag


def tanh(x: Expr, y: Expr) -> Pair:
    """Kahan's formula by t = tan y and s = sinh x; for large x both would overflow, and the answer is +-1."""
    t, s = _S.tan(y), _S.sinh(x)
    one = rules.like(x, 1)
    beta = _S.add(one, _S.mul(t, t))
    scale = _S.add(one, _S.mul(beta, _S.mul(s, s)))
    real = _S.div(_S.mul(_S.mul(beta, _S.sqrt(_S.add(one, _S.mul(s, s)))), s), scale)
    imag = _S.div(t, scale)
    size = _S.abs(x)
    bound = float(np.log(2 / np.finfo(x.dtype).eps))
    large = _S.gt(size, rules.like(x, bound))
    tail = _S.mul(_S.mul(_times(_S.sin(y), 4), _S.cos(y)), _S.exp(_times(size, -2)))
    far = _S.select(_finite(y), tail, _S.copysign(rules.like(y, 0), y))
    near = _S.select(_zero(x), x, real)  # also beside an infinite y
    return _S.select(large, _S.copysign(one, x), near), _S.select(large, far, imag)


def _turned(of_parts: Callable[[Expr, Expr], Pair]) -> Callable[[Expr, Expr], Pair]:
    """f(z) = -i g(i z): the circular function of a hyperbolic one, and the other way round."""

    def turned(x: Expr, y: Expr) -> Pair:
        real, imag = of_parts(_S.neg(y), x)
        return imag, _S.neg(real)

    return turned


def cos(x: Expr, y: Expr) -> Pair:
    """cosh(i z)."""
    return cosh(_S.neg(y), x)


def _product_imag(a: Pair, b: Pair) -> Expr:
    """Imaginary part of conj(a) * b."""
    return _S.sub(_S.mul(a[0], b[1]), _S.mul(a[1], b[0]))


def _product_real(a: Pair, b: Pair) -> Expr:
    """Real part of a * b."""
    return _S.sub(_S.mul(a[0], b[0]), _S.mul(a[1], b[1]))


def _roots(x: Expr, y: Expr) -> tuple[Pair, Pair]:
    """sqrt(1 - z) and sqrt(1 + z)."""
    one = rules.like(x, 1)
    return sqrt(_S.sub(one, x), _S.neg(y)), sqrt(_S.add(one, x), y)


def _if_infinite(x: Expr, y: Expr, there: Pair, elsewhere: Pair) -> Pair:
    """`there` where z is infinite: the products of roots are NaN then."""
    infinite = _S.logical_or(rules.isinf(x), rules.isinf(y))
    return _S.select(infinite, there[0], elsewhere[0]), _S.select(infinite, there[1], elsewhere[1])


def _direction(x: Expr, y: Expr) -> Pair:
    """(cos, |sin|) of the angle of an infinite z, up to a factor: each is 0 or 1, the first signed as x."""
    zero, one = rules.like(x, 0), rules.like(x, 1)
    across = _S.copysign(_S.select(rules.isinf(x), one, zero), x)
    return across, _S.select(rules.isinf(y), one, zero)


def _infinity(y: Expr) -> Expr:
    return _S.copysign(rules.like(y, float("inf")), y)


def arcsin(x: Expr, y: Expr) -> Pair:
    """Kahan's inverse sine."""
    minus, plus = _roots(x, y)
    plain = _S.atan2(x, _product_real(minus, plus)), _S.asinh(_product_imag(minus, plus))
    return _if_infinite(x, y, (_S.atan2(*_direction(x, y)), _infinity(y)), plain)


def arccos(x: Expr, y: Expr) -> Pair:
    """Kahan's inverse cosine."""
    minus, plus = _roots(x, y)
    plain = _times(_S.atan2(minus[0], plus[0]), 2), _S.asinh(_product_imag(plus, minus))
    across, up = _direction(x, y)
    return _if_infinite(x, y, (_S.atan2(up, across), _S.neg(_infinity(y))), plain)


def arccosh(x: Expr, y: Expr) -> Pair:
    """Kahan's inverse hyperbolic cosine."""
    one = rules.like(x, 1)
    minus, plus = sqrt(_S.sub(x, one), y), sqrt(_S.add(x, one), y)
    overlap = _S.add(_S.mul(minus[0], plus[0]), _S.mul(minus[1], plus[1]))
    plain = _S.asinh(overlap), _times(_S.atan2(minus[1], plus[0]), 2)
    across, up = _direction(x, y)
    angle = _S.copysign(_S.atan2(up, across), y)
    return _if_infinite(x, y, (rules.like(x, float("inf")), angle), plain)


def arctanh(x: Expr, y: Expr) -> Pair:
    """log((1 + z) / (1 - z)) / 2, through the size and the angle of the quotient.

    The size is odd in x: |x| in its place keeps log1p away from -1, where digits would cancel.
    """
    one, size = rules.like(x, 1), _S.abs(x)
    below, above, square = _S.sub(one, size), _S.add(one, size), _S.mul(y, y)
    ratio = _S.div(_times(size, 4), _S.add(_S.mul(below, below), square))
    angle = _S.atan2(_times(y, 2), _S.sub(_S.mul(below, above), square))
    plain = _S.copysign(_times(_S.log1p(ratio), 0.25), x), _times(angle, 0.5)
    quarter = _S.copysign(rules.like(y, np.pi / 2), y)
    return _if_infinite(x, y, (_S.copysign(rules.like(x, 0), x), quarter), plain)


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
    small = _S.lt(_S.abs(p), rules.like(p, _SMALL_POWER))
    whole = rules.all_of(_zero(q), small, _S.eq(p, _S.trunc(p)))
    count = _S.cast(_S.select(small, p, rules.like(p, 0)), I64)
    positive = _whole_power(a, count)
    by_products = _S.select(_S.lt(p, rules.like(p, 0)), divide(one, positive), positive)
    u, v = log_(x, y)
    general = _S.complex(*exp(_S.sub(_S.mul(p, u), _S.mul(q, v)), _S.add(_S.mul(p, v), _S.mul(q, u))))
    nan = rules.like(a, complex("nan+nanj"))
    at_origin = _S.select(_S.gt(p, rules.like(p, 0)), zero, nan)
    base_zero = _S.logical_and(_zero(x), _zero(y))
    result = _S.select(base_zero, at_origin, _S.select(whole, by_products, general))
    return _S.select(_S.logical_and(_zero(p), _zero(q)), one, result)


def _whole_power(a: Expr, count: Expr) -> Expr:
    """a to the power |count|, by squaring from 1 up; seven bits of the exponent reach beyond 99.

    Only exponents 1 to 3 do not begin with 1 * a, as in NumPy: with infinities that product has NaN.
    """
    result: Expr = rules.like(a, 1)
    powers, size = [a], _S.abs(count)
    for bit in range(_SMALL_POWER.bit_length()):
        is_set = _S.ne(_S.logical_and(size, const(1 << bit, I64)), const(0, I64))
        result = _S.select(is_set, _S.mul(result, powers[-1]), result)
        powers.append(_S.mul(powers[-1], powers[-1]))
    for exponent, direct in ((1, a), (2, powers[1]), (3, _S.mul(a, powers[1]))):
        result = _S.select(_S.eq(count, const(exponent, I64)), direct, result)
    return result
