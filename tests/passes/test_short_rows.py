"""Loops over a few repeated elements become one long loop; values are what they were."""

import numpy as np
import pytest

import sparsec
from sparsec.ir.loop_interp import run
from sparsec.ir.loops import Alloc, walk_stmts


def flags(x, y):
    out = np.empty((20, 12, 9), bool)
    out[:] = (x > 0.3)[None, :, None]
    out &= (y > 0.2)[:, None, None]
    return out.reshape(-1)


def table(x, y):
    return x[None, :, None] * y[:, None, None] + np.ones(5, np.float32)


def computed(x, y):
    """The place itself is a value: nothing is laid out."""
    return x[None, :, None] * y[:, None, None] + np.arange(12.0)[None, :, None] * np.arange(5.0)


def gathered(x, y):
    return x[np.argsort(x)][None, :, None] + np.zeros((20, 1, 7)) + y[:, None, None]


def in_place(x, y):
    z = np.zeros((20, 12, 3))
    z += x[None, :, None]
    z *= z[:, ::-1]
    return z + y[:, None, None]


@pytest.mark.parametrize("fn", [flags, table, computed, gathered, in_place])
def test_values(fn):
    rng = np.random.default_rng(1)
    x, y = rng.random(12, np.float32), rng.random(20, np.float32)
    got, want = sparsec.jit(fn)(x, y), fn(x, y)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


def test_threads_share_the_rows():
    x, y = np.arange(300.0), np.arange(2000.0)
    before = sparsec.get_num_threads()
    sparsec.set_num_threads(2)
    try:
        np.testing.assert_array_equal(sparsec.jit(outer)(x, y), outer(x, y))
    finally:
        sparsec.set_num_threads(before)


def outer(x, y):
    return x[None, :, None] * y[:, None, None] + np.ones(3)


def test_what_is_laid_out():
    x, y = np.ones(12, np.float32), np.ones(20, np.float32)
    program = sparsec.jit(flags).lower(x, y).compilation.scheduled
    rows = [s.buffer.size for kernel in program.kernels for s in walk_stmts(kernel.body) if isinstance(s, Alloc)]
    assert rows == [12 * 9]
    out = np.zeros(20 * 12 * 9, np.uint8)
    x[3], y[5] = 0, 0
    assert run(program, [x.view(np.uint8), y.view(np.uint8), out], "shuffle") == (0, 0)
    np.testing.assert_array_equal(out.view(bool), flags(x, y))
