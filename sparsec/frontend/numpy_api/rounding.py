"""Rounding to decimals, clipping, and elementwise functions that NumPy builds from ufuncs."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.convert import as_traced
from sparsec.frontend.dispatch import implements
from sparsec.frontend.numpy_api.averages import into
from sparsec.frontend.numpy_api.creation import array
from sparsec.frontend.ufunc_reduce import NO_VALUE, refuse, single_out
from sparsec.frontend.ufuncs import apply_ufunc
from sparsec.ir.types import I64

_CLIP = np._core.umath.clip  # type: ignore[attr-defined]


@implements(np.round, np.around, method="round")
def round_(a: Any, decimals: Any = 0, out: Any = None) -> Any:
    """Scaled by a power of ten, rounded half to even, and scaled back."""
    x = as_traced(a)
    decimals = operator.index(decimals)
    if x.dtype.kind in "iu":
        return _round_integers(x, decimals, out)
    if x.dtype.kind == "b":
        if decimals != 0:
            raise TypeError("Cannot cast ufunc 'multiply' output from float64 to bool")
        return into(np.rint(x), np.rint(x).dtype, out)
    if x.dtype.kind == "c":
        made = np.empty_like(x.as_array())
        made.real[...] = round_(x.real, decimals)
        made.imag[...] = round_(x.imag, decimals)
        return into(made[()], x.dtype, out)
    if decimals == 0:
        return apply_ufunc(np.rint, (x,), out=single_out(out))
    there, back = (np.multiply, np.true_divide) if decimals > 0 else (np.true_divide, np.multiply)
    scale = 10.0 ** abs(decimals)
    return into(back(np.rint(there(x, scale)), scale), x.dtype, out)


def _round_integers(x: Traced, decimals: int, out: Any) -> Any:
    if decimals >= 0:
        return into(np.positive(x), x.dtype, out)
    scale = 10.0**-decimals
    return into(
        np.multiply(np.rint(np.true_divide(x, scale, dtype=np.float64)), scale).astype(x.dtype), x.dtype, out
    )


@implements(np.clip)
def clip(
    a: Any,
    a_min: Any = NO_VALUE,
    a_max: Any = NO_VALUE,
    out: Any = None,
    *,
    min: Any = NO_VALUE,
    max: Any = NO_VALUE,
    **kwargs: Any,
) -> Any:
    """np.clip, whose bounds have two names."""
    if a_min is NO_VALUE and a_max is NO_VALUE:
        a_min = None if min is NO_VALUE else min
        a_max = None if max is NO_VALUE else max
    elif a_min is NO_VALUE:
        raise TypeError("clip() missing 1 required positional argument: 'a_min'")
    elif a_max is NO_VALUE:
        raise TypeError("clip() missing 1 required positional argument: 'a_max'")
    elif min is not NO_VALUE or max is not NO_VALUE:
        raise ValueError(
            "Passing `min` or `max` keyword argument when `a_min` and `a_max` are provided is forbidden."
        )
    return clip_method(as_traced(a), a_min, a_max, out, **kwargs)


@implements(method="clip")
def clip_method(x: Traced, min: Any = None, max: Any = None, out: Any = None, **kwargs: Any) -> Any:
    """A Python int beyond the dtype is no bound at all."""
    if x.dtype.kind in "iu":
        info = np.iinfo(x.dtype)
        min = None if type(min) is int and min <= info.min else _held(min, "maximum", int(info.min))
        max = None if type(max) is int and max >= info.max else _held(max, "minimum", int(info.max))
    if min is None and max is None:
        return apply_ufunc(np.positive, (x,), out=out, **kwargs)
    if min is None:
        return apply_ufunc(np.minimum, (x, max), out=out, **kwargs)
    if max is None:
        return apply_ufunc(np.maximum, (x, min), out=out, **kwargs)
    return apply_ufunc(_CLIP, (x, min, max), out=out, **kwargs)


def _held(bound: Any, by: str, limit: int) -> Any:
    """A bound of np.clip; a Python int that the run tells goes no further than the limit of the dtype."""
    if not isinstance(bound, Traced) or bound.weak is not int or not -(1 << 63) <= limit < 1 << 63:
        return bound
    trace = bound.trace
    return Traced.scalar(trace, trace.op(by, bound.value, trace.const(limit, I64)), int)


@implements(np.fix)
def fix(x: Any, out: Any = None) -> Any:
    """Toward zero."""
    return np.trunc(as_traced(x), out=out)  # type: ignore[call-overload]


@implements(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """Numbers for NaN and infinities; in place where `copy` is false."""
    source: Any = as_traced(x)
    made: Any = array(source) if copy else source
    if source.dtype.kind not in "fc":
        return made if source.ndim else made[()]
    parts = (made.real, made.imag) if source.dtype.kind == "c" else (made,)
    info = np.finfo(parts[0].dtype)  # type: ignore[arg-type]
    high, low = (info.max if posinf is None else posinf), (info.min if neginf is None else neginf)
    for part in parts:
        is_nan, is_high, is_low = np.isnan(part), np.isposinf(part), np.isneginf(part)
        np.copyto(part, nan, where=is_nan)
        np.copyto(part, high, where=is_high)
        np.copyto(part, low, where=is_low)
    return made if source.ndim else made[()]


def _signed_infinity(function: Any, negative: bool) -> None:
    def rule(x: Any, out: Any = None) -> Any:
        values = as_traced(x)
        if values.dtype.kind == "c":
            raise TypeError(
                f"This operation is not supported for {values.dtype} values because it would be ambiguous."
            )
        infinite = np.isinf(values)
        sign = np.less(values, 0) if negative else np.greater(values, 0)
        return np.logical_and(infinite, sign, out=out)  # type: ignore[call-overload]

    implements(function)(rule)


_signed_infinity(np.isposinf, negative=False)
_signed_infinity(np.isneginf, negative=True)


@implements(np.sinc)
def sinc(x: Any) -> Any:
    """sin(pi x) / (pi x), 1 at 0."""
    source = as_traced(x)
    x = np.multiply(np.pi, source)
    y = np.where(x == 0, np.finfo(x.dtype).smallest_subnormal if x.dtype == np.float16 else 1.0e-20, x)
    y = y if y.dtype == x.dtype else y.astype(x.dtype)
    return (np.sin(y) / y)[()] if source.is_scalar else np.sin(y) / y


@implements(np.angle)
def angle(z: Any, deg: bool = False) -> Any:
    """The angle of a complex number; 0 or pi of a real one."""
    x = as_traced(z)
    if x.dtype.kind == "c":
        result = np.arctan2(x.imag, x.real)
    else:
        result = np.arctan2(np.multiply(x, 0) if x.dtype.kind in "biu" else 0.0, x)
    return result * (180 / np.pi) if deg else result


def _part(name: str, function: Any) -> None:
    def rule(val: Any) -> Any:
        return getattr(as_traced(val), name)

    implements(function)(rule)


_part("real", np.real)
_part("imag", np.imag)


@implements(np.iscomplex)
def iscomplex(x: Any) -> Any:
    """Whether the imaginary part is not 0."""
    values = as_traced(x)
    if values.dtype.kind == "c":
        return np.not_equal(values.imag, 0)
    return np.zeros_like(values.as_array(), dtype=bool)[()]


@implements(np.isreal)
def isreal(x: Any) -> Any:
    """Whether the imaginary part is 0."""
    return np.equal(as_traced(x).imag, 0)


@implements(np.iscomplexobj)
def iscomplexobj(x: Any) -> bool:
    """Whether the dtype is complex."""
    return as_traced(x).dtype.kind == "c"


@implements(np.isrealobj)
def isrealobj(x: Any) -> bool:
    """Whether the dtype is not complex."""
    return not iscomplexobj(x)


def _refused(function: Any, name: str, hint: str) -> None:
    def rule(*args: Any, **kwargs: Any) -> Any:
        raise refuse(name, hint)

    implements(function)(rule)


_refused(np.i0, "np.i0", "")
_refused(
    np.real_if_close, "np.real_if_close", "its dtype depends on the values; take `.real` where you mean it"
)


def _conjugate(x: Traced, *args: Any, **kwargs: Any) -> Any:
    """A real array is its own conjugate: the method gives it back, the ufunc copies."""
    if x.dtype.kind != "c" and not args and not kwargs:
        return x
    return apply_ufunc(np.conjugate, (x, *args), **kwargs)


implements(method="conj")(_conjugate)
implements(method="conjugate")(_conjugate)
