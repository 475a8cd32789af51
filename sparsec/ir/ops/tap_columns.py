"""An image once for each column of a window, moved and with its margins: what a tap reads needs no question.

    tap_columns %x {taps=3, stride=[1, 1], dilation=1, padding=[[1, 1], [1, 1]], size=[9, 7], taken=1}
        : f32[1,16,7,7] to f32[1,16,1,3,9,7]

Element (n, c, a, s, y, x) is element (n, c, y * 1 + a - 1, x * 1 + s * 1 - 1) of the image, or 0 where it has none:
the tap in row r and column s of a window reads row y + r of copy s for the output (y, x).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sparsec.errors import ShapeError
from sparsec.ir.dims import Poly
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Expr
from sparsec.ir.ops.record import Kind, OpRecord, case, register
from sparsec.ir.scalar import ScalarBuilder, index
from sparsec.ir.types import TensorType

Pair = tuple[int, int]


def _types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    (x,) = types
    if x.rank != 4 or any(isinstance(d, Poly) for d in x.shape[2:]):
        raise ShapeError(f"tap_columns takes images [N,C,H,W] of known height and width, not {x}")
    return [TensorType(x.dtype, (*x.shape[:2], attrs["taken"], attrs["taps"], *attrs["size"]))]


def _reference(
    x: np.ndarray, taps: int, stride: Pair, dilation: int, padding: tuple[Pair, Pair], size: Pair, taken: int,
    extent: Pair,
) -> np.ndarray:
    result = np.zeros((*x.shape[:2], taken, taps, *size), x.dtype)
    for a, s, y, at in np.ndindex(*result.shape[2:]):
        row, column = y * stride[0] + a - padding[0][0], at * stride[1] + s * dilation - padding[1][0]
        if 0 <= row < extent[0] and 0 <= column < extent[1]:
            result[:, :, a, s, y, at] = x[:, :, row, column]
    return result


def _lower(
    b: ScalarBuilder, at: tuple[Expr, ...], reads: Sequence[Callable[..., Expr]], taps: int, stride: Pair,
    dilation: int, padding: tuple[Pair, Pair], size: Pair, taken: int, extent: Pair,
) -> Expr:
    n, c, a, s, y, x = at
    row = b.sub(b.add(b.mul(y, index(stride[0])), a), index(padding[0][0]))
    column = b.sub(b.add(b.mul(x, index(stride[1])), b.mul(s, index(dilation))), index(padding[1][0]))
    rows = b.logical_and(b.ge(row, index(0)), b.lt(row, index(extent[0])))
    columns = b.logical_and(b.ge(column, index(0)), b.lt(column, index(extent[1])))
    return reads[0](n, c, row, column, given=(b.logical_and(rows, columns), 0))


register(OpRecord(
    name="tap_columns", kind=Kind.MAP, numpy=(),
    attrs=("taps", "stride", "dilation", "padding", "size", "taken", "extent"),
    doc="x[N,C,H,W] to [N,C,taken,taps,*size]: element (y * stride[0] + a, x * stride[1] + s * dilation) of the "
        "image of `extent` H, W with its `padding`, or 0 outside of it; a < taken, s < taps.",
    infer=_types, ref=_reference, lower=_lower,
    cases=tuple(
        case((1, 2, h, w), dtypes=d, taps=taps, stride=stride, dilation=dilation, padding=padding, size=size,
             taken=taken, extent=(h, w))
        for d, h, w, taps, stride, dilation, padding, size, taken in (
            ("f4", 4, 5, 3, (1, 1), 1, ((1, 1), (1, 1)), (6, 5), 1),
            ("f8", 5, 6, 3, (2, 2), 1, ((1, 1), (1, 1)), (4, 3), 2),
            ("f4", 6, 4, 2, (1, 2), 2, ((0, 2), (1, 0)), (8, 2), 1),
            ("f4", 3, 0, 3, (1, 1), 1, ((1, 1), (1, 1)), (5, 0), 1),
        )
    ),
))  # fmt: skip
