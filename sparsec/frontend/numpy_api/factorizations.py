"""Cholesky, LU and QR factorizations of one matrix, as NumPy programs that work in place.

Cholesky and LU go by blocks of columns, so that most of the work is one matrix product for each block.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsec.frontend.programs import loop, require, staged

_BLOCK = 48


@staged
def cholesky_lower(a: Any) -> Any:
    """The lower factor of a matrix of which only the lower half is read. Raises ValueError at run time."""
    n = a.shape[0]
    factor = np.zeros((n, n), a.dtype)
    for first in loop(0, n, _BLOCK):
        last = min(first + _BLOCK, n)
        panel = a[first:, first:last].T.copy()  # columns lie as rows: a step walks neighbours
        panel -= factor[first:last, :first].conj() @ factor[first:, :first].T
        for j in loop(0, last - first):
            panel[j, j:] -= panel[:j, j].conj() @ panel[:j, j:]
            square = panel[j, j].real
            require(square > 0, "Matrix is not positive definite")
            root = np.sqrt(square)
            panel[j, j:] /= root
            panel[j, j] = root
            panel[j, :j] = 0
        factor[first:, first:last] = panel.T
    return factor


@staged
def lu_in_place(a: Any) -> tuple[Any, Any]:
    """Makes `a` its own LU factors by partial pivoting; gives the row exchanges and their sign.

    A column without a pivot is left as it is: its zero stands on the diagonal.
    """
    n = a.shape[0]
    exchanges = np.zeros(n, np.int64)
    sign = 1.0
    for first in loop(0, n, _BLOCK):
        last = min(first + _BLOCK, n)
        for k in loop(first, last):
            size = np.abs(a[k:, k])
            p = k + np.argmax(size)
            exchanges[k] = p
            if p != k:
                sign = -sign
            row = a[k].copy()
            a[k] = a[p]
            a[p] = row
            pivot = a[k, k]
            divisor = np.where(pivot == 0, np.ones((), a.dtype), pivot)
            a[k + 1 :, k] /= divisor
            a[k + 1 :, k + 1 : last] -= a[k + 1 :, k, None] * a[k, None, k + 1 : last]
        for i in loop(first + 1, last):
            a[i, last:] -= a[i, first:i] @ a[first:i, last:]
        a[last:, last:] -= a[last:, first:last] @ a[first:last, last:]
    return exchanges, sign


@staged
def solve_in_place(factors: Any, exchanges: Any, b: Any) -> None:
    """Makes the columns of `b` the solutions. Raises ValueError at run time for a singular matrix."""
    n = factors.shape[0]
    for k in loop(0, n):
        require(factors[k, k] != 0, "Singular matrix")
    for k in loop(0, n):
        p = exchanges[k]
        row = b[k].copy()
        b[k] = b[p]
        b[p] = row
    for i in loop(1, n):
        b[i] -= factors[i, :i] @ b[:i]
    for i in loop(n - 1, -1, -1):
        b[i] = (b[i] - factors[i, i + 1 :] @ b[i + 1 :]) / factors[i, i]


@staged
def householder_in_place(a: Any) -> Any:
    """Makes `a` its triangular factor, with the reflections below the diagonal; gives their factors."""
    m, n = a.shape
    count = min(m, n)
    scales = np.zeros(count, a.dtype)
    for k in loop(0, count):
        alpha = a[k, k]
        tail = np.sum(np.abs(a[k + 1 :, k]) ** 2) + alpha.imag**2
        length = np.sqrt(alpha.real**2 + tail)
        beta = np.where(alpha.real > 0, -length, length)
        flat = tail == 0
        beta = np.where(flat, alpha.real, beta)
        safe = np.where(flat, 1, beta)
        scale = np.where(flat, 0, (safe - alpha) / safe)
        a[k + 1 :, k] /= np.where(flat, 1, alpha - beta)
        a[k, k] = beta
        scales[k] = scale
        reflect(a[k:, k + 1 :], a[k + 1 :, k], scale.conj())
    return scales


@staged
def reflect(block: Any, direction: Any, scale: Any) -> None:
    """block -= scale * v (v^H block), where v is 1 and then `direction`."""
    along = scale * (block[0] + direction.conj() @ block[1:])
    block[0] -= along
    block[1:] -= direction[:, None] * along[None, :]


@staged
def orthogonal_factor(a: Any, scales: Any, columns: int) -> Any:
    """The first columns of Q, from what `householder_in_place` left."""
    m = a.shape[0]
    q = np.eye(m, columns, dtype=a.dtype)
    for k in loop(scales.shape[0] - 1, -1, -1):
        reflect(q[k:, k:], a[k + 1 :, k], scales[k])
    return q
