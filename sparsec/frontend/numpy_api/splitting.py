"""Taking arrays apart (views of them), and copies with elements put in or left out."""

from __future__ import annotations

import itertools
import operator
from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.convert import broadcast
from sparsec.frontend.dispatch import implements
from sparsec.frontend.numpy_api.creation import allocate, asarray
from sparsec.frontend.numpy_api.support import (
    ALL,
    along,
    at_least,
    axis_index,
    axis_to,
    bound,
    flattened,
    is_f_ordered,
    known_array,
    strong,
)
from sparsec.frontend.ufuncs import store

_FEW = 16  # up to so many runs of neighbouring elements are written as slices, more as one gather


# --- splits: views ---------------------------------------------------------------------------------------


@implements(np.array_split)
def array_split(ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Traced]:
    x = strong(ary)
    axis = axis_index(axis, x.ndim)
    size = x.shape[axis]
    if hasattr(indices_or_sections, "__len__") and np.ndim(known_sections(indices_or_sections)):
        cuts = [0, *known_sections(indices_or_sections).tolist(), size]
    else:
        sections = int(known_sections(indices_or_sections))
        if sections <= 0:
            raise ValueError("number sections must be larger than 0.") from None
        each, extra = divmod(size, sections)
        cuts = [0, *itertools.accumulate([each + 1] * extra + [each] * (sections - extra))]
    return [along(x, axis, slice(a, bound(x.trace, b))) for a, b in itertools.pairwise(cuts)]


def known_sections(sections: Any) -> np.ndarray:
    """Where to split: a number of parts or the positions of the cuts."""
    return known_array(sections, "np.split", "indices_or_sections")


@implements(np.split)
def split(ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Traced]:
    x = strong(ary)
    sections = known_sections(indices_or_sections)
    if not sections.ndim and x.shape[axis] % int(sections):
        raise ValueError("array split does not result in an equal division")
    return array_split(x, indices_or_sections, axis)


@implements(np.hsplit)
def hsplit(ary: Any, indices_or_sections: Any) -> list[Traced]:
    x = strong(ary)
    if x.ndim == 0:
        raise ValueError("hsplit only works on arrays of 1 or more dimensions")
    return split(x, indices_or_sections, 1 if x.ndim > 1 else 0)


@implements(np.vsplit)
def vsplit(ary: Any, indices_or_sections: Any) -> list[Traced]:
    x = strong(ary)
    if x.ndim < 2:
        raise ValueError("vsplit only works on arrays of 2 or more dimensions")
    return split(x, indices_or_sections, 0)


@implements(np.dsplit)
def dsplit(ary: Any, indices_or_sections: Any) -> list[Traced]:
    x = strong(ary)
    if x.ndim < 3:
        raise ValueError("dsplit only works on arrays of 3 or more dimensions")
    return split(x, indices_or_sections, 2)


@implements(np.unstack)
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    array = strong(x)
    if array.ndim == 0:
        raise ValueError("Input array must be at least 1-d.")
    return tuple(axis_to(array, axis_index(axis, array.ndim), 0))


# --- insert, delete --------------------------------------------------------------------------------------


def _static_position(obj: Any, function: str) -> Any:
    """`obj` of insert and delete, its values known now."""
    if isinstance(obj, slice):
        return slice(*(None if b is None else operator.index(b) for b in (obj.start, obj.stop, obj.step)))
    if isinstance(obj, (int, np.integer)):
        return int(obj)
    return known_array(obj, function, "obj")


def copy_runs(
    source: Traced, target: Traced, axis: int, index: np.ndarray, places: np.ndarray | None = None
) -> None:
    """target[…, places, …] = source[…, index, …]; `places` default to 0, 1, ….

    Both ascend where `places` are given; neighbours become slices while these are few.
    """
    where = np.arange(len(index)) if places is None else places
    pieces: list[tuple[int, int, int]] = []  # (from, to, count), of ascending neighbours
    for a, b in zip(map(int, index), map(int, where)):
        if pieces and a == pieces[-1][0] + pieces[-1][2] and b == pieces[-1][1] + pieces[-1][2]:
            pieces[-1] = (*pieces[-1][:2], pieces[-1][2] + 1)
        else:
            pieces.append((a, b, 1))
    if len(pieces) > _FEW:
        target[(*(ALL,) * axis, where.tolist())] = along(source, axis, np.asarray(index).tolist())
        return
    for a, b, count in pieces:
        store(
            target.trace,
            along(target, axis, slice(b, b + count)),
            along(source, axis, slice(a, a + count)).read(),
        )


def along_or_flat(arr: Any, axis: Any) -> tuple[Traced, int]:
    x = strong(arr)
    if axis is None:
        return flattened(x), 0
    return x, axis_index(axis, x.ndim)


@implements(np.delete)
def delete(arr: Any, obj: Any, axis: Any = None) -> Traced:
    x, axis = along_or_flat(arr, axis)
    position = _static_position(obj, "np.delete")
    kept = np.delete(np.arange(x.shape[axis]), position)  # NumPy's own rules and errors
    shape = (*x.shape[:axis], len(kept), *x.shape[axis + 1 :])
    result = allocate(x.trace, None, shape, x.dtype, "F" if is_f_ordered(x) else "C")
    copy_runs(x, result, axis, kept)
    return result


@implements(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Traced:
    x, axis = along_or_flat(arr, axis)
    position = _static_position(obj, "np.insert")
    indices = np.arange(x.shape[axis])[position] if isinstance(position, slice) else np.asarray(position)
    new = at_least(asarray(values, x.dtype), x.ndim)
    if indices.size == 1:  # one position takes any number of values
        if indices.ndim == 0:
            new = axis_to(new, 0, axis)
        count = new.shape[axis]
        at = int(indices.item()) if indices.dtype != bool else 0
        source = np.insert(np.arange(x.shape[axis]), [at] * count, -1 - np.arange(count))
    else:
        count = int(indices.sum()) if indices.dtype == bool else indices.size
        source = np.insert(np.arange(x.shape[axis]), position, -1 - np.arange(count))
    shape = (*x.shape[:axis], len(source), *x.shape[axis + 1 :])
    region = (*shape[:axis], count, *shape[axis + 1 :])
    new = Traced.fresh(x.trace, x.trace.op("copy", broadcast(x.trace, new.read(), region)))
    result = allocate(x.trace, None, shape, x.dtype, "F" if is_f_ordered(x) else "C")
    old = np.flatnonzero(source >= 0)
    copy_runs(x, result, axis, source[old], old)
    fresh = np.flatnonzero(source < 0)
    copy_runs(new, result, axis, -1 - source[fresh], fresh)
    return result
