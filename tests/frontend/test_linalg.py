"""Factorizations and what is solved with them, against NumPy."""

import numpy as np
import pytest

from tests.programs.harness import backends, check, check_refused

each_backend = pytest.mark.parametrize("backend", backends("interp", "cpu"))
DTYPES = ["f8", "f4", "c16", "i8"]


def matrix(n, m, dtype, seed=3):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((n, m)) * 3
    if dtype == "c16":
        values = values + 1j * rng.standard_normal((n, m))
    return values.astype(dtype)


def definite(n, dtype):
    a = matrix(n, n, dtype)
    return a @ a.conj().T + np.eye(n, dtype=a.dtype) * n


def near(dtype):
    return {"rtol": 1e-3, "atol": 1e-3} if dtype == "f4" else {"rtol": 1e-8, "atol": 1e-9}


def cholesky(a):
    return np.linalg.cholesky(a)


def upper_cholesky(a):
    return np.linalg.cholesky(a, upper=True)


def solve(a, b):
    return np.linalg.solve(a, b)


def inverse(a):
    return np.linalg.inv(a)


def determinants(a):
    return np.linalg.det(a), np.linalg.slogdet(a)


def qr(a):
    return np.linalg.qr(a)


def complete_qr(a):
    return np.linalg.qr(a, mode="complete")


def only_r(a):
    return np.linalg.qr(a, "r")


def covariances(a, b):
    return np.cov(a), np.cov(a, rowvar=False), np.cov(a, b, bias=True), np.cov(a[0]), np.corrcoef(a)


@each_backend
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 20])
def test_square(n, dtype, backend):
    options = {"check_memory": False, **near(dtype)}
    check(cholesky, lambda: (definite(n, dtype),), backend, **options)
    check(solve, lambda: (matrix(n, n, dtype), matrix(n, 1, dtype, 4)[:, 0]), backend, **options)
    check(inverse, lambda: (matrix(n, n, dtype),), backend, **options)
    if n < 20 or dtype != "f4":
        check(determinants, lambda: (matrix(n, n, dtype),), backend, **options)


@each_backend
@pytest.mark.parametrize("dtype", ["f8", "c16"])
@pytest.mark.parametrize("shape", [(4, 4), (12, 5), (3, 6)])
def test_qr(shape, dtype, backend):
    for program in (qr, complete_qr, only_r):
        check(program, lambda: (matrix(*shape, dtype),), backend, check_memory=False, **near(dtype))


@each_backend
def test_covariance(backend):
    check(covariances, lambda: (matrix(5, 30, "f8"), matrix(5, 30, "f8", 9)), backend, check_memory=False,
          rtol=1e-10, atol=1e-12)
    check(covariances, lambda: (matrix(3, 8, "i8"), matrix(3, 8, "i8", 9)), backend, check_memory=False,
          rtol=1e-10, atol=1e-12)


@each_backend
def test_stacks(backend):
    stack = np.stack([definite(4, "f8") + k for k in range(20)]).reshape(2, 10, 4, 4)
    for program in (cholesky, upper_cholesky, inverse, determinants):
        check(program, lambda: (stack.copy(),), backend, check_memory=False, rtol=1e-8, atol=1e-9)
    check(solve, lambda: (stack.copy(), np.ones((4, 3))), backend, check_memory=False, rtol=1e-8, atol=1e-9)


@each_backend
def test_singular(backend):
    singular = np.array([[1.0, 2.0], [2.0, 4.0]])
    check(determinants, lambda: (np.zeros((3, 3)),), backend)
    check(determinants, lambda: (np.array([[0.0, 2.0], [3.0, 0.0]]),), backend, rtol=1e-12)
    for program, args in ((inverse, (singular,)), (solve, (singular, np.ones(2))), (cholesky, (-singular,))):
        check_refused(program, lambda args=args: args, backend, base=ValueError)
    for args in ((np.ones((2, 3)),), (np.ones(3),)):
        check_refused(inverse, lambda args=args: args, backend, base=ValueError)
