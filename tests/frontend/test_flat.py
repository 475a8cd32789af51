"""`x.flat`: elements in C order, read as copies and written in place, whatever the layout."""

from __future__ import annotations

import numpy as np
import pytest

from tests.programs.harness import backends, check

LAYOUTS = {
    "c": lambda: np.arange(12.0).reshape(3, 4),
    "strided": lambda: np.arange(48.0).reshape(8, 6)[::2, ::2].T,
}


def written(x):
    x.flat[2] = 9
    x.flat[::5] = 1
    x.flat[[7, 8]] = [3, 4]
    x.flat[-1] += 1
    x.flat[3:6] = [10, 20]  # again from the first
    return x.flat[4], x.flat[3:9], x.flat[[1, 2]], x.flat[-2]


def gone_over(x):
    total = 0.0
    for k, v in enumerate(x.flat):
        total += k * v
    return total, len(x.flat), np.sum(x.flat), np.add(x.flat, 1), x.flat.copy(), x.flat.base


def at_computed_places(x):
    k = np.argmax(x)
    x.flat[k] = -1
    return x.flat[k - 1], x.flat[np.argmin(x)]


def assigned(x):
    x.flat = [1, 2, 3]
    y = np.zeros((3, 3))
    y.flat[::4] = 5
    return y


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("program", [written, gone_over, at_computed_places, assigned])
def test_flat(program, layout):
    check(program, lambda: (LAYOUTS[layout](),), "interp")


@pytest.mark.parametrize("backend", backends("cpu"))
def test_flat_compiled(backend):
    check(lambda x: (at_computed_places(x), written(x)), lambda: (LAYOUTS["strided"](),), backend)


@pytest.mark.parametrize("wrong", [
    lambda x: x.flat[12], lambda x: x.flat[1, 2], lambda x: x.flat[np.argmax(x) + 12],
])
def test_places_that_are_not_there(wrong):
    check(wrong, lambda: (LAYOUTS["c"](),), "interp")
