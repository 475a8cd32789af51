"""Convolutions with pruned weights: sums of shifted planes, one stored element of the weight at a time.

A convolution reads its input at `R * S` shifts. `window_planes` lays those out once, padded, so that every tap
(c, r, s) of every output becomes one run of consecutive elements that begins at a fixed offset:

    y[n, o, i, j] = sum over taps t of o of  values[t] * planes[n].flat[offsets[t] + i * pitch + j]

so the weight's element ids are stretched to offsets ahead of time (`tap_offsets`), and the loops below know
nothing of channels, kernels, strides or padding. Lanes run along i and j; there is no branch inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsec.errors import DTypeError, ShapeError
from sparsec.ir.dims import Dim, Poly
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Const, Expr
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops.conv import Pair, windows
from sparsec.ir.ops.record import Kind, OpRecord, case, register
from sparsec.ir.scalar import S, ScalarBuilder, const, index
from sparsec.ir.types import F32, F64, I32, I64, TensorType, dtype_name

__all__ = ["LANES", "PlaneLayout", "plane_layout"]

#: Output elements that one pass over the taps of a filter computes: fourteen 512-bit registers of float32.
LANES = 224

#: Rows of planes are a multiple of this, so that most runs begin at the start of a cache line or half-way.
_PITCH = 8


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

    @property
    def plane(self) -> int:
        return self.rows * self.pitch

    @property
    def channel(self) -> int:
        """Elements between two channels."""
        return self.phases * self.kernel[1] * self.plane

    def offset(self, column: Any) -> Any:
        """Where the run of a tap begins; column: (c * R + r) * S + s, ints or arrays."""
        height, width = self.kernel
        channel, tap = column // (height * width), column % (height * width)
        moved = (tap // width) * self.dilation[0]
        row, phase = moved // self.stride[0], moved % self.stride[0]
        return channel * self.channel + (phase * width + tap % width) * self.plane + row * self.pitch


def plane_layout(extent: Sequence[Dim], kernel: Sequence[int], attrs: Attrs) -> PlaneLayout:
    """The layout for an input of height and width `extent`. Raises ShapeError for a window that does not fit."""
    if any(isinstance(d, Poly) for d in extent):
        raise ShapeError(f"a pruned convolution needs a fixed height and width, not {tuple(extent)}")
    y, x = windows(kernel, attrs)
    size = int(y.size(extent[0])), int(x.size(extent[1]))  # type: ignore[arg-type]
    pitch = -(-size[1] // _PITCH) * _PITCH
    reach = (y.taps - 1) * y.dilation // y.stride
    lanes = -(-size[0] * pitch // LANES) * LANES
    return PlaneLayout(
        (y.taps, x.taps), (y.stride, x.stride), attrs["padding"], (y.dilation, x.dilation), size, pitch,
        max(-(-lanes // pitch), size[0]) + reach, y.stride if y.taps > 1 else 1,
    )  # fmt: skip


_WINDOW = ("kernel", "stride", "padding", "dilation")
_WINDOW_DEFAULTS = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}


# --- window_planes ---------------------------------------------------------------------------------------


def _plane_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    (x,) = types
    if x.rank != 4 or x.dtype not in (F32, F64):
        raise ShapeError(f"window_planes takes [N,C,H,W] of float32 or float64, not {x}")
    made = plane_layout(x.shape[2:], attrs["kernel"], attrs)
    return [TensorType(x.dtype, (*x.shape[:2], made.phases, made.kernel[1], made.rows, made.pitch))]


def _source(s: Any, at: Sequence[Any], made: PlaneLayout) -> tuple[Any, Any]:
    """The row and column of the input that an element of the planes is."""
    _, _, phase, tap, row, column = at
    y = s.sub(s.add(s.mul(row, index(made.stride[0])), phase), index(made.padding[0][0]))
    shift = s.sub(s.mul(tap, index(made.dilation[1])), index(made.padding[1][0]))
    return y, s.add(s.mul(column, index(made.stride[1])), shift)


def _plane_array(x: np.ndarray, **attrs: Any) -> np.ndarray:
    made = plane_layout(x.shape[2:], attrs["kernel"], attrs)
    _, _, phase, tap, row, column = np.ogrid[
        :1, :1, : made.phases, : made.kernel[1], : made.rows, : made.pitch
    ]
    y = row * made.stride[0] + phase - made.padding[0][0]
    z = column * made.stride[1] + tap * made.dilation[1] - made.padding[1][0]
    y, z = np.broadcast_arrays(y[0, 0], z[0, 0])
    inside = (y >= 0) & (y < x.shape[2]) & (z >= 0) & (z < x.shape[3])
    return np.where(inside, x[:, :, np.where(inside, y, 0), np.where(inside, z, 0)], x.dtype.type(0))


def _plane_lower(nest: NestBuilder, **attrs: Any) -> None:
    """Element by element: most of a convolution's time is spent elsewhere."""
    *_, height, width = nest.shape(0)
    extent = [int(d.value.real) for d in (height, width) if isinstance(d, Const)]
    made = plane_layout(extent, attrs["kernel"], attrs)
    with nest.loops(nest.result_shape(), bind="parallel") as at:
        y, z = (nest.let(e) for e in _source(S, at, made))
        inside = S.logical_and(
            S.logical_and(S.ge(y, index(0)), S.lt(y, height)), S.logical_and(S.ge(z, index(0)), S.lt(z, width))
        )
        element = nest.mut(const(0, nest.result_dtype()), "x")
        with nest.if_(inside):
            nest.assign(element, nest.read(0, at[0], at[1], y, z))
        nest.write(0, at, element)


_SAME: dict[str, Any] = {"kernel": (3, 3), "padding": ((1, 1), (1, 1))}

register(OpRecord(
    name="window_planes", kind=Kind.NEST, attrs=_WINDOW, defaults=_WINDOW_DEFAULTS,
    doc="x[N,C,H,W] to planes[N,C,phase,s,row,column]: the padded input as each tap column s of a convolution sees "
        "it, zeros around it. `sparsec.ir.ops.planes` says how large planes are.",
    infer=_plane_types, ref=_plane_array, lower=_plane_lower,
    cases=(
        case((1, 2, 5, 4), dtypes="f4", **_SAME), case((2, 1, 6, 7), kernel=(3, 2), stride=(2, 2)),
        case((1, 1, 7, 7), kernel=(2, 3), dilation=(2, 2), padding=((0, 1), (2, 0)), stride=(3, 1)),
        case((1, 2, 4, 4), kernel=(1, 1), stride=(2, 2)),
    ),
))


# --- sums of runs ----------------------------------------------------------------------------------------


def _sum_types(name: str, planes: TensorType, values: TensorType, attrs: Attrs, outputs: Dim) -> list[TensorType]:
    if planes.rank != 6 or planes.dtype != values.dtype or planes.dtype not in (F32, F64):
        raise DTypeError(f"{name} takes planes and values of one float dtype, not {planes} and {values}")
    if planes.shape[-1] < attrs["size"][1] or planes.shape[-2] < attrs["size"][0]:
        raise ShapeError(f"{name}: an output of {attrs['size']} from {planes}")
    return [TensorType(planes.dtype, (planes.shape[0], outputs, *attrs["size"]))]


def _work(types: Sequence[TensorType], attrs: Attrs) -> Dim:
    """Each stored value once for each output element of each image; a column's values are those of all outputs."""
    planes, values, *_ = types
    return planes.shape[0] * values.size * attrs["size"][0] * attrs["size"][1]


def _lists(name: str, *types: TensorType) -> None:
    if any(t.dtype != I32 for t in types):
        raise DTypeError(f"{name} takes i32 lists, not ({', '.join(dtype_name(t.dtype) for t in types)})")


def _runs(planes: np.ndarray, size: tuple[int, int]) -> Callable[[int], np.ndarray]:
    """The run of every image that begins at an offset, in float64."""
    flat, pitch = planes.reshape(len(planes), -1).astype(np.float64), planes.shape[-1]
    places = np.arange(size[0])[:, None] * pitch + np.arange(size[1])
    return lambda offset: flat[:, offset + places]


class _Lanes:
    """The loops around a sum: images, blocks of output elements, and outputs; the body sums one output's taps."""

    def __init__(self, nest: NestBuilder, size: tuple[int, int]) -> None:
        self.nest = nest
        self.dtype = nest.result_dtype()
        self.size = size
        self.pitch = nest.shape(0)[-1]
        self.image = S.mul(nest.operand_stride(0, 0), index(1))

    def run(self, taps: Callable[[Expr, Callable[[Expr, Expr], None]], None]) -> None:
        """`taps(o, add)` calls `add(value, offset)` inside loops over the taps of output o."""
        nest, (height, _) = self.nest, self.size
        images, outputs, *_ = nest.result_shape()
        blocks = S.quo(S.add(S.mul(index(height), self.pitch), index(LANES - 1)), index(LANES))
        with (
            nest.loops((images, blocks, outputs), bind="parallel") as (n, block, o),
            nest.loop(index(LANES), bind="vector", stem="lane") as lane,
        ):
            place = nest.let(S.add(S.mul(block, index(LANES)), lane), "place")
            total = nest.mut(const(0, self.dtype), "total")

            def add(value: Expr, offset: Expr) -> None:
                buffer, start = nest.operand_place(0, n, *[index(0)] * 5)
                run = nest.load(buffer, S.add(S.add(start, S.cast(offset, I64)), place), self.dtype)
                nest.assign(total, S.fma(value, run, total))

            taps(o, add)
            self._write(n, o, place, total)

    def _write(self, n: Expr, o: Expr, place: Expr, total: Expr) -> None:
        y = self.nest.let(S.quo(place, self.pitch), "y")
        x = self.nest.let(S.sub(place, S.mul(y, self.pitch)), "x")
        height, width = self.size
        with self.nest.if_(S.logical_and(S.lt(y, index(height)), S.lt(x, index(width)))):
            self.nest.write(0, (n, o, y, x), total)

    def bounds(self, rows: int, o: Expr) -> tuple[Expr, Expr]:
        """Where the entries of output o begin and end."""
        first = S.cast(self.nest.read(rows, o), I64)
        return first, S.cast(self.nest.read(rows, S.add(o, index(1))), I64)


def _tap_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    planes, values, offsets, rows = types
    _lists("tap_conv2d", offsets, rows)
    if values.shape != offsets.shape or values.rank != 1 or rows.rank != 1:
        raise ShapeError(f"tap_conv2d: {values} at {offsets}, rows {rows}")
    return _sum_types("tap_conv2d", planes, values, attrs, rows.shape[0] - 1)


def _tap_array(
    planes: np.ndarray, values: np.ndarray, offsets: np.ndarray, rows: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    run = _runs(planes, size)
    out = np.zeros((len(planes), len(rows) - 1, *size))
    for o in range(len(rows) - 1):
        for t in range(rows[o], rows[o + 1]):
            out[:, o] += float(values[t]) * run(offsets[t])
    return out.astype(planes.dtype)


def _tap_lower(nest: NestBuilder, size: tuple[int, int]) -> None:
    lanes = _Lanes(nest, size)

    def taps(o: Expr, add: Callable[[Expr, Expr], None]) -> None:
        first, last = lanes.bounds(3, o)
        with nest.loop(last, first) as t:
            add(nest.read(1, t), nest.read(2, t))

    lanes.run(taps)


_PLANES = (1, 2, 1, 3, 9, 32)  # 7 rows of 32 lanes, and two more that taps reach
_SIZE: dict[str, Any] = {"size": (5, 30)}


def _list(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32)


register(OpRecord(
    name="tap_conv2d", kind=Kind.NEST, arity=4, attrs=("size",),
    doc="`tap_conv2d planes, values, offsets, rows`: output o of shape `size` is the sum of values[t] times the run "
        "of the planes that begins at offsets[t], for t from rows[o] to rows[o+1].",
    infer=_tap_types, ref=_tap_array, lower=_tap_lower, work=_work,
    cases=(
        case(_PLANES, (5,), _list(0, 32, 900, 576, 1), _list(0, 2, 2, 5), dtypes="f4", ulp=8, **_SIZE),
        case((2, *_PLANES[1:]), (2,), _list(64, 864), _list(0, 1, 2), ulp=8, **_SIZE),
        case(_PLANES, (0,), _list(), _list(0, 0), dtypes="f4", **_SIZE),
    ),
))


def _pattern_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    planes, values, starts, patterns, rows, library = types
    _lists("pattern_conv2d", starts, patterns, rows, library)
    if values.rank != 2 or library.rank != 2 or values.shape[1] != library.shape[1]:
        raise ShapeError(f"pattern_conv2d: values {values} with patterns {library}")
    if not starts.shape == patterns.shape == values.shape[:1]:
        raise ShapeError(f"pattern_conv2d: {values}, {starts} and {patterns} are not of the same kernels")
    return _sum_types("pattern_conv2d", planes, values, attrs, rows.shape[0] - 1)


def _pattern_array(
    planes: np.ndarray, values: np.ndarray, starts: np.ndarray, patterns: np.ndarray, rows: np.ndarray,
    library: np.ndarray, size: tuple[int, int],
) -> np.ndarray:
    offsets = (starts[:, None] + library[patterns]).reshape(-1)
    return _tap_array(planes, values.reshape(-1), offsets, rows * values.shape[1], size)


def _pattern_lower(nest: NestBuilder, size: tuple[int, int]) -> None:
    """The offsets of a kernel's few taps are read beside its values: the same code serves every pattern."""
    lanes = _Lanes(nest, size)
    _, entries = nest.shape(1)

    def taps(o: Expr, add: Callable[[Expr, Expr], None]) -> None:
        first, last = lanes.bounds(4, o)
        with nest.loop(last, first) as k:
            start, pattern = nest.read(2, k), S.cast(nest.read(3, k), I64)
            with nest.loop(entries, bind="unroll") as e:
                add(nest.read(1, k, e), S.add(start, nest.read(5, pattern, e)))

    lanes.run(taps)


register(OpRecord(
    name="pattern_conv2d", kind=Kind.NEST, arity=6, attrs=("size",),
    doc="`pattern_conv2d planes, values, starts, patterns, rows, library`: as tap_conv2d, with whole kernels: kernel "
        "k has the values values[k] at the offsets starts[k] + library[patterns[k]].",
    infer=_pattern_types, ref=_pattern_array, lower=_pattern_lower, work=_work,
    cases=(
        case(_PLANES, (3, 2), _list(0, 864, 0), _list(1, 0, 0), _list(0, 2, 3),
             np.array([[0, 33], [32, 576]], np.int32), dtypes="f4", ulp=8, **_SIZE),
        case(_PLANES, (0, 2), _list(), _list(), _list(0, 0), np.array([[0, 1]], np.int32), **_SIZE),
    ),
))  # fmt: skip


def _column_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    planes, values, offsets = types
    _lists("column_conv2d", offsets)
    if values.rank != 2 or values.shape[1:] != offsets.shape:
        raise ShapeError(f"column_conv2d: values {values} at {offsets}")
    return _sum_types("column_conv2d", planes, values, attrs, values.shape[0])


def _column_array(
    planes: np.ndarray, values: np.ndarray, offsets: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    run = _runs(planes, size)
    out = np.zeros((len(planes), len(values), *size))
    for offset, column in zip(offsets, values.T):
        out += column.astype(np.float64)[:, None, None] * run(offset)[:, None]
    return out.astype(planes.dtype)


def _column_lower(nest: NestBuilder, size: tuple[int, int]) -> None:
    lanes = _Lanes(nest, size)

    def taps(o: Expr, add: Callable[[Expr, Expr], None]) -> None:
        with nest.loop(nest.shape(2)[0]) as t:
            add(nest.read(1, o, t), nest.read(2, t))

    lanes.run(taps)


register(OpRecord(
    name="column_conv2d", kind=Kind.NEST, arity=3, attrs=("size",),
    doc="`column_conv2d planes, values, offsets`: as tap_conv2d, with the same offsets for all outputs.",
    infer=_column_types, ref=_column_array, lower=_column_lower, work=_work,
    cases=(
        case(_PLANES, (3, 4), _list(0, 32, 900, 576), dtypes="f4", ulp=8, **_SIZE),
        case(_PLANES, (2, 0), _list(), dtypes="f4", **_SIZE),
    ),
))


# --- tap_offsets -----------------------------------------------------------------------------------------


def _offset_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    (columns,) = types
    _lists("tap_offsets", columns)
    plane_layout(attrs["extent"], attrs["kernel"], attrs)
    return [TensorType(I32, columns.shape)]


def _offset_lower(
    s: ScalarBuilder, at: tuple[Expr, ...], reads: Sequence[Callable[..., Expr]], extent: Pair, kernel: Pair,
    **attrs: Any,
) -> Expr:
    made, column = plane_layout(extent, kernel, attrs), reads[0](*at)

    def number(n: int) -> Expr:
        return const(n, I32)

    taps, width = number(kernel[0] * kernel[1]), number(kernel[1])
    channel, tap = s.quo(column, taps), s.rem(column, taps)
    moved = s.mul(s.quo(tap, width), number(made.dilation[0]))
    row, phase = s.quo(moved, number(made.stride[0])), s.rem(moved, number(made.stride[0]))
    plane = s.add(s.mul(phase, width), s.rem(tap, width))
    inside = s.add(s.mul(plane, number(made.plane)), s.mul(row, number(made.pitch)))
    return s.add(s.mul(channel, number(made.channel)), inside)


register(OpRecord(
    name="tap_offsets", kind=Kind.MAP, attrs=("extent", *_WINDOW), defaults=_WINDOW_DEFAULTS,
    doc="i32 columns (c * R + r) * S + s of a weight to where their runs begin in the `window_planes` of an input of "
        "height and width `extent`.",
    infer=_offset_types,
    ref=lambda columns, extent, kernel, **attrs: np.asarray(
        plane_layout(extent, kernel, attrs).offset(np.asarray(columns)), np.int32),
    lower=_offset_lower, pointwise=(0,),
    cases=(
        case(_list(0, 5, 9, 17), extent=(6, 7), **_SAME),
        case(_list(3, 4), extent=(9, 9), kernel=(3, 3), stride=(2, 2)),
        case(_list(1, 7), extent=(9, 8), kernel=(3, 2), stride=(3, 1), dilation=(2, 1)),
    ),
))
