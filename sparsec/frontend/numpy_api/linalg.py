"""np.linalg: solve, inv, det, slogdet, cholesky and qr, of one matrix or of stacks of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.control.scope import EMPTY
from sparsec.frontend.control.statements import for_
from sparsec.frontend.convert import as_traced
from sparsec.frontend.dispatch import implements
from sparsec.frontend.numpy_api.creation import array, eye, zeros_like
from sparsec.frontend.numpy_api.factorizations import (
    cholesky_lower,
    householder_in_place,
    lu_in_place,
    orthogonal_factor,
    solve_in_place,
)
from sparsec.frontend.numpy_api.support import agreed, common_shape, new_array, unsupported_argument
from sparsec.ir.dims import product

# The classes that NumPy returns have no public name.
QRResult: Any = type(np.linalg.qr(np.eye(1)))
SlogdetResult: Any = type(np.linalg.slogdet(np.eye(1)))


def _matrices(a: Any, square: bool = True) -> Traced:
    """A copy in the dtype that LAPACK would compute in. Raises LinAlgError for what is no (square) matrix."""
    x = as_traced(a)
    if x.ndim < 2:
        raise np.linalg.LinAlgError(
            f"{x.ndim}-dimensional array given. Array must be at least two-dimensional")
    if square:
        if isinstance(x.shape[-1], int) and isinstance(x.shape[-2], int) and x.shape[-1] != x.shape[-2]:
            raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square")
        agreed(x.trace, x.shape[-1], x.shape[-2], "Last 2 dimensions of the array must be square")
    return array(x, dtype=_dtype(x), order="C")


def _dtype(*arrays: Traced) -> np.dtype[Any]:
    found = np.result_type(*(x.dtype for x in arrays))
    if found.kind in "biu":
        return np.dtype(np.float64)
    if found == np.float16:
        raise TypeError("array type float16 is unsupported in linalg")
    return found


def _each(stack: Traced, rank: int, action: Callable[..., None], *others: Traced) -> None:
    """Calls `action` on each matrix of a stack, with the items of the other arrays at the same place."""
    arrays = [stack, *others]
    lead = stack.ndim - rank
    if lead == 0:
        action(*arrays)
        return
    for k in range(len(arrays)):
        arrays[k] = _row(arrays[k], lead) if lead > 1 else arrays[k]
    count = arrays[0].shape[0]

    def body(k: Any) -> None:
        action(*(x[k, ...] for x in arrays))

    for_(range(count), body, EMPTY)


def _row(x: Traced, lead: int) -> Traced:
    """A stack of matrices as a row of them, through which the stack can be written."""
    return x.view("reshape", shape=(product(x.type.shape[:lead]), *x.type.shape[lead:]))


@implements(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Traced:
    x = _matrices(a)
    result = zeros_like(x)

    def action(matrix: Traced, factor: Traced) -> None:
        if upper:
            factor[...] = cholesky_lower(matrix.T.conj()).T.conj()
        else:
            factor[...] = cholesky_lower(matrix)

    _each(x, 2, action, result)
    return result


@implements(np.linalg.solve)
def solve(a: Any, b: Any) -> Traced:
    """A vector is one right side, everything else is a stack of matrices of right sides."""
    given, right = as_traced(a), as_traced(b)
    dtype = _dtype(given, right)
    x = _matrices(given).astype(dtype, copy=False)
    vector = right.ndim == 1
    y = array(right[:, None] if vector else right, dtype=dtype, order="C")
    if right.ndim == 0:
        raise np.linalg.LinAlgError("0-dimensional array given. Array must be at least one-dimensional")
    agreed(x.trace, y.shape[-2], x.shape[-1], "solve: the matrix and the right side differ in their number of rows")
    if x.ndim != y.ndim:
        lead = common_shape(x.shape[:-2], y.shape[:-2])
        x = array(np.broadcast_to(x, (*lead, *x.shape[-2:])))
        y = array(np.broadcast_to(y, (*lead, *y.shape[-2:])))
    _each(x, 2, _solve_one, y)
    return y[..., 0] if vector else y


def _solve_one(matrix: Traced, right: Traced) -> None:
    exchanges, _ = lu_in_place(matrix)
    solve_in_place(matrix, exchanges, right)


@implements(np.linalg.inv)
def inv(a: Any) -> Traced:
    x = _matrices(a)
    result = zeros_like(x)
    result[...] = eye(x.shape[-1], dtype=x.dtype)
    _each(x, 2, _solve_one, result)
    return result


def _determinants(a: Any, of: Callable[..., Any], *dtypes: np.dtype[Any]) -> list[Traced]:
    """One number for each matrix and dtype: `of(diagonal, sign)` gives them."""
    x = _matrices(a)
    results = [new_array(x.trace, x.shape[:-2], d) for d in dtypes]

    def action(matrix: Traced, *places: Traced) -> None:
        _, sign = lu_in_place(matrix)
        for place, value in zip(places, of(matrix.diagonal(), sign)):
            place[...] = value

    _each(x, 2, action, *results)
    return [r if r.ndim else r[()] for r in results]


def _of(sign: Any, dtype: np.dtype[Any]) -> Any:
    """A sign, traced or not, as a scalar."""
    return as_traced(sign).astype(dtype) if isinstance(sign, Traced) else dtype.type(sign)


@implements(np.linalg.det)
def det(a: Any) -> Any:
    dtype = _dtype(as_traced(a))

    def of(diagonal: Traced, sign: Any) -> tuple[Any]:
        return (np.prod(diagonal) * _of(sign, dtype),)

    return _determinants(a, of, dtype)[0]


@implements(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    dtype = _dtype(as_traced(a))
    real = np.zeros((), dtype).real.dtype

    def of(diagonal: Traced, sign: Any) -> tuple[Any, Any]:
        size = np.abs(diagonal)
        singular = np.any(size == 0)
        turned = np.prod(diagonal / np.where(size == 0, real.type(1), size)) * _of(sign, dtype)
        logs = np.sum(np.log(np.where(size == 0, real.type(1), size)))
        return (np.where(singular, dtype.type(0), turned),
                np.where(singular, real.type(-np.inf), logs))

    return SlogdetResult(*_determinants(a, of, dtype, real))


@implements(np.linalg.qr)
def qr(a: Any, mode: str = "reduced") -> Any:
    """Householder reflections with LAPACK's signs; of one matrix."""
    x = _matrices(a, square=False)
    if x.ndim > 2:
        raise unsupported_argument("np.linalg.qr", "a stack of matrices")
    if mode not in ("reduced", "complete", "r"):
        raise unsupported_argument("np.linalg.qr", f"mode={mode!r}")
    m, n = x.shape
    scales = householder_in_place(x)
    rows = m if mode == "complete" else min(m, n)
    upper = np.triu(x[:rows])
    if mode == "r":
        return upper
    return QRResult(orthogonal_factor(x, scales, rows), upper)
