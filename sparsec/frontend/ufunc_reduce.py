"""`ufunc.reduce`: folding axes.

A reduction that has an op runs it on the array in memory order, so that the result has NumPy's layout and
long sums add neighbours. Other ufuncs are reduced by their own elementwise form: in halves where that gives
NumPy's bits, one element after the other where the axis is short.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from sparsec.errors import ShapeError, UnsupportedDtype, UnsupportedError, wrap
from sparsec.frontend.array import Traced
from sparsec.frontend.convert import PYTHON_NUMBERS, as_traced, broadcast, cast, full, np_dtype, number
from sparsec.frontend.layout import in_c_order, order_like, order_of, stand_in
from sparsec.frontend.locate import user_loc
from sparsec.frontend.symbolic import check_not_empty
from sparsec.frontend.trace import Trace
from sparsec.frontend.ufunc_rules import compute
from sparsec.frontend.ufuncs import fresh_array, store
from sparsec.ir.graph import Value
from sparsec.ir.types import BOOL, F16, F32, DType, is_supported

#: What NumPy's functions have as the default of `initial`, `keepdims` and `where`.
NO_VALUE = np._NoValue  # type: ignore[attr-defined]

#: ufunc -> the op that folds axes with it.
_FOLDS = {
    "add": "sum",
    "multiply": "prod",
    "maximum": "max",
    "minimum": "min",
    "logical_and": "all",
    "logical_or": "any",
}
#: What the extrema of float16 are folded with, as float32: of zeros of both signs NumPy keeps the first there.
HALF_FOLDS = {"max": "first_max", "min": "first_min", "cummax": "first_cummax", "cummin": "first_cummin"}

#: Grouping does not matter to these, so they can be reduced in halves.
_ASSOCIATIVE = {"bitwise_and", "bitwise_or", "bitwise_xor", "logical_xor", "gcd", "fmax", "fmin"}
#: … and NumPy says so of these that have no identity: they take several axes.
_ANY_ORDER = {"maximum", "minimum", "fmax", "fmin"}
#: The longest axis that is reduced or accumulated one element after the other.
MOST_STEPS = 64


def refuse(what: str, hint: str = "") -> UnsupportedError:
    """The error for a function or argument value that is not supported."""
    return UnsupportedError(f"{what} is not supported", loc=user_loc(), hint=hint)


def normalize_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes that `axis` (None, an int or a tuple) names, ascending. Raises AxisError, ValueError."""
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, tuple):
        axes = tuple(normalize_axis(a, ndim) for a in axis)
        if len(set(axes)) != len(axes):
            raise ValueError("duplicate value in 'axis'")
        return tuple(sorted(axes))
    if ndim == 0 and operator.index(axis) in (0, -1):
        return ()
    return (normalize_axis(axis, ndim),)


def normalize_axis(axis: Any, ndim: int) -> int:
    """`axis` counted from the front. Raises AxisError."""
    axis = operator.index(axis)
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim)
    return axis + ndim if axis < 0 else axis


def single_out(out: Any) -> Traced | None:
    """The `out` argument as NumPy's protocols pass it: an array, a tuple of one, or None."""
    if isinstance(out, tuple):
        (out,) = out
    if out is None or out is Ellipsis:
        return None
    if not isinstance(out, (Traced, np.ndarray)):
        raise TypeError("output must be an array")
    return as_traced(out)


# --- reduce ----------------------------------------------------------------------------------------------


def reduce(
    ufunc: np.ufunc,
    a: Any,
    axis: Any = 0,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = NO_VALUE,
    where: Any = True,
) -> Traced:
    """`ufunc.reduce`. Raises what NumPy raises; UnsupportedError for a ufunc with no fold on a long axis."""
    if ufunc.nin != 2 or ufunc.nout != 1:
        raise ValueError("reduce only supported for binary functions")
    x = as_traced(a)
    where = True if where is NO_VALUE else where
    target = single_out(out)
    loop, result = reduction_dtypes(ufunc, x, dtype, target)
    axes = normalize_axes(axis, x.ndim)
    if len(axes) > 1 and ufunc.identity is None and ufunc.__name__ not in _ANY_ORDER:
        raise ValueError(
            f"reduction operation '{ufunc.__name__}' is not reorderable, so at most one axis may be specified"
        )
    return delivered(x, axes, _reduce(ufunc, x, loop, result, axes, initial, where), out, keepdims)


def delivered(x: Traced, axes: tuple[int, ...], made: Traced, out: Any, keepdims: Any) -> Traced:
    """What a fold of `axes` of `x` returns of the array `made`: with those axes again, in `out`, or a scalar."""
    made = with_axes(x, axes, made, keepdims)
    target = single_out(out)
    if target is not None:
        return cast_into(target, made)
    # out=... asks for an array
    return made if made.shape or out is not None else Traced.scalar(x.trace, made.read())


def cast_into(target: Traced, made: Traced) -> Traced:
    """NumPy casts the result of a reduction to `out` without asking."""
    if target.shape != made.shape:
        raise ValueError(
            f"output parameter for reduction operation has the wrong shape: {target.shape}, not {made.shape}"
        )
    store(made.trace, target, made.read())
    return target


def with_axes(x: Traced, axes: tuple[int, ...], made: Any, keepdims: Any) -> Any:
    """`made`, from which `axes` of `x` are gone; with axes of length 1 in their place where `keepdims` says so."""
    if keepdims is NO_VALUE or not operator.index(keepdims) or not x.ndim:
        return made
    shape = tuple(1 if k in axes else d for k, d in enumerate(x.shape))
    return (made.as_array() if made.is_scalar else made).view("reshape", shape=shape)


def reduction_dtypes(ufunc: np.ufunc, x: Traced, dtype: Any, out: Traced | None) -> tuple[DType, DType]:
    """(dtype of the elements, dtype of the result) of NumPy's reduction loop."""
    options: dict[str, Any] = {}
    if dtype is not None:
        wanted = np_dtype(dtype)
        options["signature"] = (wanted, None, None)
    first = out.dtype if out is not None and dtype is None else None
    try:
        found = ufunc.resolve_dtypes((first, x.dtype, None), reduction=True, casting="unsafe", **options)
    except (TypeError, ValueError) as error:
        raise wrap(error, user_loc()) or error from None
    if not all(is_supported(d) for d in found):
        raise UnsupportedDtype(f"np.{ufunc.__name__}.reduce would compute in {found[0]}", loc=user_loc())
    return found[1], found[2]


def _reduce(
    ufunc: np.ufunc, x: Traced, loop: DType, result: DType, axes: tuple[int, ...], initial: Any, where: Any
) -> Traced:
    """A new array with `axes` folded away."""
    trace = x.trace
    start = _start(trace, initial, loop)
    perm = _folding_order(x, axes)
    value = cast(trace, x.read(), loop)
    if where is not True:
        value = _masked(trace, ufunc, value, where, start)
    if perm is None:
        perm = tuple(range(x.ndim))
    else:
        value = trace.op("transpose", value, perm=perm)
    folded = tuple(k for k, p in enumerate(perm) if p in axes)
    kept = [p for p in perm if p not in axes]
    shape = tuple(x.shape[p] for p in kept)
    if any(value.type.shape[k] == 0 for k in folded):
        made = full(trace, _empty_value(trace, ufunc, start, loop), shape)
    elif 0 in shape:
        made = trace.op("empty", dtype=result, shape=shape)
    else:
        if ufunc.identity is None and start is None:
            check_not_empty(trace, [value.type.shape[k] for k in folded], _none_to_fold(ufunc))
        made = _fold(trace, ufunc, value, folded)
        if not folded and ufunc is np.add and start is None:
            start = trace.const(0, loop)  # NumPy adds to 0, and 0.0 + -0.0 is 0.0
        if start is not None:
            (made,) = compute(trace, ufunc, [start, made], [made.type.dtype])
    made = cast(trace, made, result)
    # `kept` lists the result's axes outermost first; the layout names them by their place in the result.
    ranks = {axis: k for k, axis in enumerate(sorted(kept))}
    order = tuple(ranks[p] for p in kept)
    return fresh_array(trace, made, None if order == tuple(range(len(order))) else order)


def _folding_order(x: Traced, axes: tuple[int, ...]) -> tuple[int, ...] | None:
    """The axes of `x` in memory order, those that stay in the order that NumPy gives the result."""
    if x.ndim < 2 or in_c_order(x):
        return None
    stays = [k for k in range(x.ndim) if k not in axes]
    order = order_of(np.add.reduce(stand_in(x), axis=axes))
    kept = iter(stays if order is None else [stays[k] for k in order])
    whole = order_like([x], x.shape) or tuple(range(x.ndim))
    return tuple(next(kept) if p in stays else p for p in whole)


def _start(trace: Trace, initial: Any, loop: DType) -> Value | None:
    if initial is NO_VALUE or initial is None:
        return None
    if isinstance(initial, PYTHON_NUMBERS):
        return number(trace, initial, loop)
    first = as_traced(initial)
    if first.ndim:
        raise ShapeError("`initial` must be a scalar", loc=user_loc())
    return cast(trace, first.read(), loop)


def _masked(trace: Trace, ufunc: np.ufunc, value: Value, where: Any, start: Value | None) -> Value:
    """What the mask leaves out becomes an element that changes nothing."""
    mask = as_traced(where)
    if mask.dtype != BOOL:
        raise TypeError(
            f"Cannot cast array data from {mask.dtype!r} to dtype('bool') according to the rule 'safe'"
        )
    if ufunc.identity is None and start is None:
        raise ValueError(
            f"reduction operation '{ufunc.__name__}' does not have an identity, so to use a where mask "
            "one has to specify 'initial'"
        )
    shape = value.type.static_shape
    if np.broadcast_shapes(mask.shape, shape) != shape:
        raise ValueError(f"non-broadcastable where mask of shape {mask.shape} for an array of shape {shape}")
    neutral = trace.const(ufunc.identity, value.type.dtype) if ufunc.identity is not None else start
    assert neutral is not None
    return trace.op("where", broadcast(trace, mask.read(), shape), value, neutral)


def _empty_value(trace: Trace, ufunc: np.ufunc, start: Value | None, loop: DType) -> Value:
    """What folding no element gives. Raises ValueError where NumPy does."""
    if start is not None:
        return start
    if ufunc.identity is None:
        raise ValueError(_none_to_fold(ufunc))
    return trace.const(ufunc.identity, loop)


def _none_to_fold(ufunc: np.ufunc) -> str:
    return f"zero-size array to reduction operation {ufunc.__name__} which has no identity"


def _fold(trace: Trace, ufunc: np.ufunc, value: Value, axes: tuple[int, ...]) -> Value:
    """Folds at least one element per result."""
    name = ufunc.__name__
    if not axes:
        return trace.op("copy", cast(trace, value, BOOL) if name.startswith("logical") else value)
    if name in ("logical_and", "logical_or"):
        value = cast(trace, value, BOOL)
    dtype = value.type.dtype
    if dtype == F16 and name in _FOLDS:
        op = HALF_FOLDS.get(_FOLDS[name], _FOLDS[name])
        return cast(trace, trace.op(op, cast(trace, value, F32), axes=axes), F16)
    if dtype == BOOL:
        name = {
            "add": "logical_or",
            "multiply": "logical_and",
            "bitwise_or": "logical_or",
            "bitwise_and": "logical_and",
        }.get(name, name)
    if name in ("fmax", "fmin"):
        if dtype == F16:
            return cast(trace, _fold_numbers(trace, HALF_FOLDS[name[1:]], cast(trace, value, F32), axes), F16)
        if dtype.kind == "f":
            return _fold_numbers(trace, name[1:], value, axes)
        name = {"fmax": "maximum", "fmin": "minimum"}[name] if dtype.kind in "biu" else name
    if name in _FOLDS:
        return trace.op(_FOLDS[name], value, axes=axes)
    for axis in reversed(axes):
        value = _fold_by_parts(trace, ufunc, value, axis)
    return value


def _fold_numbers(trace: Trace, op: str, value: Value, axes: tuple[int, ...]) -> Value:
    """The extreme, by the fold `op`, of what is not NaN; NaN where nothing else is."""
    dtype = value.type.dtype
    missing = trace.op("isnan", value)
    worst = trace.const(-float("inf") if op.endswith("max") else float("inf"), dtype)
    best = trace.op(op, trace.op("where", missing, worst, value), axes=axes)
    return trace.op("where", trace.op("all", missing, axes=axes), trace.const(float("nan"), dtype), best)


def _fold_by_parts(trace: Trace, ufunc: np.ufunc, value: Value, axis: int) -> Value:
    """Folds one axis by the elementwise form of the ufunc."""
    count = value.type.static_shape[axis]
    if ufunc.__name__ in _ASSOCIATIVE:
        return _fold_by_halves(trace, ufunc, value, axis)
    if count > MOST_STEPS:
        raise refuse(f"np.{ufunc.__name__}.reduce over an axis of {count} elements (at most {MOST_STEPS})")
    total = part(trace, value, axis, 0, 1)
    for k in range(1, count):
        total = joined(trace, ufunc, total, part(trace, value, axis, k, 1))
    return _without(trace, total, axis)


def _fold_by_halves(trace: Trace, ufunc: np.ufunc, value: Value, axis: int) -> Value:
    """Halves the axis until one element is left; odd ones out are joined at the end."""
    rest: list[Value] = []
    count = value.type.static_shape[axis]
    while count > 1:
        if count % 2:
            rest.append(part(trace, value, axis, count - 1, 1))
        count //= 2
        value = joined(
            trace, ufunc, part(trace, value, axis, 0, count), part(trace, value, axis, count, count)
        )
    for last in rest:
        value = joined(trace, ufunc, value, last)
    return _without(trace, value, axis)


def joined(trace: Trace, ufunc: np.ufunc, x: Value, y: Value) -> Value:
    """The ufunc of two values of its loop's dtype."""
    (made,) = compute(trace, ufunc, [x, y], [x.type.dtype])
    return made


def part(trace: Trace, value: Value, axis: int, first: int, count: int) -> Value:
    """`count` elements along an axis."""
    shape = value.type.static_shape
    start, size = [0] * len(shape), list(shape)
    start[axis], size[axis] = first, count
    return trace.op("slice", value, start=tuple(start), size=tuple(size), step=(1,) * len(shape))


def _without(trace: Trace, value: Value, axis: int) -> Value:
    shape = value.type.static_shape
    return trace.op("reshape", value, shape=(*shape[:axis], *shape[axis + 1 :]))
