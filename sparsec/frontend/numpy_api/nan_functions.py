"""Reductions that leave NaN out."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.convert import as_traced
from sparsec.frontend.dispatch import implements
from sparsec.frontend.numpy_api.averages import degrees, into, over, var, warn_where
from sparsec.frontend.ufunc_reduce import NO_VALUE, normalize_axes, reduce
from sparsec.ir.types import I64


def without_nan(a: Any, value: float) -> tuple[Traced, Traced | None]:
    """The array with `value` for NaN, and where there was one; None for dtypes that have none."""
    x: Any = as_traced(a)
    if x.dtype.kind not in "fc":
        return x, None
    mask: Any = np.isnan(x)
    source = x.as_array()
    filled = source.copy(order="K")
    np.copyto(filled, value, where=mask)
    return filled, mask


def _filled(function: Any, plain: Any, value: int) -> None:
    def rule(
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        keepdims: Any = NO_VALUE,
        initial: Any = NO_VALUE,
        where: Any = NO_VALUE,
    ) -> Traced:
        return reduce(plain, without_nan(a, value)[0], axis, dtype, out, keepdims, initial, where)

    implements(function)(rule)


def _running(function: Any, plain: Any, value: int) -> None:
    def rule(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        return plain(without_nan(a, value)[0], axis=axis, dtype=dtype, out=out)

    implements(function)(rule)


def _extreme(function: Any, ufunc: np.ufunc) -> None:
    def rule(
        a: Any,
        axis: Any = None,
        out: Any = None,
        keepdims: Any = NO_VALUE,
        initial: Any = NO_VALUE,
        where: Any = NO_VALUE,
    ) -> Traced:
        result = reduce(ufunc, a, axis, None, out, keepdims, initial, where)
        if result.dtype.kind in "fc":
            warn_where(np.isnan(result))
        return result

    implements(function)(rule)


def _position(function: Any, plain: Any, value: float) -> None:
    def rule(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = NO_VALUE) -> Traced:
        filled, mask = without_nan(a, value)
        if mask is not None and mask.size:
            some = np.logical_not(np.all(mask, axis=axis))
            some.trace.ops("check", some.read(), kind="value", message="All-NaN slice encountered")
        return plain(filled, axis=axis, out=out, keepdims=keepdims)  # type: ignore[no-any-return]

    implements(function)(rule)


_filled(np.nansum, np.add, 0)
_filled(np.nanprod, np.multiply, 1)
_running(np.nancumsum, np.cumsum, 0)
_running(np.nancumprod, np.cumprod, 1)
_extreme(np.nanmax, np.fmax)
_extreme(np.nanmin, np.fmin)
_position(np.nanargmax, np.argmax, -np.inf)
_position(np.nanargmin, np.argmin, np.inf)


@implements(np.nanmean)
def nanmean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = NO_VALUE,
    *,
    where: Any = NO_VALUE,
) -> Any:
    """The mean of what is not NaN."""
    filled, mask = without_nan(a, 0)
    if mask is None:
        return np.mean(filled, axis=axis, dtype=dtype, out=out, keepdims=keepdims, where=where)
    _needs_inexact(dtype, out)
    count: Any = reduce(np.add, np.logical_not(mask), axis, I64, None, keepdims, NO_VALUE, where)
    total = reduce(np.add, filled, axis, dtype, None, keepdims, NO_VALUE, where)
    warn_where(count == 0)
    return over(total, count, total.dtype, out)


def _needs_inexact(dtype: Any, out: Any) -> None:
    if dtype is not None and np.dtype(dtype).kind not in "fc":
        raise TypeError("If a is inexact, then dtype must be inexact")
    if out is not None and out.dtype.kind not in "fc":
        raise TypeError("If a is inexact, then out must be inexact")


@implements(np.nanvar)
def nanvar(
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
    """The variance of what is not NaN; NaN where too few are left."""
    filled, mask = without_nan(a, 0)
    if mask is None:
        return var(filled, axis, dtype, out, ddof, keepdims, where=where, mean=mean, correction=correction)
    _needs_inexact(dtype, out)
    ddof = degrees(ddof, correction)
    axes = normalize_axes(axis, filled.ndim)
    valid = np.logical_not(mask)
    count: Any = reduce(np.add, valid, axes, I64, None, True, NO_VALUE, where)
    if mean is NO_VALUE:
        total = reduce(np.add, filled, axes, dtype, None, True, NO_VALUE, where)
        mean = over(total, count, total.dtype)
    away = into(np.subtract(filled, mean), filled.dtype)
    away = np.where(mask, away.dtype.type(0), away)
    square = np.square(away) if away.dtype.kind != "c" else np.multiply(away, np.conjugate(away)).real
    total = reduce(np.add, square, axes, dtype, None, keepdims, NO_VALUE, where)
    free = np.reshape(count, total.shape) - ddof if total.ndim else count.reshape(())[()] - ddof
    result = over(total, free, total.dtype)
    few = np.less_equal(free, 0)
    warn_where(few)
    return into(np.where(few, np.nan, result)[()], result.dtype, out)


@implements(np.nanstd)
def nanstd(
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
    """The square root of `nanvar`."""
    square = nanvar(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction)
    return into(np.sqrt(square), square.dtype, out)
