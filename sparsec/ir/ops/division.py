"""Quotients rounded down, remainders, and the note about integer division by zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsec.errors import DTypeError
from sparsec.ir import flags
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Expr
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops import rules
from sparsec.ir.ops.declare import elementwise
from sparsec.ir.ops.record import Kind, OpRecord, Sparse, case, register
from sparsec.ir.scalar import S, ScalarBuilder
from sparsec.ir.types import BOOL, TensorType, dtype_name


def _integer_divmod(x: Expr, y: Expr) -> tuple[Expr, Expr]:
    """Quotient rounded down and remainder with the divisor's sign; MIN // -1 wraps, and by 0 both are 0."""
    zero = rules.like(x, 0)
    divisor = rules.safe_divisor(x, y)
    quotient, rest = S.quo(x, divisor), S.rem(x, divisor)
    if x.dtype.kind == "i":
        signs_differ = S.ne(S.lt(rest, zero), S.lt(divisor, zero))
        down = S.logical_and(S.ne(rest, zero), signs_differ)
        quotient = S.select(down, S.sub(quotient, rules.like(x, 1)), quotient)
        rest = S.select(down, S.add(rest, divisor), rest)
    # MIN // -1: the divisor 1 in its place leaves MIN and rest 0, which is what NumPy gives.
    return S.select(S.eq(y, zero), zero, quotient), rest


def _float_floor_div(x: Expr, y: Expr) -> Expr:
    """NumPy's quotient: of (x - remainder) / y, which is nearly whole, the nearest whole number."""
    rest = S.fmod(x, y)
    zero, one = rules.like(x, 0), rules.like(x, 1)
    quotient = S.div(S.sub(x, rest), y)
    quotient = S.select(_crosses_zero(rest, y), S.sub(quotient, one), quotient)
    whole = S.floor(quotient)
    snapped = S.select(S.gt(S.sub(quotient, whole), rules.like(x, 0.5)), S.add(whole, one), whole)
    plain = S.div(x, y)
    result = S.select(S.ne(quotient, zero), snapped, S.copysign(zero, plain))
    return S.select(S.eq(y, zero), plain, result)


def _float_mod(x: Expr, y: Expr) -> Expr:
    rest = S.fmod(x, y)
    zero = rules.like(x, 0)
    moved = S.select(_crosses_zero(rest, y), S.add(rest, y), rest)
    result = S.select(S.eq(rest, zero), S.copysign(zero, y), moved)
    return S.select(S.eq(y, zero), rest, result)


def _crosses_zero(rest: Expr, y: Expr) -> Expr:
    """Whether C's remainder has not the divisor's sign, so that NumPy moves it by one divisor."""
    zero = rules.like(rest, 0)
    return S.logical_and(S.ne(rest, zero), S.ne(S.lt(y, zero), S.lt(rest, zero)))


def _floor_div(s: ScalarBuilder, x: Expr, y: Expr) -> Expr:
    return _float_floor_div(x, y) if x.dtype.kind == "f" else _integer_divmod(x, y)[0]


def _mod(s: ScalarBuilder, x: Expr, y: Expr) -> Expr:
    return _float_mod(x, y) if x.dtype.kind == "f" else _integer_divmod(x, y)[1]


def _fmod(s: ScalarBuilder, x: Expr, y: Expr) -> Expr:
    return s.fmod(x, y) if x.dtype.kind == "f" else s.rem(x, rules.safe_divisor(x, y))


elementwise(
    "floor_div", "x / y rounded down; 0 for an integer divided by 0.", np.floor_divide, _floor_div,
    kinds="iuf",
    arity=2, numpy=("floor_divide",), sparse=Sparse.KEEP,
)
elementwise(
    "mod", "What floor_div leaves over, with the sign of y; 0 for an integer modulo 0.", np.remainder, _mod,
    kinds="iuf", arity=2, numpy=("remainder", "mod"), sparse=Sparse.KEEP,
    grad=lambda b, op, g: (g, b.op("neg", b.op("mul", g, b.op("floor_div", *op.operands)))),
)
elementwise(
    "fmod", "What division toward zero leaves over, with the sign of x; 0 for an integer by 0.", np.fmod,
    _fmod,
    kinds="iuf", arity=2, sparse=Sparse.KEEP,
)


def _note_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    if types[0].dtype != BOOL:
        raise DTypeError(f"note takes a bool array, not {dtype_name(types[0].dtype)}")
    if attrs["flag"] not in flags.BITS:
        raise ValueError(f"note: no flag is called {attrs['flag']!r}")
    return []


def _note_ref(met: np.ndarray, flag: str) -> tuple[()]:
    if np.any(met):
        flags.note(flag)
    return ()


def _note_lower(nest: NestBuilder, flag: str, **attrs: Any) -> None:
    with nest.loops(nest.shape(0)) as at, nest.if_(nest.read(0, *at)):
        nest.note(flags.BITS[flag])


register(OpRecord(
    name="note", kind=Kind.CHECK, attrs=("flag",),
    doc='Sets a warning flag ("divide", "over", "invalid") if any element is True; the call goes on.',
    infer=_note_types, ref=_note_ref, lower=_note_lower,
    cases=(case((3,), dtypes="bool", flag="divide"),),
))
