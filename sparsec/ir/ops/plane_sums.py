"""Convolutions with pruned weights as sums of runs of planes (`plane_layout.py`), one stored element at a time.

    tap_conv2d       each output has taps of its own
    column_conv2d    all outputs have the same taps
    pattern_conv2d   each output has kernels, whose taps are one of a few patterns
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparsec.errors import ShapeError
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Const, Expr
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops.conv import Pair
from sparsec.ir.ops.plane_layout import LANES, OUTPUTS, flat_images, i32_lists, lanes_of, sum_types, work
from sparsec.ir.ops.record import Kind, OpRecord, case, i32, register
from sparsec.ir.scalar import S, const, index
from sparsec.ir.types import I64, TensorType

_PLANES = (1, 2, 1, 3, 9, 32)  # 7 rows of 32 lanes, and two more that taps reach
_SIZE: dict[str, Any] = {"size": (5, 30)}


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


def _in_pieces(count: Expr, size: int) -> Expr:
    """How many pieces of a size hold so many."""
    if isinstance(count, Const):
        return index(-(-int(count.value.real) // size))
    return S.quo(S.add(count, index(size - 1)), index(size))  # type: ignore[no-any-return]


def _runs(planes: np.ndarray, size: Pair) -> Callable[[int], np.ndarray]:
    """The run of every image that begins at an offset, in float64."""
    flat, lanes = flat_images(planes).astype(np.float64), lanes_of(size, planes.shape[-1])
    return lambda offset: flat[:, offset : offset + lanes]


# --- tap_conv2d ------------------------------------------------------------------------------------------


def _tap_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    planes, values, offsets, bounds = types
    i32_lists("tap_conv2d", offsets, bounds)
    if values.shape != offsets.shape or values.rank != 1 or bounds.rank != 2:
        raise ShapeError(f"tap_conv2d: {values} at {offsets}, bounds {bounds}")
    return sum_types("tap_conv2d", planes, values, attrs, bounds.shape[0])


def _tap_array(
    planes: np.ndarray, values: np.ndarray, offsets: np.ndarray, bounds: np.ndarray, size: Pair
) -> np.ndarray:
    run = _runs(planes, size)
    out = np.zeros((len(planes), len(bounds), lanes_of(size, planes.shape[-1])))
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


register(OpRecord(
    name="tap_conv2d", kind=Kind.NEST, arity=4, attrs=("size",),
    doc="`tap_conv2d planes, values, offsets, bounds`: [N,O,lanes]; output o, an image of `size` with rows as long "
        "as those of the planes, is the sum of values[t] times the run of the planes that begins at offsets[t], for "
        "t from bounds[o,g] to bounds[o,g+1] in each part g.",
    infer=_tap_types, ref=_tap_array, lower=_tap_lower, work=work,
    cases=(
        case(_PLANES, (5,), i32(0, 32, 900, 576, 1), i32([0, 1, 2], [2, 2, 2], [2, 2, 5]), dtypes="f4", ulp=8,
             **_SIZE),
        case((2, *_PLANES[1:]), (2,), i32(64, 864), i32([0, 1], [1, 2]), ulp=8, **_SIZE),
        case(_PLANES, (0,), i32(), i32([0, 0]), dtypes="f4", **_SIZE),
        case((0, *_PLANES[1:]), (2,), i32(64, 864), i32([0, 1], [1, 2]), **_SIZE),
    ),
))


# --- column_conv2d ---------------------------------------------------------------------------------------


def _column_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    planes, values, offsets, bounds = types
    i32_lists("column_conv2d", offsets, bounds)
    if values.rank != 2 or values.shape[1:] != offsets.shape or bounds.rank != 2:
        raise ShapeError(f"column_conv2d: values {values} at {offsets}, bounds {bounds}")
    return sum_types("column_conv2d", planes, values, attrs, values.shape[0])


def _column_array(
    planes: np.ndarray, values: np.ndarray, offsets: np.ndarray, bounds: np.ndarray, size: Pair
) -> np.ndarray:
    run = _runs(planes, size)
    out = np.zeros((len(planes), len(values), lanes_of(size, planes.shape[-1])))
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
    infer=_column_types, ref=_column_array, lower=_column_lower, work=work,
    cases=(
        case(_PLANES, (3, 4), i32(0, 32, 900, 576), i32([0, 2, 4]), dtypes="f4", ulp=8, **_SIZE),
        case(_PLANES, (2, 0), i32(), i32([0, 0]), dtypes="f4", **_SIZE),
    ),
))


# --- pattern_conv2d --------------------------------------------------------------------------------------


def _pattern_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    planes, values, starts, patterns, bounds, library = types
    i32_lists("pattern_conv2d", starts, patterns, bounds, library)
    if values.rank != 2 or library.rank != 2 or values.shape[1] != library.shape[1] or bounds.rank != 2:
        raise ShapeError(f"pattern_conv2d: values {values} with patterns {library}, bounds {bounds}")
    if not starts.shape == patterns.shape == values.shape[:1]:
        raise ShapeError(f"pattern_conv2d: {values}, {starts} and {patterns} are not of the same kernels")
    return sum_types("pattern_conv2d", planes, values, attrs, bounds.shape[0])


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
    infer=_pattern_types, ref=_pattern_array, lower=_pattern_lower, work=work,
    cases=(
        case(_PLANES, (3, 2), i32(0, 864, 0), i32(1, 0, 0), i32([0, 1, 2], [2, 3, 3]),
             np.array([[0, 33], [32, 576]], np.int32), dtypes="f4", ulp=8, **_SIZE),
        case(_PLANES, (0, 2), i32(), i32(), i32([0, 0]), np.array([[0, 1]], np.int32), **_SIZE),
    ),
))  # fmt: skip
