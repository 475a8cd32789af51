"""Differences, sums of products along an axis, and interpolation between samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsec.errors import ShapeError
from sparsec.frontend.array import Traced
from sparsec.frontend.convert import as_traced
from sparsec.frontend.dispatch import implements
from sparsec.frontend.locate import user_loc
from sparsec.frontend.numpy_api.creation import array
from sparsec.frontend.ufunc_reduce import NO_VALUE, normalize_axes, normalize_axis, refuse
from sparsec.ir.types import F64


def along(ndim: int, axis: int, part: slice | int) -> tuple[Any, ...]:
    """The key that applies `part` to one axis."""
    return tuple(part if k == axis else slice(None) for k in range(ndim))


@implements(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = NO_VALUE, append: Any = NO_VALUE) -> Any:
    """n times the differences of neighbours; of bools whether they differ."""
    x: Any = as_traced(a)
    if n == 0:
        return x
    if n < 0:
        raise ShapeError(f"order must be non-negative but got {n!r}", loc=user_loc())
    if x.ndim == 0:
        raise ShapeError("diff requires input that is at least one dimensional", loc=user_loc())
    axis = normalize_axis(axis, x.ndim)
    ends = [_end(x, axis, e) for e in (prepend, append)]
    if any(e is not None for e in ends):
        x = np.concatenate([p for p in (ends[0], x, ends[1]) if p is not None], axis)  # type: ignore[arg-type]
    upper, lower = along(x.ndim, axis, slice(1, None)), along(x.ndim, axis, slice(None, -1))
    ufunc = np.not_equal if x.dtype == np.bool_ else np.subtract
    for _ in range(n):
        x = ufunc(x[upper], x[lower])
    return x


def _end(x: Traced, axis: int, end: Any) -> Any:
    if end is NO_VALUE:
        return None
    end = as_traced(end)
    if end.ndim == 0:
        end = np.broadcast_to(end, along_shape(x, axis, 1))  # type: ignore[call-overload]
    return end


def along_shape(x: Traced, axis: int, size: int) -> tuple[int, ...]:
    """The shape of `x` with another size of one axis."""
    return tuple(size if k == axis else d for k, d in enumerate(x.shape))


@implements(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """The differences of neighbours of the flat array, between what is given for the ends."""
    x = np.ravel(as_traced(ary))
    parts: list[Any] = []
    for end in (to_begin, to_end):
        if end is None:
            parts.append(None)
            continue
        made = np.ravel(as_traced(end))
        if not np.can_cast(made.dtype, x.dtype, casting="same_kind") and not as_traced(end).weak:
            raise TypeError(
                f"dtype of `{'to_end' if parts else 'to_begin'}` must be compatible with input `ary` "
                "under the `same_kind` rule."
            )
        parts.append(made.astype(x.dtype))
    differences = np.subtract(x[1:], x[:-1])
    if parts == [None, None]:
        return differences
    return np.concatenate([p for p in (parts[0], differences, parts[1]) if p is not None])


@implements(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """The integral by the trapezoidal rule."""
    values = as_traced(y)
    if x is None:
        step: Any = dx
    else:
        places = as_traced(x)
        step = diff(places, axis=axis if places.ndim != 1 else -1)
        if places.ndim == 1:
            step = step.reshape(
                tuple(
                    step.shape[0] if k == normalize_axis(axis, values.ndim) else 1 for k in range(values.ndim)
                )
            )
    axis = normalize_axis(axis, values.ndim)
    upper, lower = along(values.ndim, axis, slice(1, None)), along(values.ndim, axis, slice(None, -1))
    return (step * (values[upper] + values[lower]) / 2.0).sum(axis)


@implements(np.unwrap)
def unwrap(p: Any, discont: Any = None, axis: int = -1, *, period: Any = 6.283185307179586) -> Any:
    """Jumps of more than half a period taken out."""
    x = as_traced(p)
    axis = normalize_axis(axis, x.ndim)
    steps = diff(x, axis=axis)
    if discont is None:
        discont = period / 2
    dtype = np.result_type(steps.dtype, period)
    if dtype.kind in "iu":
        high, odd = divmod(period, 2)
        boundary_ambiguous = odd == 0
    else:
        high, boundary_ambiguous = period / 2, True
    low = -high
    wrapped = np.mod(steps - low, period) + low
    if boundary_ambiguous:
        at_low = np.logical_and(np.equal(wrapped, low), np.greater(steps, 0))
        np.copyto(wrapped, high, where=at_low)
    correction = np.subtract(wrapped, steps)
    np.copyto(correction, 0, where=np.less(np.abs(steps), discont))
    up = array(x, dtype)
    rest = along(x.ndim, axis, slice(1, None))
    up[rest] = x[rest] + np.cumsum(correction, axis=axis)
    return up


@implements(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Central differences at equal distances, one-sided ones at the ends."""
    x = as_traced(f)
    axes = normalize_axes(axis, x.ndim)
    if isinstance(axis, tuple):
        axes = tuple(normalize_axis(k, x.ndim) for k in axis)
    if len(varargs) not in (0, 1, len(axes)):
        raise TypeError("invalid number of arguments")
    steps = list(varargs) * (len(axes) if len(varargs) == 1 else 1) or [1.0] * len(axes)
    if any(np.ndim(s) != 0 for s in steps):
        raise refuse("np.gradient with coordinates", "give one distance per axis")
    if edge_order not in (1, 2):
        raise ShapeError("'edge_order' greater than 2 not supported", loc=user_loc())
    if x.dtype.kind == "b":
        raise TypeError("numpy boolean subtract, the `-` operator, is not supported")
    if x.dtype.kind in "iu":
        x = x.astype(F64)
    made = tuple(_slope(x, axis, step, edge_order) for axis, step in zip(axes, steps))
    return made[0] if len(made) == 1 else made


def _slope(x: Traced, axis: int, step: Any, edge_order: int) -> Any:
    if x.shape[axis] < edge_order + 1:
        raise ShapeError(
            "Shape of array too small to calculate a numerical gradient, at least (edge_order + 1) "
            "elements are required.",
            loc=user_loc(),
        )

    def part(start: int | None, stop: int | None) -> Any:
        return x[along(x.ndim, axis, slice(start, stop))]

    def end(k: int) -> Any:
        return x[along(x.ndim, axis, k)]

    made = np.empty_like(x)
    made[along(x.ndim, axis, slice(1, -1))] = (part(2, None) - part(None, -2)) / (2.0 * step)
    if edge_order == 1:
        made[along(x.ndim, axis, 0)] = (end(1) - end(0)) / step
        made[along(x.ndim, axis, -1)] = (end(-1) - end(-2)) / step
        return made
    for at, (a, b, c), signs in ((0, (0, 1, 2), (-1.5, 2.0, -0.5)), (-1, (-3, -2, -1), (0.5, -2.0, 1.5))):
        weights = [s / step for s in signs]
        made[along(x.ndim, axis, at)] = weights[0] * end(a) + weights[1] * end(b) + weights[2] * end(c)
    return made


# --- sliding products --------------------------------------------------------------------------------------

_TAPS = 256  # each tap of the shorter operand is one multiply-add over the result


@implements(np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """The sums of a[k] * v[n - k]."""
    x, y = _row(a), _row(v)
    if not x.size or not y.size:
        raise ShapeError(f"{'a' if not x.size else 'v'} cannot be empty", loc=user_loc())
    if y.size > x.size:
        x, y = y, x
    return _slide(x, y[::-1], mode)


@implements(np.correlate)
def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    """The sums of a[n + k] * conj(v[k])."""
    x, y = _row(a), _row(v).conj()
    if not x.size or not y.size:
        raise ShapeError(
            "first array argument cannot be empty" if not x.size else "second array argument cannot be empty",
            loc=user_loc(),
        )
    if y.size > x.size:
        return _slide(y, x, mode)[::-1].copy()
    return _slide(x, y, mode)


def _row(a: Any) -> Any:
    x = as_traced(a)
    if x.ndim > 1:
        raise ShapeError("object too deep for desired array", loc=user_loc())
    return np.atleast_1d(x)


def _slide(x: Any, y: Any, mode: str) -> Any:
    """out[n] = sum of x[n + k] * y[k]; `full` and `same` pad x with zeros."""
    n = y.size
    if n > _TAPS:
        raise refuse(f"a convolution with {n} taps (at most {_TAPS})")
    pads = {"full": (n - 1, n - 1), "valid": (0, 0), "same": (n // 2, n - 1 - n // 2)}
    if mode not in pads:
        raise ShapeError(f"mode must be one of 'valid', 'same', or 'full' (got {mode!r})", loc=user_loc())
    before, after = pads[mode]
    dtype = np.result_type(x.dtype, y.dtype)
    padded = np.zeros_like(x, shape=(before + x.size + after,), dtype=dtype)
    padded[before : before + x.size] = x
    size = padded.size - n + 1
    total = padded[:size] * y[0].astype(dtype)
    for k in range(1, n):
        total += padded[k : k + size] * y[k].astype(dtype)
    return total


@implements(np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """Straight lines between the points (xp, fp), which must ascend."""
    if period is not None:
        raise refuse("the period= argument of np.interp")
    places, values = as_traced(xp).astype(F64), as_traced(fp)
    dtype = np.dtype("c16") if values.dtype.kind == "c" else F64
    values = values.astype(dtype)
    if places.ndim != 1 or places.shape != values.shape:
        raise ShapeError("fp and xp are not of the same length.", loc=user_loc())
    count = places.size
    if count == 0:
        raise ShapeError("array of sample points is empty", loc=user_loc())
    source = as_traced(x)
    if source.dtype.kind == "c":
        raise TypeError("Cannot cast array data from complex to float64 according to the rule 'safe'")
    at = source.astype(F64)
    low, high = values[0] if left is None else left, values[-1] if right is None else right
    if count == 1:
        inside = values[0]
    else:
        inside = _between(at, places, values)
    inside = np.where(np.less(at, places[0]), low, inside)
    inside = np.where(np.greater(at, places[-1]), high, inside)
    result = np.where(np.isnan(at), at, inside)
    return result if source.ndim else result[()]


def _between(at: Any, places: Any, values: Any) -> Any:
    """By the slope of the interval; where that is NaN, from its right end, or the value of both ends."""
    count = places.size
    k = np.clip(np.searchsorted(places, at, side="right") - 1, 0, count - 2)
    x0, x1, y0, y1 = places[k], places[k + 1], values[k], values[k + 1]
    slope = (y1 - y0) / (x1 - x0)
    from_left = slope * (at - x0) + y0
    from_right = slope * (at - x1) + y1
    line = np.where(
        np.isnan(from_left),
        np.where(np.logical_and(np.isnan(from_right), np.equal(y0, y1)), y0, from_right),
        from_left,
    )
    line = np.where(np.equal(at, x0), y0, line)
    return np.where(np.equal(at, places[-1]), values[-1], line)
