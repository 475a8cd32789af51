"""Conversions between dtypes, exactly as NumPy makes them on x86-64.

Float to integer is C's conversion where the value fits. Where it does not, the C standard is silent and NumPy
gives what the x86 instruction gives: through i32 for targets of at most 32 bits (u32: through i64), through
i64 for the wide ones; a value that does not fit there becomes the lowest i32 or i64, and is then cut to the
target's width. u64 first takes 2**63 off values of at least that. NumPy's vector loops for u32 disagree with
its scalar loops outside -2**31 .. 2**32; sparsec follows the scalar loops.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparsec.errors import DTypeError
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Expr
from sparsec.ir.ops import rules
from sparsec.ir.ops.record import Case, Kind, OpRecord, Sparse, case, register
from sparsec.ir.scalar import S, const
from sparsec.ir.types import BOOL, DTYPES, F16, F32, F64, I32, I64, DType, TensorType, dtype_name

_U64, _U32 = DTYPES["u64"], DTYPES["u32"]


def convert(x: Expr, dtype: DType) -> Expr:
    """`x` as `dtype`, by NumPy's rules."""
    source, dtype = x.dtype, np.dtype(dtype)
    if source == dtype:
        return x
    if source.kind == "c":
        return _from_complex(x, dtype)
    if dtype.kind == "c":
        part = rules.part_dtype(dtype)
        return S.complex(convert(x, part), const(0, part))
    if dtype == F16:
        return _to_half(x)
    if source == F16:
        return convert(S.cast(x, F32), dtype)
    if dtype == BOOL:
        return S.ne(x, rules.like(x, 0))
    if source.kind == "f" and dtype.kind in "iu":
        return _float_to_int(x, dtype)
    return S.cast(x, dtype)


def _from_complex(x: Expr, dtype: DType) -> Expr:
    re, im = rules.parts(x)
    if dtype.kind == "c":
        part = rules.part_dtype(dtype)
        return S.complex(S.cast(re, part), S.cast(im, part))
    if dtype == BOOL:
        return S.logical_or(convert(re, BOOL), convert(im, BOOL))
    return convert(re, dtype)


def _float_to_int(x: Expr, dtype: DType) -> Expr:
    if dtype == _U64:
        return _float_to_u64(x)
    narrow = dtype.itemsize < 4 or dtype == I32
    return S.cast(_truncate(x, I32 if narrow else I64), dtype)


def _truncate(x: Expr, dtype: DType) -> Expr:
    """The x86 conversion to i32 or i64: the lowest integer for what does not fit, NaN included."""
    bound = 2 ** (8 * dtype.itemsize - 1)
    fits = S.logical_and(S.ge(x, rules.like(x, -bound)), S.lt(x, rules.like(x, bound)))
    inside = S.cast(S.select(fits, x, rules.like(x, 0)), dtype)
    return S.select(fits, inside, rules.lowest(dtype))


def _float_to_u64(x: Expr) -> Expr:
    half = rules.like(x, 2.0**63)
    big = S.ge(x, half)
    low = S.cast(_truncate(S.select(big, S.sub(x, half), x), I64), _U64)
    return S.select(big, S.xor(low, const(1 << 63, _U64)), low)


def _to_half(x: Expr) -> Expr:
    """Through f32. For f64 that would round twice: so the first rounding is to odd, which keeps what was cut
    off visible to the second."""
    single = S.cast(x, F32)
    if x.dtype == F64:
        single = _round_to_odd(x, single)
    return S.cast(single, F16)


def _round_to_odd(x: Expr, single: Expr) -> Expr:
    """The f32 next to `x` on the side of zero, with its last bit set, where `single` is not `x` itself."""
    bits = S.bitcast(single, _U32)
    one = const(1, _U32)
    back = S.cast(single, F64)
    beyond = S.gt(S.abs(back), S.abs(x))
    toward_zero = S.select(beyond, S.sub(bits, one), bits)
    inexact = S.logical_and(S.ne(back, x), S.eq(x, x))
    return S.bitcast(S.select(inexact, S.logical_or(toward_zero, one), bits), F32)


def _types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    return [TensorType(np.dtype(attrs["dtype"]), types[0].shape)]


def _cast_array(x: np.ndarray, dtype: DType) -> np.ndarray:
    """`x.astype(dtype)`, element by element where NumPy's vector loop is the odd one out."""
    with np.errstate(all="ignore"):
        if x.dtype.kind == "c" and np.dtype(dtype).kind not in "cb":
            x = x.real
        if np.dtype(dtype) == _U32 and x.dtype.kind == "f":
            return _scalar_u32(x)
        return x.astype(dtype)


def _scalar_u32(x: np.ndarray) -> np.ndarray:
    return x.astype(I64).astype(_U32)


_DTYPES = ("bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")


def _cases() -> tuple[Case, ...]:
    return tuple(case((2, 3), dtypes=a, dtype=np.dtype(b)) for a in _DTYPES for b in _DTYPES)


register(OpRecord(
    name="cast", kind=Kind.ELEMENTWISE, attrs=("dtype",),
    doc="x converted to `dtype`; complex to real drops the imaginary part, integers wrap, to bool is x != 0.",
    infer=_types, ref=_cast_array, lower=lambda s, x, dtype: convert(x, dtype), sparse=Sparse.KEEP,
    grad=lambda b, op, g: (b.op("cast", g, dtype=op.operands[0].type.dtype),), cases=_cases(),
))


def _bitcast_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    source, target = types[0].dtype, np.dtype(attrs["dtype"])
    if source.itemsize != target.itemsize or ({source.kind, target.kind} & {"b", "c"} and source != target):
        raise DTypeError(f"bitcast of {dtype_name(source)} to {dtype_name(target)}")
    return [TensorType(target, types[0].shape)]


register(OpRecord(
    name="bitcast", kind=Kind.ELEMENTWISE, attrs=("dtype",),
    doc="The bits of x read as `dtype`, an integer or float of the same size.",
    infer=_bitcast_types, ref=lambda x, dtype: x.view(dtype), sparse=Sparse.KEEP,
    lower=lambda s, x, dtype: x if x.dtype == np.dtype(dtype) else s.bitcast(x, dtype),
    cases=tuple(
        case((2, 3), dtypes=a, dtype=np.dtype(b))
        for a, b in (("f4", "i4"), ("i4", "f4"), ("f8", "u8"), ("u8", "f8"), ("u1", "i1"), ("f2", "u2"))
    ),
))
