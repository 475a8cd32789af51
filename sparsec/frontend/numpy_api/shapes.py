"""Functions that change how an array is seen: reshape, transpose, flip, diagonal and their kin.

Whether the result is a view or a copy is part of the meaning: a later write goes through a view and not
through a copy. Each function here gives a view exactly where NumPy does.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsec.errors import ShapeError, SparsecError, UnsupportedError
from sparsec.frontend.array import Traced
from sparsec.frontend.control.aliases import mark_copy
from sparsec.frontend.convert import as_traced, np_dtype
from sparsec.frontend.dispatch import implements, method
from sparsec.frontend.layout import order_of_copy
from sparsec.frontend.locate import user_loc
from sparsec.frontend.symbolic import length_dim, same_dim, symbol_of, value_of
from sparsec.frontend.trace import Trace, require_trace
from sparsec.frontend.ufunc_reduce import NO_VALUE, normalize_axis, refuse
from sparsec.frontend.ufuncs import fresh_array
from sparsec.ir.dims import Dim, Poly, lower_bound, product, quotient, shape_text, upper_bound
from sparsec.ir.ops.view import LAST_CONTIGUOUS
from sparsec.ir.remarks import Topic, remark_value
from sparsec.ir.tensorref import surely_copied
from sparsec.ir.types import I64


def same(x: Traced) -> Traced:
    """A new view object of the whole array."""
    return Traced(
        x.trace, x.type, storage=x.storage, steps=x.steps, value=x.value, weak=x.weak, readonly=x.readonly
    )


def transposed(x: Traced, perm: Sequence[int]) -> Traced:
    """The view whose axis k is axis perm[k] of `x`."""
    return x.view("transpose", perm=tuple(perm))


def f_contiguous(x: Traced) -> bool:
    """Whether the elements are consecutive in Fortran order."""
    return x.is_scalar or transposed(x, range(x.ndim)[::-1]).c_contiguous


# --- reshape, ravel ----------------------------------------------------------------------------------------


def _dims(shape: Any) -> tuple[Any, ...]:
    if isinstance(shape, Traced):
        shape = tuple(shape) if shape.ndim else (shape,)
    given = shape if isinstance(shape, (tuple, list)) else (shape,)
    return tuple(d if isinstance(d, Poly) else length_dim(d) for d in given)


def _target_shape(size: Dim, shape: Any) -> tuple[Any, ...]:
    """The shape with its -1 filled in. Raises ShapeError with NumPy's words."""
    dims = _dims(shape)
    open_ = [isinstance(d, int) and d < 0 for d in dims]
    if sum(open_) > 1:
        raise ShapeError("can only specify one unknown dimension", loc=user_loc())
    known = product(d for d, is_open in zip(dims, open_) if not is_open)
    if any(open_):
        rest = quotient(size, known)
        if rest is not None:
            return tuple(rest if is_open else d for d, is_open in zip(dims, open_))
    elif known == size:
        return dims
    if isinstance(size, Poly) or isinstance(known, Poly):
        return _checked_shape(require_trace("reshape"), size, dims)
    raise ShapeError(f"cannot reshape array of size {size} into shape {shape_text(dims)}", loc=user_loc())


def _checked_shape(trace: Trace, size: Dim, dims: tuple[Any, ...]) -> tuple[Any, ...]:
    """The shape with its -1 filled in. That it has `size` elements is seen when the program runs."""
    known = product(d for d in dims if not isinstance(d, int) or d >= 0)
    message = f"cannot reshape the array into shape {shape_text(dims)}"
    if all(not isinstance(d, int) or d >= 0 for d in dims):
        fine = trace.op("equal", value_of(trace, known), value_of(trace, size))
        trace.ops("check", fine, kind="value", message=message)
        return dims
    some = trace.op("maximum", value_of(trace, known), trace.const(1, I64))
    rest = trace.op("floor_div", value_of(trace, size), some)
    fine = trace.op("equal", trace.op("mul", rest, value_of(trace, known)), value_of(trace, size))
    trace.ops("check", fine, kind="value", message=message)
    most = upper_bound(size)
    open_ = symbol_of(rest, 0, None if most is None else most // max(lower_bound(known) or 0, 1))
    return tuple(open_ if isinstance(d, int) and d < 0 else d for d in dims)


def _first_of(x: Traced, size: Dim) -> Traced:
    """So many elements of `x` in C order: all of them, as has been checked."""
    return _renamed(reshape(x, (x.type.size,)) if x.ndim != 1 else x, (size,))


def _renamed(x: Traced, shape: tuple[Any, ...]) -> Traced:
    """The array with lengths by other names, which have been checked to be the same."""
    if shape == x.shape:
        return x
    return x.view("slice", start=(0,) * x.ndim, size=shape, step=(1,) * x.ndim)


def reshape(x: Traced, shape: Any, order: str = "C", copy: bool | None = None) -> Traced:
    """`x.reshape`: a view where the strides allow one, else a view of a copy."""
    dims = _target_shape(x.type.size, shape)
    if product(dims) != x.type.size:
        x = _first_of(x, product(dims))
    if order in ("F", "f") or (order in ("A", "a") and f_contiguous(x) and not x.c_contiguous):
        back = reshape(transposed(x, range(x.ndim)[::-1]), dims[::-1], "C", copy)
        return transposed(back, range(len(dims))[::-1])
    if order not in ("C", "c", "A", "a", None):
        raise ShapeError(f"order must be one of 'C', 'F' or 'A' (got {order!r})", loc=user_loc())
    if not copy:
        try:
            return x.view("reshape", shape=dims)
        except ValueError:
            if copy is False:
                raise ShapeError("Unable to avoid creating a copy while reshaping.", loc=user_loc()) from None
    made = copied(x)
    if not copy:
        note_copy(made, x, dims)
    if not copy and made.type.ref is not None:
        reason = "the elements do not lie so that a view could have this shape"
        remark_value(Topic.COPY, reason, made.type.ref.storage, user_loc())
    return made.view("reshape", shape=dims)


def note_copy(made: Traced, x: Traced, shape: tuple[Any, ...]) -> None:
    """`made` is a copy of `x`, of which NumPy makes a view of that shape where it can."""
    ref = x.type.ref
    if ref is not None and any(isinstance(d, Poly) for d in x.shape) and not surely_copied(ref, x.shape, shape):
        mark_copy(made, x)


def copied(x: Traced, perm: Sequence[int] | None = None) -> Traced:
    """A new array with the elements of `x`, its axes permuted first, in C order."""
    value = x.read()
    if perm is not None:
        value = x.trace.op("transpose", value, perm=tuple(perm))
    return fresh_array(x.trace, x.trace.op("copy", value), None)


def reshape_in_place(x: Traced, shape: Any) -> None:
    """`x.shape = shape`: the array object itself is seen otherwise from here on. Raises where that needs a copy."""
    dims = _target_shape(x.type.size, shape)
    if x.is_scalar:
        raise AttributeError("a NumPy scalar has no shape to set")
    if product(dims) != x.type.size:
        raise UnsupportedError("x.shape = … with lengths of which only the run knows", loc=user_loc(),
                               hint="use .reshape()")
    try:
        seen = x.view("reshape", shape=dims)
    except ValueError:
        raise AttributeError("Incompatible shape for in-place modification. Use `.reshape()` to make a copy "
                             "with the desired shape.") from None
    x.type, x.steps = seen.type, seen.steps


@implements(np.reshape)
def np_reshape(a: Any, /, shape: Any, order: str = "C", *, copy: bool | None = None) -> Traced:
    return reshape(as_traced(a), shape, order, copy)


@method("reshape")
def reshape_method(x: Traced, *shape: Any, order: str = "C", copy: bool | None = None) -> Traced:
    if not shape:
        raise TypeError("reshape() takes exactly 1 argument (0 given)")
    return reshape(x, shape[0] if len(shape) == 1 else shape, order, copy)


@implements(np.ravel, method="ravel")
def ravel(a: Any, order: str = "C") -> Traced:
    """A view only of an array that is contiguous in that order."""
    x = as_traced(a).as_array()
    perm = _flat_order(x, order)
    laid = x if perm is None else transposed(x, perm)
    if laid.c_contiguous:
        return laid.view("reshape", shape=(x.size,))
    made = copied(laid)
    note_copy(made, laid, (x.size,))
    return made.view("reshape", shape=(x.size,))


@method("flatten")
def flatten(x: Traced, order: str = "C") -> Traced:
    """Always a copy."""
    return copied(x, _flat_order(x, order)).view("reshape", shape=(x.size,))


def _flat_order(x: Traced, order: str) -> Sequence[int] | None:
    """The axes, outermost first, in which an order runs through the elements; None for C order."""
    order = (order or "C").upper()
    if order == "K" and x.ndim > 1 and not x.c_contiguous:
        return order_of_copy(x)
    fortran = order == "F" or (order == "A" and f_contiguous(x) and not x.c_contiguous)
    if order not in ("C", "F", "A", "K"):
        raise ShapeError(f"order must be one of 'C', 'F', 'A', or 'K' (got {order!r})", loc=user_loc())
    return range(x.ndim)[::-1] if fortran and x.ndim > 1 else None


# --- transposes --------------------------------------------------------------------------------------------


def _axes(axes: Sequence[Any], ndim: int) -> tuple[int, ...]:
    found = tuple(normalize_axis(a, ndim) for a in axes)
    if len(set(found)) != len(found):
        raise ShapeError("repeated axis", loc=user_loc())
    return found


@implements(np.transpose, np.permute_dims)
def transpose(a: Any, axes: Any = None) -> Traced:
    x = as_traced(a)
    if axes is None:
        return transposed(x, range(x.ndim)[::-1])
    axes = _dims(axes)
    if len(axes) != x.ndim:
        raise ShapeError("axes don't match array", loc=user_loc())
    perm = tuple(normalize_axis(k, x.ndim) for k in axes)
    if len(set(perm)) != len(perm):
        raise ShapeError("repeated axis in transpose", loc=user_loc())
    return transposed(x, perm)


@method("transpose")
def transpose_method(x: Traced, *axes: Any) -> Traced:
    return transpose(x, None if not axes else axes[0] if len(axes) == 1 else axes)


@implements(np.matrix_transpose)
def matrix_transpose(x: Any, /) -> Traced:
    array = as_traced(x)
    if array.ndim < 2:
        raise ShapeError(
            f"Input array must be at least 2-dimensional, but it is {array.ndim}", loc=user_loc()
        )
    return swapaxes(array, -1, -2)


@implements(np.swapaxes, method="swapaxes")
def swapaxes(a: Any, axis1: int, axis2: int) -> Traced:
    x = as_traced(a)
    perm = list(range(x.ndim))
    one, two = normalize_axis(axis1, x.ndim), normalize_axis(axis2, x.ndim)
    perm[one], perm[two] = two, one
    return transposed(x, perm)


@implements(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Traced:
    x = as_traced(a)
    origins, places = _axes(_dims(source), x.ndim), _axes(_dims(destination), x.ndim)
    if len(origins) != len(places):
        raise ShapeError(
            "`source` and `destination` arguments must have the same number of elements", loc=user_loc()
        )
    perm = [k for k in range(x.ndim) if k not in origins]
    for place, origin in sorted(zip(places, origins)):
        perm.insert(place, origin)
    return transposed(x, perm)


@implements(np.rollaxis)
def rollaxis(a: Any, axis: int, start: int = 0) -> Traced:
    x = as_traced(a)
    axis = normalize_axis(axis, x.ndim)
    start = operator.index(start)
    begin = start + x.ndim if start < 0 else start
    if not 0 <= begin <= x.ndim:
        raise np.exceptions.AxisError(
            f"'start' arg requires {-x.ndim} <= start < {x.ndim + 1}, but {start} was passed in"
        )
    begin -= axis < begin
    perm = [k for k in range(x.ndim) if k != axis]
    perm.insert(begin, axis)
    return transposed(x, perm)


# --- axes of length 1 --------------------------------------------------------------------------------------


@implements(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Traced:
    x = as_traced(a)
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    ndim = x.ndim + len(axes)
    places = _axes(axes, ndim)
    old = iter(x.shape)
    return x.view("reshape", shape=tuple(1 if k in places else next(old) for k in range(ndim)))


@implements(np.squeeze, method="squeeze")
def squeeze(a: Any, axis: Any = None) -> Traced:
    """The array itself if it has no axis to drop, as in NumPy. Which ones that are is known while tracing: a length
    that the run finds to be 1 is an error, unless its axis is named."""
    x = as_traced(a)
    if axis is None:
        drop = tuple(k for k, d in enumerate(x.shape) if d == 1)
        for d in x.shape:
            if isinstance(d, Poly) and (lower_bound(d) or 0) < 2:
                several = x.trace.op("not_equal", value_of(x.trace, d), x.trace.const(1, I64))
                x.trace.ops("check", several, kind="value",
                            message="np.squeeze: an axis whose length only the run knows has length 1; name the axes")
    else:
        drop = _axes(axis if isinstance(axis, tuple) else (axis,), x.ndim) if x.ndim else ()
        for k in drop:
            same_dim(x.trace, x.shape[k], 1, "cannot select an axis to squeeze out which has size not equal to one")
        x = _renamed(x, tuple(1 if k in drop else d for k, d in enumerate(x.shape)))
    if not drop:
        return x
    return x.view("reshape", shape=tuple(d for k, d in enumerate(x.shape) if k not in drop))


def _at_least(rank: int, function: Any, expand: Any) -> None:
    def rule(*arys: Any) -> Any:
        made = tuple(
            x if x.ndim >= rank else x.view("reshape", shape=expand(x.shape)) for x in map(as_traced, arys)
        )
        return made[0] if len(made) == 1 else made

    implements(function)(rule)


_at_least(1, np.atleast_1d, lambda shape: (1,))
_at_least(2, np.atleast_2d, lambda shape: (1, *shape) if shape else (1, 1))
_at_least(3, np.atleast_3d, lambda shape: (*shape, 1) if len(shape) == 2 else (1, *(shape or (1,)), 1))


# --- broadcasting ------------------------------------------------------------------------------------------

_SHARED = "it is a broadcast view: several of its elements are one"


@implements(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Traced:
    """A read-only view."""
    x = as_traced(array)
    dims = _dims(shape)
    if any(isinstance(d, int) and d < 0 for d in dims):
        raise ShapeError("all elements of broadcast shape must be non-negative", loc=user_loc())
    if len(dims) > 32:
        raise ShapeError(f"arrays of rank {len(dims)} are not supported (at most 32)", loc=user_loc())
    words = ("operands could not be broadcast together with remapped shapes [original->remapped]: "
             f"{shape_text(x.shape)} and requested shape {shape_text(dims)}")
    behind = dims[len(dims) - x.ndim :]
    if len(behind) == x.ndim:
        for have, want in zip(x.shape, behind):
            _ = have == 1 or same_dim(x.trace, have, want, words)
        x = _renamed(x, tuple(have if have == 1 else want for have, want in zip(x.shape, behind)))
    try:
        return x.view("broadcast", readonly=_SHARED, shape=dims)
    except ValueError:
        raise ShapeError(words, loc=user_loc()) from None


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Traced, ...]:
    arrays = [as_traced(a).as_array() for a in args]
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    if all(a.shape == shape for a in arrays):
        return tuple(arrays)
    # NumPy lets such views be written, with a warning; here a write to what stands for many is refused.
    return tuple(
        a.view("broadcast", shape=shape, readonly="" if a.shape == shape else _SHARED) for a in arrays
    )


# --- diagonals ---------------------------------------------------------------------------------------------


@implements(np.diagonal, method="diagonal")
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Traced:
    """A read-only view."""
    x = as_traced(a)
    if x.ndim < 2:
        raise ShapeError("diag requires an array of at least two dimensions", loc=user_loc())
    one, two = normalize_axis(axis1, x.ndim), normalize_axis(axis2, x.ndim)
    if one == two:
        raise ShapeError("axis1 and axis2 cannot be the same", loc=user_loc())
    return x.view(
        "diagonal",
        readonly="`diagonal` gives a read-only view",
        offset=operator.index(offset),
        axis1=one,
        axis2=two,
    )


@implements(np.diag)
def diag(v: Any, k: int = 0) -> Traced:
    """A matrix with this diagonal, or the diagonal of a matrix."""
    x = as_traced(v)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError("Input must be 1- or 2-d.", loc=user_loc())
    return _on_diagonal(x, k)


@implements(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Traced:
    return _on_diagonal(ravel(v), k)


def _on_diagonal(row: Traced, k: int) -> Traced:
    from sparsec.frontend.numpy_api.creation import zeros

    n = row.size + abs(operator.index(k))
    made = zeros((n, n), row.dtype)
    made.view("diagonal", offset=operator.index(k), axis1=0, axis2=1)[...] = row
    return made


@implements(np.trace, method="trace")
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    return diagonal(a, offset, axis1, axis2).sum(axis=-1, dtype=dtype, out=out)


# --- flips -------------------------------------------------------------------------------------------------


@implements(np.flip)
def flip(m: Any, axis: Any = None) -> Traced:
    x = as_traced(m)
    if axis is None:
        axes: tuple[int, ...] = tuple(range(x.ndim))
    else:
        axes = _axes(axis if isinstance(axis, tuple) else (axis,), x.ndim)
    backwards = tuple(slice(None, None, -1) if k in axes else slice(None) for k in range(x.ndim))
    return x[backwards]


@implements(np.fliplr)
def fliplr(m: Any) -> Traced:
    x = as_traced(m)
    if x.ndim < 2:
        raise ShapeError("Input must be >= 2-d.", loc=user_loc())
    return x[:, ::-1]


@implements(np.flipud)
def flipud(m: Any) -> Traced:
    x = as_traced(m)
    if x.ndim < 1:
        raise ShapeError("Input must be >= 1-d.", loc=user_loc())
    return x[::-1]


@implements(np.rot90)
def rot90(m: Any, k: int = 1, axes: Sequence[int] = (0, 1)) -> Traced:
    x = as_traced(m)
    if len(axes) != 2:
        raise ShapeError("len(axes) must be 2.", loc=user_loc())
    one, two = (a + x.ndim if a < 0 else a for a in axes)
    if one == two:
        raise ShapeError("Axes must be different.", loc=user_loc())
    if not (0 <= one < x.ndim and 0 <= two < x.ndim):
        raise ShapeError(f"Axes={tuple(axes)} out of range for array of ndim={x.ndim}.", loc=user_loc())
    k %= 4
    if k == 0:
        return x[:]
    if k == 2:
        return flip(flip(x, one), two)
    turned = swapaxes(flip(x, two), one, two) if k == 1 else flip(swapaxes(x, one, two), two)
    return turned


# --- facts, and views without a change ----------------------------------------------------------------------


@implements(np.ndim)
def ndim(a: Any) -> int:
    return as_traced(a).ndim


@implements(np.shape)
def shape(a: Any) -> tuple[int, ...]:
    return as_traced(a).shape


@implements(np.size)
def size(a: Any, axis: Any = None) -> int:
    x = as_traced(a)
    if axis is None:
        return x.size
    axes = axis if isinstance(axis, tuple) else (axis,)
    return math.prod(x.shape[normalize_axis(k, x.ndim)] for k in axes)


@method("view")
def view(x: Traced, dtype: Any = NO_VALUE, type: Any = NO_VALUE) -> Traced:
    """A view of the same bytes, of another dtype too; a scalar's are those of a new one."""
    if type is not NO_VALUE and type is not np.ndarray:
        raise refuse("the type= argument of ndarray.view")
    if dtype is NO_VALUE or dtype is None or dtype is np.ndarray:
        return same(x)
    target = np_dtype(dtype)
    if target == x.dtype:
        return same(x)
    if x.is_scalar:
        plain = target.itemsize == x.itemsize and not {target.kind, x.dtype.kind} & {"b", "c"}
        read = x.trace.op("bitcast", x.value, dtype=target) if plain else view(x.as_array(), target).read()
        return Traced.scalar(x.trace, read)
    if target.itemsize > x.itemsize and x.ndim and isinstance(x.type.shape[-1], Poly):
        raise refuse(f"ndarray.view as {target} of an axis whose length is known only at run time")
    if target.itemsize != x.itemsize:
        _check_contiguous(x)
    try:
        return x.view("reinterpret", of=x.dtype, dtype=target)
    except SparsecError:
        raise
    except ValueError:
        what = f"ndarray.view of {x.dtype} as {target} at a place that is not known to begin an element"
        raise refuse(what) from None


def _check_contiguous(x: Traced) -> None:
    """Where the run knows whether elements follow each other, because there are two at all, it says so."""
    shape, ref, trace = x.type.shape, x.type.ref, x.trace
    lengths = [d for d in shape if isinstance(d, Poly)]
    if not lengths or ref is None or ref.strides[-1] == 1 or shape[-1] == 1 or 0 in shape:
        return
    few = [trace.op("equal", value_of(trace, d), trace.const(0, I64)) for d in lengths]
    few.append(trace.op("equal", value_of(trace, shape[-1]), trace.const(1, I64)))
    alone = functools.reduce(lambda a, b: trace.op("logical_or", a, b), few)
    trace.ops("check", alone, kind="value", message=LAST_CONTIGUOUS)
