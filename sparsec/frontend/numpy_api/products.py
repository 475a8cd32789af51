"""Products of vectors, matrices and tensors: reshapes around the one op `matmul`.

Rounding follows the product that runs, which need not be the one that NumPy picks. One value can differ: where
an operand has a single element, 0, NumPy's BLAS may leave out a product with NaN or infinity; here 0 * NaN is NaN.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.convert import as_traced, broadcast, cast
from sparsec.frontend.dispatch import implements
from sparsec.frontend.layout import order_like
from sparsec.frontend.numpy_api.support import (
    agreed,
    along,
    at_least,
    axis_index,
    axis_last,
    axis_to,
    common_shape,
    deliver,
    flattened,
    made,
    new_array,
    permuted,
    reshaped,
    result_dtype,
    returned,
    strong,
    unsupported_argument,
)
from sparsec.frontend.ufuncs import resolve, store
from sparsec.ir.dims import shape_text
from sparsec.ir.graph import Value
from sparsec.ir.types import F16, F32, DType

# --- matmul and its family of generalised ufuncs ---------------------------------------------------------


def product_value(a: Traced, b: Traced, dtype: DType) -> Value:
    """[…, m, k] @ […, k, n] in `dtype`, batches broadcast; float16 is computed in float32."""
    trace = a.trace
    batch = common_shape(a.shape[:-2], b.shape[:-2])
    work = F32 if dtype == F16 else dtype
    left = broadcast(trace, cast(trace, a.read(), work), (*batch, *a.shape[-2:]))
    right = broadcast(trace, cast(trace, b.read(), work), (*batch, a.shape[-1], b.shape[-1]))
    return cast(trace, trace.op("matmul", left, right), dtype)


def _loop_dtypes(
    ufunc: np.ufunc, operands: Sequence[Traced], out: Any, dtype: Any, casting: str
) -> list[DType]:
    """The dtypes of the loop that NumPy's generalised ufunc would run."""
    return resolve(ufunc, operands, [None if out is None else as_traced(out)], dtype, casting)


def _single(out: Any) -> Any:
    """The one `out` of a ufunc, given alone or in a tuple."""
    return out[0] if isinstance(out, tuple) else out


def _core(function: str, x: Any, ndim: int) -> Traced:
    found = as_traced(x)
    if found.ndim < ndim:
        raise ValueError(
            f"{function}: Input operand does not have enough dimensions (has {found.ndim}, gufunc core "
            f"requires {ndim})"
        )
    return found


def _same(function: str, a: Traced, one: Any, other: Any) -> None:
    """Lengths of a core axis that must be equal, checked at run time if they are known only then."""
    message = f"{function}: Input operand 1 has a mismatch in its core dimension 0 ({other} is not {one})"
    agreed(a.trace, one, other, message)


def _gufunc_options(name: str, **options: Any) -> None:
    for option, value in options.items():
        if value is not None:
            raise unsupported_argument(name, f"{option}=")


@implements(np.matmul)
def matmul(
    x1: Any,
    x2: Any,
    /,
    out: Any = None,
    *,
    casting: str = "same_kind",
    order: str = "K",
    dtype: Any = None,
    subok: bool = True,
    signature: Any = None,
    axes: Any = None,
    axis: Any = None,
) -> Any:
    _gufunc_options("np.matmul", signature=signature, axes=axes, axis=axis)
    a, b = _core("matmul", x1, 1), _core("matmul", x2, 1)
    left = a[None, :] if a.ndim == 1 else a
    right = b[:, None] if b.ndim == 1 else b
    _same("matmul", a, left.shape[-1], right.shape[-2])
    dropped = (-2,) * (a.ndim == 1) + (-1,) * (b.ndim == 1)
    return _gufunc(np.matmul, left, right, out, casting, dtype, dropped)


@implements(np.vecdot)
def vecdot(
    x1: Any,
    x2: Any,
    /,
    out: Any = None,
    *,
    casting: str = "same_kind",
    order: str = "K",
    dtype: Any = None,
    subok: bool = True,
    signature: Any = None,
    axes: Any = None,
    axis: Any = -1,
    keepdims: bool = False,
) -> Any:
    _gufunc_options("np.vecdot", signature=signature, axes=axes)
    a, b = _core("vecdot", x1, 1), _core("vecdot", x2, 1)
    a, b = (axis_last(v, axis_index(axis, v.ndim)) for v in (a, b))
    _same("vecdot", a, a.shape[-1], b.shape[-1])
    found = _gufunc(np.vecdot, _conjugate(a)[..., None, :], b[..., :, None], out, casting, dtype, (-2, -1))
    return found[..., None] if keepdims and out is None else found


@implements(np.matvec)
def matvec(
    x1: Any,
    x2: Any,
    /,
    out: Any = None,
    *,
    casting: str = "same_kind",
    order: str = "K",
    dtype: Any = None,
    subok: bool = True,
    signature: Any = None,
    axes: Any = None,
) -> Any:
    _gufunc_options("np.matvec", signature=signature, axes=axes)
    a, b = _core("matvec", x1, 2), _core("matvec", x2, 1)
    _same("matvec", a, a.shape[-1], b.shape[-1])
    return _gufunc(np.matvec, a, b[..., :, None], out, casting, dtype, (-1,))


@implements(np.vecmat)
def vecmat(
    x1: Any,
    x2: Any,
    /,
    out: Any = None,
    *,
    casting: str = "same_kind",
    order: str = "K",
    dtype: Any = None,
    subok: bool = True,
    signature: Any = None,
    axes: Any = None,
) -> Any:
    _gufunc_options("np.vecmat", signature=signature, axes=axes)
    a, b = _core("vecmat", x1, 1), _core("vecmat", x2, 2)
    _same("vecmat", a, a.shape[-1], b.shape[-2])
    return _gufunc(np.vecmat, _conjugate(a)[..., None, :], b, out, casting, dtype, (-2,))


def _conjugate(x: Traced) -> Traced:
    return np.conjugate(x) if x.dtype.kind == "c" else x  # type: ignore[return-value]


def _gufunc(
    ufunc: np.ufunc, a: Traced, b: Traced, out: Any, casting: str, dtype: Any, dropped: tuple[int, ...]
) -> Any:
    """Delivers a product of matrices less the axes `dropped`; batch axes in the operands' memory order."""
    target = _single(out)
    dtypes = _loop_dtypes(ufunc, (a, b), target, dtype, casting)
    value = product_value(a, b, dtypes[-1])
    full: tuple[Any, ...] = value.type.shape
    shape = tuple(d for k, d in enumerate(full) if k - len(full) not in dropped)
    trace = a.trace
    if target is None:
        rank = len(full) - 2
        # The order that NumPy's iterator gives the batch axes; the core axes lie inside, in C order.
        heads = [
            along(along(m, m.ndim - 1, 0), m.ndim - 2, 0) for m in (a, b) if 0 not in m.shape and m.ndim > 2
        ]
        layout = order_like(heads, full[:rank]) if heads else None
        whole = None if layout is None else (*layout, *range(rank, len(shape)))
        if whole is None:
            return returned(reshaped(made(trace, value, full), shape))
        result = new_array(trace, shape, dtypes[-1], whole)
    else:
        result = as_traced(target)
        if np.broadcast_shapes(result.shape, shape) != result.shape:
            raise ValueError(
                f"{ufunc.__name__}: output operand of shape {result.shape} does not hold a result of "
                f"shape {shape}"
            )
    value = trace.op("reshape", value, shape=shape) if shape != full else value
    store(trace, result, value)
    return result


# --- dot, inner, outer … ---------------------------------------------------------------------------------


@implements(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Any:
    x, y = strong(a), strong(b)
    if x.ndim == 0 or y.ndim == 0:
        return checked_out(np.multiply(x, y), out)
    dims = (y.ndim - 2,) if y.ndim > 1 else (0,)
    if result_dtype(x, y).kind in "fc" and _is_one(x) and _is_one(y):
        # NumPy multiplies: added to a zero, as every other sum is, -0.0 would be 0.0.
        product = np.multiply(reshaped(x, ()), reshaped(y, ()))
        return checked_out(reshaped(as_traced(product).as_array(), (1,) * (x.ndim + y.ndim - 2)), out)
    return checked_out(contracted(x, y, (x.ndim - 1,), dims, "dot"), out)


def _is_one(x: Traced) -> bool:
    """Whether NumPy's product takes an array for a scalar."""
    return x.ndim <= 2 and all(d == 1 for d in x.shape)


@implements(method="dot")
def dot_method(x: Traced, b: Any, out: Any = None) -> Any:
    return dot(x, b, out)


def checked_out(result: Any, out: Any) -> Any:
    if out is not None:
        target = as_traced(out)
        if target.dtype != result.dtype or not target.c_contiguous or target.shape != result.shape:
            raise ValueError(
                "output array is not acceptable (must have the right datatype, number of dimensions, and "
                "be a C-Array)"
            )
    return deliver(result, out, "np.dot")


def contracted(x: Traced, y: Traced, left: Sequence[int], right: Sequence[int], function: str) -> Traced:
    """Sums over the axes `left` of x and `right` of y; the other axes of x, then those of y remain."""
    sizes = [x.shape[k] for k in left], [y.shape[k] for k in right]
    shapes = " and ".join(shape_text(v.shape) for v in (x, y))
    message = "shape-mismatch for sum" if function == "tensordot" else f"shapes {shapes} not aligned"
    for one, other in zip(*sizes):
        agreed(x.trace, one, other, message)
    keep_x = [k for k in range(x.ndim) if k not in left]
    keep_y = [k for k in range(y.ndim) if k not in right]
    depths = [math.prod(s) for s in sizes]
    shape = (*(x.shape[k] for k in keep_x), *(y.shape[k] for k in keep_y))
    rows = math.prod(x.shape[k] for k in keep_x)
    columns = math.prod(y.shape[k] for k in keep_y)
    a = reshaped(permuted(x, (*keep_x, *left)), (rows, depths[0]))
    b = reshaped(permuted(y, (*right, *keep_y)), (depths[1], columns))
    value = product_value(a, b, result_dtype(x, y))
    return reshaped(Traced.fresh(x.trace, value), shape)


@implements(np.vdot)
def vdot(a: Any, b: Any, /) -> Any:
    x, y = flattened(strong(a)), flattened(strong(b))
    return returned(contracted(_conjugate(x), y, (0,), (0,), "vdot"))


@implements(np.inner)
def inner(a: Any, b: Any, /) -> Any:
    x, y = strong(a), strong(b)
    if x.ndim == 0 or y.ndim == 0:
        return np.multiply(x, y)
    return returned(contracted(x, y, (x.ndim - 1,), (y.ndim - 1,), "inner"))


@implements(np.outer)
def outer(a: Any, b: Any, out: Any = None) -> Any:
    return np.multiply(flattened(strong(a))[:, None], flattened(strong(b))[None, :], out)  # type: ignore[call-overload]


@implements(np.linalg.outer)
def linalg_outer(x1: Any, x2: Any, /) -> Any:
    a, b = strong(x1), strong(x2)
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError(
            f"Input arrays must be one-dimensional, but they are x1.ndim={a.ndim} and x2.ndim={b.ndim}."
        )
    return outer(a, b)


@implements(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Traced:
    x, y = strong(a), strong(b)
    left, right = _axis_pairs(axes)
    for one, other in ((left, x), (right, y)):
        if len(one) != len(set(one)):
            raise ValueError("duplicate axes are not allowed in tensordot")
        if any(not -other.ndim <= k < other.ndim for k in one):
            raise ValueError("shape-mismatch for sum")
    if len(left) != len(right):
        raise ValueError("shape-mismatch for sum")
    return contracted(x, y, [k % x.ndim for k in left], [k % y.ndim for k in right], "tensordot")


def _axis_pairs(axes: Any) -> tuple[list[int], list[int]]:
    if isinstance(axes, (tuple, list)):
        first, second = axes
        pair = [
            list(map(operator.index, k)) if isinstance(k, (tuple, list)) else [operator.index(k)]
            for k in (first, second)
        ]
        return pair[0], pair[1]
    count = operator.index(axes)
    return list(range(-count, 0)), list(range(count))


@implements(np.linalg.tensordot)
def linalg_tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Traced:
    return tensordot(x1, x2, axes)


@implements(np.linalg.matmul)
def linalg_matmul(x1: Any, x2: Any, /) -> Any:
    return matmul(x1, x2)


@implements(np.linalg.vecdot)
def linalg_vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    return vecdot(x1, x2, axis=axis)


@implements(np.linalg.matrix_transpose)
def linalg_matrix_transpose(x: Any, /) -> Any:
    return strong(x).mT


@implements(np.linalg.diagonal)
def linalg_diagonal(x: Any, /, *, offset: int = 0) -> Any:
    return np.diagonal(strong(x), offset, axis1=-2, axis2=-1)


@implements(np.linalg.trace)
def linalg_trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    return np.trace(strong(x), offset, axis1=-2, axis2=-1, dtype=dtype)


@implements(np.kron)
def kron(a: Any, b: Any) -> Any:
    x, y = strong(a), strong(b)
    if x.ndim == 0 or y.ndim == 0:
        return np.multiply(x, y)
    rank = max(x.ndim, y.ndim)
    x, y = at_least(x, rank), at_least(y, rank)
    spread_x = reshaped(x, tuple(d for n in x.shape for d in (n, 1)))
    spread_y = reshaped(y, tuple(d for n in y.shape for d in (1, n)))
    product: Any = np.multiply(spread_x, spread_y)
    return reshaped(product, tuple(m * n for m, n in zip(x.shape, y.shape)))


@implements(np.cross)
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None) -> Traced:
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = strong(a), strong(b)
    x, y = axis_last(x, axis_index(axisa, x.ndim)), axis_last(y, axis_index(axisb, y.ndim))
    if {x.shape[-1], y.shape[-1]} - {2, 3}:
        raise ValueError("incompatible dimensions for cross product\n(dimension must be 2 or 3)")
    if (x.shape[-1], y.shape[-1]) != (3, 3):
        raise unsupported_argument(
            "np.cross", "a vector of two elements", "NumPy has deprecated it: append a zero"
        )
    dtype = np.promote_types(x.dtype, y.dtype)
    shape = (*common_shape(x.shape[:-1], y.shape[:-1]), 3)
    result = new_array(x.trace, shape, dtype)
    x, y = x.astype(dtype), y.astype(dtype)
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        result[..., k] = x[..., i] * y[..., j] - x[..., j] * y[..., i]
    return axis_to(result, result.ndim - 1, axis_index(axisc, result.ndim))


@implements(np.linalg.cross)
def linalg_cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Traced:
    a, b = strong(x1), strong(x2)
    if a.shape[axis_index(axis, a.ndim)] != 3 or b.shape[axis_index(axis, b.ndim)] != 3:
        raise ValueError("Both input arrays must be (arrays of) 3-dimensional vectors")
    return cross(a, b, axis=axis)
