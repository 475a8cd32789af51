"""Choosing elements: by masks, by computed positions, along an axis, from several arrays."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.assigned import assigned_number
from sparsec.frontend.concrete import concrete_value
from sparsec.frontend.convert import PYTHON_NUMBERS, as_traced, broadcast, cast, number, operand
from sparsec.frontend.dispatch import implements
from sparsec.frontend.indexing.selection import checked_index
from sparsec.frontend.layout import order_like
from sparsec.frontend.numpy_api.creation import asarray, literal
from sparsec.frontend.numpy_api.support import (
    as_int64,
    axis_index,
    common_shape,
    deliver,
    flat_index,
    flattened,
    gathered,
    index_in,
    made,
    new_array,
    operand_of,
    positions,
    refuse,
    reshaped,
    result_dtype,
    scattered,
    strong,
    unsupported_argument,
)
from sparsec.frontend.symbolic import true_positions
from sparsec.frontend.trace import Trace, require_trace
from sparsec.frontend.ufuncs import fresh_array, store
from sparsec.ir.graph import Value
from sparsec.ir.types import BOOL, F16, F32, I64, DType

DATA_DEPENDENT = "the shape of its result depends on data"


# --- where, select, choose -------------------------------------------------------------------------------


@implements(np.where)
def where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    """Always an array, of rank 0 too; in the order of memory that the operands agree on."""
    if x is None and y is None:
        return nonzero(condition)
    if x is None or y is None:
        raise ValueError("either both or neither of x and y should be given")
    trace = require_trace("np.where")
    mask, a, b = as_traced(condition), operand_of(x), operand_of(y)
    dtype = result_dtype(a, b)
    arrays = [v for v in (mask, a, b) if isinstance(v, Traced)]
    shape = common_shape(*(v.shape for v in arrays))
    layout = order_like(arrays, shape)
    values = [
        _laid(trace, value, shape, layout)
        for value in (cast(trace, mask.read(), BOOL), *(_chosen(trace, v, dtype) for v in (a, b)))
    ]
    laid = shape if layout is None else tuple(shape[p] for p in layout)
    chosen = trace.op("where", *values)
    if chosen.type.shape != laid:
        chosen = (
            broadcast(trace, chosen, laid) if chosen.type.shape else trace.op("broadcast", chosen, shape=laid)
        )
    return fresh_array(trace, trace.op("copy", chosen) if laid == () else chosen, layout)


def _chosen(trace: Trace, x: Any, dtype: DType) -> Value:
    """An operand of np.where: versions of NumPy differ on a Python number that does not fit."""
    return operand(trace, x, dtype) if _refuses_numbers() else _wrapped(trace, x, dtype)


def _wrapped(trace: Trace, x: Any, dtype: DType) -> Value:
    """An operand whose elements, where it is a Python number too, are cast as those of an array are."""
    if type(x) in PYTHON_NUMBERS:
        return number(trace, np.asarray(x).astype(dtype).item(), dtype)
    return cast(trace, x.read(), dtype)


@cache
def _refuses_numbers() -> bool:
    """Whether this version of NumPy raises for a Python number that does not fit the other operand of np.where."""
    try:
        np.where(np.False_, np.int8(0), 1000)
    except OverflowError:
        return True
    return False


def _laid(trace: Trace, value: Value, shape: tuple[int, ...], layout: tuple[int, ...] | None) -> Value:
    """An operand broadcast and permuted into memory order; a scalar is left alone."""
    value = broadcast(trace, value, shape)
    return value if layout is None or value.type.shape == () else trace.op("transpose", value, perm=layout)


@implements(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Traced:
    conditions, choices = list(condlist), list(choicelist)
    if len(conditions) != len(choices):
        raise ValueError("list of cases must be same length as list of conditions")
    if not conditions:
        raise ValueError("select with an empty condition list is not possible")
    masks = [as_traced(c) for c in conditions]
    for k, mask in enumerate(masks):
        if mask.dtype != BOOL:
            raise TypeError(f"invalid entry {k} in condlist: should be boolean ndarray")
    operands = [operand_of(c) for c in (*choices, default)]
    dtype = result_dtype(*operands)
    trace = require_trace("np.select")
    shape = common_shape(*(v.shape for v in (*masks, *operands) if isinstance(v, Traced)))
    value = _wrapped(trace, operands[-1], dtype)
    for mask, choice in reversed(list(zip(masks, operands[:-1]))):
        value = _choice(trace, mask.read(), _wrapped(trace, choice, dtype), value, shape)
    return made(trace, value, shape)


def _choice(trace: Trace, mask: Value, a: Value, b: Value, shape: tuple[int, ...]) -> Value:
    return trace.op("where", *(broadcast(trace, v, shape) for v in (mask, a, b)))


@implements(np.choose, method="choose")
def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Traced:
    picker = as_traced(a)
    options = [operand_of(c) for c in choices]
    if not options:
        raise ValueError("choose requires at least one array to choose from")
    trace = picker.trace
    dtype = result_dtype(*options)
    shape = common_shape(picker.shape, *(o.shape for o in options if isinstance(o, Traced)))
    index = _choose_index(trace, picker, len(options), mode)
    value = _wrapped(trace, options[-1], dtype)
    for k in range(len(options) - 2, -1, -1):
        hit = trace.op("equal", index, trace.const(k, I64))
        value = _choice(trace, hit, _wrapped(trace, options[k], dtype), value, shape)
    return deliver(made(trace, value, shape), out, "np.choose")


def _choose_index(trace: Trace, picker: Traced, count: int, mode: str) -> Value:
    """Unlike an index, a choice below 0 is an error where it is checked."""
    if mode != "raise":
        return index_in(trace, picker, count, 0, mode, "np.choose")
    if not np.can_cast(picker.dtype, I64, "safe"):
        raise TypeError(
            f"Cannot cast array data from {picker.dtype!r} to dtype('int64') according to the rule 'safe'"
        )
    index = cast(trace, picker.read(), I64)
    check_range(trace, index, 0, count, "invalid entry in choice array")
    return index


def check_range(trace: Trace, index: Value, low: int, high: int, message: str) -> None:
    """Raises ValueError, when the program runs, for an element outside low … high - 1."""
    if 0 in index.type.shape:
        return
    above = trace.op("greater_equal", index, trace.const(low, I64))
    below = trace.op("less", index, trace.const(high, I64))
    trace.ops("check", trace.op("logical_and", above, below), kind="value", message=message)


# --- take, put -------------------------------------------------------------------------------------------


@implements(np.take, method="take")
def take(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    x, index = strong(a), as_traced(indices)
    if axis is None:
        x, axis = flattened(x), 0
    axis = axis_index(axis, x.ndim)
    trace = x.trace
    inner = index_in(trace, index, x.shape[axis], axis, mode, "np.take")
    shape = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    behind = x.ndim - axis - 1
    if behind and index.ndim:
        inner = trace.op("reshape", trace.op("copy", inner), shape=(*index.shape, *(1,) * behind))
    indexes = [positions(trace, shape, k) for k in range(axis)]
    indexes.append(inner)
    indexes += [positions(trace, shape, axis + index.ndim + k) for k in range(behind)]
    return deliver(gathered(x, indexes, shape), out, "np.take")


def _along_axis(x: Traced, indices: Any, axis: int) -> tuple[list[Value], tuple[int, ...]]:
    """Positions, one per axis of `x`, for the functions that take one index per element along an axis."""
    index = as_traced(indices)
    if index.dtype.kind not in "iu":
        raise IndexError("`indices` must be an integer array")
    if index.ndim != x.ndim:
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    others = tuple(1 if k == axis else d for k, d in enumerate(x.shape))
    try:
        shape = common_shape(others, index.shape)
    except ValueError as error:
        raise IndexError(
            f"shape mismatch: indexing arrays could not be broadcast together: {error}"
        ) from None
    trace = x.trace
    found = [
        trace.const(0, I64) if x.shape[k] == 1 and shape[k] != 1 else positions(trace, shape, k)
        for k in range(x.ndim)
    ]
    found[axis] = checked_index(trace, as_int64(index), x.shape[axis], axis)
    return found, shape


@implements(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Traced:
    x = strong(arr)
    if axis is None:
        x, axis = flattened(x), 0
    axis = axis_index(axis, x.ndim)
    indexes, shape = _along_axis(x, indices, axis)
    return gathered(x, indexes, shape)


@implements(np.put_along_axis)
def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any) -> None:
    x = as_traced(arr)
    if axis is None:
        x, axis = _flat_view(x, "np.put_along_axis"), 0
    axis = axis_index(axis, x.ndim)
    indexes, shape = _along_axis(x, indices, axis)
    scattered(x, indexes, _new_elements(x, values, shape), shape)


def _flat_view(x: Traced, function: str) -> Traced:
    """A view of all elements in a row, through which the array can be written."""
    try:
        return x.view("reshape", shape=(x.size,))
    except ValueError:
        raise unsupported_argument(function, "axis=None on an array that is no contiguous row") from None


def _new_elements(x: Traced, values: Any, shape: tuple[int, ...]) -> Value:
    """The right side of an assignment to elements of `x`, of this shape."""
    if type(values) in PYTHON_NUMBERS:
        return assigned_number(x.trace, values, x)
    given = as_traced(values)
    if np.broadcast_shapes(given.shape, shape) != shape:
        raise ValueError(
            f"shape mismatch: value array of shape {given.shape} could not be broadcast to indexing "
            f"result of shape {shape}"
        )
    return broadcast(x.trace, cast(x.trace, given.read(), x.dtype), shape)


def cycled(values: Any, x: Traced, count: int) -> Value:
    """The first `count` of the values repeated for ever, in x's dtype."""
    if type(values) in PYTHON_NUMBERS:
        return assigned_number(x.trace, values, x)
    row = flattened(asarray(values, x.dtype))
    if row.size == 1:
        return row[0].value  # type: ignore[no-any-return]
    if row.size == count:
        return row.read()
    at = x.trace.op("mod", positions(x.trace, (count,), 0), x.trace.const(row.size, I64))
    return gathered(row, [at], (count,)).read()


@implements(np.put, method="put")
def put(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    x, index = as_traced(a), flattened(strong(ind))
    x.trace.check_writable(x)
    if index.size == 0 or (type(v) not in PYTHON_NUMBERS and as_traced(v).size == 0):
        return
    position = index_in(x.trace, index, x.size, 0, mode, "np.put")
    scattered(x, flat_index(x.trace, position, x.shape), cycled(v, x, index.size), (index.size,))


@implements(np.putmask)
def putmask(a: Any, /, mask: Any, values: Any) -> None:
    x, where_ = as_traced(a), as_traced(mask)
    if x.size != where_.size:
        raise ValueError("putmask: mask and data must be the same size")
    if type(values) not in PYTHON_NUMBERS:
        given = asarray(values, x.dtype) if isinstance(values, (list, tuple)) else as_traced(values)
        if given.ndim and not np.can_cast(given.dtype, x.dtype, "safe"):
            raise TypeError(
                f"Cannot cast array data from {given.dtype!r} to {x.dtype!r} according to the rule 'safe'"
            )
        if given.size == 0:
            return
    value = cycled(values, x, x.size)
    if value.type.shape:
        value = x.trace.op("reshape", x.trace.op("copy", value), shape=x.shape)
    store(x.trace, x, value, reshaped(where_, x.shape))


@implements(np.place)
def place(arr: Any, mask: Any, vals: Any) -> None:
    x = as_traced(arr)
    if type(vals) not in PYTHON_NUMBERS and as_traced(vals).size != 1:
        raise unsupported_argument("np.place", "more than one value", "use np.where or np.putmask")
    putmask(x, mask, vals)


# --- results whose shape depends on the values of a condition --------------------------------------------


def _true_positions(a: Any) -> tuple[Traced, ...]:
    """One row per axis; how long they are is known while tracing only where the values are."""
    x = strong(a)
    if x.ndim == 0:
        raise ValueError(
            "Calling nonzero on 0d arrays is not allowed. Use np.atleast_1d(scalar).nonzero() instead."
        )
    known = concrete_value(x)
    if known is not None:
        return tuple(literal(x.trace, k) for k in np.nonzero(known))
    found = true_positions(x.trace, cast(x.trace, x.read(), BOOL))
    return tuple(Traced.fresh(x.trace, x.trace.op("copy", p)) for p in found)


@implements(np.nonzero, method="nonzero")
def nonzero(a: Any) -> tuple[Traced, ...]:
    return _true_positions(a)


@implements(np.flatnonzero)
def flatnonzero(a: Any) -> Traced:
    return _true_positions(flattened(strong(a)))[0]


@implements(np.argwhere)
def argwhere(a: Any) -> Traced:
    x = strong(a)
    rows = _true_positions(x if x.ndim else reshaped(x, (1,)))
    result = new_array(x.trace, (x.ndim, rows[0].shape[0]), I64)
    for k in range(x.ndim):
        store(x.trace, result[k], rows[k].read())
    return result.T  # type: ignore[no-any-return]


@implements(np.compress)
def compress(condition: Any, a: Any, axis: Any = None, out: Any = None) -> Any:
    mask = as_traced(condition)
    if mask.ndim != 1:
        raise ValueError("condition must be a 1-d array")
    return take(a, _true_positions(mask)[0], axis, out)


@implements(method="compress")
def compress_method(a: Traced, condition: Any, axis: Any = None, out: Any = None) -> Any:
    return compress(condition, a, axis, out)


@implements(np.extract)
def extract(condition: Any, arr: Any) -> Any:
    return take(flattened(strong(arr)), _true_positions(flattened(strong(condition)))[0])


@implements(np.trim_zeros)
def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Traced:
    """A view of a vector without the zeros at its ends."""
    x: Any = strong(filt)
    ends = trim.lower()
    if x.ndim != 1:
        raise unsupported_argument("np.trim_zeros", "an array of more axes than one")
    if ends not in ("fb", "bf", "f", "b"):
        raise ValueError(f"unexpected character(s) in `trim`: {trim!r}")
    if x.size == 0:
        return x[:]  # type: ignore[no-any-return]
    there = x != 0
    start = np.argmax(there) if "f" in ends else 0
    stop = x.size - (np.argmax(there[::-1]) if "b" in ends else 0)
    return x[start : stop * there.any()]  # type: ignore[no-any-return]


for _function in (
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
):
    refuse(getattr(np, _function), why=DATA_DEPENDENT)


# --- membership ------------------------------------------------------------------------------------------

_FEW_TESTS = 16  # so many values are compared one by one; more are sorted and searched


@implements(np.isin)
def isin(
    element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False, *, kind: Any = None
) -> Traced:
    """NaN is in nothing, as in NumPy: it equals nothing."""
    x, tests = strong(element), flattened(strong(test_elements))
    trace = x.trace
    if tests.size <= _FEW_TESTS:
        found = _in_few(trace, x, tests)
    else:
        found = _in_sorted(x, tests)
    value = trace.op("logical_not", found) if invert else found
    return made(trace, value, x.shape)


def _in_few(trace: Trace, x: Traced, tests: Traced) -> Value:
    found = trace.const(False, BOOL)
    for k in range(tests.size):
        equal = (x == tests[k]).read()
        found = equal if k == 0 else trace.op("logical_or", found, equal)
    return found


def _in_sorted(x: Traced, tests: Traced) -> Value:
    trace = x.trace
    dtype = result_dtype(x, tests)
    dtype = F32 if dtype == F16 else dtype
    row, _ = trace.ops("sort", cast(trace, tests.read(), dtype))
    value = cast(trace, x.read(), dtype)
    at = trace.op("searchsorted", row, value, side="left")
    at = trace.op("minimum", at, trace.const(tests.size - 1, I64))
    return trace.op("equal", trace.op("gather", row, at), value)
