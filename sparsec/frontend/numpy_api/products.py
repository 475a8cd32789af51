"""Products of vectors, matrices and tensors: reshapes around the one op `matmul`."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.convert import as_traced, broadcast, cast
from sparsec.frontend.dispatch import implements
from sparsec.frontend.layout import order_like
from sparsec.frontend.numpy_api.creation import allocate, empty_like, eye
from sparsec.frontend.numpy_api.support import (
    along,
    at_least,
    axis_index,
    axis_last,
    axis_to,
    deliver,
    flattened,
    made,
    new_array,
    permuted,
    refuse,
    reshaped,
    result_dtype,
    returned,
    strong,
    unsupported_argument,
)
from sparsec.frontend.trace import Trace
from sparsec.frontend.ufuncs import resolve, store
from sparsec.ir.graph import Value
from sparsec.ir.types import F32, F64, DType

F16 = np.dtype("f2")


# --- matmul and its family of generalised ufuncs ---------------------------------------------------------


def product_value(a: Traced, b: Traced, dtype: DType) -> Value:
    """[…, m, k] @ […, k, n] in `dtype`, batches broadcast; float16 is computed in float32."""
    trace = a.trace
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    work = F32 if dtype == F16 else dtype
    left = broadcast(trace, cast(trace, a.read(), work), (*batch, *a.shape[-2:]))
    right = broadcast(trace, cast(trace, b.read(), work), (*batch, *b.shape[-2:]))
    return cast(trace, trace.op("matmul", left, right), dtype)


def _loop_dtypes(ufunc: np.ufunc, operands: Sequence[Traced], out: Any, dtype: Any, casting: str) -> list[DType]:
    """The dtypes of the loop that NumPy's generalised ufunc would run."""
    return resolve(ufunc, operands, [None if out is None else as_traced(out)], dtype, casting)


def _single(out: Any) -> Any:
    """The one `out` of a ufunc, given alone or in a tuple."""
    return out[0] if isinstance(out, tuple) else out


def _core(function: str, x: Any, ndim: int) -> Traced:
    found = as_traced(x)
    if found.ndim < ndim:
        raise ValueError(f"{function}: Input operand does not have enough dimensions (has {found.ndim}, gufunc core "
                         f"requires {ndim})")
    return found


def _same(function: str, one: int, other: int) -> None:
    if one != other:
        raise ValueError(f"{function}: Input operand 1 has a mismatch in its core dimension 0 (size {other} is "
                         f"different from {one})")


def _gufunc_options(name: str, **options: Any) -> None:
    for option, value in options.items():
        if value is not None:
            raise unsupported_argument(name, f"{option}=")


@implements(np.matmul)
def matmul(x1: Any, x2: Any, /, out: Any = None, *, casting: str = "same_kind", order: str = "K", dtype: Any = None,
           subok: bool = True, signature: Any = None, axes: Any = None, axis: Any = None) -> Any:
    _gufunc_options("np.matmul", signature=signature, axes=axes, axis=axis)
    a, b = _core("matmul", x1, 1), _core("matmul", x2, 1)
    left = a[None, :] if a.ndim == 1 else a
    right = b[:, None] if b.ndim == 1 else b
    _same("matmul", left.shape[-1], right.shape[-2])
    dropped = (-2,) * (a.ndim == 1) + (-1,) * (b.ndim == 1)
    return _gufunc(np.matmul, left, right, out, casting, dtype, dropped)


@implements(np.vecdot)
def vecdot(x1: Any, x2: Any, /, out: Any = None, *, casting: str = "same_kind", order: str = "K", dtype: Any = None,
           subok: bool = True, signature: Any = None, axes: Any = None, axis: Any = -1, keepdims: bool = False) -> Any:
    _gufunc_options("np.vecdot", signature=signature, axes=axes)
    a, b = _core("vecdot", x1, 1), _core("vecdot", x2, 1)
    a, b = (axis_last(v, axis_index(axis, v.ndim)) for v in (a, b))
    _same("vecdot", a.shape[-1], b.shape[-1])
    found = _gufunc(np.vecdot, _conjugate(a)[..., None, :], b[..., :, None], out, casting, dtype, (-2, -1))
    return found[..., None] if keepdims and out is None else found


@implements(np.matvec)
def matvec(x1: Any, x2: Any, /, out: Any = None, *, casting: str = "same_kind", order: str = "K", dtype: Any = None,
           subok: bool = True, signature: Any = None, axes: Any = None) -> Any:
    _gufunc_options("np.matvec", signature=signature, axes=axes)
    a, b = _core("matvec", x1, 2), _core("matvec", x2, 1)
    _same("matvec", a.shape[-1], b.shape[-1])
    return _gufunc(np.matvec, a, b[..., :, None], out, casting, dtype, (-1,))


@implements(np.vecmat)
def vecmat(x1: Any, x2: Any, /, out: Any = None, *, casting: str = "same_kind", order: str = "K", dtype: Any = None,
           subok: bool = True, signature: Any = None, axes: Any = None) -> Any:
    _gufunc_options("np.vecmat", signature=signature, axes=axes)
    a, b = _core("vecmat", x1, 1), _core("vecmat", x2, 2)
    _same("vecmat", a.shape[-1], b.shape[-2])
    return _gufunc(np.vecmat, _conjugate(a)[..., None, :], b, out, casting, dtype, (-2,))


def _conjugate(x: Traced) -> Traced:
    return np.conjugate(x) if x.dtype.kind == "c" else x  # type: ignore[return-value]


def _gufunc(ufunc: np.ufunc, a: Traced, b: Traced, out: Any, casting: str, dtype: Any, dropped: tuple[int, ...]) -> Any:
    """Delivers a product of matrices, the axes `dropped` taken away; batch axes in the operands' memory order."""
    target = _single(out)
    dtypes = _loop_dtypes(ufunc, (a, b), target, dtype, casting)
    value = product_value(a, b, dtypes[-1])
    full = value.type.static_shape
    shape = tuple(d for k, d in enumerate(full) if k - len(full) not in dropped)
    trace = a.trace
    if target is None:
        rank = len(full) - 2
        # The order that NumPy's iterator gives the batch axes; the core axes lie inside, in C order.
        heads = [along(along(m, m.ndim - 1, 0), m.ndim - 2, 0) for m in (a, b) if 0 not in m.shape and m.ndim > 2]
        layout = order_like(heads, full[:rank]) if heads else None
        whole = None if layout is None else (*layout, *range(rank, len(shape)))
        if whole is None:
            return returned(reshaped(made(trace, value, full), shape))
        result = new_array(trace, shape, dtypes[-1], whole)
    else:
        result = as_traced(target)
        if np.broadcast_shapes(result.shape, shape) != result.shape:
            raise ValueError(f"{ufunc.__name__}: output operand of shape {result.shape} does not hold a result of "
                             f"shape {shape}")
    value = trace.op("reshape", value, shape=shape) if shape != full else value
    store(trace, result, value)
    return result


# --- dot, inner, outer … ---------------------------------------------------------------------------------


@implements(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Any:
    x, y = strong(a), strong(b)
    if x.ndim == 0 or y.ndim == 0:
        return _checked_out(np.multiply(x, y), out)
    dims = (y.ndim - 2,) if y.ndim > 1 else (0,)
    return _checked_out(_contracted(x, y, (x.ndim - 1,), dims, "dot"), out)


@implements(method="dot")
def dot_method(x: Traced, b: Any, out: Any = None) -> Any:
    return dot(x, b, out)


def _checked_out(result: Any, out: Any) -> Any:
    if out is not None:
        target = as_traced(out)
        if target.dtype != result.dtype or not target.c_contiguous or target.shape != result.shape:
            raise ValueError("output array is not acceptable (must have the right datatype, number of dimensions, and "
                             "be a C-Array)")
    return deliver(result, out, "np.dot")


def _contracted(x: Traced, y: Traced, left: Sequence[int], right: Sequence[int], function: str) -> Traced:
    """Sums over the axes `left` of x and `right` of y; the other axes of x, then those of y remain."""
    sizes = [x.shape[k] for k in left], [y.shape[k] for k in right]
    if sizes[0] != sizes[1]:
        raise ValueError("shape-mismatch for sum" if function == "tensordot" else
                         f"shapes {x.shape} and {y.shape} not aligned: {sizes[0]} != {sizes[1]}")
    keep_x = [k for k in range(x.ndim) if k not in left]
    keep_y = [k for k in range(y.ndim) if k not in right]
    depth = math.prod(sizes[0])
    shape = (*(x.shape[k] for k in keep_x), *(y.shape[k] for k in keep_y))
    rows = math.prod(x.shape[k] for k in keep_x)
    columns = math.prod(y.shape[k] for k in keep_y)
    a = reshaped(permuted(x, (*keep_x, *left)), (rows, depth))
    b = reshaped(permuted(y, (*right, *keep_y)), (depth, columns))
    value = product_value(a, b, result_dtype(x, y))
    return reshaped(Traced.fresh(x.trace, value), shape)


@implements(np.vdot)
def vdot(a: Any, b: Any, /) -> Any:
    x, y = flattened(strong(a)), flattened(strong(b))
    return returned(_contracted(_conjugate(x), y, (0,), (0,), "vdot"))


@implements(np.inner)
def inner(a: Any, b: Any, /) -> Any:
    x, y = strong(a), strong(b)
    if x.ndim == 0 or y.ndim == 0:
        return np.multiply(x, y)
    return returned(_contracted(x, y, (x.ndim - 1,), (y.ndim - 1,), "inner"))


@implements(np.outer)
def outer(a: Any, b: Any, out: Any = None) -> Any:
    return np.multiply(flattened(strong(a))[:, None], flattened(strong(b))[None, :], out)  # type: ignore[call-overload]


@implements(np.linalg.outer)
def linalg_outer(x1: Any, x2: Any, /) -> Any:
    a, b = strong(x1), strong(x2)
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError(f"Input arrays must be one-dimensional, but they are x1.ndim={a.ndim} and x2.ndim={b.ndim}.")
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
    return _contracted(x, y, [k % x.ndim for k in left], [k % y.ndim for k in right], "tensordot")


def _axis_pairs(axes: Any) -> tuple[list[int], list[int]]:
    if isinstance(axes, (tuple, list)):
        first, second = axes
        pair = [list(map(operator.index, k)) if isinstance(k, (tuple, list)) else [operator.index(k)]
                for k in (first, second)]
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


@implements(np.kron)
def kron(a: Any, b: Any) -> Any:
    x, y = strong(a), strong(b)
    if x.ndim == 0 or y.ndim == 0:
        return np.multiply(x, y)
    rank = max(x.ndim, y.ndim)
    x, y = at_least(x, rank), at_least(y, rank)
    spread_x = reshaped(x, tuple(d for n in x.shape for d in (n, 1)))
    spread_y = reshaped(y, tuple(d for n in y.shape for d in (1, n)))
    return reshaped(np.multiply(spread_x, spread_y), tuple(m * n for m, n in zip(x.shape, y.shape)))


@implements(np.cross)
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None) -> Traced:
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = strong(a), strong(b)
    x, y = axis_last(x, axis_index(axisa, x.ndim)), axis_last(y, axis_index(axisb, y.ndim))
    if {x.shape[-1], y.shape[-1]} - {2, 3}:
        raise ValueError("incompatible dimensions for cross product\n(dimension must be 2 or 3)")
    if (x.shape[-1], y.shape[-1]) != (3, 3):
        raise unsupported_argument("np.cross", "a vector of two elements", "NumPy has deprecated it: append a zero")
    dtype = np.promote_types(x.dtype, y.dtype)
    shape = (*np.broadcast_shapes(x.shape[:-1], y.shape[:-1]), 3)
    result = allocate(x.trace, None, shape, dtype)
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


# --- norms and powers ------------------------------------------------------------------------------------


def _inexact(x: Any) -> Traced:
    found = strong(x)
    return found if found.dtype.kind in "fc" else found.astype(F64)


def _squares(x: Traced) -> Traced:
    """|x|² as NumPy computes it."""
    return (np.conjugate(x) * x).real if x.dtype.kind == "c" else x * x  # type: ignore[no-any-return]


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    array = _inexact(x)
    if axis is None:
        if ord is None or (ord in ("f", "fro") and array.ndim == 2) or (ord == 2 and array.ndim == 1):
            row = flattened(array)
            if row.dtype.kind == "c":
                total = np.dot(row.real, row.real) + np.dot(row.imag, row.imag)
            else:
                total = np.dot(row, row)
            result = np.sqrt(total)
            return result.reshape((1,) * array.ndim) if keepdims else result
        axes: tuple[int, ...] = tuple(range(array.ndim))
    elif isinstance(axis, tuple):
        axes = tuple(axis_index(k, array.ndim) for k in axis)
    else:
        axes = (axis_index(axis, array.ndim),)
    if len(axes) == 1:
        return _vector_norm(array, ord, axes[0], keepdims)
    if len(axes) == 2:
        return _matrix_norm(array, ord, axes, keepdims)
    raise ValueError("Improper number of dimensions to norm.")


def _vector_norm(x: Traced, ord: Any, axis: Any, keepdims: bool) -> Any:
    if isinstance(ord, str):
        raise ValueError(f"Invalid norm order '{ord}' for vectors")
    if ord is None or ord == 2:
        return np.sqrt(_squares(x).sum(axis=axis, keepdims=keepdims))
    size = np.abs(x)
    if ord == math.inf:
        return size.max(axis=axis, keepdims=keepdims)  # type: ignore[union-attr]
    if ord == -math.inf:
        return size.min(axis=axis, keepdims=keepdims)  # type: ignore[union-attr]
    if ord == 0:
        return (x != 0).astype(size.dtype).sum(axis=axis, keepdims=keepdims)
    if ord == 1:
        return size.sum(axis=axis, keepdims=keepdims)  # type: ignore[union-attr]
    total = np.power(size, ord).sum(axis=axis, keepdims=keepdims)
    return np.power(total, np.reciprocal(float(ord)).astype(total.dtype).item())


def _matrix_norm(x: Traced, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    rows, columns = axes
    if rows == columns:
        raise ValueError("Duplicate axes given.")
    if ord in (None, "fro", "f"):
        return np.sqrt(_squares(x).sum(axis=axes, keepdims=keepdims))
    if ord in (2, -2, "nuc"):
        raise unsupported_argument("np.linalg.norm", f"ord={ord!r} of a matrix", "it needs a singular value decomposition")
    if ord not in (1, -1, math.inf, -math.inf):
        raise ValueError("Invalid norm order for matrices.")
    first, second = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = np.abs(x).sum(axis=first, keepdims=True)
    result = sums.max(axis=second, keepdims=True) if ord > 0 else sums.min(axis=second, keepdims=True)
    return result if keepdims else result.squeeze(axis=axes)


@implements(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    array = strong(x)
    if axis is None:
        result = norm(flattened(array), ord, 0)
        return result.reshape((1,) * array.ndim) if keepdims else result
    if not isinstance(axis, tuple):
        return norm(array, ord, axis, keepdims)
    axes = tuple(axis_index(k, array.ndim) for k in axis)
    rest = [k for k in range(array.ndim) if k not in axes]
    moved = permuted(array, (*axes, *rest))
    result = norm(reshaped(moved, (math.prod(moved.shape[: len(axes)]), *moved.shape[len(axes):])), ord, 0)
    return result.reshape(tuple(1 if k in axes else d for k, d in enumerate(array.shape))) if keepdims else result


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    return norm(x, ord, (-2, -1), keepdims)


@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: Any) -> Any:
    x = strong(a)
    if x.ndim < 2:
        raise ValueError(f"{x.ndim}-dimensional array given. Array must be at least two-dimensional")
    if x.shape[-1] != x.shape[-2]:
        raise ValueError("Last 2 dimensions of the array must be square")
    power = operator.index(n)
    if power < 0:
        raise unsupported_argument("np.linalg.matrix_power", "a negative power", "it needs an inverse")
    if power == 0:
        result = empty_like(x)
        result[...] = eye(x.shape[-1], dtype=x.dtype)
        return result
    if power == 3:
        return matmul(matmul(x, x), x)
    square, found = x, None
    while True:
        power, bit = divmod(power, 2)
        if bit:
            found = square if found is None else matmul(found, square)
        if not power:
            return found
        square = matmul(square, square)


@implements(np.linalg.multi_dot)
def multi_dot(arrays: Any, *, out: Any = None) -> Any:
    """In the order of fewest multiplications."""
    factors = [strong(a) for a in arrays]
    if len(factors) < 2:
        raise ValueError("Expecting at least two arrays.")
    row, column = factors[0].ndim == 1, factors[-1].ndim == 1
    factors[0] = factors[0][None, :] if row else factors[0]
    factors[-1] = factors[-1][:, None] if column else factors[-1]
    for k, factor in enumerate(factors):
        if factor.ndim != 2:
            raise ValueError(f"{factor.ndim}-dimensional array given. Array must be two-dimensional")
        if k and factors[k - 1].shape[1] != factor.shape[0]:
            raise ValueError(f"shapes {factors[k - 1].shape} and {factor.shape} not aligned")
    sizes = [f.shape[0] for f in factors] + [factors[-1].shape[1]]

    @functools.cache
    def best(first: int, last: int) -> tuple[int, int]:
        """(multiplications, where to split) for the factors first … last."""
        if first == last:
            return 0, first
        return min((best(first, k)[0] + best(k + 1, last)[0] + sizes[first] * sizes[k + 1] * sizes[last + 1], k)
                   for k in range(first, last))

    def multiply(first: int, last: int) -> Traced:
        if first == last:
            return factors[first]
        split = best(first, last)[1]
        return _contracted(multiply(first, split), multiply(split + 1, last), (1,), (0,), "dot")

    result = multiply(0, len(factors) - 1)
    shape = (() if row else result.shape[:1]) + (() if column else result.shape[1:])
    return _checked_out(reshaped(result, shape), out)


for _name in ("inv", "solve", "svd", "svdvals", "eig", "eigh", "eigvals", "eigvalsh", "det", "slogdet", "cholesky", "qr",
              "pinv", "lstsq", "cond", "matrix_rank", "tensorsolve", "tensorinv"):
    refuse(getattr(np.linalg, _name), why="matrix decompositions are not compiled",
           hint="call it outside the compiled function")


# --- einsum ----------------------------------------------------------------------------------------------


@implements(np.einsum)
def einsum(*operands: Any, out: Any = None, dtype: Any = None, order: str = "K", casting: str = "safe",
           optimize: Any = False) -> Any:
    """Pairs of operands from the left, each by one matrix product or one broadcast product.

    Without a sum, a single operand gives a view, as NumPy's does.
    """
    terms, result, arrays = parse_einsum(operands)
    found = result_dtype(*arrays) if dtype is None else np.dtype(dtype)
    for array in arrays:
        if not np.can_cast(array.dtype, found, casting):  # type: ignore[arg-type]
            raise TypeError(f"Iterator operand required copying or buffering, but casting {array.dtype} to {found} is "
                            f"not allowed by '{casting}'")
    parts = [_Part.of(a, t) for a, t in zip(arrays, terms)]
    if len(parts) == 1 and out is None and set(parts[0].labels) == set(result) and found == arrays[0].dtype:
        view = parts[0].ordered(result)
        return returned(view if view is not arrays[0] else view[...])
    sizes: dict[Label, int] = {}
    for part in parts:
        for label, size in zip(part.labels, part.array.shape):
            if sizes.setdefault(label, size) != size and 1 not in (size, sizes[label]):
                raise ValueError(f"operands could not be broadcast together: index {label!r} has sizes "
                                 f"{sizes[label]} and {size}")
            sizes[label] = max(size, sizes[label]) if 0 not in (size, sizes[label]) else 0
    parts = [p.astype(found).without_ones(sizes) for p in parts]
    total = parts[0].summed(set(result).union(*(p.labels for p in parts[1:])))
    for k, part in enumerate(parts[1:], 1):
        later = set(result).union(*(p.labels for p in parts[k + 1:]))
        total = total.times(part.summed(later.union(total.labels)), later)
    shape = tuple(sizes[x] for x in result)
    final = total.spread(result)
    value = broadcast(final.trace, final.read(), shape)
    if value is final.read() and len(parts) > 1:
        return deliver(final, out, "np.einsum")
    return deliver(made(final.trace, final.trace.op("copy", value), shape), out, "np.einsum")


Label = str | int  # a letter, or the number of an axis below the ellipsis


def parse_einsum(operands: Sequence[Any]) -> tuple[list[list[Label]], list[Label], list[Traced]]:
    """The labels of every operand and of the result, ellipses written out."""
    if isinstance(operands[0], str):
        text = operands[0].replace(" ", "")
        arrays = [strong(a) for a in operands[1:]]
        left, arrow, right = text.partition("->")
        inputs = [_split_labels(t) for t in left.split(",")]
        output = _split_labels(right) if arrow else None
    else:
        arrays = [strong(a) for a in operands[:-1:2]] if len(operands) % 2 else [strong(a) for a in operands[::2]]
        inputs = [_named(t) for t in operands[1::2]][: len(arrays)]
        output = _named(operands[-1]) if len(operands) % 2 else None
    if len(inputs) != len(arrays):
        raise ValueError("fewer operands provided to einstein sum function than specified in the subscripts string"
                         if len(inputs) > len(arrays) else "more operands provided to einstein sum function than "
                         "specified in the subscripts string")
    terms = [_expand(t, a.ndim - (len(t) - (... in t))) for t, a in zip(inputs, arrays)]
    for term, array in zip(terms, arrays):
        if len(term) != array.ndim:
            raise ValueError(f"einstein sum subscripts have {len(term)} labels for an operand with {array.ndim} "
                             "dimensions")
    dots = sorted({x for t in terms for x in t if isinstance(x, int)})
    if output is None:
        flat = [x for t in terms for x in t if isinstance(x, str)]
        result: list[Label] = [*dots, *sorted(x for x in set(flat) if flat.count(x) == 1)]
    else:
        result = _expand(output, len(dots))
    if len(result) != len(set(result)):
        raise ValueError("einstein sum subscripts string includes output subscript multiple times")
    if unknown := [x for x in result if not any(x in t for t in terms)]:
        raise ValueError(f"einstein sum subscripts string included output subscript '{unknown[0]}' which never "
                         "appeared in an input")
    if set(dots) - set(result):
        raise ValueError("output has no ellipsis for the axes that the operands' ellipses broadcast")
    return terms, result, arrays


def _split_labels(text: str) -> list[Any]:
    head, dots, tail = text.partition("...")
    if not (head + tail).isalpha() and head + tail:
        raise ValueError(f"invalid subscript in {text!r} of einstein sum subscripts string, subscripts must be letters")
    return [*head, *([...] if dots else []), *tail]


def _named(labels: Sequence[Any]) -> list[Any]:
    """The list form of subscripts: numbers stand for letters, in their order."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    return [... if x is ... else alphabet[operator.index(x)] for x in labels]


def _expand(labels: list[Any], missing: int) -> list[Label]:
    """The ellipsis as numbers that count from the right, so that operands of different ranks broadcast."""
    found: list[Label] = []
    for label in labels:
        if label is ...:
            found.extend(range(-missing, 0))
        else:
            found.append(label)
    return found


class _Part:
    """An array whose axes have labels, each once."""

    def __init__(self, array: Traced, labels: Sequence[Label]) -> None:
        self.array, self.labels = array, list(labels)

    @staticmethod
    def of(array: Traced, labels: Sequence[Label]) -> _Part:
        """Repeated labels become diagonals."""
        names = list(labels)
        while repeated := next((x for x in names if names.count(x) > 1), None):
            first = names.index(repeated)
            second = names.index(repeated, first + 1)
            if array.shape[first] != array.shape[second]:
                raise ValueError(f"dimensions in operand for collapsing index '{repeated}' don't match "
                                 f"({array.shape[first]} != {array.shape[second]})")
            array = array.view("diagonal", offset=0, axis1=first, axis2=second)
            names = [x for k, x in enumerate(names) if k not in (first, second)] + [repeated]
        return _Part(array, names)

    def astype(self, dtype: DType) -> _Part:
        return self if dtype == self.array.dtype else _Part(self.array.astype(dtype), self.labels)

    def ordered(self, labels: Sequence[Label]) -> Traced:
        """The array with its axes in this order."""
        return permuted(self.array, [self.labels.index(x) for x in labels])

    def without_ones(self, sizes: dict[Label, int]) -> _Part:
        """Axes of length 1 that broadcast are left out."""
        drop = [k for k, x in enumerate(self.labels) if self.array.shape[k] == 1 and sizes[x] != 1]
        if not drop:
            return self
        keep = [k for k in range(len(self.labels)) if k not in drop]
        return _Part(reshaped(self.array, [self.array.shape[k] for k in keep]), [self.labels[k] for k in keep])

    def summed(self, needed: set[Label]) -> _Part:
        """Labels that nothing needs any more are summed away."""
        axes = tuple(k for k, x in enumerate(self.labels) if x not in needed)
        if not axes:
            return self
        trace, dtype = self.array.trace, self.array.dtype
        value = _sum(trace, self.array.read(), axes, dtype)
        return _Part(Traced.fresh(trace, value), [x for x in self.labels if x in needed])

    def times(self, other: _Part, later: set[Label]) -> _Part:
        """The product, summed over labels that both have and nothing later needs."""
        shared = [x for x in self.labels if x in other.labels and x not in later]
        both = [x for x in self.labels if x in other.labels and x in later]
        mine = [x for x in self.labels if x not in other.labels]
        others = [x for x in other.labels if x not in self.labels]
        if not shared:
            labels = [*both, *mine, *others]
            return _Part(np.multiply(self.spread(labels), other.spread(labels)), labels)  # type: ignore[arg-type]

        def size(part: _Part, labels: Sequence[Label]) -> tuple[int, ...]:
            return tuple(part.array.shape[part.labels.index(x)] for x in labels)

        batch, rows, depth, columns = size(self, both), size(self, mine), size(self, shared), size(other, others)
        a = reshaped(self.ordered([*both, *mine, *shared]), (*batch, math.prod(rows), math.prod(depth)))
        b = reshaped(other.ordered([*both, *shared, *others]), (*batch, math.prod(depth), math.prod(columns)))
        value = Traced.fresh(a.trace, product_value(a, b, a.dtype))
        return _Part(reshaped(value, (*batch, *rows, *columns)), [*both, *mine, *others])

    def spread(self, labels: Sequence[Label]) -> Traced:
        """The array with these axes, length 1 where it has no such label."""
        ordered = self.ordered([x for x in labels if x in self.labels])
        return ordered[tuple(slice(None) if x in self.labels else None for x in labels)] if labels else ordered


def _sum(trace: Trace, value: Value, axes: tuple[int, ...], dtype: DType) -> Value:
    """A sum without NumPy's widening of small integers; on bool it is `or`, as in NumPy's einsum."""
    if dtype.kind == "b":
        return trace.op("any", value, axes=axes)
    if dtype == F16:
        return cast(trace, trace.op("sum", cast(trace, value, F32), axes=axes), F16)
    return trace.op("sum", value, axes=axes)
