"""Keys with integer arrays: which elements they select, in which order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsec.errors import IndexOutOfRange, ShapeError
from sparsec.frontend.array import Traced
from sparsec.frontend.concrete import concrete_value
from sparsec.frontend.convert import broadcast, cast
from sparsec.frontend.indexing.keys import Array, Dynamic, Part
from sparsec.frontend.indexing.views import basic_view
from sparsec.frontend.layout import stand_in
from sparsec.frontend.locate import user_loc
from sparsec.frontend.symbolic import broadcast_shapes, checked
from sparsec.frontend.trace import Trace
from sparsec.ir.dims import Dim, Poly, shape_text
from sparsec.ir.graph import Value
from sparsec.ir.types import I64

__all__ = ["Selection", "checked_index", "common_shape", "select"]


@dataclass(frozen=True, slots=True)
class Selection:
    """An advanced key, resolved: `region` is the basic view below it, `indexes` one i64 value per axis of
    `region`, each of the result's `shape` or a scalar."""

    region: Traced
    indexes: tuple[Value, ...]
    shape: tuple[Any, ...]
    sample: tuple[Any, ...]  # a key of the same kind for the region's stand-in


def select(x: Traced, parts: list[Part]) -> Selection:
    """Resolves a key with integer arrays: bounds are checked, negative indexes wrapped, axes placed."""
    trace = x.trace
    basic: list[Part] = []
    arrays: dict[int, Traced | int] = {}  # axis of the region -> its index
    sure: set[int] = set()  # axes whose indexes are known to be in range
    position: list[int] = []  # where, among the key's result axes, arrays stand
    for axis, part in enumerate(parts):
        if isinstance(part, (int, Array, Dynamic)):
            if isinstance(part, Array) and part.checked:
                sure.add(axis)
            arrays[axis] = part if isinstance(part, int) else part.index
            position.append(axis)
            basic.append(slice(None))
        else:
            basic.append(part)
    region = basic_view(x, basic)
    common = common_shape(list(arrays.values()))
    adjacent = position == list(range(position[0], position[0] + len(position)))
    rest = [k for k in range(region.ndim) if k not in arrays]
    front = sum(1 for k in rest if k < position[0]) if adjacent else 0
    shape = (*(region.shape[k] for k in rest[:front]), *common, *(region.shape[k] for k in rest[front:]))
    indexes = []
    for k in range(region.ndim):
        if k in arrays:
            index = arrays[k].read() if k in sure else checked_index(trace, arrays[k], region.shape[k], k)  # type: ignore[union-attr]
            indexes.append(_place(trace, index, common, front, shape))
        else:
            at = rest.index(k)
            at = at if at < front else at + len(common)
            indexes.append(trace.op("iota", dtype=I64, shape=shape, axis=at))
    sample = tuple(_sample_key(arrays[k]) if k in arrays else slice(None) for k in range(region.ndim))
    return Selection(region, tuple(indexes), shape, sample)


def _sample_key(index: Traced | int) -> Any:
    return 0 if isinstance(index, int) or index.is_scalar else stand_in(index).astype(np.intp, order="K")


def common_shape(indexes: list[Traced | int]) -> tuple[Dim, ...]:
    """The shape to which indexes broadcast. Raises IndexOutOfRange, as NumPy does."""
    shapes = [() if isinstance(i, int) else i.shape for i in indexes]
    try:
        return broadcast_shapes(*shapes)
    except ShapeError:
        text = " ".join(map(shape_text, shapes))
        raise IndexOutOfRange(
            f"shape mismatch: indexing arrays could not be broadcast together with shapes {text}",
            loc=user_loc(),
        ) from None


def _place(trace: Trace, index: Value, common: tuple[Dim, ...], front: int, shape: tuple[Dim, ...]) -> Value:
    """An index of (at most) shape `common` put at axis `front` of the result shape."""
    if index.type.shape == ():
        return index
    index = broadcast(trace, index, common)
    behind = len(shape) - front - len(common)
    if behind:
        index = trace.op("copy", index) if index.type.ref is not None else index
        index = trace.op("reshape", index, shape=(*common, *[1] * behind))
    return broadcast(trace, index, shape)


def checked_index(trace: Trace, index: Traced | int, dim: int, axis: int) -> Value:
    """An i64 index value in range: known ones are checked now, others by a `check` at run time."""
    known = np.asarray(index) if isinstance(index, int) else concrete_value(index)
    if known is not None and not isinstance(dim, Poly):
        bad = (known < -dim) | (known >= dim)
        if bad.any():
            raise IndexOutOfRange(
                f"index {known[bad].flat[0]} is out of bounds for axis {axis} with size {dim}", loc=user_loc()
            )
        wrapped = np.where(known < 0, known + dim, known)
        return trace.const(
            tuple(wrapped.ravel().tolist()) if wrapped.ndim else wrapped.item(), I64, wrapped.shape
        )
    assert isinstance(index, Traced)
    value = cast(trace, index.read(), I64)
    if index.type.size == 0:
        return value
    return checked(trace, value, dim, axis)
