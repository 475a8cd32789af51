"""Slices, shapes and results whose lengths are known only when the program runs, against NumPy."""

import numpy as np
import pytest

from tests.programs.harness import backends, check, check_refused

each_backend = pytest.mark.parametrize("backend", backends("interp", "cpu"))


def normal(*shape):
    return lambda: (np.random.default_rng(7).standard_normal(shape),)


# --- slices with run-time bounds ---------------------------------------------------------------------------


def triangular(a):
    for i in range(a.shape[0]):
        for j in range(i):
            a[i, j] -= a[i, :j] @ a[:j, j]
            a[i, j] /= a[j, j]
        for j in range(i, a.shape[0]):
            a[i, j] -= a[i, :i] @ a[:i, j]
    return a


def reversed_parts(x):
    out = np.zeros_like(x)
    for k in range(x.shape[0]):
        out[k] = x[k::-1].sum() - x[k:0:-1].sum() + x[: k + 1][::2].sum()
    return out


def growing_means(x):
    out = np.zeros((3, x.shape[0]))
    for i in range(1, x.shape[0]):
        part = x[:i]
        out[0, i], out[1, i], out[2, i] = part.mean(), part.max(), np.argmin(part)
    return out


def window(x, w):
    n = x.shape[0]
    out = np.zeros(n)
    for i in range(n):
        lo, hi = max(0, i - w), min(n, i + w + 1)
        out[i] = np.median(x[lo:hi]) if w < 0 else x[lo:hi].mean()
    return out


def rows_of(data, columns, start, x):
    y = np.empty(start.shape[0] - 1)
    for i in range(start.shape[0] - 1):
        where = columns[start[i] : start[i + 1]]
        y[i] = data[start[i] : start[i + 1]] @ x[where]
    return y


def sparse_rows():
    rng = np.random.default_rng(1)
    start = np.array([0, 3, 3, 7, 12, 20])
    return rng.standard_normal(20), rng.integers(0, 9, 20), start, rng.standard_normal(9)


# --- selections ----------------------------------------------------------------------------------------------


def shrinking(x):
    steps = 0
    z = x.copy()
    which = np.arange(x.shape[0])
    out = np.zeros(x.shape[0], np.int64)
    for i in range(40):
        if not len(z):
            break
        z = z * z + 0.3
        gone = z > 2.0
        out[which[gone]] = i + 1
        keep = ~gone
        z, which = z[keep], which[keep]
        steps += 1
    return out, z, steps


def masks(x):
    chosen = x[x > 0]
    x[x < -1] = 0.0
    return chosen, chosen.sum(), chosen.mean(), x[np.abs(x) < 0.5] * 2.0


def positions(x):
    return np.nonzero(x > 0.5), np.flatnonzero(x < 0), np.argwhere(x > 1), np.extract(x > 0, x), np.where(x < 0)


def uniques(k):
    values, index, inverse, counts = np.unique(k, return_index=True, return_inverse=True, return_counts=True)
    return values, index, inverse, counts, np.unique(k * 0.5)


def sets(a, b):
    return np.union1d(a, b), np.setdiff1d(a, b), np.intersect1d(a, b)


def counted(k):
    total = np.zeros(10)
    np.add.at(total, k, 1.5)
    return total, np.bincount(k, minlength=10), np.histogram(k, bins=4)


def best(x):
    order = np.argsort(-x, kind="stable")[:5]
    return order, x[order], np.sort(np.partition(x, 3)[:4])


def suppress(boxes, scores):
    order = np.argsort(-scores, kind="stable")
    keep = np.zeros(scores.shape[0], np.bool_)
    while order.size > 0:
        i = order[0]
        keep[i] = True
        rest = order[1:]
        overlap = np.abs(boxes[rest] - boxes[i])
        order = rest[overlap > 0.3]
    return np.flatnonzero(keep)


PROGRAMS = [
    (triangular, lambda: (np.random.default_rng(2).random((20, 20)) + 20 * np.eye(20),)),
    (reversed_parts, normal(25)),
    (growing_means, normal(25)),
    (window, lambda: (np.arange(30.0) ** 1.5, 4)),
    (rows_of, sparse_rows),
    (shrinking, lambda: (np.linspace(-1.5, 1.5, 40),)),
    (masks, normal(30)),
    (positions, normal(30)),
    (uniques, lambda: (np.random.default_rng(3).integers(0, 9, 30),)),
    (sets, lambda: (np.array([3, 1, 4, 1, 5]), np.array([9, 2, 6, 5, 3, 5]))),
    (counted, lambda: (np.random.default_rng(3).integers(0, 10, 30),)),
    (best, normal(30)),
    (suppress, lambda: (np.random.default_rng(4).random(30) * 5, np.random.default_rng(5).random(30))),
]


@each_backend
@pytest.mark.parametrize("program, arguments", PROGRAMS, ids=lambda p: getattr(p, "__name__", ""))
def test_programs(program, arguments, backend):
    check(program, arguments, backend, rtol=1e-11, atol=1e-12, check_memory=False)


# --- refusals and run-time errors ----------------------------------------------------------------------------


def at(x, i):
    x[0] = 5.0
    return x[i[0]]


def largest_of_none(x):
    return x[x > 100.0].max()


@each_backend
def test_errors(backend):
    check_refused(at, lambda: (np.zeros(3), np.array([7])), backend, base=IndexError)
    check(lambda k: np.bincount(k), lambda: (np.array([1, 4]),), backend)
    check_refused(largest_of_none, lambda: (np.zeros(3),), backend, base=ValueError)


@pytest.mark.parametrize("backend", backends("opencl"))
@pytest.mark.parametrize("program, arguments", [PROGRAMS[0], PROGRAMS[4], PROGRAMS[5]],
                         ids=lambda p: getattr(p, "__name__", ""))
def test_on_a_device(program, arguments, backend):
    check(program, arguments, backend, rtol=1e-11, atol=1e-12, check_memory=False)


@each_backend
def test_a_slice_of_a_loop_condition_is_of_its_loop(backend):
    """Whether a condition is static is found by tracing it once before the loop, which leaves nothing behind."""

    def f(x):
        for i in range(2, x[0, 1] % 2, -1):
            n = 0
            while (x[:i:-1, i] > 1).any() and n < 4:
                n += 1
                x[:, i - 1] += 3

    check(f, lambda: (np.arange(15).reshape(3, 5) % 7,), backend)
