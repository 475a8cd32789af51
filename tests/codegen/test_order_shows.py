"""LLVM must not be told that turns are independent where a turn comes back to what it has stored."""

import numpy as np

import sparsec


def test_sorts_of_short_rows():
    # The insertion sort of a row of two stores and loads again; the rows are independent.
    values = np.random.default_rng(0).integers(-2, 3, (2, 4, 2)).astype(float)
    for axis in (0, 1, 2):
        ours, want = values.copy(), values.copy()
        want.sort(axis=axis)
        sparsec.jit(lambda a, axis=axis: a.sort(axis=axis), backend="cpu")(ours)
        np.testing.assert_array_equal(ours, want)


def test_store_then_load_in_one_turn():
    def f(a):
        a[:, 0] = a[:, 1]
        a[:, 1] = a[:, 0] + a[:, 2]
        a[:, 2] = a[:, 1] * a[:, 0]

    ours, want = np.arange(96.0).reshape(32, 3), np.arange(96.0).reshape(32, 3)
    f(want)
    sparsec.jit(f, backend="cpu")(ours)
    np.testing.assert_array_equal(ours, want)
