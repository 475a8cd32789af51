"""Comparisons, tests of single elements, logic on bool, and the choice between two values."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sparsec.errors import DTypeError
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Expr
from sparsec.ir.ops import rules
from sparsec.ir.ops.declare import SAMPLES, common_shape, elementwise
from sparsec.ir.ops.record import Kind, OpRecord, Sparse, case, register
from sparsec.ir.scalar import S, ScalarBuilder
from sparsec.ir.types import BOOL, TensorType, dtype_name

elementwise(
    "equal", "x == y; false with NaN.", np.equal, lambda s, x, y: s.eq(x, y), kinds="biufc", result="bool",
    arity=2,
)
elementwise(
    "not_equal", "x != y; true with NaN.", np.not_equal, lambda s, x, y: s.ne(x, y), kinds="biufc",
    result="bool",
    arity=2,
)


def _ordered(fn: str) -> Callable[[ScalarBuilder, Expr, Expr], Expr]:
    return lambda s, x, y: rules.compare(fn, x, y)


for _name, _fn, _sign in (
    ("less", "lt", "<"), ("less_equal", "le", "<="), ("greater", "gt", ">"), ("greater_equal", "ge", ">="),
):
    elementwise(
        _name, f"x {_sign} y; false with NaN; complex numbers by real, then by imaginary part.",
        getattr(np, _name), _ordered(_fn), kinds="biufc", result="bool", arity=2,
    )


def _where_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    cond, a, b = types
    if cond.dtype != BOOL or a.dtype != b.dtype:
        raise DTypeError(f"where does not take ({', '.join(dtype_name(t.dtype) for t in types)})")
    return [TensorType(a.dtype, common_shape("where", types))]


register(OpRecord(
    name="where", kind=Kind.ELEMENTWISE, arity=3, doc="a where cond (a bool) holds, else b.",
    infer=_where_types, ref=np.where, lower=lambda s, cond, a, b: s.select(cond, a, b), numpy=("where",),
    cases=tuple(case((2, 3), (2, 3), (2, 3), dtypes=("bool", d, d)) for k in "biufc" for d in SAMPLES[k]),
))


def _float_test(on_float: Callable[[Expr], Expr], joined: Callable[..., Expr], always: bool):  # type: ignore[no-untyped-def]
    """A test of floats; `joined` makes one answer of those for the two parts; `always`: that for integers."""

    def lower(s: ScalarBuilder, x: Expr) -> Expr:
        if x.dtype.kind in "biu":
            return s.const(always, BOOL)
        if x.dtype.kind == "c":
            return joined(*(on_float(part) for part in rules.parts(x)))
        return on_float(x)

    return lower


elementwise(
    "isnan", "Whether x, or a part of it, is NaN.", np.isnan, lambda s, x: rules.isnan(x), kinds="biufc",
    result="bool",
)
elementwise(
    "isinf", "Whether x, or a part of it, is infinite.", np.isinf,
    _float_test(rules.isinf, rules.any_of, False), kinds="biufc", result="bool",
)
elementwise(
    "isfinite", "Whether x, in both parts, is neither infinite nor NaN.", np.isfinite,
    _float_test(lambda x: S.lt(S.abs(x), rules.like(x, float("inf"))), rules.all_of, True),
    kinds="biufc", result="bool",
)


def _signbit(s: ScalarBuilder, x: Expr) -> Expr:
    bits = s.bitcast(x, np.dtype(f"i{x.dtype.itemsize}"))
    return s.lt(bits, rules.like(bits, 0))


elementwise(
    "signbit", "Whether the sign bit is set: of -0.0 too.", np.signbit, _signbit, kinds="f", result="bool",
)

elementwise("logical_and", "Both.", np.logical_and, lambda s, a, b: s.logical_and(a, b), kinds="b", arity=2,
            sparse=Sparse.INTERSECT)
elementwise("logical_or", "Either.", np.logical_or, lambda s, a, b: s.logical_or(a, b), kinds="b", arity=2,
            sparse=Sparse.UNION)
elementwise(
    "logical_xor", "Either, not both.", np.logical_xor, lambda s, a, b: s.xor(a, b), kinds="b", arity=2,
    sparse=Sparse.UNION,
)
elementwise("logical_not", "Not a.", np.logical_not, lambda s, a: s.logical_not(a), kinds="b")
