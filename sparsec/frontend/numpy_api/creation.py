"""Making arrays: zeros, full, array, copies and their `_like` forms."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sparsec.errors import TOO_BIG, ShapeError, UnsupportedError
from sparsec.frontend.array import Traced
from sparsec.frontend.convert import PYTHON_NUMBERS, as_traced, cast, full, np_dtype, number, operand
from sparsec.frontend.dispatch import holds_traced, implements
from sparsec.frontend.layout import MAX_RANK, order_like, order_of_copy
from sparsec.frontend.locate import user_loc
from sparsec.frontend.numpy_api.shapes import note_copy
from sparsec.frontend.symbolic import broadcast_shapes, length_dim
from sparsec.frontend.trace import Trace, require_trace
from sparsec.frontend.ufuncs import fresh_array
from sparsec.ir.dims import upper_bound
from sparsec.ir.graph import Value
from sparsec.ir.types import DType

Shape = int | Sequence[int]


def static_shape(shape: Any) -> tuple[Any, ...]:
    """A shape argument as dims. Raises as NumPy does for negative or huge ones."""
    if isinstance(shape, Traced):
        shape = tuple(shape) if shape.ndim else (shape,)
    dims = tuple(map(length_dim, shape)) if isinstance(shape, (tuple, list)) else (length_dim(shape),)
    if any(isinstance(d, int) and d < 0 for d in dims):
        raise ShapeError("negative dimensions are not allowed", loc=user_loc())
    check_size(dims, 1)
    return dims


def check_size(dims: Sequence[Any], itemsize: int) -> None:
    """Raises ShapeError for element counts that no address space holds, as NumPy does."""
    if len(dims) > MAX_RANK:
        raise ShapeError(f"arrays of rank {len(dims)} are not supported (at most {MAX_RANK})", loc=user_loc())
    if math.prod(upper_bound(d) or 1 for d in dims) * itemsize >= 1 << 63:
        raise ShapeError(TOO_BIG, loc=user_loc())


def allocate(
    trace: Trace, value: Value | None, shape: tuple[int, ...], dtype: DType, order: str = "C"
) -> Traced:
    """A new array of `shape` filled with a scalar, or not filled at all."""
    check_size(shape, dtype.itemsize)
    layout = order_like([], shape, order or "C")
    laid = shape if layout is None else tuple(shape[p] for p in layout)
    if value is None:
        return fresh_array(trace, trace.op("empty", dtype=dtype, shape=laid), layout)
    return fresh_array(trace, full(trace, value, laid), layout)


@implements(np.empty, creates=True)
def empty(
    shape: Shape, dtype: Any = float, order: str = "C", *, device: Any = None, like: Any = None
) -> Traced:
    return allocate(require_trace("np.empty"), None, static_shape(shape), np_dtype(dtype or float), order)


@implements(np.ndarray, creates=True)
def ndarray(
    shape: Shape, dtype: Any = float, buffer: Any = None, offset: int = 0, strides: Any = None, order: Any = None
) -> Traced:
    """The class itself makes an array that is not filled."""
    if buffer is not None or strides is not None or offset:
        raise UnsupportedError("np.ndarray over a buffer is not supported", loc=user_loc(),
                               hint="use views of an array, or np.lib.stride_tricks")
    return allocate(require_trace("np.ndarray"), None, static_shape(shape), np_dtype(dtype), order or "C")


@implements(np.zeros, creates=True)
def zeros(
    shape: Shape, dtype: Any = float, order: str = "C", *, device: Any = None, like: Any = None
) -> Traced:
    return _filled(shape, 0, np_dtype(dtype or float), order)


@implements(np.ones, creates=True)
def ones(
    shape: Shape, dtype: Any = None, order: str = "C", *, device: Any = None, like: Any = None
) -> Traced:
    return _filled(shape, 1, np_dtype(dtype or float), order)


def _filled(shape: Shape, value: int, dtype: DType, order: str) -> Traced:
    trace = require_trace("an array creation function")
    return allocate(trace, trace.const(value, dtype), static_shape(shape), dtype, order)


@implements(np.full, creates=True)
def full_(
    shape: Shape,
    fill_value: Any,
    dtype: Any = None,
    order: str = "C",
    *,
    device: Any = None,
    like: Any = None,
) -> Traced:
    trace = require_trace("np.full")
    dims = static_shape(shape)
    if dtype is None:
        dtype = fill_value.dtype if isinstance(fill_value, Traced) else np.asarray(fill_value).dtype
    made = allocate(trace, None, dims, np_dtype(dtype), order)
    copyto(made, fill_value, "unsafe")
    return made


def _like(
    a: Traced, dtype: Any, order: str, shape: Any
) -> tuple[tuple[int, ...], DType, tuple[int, ...] | None]:
    dims = a.shape if shape is None else static_shape(shape)
    layout = order_of_copy(a, order) if len(dims) == a.ndim else order_like([], dims, order)
    return dims, np_dtype(a.dtype if dtype is None else dtype), layout


def _new_like(a: Any, value: int | None, dtype: Any, order: str, shape: Any) -> Traced:
    source = as_traced(a)
    trace = source.trace
    dims, dtype, layout = _like(source, dtype, order, shape)
    laid = dims if layout is None else tuple(dims[p] for p in layout)
    if value is None:
        return fresh_array(trace, trace.op("empty", dtype=dtype, shape=laid), layout)
    return fresh_array(trace, full(trace, trace.const(value, dtype), laid), layout)


@implements(np.empty_like, creates=True)
def empty_like(
    prototype: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Traced:
    return _new_like(prototype, None, dtype, order, shape)


@implements(np.zeros_like, creates=True)
def zeros_like(
    a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *, device: Any = None
) -> Traced:
    return _new_like(a, 0, dtype, order, shape)


@implements(np.ones_like, creates=True)
def ones_like(
    a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *, device: Any = None
) -> Traced:
    return _new_like(a, 1, dtype, order, shape)


@implements(np.full_like, creates=True)
def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Traced:
    made = _new_like(a, None, dtype, order, shape)
    copyto(made, fill_value, "unsafe")
    return made


def literal(trace: Trace, values: np.ndarray) -> Traced:
    """A new array that starts with values known now."""
    np_dtype(values.dtype)
    flat = values.ravel().tolist()
    const = trace.const(flat[0] if values.size == 1 else tuple(flat), values.dtype, values.shape)
    return Traced.fresh(trace, trace.op("copy", const))


@implements(np.fromiter, creates=True)
def fromiter(iter: Iterable[Any], dtype: Any, count: int = -1, *, like: Any = None) -> Traced:
    """The numbers that an iterable gives, which is gone over while tracing."""
    found = list(itertools.islice(iter, count if count >= 0 else None))
    if len(found) < count:
        raise ValueError(f"iterator too short: Expected {count} but iterator had only {len(found)} items.")
    return array(found, dtype)


@implements(np.array, creates=True)
def array(
    object: Any,
    dtype: Any = None,
    *,
    copy: bool | None = True,
    order: str = "K",
    subok: bool = False,
    ndmin: int = 0,
    ndmax: int = 0,
    like: Any = None,
) -> Traced:
    """`np.array`: nested sequences of numbers and traced values, or a copy of an array."""
    trace = require_trace("np.array")
    if isinstance(object, (list, tuple)):
        made = _from_sequence(trace, object, dtype)
    else:
        source = as_traced(object)
        target = np_dtype(source.dtype if dtype is None else dtype)
        if isinstance(object, PYTHON_NUMBERS):
            made = Traced.fresh(trace, trace.op("copy", number(trace, object, target)))
        elif copy:
            made = astype(source.as_array(), target, order=order) if source.ndim else _zero_d(source, target)
        else:
            made = asarray(source, dtype, order)
            if copy is False and made.storage is not source.storage:
                raise ValueError("Unable to avoid copy while creating an array as requested.")
    if made.ndim < ndmin:
        made = made.view("reshape", shape=(1,) * (ndmin - made.ndim) + made.shape)
    return made


def _zero_d(source: Traced, dtype: DType) -> Traced:
    value = cast(source.trace, source.read(), dtype)
    return Traced.fresh(source.trace, source.trace.op("copy", value))


def _from_sequence(trace: Trace, items: Any, dtype: Any) -> Traced:
    """Nested lists: all numbers become one literal; traced parts are written into place."""
    if not holds_traced(items) and not _holds_ndarray(items):
        return literal(trace, np.array(items, dtype=dtype))
    parts = [
        p
        if isinstance(p, PYTHON_NUMBERS)
        else _from_sequence(trace, p, None)
        if isinstance(p, (list, tuple))
        else as_traced(p)
        for p in items
    ]
    shapes = {p.shape if isinstance(p, Traced) else () for p in parts}
    if len(shapes) != 1:
        raise ShapeError(
            "setting an array element with a sequence. The requested array has an inhomogeneous shape",
            loc=user_loc(),
        )
    # In a list, Python numbers count as what they are alone: [float32(1), 1] is float64.
    found = np.result_type(*(p.dtype if isinstance(p, Traced) else np.asarray(p).dtype for p in parts))
    made = allocate(trace, None, (len(parts), *shapes.pop()), np_dtype(found if dtype is None else dtype))
    for k, part in enumerate(parts):
        made[k] = part
    return made


def _holds_ndarray(items: Any) -> bool:
    if isinstance(items, np.ndarray):
        return True
    return isinstance(items, (list, tuple)) and any(_holds_ndarray(i) for i in items)


@implements(np.asarray, np.asanyarray, creates=True)
def asarray(
    a: Any,
    dtype: Any = None,
    order: Any = None,
    *,
    device: Any = None,
    copy: bool | None = None,
    like: Any = None,
) -> Traced:
    """The array itself where nothing changes; a copy where dtype or order do."""
    if copy or isinstance(a, (list, tuple, *PYTHON_NUMBERS)):
        return array(a, dtype, order=order or "K")
    source = as_traced(a)
    if source.is_scalar:
        return _zero_d(source, np_dtype(source.dtype if dtype is None else dtype))
    return astype(source, source.dtype if dtype is None else dtype, order=order or "K", copy=False)


@implements(np.ascontiguousarray, creates=True)
def ascontiguousarray(a: Any, dtype: Any = None, *, like: Any = None) -> Traced:
    made = asarray(a, dtype, "C")
    return made if made.ndim else made.view("reshape", shape=(1,))


@implements(np.asfortranarray, creates=True)
def asfortranarray(a: Any, dtype: Any = None, *, like: Any = None) -> Traced:
    made = asarray(a, dtype, "F")
    return made if made.ndim else made.view("reshape", shape=(1,))


@implements(np.astype)
def np_astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Traced:
    return astype(as_traced(x), dtype, copy=copy)


@implements(method="astype")
def astype(
    x: Traced, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True
) -> Traced:
    target = np_dtype(dtype)
    if not np.can_cast(x.dtype, target, casting):  # type: ignore[arg-type]
        raise TypeError(
            f"Cannot cast array data from {x.dtype!r} to {target!r} according to the rule '{casting}'"
        )
    if x.is_scalar:
        return Traced.scalar(x.trace, cast(x.trace, x.value, target))
    layout = order_of_copy(x, order)
    if not copy and target == x.dtype and (order == "K" or _has_layout(x, layout)):
        return x
    value = x.read()
    if layout is not None:
        value = x.trace.op("transpose", value, perm=layout)
    value = x.trace.op("copy", value) if target == x.dtype else cast(x.trace, value, target)
    made = fresh_array(x.trace, value, layout)
    if not copy and target == x.dtype:
        note_copy(made, _laid(x, layout), (x.size,))
    return made


def _has_layout(x: Traced, layout: tuple[int, ...] | None) -> bool:
    return _laid(x, layout).c_contiguous


def _laid(x: Traced, layout: tuple[int, ...] | None) -> Traced:
    return x if layout is None else x.view("transpose", perm=layout)


@implements(np.copy, creates=True)
def copy(a: Any, order: str = "K", subok: bool = False) -> Traced:
    return array(a, order=order)


@implements(method="copy")
def copy_method(x: Traced, order: str = "C") -> Traced:
    return x if x.is_scalar else astype(x, x.dtype, order=order)


@implements(method="fill")
def fill(x: Traced, value: Any) -> None:
    x.as_array()[...] = value  # of a scalar, NumPy fills a copy


@implements(np.copyto)
def copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    from sparsec.frontend.ufuncs import store

    target = as_traced(dst)
    source = src if isinstance(src, PYTHON_NUMBERS) else as_traced(src)
    if not isinstance(source, Traced):
        value = target.trace.const(_copied_number(source, target.dtype, casting), target.dtype)
    elif source.weak:
        _copied_number(source.weak(0), target.dtype, casting)
        value = operand(target.trace, source, target.dtype)
    else:
        if not np.can_cast(source.dtype, target.dtype, casting):  # type: ignore[arg-type]
            raise TypeError(
                f"Cannot cast array data from {source.dtype!r} to {target.dtype!r} according to the rule "
                f"'{casting}'"
            )
        value = source.read()
        if broadcast_shapes(value.type.shape, target.shape) != target.shape:
            raise ShapeError(
                f"could not broadcast input array from shape {source.shape} into shape {target.shape}"
            )
    store(target.trace, target, value, where)


def _copied_number(x: Any, dtype: DType, casting: str) -> Any:
    """A Python number as np.copyto takes it. Raises what NumPy raises."""
    held = np.zeros((), dtype)
    np.copyto(held, x, casting=casting)  # type: ignore[arg-type]
    return held.item()


@implements(np.eye, creates=True)
def eye(
    N: int,
    M: int | None = None,
    k: int = 0,
    dtype: Any = float,
    order: str = "C",
    *,
    device: Any = None,
    like: Any = None,
) -> Traced:
    rows = operator.index(N)
    made = _filled((rows, rows if M is None else operator.index(M)), 0, np_dtype(dtype), order)
    diagonal = made.view("diagonal", offset=operator.index(k), axis1=0, axis2=1)
    diagonal[...] = 1
    return made


@implements(np.identity, creates=True)
def identity(n: int, dtype: Any = None, *, like: Any = None) -> Traced:
    return eye(n, dtype=dtype or float)
