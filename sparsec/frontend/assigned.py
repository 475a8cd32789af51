"""What `a[key] = value` stores: the right side, converted as NumPy converts it and shaped like what is written."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np

from sparsec.errors import ShapeError, wrap
from sparsec.frontend.array import Traced
from sparsec.frontend.convert import PYTHON_NUMBERS, as_traced, broadcast, cast, operand
from sparsec.frontend.locate import user_loc
from sparsec.frontend.symbolic import broadcast_shapes
from sparsec.frontend.trace import Trace
from sparsec.ir.dims import Poly, shape_text
from sparsec.ir.graph import Value
from sparsec.ir.types import DType


def assigned(trace: Trace, value: Any, region: Traced) -> Value:
    """The right side of an assignment as a value that fits the region (leading axes of length 1 may go)."""
    if type(value) in PYTHON_NUMBERS:
        return assigned_number(trace, value, region)
    array = as_traced(value)
    if array.is_scalar and array.weak is not int and _through_int(array, region.dtype):
        return _as_int(trace, array, region.dtype)
    return fit(trace, operand(trace, array, region.dtype) if array.weak else array.read(), region.shape)


def _through_int(x: Traced, target: DType) -> bool:
    """Whether `a[0] = x` makes a Python int of the scalar first, which has to exist and to fit."""
    if target.kind not in "iu":
        return False
    return x.weak is float if x.weak else checked_scalar(x.dtype, target)


@functools.cache
def checked_scalar(source: DType, target: DType) -> bool:
    """Whether the NumPy at hand checks scalars of one dtype that are stored into another, or just casts them."""
    limits = np.iinfo(source) if source.kind in "iu" else np.finfo(source) if source.kind in "fc" else None
    held = np.zeros((), target)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            for extreme in () if limits is None else (limits.min, limits.max):
                held[()] = source.type(extreme)
        except OverflowError:
            return True
    return False


def _as_int(trace: Trace, x: Traced, target: DType) -> Value:
    """A scalar as the Python int that is stored: NaN and infinities have none, others may not fit."""
    value = trace.op("real", x.value) if x.dtype.kind == "c" else x.value
    source, limits = value.type.dtype, np.iinfo(target)
    fits = []
    if source.kind == "f":
        trace.ops("check", trace.op("logical_not", trace.op("isnan", value)), kind="value",
                  message="cannot convert float NaN to integer")
        value = trace.op("trunc", value)
        fits.append(trace.op("greater_equal", value, trace.const(float(limits.min), source)))
        fits.append(trace.op("less", value, trace.const(float(limits.max) + 1.0, source)))
    else:
        held = np.iinfo(source)
        if held.min < limits.min:
            fits.append(trace.op("greater_equal", value, trace.const(int(limits.min), source)))
        if held.max > limits.max:
            fits.append(trace.op("less_equal", value, trace.const(int(limits.max), source)))
    for test in fits:
        trace.ops("check", test, kind="overflow", message=f"Python integer out of bounds for {target}")
    return cast(trace, value, target)


def assigned_number(trace: Trace, value: Any, region: Traced) -> Value:
    """A Python number stored as `a[0] = value` stores it: ints must fit, floats truncate, NaN to int raises."""
    held = np.zeros((), region.dtype)
    with np.errstate(all="ignore"):
        try:
            held[()] = value
        except (OverflowError, ValueError, TypeError) as error:
            raise wrap(error, user_loc()) or error from None
    return trace.const(held.item(), region.dtype)


def fit(trace: Trace, value: Value, shape: tuple[int, ...]) -> Value:
    """Broadcasts the right side of an assignment. Raises ShapeError with NumPy's words."""
    have = value.type.shape
    extra = len(have) - len(shape)
    if extra > 0 and all(d == 1 for d in have[:extra]):
        value = trace.op("reshape", value, shape=have[extra:])
        have = have[extra:]
    try:
        found = broadcast_shapes(have, shape)  # checks lengths that only the run knows
        fits = len(found) == len(shape) and all(f == d or isinstance(d, Poly) for f, d in zip(found, shape))
    except ShapeError:
        fits = False
    if not fits:
        raise ShapeError(
            f"could not broadcast input array from shape {shape_text(have)} into shape {shape_text(shape)}",
            loc=user_loc(),
        )
    return broadcast(trace, value, shape)
