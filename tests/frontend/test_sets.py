"""Set operations, unique rows, counts of pairs, and strides given by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.programs.harness import backends, check, check_refused

strided = np.lib.stride_tricks.as_strided


def operations(a, b):
    return (np.setxor1d(a, b), np.setxor1d(np.unique(a), b[:1], assume_unique=True), np.trim_zeros(a % 3),
            np.trim_zeros(a * 0), np.trim_zeros(a % 2, "b"))


def rows(a, b):
    x = (a % 2).reshape(6, 2)
    return (np.unique(x, axis=0, return_counts=True, return_index=True), np.unique(x, axis=1, return_inverse=True),
            np.unique(x.reshape(3, 2, 2).astype("f4"), axis=-1))


def blocks(a, b):
    x = a.reshape(4, 3)
    s, t = x.strides
    tiles = strided(x, (2, 3, 2), (2 * s, t, s))
    tiles[0, 0] = -1
    return tiles.max(axis=2), x, strided(a, (10, 3), (8, 8)).sum(axis=1), strided(a, writeable=False)


def pairs(a, b):
    x, y = a * 0.3, (a * 0.7) % 1
    return (np.histogram2d(x, y, bins=(2, 3)), np.histogram2d(x, y, bins=2, range=[[0, 1], [0.1, 0.9]], weights=x),
            np.histogram2d(a, y, bins=[0, 0.5, 2]),
            np.histogram2d(x, y, bins=[2, np.array([0, 0.5, 0.6])], density=True))


def arguments():
    return np.random.default_rng(1).integers(0, 5, 12), np.array([3, 9, 7, 3])


@pytest.mark.parametrize("backend", backends("interp", "cpu"))
@pytest.mark.parametrize("program", [operations, rows, blocks, pairs])
def test_like_numpy(program, backend):
    check(program, arguments, backend)


def test_strides_lead_to_no_other_memory():
    check_refused(lambda a, b: strided(a[1:], (12,), (8,)), arguments, "interp", "ShapeError")
    check_refused(lambda a, b: strided(a, (3,), (4,)), arguments, "interp", "UnsupportedError")
