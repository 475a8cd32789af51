"""Counts of elements by class: digitize, bincount, histogram."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.concrete import concrete_value
from sparsec.frontend.convert import PYTHON_NUMBERS, as_traced, cast
from sparsec.frontend.dispatch import implements
from sparsec.frontend.numpy_api.creation import zeros
from sparsec.frontend.numpy_api.sorting import search
from sparsec.frontend.numpy_api.support import (
    flattened,
    gathered,
    made,
    result_dtype,
    scattered,
    strong,
    unsupported_argument,
)
from sparsec.frontend.programs import staged
from sparsec.frontend.trace import Trace
from sparsec.ir.graph import Value
from sparsec.ir.types import BOOL, F64, I64, DType


@implements(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    """Bins that fall are searched backwards; bins known only at run time are checked then."""
    value, edges = as_traced(x), strong(bins)
    if value.dtype.kind == "c":
        raise TypeError("x may not be complex")
    if edges.ndim != 1:
        raise ValueError("bins must be one-dimensional")
    trace = edges.trace
    known = concrete_value(edges)
    rising = search(edges, value, "left" if right else "right")
    if known is not None:
        direction = _monotonicity(known)
        found = rising if direction > 0 else _falling(edges, value, right)
    else:
        up, down = _rises(trace, edges), _rises(trace, edges[::-1])
        trace.ops(
            "check",
            trace.op("logical_or", up, down),
            kind="value",
            message="bins must be monotonically increasing or decreasing",
        )
        found = (
            trace.op("where", up, rising, _falling(edges, value, right))
            if value.ndim == 0
            else (
                trace.op(
                    "where",
                    trace.op("broadcast", up, shape=value.shape),
                    rising,
                    _falling(edges, value, right),
                )
            )
        )
    return Traced.scalar(trace, found) if value.ndim == 0 else made(trace, found, value.shape)


def _monotonicity(bins: np.ndarray) -> int:
    steps = bins[1:] >= bins[:-1]
    if steps.all():
        return 1
    if (bins[1:] <= bins[:-1]).all():
        return -1
    raise ValueError("bins must be monotonically increasing or decreasing")


def _rises(trace: Trace, row: Traced) -> Value:
    """Whether no element is below the one before it."""
    if row.size < 2:
        return trace.const(True, BOOL)
    return trace.op("all", (row[1:] >= row[:-1]).read(), axes=(0,))


def _falling(edges: Traced, value: Traced, right: bool) -> Value:
    found = search(edges[::-1], value, "left" if right else "right")
    return edges.trace.op("sub", edges.trace.const(edges.size, I64), found)


@implements(np.bincount)
def bincount(x: Any, /, weights: Any = None, minlength: Any = 0) -> Traced:
    """As many counts as the largest value says; with `minlength` so many, above which no value may be then."""
    values = strong(x)
    least = int(minlength)
    if least < 0:
        raise ValueError("'minlength' must not be negative")
    if values.ndim != 1:
        raise ValueError("object too deep for desired array" if values.ndim else "object of too small depth")
    if values.dtype.kind not in "iub":
        raise TypeError(
            f"Cannot cast array data from {values.dtype!r} to dtype('int64') according to the rule 'safe'"
        )
    trace = values.trace
    known = concrete_value(values)
    size: Any
    if values.size == 0:
        size = least
    elif known is not None:
        if known.min() < 0:
            raise ValueError("'list' argument must have no negative elements")
        size = max(int(known.max()) + 1, least)
    else:
        _require(trace, trace.op("greater_equal", cast(trace, values.read(), I64), trace.const(0, I64)),
                 "'list' argument must have no negative elements")
        size = least
        if least:  # the usual case, and a length that is known lets the result be reshaped
            _require(trace, trace.op("less", cast(trace, values.read(), I64), trace.const(least, I64)),
                     f"np.bincount: a value is not below minlength={least}, which is the result's size here")
        else:
            size = np.max(values.astype(I64), initial=-1) + 1
    result: Traced = zeros(size, I64 if weights is None else F64)
    if values.size:
        _count(result, cast(trace, values.read(), I64), values.type.shape[0], weights)
    return result


def _require(trace: Trace, fine: Value, message: str) -> None:
    trace.ops("check", fine, kind="value", message=message)


def _count(result: Traced, index: Value, count: Any, weights: Any) -> None:
    trace = result.trace
    if weights is None:
        amount = trace.const(1, result.dtype)
    else:
        row = strong(weights)
        if row.shape != (count,):
            raise ValueError("The weights and list don't have the same length.")
        if not np.can_cast(row.dtype, F64, "safe"):
            raise TypeError(
                f"Cannot cast array data from {row.dtype!r} to dtype('float64') according to the rule 'safe'"
            )
        amount = cast(trace, row.read(), F64)
    scattered(result, [index], amount, (count,), combine="add")


@implements(np.histogram)
def histogram(
    a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> tuple[Traced, Traced]:
    """Bins by number (with a range given or that of the data) or by edges."""
    x = flattened(strong(a))
    row = None if weights is None else strong(weights)
    if row is not None and row.size != x.size:
        raise ValueError("weights should have the same shape as a.")
    if isinstance(bins, str):
        raise unsupported_argument("np.histogram", f"bins={bins!r}", "pass a number or edges")
    if x.dtype == BOOL:
        x = x.astype("u1")
    if x.dtype.kind == "c" or (row is not None and row.dtype.kind == "c"):
        raise unsupported_argument("np.histogram", "complex data")
    if isinstance(bins, (int, np.integer)) or (isinstance(bins, Traced) and bins.ndim == 0):
        counts, edges = _equal_bins(x, int(bins), range, row)
    else:
        counts, edges = _bins_by_edges(x, strong(bins), row)
    if density:
        width = (edges[1:] - edges[:-1]).astype(F64)
        return counts / width / _total(counts), edges
    return counts, edges


@implements(np.histogram_bin_edges)
def histogram_bin_edges(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Traced:
    return histogram(a, bins, range, weights=weights)[1]


@implements(np.histogram2d)
def histogram2d(
    x: Any, y: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> tuple[Traced, Traced, Traced]:
    """Counts of pairs, as floats; what is outside is counted around the result, which is a view of the inner part."""
    first, second = strong(x), strong(y)
    if len(first) != len(second):
        raise ValueError("x and y must have the same length.")
    common = result_dtype(first, second)
    data = [first.astype(common), second.astype(common)]
    numbers = isinstance(bins, int) or (isinstance(bins, (np.ndarray, np.generic, Traced)) and bins.ndim == 0)
    count = 0 if numbers else len(bins)
    if count == 1:
        raise ValueError("The dimension of bins must be equal to the dimension of the sample x.")
    each = bins if count == 2 else (bins, bins) if count == 0 else [strong(bins)] * 2
    limits = (None, None) if range is None else range
    edges = [histogram_bin_edges(v, n, r) if isinstance(n, (int, np.integer)) else strong(n)
             for v, n, r in zip(data, each, limits)]
    rows, columns = (e.size + 1 for e in edges)
    place = _bin_with_outer(data[0], edges[0]) * columns + _bin_with_outer(data[1], edges[1])
    counts: Any = bincount(place, weights, rows * columns).reshape(rows, columns).astype(F64)[1:-1, 1:-1]
    if density:
        total = counts.sum()
        counts = counts / np.diff(edges[0])[:, None] / np.diff(edges[1]) / total  # type: ignore[call-overload]
    return counts, edges[0], edges[1]


@staged
def _bin_with_outer(values: Any, edges: Any) -> Any:
    """The bin of each value, where 0 and the last are outside; the last inner one holds its right edge."""
    found = np.searchsorted(edges, values, side="right")
    return np.where(values == edges[-1], found - 1, found)


def _total(x: Traced) -> Traced:
    return Traced.scalar(x.trace, x.trace.op("sum", x.read(), axes=(0,)))


def _count_dtype(weights: Traced | None) -> DType:
    if weights is None:
        return I64
    return weights.dtype if weights.dtype.kind not in "b" else I64


def _bins_by_edges(x: Traced, edges: Traced, weights: Traced | None) -> tuple[Traced, Traced]:
    """As NumPy counts: differences of positions in the sorted data; the last bin holds its right edge."""
    if edges.ndim != 1:
        raise ValueError("`bins` must be 1d, when an array")
    trace = x.trace
    known = concrete_value(edges)
    message = "`bins` must increase monotonically, when an array"
    if known is not None:
        if (known[:-1] > known[1:]).any():
            raise ValueError(message)
    elif edges.size > 1:
        falls = trace.op("any", (edges[:-1] > edges[1:]).read(), axes=(0,))
        trace.ops("check", trace.op("logical_not", falls), kind="value", message=message)
    count = max(edges.size - 1, 0)
    result = made(trace, trace.const(0, _count_dtype(weights)), (count,))
    if x.size and count:
        inside = (x >= edges[0]) & (x <= edges[-1])
        place = search(edges, x, "right")
        place = trace.op("minimum", trace.op("sub", place, trace.const(1, I64)), trace.const(count - 1, I64))
        _add_inside(result, place, inside, weights)
    return result, edges


def _add_inside(result: Traced, place: Value, inside: Traced, weights: Traced | None) -> None:
    """Adds 1, or its weight, to the bin of each element that is inside the range."""
    trace = result.trace
    zero = trace.const(0, result.dtype)
    amount = (
        trace.const(1, result.dtype)
        if weights is None
        else cast(trace, flattened(weights).read(), result.dtype)
    )
    amount = trace.op("where", inside.read(), amount, zero)
    place = trace.op("where", inside.read(), place, trace.const(0, I64))
    scattered(result, [place], amount, inside.shape, combine="add")


def _equal_bins(x: Traced, count: int, range_: Any, weights: Traced | None) -> tuple[Traced, Traced]:
    """NumPy's formula for equal bins, with its corrections at the edges."""
    from sparsec.frontend.numpy_api.ranges import linspace

    if count < 1:
        raise ValueError("`bins` must be positive, when an integer")
    trace = x.trace
    low, high = _range(x, range_)
    dtype = result_dtype(low, high, x)
    dtype = F64 if dtype.kind in "iu" else dtype
    edges = linspace(low, high, count + 1, dtype=dtype)
    result = made(trace, trace.const(0, _count_dtype(weights)), (count,))
    if not x.size:
        return result, edges
    inside = (x >= low) & (x <= high)
    data = x.astype(dtype)
    scaled = (data - low) / (high - low) * count
    place = Traced.fresh(
        trace, trace.op("where", inside.read(), cast(trace, scaled.read(), I64), trace.const(0, I64))
    )
    place = _limited(trace, place, count)
    low_edge, high_edge = (gathered(edges, [(place + k).read()], place.shape) for k in (0, 1))
    below = (data < low_edge).astype(I64)
    above = ((data >= high_edge) & (place != count - 1)).astype(I64)
    _add_inside(result, _limited(trace, place - below + above, count).read(), inside, weights)
    return result, edges


def _limited(trace: Trace, place: Any, count: int) -> Any:
    """Positions cut to 0 … count - 1: the last edge belongs to the last bin."""
    low = trace.op("maximum", place.read(), trace.const(0, I64))
    return Traced.fresh(trace, trace.op("minimum", low, trace.const(count - 1, I64)))


def _range(x: Traced, given: Any) -> tuple[Any, Any]:
    """The outer edges, Python numbers or traced scalars; equal ones move apart by a half each way."""
    trace = x.trace
    if given is None:
        if x.size == 0:
            return 0.0, 1.0
        low, high = (_extreme(x, op) for op in ("min", "max"))
        words = "autodetected range"
    else:
        if all(type(e) in PYTHON_NUMBERS for e in given):
            return _known_range(*given)
        low, high = map(_bound, given)
        words = "supplied range"
        trace.ops(
            "check",
            (low <= high).read(),
            kind="value",
            message="max must be larger than min in range parameter.",
        )
    finite: Any = np.logical_and(np.isfinite(low), np.isfinite(high))
    trace.ops("check", finite.read(), kind="value", message=f"{words} is not finite")
    same = low == high
    return _moved(same, low, -0.5), _moved(same, high, 0.5)


def _bound(x: Any) -> Any:
    return as_traced(x)


def _extreme(x: Traced, op: str) -> Any:
    return Traced.scalar(x.trace, x.trace.op(op, x.read(), axes=(0,)))


def _known_range(low: Any, high: Any) -> tuple[Any, Any]:
    if low > high:
        raise ValueError("max must be larger than min in range parameter.")
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"supplied range of [{low}, {high}] is not finite")
    return (low - 0.5, high + 0.5) if low == high else (low, high)


def _moved(when: Any, x: Any, by: float) -> Traced:
    moved = x + by
    value = x.trace.op("where", when.read(), moved.read(), cast(x.trace, x.read(), moved.dtype))
    return Traced.scalar(x.trace, value, moved.weak)
