"""Channels moved by an index: `spread` gives the dense value of stored channels, `take_channels` picks some.

Channel `p` of compact data is channel `index[p]` of the full value. Data moves here; the indexes themselves are
made by the ops of `index_flow.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparsec.errors import DTypeError, ShapeError
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Expr
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops.record import Kind, OpRecord, case, register
from sparsec.ir.scalar import ScalarBuilder, const
from sparsec.ir.types import I32, I64, TensorType


def _checked(name: str, types: Sequence[TensorType], attrs: Attrs) -> tuple[TensorType, TensorType, int]:
    x, at = types
    axis = attrs["axis"]
    if at.dtype != I32 or at.rank != 1:
        raise DTypeError(f"{name} needs an i32 vector of channels, not {at}")
    if not 0 <= axis < x.rank:
        raise ShapeError(f"{name}: {x} has no axis {axis}")
    return x, at, axis


def _with_axis(shape: tuple[Any, ...], axis: int, size: Any) -> tuple[Any, ...]:
    return (*shape[:axis], size, *shape[axis + 1 :])


# --- spread ----------------------------------------------------------------------------------------------


def _spread_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    x, at, axis = _checked("spread", types, attrs)
    if x.shape[axis] != at.shape[0]:
        raise ShapeError(f"spread: {x.shape[axis]} channels, but {at.shape[0]} entries in their index")
    return [TensorType(x.dtype, _with_axis(x.shape, axis, attrs["full"]))]


def _spread_array(x: np.ndarray, at: np.ndarray, axis: int, full: int, fill: Any) -> np.ndarray:
    out = np.full(_with_axis(x.shape, axis, full), fill, x.dtype)
    out[(slice(None),) * axis + (at,)] = x
    return out


def _spread_lower(nest: NestBuilder, axis: int, full: int, fill: Any) -> None:
    with nest.loops(nest.result_shape(), bind="parallel") as to:
        nest.write(0, to, const(fill, nest.result_dtype()))
    with nest.loops(nest.shape(0), bind="parallel") as source:
        channel = nest.s.cast(nest.read(1, source[axis]), I64)
        nest.write(0, (*source[:axis], channel, *source[axis + 1 :]), nest.read(0, *source))


register(OpRecord(
    name="spread", kind=Kind.NEST, arity=2, attrs=("axis", "full", "fill"), defaults={"fill": 0},
    doc="`spread data, index`: `full` channels along `axis`; channel index[p] is channel p of the data, every other "
        "one is `fill`. The index is sorted and unique.",
    infer=_spread_types, ref=_spread_array, lower=_spread_lower,
    cases=(
        case((2, 2, 3), np.array([0, 3], "i4"), dtypes="f4", axis=1, full=4),
        case((3, 2), np.array([1, 2, 4], "i4"), axis=0, full=5, fill=0.5),
        case((2, 0), np.array([], "i4"), dtypes="i4", axis=1, full=3),
        case((2,), np.array([0, 1], "i4"), dtypes="bool", axis=0, full=2, fill=False),
    ),
))


# --- take_channels -----------------------------------------------------------------------------------------


def _take_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    x, at, axis = _checked("take_channels", types, attrs)
    return [TensorType(x.dtype, _with_axis(x.shape, axis, at.shape[0]))]


def _take_array(x: np.ndarray, at: np.ndarray, axis: int, fill: Any) -> np.ndarray:
    if fill is None:
        return np.take(x, at, axis)
    out = np.full(_with_axis(x.shape, axis, len(at)), fill, x.dtype)
    there = (slice(None),) * axis + (at >= 0,)
    out[there] = np.take(x, at[at >= 0], axis)
    return out


def _take_lower(
    s: ScalarBuilder, at: tuple[Expr, ...], reads: Sequence[Callable[..., Expr]], axis: int, fill: Any
) -> Expr:
    """A channel that is absent is not read: the operand may have none at all."""
    channel = reads[1](at[axis])
    place = (*at[:axis], s.cast(channel, I64), *at[axis + 1 :])
    if fill is None:
        return reads[0](*place)
    return reads[0](*place, given=(s.ge(channel, const(0, I32)), fill))


register(OpRecord(
    name="take_channels", kind=Kind.MAP, arity=2, attrs=("axis", "fill"), defaults={"fill": 0},
    doc="`take_channels x, at`: channel j along `axis` is channel at[j] of x, or `fill` where at[j] is -1 (a fill of "
        "none: it never is).",
    infer=_take_types, ref=_take_array, lower=_take_lower, looks=lambda attrs: (attrs["axis"],),
    cases=(
        case((2, 4, 3), np.array([3, -1, 0], "i4"), dtypes="f4", axis=1),
        case((3, 2), np.array([-1, 2], "i4"), axis=0, fill=1.0),
        case((2, 3, 2, 2), np.array([0, 2], "i4"), axis=1, fill=None),
        case((4,), np.array([], "i4"), dtypes="i8", axis=0),
        case((2, 3), np.array([2, 0], "i4"), dtypes="bool", axis=1, fill=True),
    ),
))

