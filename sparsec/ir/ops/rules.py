"""NumPy's rules for single elements that several ops share: orders with NaN, guarded division, literals.

Everything here is an expression of loop-IR scalar functions that is defined for every operand.
"""

from __future__ import annotations

import math

import numpy as np

from sparsec.ir.loops import Const, Expr
from sparsec.ir.scalar import S, const
from sparsec.ir.types import BOOL, DType, TensorType


def scalar_type(dtype: DType) -> TensorType:
    """The type of a literal in a gradient rule."""
    return TensorType(dtype)


def like(x: Expr, value: complex) -> Const:
    """A literal of `x`'s dtype."""
    return const(value, x.dtype)


def part_dtype(dtype: DType) -> DType:
    """The dtype of the parts of a complex one; any other dtype itself."""
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def parts(z: Expr) -> tuple[Expr, Expr]:
    """Real and imaginary part."""
    return S.real(z), S.imag(z)


def lowest(dtype: DType) -> Const:
    """A value that none is less than: the start of a maximum."""
    return _extreme(dtype, largest=False)


def highest(dtype: DType) -> Const:
    """A value that none is greater than: the start of a minimum."""
    return _extreme(dtype, largest=True)


def _extreme(dtype: DType, *, largest: bool) -> Const:
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return const(int(info.max if largest else info.min), dtype)
    if dtype == BOOL:
        return const(largest, dtype)
    bound = float("inf") if largest else -float("inf")
    return const(complex(bound, bound) if dtype.kind == "c" else bound, dtype)


def any_of(*conds: Expr) -> Expr:
    """Whether at least one holds."""
    result = conds[0]
    for cond in conds[1:]:
        result = S.logical_or(result, cond)
    return result


def all_of(*conds: Expr) -> Expr:
    """Whether every one holds."""
    result = conds[0]
    for cond in conds[1:]:
        result = S.logical_and(result, cond)
    return result


def isnan(x: Expr) -> Expr:
    """Whether x, or a part of it, is NaN; never for integers."""
    if x.dtype.kind in "biu":
        return const(False, BOOL)
    if x.dtype.kind == "c":
        return any_of(*(S.ne(p, p) for p in parts(x)))
    return S.ne(x, x)


def isinf(x: Expr) -> Expr:
    """Whether a float is infinite."""
    return S.eq(S.abs(x), like(x, float("inf")))


def compare(fn: str, x: Expr, y: Expr) -> Expr:
    """`fn` is lt, le, gt or ge; complex numbers compare by real, then by imaginary part, as in NumPy."""
    if x.dtype.kind != "c":
        return getattr(S, fn)(x, y)  # type: ignore[no-any-return]
    (xr, xi), (yr, yi) = parts(x), parts(y)
    strict = getattr(S, fn[0] + "t")
    first = all_of(strict(xr, yr), S.eq(xi, xi), S.eq(yi, yi))
    return S.logical_or(first, S.logical_and(S.eq(xr, yr), getattr(S, fn)(xi, yi)))


def larger(x: Expr, y: Expr) -> Expr:
    """NumPy's maximum: NaN if any is. Of equal operands (0.0 and -0.0) the second, as in its float loops."""
    return _extremum("gt", x, y)


def smaller(x: Expr, y: Expr) -> Expr:
    """NumPy's minimum: NaN if any is. Of equal operands (0.0 and -0.0) the second, as in its float loops."""
    return _extremum("lt", x, y)


def _extremum(order: str, x: Expr, y: Expr) -> Expr:
    if x.dtype.kind in "biu":
        return integer_extremum(order, x, y)
    if x.dtype.kind == "f" and x.dtype.itemsize > 2:
        if isinstance(y, Const) and (y.value or math.copysign(1.0, y.value.real) > 0) and y.value == y.value:
            # One instruction, which keeps x if that is NaN. Only zeros are equal without being the same: of them 0.0
            # is wanted, which is what the sum of 0.0 and either is.
            best = S.select(compare(order, y, x), y, x)
            return best if y.value else S.add(best, y)
        # The inner choice is an instruction of vector units, if the outer one is not just another reason to choose x:
        # LLVM would make one choice of two comparisons of them. x+x is the same NaN.
        return S.select(isnan(x), S.add(x, x), S.select(compare(order, x, y), x, y))
    # A complex tie may differ in the sign of a zero too: there NumPy keeps the first.
    return _first_extremum(order, x, y)


def first_larger(x: Expr, y: Expr) -> Expr:
    """The larger of two floats; NaN if any is. Of equal operands the first, as in NumPy's loops of float16."""
    return _first_extremum("gt", x, y)


def first_smaller(x: Expr, y: Expr) -> Expr:
    """The smaller of two floats; NaN if any is. Of equal operands the first, as in NumPy's loops of float16."""
    return _first_extremum("lt", x, y)


def _first_extremum(order: str, x: Expr, y: Expr) -> Expr:
    return S.select(S.logical_or(compare(order[0] + "e", x, y), isnan(x)), x, y)


def larger_number(x: Expr, y: Expr) -> Expr:
    """NumPy's fmax: NaN only if both are."""
    return _number_extremum("gt", x, y)


def smaller_number(x: Expr, y: Expr) -> Expr:
    """NumPy's fmin: NaN only if both are."""
    return _number_extremum("lt", x, y)


def _number_extremum(order: str, x: Expr, y: Expr) -> Expr:
    if x.dtype.kind in "biu":
        return integer_extremum(order, x, y)
    first = compare(order if x.dtype.kind == "f" else order[0] + "e", x, y)
    return S.select(S.logical_or(first, isnan(y)), x, y)


def integer_extremum(order: str, x: Expr, y: Expr) -> Expr:
    """The larger ("gt") or smaller ("lt") of integers or bools."""
    if x.dtype == BOOL:
        return S.logical_or(x, y) if order == "gt" else S.logical_and(x, y)
    return S.max(x, y) if order == "gt" else S.min(x, y)  # type: ignore[no-any-return]


def better(order: str, x: Expr, best: Expr) -> Expr:
    """Whether x is the new extremum ("gt": maximum) after `best`: the first NaN, or first of equals, wins."""
    wins = compare(order, x, best)
    if x.dtype.kind in "biu":
        return wins
    settled = isnan(best)
    return S.logical_and(S.logical_not(settled), S.logical_or(wins, isnan(x)))


def sorts_before(x: Expr, y: Expr) -> Expr:
    """The order of NumPy's sorts: NaN after everything, complex numbers by real, then imaginary part."""
    match x.dtype.kind:
        case "f":
            return S.logical_or(S.lt(x, y), S.logical_and(isnan(y), S.eq(x, x)))
        case "c":
            return _complex_before(parts(x), parts(y))
    return S.lt(x, y)


def _complex_before(x: tuple[Expr, Expr], y: tuple[Expr, Expr]) -> Expr:
    (xr, xi), (yr, yi) = x, y
    left, right = isnan(xi), isnan(yi)
    same = S.logical_or(S.eq(xr, yr), S.logical_and(isnan(xr), isnan(yr)))
    return S.select(
        S.lt(xr, yr), S.logical_or(S.logical_not(left), right),
        S.select(
            S.gt(xr, yr), S.logical_and(right, S.logical_not(left)),
            S.select(same, sorts_before(xi, yi), isnan(yr)),
        ),
    )


def safe_divisor(x: Expr, y: Expr) -> Expr:
    """y, or 1 where the machine cannot divide x by y: y is 0, or the quotient would overflow (MIN / -1)."""
    bad = S.eq(y, like(y, 0))
    if y.dtype.kind == "i":
        overflow = S.logical_and(S.eq(x, lowest(x.dtype)), S.eq(y, like(y, -1)))
        bad = S.logical_or(bad, overflow)
    return S.select(bad, like(y, 1), y)
