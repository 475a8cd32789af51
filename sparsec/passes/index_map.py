"""The index that a view's element has in another view of the same storage.

    x: f32[4,6] @x          view @x+7:(-1,6) of shape (2,3), seen in x:  element (i, j) is x[1 + j, 1 - i]

Only affine maps between views whose strides are known and whose offsets differ by a number, and only where every
element of the one lies in the other, whatever symbolic sizes are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sparsec.ir.dims import Dim, Poly, lower_bound
from sparsec.ir.tensorref import TensorRef, contiguous_strides, self_overlaps

__all__ = ["IndexMap", "compose", "index_map", "is_identity_map"]


@dataclass(frozen=True, slots=True)
class IndexMap:
    """Element i of the view is element `start + sum(i[j] * steps[j])` of the source; a row for each axis."""

    start: tuple[int, ...]
    steps: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class _Axis:
    """An axis of the source, turned so that its stride is positive."""

    number: int
    stride: int
    size: Dim
    flipped: bool


def index_map(
    view: TensorRef, shape: Sequence[Dim], source: TensorRef, source_shape: Sequence[Dim]
) -> IndexMap | None:
    """Where the elements of `view` are in `source`; None if some are not, or it cannot be told.

    An index inside the source's box is one element of it, and addresses are linear: so a map whose corners
    are in the box, and which gives the right offset and strides, is the map.
    """
    distance = view.offset - source.offset
    if view.storage != source.storage or any(isinstance(n, Poly) for n in (distance, *view.strides, *source.strides)):
        return None
    if 0 in shape or 0 in source_shape or self_overlaps(source, source_shape):
        return None
    if any(isinstance(d, Poly) and int(s) < 0 for d, s in zip(source_shape, source.strides)):  # type: ignore[arg-type]
        return None
    axes, first = _turned(source, source_shape)
    start = _digits(int(distance) - first, axes)  # type: ignore[arg-type]
    steps = [_digits(int(s) if d != 1 else 0, axes) for s, d in zip(view.strides, shape)]  # type: ignore[arg-type]
    if start is None or any(step is None for step in steps):
        return None
    rows = [step for step in steps if step is not None]
    if not all(_in_box(axis, start, rows, shape) for axis in axes):
        return None
    rank = len(source_shape)
    return IndexMap(_unturned(start, axes, rank, first=True), tuple(_unturned(r, axes, rank) for r in rows))


def _turned(source: TensorRef, shape: Sequence[Dim]) -> tuple[list[_Axis], int]:
    """The axes that have more than one index, widest stride first, and how far the lowest element is from the first
    one."""
    axes, lowest = [], 0
    for number, (size, stride) in enumerate(zip(shape, source.strides)):
        step = int(stride)  # type: ignore[arg-type]
        if size == 1:
            continue
        if step < 0:
            lowest += (int(size) - 1) * step  # type: ignore[arg-type]
        axes.append(_Axis(number, abs(step), size, step < 0))
    return sorted(axes, key=lambda axis: -axis.stride), lowest


def _digits(distance: int, axes: Sequence[_Axis]) -> dict[int, int] | None:
    """A distance in elements as whole steps along the axes."""
    sign, rest = (-1, -distance) if distance < 0 else (1, distance)
    found = {}
    for axis in axes:
        count, rest = divmod(rest, axis.stride)
        found[axis.number] = sign * count
    return found if rest == 0 else None


def _in_box(axis: _Axis, start: dict[int, int], rows: Sequence[dict[int, int]], shape: Sequence[Dim]) -> bool:
    low: Dim = start[axis.number]
    high = low
    for row, dim in zip(rows, shape):
        reach = (dim - 1) * row[axis.number]
        low, high = (low + reach, high) if row[axis.number] < 0 else (low, high + reach)
    return _never_negative(low) and _never_negative(axis.size - high - 1)


def _never_negative(number: Dim) -> bool:
    least = lower_bound(number)
    return least is not None and least >= 0


def _unturned(digits: dict[int, int], axes: Sequence[_Axis], rank: int, *, first: bool = False) -> tuple[int, ...]:
    result = [0] * rank
    for axis in axes:
        digit = digits[axis.number]
        if axis.flipped:
            digit = (int(axis.size) - 1 if first else 0) - digit  # type: ignore[arg-type]
        result[axis.number] = digit
    return tuple(result)


def compose(where: IndexMap, ref: TensorRef) -> TensorRef:
    """The view whose element i is the element `where(i)` of the view `ref`."""
    offset: Dim = ref.offset
    for start, stride in zip(where.start, ref.strides, strict=True):
        offset = offset + start * stride
    strides = []
    for row in where.steps:
        total: Dim = 0
        for step, stride in zip(row, ref.strides, strict=True):
            total = total + step * stride
        strides.append(total)
    return TensorRef(ref.storage, offset, tuple(strides))


def whole(storage: str, shape: Sequence[Dim]) -> TensorRef:
    """All of a storage, in C order."""
    return TensorRef(storage, 0, contiguous_strides(shape))


def is_identity_map(where: IndexMap, shape: Sequence[Dim], source_shape: Sequence[Dim]) -> bool:
    """Whether element i of the view is element i of the source."""
    if tuple(shape) != tuple(source_shape) or any(where.start):
        return False
    return all(
        d == 1 or all(step == (1 if j == k else 0) for k, step in enumerate(row) if source_shape[k] != 1)
        for j, (row, d) in enumerate(zip(where.steps, shape))
    )
