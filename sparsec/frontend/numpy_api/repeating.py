"""Arrays made of copies of one array's elements: tile, repeat, roll and pad."""

from __future__ import annotations

import itertools
import math
import operator
from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.concrete import concrete_value
from sparsec.frontend.convert import PYTHON_NUMBERS, as_traced, broadcast
from sparsec.frontend.dispatch import implements
from sparsec.frontend.numpy_api.creation import empty_like, zeros
from sparsec.frontend.numpy_api.selecting import take
from sparsec.frontend.numpy_api.splitting import along_or_flat
from sparsec.frontend.numpy_api.support import (
    ALL,
    along,
    as_int64,
    at_least,
    axis_index,
    bound,
    flattened,
    is_f_ordered,
    known_array,
    made,
    new_array,
    reshaped,
    strong,
    unsupported_argument,
)
from sparsec.frontend.programs import staged
from sparsec.frontend.ufuncs import store
from sparsec.ir.dims import Poly
from sparsec.ir.types import I64

# --- repetition ------------------------------------------------------------------------------------------


@implements(np.resize)
def resize(a: Any, new_shape: Any) -> Traced:
    """The elements again and again, until the shape is full."""
    x = flattened(strong(a))
    shape = tuple(map(operator.index, np.atleast_1d(known_array(new_shape, "np.resize", "new_shape")).tolist()))
    if any(d < 0 for d in shape):
        raise ValueError("all elements of `new_shape` must be non-negative")
    size = math.prod(shape)
    if x.size == 0 or size == 0:
        return zeros(shape, x.dtype)
    return reshaped(tile(x, -(-size // x.size))[:size], shape)


@implements(np.tile)
def tile(A: Any, reps: Any) -> Traced:
    x = strong(A)
    counts = known_array(reps, "np.tile", "reps")
    times = tuple(map(operator.index, counts.tolist() if counts.ndim else [counts.item()]))
    x = at_least(x, len(times))
    times = (1,) * (x.ndim - len(times)) + times
    if all(t == 1 for t in times):
        return x.copy("K") if x.ndim else x.copy()  # type: ignore[no-any-return]
    if 0 in x.shape:
        return reshaped(x, tuple(t * s for t, s in zip(times, x.shape)))  # still a view, as NumPy's
    mixed = reshaped(x, tuple(d for s in x.shape for d in (1, s)))
    target = tuple(d for t, s in zip(times, x.shape) for d in (t, s))
    value = x.trace.op("copy", broadcast(x.trace, mixed.read(), target))
    return reshaped(Traced.fresh(x.trace, value), tuple(t * s for t, s in zip(times, x.shape)))


@implements(np.repeat, method="repeat")
def repeat(a: Any, repeats: Any, axis: Any = None) -> Traced:
    x, axis = along_or_flat(a, axis)
    if isinstance(repeats, (Traced, np.ndarray)) and concrete_value(as_traced(repeats)) is None:
        return _repeated(x, strong(repeats), axis)
    counts = known_array(repeats, "np.repeat", "repeats")
    if counts.size != 1:
        source = np.repeat(np.arange(x.shape[axis]), counts)  # NumPy's own rules and errors
        if len(source):
            return np.take(x, source.tolist(), axis)  # type: ignore[return-value]
        return new_array(x.trace, (*x.shape[:axis], 0, *x.shape[axis + 1 :]), x.dtype)
    count = len(np.repeat([0], counts))
    stretched = along(x, axis + 1, None)
    target = (*x.shape[: axis + 1], count, *x.shape[axis + 1 :])
    value = x.trace.op("copy", broadcast(x.trace, stretched.read(), target))
    shape = (*x.shape[:axis], x.shape[axis] * count, *x.shape[axis + 1 :])
    return reshaped(Traced.fresh(x.trace, value), shape)


def _repeated(x: Traced, counts: Traced, axis: int) -> Traced:
    """`np.repeat` as often as the program computes: the length is known when it runs."""
    if counts.dtype.kind not in "iub" or not np.can_cast(counts.dtype, I64, "safe"):
        raise TypeError(
            f"Cannot cast array data from {counts.dtype!r} to dtype('int64') according to the rule 'safe'")
    if counts.ndim > 1:
        raise ValueError("object too deep for desired array")
    trace, length = x.trace, x.shape[axis]
    times = as_int64(counts)
    trace.check(trace.op("greater_equal", times.read(), trace.const(0, I64)), "value",
                "repeats may not contain negative values.")
    if counts.ndim == 0 or counts.shape == (1,):
        times = made(trace, broadcast(trace, flattened(times).read(), (length,)), (length,))
    elif counts.shape != (length,):
        raise ValueError(f"operands could not be broadcast together with shape ({length},) ({counts.shape[0]},)")
    return np.take(x, _places(times), axis)  # type: ignore[call-overload, no-any-return]


@staged
def _places(times: Any) -> Any:
    """Each position as often as `times` says."""
    return np.searchsorted(np.cumsum(times), np.arange(times.sum()), side="right")


@implements(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Traced:
    x = strong(a)
    if axis is None:
        return reshaped(roll(flattened(x), shift, 0), x.shape)
    shifts = _shifts(shift)
    axes = [axis_index(k, x.ndim) for k in (axis if isinstance(axis, (tuple, list)) else [axis])]
    if len(axes) != len(set(axes)) and not isinstance(axis, (tuple, list)):
        raise ValueError("repeated axis")
    total: dict[int, Any] = dict.fromkeys(range(x.ndim), 0)
    for by, k in np.broadcast(range(len(shifts)), axes):
        total[int(k)] += shifts[int(by)]
    result = empty_like(x)
    for k, by in total.items():
        if isinstance(by, Traced) or (by and isinstance(x.shape[k], Poly)):
            x, total[k] = take(x, _turned(x, k, by), k), 0
    pieces = [_rolled(x.shape[k], by) for k, by in total.items()]
    for parts in itertools.product(*pieces):
        store(x.trace, result[tuple(t for _, t in parts)], x[tuple(s for s, _ in parts)].read())
    return result


def _shifts(shift: Any) -> list[Any]:
    """Distances as ints, those that only the run knows as scalars."""
    if isinstance(shift, np.ndarray):
        shift = as_traced(shift)
    several = isinstance(shift, (list, tuple)) or (isinstance(shift, Traced) and shift.ndim)
    return [_distance(by) for by in (shift if several else [shift])]


def _distance(by: Any) -> Any:
    if not isinstance(by, Traced):
        return int(by)
    if by.ndim:
        raise ValueError("'shift' and 'axis' should be scalars or 1D sequences")
    known = concrete_value(by)
    return as_int64(by.as_scalar()) if known is None else int(known)


@staged
def _turned(x: Any, axis: int, by: Any) -> Any:
    """Which element of an axis comes to each place."""
    return (np.arange(x.shape[axis]) - by) % max(x.shape[axis], 1)


def _rolled(size: int, by: int) -> list[tuple[slice, slice]]:
    """(from, to) slices of a rolled axis."""
    if not by or not by % (size or 1):
        return [(ALL, ALL)]
    by %= size
    return [(slice(None, -by), slice(by, None)), (slice(-by, None), slice(None, by))]


# --- pad -------------------------------------------------------------------------------------------------

_PAD_MODES = ("edge", "reflect", "symmetric", "wrap")


@implements(np.pad)
def pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Traced:
    """One axis after the other, as NumPy pads: a later axis fills the corners."""
    x = strong(array)
    if mode not in ("constant", *_PAD_MODES):
        name = repr(mode) if isinstance(mode, str) else "a function"
        raise unsupported_argument(
            "np.pad", f"mode={name}", "modes: constant, edge, reflect, symmetric, wrap"
        )
    if kwargs.get("reflect_type", "even") != "even":
        raise unsupported_argument("np.pad", "reflect_type='odd'")
    known = {"constant": {"constant_values"}, "reflect": {"reflect_type"}, "symmetric": {"reflect_type"}}
    if unknown := set(kwargs) - known.get(mode, set()):
        raise ValueError(f"unsupported keyword arguments for mode '{mode}': {unknown}")
    widths = _pad_widths(pad_width, x.ndim)
    shape = tuple(a + d + b for (a, b), d in zip(widths, x.shape))
    layout = tuple(reversed(range(x.ndim))) if is_f_ordered(x) else None
    result = new_array(x.trace, shape, x.dtype, layout)
    inside = tuple(slice(a, bound(x.trace, a + d)) for (a, _), d in zip(widths, x.shape))
    result[inside] = x
    values = _pad_values(kwargs.get("constant_values", 0), x.ndim)
    for axis in range(x.ndim):
        region = result[(*(ALL,) * (axis + 1), *inside[axis + 1 :])]
        if mode == "constant":
            along(region, axis, slice(0, widths[axis][0]))[...] = values[axis][0]
            along(region, axis, slice(inside[axis].stop, None))[...] = values[axis][1]
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
            raise unsupported_argument(
                "np.pad", "constant_values as a traced array", "pass a scalar or a tuple"
            )
        return [(values, values)] * ndim
    held = np.broadcast_to(np.asarray(values), (ndim, 2))
    return [(a, b) for a, b in held.tolist()]


def _pad_from_inside(region: Traced, axis: int, width: tuple[int, int], size: int, mode: str) -> None:
    """Fills both pads of one axis from the elements between them, a slice at a time."""
    before, after = width
    if not before and not after:
        return
    source = np.pad(np.arange(size), width, mode)  # type: ignore[call-overload]  # which element each place repeats
    for start, index in ((0, source[:before]), (before + size, source[before + size :])):
        for first, count, step in _runs(index):
            low = before + first
            if step == 0:
                part = along(region, axis, slice(low, low + 1))
            else:
                last = low + step * count
                part = along(region, axis, slice(low, None if last < 0 else last, step))
            store(region.trace, along(region, axis, slice(start, start + count)), part.read())
            start += count


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
