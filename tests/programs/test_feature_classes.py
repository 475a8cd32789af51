"""What whole NumPy programs are made of, one small program for each kind, on every backend; and that neither code
nor memory grows with the number of turns."""

from __future__ import annotations

import numpy as np
import pytest

import sparsec
from sparsec.passes.plan_memory import memory_report
from tests.programs.harness import backends, check


def heat(t, u):
    """A time loop with slice stores, through two buffers that take turns."""
    v = np.empty_like(u)
    v[...] = u
    for _ in range(t):
        v[1:-1] = 0.25 * u[:-2] + 0.5 * u[1:-1] + 0.25 * u[2:]
        u[1:-1] = 0.25 * v[:-2] + 0.5 * v[1:-1] + 0.25 * v[2:]
    return u


def smooth(x):
    """Recurrences along an axis, forward and backward."""
    for j in range(1, x.shape[1]):
        x[:, j] += 0.5 * x[:, j - 1]
    for j in range(x.shape[1] - 2, -1, -1):
        x[:, j] -= 0.25 * x[:, j + 1]
    return x[:, ::-1].sum(axis=1)


def factorise(a):
    """Bounds of a triangle; the first slices are empty."""
    for i in range(a.shape[0]):
        for j in range(i):
            a[i, j] = (a[i, j] - a[i, :j] @ a[:j, j]) / a[j, j]
        for j in range(i, a.shape[0]):
            a[i, j] -= a[i, :i] @ a[:i, j]
    return a


def stretch(image, out):
    """A loop over pixels with branches and clipped neighbours."""
    height, width = image.shape
    for y in range(height):
        for x in range(width):
            low, high = max(y - 1, 0), min(y + 2, height)
            value = image[low:high, x].max()
            if value > 0.5 and x % 3 != 1:
                out[y, x] = value
            elif value < -0.5:
                out[y, x] = -value
    return out


def select(x, k):
    """Masks and gathers."""
    chosen = x[x > 0]
    x[x < -1] = -1
    spread = np.zeros(5)
    np.add.at(spread, k, 1.5)
    return chosen, x[k], spread, np.flatnonzero(x > 0.5), chosen[::-1].cumsum()


def checksum(data):
    """Scalars only: a bitwise code, a running minimum, a position."""
    code, least, at = 0xFFFF, 1 << 40, -1
    for i in range(data.shape[0]):
        code ^= int(data[i])
        for _ in range(4):
            code = (code >> 1) ^ 0x8408 if code & 1 else code >> 1
        if data[i] < least:
            least, at = int(data[i]), i
    return code, least, at


def sparse_product(start, columns, values, x):
    """Rows of a compressed matrix: ranges that the data give, some of them empty."""
    y = np.empty(start.shape[0] - 1)
    for i in range(y.shape[0]):
        first, last = start[i], start[i + 1]
        y[i] = values[first:last] @ x[columns[first:last]]
    return y


def descend(x, limit):
    """`while` with several exits, `continue` and scalars that go on."""
    step, turns, best = 1.0, 0, x[0]
    while step > 1e-3:
        turns += 1
        if turns > limit:
            break
        moved = x[0] - step * 2.0 * (x[0] - 3.0)
        if (moved - 3.0) ** 2 >= (x[0] - 3.0) ** 2:
            step *= 0.5
            continue
        x[0] = moved
        best = min(best, abs(moved - 3.0))
        if best < 1e-6:
            return turns, step, best
    return -turns, step, best


def afterwards(x):
    """What loops leave in variables: read by a statement, by an in-place one, by a function, by the next turn."""
    for k in range(3):
        if k:
            x[k % 3] += last  # noqa: F821
        for i in range(60):
            last = x[i % 3] + i  # noqa: F841
    for i in range(40):
        row, scale, seen = x * i, x[i % 3], x[0] + i
    row += 1
    scale *= 2
    return row, scale, (lambda: seen)(), i


def normal(*shape):
    return np.random.default_rng(7).normal(size=shape)


def dominant(n):
    return normal(n, n) + n * np.eye(n)


PROGRAMS = [
    (heat, lambda: (20, normal(9))),
    (smooth, lambda: (normal(3, 20),)),
    (factorise, lambda: (dominant(18),)),
    (stretch, lambda: (normal(3, 17), np.zeros((3, 17)))),
    (select, lambda: (normal(12), np.array([0, 4, 4, 2]))),
    (checksum, lambda: (np.array([3, 77, 5, 250] * 6, np.uint8),)),
    (sparse_product, lambda: (np.array([0, 2, 2, *[5] * 16, 6]), np.array([1, 3, 0, 1, 2, 3]), normal(6), normal(4))),
    (afterwards, lambda: (np.arange(1.0, 4.0),)),
    (descend, lambda: (np.array([10.0]), 100)),
    (descend, lambda: (np.array([10.0]), 3)),
    (descend, lambda: (np.array([3.0 + 2**-30]), 100)),
]


@pytest.mark.parametrize("backend", backends())
@pytest.mark.parametrize(("fn", "args"), PROGRAMS, ids=lambda x: getattr(x, "__name__", ""))
def test_programs(fn, args, backend):
    check(fn, args, backend, rtol=1e-12, atol=1e-13)


def long_loop(x, turns):
    total = 0.0
    for i in range(turns):
        total = total * 0.5 + x[i % 7]
    return total


def test_code_does_not_grow_with_the_turns():
    few, many = (sparsec.jit(long_loop).lower(np.arange(7.0), turns) for turns in (1000, 1_000_000))
    assert few.as_text("llvm").count("\n") == many.as_text("llvm").count("\n")


@pytest.mark.parametrize("fn", [factorise, np.linalg.cholesky, np.linalg.solve])
def test_neither_code_nor_memory_grows_with_the_matrix(fn):
    count = 2 if fn is np.linalg.solve else 1
    small, large = (sparsec.jit(lambda *args: fn(*args)).lower(*[np.empty((n, n))] * count) for n in (200, 2000))
    assert len(small.kernels) == len(large.kernels)
    if fn is factorise:  # in place: all that it needs are a few scalars
        assert memory_report(large.compilation.planned).peak < 4096


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_integers_are_compared_with_python_ints_of_any_size(dtype):
    def compare(x, n):
        k = int(n[0])
        return x < k, k < x, x == k, x[1] >= k, x[2] != k

    for k in (3, 300, -1, 1 << 40):
        for backend in backends("interp", "cpu"):
            check(compare, lambda k=k: (np.array([1, 3, 200], dtype), np.array([k])), backend)
