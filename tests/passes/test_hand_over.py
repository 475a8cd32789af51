"""Arrays that loops and branches hand on: NumPy's values whatever shares a place, and no needless copies."""

import numpy as np
import pytest

import sparsec
from sparsec.ir.loops import For, Launch, While, walk_stmts
from sparsec.ir.scalar import index


def relaxed(x, n):
    for _ in range(n):
        x = np.sin(x) * 2
    return x + 1


def shifted(x, n):
    for _ in range(n):
        x = np.concatenate((x[1:], x[:1])) * 0.5
    return x


def swapped(x, n):
    y = x * 2
    for _ in range(n):
        x, y = y, x + y
    return x, y


def turned(x, n):
    x, y, z = x + 0, x + 1, x + 2  # of the argument itself, a copy would show
    for _ in range(n):
        x, y, z = y, z, x
    return x, y, z


def start_is_needed(x, n):
    first = x * 3
    y = first
    for _ in range(n):
        y = y + first[::-1]
    return y, first


def last_is_kept(x, n):
    x, old = x * 1, x * 0
    for _ in range(n):
        old = x
        x = x * x - old[::-1]
    return x, old


def two_names(x, n):
    y = x + 1
    for _ in range(n):
        t = x * 2
        x = t
        y = t * 1
    return x, y


def nested(x, n):
    for _ in range(n):
        y = x
        for _ in range(3):
            y = y[::-1] + x
        x = y * 0.5
    return x


def branches(x, n):
    x, y = x * 2, x * 1
    for i in range(n):
        if x[0] > i:
            x, y = y + 1, x
        else:
            x = x[::-1] * 2
    return x, y


def needed_behind_a_branch(x, n):
    y = x + 1
    for i in range(n):
        if x[0] > i:
            t = y[::-1] * 2
            x = t[::-1] + x
        else:
            x = y * 0.5 + x[::-1]
        x = x + y
    return x


def until(x, n):
    count = 0
    while x.sum() > 1:
        x = x[::-1] * 0.5
        count += 1
    return x, count


def shrinking(x, n):
    for _ in range(n):
        x = x[x > 0.3] * 0.9
        if not len(x):
            break
    return x.sum()


def compressed(x, n):
    for _ in range(n):
        if not len(x):
            break
        x = x * 0.9
        x = x[x > 0.3]
    return x.sum(), len(x)


PROGRAMS = (relaxed, shifted, swapped, turned, start_is_needed, last_is_kept, two_names, nested, branches,
            needed_behind_a_branch, until, shrinking, compressed)  # fmt: skip


@pytest.mark.parametrize("backend", ["cpu", "loops"])
@pytest.mark.parametrize("fn", PROGRAMS)
def test_like_numpy(fn, backend):
    x = np.random.default_rng(2).random(9)
    compiled = sparsec.jit(fn, backend=backend)
    for n in (np.int64(0), np.int64(1), np.int64(4)):
        wanted, got = fn(x.copy(), n), compiled(x.copy(), n)
        for one, other in zip(np.atleast_1d(wanted), np.atleast_1d(got), strict=True) if not isinstance(
            wanted, tuple
        ) else zip(wanted, got, strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-13)


@pytest.mark.parametrize(("fn", "launches"), [(relaxed, 1), (nested, 2)])
def test_nothing_is_copied(fn, launches):
    program = sparsec.jit(fn).lower(np.zeros(9), np.int64(3)).compilation.program
    (loop,) = (stmt for stmt in program.body if isinstance(stmt, For))
    assert sum(isinstance(stmt, Launch) for stmt in walk_stmts(loop.body)) == launches


def test_what_is_handed_on_is_as_long_as_the_array():
    """Not as long as its room."""
    program = sparsec.jit(compressed).lower(np.zeros(509), np.int64(3)).compilation.program
    kernels = {kernel.name: kernel for kernel in program.kernels}
    (loop,) = (stmt for stmt in program.body if isinstance(stmt, For | While))
    launched = [kernels[stmt.kernel] for stmt in walk_stmts(loop.body) if isinstance(stmt, Launch)]
    loops = [stmt for kernel in launched for stmt in walk_stmts(kernel.body) if isinstance(stmt, For)]
    assert loops and not [stmt for stmt in loops if stmt.stop == index(509)]
