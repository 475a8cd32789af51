"""Powers. Those of integers count bits of the exponent, so they bring a loop of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsec.ir.graph import Op, Value
from sparsec.ir.loops import Expr
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops import complex_math, rules
from sparsec.ir.ops.arithmetic import complex_div
from sparsec.ir.ops.declare import elementwise, elementwise_nest
from sparsec.ir.scalar import ScalarBuilder


def _pow(s: ScalarBuilder, x: Expr, y: Expr) -> Expr:
    if x.dtype.kind == "c":
        return complex_math.power(x, y, complex_div)
    return s.pow(x, y)  # type: ignore[no-any-return]


def _pow_grad(b: Any, o: Op, g: Value) -> tuple[Value, ...]:
    """y x**(y-1) and x**y log x."""
    x, y = o.operands
    one = b.const(1, rules.scalar_type(g.type.dtype))
    of_x = b.op("mul", y, b.op("pow", x, b.op("sub", y, one)))
    return b.op("mul", g, of_x), b.op("mul", g, b.op("mul", o.result, b.op("log", x)))


elementwise(
    "pow", "x to the power y, for floats and complex numbers.", np.power, _pow, kinds="fc", arity=2,
    numpy=("power", "pow", "float_power"), ulp={"f": 4, "c": 64}, grad=_pow_grad,
)


def _integer_power(nest: NestBuilder, x: Expr, y: Expr) -> Expr:
    """Squares the base for each bit of the exponent; a negative exponent, which a check refuses, gives 1."""
    s = nest.s
    zero, one = rules.like(x, 0), rules.like(x, 1)
    result, base, left = nest.mut(one), nest.mut(x), nest.mut(y)
    with nest.while_(s.gt(left, zero)):
        with nest.if_(s.ne(s.logical_and(left, one), zero)):
            nest.assign(result, s.mul(result, base))
        nest.assign(base, s.mul(base, base))
        nest.assign(left, s.shr(left, one))
    return result


def _integer_power_array(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.power(x, np.maximum(y, 0))  # type: ignore[no-any-return]


elementwise_nest(
    "ipow", "x to the power y for integers, wrapping; the exponent must not be negative.",
    _integer_power_array,
    _integer_power, kinds="iu", arity=2,
)
