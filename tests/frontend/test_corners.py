"""Corners of NumPy functions where a result's type, dtype, order or error is not what one would guess."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import sparsec
from sparsec.errors import ConcretizationError
from tests.programs.harness import check

X = np.array([2.0, np.nan, -1.0, 0.5, np.inf])
SINGLE = np.array([1.5, -2.0], np.float32)
INTS = np.array([[3, 1, 2], [9, 7, 8]])
POINT = np.array(3.5)


CORNERS = {
    "numbers in lists": (lambda x: (np.array([x[0], 1]), np.array([[x[0], 2.5], [1, 2]]), np.stack([x[0], 1])),
                         SINGLE),
    "uint64 in lists": (lambda x: np.array([x.sum(), 1]), np.array([1, 2], np.uint8)),
    "argwhere": (lambda x: np.argwhere(x > 2), INTS),
    "points": (lambda x: (np.nan_to_num(x), np.asfortranarray(x), np.lexsort((x, x)), np.unique(x)), POINT),
    "round": (lambda x: (round(x[0], 1), round(x[1])), np.array([2.675, 2.5])),
    "complex": (lambda x: (1j * x[0], x[0] * 1j, (1 + 2j) / x[1], complex(x[0], x[1])), np.array([0.5, 4.0])),
    "ndenumerate": (lambda x: sum(v * at[0] - at[1] for at, v in np.ndenumerate(x)), INTS),
    "quantile": (lambda x: (np.quantile(x, 0.3), np.percentile(x, [10, 90]), np.median(x)), X),
    "quantile of rows": (lambda x: np.quantile(x, [0.0, 0.4], axis=1, keepdims=True), INTS),
    "quantile of floats": (lambda x: (np.quantile(x, 0.25), np.quantile(x, np.array(0.25))), SINGLE),
    "quantile methods": (lambda x: [np.percentile(x, 30, axis=0, method=m) for m in ("lower", "higher", "midpoint")],
                         INTS),
    "quantile without NaN": (lambda x: (np.nanquantile(x, [0.1, 0.8]), np.nanmedian(x), np.nanpercentile(x, 50.0)),
                             X),
}


@pytest.mark.parametrize("name", CORNERS)
def test_corner(name):
    fn, x = CORNERS[name]
    check(fn, lambda: (x.copy(),), "interp")


REFUSED = {
    "no rows in a window": lambda x: np.lib.stride_tricks.sliding_window_view(x, 6),
    "slopes of bools": lambda x: np.gradient(x > 0),
    "rounded bools": lambda x: np.round(x > 0, 1),
    "weights": lambda x: np.average(x, weights=x * 0),
    "not square": lambda x: np.linalg.inv(x[:, None]),
    "singular": lambda x: np.linalg.inv(np.zeros((2, 2)) * x[0]),
    "axis": lambda x: np.quantile(x, 0.5, axis=1),
    "beyond the whole": lambda x: np.percentile(x, 101),
    "of nothing": lambda x: np.quantile(x[:0], 0.5),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_as_numpy_refuses(name):
    check(REFUSED[name], lambda: (np.arange(5.0),), "interp")


def asks_generators(x):
    rows = [r - 2 for r in x]
    later = (1 // k for k in (1, 0))  # the 0 is not reached
    return (max(r.sum() for r in rows), min(abs(v) for v in x[0]), any(v > 8 for v in x[0]), all(v > 0 for v in x[1]),
            any(later), np.fromiter((v * 2 for v in x[0]), float), np.fromiter(range(9), "i2", count=3),
            max(k * 2 for k in range(3)), max((k for k in range(3)), key=lambda k: -k))


def makes_a_class(x):
    @dataclass
    class Box:
        corner: object
        size: float = 2.0

        def end(self):
            return self.corner + self.size

    return Box(x).end(), Box(x, 3).end()


@pytest.mark.parametrize("program", [asks_generators, makes_a_class])
def test_python_around_arrays(program):
    check(program, lambda: (INTS.copy(),), "interp")


def test_a_list_that_grows_says_what_to_do():
    def program(x):
        found = []
        for k in range(len(x)):
            if x[k] > 0:
                found.append(k)
        return found

    with pytest.raises(ConcretizationError) as caught:
        sparsec.jit(program)(np.arange(3.0))
    assert "fill an array" in caught.value.hint


def test_what_numpy_calls_its_errors():
    with pytest.raises(np.exceptions.AxisError):
        sparsec.jit(lambda x: x.sum(axis=1))(np.ones(3))
    with pytest.raises(np.linalg.LinAlgError):
        sparsec.jit(lambda x: np.linalg.cholesky(x))(-np.eye(2))
