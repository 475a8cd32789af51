"""Loops, branches and jumps against NumPy: what unrolls and what becomes one op gives the same."""

import math

import numpy as np
import pytest

from tests.programs.harness import backends, check

each_backend = pytest.mark.parametrize("backend", backends("interp", "cpu"))


def grid(*shape):
    return lambda: (np.random.default_rng(5).standard_normal(shape),)


# --- loops over ranges ------------------------------------------------------------------------------------


def time_loop(x):
    for t in range(1, 40):
        x[1:-1] = (x[:-2] + x[1:-1] + x[2:]) / 3.0
        x[0] = t
    return x


def forward_and_backward(x):
    n = x.shape[0]
    for i in range(1, n):
        x[i] = x[i - 1] * 0.5 + x[i]
    for i in range(n - 2, -1, -1):
        x[i] -= 0.25 * x[i + 1]
    return x


def triangle(x):
    total = 0.0
    for i in range(x.shape[0]):
        for j in range(i + 1):
            total += x[i, j]
        for j in range(i + 1, x.shape[1]):
            x[i, j] = -x[j, i]
    return total


def two_buffers(x):
    a = x.copy()
    b = np.empty_like(x)
    for _ in range(25):
        b[0] = a[-1]
        b[1:] = a[:-1] + 0.5
        a, b = b, a
    return a


def swapped_arguments(a, b):
    for k in range(20):
        b[:] = a * 0.5 + k
        a, b = b, a
    return a + b


def written_then_replaced(x):
    for k in range(20):
        x[0] = k + 1.0
        x = x * 2.0
    return x


def pair(x):
    best = (0, x[0])
    for i in range(1, x.shape[0]):
        if x[i] > best[1]:
            best = (i, x[i])
    return best


def rows(a):
    total = np.zeros(a.shape[1])
    for row in a:
        total += row * row
    return total


def numbered(a):
    out = 0.0
    for i, (u, v) in enumerate(zip(a, a[::-1])):
        out += i * u * v
    return out


def backwards(a):
    out = np.zeros(a.shape[0])
    last = 0.0
    for i, v in enumerate(reversed(a)):
        last = last * 0.5 + v
        out[i] = last
    return out


def last_of_body(x):
    for i in range(30):
        row = x * i
    return row


def list_of_results(x):
    parts = []
    for i in range(20):
        parts.append(x * i)
    return sum(parts)


def counting_list(x):
    count = [0]
    for i in range(100):
        count[0] += i
    return x + count[0]


def deep(x):
    total = np.zeros(3)
    for a in range(2):
        for b in range(2):
            for c in range(3):
                for d in range(2):
                    if a - b >= 0:
                        total[c] += x[a, b] * (c + d)
    return total


def layers(x):
    for w in [x * 0.5, x + 1.0, x.T]:
        x = np.tanh(x @ w)
    return x


def doubling(x):
    width = 1
    while width < x.shape[0]:
        x[width:] = x[width:] + x[:-width]
        width *= 2
    return x


def static_while(x):
    i = 0
    while i < 500:
        x[i % 7] += i
        i += 1
    return i


PROGRAMS = [
    (time_loop, grid(12)),
    (forward_and_backward, grid(33)),
    (triangle, grid(20, 20)),
    (two_buffers, grid(8)),
    (swapped_arguments, lambda: (np.arange(4.0), np.ones(4))),
    (written_then_replaced, grid(4)),
    (pair, grid(40)),
    (rows, grid(30, 4)),
    (numbered, grid(40)),
    (backwards, grid(30)),
    (last_of_body, grid(3)),
    (list_of_results, grid(3)),
    (counting_list, grid(3)),
    (deep, grid(2, 2)),
    (layers, grid(4, 4)),
    (doubling, grid(20)),
    (static_while, grid(7)),
]


@each_backend
@pytest.mark.parametrize("program, arguments", PROGRAMS, ids=lambda p: getattr(p, "__name__", ""))
def test_loops(program, arguments, backend):
    check(program, arguments, backend, rtol=1e-12)


# --- builtins on run-time values -----------------------------------------------------------------------------


def extremes(x):
    n = x.shape[0]
    out = np.zeros(n)
    for i in range(n):
        lo, hi = max(0, i - 2), min(n, i + 3)
        out[i] = x[lo:hi].sum() + max(x[i], 0.5) - min(x[i], x[0], 0.25)
    return out


def of_arrays(x):
    return max(x), min(x), sum(x), any(x > 2.5), all(x < 100.0)


def conversions(x, k):
    cells = np.zeros(8)
    for i in range(x.shape[0]):
        where = int(abs(x[i]) * 3) % 8
        cells[where] += float(i) + round(x[i])
    return cells, int(x[0]), float(k), bool(k), complex(x[0]), divmod(k, 3), pow(k, 2)


def mathematics(x):
    out = np.zeros(x.shape[0])
    for i in range(x.shape[0]):
        out[i] = math.sqrt(abs(x[i])) + math.exp(x[i]) * math.floor(x[i]) - math.atan2(x[i], 2.0)
    return out, math.hypot(x[0], x[1]), math.isnan(x[0]), math.ceil(x[1])


def kinds(x):
    assert isinstance(x, np.ndarray) and type(x) is np.ndarray and isinstance(x[0], np.float64)
    total = 0.0
    for i in reversed(range(len(x))):
        total = total * 0.5 + x[i] * np.int64(i)
    return total


BUILTIN_PROGRAMS = [
    (extremes, grid(30)),
    (of_arrays, grid(40)),
    (conversions, lambda: (np.linspace(-3.2, 4.1, 30), 7)),
    (mathematics, grid(20)),
    (kinds, grid(20)),
]


@each_backend
@pytest.mark.parametrize("program, arguments", BUILTIN_PROGRAMS, ids=lambda p: getattr(p, "__name__", ""))
def test_builtins(program, arguments, backend):
    check(program, arguments, backend, rtol=1e-12)
