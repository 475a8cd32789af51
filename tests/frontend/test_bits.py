"""np.packbits and np.unpackbits."""

from __future__ import annotations

import numpy as np
import pytest

from tests.programs.harness import backends, check


def unpacked(x):
    return (np.unpackbits(x), np.unpackbits(x, axis=1), np.unpackbits(x, axis=0, bitorder="little"),
            np.unpackbits(x[0], count=10), np.unpackbits(x[0], count=-3), np.unpackbits(x, axis=1, count=50),
            np.unpackbits(x[:0]), np.unpackbits(x.T, axis=-1))


def packed(x):
    return (np.packbits(x % 3), np.packbits(x > 99, axis=1), np.packbits(x > 99, axis=0, bitorder="little"),
            np.packbits(x[:0]), np.packbits(x.T > 99, axis=0), np.packbits(np.unpackbits(x, axis=-1), axis=-1))


def arguments():
    return (np.random.default_rng(0).integers(0, 256, (3, 5)).astype("u1"),)


@pytest.mark.parametrize("backend", backends("interp", "cpu"))
@pytest.mark.parametrize("program", [unpacked, packed])
def test_bits(program, backend):
    check(program, arguments, backend)


@pytest.mark.parametrize("wrong", [
    lambda x: np.packbits(x * 0.5), lambda x: np.unpackbits(x.astype("i1")),
    lambda x: np.unpackbits(x, bitorder="up"), lambda x: np.unpackbits(x, 1, -50),
])
def test_wrong_arguments(wrong):
    check(wrong, arguments, "interp")
