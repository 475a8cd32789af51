"""Functions of floats that are neither arithmetic nor transcendental in themselves."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import numpy as np

from sparsec.errors import DTypeError
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Expr
from sparsec.ir.ops import rules
from sparsec.ir.ops.declare import common_shape, elementwise, refuse_half
from sparsec.ir.ops.record import Kind, OpRecord, Sparse, case, register
from sparsec.ir.scalar import ScalarBuilder, const
from sparsec.ir.types import TensorType, dtype_name

_ULP = 4


def _heaviside(s: ScalarBuilder, x: Expr, at_zero: Expr) -> Expr:
    zero, one = rules.like(x, 0), rules.like(x, 1)
    step = s.select(s.lt(x, zero), zero, s.select(s.gt(x, zero), one, at_zero))
    return s.select(rules.isnan(x), x, step)


elementwise(
    "heaviside", "0 below 0, 1 above, and y at 0; NaN of NaN.", np.heaviside, _heaviside, kinds="f", arity=2,
)
elementwise(
    "hypot", "sqrt(x*x + y*y) without overflow.", np.hypot, lambda s, x, y: s.hypot(x, y), kinds="f", arity=2,
    ulp=_ULP, sparse=Sparse.UNION,
    grad=lambda b, op, g: tuple(b.op("mul", g, b.op("div", x, op.result)) for x in op.operands),
)
elementwise(
    "copysign", "|x| with the sign of y.", np.copysign, lambda s, x, y: s.copysign(x, y), kinds="f", arity=2,
)
elementwise(
    "nextafter", "The float after x on the way to y.", np.nextafter, lambda s, x, y: s.nextafter(x, y),
    kinds="f",
    arity=2,
)


def _log_sum(of_equal: float, power: str, scale: float):  # type: ignore[no-untyped-def]
    """log(b**x + b**y), from the larger operand up; equal operands come first, so that infinities work."""

    def lower(s: ScalarBuilder, x: Expr, y: Expr) -> Expr:
        difference = s.sub(x, y)
        zero = rules.like(x, 0)
        above = s.gt(difference, zero)
        small = s.log1p(getattr(s, power)(s.neg(s.abs(difference))))
        rest = small if scale == 1 else s.mul(small, rules.like(x, scale))
        far = s.add(s.select(above, x, y), rest)
        known = s.select(rules.isnan(difference), difference, far)
        return s.select(s.eq(x, y), s.add(x, rules.like(x, of_equal)), known)

    return lower


elementwise(
    "logaddexp", "log(exp(x) + exp(y)).", np.logaddexp, _log_sum(log(2), "exp", 1), kinds="f", arity=2,
    ulp=_ULP,
    grad=lambda b, op, g: tuple(b.op("mul", g, b.op("exp", b.op("sub", x, op.result))) for x in op.operands),
)
elementwise(
    "logaddexp2", "log2(2**x + 2**y).", np.logaddexp2, _log_sum(1, "exp2", 1 / log(2)), kinds="f", arity=2,
    ulp=_ULP,
    grad=lambda b, op, g: tuple(b.op("mul", g, b.op("exp2", b.op("sub", x, op.result))) for x in op.operands),
)


def _ldexp_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    x, n = types
    if x.dtype.kind != "f" or n.dtype.kind != "i":
        raise DTypeError(f"ldexp does not take ({dtype_name(x.dtype)}, {dtype_name(n.dtype)})")
    refuse_half("ldexp", x.dtype)
    return [TensorType(x.dtype, common_shape("ldexp", types))]


def _ldexp(s: ScalarBuilder, x: Expr, n: Expr) -> Expr:
    """Two clamped steps, then a last factor.

    The steps down stop short of the denormals by the width of the mantissa, so that only the last
    product rounds.
    """
    info = np.finfo(x.dtype)
    up, down = int(info.maxexp) - 1, int(info.minexp) + int(info.nmant) + 1
    bits = np.dtype(f"i{x.dtype.itemsize}")
    limit = const(4 * up if n.dtype.itemsize > 1 else 127, n.dtype)
    left: Expr = s.cast(s.max(s.min(n, limit), s.neg(limit)), bits)
    for _ in range(2):
        high, low = s.gt(left, rules.like(left, up)), s.lt(left, rules.like(left, int(info.minexp)))
        lower = s.select(low, rules.like(x, 2.0**down), rules.like(x, 1))
        factor = s.select(high, rules.like(x, 2.0**up), lower)
        step = s.select(
            high, rules.like(left, up), s.select(low, rules.like(left, down), rules.like(left, 0))
        )
        x, left = s.mul(x, factor), s.sub(left, step)
    last = s.max(s.min(left, rules.like(left, up)), rules.like(left, int(info.minexp)))
    exponent = s.add(last, rules.like(left, up))
    return s.mul(x, s.bitcast(s.shl(exponent, rules.like(left, int(info.nmant))), x.dtype))  # type: ignore[no-any-return]


register(OpRecord(
    name="ldexp", kind=Kind.ELEMENTWISE, arity=2, doc="x * 2**n for an integer n, rounded once.",
    infer=_ldexp_types, ref=np.ldexp, lower=_ldexp, numpy=("ldexp",), sparse=Sparse.KEEP,
    cases=tuple(case((2, 3), (2, 3), dtypes=(f, i)) for f in ("f4", "f8") for i in ("i4", "i8")),
))
