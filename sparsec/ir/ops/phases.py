"""An image taken apart by a stride: what a strided convolution reads in one go lies together.

    phases %x {stride=[2, 2], size=[4, 3], taken=[2, 2], extent=[8, 6]} : f32[1,16,8,6] to f32[1,16,2,2,4,3]

Element (n, c, a, b, y, x) is element (n, c, y * 2 + a, x * 2 + b) of the image, or 0 where it has none.
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
        raise ShapeError(f"phases takes images [N,C,H,W] of known height and width, not {x}")
    return [TensorType(x.dtype, (*x.shape[:2], *attrs["taken"], *attrs["size"]))]


def _reference(x: np.ndarray, stride: Pair, size: Pair, taken: Pair, extent: Pair) -> np.ndarray:
    result = np.zeros((*x.shape[:2], *taken, *size), x.dtype)
    for a, b in np.ndindex(*taken):
        part = x[:, :, a :: stride[0], b :: stride[1]][:, :, : size[0], : size[1]]
        result[:, :, a, b, : part.shape[2], : part.shape[3]] = part
    return result


def _lower(
    s: ScalarBuilder, at: tuple[Expr, ...], reads: Sequence[Callable[..., Expr]], stride: Pair, size: Pair,
    taken: Pair, extent: Pair,
) -> Expr:
    n, c, a, b, y, x = at
    places = [s.add(s.mul(y, index(stride[0])), a), s.add(s.mul(x, index(stride[1])), b)]
    given = None
    for place, end, step, count, last in zip(places, extent, stride, size, taken):
        if (count - 1) * step + last > end:
            inside = s.lt(place, index(end))
            given = inside if given is None else s.logical_and(given, inside)
    if given is None:
        return reads[0](n, c, *places)
    return reads[0](n, c, *places, given=(given, 0))


def regroup(planes: np.ndarray, stride: Pair, extent: Pair) -> np.ndarray:
    """The image that phases were taken from; zeros where none was taken."""
    image = np.zeros((*planes.shape[:2], *extent), planes.dtype)
    for a, b in np.ndindex(*planes.shape[2:4]):
        place = image[:, :, a :: stride[0], b :: stride[1]]
        part = planes[:, :, a, b, : place.shape[2], : place.shape[3]]
        place[:, :, : part.shape[2], : part.shape[3]] = part
    return image


register(OpRecord(
    name="phases", kind=Kind.MAP, attrs=("stride", "size", "taken", "extent"), numpy=(),
    doc="x[N,C,H,W] to [N,C,a,b,*size]: element (y * stride + a, x * stride + b) of the image of `extent` H, W, or 0 "
        "behind its end; a < taken[0], b < taken[1].",
    infer=_types, ref=_reference, lower=_lower,
    cases=tuple(
        case((1, 2, h, w), dtypes=d, stride=s, size=size, taken=taken, extent=(h, w))
        for d, h, w, s, size, taken in (
            ("f4", 6, 4, (2, 2), (3, 2), (2, 2)), ("f8", 5, 7, (2, 3), (3, 3), (2, 3)),
            ("f4", 5, 5, (2, 2), (3, 4), (1, 1)), ("f4", 4, 0, (2, 2), (2, 0), (2, 2)),
        )
    ),
))  # fmt: skip
