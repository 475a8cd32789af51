"""How the input of a convolution with pruned weights lies in memory, and what the ops over it have in common.

A convolution reads its input at `R * S` shifts. Planes hold those once, padded, so that every tap (c, r, s) of every
output becomes one run of consecutive elements that begins at a fixed offset:

    y[n, o, lane] = sum over taps t of o of  values[t] * planes[n].flat[offsets[t] + lane]

Lane `i * pitch + j` is the output at row i and column j; lanes behind a row are nobody's.

A step of the sum is one load and one multiply-add, so what matters is where the load comes from. Rows of planes begin
at cache lines, whatever the tap. The input channels are taken in parts, so few that their planes stay in the nearest
cache while every output adds its taps of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsec.errors import DTypeError, ShapeError
from sparsec.ir.dims import Dim, Poly
from sparsec.ir.graph import Attrs
from sparsec.ir.ops.conv import Pair, windows
from sparsec.ir.types import F32, F64, I32, TensorType, dtype_name

__all__ = ["LANES", "OUTPUTS", "VECTOR", "VECTORS", "WINDOW", "WINDOW_DEFAULTS", "PlaneLayout", "i32_lists",
           "lanes_of", "plane_layout", "sum_types", "work"]

#: Output elements that one pass over the taps of a filter computes: fourteen 512-bit registers of float32.
LANES = 224

#: Rows of planes are a multiple of this, so that runs begin at the start of a cache line, unless they are `packed`.
_PITCH = 16

#: Lanes of packed planes are an odd multiple of this, so that outputs begin at different places in the cache; so many
#: vectors of as many lanes are worked on together.
VECTOR, VECTORS = 16, 4

#: Packed planes are one copy for all tap columns if that makes rows longer by no more than this: one for each may be
#: more than caches hold.
_WASTE = 0.08

#: Bytes of planes that a part of the channels may have: they stay in the nearest cache.
_NEAR = 28 << 10

#: Outputs that are added to together: their lanes stay in the nearest cache.
OUTPUTS = 128

#: Attributes of a window.
WINDOW = ("kernel", "stride", "padding", "dilation")
WINDOW_DEFAULTS = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}


@dataclass(frozen=True, slots=True)
class PlaneLayout:
    """planes[n, c, phase, s, row, column]: input row `row * stride + phase - top`, seen from tap column s.

    rows: rows of a plane, those included that lanes run over behind the last output. pitch: elements of a row.
    """

    kernel: Pair
    stride: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair
    size: tuple[int, int]  # of the output
    pitch: int
    rows: int
    phases: int
    copies: int  # one for each tap column, or one for all: then rows are as long as the padded image's
    packed: bool

    @property
    def plane(self) -> int:
        return self.rows * self.pitch

    @property
    def lanes(self) -> int:
        """Elements of an output, those that are nobody's included."""
        return lanes_of(self.size, self.pitch, packed=self.packed)

    def together(self, itemsize: int) -> int:
        """Input channels of a part."""
        reach = self.rows - -(-self.lanes // self.pitch)
        return max(_NEAR // (self.phases * self.copies * (LANES + reach * self.pitch) * itemsize), 1)

    @property
    def channel(self) -> int:
        """Elements between two channels."""
        return self.phases * self.copies * self.plane

    def offset(self, column: Any) -> Any:
        """Where the run of a tap begins; column: (c * R + r) * S + s, ints or arrays."""
        height, width = self.kernel
        channel, tap = column // (height * width), column % (height * width)
        moved = (tap // width) * self.dilation[0]
        row, phase = moved // self.stride[0], moved % self.stride[0]
        place = tap % width * (self.plane if self.copies > 1 else self.dilation[1])
        return channel * self.channel + phase * self.copies * self.plane + row * self.pitch + place


def lanes_of(size: Pair, pitch: int, *, packed: bool = False) -> int:
    """Elements of an output, those that are nobody's included."""
    if packed:
        return (-(-size[0] * pitch // VECTOR) | 1) * VECTOR
    return -(-size[0] * pitch // LANES) * LANES


def flat_images(planes: np.ndarray) -> np.ndarray:
    """The planes of each image in one row."""
    return planes.reshape(len(planes), math.prod(planes.shape[1:]))


def plane_layout(extent: Sequence[Dim], kernel: Sequence[int], attrs: Attrs) -> PlaneLayout:
    """The layout for an input of height and width `extent`. Raises ShapeError for a window that does not fit."""
    if any(isinstance(d, Poly) for d in extent):
        raise ShapeError(f"a pruned convolution needs a fixed height and width, not {tuple(extent)}")
    y, x = windows(kernel, attrs)
    size = int(y.size(extent[0])), int(x.size(extent[1]))  # type: ignore[arg-type]
    packed = attrs.get("packed", False)
    wide = (x.taps - 1) * x.dilation
    single = packed and x.stride == 1 and wide <= size[1] * _WASTE
    pitch = size[1] + wide * single if packed else -(-size[1] // _PITCH) * _PITCH
    reach = (y.taps - 1) * y.dilation // y.stride
    lanes = lanes_of(size, pitch, packed=packed)
    return PlaneLayout(
        (y.taps, x.taps), (y.stride, x.stride), attrs["padding"], (y.dilation, x.dilation), size, pitch,
        max(-(-lanes // pitch), size[0]) + reach + single, y.stride if y.taps > 1 else 1,
        1 if single else x.taps, packed,
    )  # fmt: skip


def sum_types(name: str, planes: TensorType, values: TensorType, attrs: Attrs, outputs: Dim) -> list[TensorType]:
    """The type of `outputs` sums over planes, an image of `attrs["size"]` each. Raises what does not fit."""
    if planes.rank != 6 or planes.dtype != values.dtype or planes.dtype not in (F32, F64):
        raise DTypeError(f"{name} takes planes and values of one float dtype, not {planes} and {values}")
    if planes.shape[-1] < attrs["size"][1] or planes.shape[-2] < attrs["size"][0]:
        raise ShapeError(f"{name}: an output of {attrs['size']} from {planes}")
    return [TensorType(planes.dtype, (planes.shape[0], outputs, lanes_of(attrs["size"], int(planes.shape[-1]))))]  # type: ignore[arg-type]


def work(types: Sequence[TensorType], attrs: Attrs) -> Dim:
    """Each stored value once for each output element of each image; a column's values are those of all outputs."""
    planes, values, *_ = types
    return planes.shape[0] * values.size * attrs["size"][0] * attrs["size"][1]


def i32_lists(name: str, *types: TensorType) -> None:
    """Raises DTypeError where an operand is no list of i32."""
    if any(t.dtype != I32 for t in types):
        raise DTypeError(f"{name} takes i32 lists, not ({', '.join(dtype_name(t.dtype) for t in types)})")
