"""Arithmetic: + - * / and what NumPy's rules add to them (powers: power.py, remainders: division.py)."""

from __future__ import annotations

import numpy as np

from sparsec.ir.loops import Expr
from sparsec.ir.ops import rules
from sparsec.ir.ops.declare import elementwise
from sparsec.ir.ops.record import Sparse
from sparsec.ir.scalar import S, ScalarBuilder


def _add(s: ScalarBuilder, x: Expr, y: Expr) -> Expr:
    return s.logical_or(x, y) if x.dtype.kind == "b" else s.add(x, y)


def _mul(s: ScalarBuilder, x: Expr, y: Expr) -> Expr:
    return s.logical_and(x, y) if x.dtype.kind == "b" else s.mul(x, y)


elementwise(
    "add", "x + y; integers wrap; `or` on bool.", np.add, _add, kinds="biufc", arity=2,
    sparse=Sparse.UNION, grad=lambda b, op, g: (g, g),
)
elementwise(
    "sub", "x - y; integers wrap.", np.subtract, lambda s, x, y: s.sub(x, y), kinds="iufc", arity=2,
    numpy=("subtract",), sparse=Sparse.UNION, grad=lambda b, op, g: (g, b.op("neg", g)),
)
# NumPy's vector loops for complex products use fused multiply-add, its scalar loops do not: hence the ulp.
elementwise(
    "mul", "x * y; integers wrap; `and` on bool.", np.multiply, _mul, kinds="biufc", arity=2,
    numpy=("multiply",), sparse=Sparse.INTERSECT, ulp={"c": 2},
    grad=lambda b, op, g: (b.op("mul", g, op.operands[1]), b.op("mul", g, op.operands[0])),
)


def _div(s: ScalarBuilder, x: Expr, y: Expr) -> Expr:
    return s.div(x, y) if x.dtype.kind == "f" else complex_div(x, y)


def complex_div(x: Expr, y: Expr) -> Expr:
    """Smith's algorithm: scale by the larger part of the divisor, so that its square cannot overflow."""
    (a, b), (c, d) = rules.parts(x), rules.parts(y)
    by_real = S.ge(S.abs(c), S.abs(d))
    major, minor = S.select(by_real, c, d), S.select(by_real, d, c)
    ratio = S.div(minor, major)
    scale = S.div(rules.like(c, 1), S.add(major, S.mul(minor, ratio)))
    # By the real part: (a + b*ratio, b - a*ratio) * scale; by the imaginary: (a*ratio + b, b*ratio - a)
    # * scale.
    first, second = S.select(by_real, a, b), S.select(by_real, b, a)
    re = S.mul(S.add(first, S.mul(second, ratio)), scale)
    im = S.mul(S.select(by_real, S.sub(b, S.mul(a, ratio)), S.sub(S.mul(b, ratio), a)), scale)
    zero = S.logical_and(S.eq(c, rules.like(c, 0)), S.eq(d, rules.like(d, 0)))
    size = S.abs(c)
    return S.complex(S.select(zero, S.div(a, size), re), S.select(zero, S.div(b, size), im))


elementwise(
    "div", "x / y for floats and complex numbers.", np.divide, _div, kinds="fc", arity=2,
    numpy=("divide", "true_divide"), sparse=Sparse.KEEP,
    grad=lambda b, op, g: (
        b.op("div", g, op.operands[1]),
        b.op("neg", b.op("div", b.op("mul", g, op.result), op.operands[1])),
    ),
)


def _neg(s: ScalarBuilder, x: Expr) -> Expr:
    return s.sub(rules.like(x, 0), x) if x.dtype.kind == "u" else s.neg(x)


elementwise(
    "neg", "-x; integers wrap.", np.negative, _neg, kinds="iufc", numpy=("negative",), sparse=Sparse.KEEP,
    grad=lambda b, op, g: (b.op("neg", g),),
)


def _abs(s: ScalarBuilder, x: Expr) -> Expr:
    match x.dtype.kind:
        case "b" | "u":
            return x
        case "c":
            return s.hypot(*rules.parts(x))
    return s.abs(x)


elementwise(
    "abs", "|x|; the lowest integer stays as it is; of a complex number its length, a float.", np.absolute,
    _abs,
    kinds="biufc", result="real", numpy=("absolute", "abs"), ulp={"c": 2}, sparse=Sparse.KEEP,
    grad=lambda b, op, g: (b.op("mul", g, b.op("sign", op.operands[0])),),
)
elementwise(
    "fabs", "|x| of floats.", np.fabs, lambda s, x: s.abs(x), kinds="f", sparse=Sparse.KEEP,
    grad=lambda b, op, g: (b.op("mul", g, b.op("sign", op.operands[0])),),
)


def _sign(s: ScalarBuilder, x: Expr) -> Expr:
    if x.dtype.kind == "c":
        return _complex_sign(s, x)
    zero, one = rules.like(x, 0), rules.like(x, 1)
    if x.dtype.kind == "u":
        return s.select(s.gt(x, zero), one, zero)
    signed = s.select(s.gt(x, zero), one, s.select(s.lt(x, zero), rules.like(x, -1), zero))
    return signed if x.dtype.kind == "i" else s.select(rules.isnan(x), x, signed)


def _complex_sign(s: ScalarBuilder, x: Expr) -> Expr:
    """x / |x|; an infinite part gives a unit along its axis, two infinite parts give NaN."""
    re, im = rules.parts(x)
    size = s.hypot(re, im)
    zero, nan = rules.like(re, 0), rules.like(re, float("nan"))
    at_zero, infinite = s.eq(size, zero), rules.isinf(size)
    both = s.logical_and(rules.isinf(re), rules.isinf(im))

    def part(p: Expr) -> Expr:
        unit = s.select(rules.isinf(p), s.copysign(rules.like(p, 1), p), zero)
        special = s.select(both, nan, unit)
        # |x| is NaN where a part is, except beside an infinite one.
        finite = s.select(rules.isnan(size), nan, s.div(p, size))
        return s.select(at_zero, zero, s.select(infinite, special, finite))

    return s.complex(part(re), part(im))


elementwise(
    "sign", "-1, 0 or 1; NaN of NaN; x / |x| of a complex number.", np.sign, _sign, kinds="iufc",
    ulp={"c": 2},
    sparse=Sparse.KEEP,
)


def _reciprocal(s: ScalarBuilder, x: Expr) -> Expr:
    match x.dtype.kind:
        case "f":
            return s.div(rules.like(x, 1), x)
        case "c":
            return _complex_reciprocal(s, x)
    # 1/x is 1, -1 or 0; for 0 NumPy converts the float 1/0, which gives MIN in i32 and i64, 0 in the others.
    zero, one = rules.like(x, 0), rules.like(x, 1)
    at_zero = rules.lowest(x.dtype) if x.dtype.kind == "i" and x.dtype.itemsize >= 4 else zero
    unit = s.eq(x, one) if x.dtype.kind == "u" else s.logical_or(s.eq(x, one), s.eq(x, rules.like(x, -1)))
    return s.select(unit, x, s.select(s.eq(x, zero), at_zero, zero))


def _complex_reciprocal(s: ScalarBuilder, x: Expr) -> Expr:
    re, im = rules.parts(x)
    by_real = s.le(s.abs(im), s.abs(re))
    major, minor = s.select(by_real, re, im), s.select(by_real, im, re)
    ratio = s.div(minor, major)
    scale = s.add(major, s.mul(minor, ratio))
    one, minus = rules.like(re, 1), rules.like(re, -1)
    return s.complex(
        s.div(s.select(by_real, one, ratio), scale), s.div(s.select(by_real, s.neg(ratio), minus), scale)
    )


elementwise(
    "reciprocal", "1 / x; on integers toward zero.", np.reciprocal, _reciprocal, kinds="iufc",
    grad=lambda b, op, g: (b.op("neg", b.op("mul", g, b.op("mul", op.result, op.result))),),
)
elementwise(
    "square", "x * x; integers wrap.", np.square, lambda s, x: s.mul(x, x), kinds="iufc", sparse=Sparse.KEEP,
    ulp={"c": 2},
    grad=lambda b, op, g: (b.op("mul", g, b.op("add", op.operands[0], op.operands[0])),),
)
