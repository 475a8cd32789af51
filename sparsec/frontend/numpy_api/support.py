"""What rules share: axes, result dtypes, reshapes that copy where they must, gathers, delivery to `out=`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparsec.errors import UnsupportedError
from sparsec.frontend.array import Traced
from sparsec.frontend.concrete import concrete_value
from sparsec.frontend.convert import PYTHON_NUMBERS, as_traced, broadcast, cast, full
from sparsec.frontend.dispatch import TABLE, qualified_name
from sparsec.frontend.locate import user_loc
from sparsec.frontend.symbolic import as_int, broadcast_shapes, same_dim
from sparsec.frontend.trace import Trace
from sparsec.frontend.ufuncs import fresh_array, store
from sparsec.ir.graph import Value
from sparsec.ir.types import I64, DType

ALL = slice(None)


# --- arguments -------------------------------------------------------------------------------------------


def unsupported_argument(function: str, argument: str, hint: str = "") -> UnsupportedError:
    """The error for an argument value that a rule does not take."""
    return UnsupportedError(f"{function}: {argument} is not supported", loc=user_loc(), hint=hint)


def refuse(*functions: Any, why: str, hint: str = "") -> None:
    """Registers functions that cannot be compiled, with the reason that their error gives."""
    for function in functions:
        TABLE[function] = _refusal(qualified_name(function), why, hint)


def _refusal(name: str, why: str, hint: str) -> Callable[..., Any]:
    def rule(*args: Any, **kwargs: Any) -> Any:
        raise UnsupportedError(f"{name} is not supported: {why}", loc=user_loc(), hint=hint)

    rule.refused = why  # type: ignore[attr-defined]
    return rule


def axis_index(axis: Any, ndim: int) -> int:
    """A nonnegative axis. Raises NumPy's AxisError for one that the array does not have."""
    return int(np.lib.array_utils.normalize_axis_index(operator.index(axis), ndim))


def known_array(x: Any, function: str, argument: str) -> np.ndarray:
    """The values of an argument that decides about shapes. Raises UnsupportedError if they depend on data."""
    if not isinstance(x, Traced):
        if isinstance(x, np.ndarray):
            x = as_traced(x)  # an array from outside the function: its values may change between calls
        elif isinstance(x, (list, tuple)):
            return np.asarray([known_array(k, function, argument) for k in x])
        else:
            return np.asarray(x)
    found = concrete_value(x)
    if found is None:
        raise UnsupportedError(
            f"{function}: {argument} is computed at run time, and the result's shape depends on it",
            loc=user_loc(),
            hint="pass it as a Python number, tuple or list",
        )
    return found


def operand_of(x: Any) -> Any:
    """An operand that NEP 50 promotes: a Python number stays one, everything else is traced."""
    return x if type(x) in PYTHON_NUMBERS else as_traced(x)


def strong(x: Any) -> Traced:
    """An array operand as `np.asarray` makes it: Python numbers get their own dtype."""
    found = as_traced(x)
    return found.as_array() if found.is_scalar else found


def result_dtype(*operands: Any) -> DType:
    """NumPy's common dtype of traced operands and Python numbers, the numbers weak."""
    kinds = [_promoted(x) for x in operands]
    return np.result_type(*kinds)


def _promoted(x: Any) -> Any:
    if isinstance(x, Traced):
        return x.weak(0) if x.weak is not None else x.dtype
    return type(x)(0) if type(x) in PYTHON_NUMBERS else np.asarray(x).dtype


def is_f_ordered(x: Traced) -> bool:
    """Whether NumPy calls the array Fortran-contiguous and not C-contiguous."""
    return bool(x.flags.f_contiguous and not x.c_contiguous)


# --- shapes ----------------------------------------------------------------------------------------------


def reshaped(x: Traced, shape: Sequence[int]) -> Traced:
    """`x` in C order under another shape: a view where that is possible, else a copy."""
    shape = tuple(shape)
    if x.shape == shape and not x.is_scalar:
        return x
    try:
        return x.view("reshape", shape=shape)
    except ValueError:
        value = x.trace.op("copy", x.read())
        return Traced.fresh(x.trace, value).view("reshape", shape=shape)


def flattened(x: Traced) -> Traced:
    """`x.ravel()`."""
    return reshaped(x, (x.size,))


def permuted(x: Traced, perm: Sequence[int]) -> Traced:
    """A transposed view; `x` itself where nothing moves."""
    perm = tuple(perm)
    return x if perm == tuple(range(x.ndim)) else x.view("transpose", perm=perm)


def axis_last(x: Traced, axis: int) -> Traced:
    """A view with one axis moved to the end."""
    return permuted(x, (*(k for k in range(x.ndim) if k != axis), axis))


def axis_to(x: Traced, axis: int, target: int) -> Traced:
    """A view with `axis` moved to position `target`: np.moveaxis."""
    order = [k for k in range(x.ndim) if k != axis]
    order.insert(target, axis)
    return permuted(x, order)


def along(x: Traced, axis: int, part: Any) -> Traced:
    """`x[:, …, part, …]` with the key at `axis`."""
    return x[(*(ALL,) * axis, part)]  # type: ignore[no-any-return]


def at_least(x: Traced, ndim: int) -> Traced:
    """Axes of length 1 in front, as `np.array(x, ndmin=ndim)` adds them."""
    missing = ndim - x.ndim
    return x[(*(None,) * missing, ...)] if missing > 0 else x


def common_shape(*shapes: Sequence[Any]) -> tuple[Any, ...]:
    """`np.broadcast_shapes`, for lengths known only at run time too."""
    return broadcast_shapes(*shapes)


def bound(trace: Trace, dim: Any) -> Any:
    """A dim as a slice bound: an int, or a traced one."""
    return as_int(trace, dim)


def agreed(trace: Trace, first: Any, other: Any, message: str) -> Any:
    """The length that two axes share, checked at run time where it must be. Raises ValueError."""
    return first if first == other else same_dim(trace, first, other, message)


# --- values ----------------------------------------------------------------------------------------------


def spread(trace: Trace, value: Value, shape: tuple[int, ...]) -> Value:
    """`value` with exactly this shape."""
    return (
        broadcast(trace, value, shape)
        if value.type.shape
        else (value if shape == () else full(trace, value, shape))
    )


def new_array(
    trace: Trace, shape: tuple[int, ...], dtype: DType, layout: tuple[int, ...] | None = None
) -> Traced:
    """An array that is not filled yet, laid out with its axes in the order `layout`."""
    laid = shape if layout is None else tuple(shape[p] for p in layout)
    return fresh_array(trace, trace.op("empty", dtype=dtype, shape=laid), layout)


def made(trace: Trace, value: Value, shape: tuple[int, ...]) -> Traced:
    """A new array of `shape` with these elements."""
    if value.type.shape != shape:
        value = full(trace, value, shape)
    elif shape == ():
        value = trace.op("copy", value)
    return fresh_array(trace, value, None)


def returned(x: Traced) -> Traced:
    """A rank-0 result as NumPy returns it: a scalar."""
    return x if x.ndim or x.is_scalar else Traced.scalar(x.trace, x.trace.op("copy", x.read()))


def deliver(result: Traced, out: Any, function: str, casting: str = "same_kind") -> Traced:
    """`result`, or `out` with the result written into it. Raises for another shape or a forbidden cast."""
    if out is None:
        return returned(result)
    target = as_traced(out)
    if target.shape != result.shape:
        raise ValueError(f"{function}: output array has shape {target.shape}, the result {result.shape}")
    if not np.can_cast(result.dtype, target.dtype, casting):  # type: ignore[arg-type]
        raise TypeError(
            f"Cannot cast array data from {result.dtype!r} to {target.dtype!r} according to the rule "
            f"'{casting}'"
        )
    store(target.trace, target, result.read())
    return target


# --- computed positions ----------------------------------------------------------------------------------


def positions(trace: Trace, shape: tuple[int, ...], axis: int) -> Value:
    """The index along `axis` of every element of `shape`."""
    return trace.op("iota", dtype=I64, shape=shape, axis=axis)


def index_in(trace: Trace, index: Traced, dim: int, axis: int, mode: str, function: str) -> Value:
    """Integer positions on an axis as i64 in range: checked, wrapped or clipped."""
    from sparsec.frontend.indexing.selection import checked_index

    if not np.can_cast(index.dtype, I64, "safe" if mode == "raise" else "same_kind"):
        raise TypeError(
            f"Cannot cast array data from {index.dtype!r} to dtype('int64') according to the rule 'safe'"
        )
    if mode == "raise":
        return checked_index(trace, as_int64(index), dim, axis)
    if dim == 0 and index.size:
        raise IndexError(f"{function}: cannot do a non-empty take from an empty axes.")
    value = cast(trace, index.read(), I64)
    last = trace.const(max(dim - 1, 0), I64)
    if mode == "clip":
        return trace.op("minimum", trace.op("maximum", value, trace.const(0, I64)), last)
    if mode == "wrap":
        return trace.op("mod", value, trace.const(max(dim, 1), I64))
    raise ValueError(f"clipmode must be one of 'clip', 'raise', or 'wrap' (got {mode!r})")


def as_int64(x: Traced) -> Traced:
    """Integers (or bools, which count as 0 and 1) as int64."""
    return x if x.dtype == I64 else x.astype(I64)


def flat_index(trace: Trace, index: Value, shape: Sequence[int]) -> list[Value]:
    """The coordinates of C-order positions that are in range."""
    found: list[Value] = []
    for dim in reversed(shape[1:]):
        length = trace.const(max(dim, 1), I64)
        found.append(trace.op("mod", index, length))
        index = trace.op("floor_div", index, length)
    return [index, *reversed(found)] if shape else []


def gathered(x: Traced, indexes: Sequence[Value], shape: tuple[int, ...]) -> Traced:
    """A new array of `shape`: `x` at one position per element."""
    trace = x.trace
    if 0 in shape:
        return new_array(trace, shape, x.dtype)
    value = trace.op("gather", x.read(), *(broadcast(trace, i, shape) for i in indexes))
    return made(trace, value, shape)


def scattered(
    x: Traced, indexes: Sequence[Value], value: Value, shape: tuple[int, ...], combine: str = "set"
) -> None:
    """Writes elements of `value` (of x's dtype) at one position each, in C order."""
    trace = x.trace
    trace.check_writable(x)
    if 0 not in shape:
        trace.scatter(x, [broadcast(trace, i, shape) for i in indexes], broadcast(trace, value, shape), combine)
