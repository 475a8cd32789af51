"""Norms, powers of matrices, chains of products; and the decompositions, which are refused."""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.dispatch import implements
from sparsec.frontend.numpy_api.creation import empty_like, eye
from sparsec.frontend.numpy_api.products import checked_out, contracted, matmul
from sparsec.frontend.numpy_api.support import (
    axis_index,
    flattened,
    permuted,
    refuse,
    reshaped,
    returned,
    strong,
    unsupported_argument,
)
from sparsec.ir.types import F64


def _inexact(x: Any) -> Any:
    found = strong(x)
    return found if found.dtype.kind in "fc" else found.astype(F64)


def _squares(x: Any) -> Any:
    """|x|² as NumPy computes it."""
    return (np.conjugate(x) * x).real if x.dtype.kind == "c" else x * x


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


def _vector_norm(x: Any, ord: Any, axis: Any, keepdims: bool) -> Any:
    if isinstance(ord, str):
        raise ValueError(f"Invalid norm order '{ord}' for vectors")
    if ord is None or ord == 2:
        return np.sqrt(_squares(x).sum(axis=axis, keepdims=keepdims))
    size = np.abs(x)
    if ord == math.inf:
        return size.max(axis=axis, keepdims=keepdims, initial=0)
    if ord == -math.inf:
        return size.min(axis=axis, keepdims=keepdims)
    if ord == 0:
        return (x != 0).astype(size.dtype).sum(axis=axis, keepdims=keepdims)
    if ord == 1:
        return size.sum(axis=axis, keepdims=keepdims)
    total = np.power(size, ord).sum(axis=axis, keepdims=keepdims)
    return np.power(total, np.reciprocal(float(ord)).astype(total.dtype).item())


def _matrix_norm(x: Any, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    rows, columns = axes
    if rows == columns:
        raise ValueError("Duplicate axes given.")
    if ord in (None, "fro", "f"):
        return np.sqrt(_squares(x).sum(axis=axes, keepdims=keepdims))
    if ord in (2, -2, "nuc"):
        raise unsupported_argument(
            "np.linalg.norm", f"ord={ord!r} of a matrix", "it needs a singular value decomposition"
        )
    if ord not in (1, -1, math.inf, -math.inf):
        raise ValueError("Invalid norm order for matrices.")
    first, second = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = np.abs(x).sum(axis=first, keepdims=True)
    result = (
        sums.max(axis=second, keepdims=True, initial=0) if ord > 0 else sums.min(axis=second, keepdims=True)
    )
    return result if keepdims else returned(result.squeeze(axis=axes))


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
    result = norm(reshaped(moved, (math.prod(moved.shape[: len(axes)]), *moved.shape[len(axes) :])), ord, 0)
    return (
        result.reshape(tuple(1 if k in axes else d for k, d in enumerate(array.shape)))
        if keepdims
        else result
    )


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    return norm(x, ord, (-2, -1), keepdims)


@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: Any) -> Any:
    x = strong(a)
    if x.ndim < 2:
        raise np.linalg.LinAlgError(f"{x.ndim}-dimensional array given. Array must be at least two-dimensional")
    if x.shape[-1] != x.shape[-2]:
        raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square")
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
        return min(
            (best(first, k)[0] + best(k + 1, last)[0] + sizes[first] * sizes[k + 1] * sizes[last + 1], k)
            for k in range(first, last)
        )

    def multiply(first: int, last: int) -> Traced:
        if first == last:
            return factors[first]
        split = best(first, last)[1]
        return contracted(multiply(first, split), multiply(split + 1, last), (1,), (0,), "dot")

    result = multiply(0, len(factors) - 1)
    shape = (() if row else result.shape[:1]) + (() if column else result.shape[1:])
    return checked_out(reshaped(result, shape), out)


for _name in (
    "svd",
    "svdvals",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "pinv",
    "lstsq",
    "cond",
    "matrix_rank",
    "tensorsolve",
    "tensorinv",
):
    refuse(
        getattr(np.linalg, _name),
        why="this decomposition is not compiled",
        hint="call it outside the compiled function",
    )
