"""Median and quantiles: rows are sorted, and elements beside the wanted place are joined as NumPy joins them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.convert import as_traced, cast
from sparsec.frontend.dispatch import implements
from sparsec.frontend.layout import order_of_copy
from sparsec.frontend.numpy_api.averages import into, mean, warn_where
from sparsec.frontend.numpy_api.shapes import copied, moveaxis, transposed
from sparsec.frontend.numpy_api.support import axis_index, deliver, known_array, unsupported_argument
from sparsec.frontend.ufunc_reduce import NO_VALUE, normalize_axes, with_axes
from sparsec.frontend.ufuncs import inverse
from sparsec.ir.types import F16, F32, F64, I64

# --- sorted rows ----------------------------------------------------------------------------------------


def _last_axis_of(x: Traced, axis: Any) -> tuple[Traced, tuple[int, ...]]:
    """`x` with the axes to fold merged into its last one, and which they were."""
    axes = normalize_axes(axis, x.ndim)
    kept = [k for k in range(x.ndim) if k not in axes]
    shape = tuple(x.shape[k] for k in kept)
    return moveaxis(x, kept, list(range(len(kept)))).reshape(
        (*shape, math.prod(x.shape[k] for k in axes))
    ), axes


def _sorted_rows(x: Traced) -> Traced:
    """Sorted along the last axis, in a new array; NaN last."""
    trace = x.trace
    value = x.read()
    wide = cast(trace, value, F32) if value.type.dtype == F16 else value
    ordered, _ = trace.ops("sort", wide)
    return Traced.fresh(trace, cast(trace, ordered, value.type.dtype))


@implements(np.median)
def median(
    a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False
) -> Any:
    """The mean of the middle one or two; NaN if an element is."""
    x = as_traced(a)
    source, axes = _last_axis_of(x.as_array(), axis)
    rows, n = source, source.shape[-1]
    if 0 in rows.shape:
        middle = rows
    else:
        rows = _sorted_rows(rows)
        middle = rows[..., n // 2 : n // 2 + 1] if n % 2 else rows[..., n // 2 - 1 : n // 2 + 1]
    result = mean(middle, axis=-1)
    if x.dtype.kind in "fc" and 0 not in rows.shape:
        last = rows[..., -1]
        result = (
            np.where(np.isnan(last), last, result) if result.ndim else _choose(np.isnan(last), last, result)
        )
    result = _laid_like(result, source)
    result = with_axes(x, axes, result, keepdims)
    return into(result, result.dtype, out)


def _laid_like(result: Traced, rows: Traced) -> Traced:
    """The result in the memory order of the rows it was made from, as NumPy's partition keeps it."""
    perm = order_of_copy(rows)
    layout = [k for k in perm or () if k != result.ndim]
    if layout == sorted(layout):
        return result
    return transposed(copied(result, layout), inverse(layout))


def _choose(cond: Traced, x: Traced, y: Traced) -> Traced:
    """A scalar: `x` where `cond` holds, else `y`."""
    return Traced.scalar(
        x.trace, x.trace.op("where", cond.read(), cast(x.trace, x.read(), y.dtype), y.read())
    )


# --- quantiles -------------------------------------------------------------------------------------------

#: Method -> the place among n sorted elements, counted from 0. Between two of them, what lies there is interpolated.
_PLACES: dict[str, Callable[[Any, Any], Any]] = {
    "linear": lambda n, q: (n - 1) * q,
    "lower": lambda n, q: np.floor((n - 1) * q),
    "higher": lambda n, q: np.ceil((n - 1) * q),
    "midpoint": lambda n, q: 0.5 * (np.floor((n - 1) * q) + np.ceil((n - 1) * q)),
    "median": lambda n, q: (n - 1) * q,
}
_METHODS = ("linear", "lower", "higher", "midpoint")


def _quantile(a: Any, q: Any, axis: Any, out: Any, method: str, keepdims: Any, whole: int, skip_nan: bool) -> Any:
    """whole: what `q` says for everything, 1 or 100. skip_nan: NaN counts as absent."""
    x = as_traced(a)
    if x.dtype.kind == "c":
        raise TypeError("a must be an array of real numbers")
    weak = type(q) in (int, float)
    part = known_array(q, "np.quantile", "q")
    part = np.true_divide(part, whole) if whole != 1 else np.asarray(part)
    if part.ndim > 2:
        raise ValueError("q must be a scalar or 1d")
    if not np.all((part >= 0) & (part <= 1)):
        raise ValueError(f"Quantiles must be in the range [0, {whole}]")
    if axis is not None:
        for k in axis if isinstance(axis, tuple) else (axis,):
            axis_index(k, x.ndim)  # an array of no axis has none to name
    source, axes = _last_axis_of(x.as_array(), axis)
    if x.dtype.kind == "b":
        raise TypeError("numpy boolean subtract, the `-` operator, is not supported")
    if skip_nan and x.size == 0:
        return np.nanmean(x, axis=axis, out=out, keepdims=keepdims)  # type: ignore[call-overload]
    if source.shape[-1] == 0:
        raise IndexError("index -1 is out of bounds for axis 0 with size 0")
    rows = source if 0 in source.shape else _sorted_rows(source)
    at = _each_present if skip_nan and x.dtype.kind == "f" else _each
    found = [at(rows, p, _PLACES[method], method, weak) for p in part.ravel()]
    keep = keepdims is not NO_VALUE and keepdims
    kept = tuple(1 if k in axes else d for k, d in enumerate(x.shape) if keep or k not in axes)
    result: Any = found[0]
    if part.ndim:  # several quantiles lie together where NumPy computes row by row
        result = np.moveaxis(np.stack(found, axis=-1), -1, 0) if skip_nan else np.stack(found)
    result = result.reshape((*part.shape, *kept))
    return deliver(result, out, "np.quantile")


def _each(rows: Traced, p: Any, place: Callable[..., Any], method: str, weak: bool) -> Any:
    """One quantile of every row; NaN where the row has one."""
    n = rows.shape[-1]
    virtual = place(n, p)
    low = n - 1 if virtual >= n - 1 else math.floor(virtual)
    one, other, last = rows[..., low], rows[..., min(low + 1, n - 1)], rows[..., n - 1]
    if method in ("lower", "higher") or isinstance(virtual, np.integer):
        found = one
    else:
        t = virtual - (-1 if low == n - 1 else low)
        found = _between(one, other, float(t) if weak else t)
    return np.where(np.isnan(last), last, found) if rows.dtype.kind == "f" else found


def _each_present(rows: Traced, p: Any, place: Callable[..., Any], method: str, weak: bool) -> Any:
    """One quantile of what is not NaN in every row; NaN where nothing is left."""
    count: Any = np.sum(np.logical_not(np.isnan(rows)), axis=-1, dtype=I64)
    found: Any = as_traced(place(count, p))
    exact, virtual = method in ("lower", "higher") or found.dtype.kind == "i", found.astype(F64)
    low = np.clip(np.floor(virtual).astype(I64), 0, None)
    low = np.minimum(low, np.maximum(count - 1, 0))
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    one, other = _picked(rows, low), _picked(rows, high)
    warn_where(count == 0)
    if exact:
        return one
    t = virtual - low
    if method == "median":
        return np.where(t > 0, (one + other) / 2, one)
    return _between(one, other, t.astype(rows.dtype) if weak else t.astype(np.result_type(np.asarray(p).dtype)))


def _picked(rows: Any, at: Any) -> Any:
    """One element of every row."""
    return np.take_along_axis(rows, at.as_array()[..., None], -1)[..., 0]


def _between(a: Any, b: Any, t: Any) -> Any:
    """The point at `t` on the way from `a` to `b`, reckoned from the nearer end."""
    way = np.subtract(b, a)
    from_a, from_b = a + way * t, b - way * (1 - t)
    if isinstance(t, float):
        return from_b if t >= 0.5 else from_a
    return np.where(t >= 0.5, from_b, from_a)


def _family(function: Any, whole: int, skip_nan: bool) -> None:
    def rule(
        a: Any,
        q: Any,
        axis: Any = None,
        out: Any = None,
        overwrite_input: bool = False,
        method: str = "linear",
        keepdims: Any = NO_VALUE,
        *,
        weights: Any = None,
    ) -> Any:
        if weights is not None:
            raise unsupported_argument(f"np.{function.__name__}", "weights=")
        if method not in _METHODS:
            raise unsupported_argument(
                f"np.{function.__name__}", f"method={method!r}", f"there are {', '.join(_METHODS)}")
        return _quantile(a, q, axis, out, method, keepdims, whole, skip_nan)

    implements(function)(rule)


_family(np.quantile, 1, False)
_family(np.percentile, 100, False)
_family(np.nanquantile, 1, True)
_family(np.nanpercentile, 100, True)


@implements(np.nanmedian)
def nanmedian(
    a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = NO_VALUE
) -> Any:
    """The median of what is not NaN; NaN where nothing is left."""
    x = as_traced(a)
    if x.dtype.kind == "c":
        raise unsupported_argument("np.nanmedian", "a complex array")
    keep = keepdims is not NO_VALUE and keepdims
    if x.dtype.kind != "f":
        return np.median(x, axis=axis, out=out, keepdims=keep)  # type: ignore[call-overload]
    return _quantile(x, 0.5, axis, out, "median", keep, 1, True)
