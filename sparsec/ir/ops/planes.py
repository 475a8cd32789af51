"""Laying out the input of a convolution with pruned weights (`plane_layout.py`), and the weight's taps for it.

    window_planes   the padded input, as each tap column sees it
    tap_offsets     the weight's element ids, stretched to offsets: the loops over taps know nothing of channels,
                    kernels, strides or padding, and there is no branch inside
    tap_bounds      where the parts of the channels begin in each filter
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from sparsec.errors import ShapeError
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Const, Expr
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops.conv import Pair
from sparsec.ir.ops.plane_layout import WINDOW, WINDOW_DEFAULTS, PlaneLayout, i32_lists, plane_layout
from sparsec.ir.ops.record import Kind, OpRecord, case, i32, register
from sparsec.ir.scalar import S, ScalarBuilder, const, index
from sparsec.ir.types import BOOL, F32, F64, I32, I64, TensorType

_WINDOW = (*WINDOW, "packed")
_DEFAULTS = {**WINDOW_DEFAULTS, "packed": False}

_SAME: dict[str, Any] = {"kernel": (3, 3), "padding": ((1, 1), (1, 1))}


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


register(OpRecord(
    name="window_planes", kind=Kind.NEST, attrs=_WINDOW, defaults=_DEFAULTS,
    doc="x[N,C,H,W] to planes[N,C,phase,s,row,column]: the padded input as each tap column s of a convolution sees "
        "it, zeros around it; packed: without room between rows. `sparsec.ir.ops.plane_layout` says how large planes "
        "are.",
    infer=_plane_types, ref=_plane_array, lower=_plane_lower,
    cases=(
        case((1, 2, 5, 4), dtypes="f4", **_SAME), case((2, 1, 6, 7), kernel=(3, 2), stride=(2, 2)),
        case((1, 1, 7, 7), kernel=(2, 3), dilation=(2, 2), padding=((0, 1), (2, 0)), stride=(3, 1)),
        case((1, 2, 4, 4), kernel=(1, 1), stride=(2, 2)), case((1, 2, 5, 4), dtypes="f4", packed=True, **_SAME),
        case((1, 1, 3, 26), dtypes="f4", packed=True, **_SAME),
    ),
))


# --- tap_offsets -----------------------------------------------------------------------------------------


def _offset_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    (columns,) = types
    i32_lists("tap_offsets", columns)
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
    name="tap_offsets", kind=Kind.MAP, attrs=("extent", *_WINDOW), defaults=_DEFAULTS,
    doc="i32 columns (c * R + r) * S + s of a weight to where their runs begin in the `window_planes` of an input of "
        "height and width `extent`.",
    infer=_offset_types,
    ref=lambda columns, extent, kernel, **attrs: np.asarray(
        plane_layout(extent, kernel, attrs).offset(np.asarray(columns)), np.int32),
    lower=_offset_lower, pointwise=(0,),
    cases=(
        case(i32(0, 5, 9, 17), extent=(6, 7), **_SAME),
        case(i32(3, 4), extent=(9, 9), kernel=(3, 3), stride=(2, 2)),
        case(i32(1, 7), extent=(9, 8), kernel=(3, 2), stride=(3, 1), dilation=(2, 1)),
        case(i32(1, 8), extent=(3, 26), packed=True, **_SAME),
    ),
))


# --- tap_bounds ------------------------------------------------------------------------------------------


def _bound_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    columns, rows = types
    i32_lists("tap_bounds", columns, rows)
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
        case(i32(0, 3, 4, 7, 1, 2, 9), i32(0, 4, 4, 7), step=3, parts=3),
        case(i32(), i32(0, 0), step=2, parts=2), case(i32(5, 6), i32(0, 2), step=4, parts=1),
    ),
))
