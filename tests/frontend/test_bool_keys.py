"""Bools in keys: `x[b]` has a first axis of length 1 if `b` is true, else of length 0."""

import itertools

import numpy as np
import pytest

from tests.programs.harness import backends, check_calls

each_backend = pytest.mark.parametrize("backend", backends("interp", "cpu", "opencl"))
TRUTHS = list(itertools.product((True, False), repeat=2))


def read(x, b, c):
    k = c.sum() + 1
    return (x[b], x[b, 1:], x[1:, b], x[..., b], x[0, b], x[b, 0, 1], x[b, c], x[c, :, b], x[b, None], x[True],
            x[False, 1:], x[k > 1], x[b, k], x[0, 1][b], x[b, x[:, 0:1] > 5], x[1][b] + 1, x[b].sum(), len(x[b]))


def write(x, b, c):
    y, z, w = x.copy(), x * 2, x + 1
    x[b] = 7
    y[b & c] = x[0]
    y[1:, b] = -x[1:, None]
    z[b] += z[b]
    z[0, c] = 3
    w[b, ..., c] = x
    w[0:1, b, c] *= 2
    return x, y, z, w


def beside_indexes(x, b, i):
    return x[b, i], x[i, b], x[i, :, b]


def beside_a_mask(x, b, i):
    y = x.copy()
    y[x > i[1] + 5, b] = 0
    return x[b, x[:, 0] > i[0]], y


def values_of_known_length(x, v):
    x[x > 2] = v
    return x


def x34():
    return np.arange(12.0).reshape(3, 4)


@each_backend
@pytest.mark.parametrize("fn", [read, write], ids=lambda f: f.__name__)
def test_a_bool_selects_all_or_nothing(fn, backend):
    check_calls(fn, [lambda b=b, c=c: (x34(), np.array(b), np.array(c)) for b, c in TRUTHS], backend)


@pytest.mark.parametrize("backend", backends("interp", "cpu"))
@pytest.mark.parametrize(("fn", "i"), [
    (beside_indexes, [0, 2]), (beside_indexes, [2]), (beside_a_mask, [0, 2]), (beside_a_mask, [7, 5]),
    (beside_a_mask, [9, 9])])
def test_false_goes_with_one_index_only(fn, i, backend):
    check_calls(fn, [lambda b=b: (x34(), np.array(b), np.array(i)) for b in (True, False)], backend)


@pytest.mark.parametrize("backend", backends("interp", "cpu"))
def test_as_many_values_as_a_mask_selects(backend):
    check_calls(values_of_known_length, [lambda n=n: (np.arange(6.0), np.ones(n)) for n in (3, 1, 2, 0)], backend)
