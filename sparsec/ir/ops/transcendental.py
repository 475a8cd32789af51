"""Roots, exponentials, logarithms, circular and hyperbolic functions of floats, and of complex numbers by
`complex_math`. Backends may be off by the ulp that a case states; sqrt is correctly rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsec.ir.graph import Op, Value
from sparsec.ir.loops import Expr
from sparsec.ir.ops import complex_math, rules
from sparsec.ir.ops.declare import elementwise
from sparsec.ir.ops.record import Sparse
from sparsec.ir.scalar import ScalarBuilder

_ULP = 4  # two for the backend, and NumPy's own distance from the true value

Grad = Callable[[Any, Op, Value], tuple[Value, ...]]


def _number(b: Any, g: Value, value: float) -> Value:
    return b.const(value, rules.scalar_type(g.type.dtype))  # type: ignore[no-any-return]


def _one_minus_square(b: Any, x: Value) -> Value:
    return b.op("sub", _number(b, x, 1), b.op("mul", x, x))  # type: ignore[no-any-return]


def _one_plus_square(b: Any, x: Value) -> Value:
    return b.op("add", _number(b, x, 1), b.op("mul", x, x))  # type: ignore[no-any-return]


def _root_of(op: str, inner: Callable[[Any, Value], Value]) -> Grad:
    """The rule g / sqrt(inner(x)), or its negative."""

    def grad(b: Any, o: Op, g: Value) -> tuple[Value, ...]:
        slope = b.op("div", g, b.op("sqrt", inner(b, o.operands[0])))
        return (b.op("neg", slope) if op == "-" else slope,)

    return grad


def _over(scale: float) -> Grad:
    """The rule g / (scale * x)."""
    return lambda b, o, g: (b.op("div", g, b.op("mul", o.operands[0], _number(b, g, scale))),)


_LN2, _LN10 = float(np.log(2)), float(np.log(10))

_GRADS: dict[str, Grad] = {
    "exp": lambda b, o, g: (b.op("mul", g, o.result),),
    "exp2": lambda b, o, g: (b.op("mul", g, b.op("mul", o.result, _number(b, g, _LN2))),),
    "expm1": lambda b, o, g: (b.op("mul", g, b.op("add", o.result, _number(b, g, 1))),),
    "log": _over(1.0),
    "log2": _over(_LN2),
    "log10": _over(_LN10),
    "log1p": lambda b, o, g: (b.op("div", g, b.op("add", o.operands[0], _number(b, g, 1))),),
    "sqrt": lambda b, o, g: (b.op("div", g, b.op("add", o.result, o.result)),),
    "cbrt": lambda b, o, g: (
        b.op("div", g, b.op("mul", b.op("mul", o.result, o.result), _number(b, g, 3))),
    ),
    "sin": lambda b, o, g: (b.op("mul", g, b.op("cos", o.operands[0])),),
    "cos": lambda b, o, g: (b.op("neg", b.op("mul", g, b.op("sin", o.operands[0]))),),
    "tan": lambda b, o, g: (b.op("mul", g, _one_plus_square(b, o.result)),),
    "arcsin": _root_of("+", _one_minus_square),
    "arccos": _root_of("-", _one_minus_square),
    "arctan": lambda b, o, g: (b.op("div", g, _one_plus_square(b, o.operands[0])),),
    "sinh": lambda b, o, g: (b.op("mul", g, b.op("cosh", o.operands[0])),),
    "cosh": lambda b, o, g: (b.op("mul", g, b.op("sinh", o.operands[0])),),
    "tanh": lambda b, o, g: (b.op("mul", g, _one_minus_square(b, o.result)),),
    "arcsinh": _root_of("+", _one_plus_square),
    "arccosh": _root_of("+", lambda b, x: b.op("neg", _one_minus_square(b, x))),
    "arctanh": lambda b, o, g: (b.op("div", g, _one_minus_square(b, o.operands[0])),),
}


def _unary(name: str, doc: str, *, scalar: str = "", keep: bool = False, ulp: int = _ULP) -> None:
    """Declares a function by its name in NumPy and in the scalar table; `keep`: f(0) = 0."""
    scalar = scalar or name.replace("arc", "a")
    of_complex = complex_math.FUNCTIONS.get(name)

    def lower(s: ScalarBuilder, x: Expr) -> Expr:
        if x.dtype.kind == "c":
            assert of_complex is not None
            return of_complex(x)
        return getattr(s, scalar)(x)  # type: ignore[no-any-return]

    elementwise(
        name, doc, getattr(np, name), lower, kinds="fc" if of_complex else "f",
        sparse=Sparse.KEEP if keep else Sparse.DENSIFY, grad=_GRADS[name],
        ulp={"f": ulp, "c": complex_math.ULP},
    )


_unary("exp", "e to the power x.")
_unary("exp2", "2 to the power x.")
_unary("expm1", "exp(x) - 1, also near 0.", keep=True)
_unary("log", "The natural logarithm.")
_unary("log2", "The logarithm to base 2.")
_unary("log10", "The logarithm to base 10.")
_unary("log1p", "log(1 + x), also near 0.", keep=True)
_unary("sqrt", "The square root, correctly rounded.", keep=True, ulp=0)
_unary("cbrt", "The cube root.", keep=True)
_unary("sin", "The sine.", keep=True)
_unary("cos", "The cosine.")
_unary("tan", "The tangent.", keep=True)
_unary("arcsin", "The inverse sine.", keep=True)
_unary("arccos", "The inverse cosine.")
_unary("arctan", "The inverse tangent.", keep=True)
_unary("sinh", "The hyperbolic sine.", keep=True)
_unary("cosh", "The hyperbolic cosine.")
_unary("tanh", "The hyperbolic tangent.", keep=True)
_unary("arcsinh", "The inverse hyperbolic sine.", keep=True)
_unary("arccosh", "The inverse hyperbolic cosine.")
_unary("arctanh", "The inverse hyperbolic tangent.", keep=True)


def _arctan2_grad(b: Any, o: Op, g: Value) -> tuple[Value, ...]:
    y, x = o.operands
    scaled = b.op("div", g, b.op("add", b.op("mul", x, x), b.op("mul", y, y)))
    return b.op("mul", scaled, x), b.op("neg", b.op("mul", scaled, y))


elementwise(
    "arctan2", "The angle of the point (x, y), for operands y and x.", np.arctan2, lambda s, y,
    x: s.atan2(y, x),
    kinds="f", arity=2, ulp=_ULP, grad=_arctan2_grad,
)
