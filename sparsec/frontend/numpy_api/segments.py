"""`ufunc.reduceat`: reductions of neighbouring stretches of an axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.convert import as_traced
from sparsec.frontend.numpy_api.support import (
    as_int64,
    axis_index,
    axis_to,
    bound,
    deliver,
    new_array,
    strong,
    unsupported_argument,
)
from sparsec.frontend.programs import loop, staged
from sparsec.frontend.ufunc_reduce import reduction_dtypes, single_out
from sparsec.ir.types import I64

#: Ufuncs whose NumPy loops take the elements one after the other (np.power's, for one, does not).
_IN_ORDER = ("add", "subtract", "multiply", "maximum", "minimum", "fmax", "fmin", "logical_and", "logical_or",
             "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor", "gcd", "lcm")


@staged
def _fill(made: Any, ufunc: Any, x: Any, starts: Any, ends: Any, dtype: Any) -> None:
    """made[k]: x from starts[k] to ends[k] one after the other, or only the first of it. As NumPy adds: to the first
    the pairwise sum of the others."""
    for k in loop(0, starts.shape[0]):
        first, end = starts[k], ends[k]
        total = x[first].astype(dtype)
        if ufunc is np.add:
            if first + 1 < end:
                total = total + x[first + 1 : end].sum(axis=0, dtype=dtype)
        else:
            for j in loop(first + 1, end):
                total = ufunc(total, x[j], dtype=dtype)
        made[k] = total


def reduceat(
    ufunc: np.ufunc, array: Any, indices: Any, axis: int = 0, dtype: Any = None, out: Any = None
) -> Traced:
    """Each stretch goes to the next index, or is one element where that is not behind it."""
    if ufunc.nin != 2 or ufunc.nout != 1:
        raise ValueError("reduceat only supported for binary functions")
    if ufunc.__name__ not in _IN_ORDER:
        raise unsupported_argument("ufunc.reduceat", f"np.{ufunc.__name__}")
    x, starts = strong(array), as_int64(strong(indices))
    if x.ndim == 0:
        raise TypeError("cannot reduceat on a scalar")
    if starts.ndim != 1:
        raise ValueError("object too deep for desired array" if starts.ndim else "object of too small depth")
    trace, target = x.trace, single_out(out)
    at = axis_index(axis, x.ndim)
    computed, result = reduction_dtypes(ufunc, x, dtype, target)
    rows = axis_to(x, at, 0)
    stop = as_traced(bound(trace, rows.shape[0]))
    first = starts.read()
    inside = trace.op("logical_and", trace.op("greater_equal", first, trace.const(0, I64)),
                      trace.op("less", first, stop.read()))
    trace.check(inside, "index", f"index out-of-bounds in {ufunc.__name__}.reduceat [0, {rows.shape[0]})")
    shape = list(x.shape)
    shape[at] = starts.shape[0]
    made = new_array(trace, tuple(shape), result)
    ends = np.append(starts[1:], stop.astype(I64))  # type: ignore[call-overload]
    _fill(axis_to(made, at, 0), ufunc, rows, starts, ends, computed)
    return deliver(made, out if target is None else target, f"np.{ufunc.__name__}.reduceat")
