"""Convolutions with pruned weights: sums of shifted planes, one stored element of the weight at a time.

A convolution reads its input at `R * S` shifts. `window_planes` lays those out once, padded, so that every tap
(c, r, s) of every output becomes one run of consecutive elements that begins at a fixed offset:

    y[n, o, lane] = sum over taps t of o of  values[t] * planes[n].flat[offsets[t] + lane]

so the weight's element ids are stretched to offsets ahead of time (`tap_offsets`), and the loops below know
nothing of channels, kernels, strides or padding. There is no branch inside. Lane `i * pitch + j` is the output at
row i and column j; lanes behind a row are nobody's.

A step of the sum is one load and one multiply-add, so what matters is where the load comes from. Rows of planes begin
at cache lines, whatever the tap. The input channels are taken in parts, so few that their planes stay in the nearest
cache while every output adds its taps of them; `tap_bounds` says where the parts begin in each filter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
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
from sparsec.ir.types import BOOL, F32, F64, I32, I64, TensorType, dtype_name

__all__ = ["LANES", "OUTPUTS", "PlaneLayout", "plane_layout"]

#: Output elements that one pass over the taps of a filter computes: fourteen 512-bit registers of float32.
LANES = 224

#: Rows of planes are a multiple of this, so that runs begin at the start of a cache line, unless they are `packed`.
_PITCH = 16

#: Lanes of packed planes are an odd multiple of this, so that outputs begin at different places in the cache; so many
#: vectors of as many lanes are worked on together.
_VECTOR, _VECTORS = 16, 4

#: Packed planes are one copy for all tap columns if that makes rows longer by no more than this: one for each may be
#: more than caches hold.
_WASTE = 0.08

#: Bytes of planes that a part of the channels may have: they stay in the nearest cache.
_NEAR = 28 << 10

#: Outputs that are added to together: their lanes stay in the nearest cache.
OUTPUTS = 128


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
        return _lanes(self.size, self.pitch, packed=self.packed)

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



def _lanes(size: Pair, pitch: int, *, packed: bool = False) -> int:
    if packed:
        return (-(-size[0] * pitch // _VECTOR) | 1) * _VECTOR
    return -(-size[0] * pitch // LANES) * LANES


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
    lanes = _lanes(size, pitch, packed=packed)
    return PlaneLayout(
        (y.taps, x.taps), (y.stride, x.stride), attrs["padding"], (y.dilation, x.dilation), size, pitch,
        max(-(-lanes // pitch), size[0]) + reach + single, y.stride if y.taps > 1 else 1,
        1 if single else x.taps, packed,
    )  # fmt: skip


_WINDOW = ("kernel", "stride", "padding", "dilation", "packed")
_WINDOW_DEFAULTS = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "packed": False}


# --- window_planes ---------------------------------------------------------------------------------------


def _plane_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    (x,) = types
    if x.rank != 4 or x.dtype not in (F32, F64):
        raise ShapeError(f"window_planes takes [N,C,H,W] of float32 or float64, not {x}")
    made = plane_layout(x.shape[2:], attrs["kernel"], attrs)
    return [TensorType(x.dtype, (*x.shape[:2], made.phases, made.copies, made.rows, made.pitch))]


def _source(s: Any, at: Sequence[Any], made: PlaneLayout) -> tuple[Any, Any]:
    """The row and column of the input that an element of the planes is."""
    _, _, phase, tap, row, column = at
    y = s.sub(s.add(s.mul(row, index(made.stride[0])), phase), index(made.padding[0][0]))
    shift = s.sub(s.mul(tap, index(made.dilation[1])), index(made.padding[1][0]))
    return y, s.add(s.mul(column, index(made.stride[1])), shift)


def _plane_array(x: np.ndarray, **attrs: Any) -> np.ndarray:
    made = plane_layout(x.shape[2:], attrs["kernel"], attrs)
    _, _, phase, tap, row, column = np.ogrid[
        :1, :1, : made.phases, : made.copies, : made.rows, : made.pitch
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
        "it, zeros around it; packed: without room between rows. `sparsec.ir.ops.planes` says how large planes are.",
    infer=_plane_types, ref=_plane_array, lower=_plane_lower,
    cases=(
        case((1, 2, 5, 4), dtypes="f4", **_SAME), case((2, 1, 6, 7), kernel=(3, 2), stride=(2, 2)),
        case((1, 1, 7, 7), kernel=(2, 3), dilation=(2, 2), padding=((0, 1), (2, 0)), stride=(3, 1)),
        case((1, 2, 4, 4), kernel=(1, 1), stride=(2, 2)), case((1, 2, 5, 4), dtypes="f4", packed=True, **_SAME),
        case((1, 1, 3, 26), dtypes="f4", packed=True, **_SAME),
    ),
))


# --- sums of runs ----------------------------------------------------------------------------------------


def _sum_types(name: str, planes: TensorType, values: TensorType, attrs: Attrs, outputs: Dim) -> list[TensorType]:
    if planes.rank != 6 or planes.dtype != values.dtype or planes.dtype not in (F32, F64):
        raise DTypeError(f"{name} takes planes and values of one float dtype, not {planes} and {values}")
    if planes.shape[-1] < attrs["size"][1] or planes.shape[-2] < attrs["size"][0]:
        raise ShapeError(f"{name}: an output of {attrs['size']} from {planes}")
    return [TensorType(planes.dtype, (planes.shape[0], outputs, _lanes(attrs["size"], int(planes.shape[-1]))))]  # type: ignore[arg-type]


def _work(types: Sequence[TensorType], attrs: Attrs) -> Dim:
    """Each stored value once for each output element of each image; a column's values are those of all outputs."""
    planes, values, *_ = types
    return planes.shape[0] * values.size * attrs["size"][0] * attrs["size"][1]


def _lists(name: str, *types: TensorType) -> None:
    if any(t.dtype != I32 for t in types):
        raise DTypeError(f"{name} takes i32 lists, not ({', '.join(dtype_name(t.dtype) for t in types)})")


def _runs(planes: np.ndarray, size: Pair) -> Callable[[int], np.ndarray]:
    """The run of every image that begins at an offset, in float64."""
    flat, lanes = planes.reshape(len(planes), -1).astype(np.float64), _lanes(size, planes.shape[-1])
    return lambda offset: flat[:, offset : offset + lanes]


def _in_pieces(count: Expr, size: int) -> Expr:
    """How many pieces of a size hold so many."""
    if isinstance(count, Const):
        return index(-(-int(count.value.real) // size))
    return S.quo(S.add(count, index(size - 1)), index(size))  # type: ignore[no-any-return]


#: (output, part, add): calls `add(value, offset)` for each tap of an output in a part.
_Taps = Callable[[Expr, Expr, Callable[[Expr, Expr], None]], None]


class _Lanes:
    """The loops around a sum: images, outputs in portions, blocks of lanes, parts of the channels, and outputs; the
    body adds an output's taps in a part."""

    def __init__(self, nest: NestBuilder) -> None:
        self.nest = nest
        self.dtype = nest.result_dtype()

    def run(self, parts: Expr, taps: _Taps) -> None:
        """`taps(o, part, add)` calls `add(value, offset)` inside loops over the taps of output o in a part."""
        nest = self.nest
        images, outputs, lanes = nest.result_shape()
        with (
            nest.loops((images, _in_pieces(outputs, OUTPUTS), _in_pieces(lanes, LANES)), bind="parallel") as (
                n, portion, block),
            nest.loop(parts) as part,
        ):
            first = nest.let(S.mul(portion, index(OUTPUTS)))
            last = nest.let(S.min(S.add(first, index(OUTPUTS)), outputs))
            with nest.loop(last, first) as o, nest.loop(index(LANES), bind="vector", stem="lane") as lane:
                self._add(n, o, S.add(S.mul(block, index(LANES)), lane), part, taps)

    def _add(self, n: Expr, o: Expr, place: Expr, part: Expr, taps: _Taps) -> None:
        nest = self.nest
        total = nest.mut(const(0, self.dtype), "total")
        with nest.if_(S.gt(part, index(0))):
            nest.assign(total, nest.read_result(0, n, o, place))

        def add(value: Expr, offset: Expr) -> None:
            buffer, start = nest.operand_place(0, n, *[index(0)] * 5)
            run = nest.load(buffer, S.add(S.add(start, S.cast(offset, I64)), place), self.dtype)
            nest.assign(total, S.fma(value, run, total))

        taps(o, part, add)
        nest.write(0, (n, o, place), total)

    def bounds(self, operand: int, *at: Expr) -> tuple[Expr, Expr]:
        """Where the entries of a part begin and end."""
        *head, part = at
        first = S.cast(self.nest.read(operand, *head, part), I64)
        return first, S.cast(self.nest.read(operand, *head, S.add(part, index(1))), I64)

    def parts(self, operand: int) -> Expr:
        """How many parts these bounds are of."""
        return S.sub(self.nest.shape(operand)[-1], index(1))


def _tap_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    planes, values, offsets, bounds = types
    _lists("tap_conv2d", offsets, bounds)
    if values.shape != offsets.shape or values.rank != 1 or bounds.rank != 2:
        raise ShapeError(f"tap_conv2d: {values} at {offsets}, bounds {bounds}")
    return _sum_types("tap_conv2d", planes, values, attrs, bounds.shape[0])


def _tap_array(
    planes: np.ndarray, values: np.ndarray, offsets: np.ndarray, bounds: np.ndarray, size: Pair
) -> np.ndarray:
    run = _runs(planes, size)
    out = np.zeros((len(planes), len(bounds), _lanes(size, planes.shape[-1])))
    for o, (first, *_, last) in enumerate(bounds):
        for t in range(first, last):
            out[:, o] += float(values[t]) * run(offsets[t])
    return out.astype(planes.dtype)


def _tap_lower(nest: NestBuilder, size: Pair) -> None:
    lanes = _Lanes(nest)

    def taps(o: Expr, part: Expr, add: Callable[[Expr, Expr], None]) -> None:
        first, last = lanes.bounds(3, o, part)
        with nest.loop(last, first) as t:
            add(nest.read(1, t), nest.read(2, t))

    lanes.run(lanes.parts(3), taps)


_PLANES = (1, 2, 1, 3, 9, 32)  # 7 rows of 32 lanes, and two more that taps reach
_SIZE: dict[str, Any] = {"size": (5, 30)}


def _list(*numbers: Any) -> np.ndarray:
    return np.array(numbers, np.int32)


register(OpRecord(
    name="tap_conv2d", kind=Kind.NEST, arity=4, attrs=("size",),
    doc="`tap_conv2d planes, values, offsets, bounds`: [N,O,lanes]; output o, an image of `size` with rows as long "
        "as those of the planes, is the sum of values[t] times the run of the planes that begins at offsets[t], for "
        "t from bounds[o,g] to bounds[o,g+1] in each part g.",
    infer=_tap_types, ref=_tap_array, lower=_tap_lower, work=_work,
    cases=(
        case(_PLANES, (5,), _list(0, 32, 900, 576, 1), _list([0, 1, 2], [2, 2, 2], [2, 2, 5]), dtypes="f4", ulp=8,
             **_SIZE),
        case((2, *_PLANES[1:]), (2,), _list(64, 864), _list([0, 1], [1, 2]), ulp=8, **_SIZE),
        case(_PLANES, (0,), _list(), _list([0, 0]), dtypes="f4", **_SIZE),
    ),
))


def _pattern_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    planes, values, starts, patterns, bounds, library = types
    _lists("pattern_conv2d", starts, patterns, bounds, library)
    if values.rank != 2 or library.rank != 2 or values.shape[1] != library.shape[1] or bounds.rank != 2:
        raise ShapeError(f"pattern_conv2d: values {values} with patterns {library}, bounds {bounds}")
    if not starts.shape == patterns.shape == values.shape[:1]:
        raise ShapeError(f"pattern_conv2d: {values}, {starts} and {patterns} are not of the same kernels")
    return _sum_types("pattern_conv2d", planes, values, attrs, bounds.shape[0])


def _pattern_array(
    planes: np.ndarray, values: np.ndarray, starts: np.ndarray, patterns: np.ndarray, bounds: np.ndarray,
    library: np.ndarray, size: Pair,
) -> np.ndarray:
    offsets = (starts[:, None] + library[patterns]).reshape(-1)
    return _tap_array(planes, values.reshape(-1), offsets, bounds * values.shape[1], size)


def _pattern_lower(nest: NestBuilder, size: Pair) -> None:
    """The offsets of a kernel's few taps are read beside its values: the same code serves every pattern."""
    lanes = _Lanes(nest)
    _, entries = nest.shape(1)

    def taps(o: Expr, part: Expr, add: Callable[[Expr, Expr], None]) -> None:
        first, last = lanes.bounds(4, o, part)
        with nest.loop(last, first) as k:
            start, pattern = nest.read(2, k), S.cast(nest.read(3, k), I64)
            with nest.loop(entries, bind="unroll") as e:
                add(nest.read(1, k, e), S.add(start, nest.read(5, pattern, e)))

    lanes.run(lanes.parts(4), taps)


register(OpRecord(
    name="pattern_conv2d", kind=Kind.NEST, arity=6, attrs=("size",),
    doc="`pattern_conv2d planes, values, starts, patterns, bounds, library`: as tap_conv2d, with whole kernels: "
        "kernel k has the values values[k] at the offsets starts[k] + library[patterns[k]].",
    infer=_pattern_types, ref=_pattern_array, lower=_pattern_lower, work=_work,
    cases=(
        case(_PLANES, (3, 2), _list(0, 864, 0), _list(1, 0, 0), _list([0, 1, 2], [2, 3, 3]),
             np.array([[0, 33], [32, 576]], np.int32), dtypes="f4", ulp=8, **_SIZE),
        case(_PLANES, (0, 2), _list(), _list(), _list([0, 0]), np.array([[0, 1]], np.int32), **_SIZE),
    ),
))  # fmt: skip


def _group_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    planes, values, filters, bounds, library, *extras = types
    _lists("grouped_conv2d", filters, bounds, library, *extras)
    if [name for name in ("groups", "order") if name in attrs["extras"]] != list(attrs["extras"]):
        raise ShapeError(f"grouped_conv2d: lists {list(attrs['extras'])}")
    if values.rank != 2 or library.rank != 2 or values.shape[1] != library.shape[1] or bounds.rank != 2:
        raise ShapeError(f"grouped_conv2d: values {values} with patterns {library}, bounds {bounds}")
    if bounds.shape[1] != planes.shape[1] * library.shape[0] + 1 or len(extras) != len(attrs["extras"]):
        raise ShapeError(f"grouped_conv2d: {bounds} and {len(extras)} lists for {library} and {planes}")
    if any(t.shape != values.shape[:1] for t in (filters, *extras)):
        raise ShapeError(f"grouped_conv2d: lists of {values.shape[0]} kernels that are as long as {filters}")
    if bounds.shape[0] != -(-attrs["outputs"] // OUTPUTS):
        raise ShapeError(f"grouped_conv2d: bounds {bounds} for {attrs['outputs']} outputs of {attrs['size']}")
    _sum_types("grouped_conv2d", planes, values, attrs, 0)
    return [TensorType(planes.dtype, (planes.shape[0], attrs["outputs"], *attrs["size"]))]


def _group_array(
    planes: np.ndarray, values: np.ndarray, filters: np.ndarray, bounds: np.ndarray, library: np.ndarray,
    *lists: np.ndarray, size: Pair, outputs: int, extras: Sequence[str],
) -> np.ndarray:
    values = values[lists[-1]] if "order" in extras else values
    flat, lanes = planes.reshape(len(planes), -1).astype(np.float64), _lanes(size, planes.shape[-1], packed=True)
    out = np.zeros((len(planes), outputs, lanes))
    for (portion, group), first in np.ndenumerate(bounds[:, :-1]):
        channel, pattern = divmod(group, len(library))
        for k in range(first, bounds[portion, group + 1]):
            for value, offset in zip(values[k], channel * planes[0, 0].size + library[pattern]):
                out[:, filters[k]] += float(value) * flat[:, offset : offset + lanes]
    (height, width), pitch = size, planes.shape[-1]
    return out[:, :, : height * pitch].reshape(*out.shape[:2], height, pitch)[..., :width].astype(planes.dtype)


def _group_lower(nest: NestBuilder, size: Pair, outputs: int, extras: Sequence[str]) -> None:
    """Sums are added to in the nearest cache, a few vectors of lanes of many outputs. Results are written once, when
    all are done."""
    images, *_ = nest.result_shape()
    pitch = int(nest.shape(0)[-1].value.real)  # type: ignore[union-attr]
    portions = nest.shape(3)[0]
    lanes, full = _lanes(size, pitch, packed=True), _VECTOR * _VECTORS
    blocks, rest = divmod(lanes, full)
    for count, start, wide in ((blocks, 0, full), (1 if rest else 0, blocks * full, rest)):
        if count:
            with nest.loops((images, portions, index(count)), bind="parallel") as (n, portion, block):
                here = nest.let(S.add(S.mul(block, index(full)), index(start)))
                made = _Groups(nest, n, portion, here, wide, outputs, {name: 5 + k for k, name in enumerate(extras)})
                made.clear()
                if "groups" in extras:
                    made.kernel_by_kernel()
                else:
                    made.group_by_group()
                made.write(pitch)


class _Groups:
    """All kernels of a portion of the outputs, for `wide` lanes from `start` on."""

    def __init__(
        self, nest: NestBuilder, n: Expr, portion: Expr, start: Expr, wide: int, outputs: int, lists: dict[str, int]
    ) -> None:
        self.nest, self.n, self.portion, self.start, self.wide, self.lists = nest, n, portion, start, wide, lists
        self.dtype = nest.result_dtype()
        self.patterns, self.entries = nest.shape(4)
        self.most, self.outputs = min(outputs, OUTPUTS), outputs
        self.sums = nest.scratch(self.dtype, self.most * wide, "sums")
        self.first = nest.let(S.mul(portion, index(OUTPUTS)))

    def clear(self) -> None:
        with self.nest.loop(index(self.most)) as o, self._lanes() as lane:
            self.nest.store(self.sums, self._place(o, lane), const(0, self.dtype))

    def group_by_group(self) -> None:
        """Each group loads its runs once, into registers; then its kernels follow, straight lines without a
        choice."""
        nest = self.nest
        with nest.loop(nest.shape(0)[1]) as channel, nest.loop(self.patterns) as pattern:
            group = nest.let(S.add(S.mul(channel, self.patterns), pattern))
            begin, end = (self._bound(at) for at in (group, S.add(group, index(1))))
            with nest.if_(S.lt(begin, end)), self._lanes() as lane:
                runs = self._runs(channel, pattern, lane)
                with nest.loop(end, begin) as k:
                    self._add(k, runs, lane)

    def kernel_by_kernel(self) -> None:
        """Each kernel loads its own runs."""
        nest = self.nest
        groups = S.sub(nest.shape(3)[1], index(1))
        with nest.loop(self._bound(groups), self._bound(index(0))) as k:
            group = nest.let(S.cast(nest.read(self.lists["groups"], k), I64))
            channel, pattern = (nest.let(f(group, self.patterns)) for f in (S.quo, S.rem))
            with self._lanes() as lane:
                self._add(k, self._runs(channel, pattern, lane), lane)

    def _lanes(self) -> Any:
        return self.nest.loop(index(self.wide), bind="vector", stem="lane")

    def _place(self, output: Expr, lane: Expr) -> Expr:
        return S.add(S.mul(output, index(self.wide)), lane)

    def _bound(self, group: Expr) -> Expr:
        return self.nest.let(S.cast(self.nest.read(3, self.portion, group), I64))

    def _runs(self, channel: Expr, pattern: Expr, lane: Expr) -> list[Expr]:
        """What the taps of a pattern read of a channel."""
        nest = self.nest
        buffer, here = nest.operand_place(0, self.n, channel, *[index(0)] * 4)
        entries = int(self.entries.value.real)  # type: ignore[union-attr]
        offsets = [S.cast(nest.read(4, pattern, index(e)), I64) for e in range(entries)]
        place = S.add(self.start, lane)
        return [nest.load(buffer, S.add(S.add(here, offset), place), self.dtype) for offset in offsets]

    def _add(self, k: Expr, runs: Sequence[Expr], lane: Expr) -> None:
        """Adds a kernel to the sums of its output."""
        nest = self.nest
        output = S.sub(S.cast(nest.read(2, k), I64), self.first)
        stored = nest.let(S.cast(nest.read(self.lists["order"], k), I64)) if "order" in self.lists else k
        place = nest.let(self._place(output, lane), "place")
        total = nest.mut(nest.load(self.sums, place, self.dtype), "total")
        for e, run in enumerate(runs):
            nest.assign(total, S.fma(nest.read(1, stored, index(e)), run, total))
        nest.store(self.sums, place, total)

    def write(self, pitch: int) -> None:
        nest = self.nest
        last = nest.let(S.min(index(self.most), S.sub(index(self.outputs), self.first)))
        with nest.loop(last) as o, nest.loop(index(self.wide // _VECTOR)) as vector:
            at = nest.let(S.mul(vector, index(_VECTOR)))
            start, place = S.add(self.start, at), self._place(o, at)
            _write_lanes(nest, self.n, S.add(self.first, o), start, self.sums, place, pitch)


def _write_lanes(
    nest: NestBuilder, n: Expr, output: Expr, start: Expr, sums: str, place: Expr, pitch: int
) -> None:
    """A vector of lanes, row by row: those behind a row are nobody's."""
    _, _, height, width = nest.result_shape()
    top = nest.let(S.quo(start, index(pitch)))
    with nest.loop(index(1 - -(_VECTOR - 1) // pitch)) as more:
        row = nest.let(S.add(top, more))
        begin = nest.let(S.mul(row, index(pitch)))
        here = S.logical_and(S.lt(row, height), S.lt(begin, S.add(start, index(_VECTOR))))
        with nest.if_(here), nest.loop(index(_VECTOR), bind="vector", stem="lane") as lane:
            column = nest.let(S.sub(S.add(start, lane), begin))
            with nest.if_(S.logical_and(S.ge(column, index(0)), S.lt(column, width))):
                nest.write(0, (n, output, row, column), nest.load(sums, S.add(place, lane), nest.result_dtype()))


def _group_work(types: Sequence[TensorType], attrs: Attrs) -> Dim:
    planes, values, *_ = types
    return planes.shape[0] * values.size * attrs["size"][0] * attrs["size"][1]


register(OpRecord(
    name="grouped_conv2d", kind=Kind.NEST, once=True, arity=(5, 7), attrs=("size", "outputs", "extras"),
    defaults={"extras": ()},
    doc="`grouped_conv2d planes, values, filters, bounds, library`: [N,O,*size], as pattern_conv2d over packed "
        "planes, kernels in groups of one input channel and one pattern: the kernels bounds[q,c*P+p] to "
        "bounds[q,c*P+p+1] of channel c have pattern p and belong to the outputs filters[k], which are the q-th "
        "portion of them. `extras` names lists that follow: `groups`, the number c*P+p of each kernel, which then "
        "loads what it reads by itself; `order`, where each kernel is in values.",
    infer=_group_types, ref=_group_array, lower=_group_lower, work=_group_work,
    cases=(
        case((2, 2, 1, 3, 7, 5), (3, 2), _list(0, 1, 1), _list([0, 1, 1, 2, 3]), _list([0, 40], [12, 50]),
             dtypes="f4", ulp=8, size=(4, 5), outputs=2),
        case((1, 1, 1, 3, 33, 7), (2, 1), _list(0, 129), _list([0, 1], [1, 2]), _list([3]),
             ulp=8, size=(30, 7), outputs=130),
        case((1, 2, 1, 3, 7, 5), (3, 2), _list(0, 1, 1), _list([0, 1, 1, 2, 3]), _list([0, 40], [12, 50]),
             _list(0, 2, 3), _list(2, 0, 1), extras=("groups", "order"), dtypes="f4", ulp=8, size=(4, 5), outputs=2),
    ),
))  # fmt: skip


def _column_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    planes, values, offsets, bounds = types
    _lists("column_conv2d", offsets, bounds)
    if values.rank != 2 or values.shape[1:] != offsets.shape or bounds.rank != 2:
        raise ShapeError(f"column_conv2d: values {values} at {offsets}, bounds {bounds}")
    return _sum_types("column_conv2d", planes, values, attrs, values.shape[0])


def _column_array(
    planes: np.ndarray, values: np.ndarray, offsets: np.ndarray, bounds: np.ndarray, size: Pair
) -> np.ndarray:
    run = _runs(planes, size)
    out = np.zeros((len(planes), len(values), _lanes(size, planes.shape[-1])))
    for offset, column in zip(offsets, values.T):
        out += column.astype(np.float64)[:, None] * run(offset)[:, None]
    return out.astype(planes.dtype)


def _column_lower(nest: NestBuilder, size: Pair) -> None:
    lanes = _Lanes(nest)

    def taps(o: Expr, part: Expr, add: Callable[[Expr, Expr], None]) -> None:
        first, last = lanes.bounds(3, index(0), part)
        with nest.loop(last, first) as t:
            add(nest.read(1, o, t), nest.read(2, t))

    lanes.run(lanes.parts(3), taps)


register(OpRecord(
    name="column_conv2d", kind=Kind.NEST, arity=4, attrs=("size",),
    doc="`column_conv2d planes, values, offsets, bounds`: as tap_conv2d, with the same offsets for all outputs.",
    infer=_column_types, ref=_column_array, lower=_column_lower, work=_work,
    cases=(
        case(_PLANES, (3, 4), _list(0, 32, 900, 576), _list([0, 2, 4]), dtypes="f4", ulp=8, **_SIZE),
        case(_PLANES, (2, 0), _list(), _list([0, 0]), dtypes="f4", **_SIZE),
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
    place = s.mul(s.rem(tap, width), number(made.plane if made.copies > 1 else made.dilation[1]))
    inside = s.add(s.mul(phase, number(made.copies * made.plane)), s.add(s.mul(row, number(made.pitch)), place))
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
        case(_list(1, 8), extent=(3, 26), packed=True, **_SAME),
    ),
))


# --- tap_bounds ------------------------------------------------------------------------------------------


def _bound_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    columns, rows = types
    _lists("tap_bounds", columns, rows)
    if columns.rank != 1 or rows.rank != 1 or attrs["step"] < 1:
        raise ShapeError(f"tap_bounds: columns {columns}, rows {rows}, step {attrs['step']}")
    return [TensorType(I32, (rows.shape[0] - 1, attrs["parts"] + 1))]


def _bound_array(columns: np.ndarray, rows: np.ndarray, step: int, parts: int) -> np.ndarray:
    limits = step * np.arange(parts + 1)
    limits[-1] = np.iinfo(np.int32).max
    found = [first + np.searchsorted(columns[first:last], limits) for first, last in pairwise(rows)]
    return np.array(found, np.int32).reshape(len(found), parts + 1)


def _bound_lower(nest: NestBuilder, step: int, parts: int) -> None:
    """One way through the entries of a row for all its parts."""
    outputs, _ = nest.result_shape()
    with nest.loops((outputs,), bind="parallel") as (o,):
        first, last = (S.cast(nest.read(1, at), I64) for at in (o, S.add(o, index(1))))
        here = nest.mut(first, "here")
        nest.write(0, (o, index(0)), S.cast(first, I32))
        with nest.loop(index(parts), index(1)) as part:
            limit = nest.let(S.mul(part, index(step)))
            more = nest.mut(S.lt(here, last), "more")
            with nest.while_(more):
                with nest.if_(S.lt(S.cast(nest.read(0, here), I64), limit)):
                    nest.assign(here, S.add(here, index(1)))
                    nest.assign(more, S.lt(here, last))
                with nest.else_():
                    nest.assign(more, const(False, BOOL))
            nest.write(0, (o, part), S.cast(here, I32))
        nest.write(0, (o, index(parts)), S.cast(last, I32))


register(OpRecord(
    name="tap_bounds", kind=Kind.NEST, arity=2, attrs=("step", "parts"),
    doc="`tap_bounds columns, rows`: i32[O,parts+1], where the entries of row o with columns from g * step on begin, "
        "and behind them the end of the row. Columns are sorted within a row.",
    infer=_bound_types, ref=_bound_array, lower=_bound_lower,
    cases=(
        case(_list(0, 3, 4, 7, 1, 2, 9), _list(0, 4, 4, 7), step=3, parts=3),
        case(_list(), _list(0, 0), step=2, parts=2), case(_list(5, 6), _list(0, 2), step=4, parts=1),
    ),
))
