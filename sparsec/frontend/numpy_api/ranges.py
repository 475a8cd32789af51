"""Evenly spaced numbers: arange, linspace and its kin, vander, and the static grids of np.mgrid."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from sparsec.errors import UnsupportedError
from sparsec.frontend.array import Traced
from sparsec.frontend.concrete import concrete_value
from sparsec.frontend.convert import as_traced, cast, np_dtype, number
from sparsec.frontend.dispatch import SUBSCRIPTS, holds_traced, implements
from sparsec.frontend.locate import user_loc
from sparsec.frontend.numpy_api.creation import literal
from sparsec.frontend.numpy_api.support import (
    along,
    axis_index,
    axis_to,
    made,
    new_array,
    operand_of,
    positions,
    reshaped,
    result_dtype,
    strong,
    unsupported_argument,
)
from sparsec.frontend.ranges import TracedRange
from sparsec.frontend.symbolic import length_dim
from sparsec.frontend.trace import require_trace
from sparsec.frontend.ufuncs import fresh_array
from sparsec.ir.graph import Value
from sparsec.ir.types import I64

# --- arange ----------------------------------------------------------------------------------------------


@implements(np.arange, creates=True)
def arange(
    *args: Any,
    dtype: Any = None,
    start: Any = None,
    stop: Any = None,
    step: Any = None,
    device: Any = None,
    like: Any = None,
) -> Traced:
    """The values are static; integer ranges become index arithmetic, float ones NumPy's own values."""
    given = {k: v for k, v in (("start", start), ("stop", stop), ("step", step)) if v is not None}
    args = tuple(_known_number(a) for a in args)
    given = {k: _known_number(v) for k, v in given.items()}
    if any(isinstance(a, Traced) for a in (*args, *given.values())):
        return _traced_range(args, given, dtype)
    bounds = list(args)
    if dtype is None and len(bounds) > 3:
        dtype = bounds.pop()
    trace = require_trace("np.arange")
    ints = all(
        isinstance(b, (int, np.integer)) and not isinstance(b, bool) for b in (*bounds, *given.values())
    )
    target = None if dtype is None else np_dtype(dtype)
    if not ints or (target is not None and target.kind not in "iu"):
        return literal(trace, np.arange(*bounds, dtype=dtype, **given))
    target = target or I64
    span = range(*_range_bounds(bounds, given))
    values: Value = trace.op("iota", dtype=target, shape=(len(span),), axis=0)
    if span.step != 1:
        values = trace.op("mul", values, number(trace, span.step, target))
    if span.start != 0 and len(span):
        values = trace.op("add", values, number(trace, span.start, target))
    return fresh_array(trace, values, None)


def _known_number(x: Any) -> Any:
    """A traced bound whose value is known now, as that value."""
    known = concrete_value(x) if isinstance(x, Traced) else None
    return x if known is None else known.item()


def _traced_range(args: tuple[Any, ...], given: dict[str, Any], dtype: Any) -> Traced:
    """Integers with bounds known only at run time."""
    every = (*args, *given.values())
    whole = all(x.dtype.kind in "iu" if isinstance(x, Traced) else isinstance(x, (int, np.integer)) for x in every)
    if given or len(args) > 3 or not whole:
        raise UnsupportedError("np.arange with run-time bounds takes up to three integers", loc=user_loc())
    span = TracedRange.make(*args)
    trace = require_trace("np.arange")
    values = trace.op("iota", dtype=I64, shape=(length_dim(span.count()),), axis=0)
    if span.step != 1:
        values = trace.op("mul", values, trace.const(span.step, I64))
    values = trace.op("add", values, span.values(trace)[0])
    return fresh_array(trace, values if dtype is None else cast(trace, values, np_dtype(dtype)), None)


def _range_bounds(bounds: list[Any], given: dict[str, Any]) -> tuple[int, int, int]:
    names = ["stop"] if len(bounds) == 1 and "stop" not in given else ["start", "stop", "step"]
    found = {"start": 0, "step": 1, **dict(zip(names, bounds, strict=False)), **given}
    if "stop" not in found:
        found = {"start": 0, "step": found["step"], "stop": found["start"]}
    return int(found["start"]), int(found["stop"]), int(found["step"])


# --- linspace and its kin ---------------------------------------------------------------------------------


def _numbers(*bounds: Any) -> tuple[list[Any], np.dtype[Any]]:
    """Bounds as operands, and the inexact dtype in which NumPy computes with them."""
    operands = [operand_of(b) for b in bounds]
    return operands, result_dtype(*operands, 0.0)


def _as(x: Any, dtype: np.dtype[Any]) -> Any:
    """An operand as a traced scalar or array of a dtype."""
    return strong(x).astype(dtype) if as_traced(x).ndim else as_traced(x).astype(dtype)


@implements(np.linspace)
def linspace(
    start: Any,
    stop: Any,
    num: Any = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """NumPy's formula: start + i * step, but i / div * delta where a step is too small to be told from 0."""
    count = operator.index(num)
    if count < 0:
        raise ValueError(f"Number of samples, {count}, must be non-negative.")
    div = count - 1 if endpoint else count
    (first, last), found = _numbers(start, stop)
    target = found if dtype is None else np_dtype(dtype)
    low, high = _as(first, found), _as(last, found)
    trace = low.trace
    delta = high - low
    counter = made(trace, positions(trace, (count,), 0), (count,)).astype(found)
    y: Any = reshaped(counter, (count, *(1,) * delta.ndim))
    step: Any = np.nan
    if div > 0:
        step = delta / found.type(div)
        zero = step == 0
        if zero.ndim:
            zero = Traced.scalar(trace, trace.op("any", zero.read(), axes=tuple(range(zero.ndim))))
        y = np.where(zero, y / found.type(div) * delta, y * step)
    else:
        y = y * delta
    y = y + low
    if endpoint and count > 1:
        y[-1, ...] = high
    y = axis_to(y, 0, axis_index(axis, y.ndim))
    if target.kind in "iu":
        y = np.floor(y)
    y = y.astype(target, copy=False)
    return (y, step) if retstep else y


@implements(np.logspace)
def logspace(
    start: Any,
    stop: Any,
    num: Any = 50,
    endpoint: bool = True,
    base: Any = 10.0,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    if as_traced(base).ndim:
        raise unsupported_argument("np.logspace", "an array as base")
    y = linspace(start, stop, num, endpoint, axis=axis)
    powers = np.power(operand_of(base), y)
    return powers if dtype is None else powers.astype(np_dtype(dtype), copy=False)


@implements(np.geomspace)
def geomspace(
    start: Any, stop: Any, num: Any = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0
) -> Any:
    (first, last), found = _numbers(start, stop)
    if found.kind == "c":
        raise unsupported_argument("np.geomspace", "complex bounds")
    target = found if dtype is None else np_dtype(dtype)
    work = np.result_type(found, np.float64(0), np.zeros((), target))
    low, high = _as(first, work), _as(last, work)
    trace = low.trace
    for bound in (low, high):
        trace.ops(
            "check", (bound != 0).read(), kind="value", message="Geometric sequence cannot include zero"
        )
    sign = np.sign(low)
    low, high = low / sign, high / sign
    result = logspace(np.log10(low), np.log10(high), num, endpoint, 10.0)
    if len(result):
        result[0] = low
        if endpoint and len(result) > 1:
            result[-1] = high
    result = axis_to(result * sign, 0, axis_index(axis, result.ndim))
    return result.astype(target, copy=False)


@implements(np.vander)
def vander(x: Any, N: Any = None, increasing: bool = False) -> Traced:
    row = strong(x)
    if row.ndim != 1:
        raise ValueError("x must be a one-dimensional array or sequence.")
    count = row.size if N is None else operator.index(N)
    dtype = np.promote_types(row.dtype, np.int64)
    result = new_array(row.trace, (row.size, count), dtype)
    columns = result if increasing else result[:, ::-1]
    for k in range(count):
        columns[:, k] = 1 if k == 0 else row if k == 1 else columns[:, k - 1] * row
    return result


# --- np.mgrid, np.ogrid ----------------------------------------------------------------------------------


def grid_by_subscript(owner: Any, key: Any) -> Any:
    """`np.mgrid[…]` and `np.ogrid[…]` of static bounds; integer ones become index arithmetic."""
    if holds_traced(key):
        name = "np.ogrid" if owner.sparse else "np.mgrid"
        raise UnsupportedError(
            f"{name} with bounds known only at run time is not supported",
            loc=user_loc(),
            hint="use np.arange or np.linspace and np.meshgrid",
        )
    trace = require_trace("np.mgrid")
    found = owner[key]
    if isinstance(found, tuple):
        return tuple(literal(trace, f) for f in found)
    slices = key if isinstance(key, tuple) else (key,)
    if found.dtype != I64 or not isinstance(key, tuple) or not all(map(_is_integral, slices)):
        return literal(trace, found)
    result = new_array(trace, found.shape, I64)
    for k, part in enumerate(slices):
        axis = arange(part.start or 0, part.stop, part.step or 1)
        shape = tuple(d if j == k else 1 for j, d in enumerate(found.shape[1:]))
        along(result, 0, k)[...] = reshaped(axis, shape)
    return result


def _is_integral(part: slice) -> bool:
    return all(b is None or isinstance(b, int) for b in (part.start, part.stop, part.step))


SUBSCRIPTS.update(dict.fromkeys((type(np.mgrid), type(np.ogrid)), grid_by_subscript))
