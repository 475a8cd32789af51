"""Padded, rolled and patched arrays against NumPy: what is cut must give the same elements."""

import numpy as np
import pytest

import sparsec


def pad_and_shift(x):
    padded = np.full((x.shape[0] + 2, x.shape[1] + 2), -1.0, x.dtype)
    padded[1:-1, 1:-1] = x
    return padded[2:, 1:-1] - padded[:-2, 1:-1] + padded[1:-1, ::-1][:, 1:-1] * 2


def rolled_windows(x):
    x = np.roll(x, (-3, 5), axis=(0, 1))
    return x.reshape(x.shape[0] // 4, 4, x.shape[1] // 8, 8).transpose(0, 2, 1, 3) + 0


def patched_and_flipped(x):
    t = x * 2
    t[10:40, 20:90] = 7
    t[30:, :25] = x[30:, :25]
    return t[::-1, ::-1].T - 1


def kept_as_result(x):
    t = np.zeros((x.shape[0], x.shape[1]), x.dtype)
    t[5:, :] = x[5:, :]
    return t, t[1:] + 1


@pytest.mark.parametrize("fn", [pad_and_shift, rolled_windows, patched_and_flipped, kept_as_result])
def test_like_numpy(fn):
    x = np.random.default_rng(0).normal(size=(128, 160)).astype(np.float32)
    want, got = fn(x.copy()), sparsec.jit(fn)(x.copy())
    for a, b in zip(want if isinstance(want, tuple) else (want,), got if isinstance(got, tuple) else (got,)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("fn", [pad_and_shift, rolled_windows])
def test_no_temporary_is_left(fn):
    x = np.zeros((128, 160), np.float32)
    assert sparsec.jit(fn).lower(x).compilation.program.arena_bytes == 0
