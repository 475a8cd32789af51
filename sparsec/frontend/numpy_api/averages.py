"""Mean, variance and weighted average, step by step as NumPy computes them.

NumPy divides by a count that is an int64 scalar, not a Python number, so a float32 sum is divided in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsec.errors import DivisionByZero, ShapeError
from sparsec.frontend.array import Traced
from sparsec.frontend.convert import as_traced, cast, np_dtype
from sparsec.frontend.dispatch import implements
from sparsec.frontend.locate import user_loc
from sparsec.frontend.numpy_api.shapes import transposed
from sparsec.frontend.symbolic import value_of
from sparsec.frontend.ufunc_reduce import NO_VALUE, normalize_axes, reduce, single_out
from sparsec.ir.dims import Poly, product
from sparsec.ir.types import BOOL, F16, F32, F64, DType

_EMPTY = "invalid"  # the flag whose warning stands for NumPy's "Mean of empty slice"


def count_of(x: Traced, axes: tuple[int, ...], keepdims: Any, where: Any) -> Any:
    """How many elements each result has, as an int64."""
    if where is True or where is NO_VALUE:
        count = product(x.type.shape[k] for k in axes)
        if not isinstance(count, Poly):
            return np.int64(count)
        return Traced.scalar(x.trace, value_of(x.trace, count))
    mask = np.broadcast_to(as_traced(where), x.shape)  # type: ignore[call-overload]
    return reduce(np.add, mask, axes, np.int64, keepdims=keepdims)


def warn_where(met: Any) -> None:
    """A RuntimeWarning from each call in which `met` is true somewhere."""
    if isinstance(met, Traced):
        value = cast(met.trace, met.read(), BOOL)
        if 0 not in met.shape:
            met.trace.ops("note", value, flag=_EMPTY)
    elif met:
        warn_where(as_traced(np.True_))


def over(total: Any, count: Any, dtype: DType, out: Any = None) -> Any:
    """total / count in NumPy's common dtype of both, as `dtype`."""
    return into(np.true_divide(total, count), dtype, out)


def into(result: Any, dtype: DType, out: Any = None) -> Any:
    """`result` as `dtype`, a scalar or an array as it was; or in `out`, by unsafe casting."""
    target: Any = single_out(out)
    if target is not None:
        if target.shape != result.shape:
            raise ShapeError(
                f"output parameter has the wrong shape: {target.shape}, not {result.shape}", loc=user_loc()
            )
        np.copyto(target, result, casting="unsafe")  # type: ignore[call-overload]
        return target
    return result if result.dtype == dtype else result.astype(dtype)


def _sum_dtype(x: Traced, dtype: Any) -> DType | None:
    if dtype is None and x.dtype.kind in "biu":
        return F64
    return None if dtype is None else np_dtype(dtype)


@implements(np.mean, method="mean")
def mean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
) -> Any:
    """The sum over the count; of float16 summed in float32."""
    x = as_traced(a)
    axes = normalize_axes(axis, x.ndim)
    count = count_of(x, axes, keepdims, where)
    warn_where(count == 0)
    work = F32 if dtype is None and x.dtype == F16 else _sum_dtype(x, dtype)
    target = single_out(out)
    if target is not None and work is None:
        work = np.result_type(x.dtype, target.dtype)
    total = reduce(np.add, x, axes, work, None, keepdims, NO_VALUE, where)
    return over(total, count, F16 if work is F32 and x.dtype == F16 else total.dtype, out)


def degrees(ddof: Any, correction: Any) -> Any:
    """What is taken off the count, by whichever name. Raises ValueError for both."""
    if correction is NO_VALUE:
        return ddof
    if ddof != 0:
        raise ValueError("ddof and correction can't be provided simultaneously.")
    return correction


@implements(np.var, method="var")
def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
) -> Any:
    """The mean square of the distances from the mean."""
    x = as_traced(a)
    ddof = degrees(ddof, correction)
    axes = normalize_axes(axis, x.ndim)
    count = count_of(x, axes, keepdims, where)
    warn_where(count <= ddof)
    work = _sum_dtype(x, dtype)
    if mean is NO_VALUE or mean is None:
        total = reduce(np.add, x, axes, work, None, True, NO_VALUE, where)
        spread = count.reshape(total.shape) if isinstance(count, Traced) and total.ndim else count
        mean = over(total, spread, total.dtype)
    away = np.subtract(x, mean)
    if x.dtype.kind in "fiu":
        away = np.square(away)
    elif away.dtype.kind == "c":
        away = np.square(away.real) + np.square(away.imag)
    else:
        away = np.multiply(away, away)
    total = reduce(np.add, away, axes, work, None, keepdims, NO_VALUE, where)
    return over(total, np.maximum(count - ddof, 0), total.dtype, out)


@implements(np.std, method="std")
def std(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
    mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
) -> Any:
    """The square root of the variance."""
    square = var(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction)
    return into(np.sqrt(square), square.dtype, out)


@implements(np.average)
def average(
    a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = NO_VALUE
) -> Any:
    """The mean, weighted; weights that sum to zero raise an error when the function runs."""
    x = as_traced(a)
    if weights is None:
        result = mean(x, axis, keepdims=keepdims)
        if result.size == 0:
            raise DivisionByZero("division by zero: the average has no elements", loc=user_loc())
        scale: Any = result.dtype.type(x.size / result.size)
    else:
        factor = _weights(x, as_traced(weights), axis)
        dtype = np.result_type(x.dtype, factor.dtype, *(["f8"] if x.dtype.kind in "biu" else []))
        scale = reduce(np.add, factor, axis, dtype, None, keepdims)
        if scale.size:
            nonzero = (scale != 0.0).read()
            scale.trace.ops(
                "check", nonzero, kind="zero-division", message="Weights sum to zero, can't be normalized"
            )
        result = reduce(np.add, np.multiply(x, factor, dtype=dtype), axis, None, None, keepdims) / scale
    if not returned:
        return result
    if isinstance(scale, np.generic) or scale.shape != result.shape:
        scale = np.broadcast_to(as_traced(scale), result.shape).copy() if result.ndim else as_traced(scale)  # type: ignore[call-overload]
    return result, scale


def _weights(x: Traced, weights: Traced, axis: Any) -> Traced:
    """The weights, laid along the axes they are for."""
    if weights.shape == x.shape:
        return weights
    if axis is None:
        raise TypeError("Axis must be specified when shapes of a and weights differ.")
    axes = tuple(normalize_axes(k, x.ndim)[0] for k in (axis if isinstance(axis, tuple) else (axis,)))
    if weights.shape != tuple(x.shape[k] for k in axes):
        raise ShapeError(
            "Shape of weights must be consistent with shape of a along specified axis.", loc=user_loc()
        )
    turned = transposed(weights, [int(k) for k in np.argsort(axes)])
    return turned.reshape(tuple(d if k in axes else 1 for k, d in enumerate(x.shape)))  # type: ignore[no-any-return]
