"""Joining, splitting and repeating arrays. A join is an empty array and a write into a view of it per part."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sparsec.errors import UnsupportedError
from sparsec.frontend.array import Traced
from sparsec.frontend.convert import PYTHON_NUMBERS, as_traced, broadcast, np_dtype
from sparsec.frontend.dispatch import SUBSCRIPTS, implements
from sparsec.frontend.layout import phantom
from sparsec.frontend.locate import user_loc
from sparsec.frontend.numpy_api.creation import allocate, empty_like
from sparsec.frontend.numpy_api.support import (
    ALL,
    along,
    at_least,
    axis_index,
    axis_to,
    flattened,
    is_f_ordered,
    known_array,
    new_array,
    reshaped,
    result_dtype,
    strong,
    unsupported_argument,
)
from sparsec.frontend.ufuncs import store

_FEW = 16  # up to so many runs of neighbouring elements are written as slices, more as one gather


# --- concatenate and what is made of it ------------------------------------------------------------------


@implements(np.concatenate)
def concatenate(arrays: Any, /, axis: Any = 0, out: Any = None, *, dtype: Any = None,
                casting: str = "same_kind") -> Traced:
    """NumPy's order of memory: that of the parts where they agree."""
    given = [as_traced(a) for a in arrays]
    if not given:
        raise ValueError("need at least one array to concatenate")
    if out is not None and dtype is not None:
        raise TypeError("concatenate() only takes `out` or `dtype` as an argument, but both were provided.")
    target = np_dtype(dtype) if dtype is not None else as_traced(out).dtype if out is not None else (
        result_dtype(*given))
    parts = [flattened(strong(a)) if axis is None else a for a in given]
    axis = 0 if axis is None else _join_axis(parts, axis)
    for part in parts:
        if not np.can_cast(part.dtype, target, casting):  # type: ignore[arg-type]
            raise TypeError(f"Cannot cast array data from {part.dtype!r} to {target!r} according to the rule "
                            f"'{casting}'")
    shape = _joined_shape(parts, axis)
    if out is None:
        joined = new_array(parts[0].trace, shape, target, joined_layout(parts, shape))
    else:
        joined = as_traced(out)
        if joined.shape != shape:
            raise ValueError("Output array is the wrong shape")
    at = 0
    for part in parts:
        store(joined.trace, along(joined, axis, slice(at, at + part.shape[axis])), part.read())
        at += part.shape[axis]
    return joined


def _join_axis(parts: Sequence[Traced], axis: Any) -> int:
    if parts[0].ndim == 0:
        raise ValueError("zero-dimensional arrays cannot be concatenated")
    return axis_index(axis, parts[0].ndim)


def _joined_shape(parts: Sequence[Traced], axis: int) -> tuple[int, ...]:
    first = parts[0]
    for k, part in enumerate(parts):
        if part.ndim != first.ndim:
            raise ValueError(
                "all the input arrays must have same number of dimensions, but the array at index 0 has "
                f"{first.ndim} dimension(s) and the array at index {k} has {part.ndim} dimension(s)")
        for dim in range(first.ndim):
            if dim != axis and part.shape[dim] != first.shape[dim]:
                raise ValueError(
                    "all the input array dimensions except for the concatenation axis must match exactly, but "
                    f"along dimension {dim}, the array at index 0 has size {first.shape[dim]} and the array at "
                    f"index {k} has size {part.shape[dim]}")
    return (*first.shape[:axis], sum(p.shape[axis] for p in parts), *first.shape[axis + 1:])


def joined_layout(parts: Sequence[Traced], shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The axis order, outermost first, in which NumPy lays out a join (PyArray_CreateMultiSortedStridePerm)."""
    strides = [(p.shape, tuple(map(abs, phantom(p).strides))) for p in parts]
    order: list[int] = []
    for axis in range(len(shape)):
        place = len(order)
        for at in range(len(order) - 1, -1, -1):
            inner = _moves_out(strides, axis, order[at])
            if inner is None:
                continue  # nothing tells: look further out
            if not inner:
                break
            place = at
        order.insert(place, axis)
    return None if order == sorted(order) else tuple(order)


def _moves_out(strides: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], axis: int, other: int) -> bool | None:
    """Whether `axis` has the larger stride in all parts; where they disagree C order wins. None: cannot be told."""
    answers = [s[axis] > s[other] for shape, s in strides if shape[axis] != 1 and shape[other] != 1]
    return all(answers) if answers else None


@implements(np.stack)
def stack(arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Traced:
    parts = [strong(a) for a in arrays]
    if not parts:
        raise ValueError("need at least one array to stack")
    if len({p.shape for p in parts}) != 1:
        raise ValueError("all input arrays must have the same shape")
    axis = axis_index(axis, parts[0].ndim + 1)
    return concatenate([along(p, axis, None) for p in parts], axis=axis, out=out, dtype=dtype, casting=casting)


def _sequence(tup: Any) -> list[Traced]:
    if not isinstance(tup, (list, tuple, Traced, np.ndarray)):
        raise TypeError('arrays to stack must be passed as a "sequence" type such as list or tuple.')
    return [strong(a) for a in tup]


@implements(np.vstack, *([np.row_stack] if "row_stack" in vars(np) else []))
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Traced:
    return concatenate([at_least(a, 2) for a in _sequence(tup)], 0, dtype=dtype, casting=casting)


@implements(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Traced:
    parts = [at_least(a, 1) for a in _sequence(tup)]
    return concatenate(parts, 0 if parts and parts[0].ndim == 1 else 1, dtype=dtype, casting=casting)


@implements(np.dstack)
def dstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Traced:
    return concatenate([_three_axes(a) for a in _sequence(tup)], 2, dtype=dtype, casting=casting)


def _three_axes(a: Traced) -> Traced:
    """`np.atleast_3d`: a matrix gets its third axis behind, a row becomes (1, n, 1)."""
    key = {0: (None, None, None), 1: (None, ALL, None), 2: (ALL, ALL, None)}.get(a.ndim)
    return a if key is None else a[key]


@implements(np.column_stack)
def column_stack(tup: Any) -> Traced:
    return concatenate([a if a.ndim > 1 else at_least(a, 2).T for a in _sequence(tup)], 1)


@implements(np.append)
def append(arr: Any, values: Any, axis: Any = None) -> Traced:
    first, second = strong(arr), strong(values)
    if axis is None:
        first, second, axis = flattened(first), flattened(second), 0
    return concatenate((first, second), axis=axis)


# --- block -----------------------------------------------------------------------------------------------


@implements(np.block)
def block(arrays: Any) -> Traced:
    depth = _block_depth(arrays, ())
    leaves = list(_leaves(arrays))
    parts = [strong(a) for a in leaves]
    rank = max(depth, max(p.ndim for p in parts))
    shape, placed = _arrange(arrays, iter([at_least(p, rank) for p in parts]), depth, rank)
    fortran = all(p.flags.f_contiguous for p in parts) and not all(p.c_contiguous for p in parts)
    result = allocate(parts[0].trace, None, shape, result_dtype(*parts), "F" if fortran else "C")
    for corner, part in placed:
        result[tuple(slice(c, c + d) for c, d in zip(corner, part.shape))] = part
    return result


def _leaves(arrays: Any) -> Iterator[Any]:
    if isinstance(arrays, list):
        for item in arrays:
            yield from _leaves(item)
    else:
        yield arrays


def _block_depth(arrays: Any, where: tuple[int, ...]) -> int:
    """How deep the lists are nested: equally everywhere."""
    name = "arrays" + "".join(f"[{k}]" for k in where)
    if isinstance(arrays, tuple):
        raise TypeError(f"{name} is a tuple. Only lists can be used to arrange blocks, and np.block does not allow "
                        "implicit conversion from tuple to ndarray.")
    if not isinstance(arrays, list):
        return 0
    if not arrays:
        raise ValueError(f"List at {name} cannot be empty")
    depths = {_block_depth(a, (*where, k)) for k, a in enumerate(arrays)}
    if len(depths) > 1:
        raise ValueError(f"List depths are mismatched under {name}")
    return depths.pop() + 1


Placed = list[tuple[tuple[int, ...], Traced]]


def _arrange(arrays: Any, parts: Iterator[Traced], depth: int, rank: int) -> tuple[tuple[int, ...], Placed]:
    """The shape of a block and the corner of every part in it."""
    if not isinstance(arrays, list):
        part = next(parts)
        return part.shape, [((0,) * rank, part)]
    axis = rank - depth
    placed: Placed = []
    shapes, at = [], 0
    for item in arrays:
        shape, inside = _arrange(item, parts, depth - 1, rank)
        placed += [((*c[:axis], c[axis] + at, *c[axis + 1:]), p) for c, p in inside]
        shapes.append(shape)
        at += shape[axis]
    if len({(*s[:axis], *s[axis + 1:]) for s in shapes}) > 1:
        raise ValueError(f"Mismatched array shapes in block along axis {axis}.")
    return (*shapes[0][:axis], at, *shapes[0][axis + 1:]), placed


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
    return [along(x, axis, slice(a, b)) for a, b in itertools.pairwise(cuts)]


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


def _runs(index: np.ndarray) -> list[tuple[int, int, int]]:
    """(first, count, step) of runs of equal steps -1, 0 or 1; in order, all of `index` in as few as come."""
    runs: list[tuple[int, int, int]] = []
    for k in map(int, index):
        if runs:
            first, count, step = runs[-1]
            if count == 1 and abs(k - first) <= 1:
                runs[-1] = (first, 2, k - first)
                continue
            if count > 1 and k == first + count * step:
                runs[-1] = (first, count + 1, step)
                continue
        runs.append((k, 1, 1))
    return runs


def _copy_runs(source: Traced, target: Traced, axis: int, index: np.ndarray, places: np.ndarray | None = None) -> None:
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
        store(target.trace, along(target, axis, slice(b, b + count)), along(source, axis, slice(a, a + count)).read())


def _flat_if_none(arr: Any, axis: Any) -> tuple[Traced, int]:
    x = strong(arr)
    if axis is None:
        return flattened(x), 0
    return x, axis_index(axis, x.ndim)


@implements(np.delete)
def delete(arr: Any, obj: Any, axis: Any = None) -> Traced:
    x, axis = _flat_if_none(arr, axis)
    position = _static_position(obj, "np.delete")
    kept = np.delete(np.arange(x.shape[axis]), position)  # NumPy's own rules and errors
    shape = (*x.shape[:axis], len(kept), *x.shape[axis + 1:])
    result = allocate(x.trace, None, shape, x.dtype, "F" if is_f_ordered(x) else "C")
    _copy_runs(x, result, axis, kept)
    return result


@implements(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Traced:
    x, axis = _flat_if_none(arr, axis)
    position = _static_position(obj, "np.insert")
    indices = np.arange(x.shape[axis])[position] if isinstance(position, slice) else np.asarray(position)
    new = at_least(strong(values), x.ndim)
    if indices.size == 1:  # one position takes any number of values
        if indices.ndim == 0:
            new = axis_to(new, 0, axis)
        count = new.shape[axis]
        at = int(indices.item()) if indices.dtype != bool else 0
        source = np.insert(np.arange(x.shape[axis]), [at] * count, -1 - np.arange(count))
    else:
        count = int(indices.sum()) if indices.dtype == bool else indices.size
        source = np.insert(np.arange(x.shape[axis]), position, -1 - np.arange(count))
    shape = (*x.shape[:axis], len(source), *x.shape[axis + 1:])
    region = (*shape[:axis], count, *shape[axis + 1:])
    new = Traced.fresh(x.trace, x.trace.op("copy", broadcast(x.trace, new.astype(x.dtype).read(), region)))
    result = allocate(x.trace, None, shape, x.dtype, "F" if is_f_ordered(x) else "C")
    old = np.flatnonzero(source >= 0)
    _copy_runs(x, result, axis, source[old], old)
    fresh = np.flatnonzero(source < 0)
    _copy_runs(new, result, axis, -1 - source[fresh], fresh)
    return result


# --- repetition ------------------------------------------------------------------------------------------


@implements(np.tile)
def tile(A: Any, reps: Any) -> Traced:
    x = strong(A)
    counts = known_array(reps, "np.tile", "reps")
    times = tuple(map(operator.index, counts.tolist() if counts.ndim else [counts.item()]))
    x = at_least(x, len(times))
    times = (1,) * (x.ndim - len(times)) + times
    if all(t == 1 for t in times):
        return x.copy("K") if x.ndim else x.copy()  # type: ignore[no-any-return]
    mixed = reshaped(x, tuple(d for s in x.shape for d in (1, s)))
    target = tuple(d for t, s in zip(times, x.shape) for d in (t, s))
    value = x.trace.op("copy", broadcast(x.trace, mixed.read(), target))
    return reshaped(Traced.fresh(x.trace, value), tuple(t * s for t, s in zip(times, x.shape)))


@implements(np.repeat, method="repeat")
def repeat(a: Any, repeats: Any, axis: Any = None) -> Traced:
    x, axis = _flat_if_none(a, axis)
    counts = known_array(repeats, "np.repeat", "repeats")
    source = np.repeat(np.arange(x.shape[axis]), counts)  # NumPy's own rules and errors
    shape = (*x.shape[:axis], len(source), *x.shape[axis + 1:])
    if counts.size != 1:
        return along(x, axis, source.tolist()) if len(source) else new_array(x.trace, shape, x.dtype)
    stretched = along(x, axis + 1, None)
    target = (*x.shape[: axis + 1], int(counts.item()), *x.shape[axis + 1:])
    value = x.trace.op("copy", broadcast(x.trace, stretched.read(), target))
    return reshaped(Traced.fresh(x.trace, value), shape)


@implements(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Traced:
    x = strong(a)
    if axis is None:
        return reshaped(roll(flattened(x), shift, 0), x.shape)
    shifts = known_array(shift, "np.roll", "shift")
    axes = [axis_index(k, x.ndim) for k in (axis if isinstance(axis, (tuple, list)) else [axis])]
    if len(axes) != len(set(axes)) and not isinstance(axis, (tuple, list)):
        raise ValueError("repeated axis")
    pairs = np.broadcast(shifts, axes)
    if pairs.ndim > 1:
        raise ValueError("'shift' and 'axis' should be scalars or 1D sequences")
    total = dict.fromkeys(range(x.ndim), 0)
    for by, k in pairs:
        total[int(k)] += int(by)
    pieces = [_rolled(x.shape[k], by) for k, by in total.items()]
    result = empty_like(x)
    for parts in itertools.product(*pieces):
        store(x.trace, result[tuple(t for _, t in parts)], x[tuple(s for s, _ in parts)].read())
    return result


def _rolled(size: int, by: int) -> list[tuple[slice, slice]]:
    """(from, to) slices of a rolled axis."""
    by %= size or 1
    if not by:
        return [(ALL, ALL)]
    return [(slice(None, -by), slice(by, None)), (slice(-by, None), slice(None, by))]


# --- pad -------------------------------------------------------------------------------------------------

_PAD_MODES = ("edge", "reflect", "symmetric", "wrap")


@implements(np.pad)
def pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Traced:
    """One axis after the other, as NumPy pads: a later axis fills the corners."""
    x = strong(array)
    if mode not in ("constant", *_PAD_MODES):
        name = repr(mode) if isinstance(mode, str) else "a function"
        raise unsupported_argument("np.pad", f"mode={name}", "modes: constant, edge, reflect, symmetric, wrap")
    if kwargs.get("reflect_type", "even") != "even":
        raise unsupported_argument("np.pad", "reflect_type='odd'")
    known = {"constant": {"constant_values"}, "reflect": {"reflect_type"}, "symmetric": {"reflect_type"}}
    if unknown := set(kwargs) - known.get(mode, set()):
        raise ValueError(f"unsupported keyword arguments for mode '{mode}': {unknown}")
    widths = _pad_widths(pad_width, x.ndim)
    shape = tuple(a + d + b for (a, b), d in zip(widths, x.shape))
    result = allocate(x.trace, None, shape, x.dtype, "F" if is_f_ordered(x) else "C")
    inside = tuple(slice(a, a + d) for (a, _), d in zip(widths, x.shape))
    result[inside] = x
    values = _pad_values(kwargs.get("constant_values", 0), x.ndim)
    for axis in range(x.ndim):
        region = result[(*(ALL,) * (axis + 1), *inside[axis + 1:])]
        if mode == "constant":
            before, after = widths[axis]
            along(region, axis, slice(0, before))[...] = values[axis][0]
            along(region, axis, slice(shape[axis] - after, None))[...] = values[axis][1]
        else:
            _pad_from_inside(region, axis, widths[axis], x.shape[axis], mode)
    return result


def _pad_widths(pad_width: Any, ndim: int) -> list[tuple[int, int]]:
    if isinstance(pad_width, dict):
        given = {axis_index(k, ndim): v for k, v in pad_width.items()}
        pad_width = [given.get(k, (0, 0)) for k in range(ndim)]
        pad_width = [(w, w) if isinstance(w, (int, np.integer)) else w for w in pad_width]
    widths = known_array(pad_width, "np.pad", "pad_width")
    if widths.dtype.kind != "i":
        raise TypeError("`pad_width` must be of integral type.")
    if (widths < 0).any():
        raise ValueError("index can't contain negative values")
    return [(int(a), int(b)) for a, b in np.broadcast_to(widths, (ndim, 2))]


def _pad_values(values: Any, ndim: int) -> list[tuple[Any, Any]]:
    if isinstance(values, (Traced, *PYTHON_NUMBERS)):
        if isinstance(values, Traced) and values.ndim:
            raise unsupported_argument("np.pad", "constant_values as a traced array", "pass a scalar or a tuple")
        return [(values, values)] * ndim
    held = np.broadcast_to(np.asarray(values), (ndim, 2))
    return [(a, b) for a, b in held.tolist()]


def _pad_from_inside(region: Traced, axis: int, width: tuple[int, int], size: int, mode: str) -> None:
    """Fills both pads of one axis from the elements between them, a slice at a time."""
    before, after = width
    if not before and not after:
        return
    source = np.pad(np.arange(size), width, mode)  # which element each place repeats
    for start, index in ((0, source[:before]), (before + size, source[before + size:])):
        for first, count, step in _runs(index):
            low = before + first
            if step == 0:
                part = along(region, axis, slice(low, low + 1))
            else:
                last = low + step * count
                part = along(region, axis, slice(low, None if last < 0 else last, step))
            store(region.trace, along(region, axis, slice(start, start + count)), part.read())
            start += count


# --- np.r_, np.c_ ----------------------------------------------------------------------------------------


def joined_by_subscript(owner: Any, key: Any) -> Traced:
    """`np.r_[…]` and `np.c_[…]`: arrays, numbers and static ranges, without the string directives."""
    columns = isinstance(owner, type(np.c_))
    items = key if isinstance(key, tuple) else (key,)
    if any(isinstance(item, str) for item in items):
        raise UnsupportedError("a string in np.r_ or np.c_ is not supported", loc=user_loc(), hint="use np.concatenate")
    operands = [np.r_[item] if isinstance(item, slice) else item for item in items]
    dtype = result_dtype(*(o if type(o) in PYTHON_NUMBERS else as_traced(o) for o in map(_lifted, operands)))
    parts = [at_least(strong(_lifted(o)), 1) for o in operands]
    if columns:
        parts = [p[:, None] if p.ndim == 1 else p for p in parts]
    return concatenate(parts, -1 if columns else 0, dtype=dtype, casting="unsafe")


def _lifted(item: Any) -> Any:
    from sparsec.frontend.numpy_api.creation import array

    return array(item.tolist(), item.dtype) if type(item) is np.ndarray else item



SUBSCRIPTS.update(dict.fromkeys((type(np.r_), type(np.c_)), joined_by_subscript))
