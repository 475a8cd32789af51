"""Operations on the bits of integers and bools."""

from __future__ import annotations

import numpy as np

from sparsec.ir.loops import Expr
from sparsec.ir.ops import rules
from sparsec.ir.ops.declare import elementwise
from sparsec.ir.ops.record import Sparse
from sparsec.ir.scalar import S, ScalarBuilder
from sparsec.ir.types import DTYPES, DType

elementwise(
    "bit_and", "The bits set in both.", np.bitwise_and, lambda s, x, y: s.logical_and(x, y), kinds="biu",
    arity=2,
    numpy=("bitwise_and",), sparse=Sparse.INTERSECT,
)
elementwise(
    "bit_or", "The bits set in one or both.", np.bitwise_or, lambda s, x, y: s.logical_or(x, y), kinds="biu",
    arity=2, numpy=("bitwise_or",), sparse=Sparse.UNION,
)
elementwise(
    "bit_xor", "The bits set in one, not both.", np.bitwise_xor, lambda s, x, y: s.xor(x, y), kinds="biu",
    arity=2,
    numpy=("bitwise_xor",), sparse=Sparse.UNION,
)
elementwise(
    "bit_not", "The bits not set.", np.invert, lambda s, x: s.logical_not(x), kinds="biu",
    numpy=("invert", "bitwise_not", "bitwise_invert"),
)


def _amount(y: Expr) -> tuple[Expr, Expr]:
    """Whether the machine can shift by y, and y or 0. A negative amount counts as too large, as in NumPy."""
    inside = S.lt(y, rules.like(y, 8 * y.dtype.itemsize))
    if y.dtype.kind == "i":
        inside = S.logical_and(inside, S.ge(y, rules.like(y, 0)))
    return inside, S.select(inside, y, rules.like(y, 0))


def _shift_left(s: ScalarBuilder, x: Expr, y: Expr) -> Expr:
    inside, amount = _amount(y)
    return s.select(inside, s.shl(x, amount), rules.like(x, 0))


def _shift_right(s: ScalarBuilder, x: Expr, y: Expr) -> Expr:
    """All bits shifted out leave copies of the sign."""
    inside, amount = _amount(y)
    zero = rules.like(x, 0)
    gone = s.select(s.lt(x, zero), rules.like(x, -1), zero) if x.dtype.kind == "i" else zero
    return s.select(inside, s.shr(x, amount), gone)


elementwise(
    "shift_left", "x * 2**y; 0 for y of at least the width, or negative.", np.left_shift, _shift_left,
    kinds="iu",
    arity=2, numpy=("left_shift", "bitwise_left_shift"),
)
elementwise(
    "shift_right", "x / 2**y rounded down; 0 or -1 for y of at least the width, or negative.", np.right_shift,
    _shift_right, kinds="iu", arity=2, numpy=("right_shift", "bitwise_right_shift"),
)


def _popcount(s: ScalarBuilder, x: Expr) -> Expr:
    """Sums of neighbouring bits, then pairs, then nibbles; a product adds the bytes into the topmost."""
    magnitude = s.abs(x) if x.dtype.kind == "i" else x
    bits = s.cast(magnitude, _unsigned(x.dtype))
    width = 8 * bits.dtype.itemsize

    def mask(byte: int) -> Expr:
        return rules.like(bits, int.from_bytes(bytes([byte]) * (width // 8), "little"))

    def shifted(v: Expr, by: int) -> Expr:
        return s.shr(v, rules.like(v, by))  # type: ignore[no-any-return]

    pairs = s.sub(bits, s.logical_and(shifted(bits, 1), mask(0x55)))
    nibbles = s.add(s.logical_and(pairs, mask(0x33)), s.logical_and(shifted(pairs, 2), mask(0x33)))
    per_byte = s.logical_and(s.add(nibbles, shifted(nibbles, 4)), mask(0x0F))
    return s.cast(shifted(s.mul(per_byte, mask(0x01)), width - 8), DTYPES["u8"])


def _unsigned(dtype: DType) -> DType:
    return np.dtype(f"u{dtype.itemsize}")


elementwise(
    "popcount", "How many bits of |x| are set, as u8.", np.bitwise_count, _popcount, kinds="iu",
    result=DTYPES["u8"], numpy=("bitwise_count",), sparse=Sparse.KEEP,
)
