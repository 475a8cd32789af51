"""Tensorrefs: where the elements of a view lie in a storage. Pure metadata; nothing here copies data.

Element (i, j, …) of a view lies at `offset + i*strides[0] + j*strides[1] + …` of its storage, all counted in
elements of the view's dtype. The functions below are the metadata half of NumPy's views: each takes a ref
and a shape and returns the new pair, so a view of a view is composed at once into one ref on the base.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparsec.ir.dims import Dim, Poly, lower_bound, product, quotient, upper_bound

Shape = tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class TensorRef:
    """Storage name, offset and strides (elements)."""

    storage: str
    offset: Dim
    strides: tuple[Dim, ...]


def contiguous_strides(shape: Sequence[Dim]) -> tuple[Dim, ...]:
    """C-order strides, in elements."""
    strides: list[Dim] = []
    step: Dim = 1
    for dim in reversed(shape):
        strides.append(step)
        step = step * dim
    return tuple(reversed(strides))


def is_contiguous(ref: TensorRef, shape: Sequence[Dim]) -> bool:
    """True if the elements are consecutive, in C order (strides of axes of length 1 do not matter)."""
    if 0 in shape:
        return True
    return all(
        d == 1 or s == c for d, s, c in zip(shape, ref.strides, contiguous_strides(shape), strict=True)
    )


def slice_ref(ref: TensorRef, start: Sequence[Dim], step: Sequence[int]) -> TensorRef:
    """Axis k begins at index `start[k]` and advances by `step[k]` (negative: backwards)."""
    offset = ref.offset
    for first, stride in zip(start, ref.strides, strict=True):
        offset = offset + first * stride
    return TensorRef(ref.storage, offset, tuple(s * k for s, k in zip(ref.strides, step, strict=True)))


def transpose_ref(ref: TensorRef, perm: Sequence[int]) -> TensorRef:
    """Axis k of the result is axis `perm[k]` of the operand."""
    return TensorRef(ref.storage, ref.offset, tuple(ref.strides[p] for p in perm))


def broadcast_ref(ref: TensorRef, shape: Sequence[Dim], target: Sequence[Dim]) -> TensorRef:
    """NumPy broadcasting: new leading axes and stretched axes of length 1 get stride 0."""
    pad = len(target) - len(shape)
    strides = [
        s if have == want else 0 for s, have, want in zip(ref.strides, shape, target[pad:], strict=True)
    ]
    return TensorRef(ref.storage, ref.offset, (*([0] * pad), *strides))


def diagonal_ref(
    ref: TensorRef, shape: Shape, offset: int, axis1: int, axis2: int
) -> tuple[TensorRef, Shape]:
    """The diagonal of two axes as a new last axis (`np.diagonal`)."""
    rows, cols = shape[axis1], shape[axis2]
    if isinstance(rows, Poly) or isinstance(cols, Poly):
        raise TypeError("diagonal needs static dims")
    first = (0, offset) if offset >= 0 else (-offset, 0)
    length = max(min(rows - first[0], cols - first[1]), 0)
    keep = [k for k in range(len(shape)) if k not in (axis1, axis2)]
    start = (
        ref.offset
        if not length
        else (ref.offset + first[0] * ref.strides[axis1] + first[1] * ref.strides[axis2])
    )
    strides = (*(ref.strides[k] for k in keep), ref.strides[axis1] + ref.strides[axis2])
    return TensorRef(ref.storage, start, strides), (*(shape[k] for k in keep), length)


def reshape_ref(ref: TensorRef, shape: Shape, target: Shape) -> TensorRef | None:
    """The ref of the reshaped view, or None when NumPy would have to copy (C order)."""
    if is_contiguous(ref, shape):
        return TensorRef(ref.storage, ref.offset, contiguous_strides(target))
    old = [(d, s) for d, s in zip(shape, ref.strides, strict=True) if d != 1]
    if product(shape) == 0:
        return TensorRef(ref.storage, ref.offset, contiguous_strides(target))
    new = [d for d in target if d != 1]
    strides, _ = _match(old, new)
    if strides is None:
        return None
    # Axes of length 1 have no say; give them the stride that C order would.
    full: list[Dim] = []
    rest = iter(strides)
    for dim in target:
        full.append(next(rest) if dim != 1 else 0)
    step: Dim = 1
    for k in reversed(range(len(target))):
        if target[k] == 1:
            full[k] = step
        step = full[k] * target[k]
    return TensorRef(ref.storage, ref.offset, tuple(full))


def surely_copied(ref: TensorRef, shape: Shape, target: Shape) -> bool:
    """Whether NumPy copies to reshape, whatever the lengths that are not known are: an axis of length 1 merges with
    any other."""
    if any(isinstance(d, Poly) and (lower_bound(d) or 0) < 2 for d in (*shape, *target)):
        return False
    old = [(d, s) for d, s in zip(shape, ref.strides, strict=True) if d != 1]
    strides, sure = _match(old, [d for d in target if d != 1])
    return strides is None and sure


def _match(old: list[tuple[Dim, Dim]], new: list[Dim]) -> tuple[list[Dim] | None, bool]:
    """Strides for `new` axes by pairing runs of old axes that merge with runs of new ones; None where they do not.
    And whether that is so for all lengths."""
    strides: list[Dim] = []
    i = j = 0
    while i < len(old) and j < len(new):
        have, want = old[i][0], new[j]
        i_end, j_end = i + 1, j + 1
        while have != want:
            less = _is_less(have, want)
            if less is None or (i_end == len(old) if less else j_end == len(new)):
                return None, False
            if less:
                have, i_end = have * old[i_end][0], i_end + 1
            else:
                want, j_end = want * new[j_end], j_end + 1
        for k in range(i, i_end - 1):
            gap = old[k][1] - old[k + 1][1] * old[k + 1][0]
            if gap != 0:
                low, high = lower_bound(gap), upper_bound(gap)
                return None, (low is not None and low > 0) or (high is not None and high < 0)
        inner = contiguous_strides(new[j:j_end])
        strides.extend(old[i_end - 1][1] * s for s in inner)
        i, j = i_end, j_end
    return strides, True


def _is_less(a: Dim, b: Dim) -> bool | None:
    """Whether the first of two different sizes is less; symbolic ones are compared where one divides the other."""
    if not isinstance(a, Poly) and not isinstance(b, Poly):
        return bool(a < b)
    return True if quotient(b, a) is not None else False if quotient(a, b) is not None else None


def span(ref: TensorRef, shape: Sequence[int]) -> tuple[int, int]:
    """First and last+1 element of the storage that the view touches; (offset, offset) if empty."""
    low = high = int(ref.offset)  # type: ignore[arg-type]
    if 0 in shape:
        return low, low
    for dim, stride in zip(shape, ref.strides, strict=True):
        reach = (dim - 1) * int(stride)  # type: ignore[arg-type]
        low, high = low + min(reach, 0), high + max(reach, 0)
    return low, high + 1


def reach(ref: TensorRef, shape: Sequence[Dim]) -> Dim:
    """How many elements the storage must have; symbolic dims are at least 1, symbolic strides positive."""
    if not any(isinstance(n, Poly) for n in (ref.offset, *ref.strides, *shape)):
        return max(span(ref, [int(d) for d in shape])[1], 0)  # type: ignore[arg-type]
    last: Dim = ref.offset + 1
    for dim, stride in zip(shape, ref.strides, strict=True):
        # A negative stride begins at its last element, which the offset counts.
        last = last if isinstance(stride, int) and stride < 0 else last + (dim - 1) * stride
    return last


class _Memory:
    """Stands for elements at made-up addresses; NumPy's solver only looks at the numbers."""

    def __init__(self, address: int, shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> None:
        self.__array_interface__ = {
            "version": 3,
            "data": (address, False),
            "shape": shape,
            "strides": strides,
            "typestr": f"|V{itemsize}",
        }


_BASE = 1 << 40  # far from 0, so that negative strides stay positive addresses
_MAX_WORK = 10_000


def regions_overlap(
    a: TensorRef,
    a_shape: Sequence[Dim],
    a_itemsize: int,
    b: TensorRef,
    b_shape: Sequence[Dim],
    b_itemsize: int,
) -> bool:
    """Whether two views share an element. Exact where bounded; "too hard" counts as yes. Symbolic dims count with
    their bounds, symbolic offsets where they differ by a number; symbolic strides count as yes."""
    if a.storage != b.storage or 0 in a_shape or 0 in b_shape:
        return False
    starts = _starts(a, a_itemsize, b, b_itemsize)
    sizes = [upper_bound(d) for d in (*a_shape, *b_shape)]
    if starts is None or None in sizes or any(isinstance(s, Poly) for s in (*a.strides, *b.strides)):
        return True

    def memory(start: int, ref: TensorRef, shape: Sequence[int | None], itemsize: int) -> np.ndarray:
        strides = tuple(int(s) * itemsize for s in ref.strides)  # type: ignore[arg-type]
        return np.asarray(_Memory(_BASE + start, tuple(int(d or 0) for d in shape), strides, itemsize))

    try:
        return bool(
            np.shares_memory(
                memory(starts[0], a, sizes[: len(a_shape)], a_itemsize),
                memory(starts[1], b, sizes[len(a_shape) :], b_itemsize),
                max_work=_MAX_WORK,  # type: ignore[arg-type]
            )
        )
    except np.exceptions.TooHardError:
        return True


def _starts(a: TensorRef, a_itemsize: int, b: TensorRef, b_itemsize: int) -> tuple[int, int] | None:
    """Bytes from one place to the first element of each; None where that is not known."""
    if isinstance(a.offset, Poly) or isinstance(b.offset, Poly):
        distance = b.offset - a.offset
        return (0, distance * b_itemsize) if a_itemsize == b_itemsize and isinstance(distance, int) else None
    return int(a.offset) * a_itemsize, int(b.offset) * b_itemsize


def self_overlaps(ref: TensorRef, shape: Sequence[Dim]) -> bool:
    """Whether two indexes of one view may name the same element (stride 0, `as_strided` windows).

    "No" is certain: each stride passes over everything that the smaller ones reach. Symbolic dims count with
    their bounds; symbolic strides count as "yes", unless the view is contiguous.
    """
    if is_contiguous(ref, shape) or 0 in shape:
        return False
    if any(isinstance(n, Poly) for n in ref.strides):
        return True
    reach: float = 0
    bounds = [upper_bound(d) for d in shape]
    axes = [(abs(int(s)), math.inf if d is None else d)  # type: ignore[arg-type]
            for s, d in zip(ref.strides, bounds, strict=True)]
    for stride, dim in sorted(a for a in axes if a[1] > 1):
        if stride <= reach:
            return True
        reach += stride * (dim - 1)
    return False
