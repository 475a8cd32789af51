"""Operands: how arrays, scalars and Python numbers become SSA values of the dtype that an op needs."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsec.errors import ArgumentError, DTypeError, UnsupportedError, wrap
from sparsec.frontend.array import Traced
from sparsec.frontend.flat import Flat
from sparsec.frontend.locate import user_loc
from sparsec.frontend.trace import Trace, require_trace
from sparsec.ir.dims import Dim, lower_bound, upper_bound
from sparsec.ir.graph import Value
from sparsec.ir.types import BOOL, I64, DType, is_supported, unsupported_dtype
from sparsec.sparse.channel import ChannelSparse

PYTHON_NUMBERS = (bool, int, float, complex)


def np_dtype(dtype: Any) -> DType:
    """`np.dtype(dtype)`, refused if values cannot have it."""
    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise DTypeError(str(error), loc=user_loc()) from None
    if not is_supported(found):
        error_ = unsupported_dtype(found)
        error_.loc = user_loc()
        raise error_
    return found


def as_traced(x: Any) -> Traced:
    """The traced form of anything that NumPy would take as an array operand."""
    if isinstance(x, Traced):
        x.trace.check_open()
        return x
    trace = require_trace("an array operation")
    if type(x) is np.ndarray:
        if trace.captures is None:
            raise UnsupportedError("an array from outside the function", loc=user_loc())
        return capture(trace, x)
    if type(x) is ChannelSparse:
        return capture_sparse(trace, x)
    if isinstance(x, np.generic):
        np_dtype(x.dtype)
        return Traced.scalar(trace, trace.const(x.item(), x.dtype))
    if type(x) in PYTHON_NUMBERS:
        return Traced.scalar(trace, trace.const(x, python_dtype(x)), weak=type(x))
    if isinstance(x, (list, tuple)):
        return from_sequence(x)
    if isinstance(x, Flat):
        return x.copy()
    if isinstance(x, np.ndarray):
        raise ArgumentError(
            f"array subclass {type(x).__name__} is not supported", loc=user_loc(), hint="pass `np.asarray(x)`"
        )
    raise DTypeError(f"{type(x).__name__} is not an array or a number", loc=user_loc())


def python_dtype(x: Any) -> DType:
    """The dtype that a Python number has alone (NEP 50 default)."""
    return np.dtype({bool: "?", int: "i8", float: "f8", complex: "c16"}[type(x)])


def capture(trace: Trace, array: np.ndarray) -> Traced:
    """The parameter that stands for an array from outside; the same one each time."""
    from sparsec.frontend.spec import capture_array

    return capture_array(trace, array)


def capture_sparse(trace: Trace, x: ChannelSparse) -> Traced:
    """A `ChannelSparse` from outside the function, in full; its channels are part of the program."""
    from sparsec.frontend.sparse_arguments import captured

    return captured(trace, x)


def from_sequence(items: Any) -> Traced:
    """`np.array(items)` for nested lists and tuples that may hold traced values."""
    from sparsec.frontend.numpy_api.creation import array

    return array(items)  # type: ignore[no-any-return]


def cast(trace: Trace, value: Value, dtype: DType) -> Value:
    """`value` with this dtype (NumPy's unsafe casting)."""
    return value if value.type.dtype == dtype else trace.op("cast", value, dtype=np.dtype(dtype))


def number(trace: Trace, x: Any, dtype: DType) -> Value:
    """A Python or NumPy number as a constant of `dtype`. Raises ValueOverflow for an int that does not fit."""
    with np.errstate(all="ignore"):
        try:
            if type(x) in (int, bool) and dtype.kind in "iu":
                held = np.array(x, dtype=dtype) if -(1 << 63) <= x < (1 << 64) else dtype.type(x)
                if int(held) != int(x):
                    raise OverflowError(f"Python integer {x} out of bounds for {dtype}")
            else:
                held = np.asarray(x).astype(dtype)
        except (OverflowError, ValueError, TypeError) as error:
            raise wrap(error, user_loc()) or error from None
    return trace.const(held.item(), dtype)


def operand(trace: Trace, x: Any, dtype: DType) -> Value:
    """Operand `x` of an op as a value of `dtype`."""
    if type(x) in PYTHON_NUMBERS:
        return number(trace, x, dtype)
    x = as_traced(x)
    return weak_cast(trace, x, dtype) if x.weak is int else cast(trace, x.read(), dtype)


def weak_cast(trace: Trace, x: Traced, dtype: DType) -> Value:
    """A traced Python int as a value of `dtype`; the program stops where it does not fit (NEP 50)."""
    bits = np.iinfo(dtype) if dtype.kind in "iu" else None
    if bits is not None and dtype != I64 and not _fits(x, int(bits.min), int(bits.max)):
        low = trace.op("greater_equal", x.value, trace.const(int(bits.min), I64))
        high = trace.op("less_equal", x.value, trace.const(min(int(bits.max), (1 << 63) - 1), I64))
        message = f"Python integer out of bounds for {dtype}"
        trace.ops("check", trace.op("logical_and", low, high), kind="overflow", message=message)
    return cast(trace, x.value, dtype)


def _fits(x: Traced, least: int, most: int) -> bool:
    low, high = (None, None) if x.dim is None else (lower_bound(x.dim), upper_bound(x.dim))
    return low is not None and high is not None and least <= low and high <= most


def broadcast(trace: Trace, value: Value, shape: tuple[Dim, ...]) -> Value:
    """`value` broadcast to `shape`; a scalar is left alone, ops take it as it is."""
    have = value.type.shape
    if have == shape or have == ():
        return value
    # Lengths that a check found equal may have different names: the target's stands for both.
    named = tuple(h if h == 1 else w for h, w in zip(have, shape[len(shape) - len(have) :]))
    if named != have:
        value = trace.op("slice", value, start=(0,) * len(have), size=named, step=(1,) * len(have))
    return value if named == shape else trace.op("broadcast", value, shape=shape)


def full(trace: Trace, value: Value, shape: tuple[int, ...]) -> Value:
    """Fresh storage of `shape` filled with a scalar or a broadcastable value."""
    if value.type.shape == shape:
        return trace.op("copy", value)
    return trace.op("copy", trace.op("broadcast", value, shape=shape))


def as_bool(trace: Trace, value: Value) -> Value:
    """Whether each element is not zero."""
    return cast(trace, value, BOOL)
