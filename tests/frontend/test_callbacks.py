"""Functions that call functions of the user's, and reductions of stretches."""

from __future__ import annotations

import numpy as np
import pytest

from tests.programs.harness import backends, check, check_refused


def softmax(row, t=1.0):
    e = np.exp((row - row.max()) / t)
    return e / e.sum()


def takes_in_place(row):
    row.sort()
    return row.max() > 0.5


@np.vectorize
def leaky(v):
    return v if v > 0 else 0.5 * v


def rows(x):
    return (np.apply_along_axis(np.sort, 1, x), np.apply_along_axis(lambda r: r[::2] * 2, 0, x),
            np.apply_along_axis(lambda r: r[:, None] * r, -1, x), np.apply_along_axis(len, 0, x))


def rows_in_place(x):
    return np.apply_along_axis(takes_in_place, 0, x)


def elements(x):
    scaled = np.vectorize(lambda v, w: v + w if v > 0 else -v)
    return leaky(x), scaled(x, x[0]), leaky(x[0, 0]), leaky(x.astype("f4")), np.vectorize(bool, otypes=[bool])(x)


def selections(x):
    return (np.piecewise(x, [x < 0, x >= 0], [lambda v: -v, lambda v: v * 2]),
            np.piecewise(x, [x < -1, x > 1], [-1, 1, lambda v: v - v.max()]),
            np.piecewise(x, [x > 100], [lambda v: v.max(), 3]), np.piecewise(x[0], x[0] > 0, [1, 2]))


def stretches(x):
    at, y = np.array([0, 3, 1, 4]), np.zeros((4, 4))
    np.add.reduceat(x, at, axis=1, out=y)
    return (y, np.maximum.reduceat(x, [0, 2]), np.add.reduceat(x.T, at), np.logical_or.reduceat(x > 1, at, 1),
            np.multiply.reduceat(np.arange(1, 6, dtype="i2"), at))


PROGRAMS = [rows, rows_in_place, elements, selections, stretches]


def arguments():
    return (np.random.default_rng(3).standard_normal((4, 5)),)


@pytest.mark.parametrize("backend", backends("interp", "cpu"))
@pytest.mark.parametrize("program", PROGRAMS)
def test_callbacks(program, backend):
    check(program, arguments, backend)


def test_sums_of_stretches_are_pairwise():
    check(lambda x: np.add.reduceat(x, [0, 7, 400]), lambda: (np.random.default_rng(0).random(900, "f4"),), "interp")


def test_layers_of_parameters():
    check(lambda x: np.apply_along_axis(softmax, 1, x, t=2.0), arguments, "interp")


@pytest.mark.parametrize("at", [[0, 5], [0, -1]])
def test_a_stretch_that_is_not_there(at):
    check(lambda x, at: np.add.reduceat(x[0], at), lambda: (*arguments(), np.array(at)), "interp")


@np.vectorize
def of_two_types(v):
    return 0 if v < 0 else v


def test_the_type_of_elements_must_be_known():
    check_refused(lambda x: of_two_types(x), arguments, "interp", "UnsupportedError")
