"""Sums, products, extremes and truth over axes, and positions of extremes: folds of one ufunc or op."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from sparsec.errors import ShapeError
from sparsec.frontend.array import Traced
from sparsec.frontend.convert import as_traced, cast
from sparsec.frontend.dispatch import implements
from sparsec.frontend.locate import user_loc
from sparsec.frontend.symbolic import check_not_empty
from sparsec.frontend.ufunc_methods import accumulate
from sparsec.frontend.ufunc_reduce import (
    NO_VALUE,
    delivered,
    normalize_axes,
    normalize_axis,
    reduce,
    single_out,
)
from sparsec.frontend.ufuncs import fresh_array
from sparsec.ir.types import BOOL, F16, F32, I64


def _fold(name: str, ufunc: np.ufunc, *functions: Any) -> None:
    """A function that is `ufunc.reduce` over all axes by default, and the method of its name."""

    def method(
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        keepdims: Any = NO_VALUE,
        initial: Any = NO_VALUE,
        where: Any = NO_VALUE,
    ) -> Traced:
        return reduce(ufunc, a, axis, dtype, out, keepdims, initial, where)

    implements(*functions, method=name)(method)


def _extreme(name: str, ufunc: np.ufunc, *functions: Any) -> None:
    """As `_fold`, for the functions that take no dtype."""

    def method(
        a: Any,
        axis: Any = None,
        out: Any = None,
        keepdims: Any = NO_VALUE,
        initial: Any = NO_VALUE,
        where: Any = NO_VALUE,
    ) -> Traced:
        return reduce(ufunc, a, axis, None, out, keepdims, initial, where)

    implements(*functions, method=name)(method)


def _truth(name: str, ufunc: np.ufunc, function: Any) -> None:
    """As `_fold`, for any and all."""

    def method(
        a: Any, axis: Any = None, out: Any = None, keepdims: Any = NO_VALUE, *, where: Any = NO_VALUE
    ) -> Traced:
        return reduce(ufunc, a, axis, None, out, keepdims, NO_VALUE, where)

    implements(function, method=name)(method)


_fold("sum", np.add, np.sum)
_fold("prod", np.multiply, np.prod)
_extreme("max", np.maximum, np.max, np.amax)
_extreme("min", np.minimum, np.min, np.amin)
_truth("any", np.logical_or, np.any)
_truth("all", np.logical_and, np.all)


@implements(np.ptp)
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = NO_VALUE) -> Any:
    """The distance of the extremes."""
    high, low = reduce(np.maximum, a, axis, keepdims=keepdims), reduce(np.minimum, a, axis, keepdims=keepdims)
    return np.subtract(high, low, out=out)  # type: ignore[call-overload]


@implements(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Traced:
    """How many elements are not zero, as an int64."""
    x = as_traced(a)
    return reduce(np.add, _as_bool(x), axis, np.int64, keepdims=keepdims)


def _as_bool(x: Traced) -> Traced:
    return Traced.scalar(x.trace, cast(x.trace, x.value, BOOL)) if x.is_scalar else x.astype(BOOL)


# --- where the extremes are --------------------------------------------------------------------------------


def _position(name: str, function: Any) -> None:
    def method(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = NO_VALUE) -> Traced:
        x = as_traced(a)
        trace = x.trace
        if axis is not None and x.ndim == 0:
            normalize_axes(axis, 0)
        axes = tuple(range(x.ndim)) if axis is None or x.ndim == 0 else (normalize_axis(axis, x.ndim),)
        value = x.read()
        if value.type.dtype == F16:
            value = cast(trace, value, F32)
        shape = tuple(d for k, d in enumerate(x.shape) if k not in axes)
        if any(x.shape[k] == 0 for k in axes):
            raise ShapeError(f"attempt to get {name} of an empty sequence", loc=user_loc())
        check_not_empty(trace, [x.type.shape[k] for k in axes], f"attempt to get {name} of an empty sequence")
        if 0 in shape:
            made = fresh_array(trace, trace.op("empty", dtype=I64, shape=shape), None)
        elif not axes:
            made = fresh_array(trace, trace.const(0, I64), None)
        else:
            made = fresh_array(trace, trace.op(name, value, axes=axes), None)
        return delivered(x, axes, made, out, keepdims)

    implements(function, method=name)(method)


_position("argmax", np.argmax)
_position("argmin", np.argmin)


# --- running results ---------------------------------------------------------------------------------------


def _running(name: str, ufunc: np.ufunc, function: Any, cumulative: Any) -> None:
    def method(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Traced:
        x = as_traced(a)
        if axis is None or x.ndim == 0:
            if axis is not None and operator.index(axis) not in (0, -1):
                raise np.exceptions.AxisError(axis, 0)
            x, axis = x.as_array().ravel(), 0
        return accumulate(ufunc, x, axis, dtype, out)

    def function_2(
        x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None, include_initial: bool = False
    ) -> Any:
        array = as_traced(x)
        if array.ndim == 0:
            array = array.as_array().view("reshape", shape=(1,))
        if axis is None:
            if array.ndim > 1:
                raise ValueError(
                    "For arrays which have more than one dimension ``axis`` argument is required."
                )
            axis = 0
        if not include_initial:
            return accumulate(ufunc, array, axis, dtype, out)
        return _with_initial(ufunc, array, normalize_axis(axis, array.ndim), dtype, out)

    implements(function, method=name)(method)
    implements(cumulative)(function_2)


def _with_initial(ufunc: np.ufunc, x: Traced, axis: int, dtype: Any, out: Any) -> Traced:
    """Running results behind the identity; as NumPy does, into an array of the item before the first."""
    made = accumulate(ufunc, x, axis, dtype)
    target = single_out(out)
    shape = tuple(d + (k == axis) for k, d in enumerate(x.shape))
    if target is None:
        target = np.empty_like(made, shape=shape)  # type: ignore[assignment,call-overload]
    elif target.shape != shape:
        raise ShapeError(f"out has shape {target.shape}, the result {shape}", loc=user_loc())
    assert isinstance(target, Traced)
    before: list[Any] = [slice(None)] * x.ndim
    before[axis] = 0
    after = list(before)
    after[axis] = slice(1, None)
    target[tuple(before)] = ufunc.identity
    target[tuple(after)] = made
    return target


_running("cumsum", np.add, np.cumsum, np.cumulative_sum)
_running("cumprod", np.multiply, np.cumprod, np.cumulative_prod)
