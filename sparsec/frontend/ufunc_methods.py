"""The methods of ufuncs on traced arrays: accumulate, outer and at here, reduce in `ufunc_reduce.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.convert import PYTHON_NUMBERS, as_traced, cast, number
from sparsec.frontend.layout import order_like
from sparsec.frontend.trace import Trace
from sparsec.frontend.ufunc_reduce import (
    HALF_FOLDS,
    MOST_STEPS,
    cast_into,
    joined,
    normalize_axis,
    part,
    reduce,
    reduction_dtypes,
    refuse,
    single_out,
)
from sparsec.frontend.ufuncs import apply_ufunc, fresh_array, store
from sparsec.ir.graph import Value
from sparsec.ir.types import BOOL, F16, F32

_SCANS = {"add": "cumsum", "multiply": "cumprod", "maximum": "cummax", "minimum": "cummin"}
_SCATTERS = {"add": "add", "multiply": "mul", "maximum": "max", "minimum": "min"}


def accumulate(ufunc: np.ufunc, a: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Traced:
    """`ufunc.accumulate`: running results along one axis."""
    if ufunc.nin != 2 or ufunc.nout != 1:
        raise ValueError("accumulate only supported for binary functions")
    x = as_traced(a)
    target = single_out(out)
    loop, result = reduction_dtypes(ufunc, x, dtype, target)
    if x.ndim == 0:
        raise TypeError("cannot accumulate on a scalar")
    at = normalize_axis(axis, x.ndim)
    trace = x.trace
    perm = order_like([x], x.shape)
    value = cast(trace, x.read(), loop)
    if perm is not None:
        value, at = trace.op("transpose", value, perm=perm), perm.index(at)
    made = fresh_array(trace, cast(trace, _scan(trace, ufunc, value, at), result), perm)
    return made if target is None else cast_into(target, made)


def _scan(trace: Trace, ufunc: np.ufunc, value: Value, axis: int) -> Value:
    name = ufunc.__name__
    if name.startswith("logical"):
        value = cast(trace, value, BOOL)
    dtype = value.type.dtype
    if dtype == BOOL:
        name = {
            "add": "maximum",
            "logical_or": "maximum",
            "multiply": "minimum",
            "logical_and": "minimum",
        }.get(name, name)
    if dtype == F16 and name in ("maximum", "minimum"):
        return cast(trace, trace.op(HALF_FOLDS[_SCANS[name]], cast(trace, value, F32), axis=axis), F16)
    if name in _SCANS and dtype != F16:
        return trace.op(_SCANS[name], value, axis=axis)
    count = value.type.static_shape[axis]
    if count > MOST_STEPS:
        raise refuse(
            f"np.{ufunc.__name__}.accumulate of {dtype} along an axis of {count} elements (at most {MOST_STEPS})"
        )
    made = Traced.fresh(trace, trace.op("copy", value))
    total = part(trace, value, axis, 0, 1) if count else value
    for k in range(1, count):
        total = joined(trace, ufunc, total, part(trace, value, axis, k, 1))
        start, size = [0] * made.ndim, list(made.shape)
        start[axis], size[axis] = k, 1
        step = made.view("slice", start=tuple(start), size=tuple(size), step=(1,) * made.ndim)
        store(trace, step, total)
    return made.read()


def outer(ufunc: np.ufunc, a: Any, b: Any, /, **kwargs: Any) -> Any:
    """`ufunc.outer`: every element of `a` with every element of `b`."""
    if ufunc.nin != 2:
        raise ValueError("outer product only supported for binary functions")
    second = b if type(b) in PYTHON_NUMBERS else as_traced(b)
    first = a if type(a) in PYTHON_NUMBERS else as_traced(a)
    if isinstance(first, Traced) and isinstance(second, Traced) and first.ndim and second.ndim:
        first = first.view("reshape", shape=first.shape + (1,) * second.ndim)
    return apply_ufunc(ufunc, (first, second), **kwargs)


def at(ufunc: np.ufunc, a: Any, indices: Any, b: Any = None, /) -> None:
    """`ufunc.at`: in place at indexes, once for each time that an index is named."""
    from sparsec.frontend.indexing.keys import Array, Mask, parse_key
    from sparsec.frontend.indexing.views import basic_view

    x = as_traced(a)
    x.trace.check_writable(x)
    inputs: tuple[Any, ...] = () if ufunc.nin == 1 else (b,)
    parts = parse_key(x, indices)
    if not any(isinstance(p, (Array, Mask)) for p in parts):
        region = basic_view(x, parts)
        apply_ufunc(ufunc, (region, *inputs), out=region)
        return
    masks = [p for p in parts if isinstance(p, Mask)]
    if masks:
        if len(parts) > 1 or (inputs and np.ndim(b) != 0):
            raise refuse(f"np.{ufunc.__name__}.at through a boolean mask combined with other arrays")
        apply_ufunc(ufunc, (x, *inputs), out=x, where=masks[0].mask)
        return
    _scatter_at(ufunc, x, parts, b)


def _scatter_at(ufunc: np.ufunc, x: Traced, parts: list[Any], b: Any) -> None:
    from sparsec.frontend.assigned import fit
    from sparsec.frontend.indexing.selection import select
    from sparsec.frontend.ufuncs import resolve

    name = {"subtract": "add", "logical_or": "maximum", "logical_and": "minimum"}.get(
        ufunc.__name__, ufunc.__name__
    )
    if name not in _SCATTERS or (ufunc.__name__.startswith("logical") and x.dtype != BOOL):
        raise refuse(f"np.{ufunc.__name__}.at", "np.add.at, subtract, multiply, maximum and minimum are")
    trace = x.trace
    source = b if type(b) in PYTHON_NUMBERS else as_traced(b)
    loop = resolve(ufunc, [x, source], [None], None, "unsafe")  # NumPy casts back without asking
    if loop[2] != x.dtype or x.dtype == F16:
        raise refuse(
            f"np.{ufunc.__name__}.at computing in {loop[2]} on an array of {x.dtype}",
            "cast the values to the array's dtype first",
        )
    chosen = select(x, parts)
    value = (
        number(trace, source, x.dtype)
        if type(source) in PYTHON_NUMBERS
        else cast(trace, source.read(), x.dtype)
    )
    new = fit(trace, value, chosen.shape)
    if ufunc.__name__ == "subtract":
        new = trace.op("neg", new)
    if 0 in chosen.shape:
        return
    trace.scatter(chosen.region, chosen.indexes, new, _SCATTERS[name])


def reduceat(ufunc: np.ufunc, *args: Any, **kwargs: Any) -> Any:
    """`ufunc.reduceat`: a program of slices that are reduced."""
    from sparsec.frontend.numpy_api import segments

    return segments.reduceat(ufunc, *args, **kwargs)


METHODS: dict[str, Callable[..., Any]] = {
    "reduce": reduce,
    "accumulate": accumulate,
    "outer": outer,
    "at": at,
    "reduceat": reduceat,
}
