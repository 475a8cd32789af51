"""Reductions that are long enough for lanes: along the folded axis, across the kept one, and what is left over."""

from __future__ import annotations

import numpy as np
import pytest

from tests.programs.harness import backends, check

RNG = np.random.default_rng(11)
SHAPES = ((3, 130), (33, 2, 40))
DTYPES = ("f4", "i8", "u1", "c8", "?")


def folds(x):
    found = []
    for axis in (None, 0, -1):
        found += [x.max(axis=axis), x.min(axis=axis), x.argmax(axis=axis), x.argmin(axis=axis)]
        found += [(x > 1).any(axis=axis), (x != 7).all(axis=axis), np.count_nonzero(x, axis=axis)]
    return tuple(found)


def sums(x):
    return tuple((x.sum(axis=axis), x.prod(axis=axis), (x * x + 1).sum(axis=axis)) for axis in (None, 0, -1))


def chosen(x, keep):
    """Lengths that only the call knows."""
    y = x[keep]
    return y.max(axis=0), y.argmin(axis=0), y.sum(axis=0), y.T.max(axis=1), (y + 1).sum()


def numbers(shape, dtype, most=9):
    return RNG.integers(0, most, shape).astype(dtype)


@pytest.mark.parametrize("backend", backends("cpu"))
@pytest.mark.parametrize("dtype", DTYPES)
def test_lanes_fold_as_numpy_does(backend, dtype):
    for shape in SHAPES:
        x = numbers(shape, dtype)
        check(folds, lambda x=x: (x.copy(),), backend)


@pytest.mark.parametrize("backend", backends("cpu"))
@pytest.mark.parametrize("dtype", ["f4", "c16", "i4"])
def test_sums_of_whole_numbers(backend, dtype):
    for shape in SHAPES:
        x = numbers(shape, dtype, most=2)
        check(sums, lambda x=x: (x.copy(),), backend)


@pytest.mark.parametrize("backend", backends("cpu"))
@pytest.mark.parametrize("kept", [31, 100])
def test_lengths_that_the_call_decides(backend, kept):
    x, keep = numbers((100, 37), "f4"), np.arange(100) < kept
    check(chosen, lambda: (x.copy(), keep.copy()), backend)


@pytest.mark.parametrize("backend", backends("cpu"))
def test_a_nan_anywhere_wins(backend):
    x = RNG.normal(size=(7, 130))
    x[range(7), [0, 5, 63, 64, 127, 128, 129]] = np.nan
    for given in (x, x.T):
        check(folds, lambda given=given: (given.copy(),), backend)
