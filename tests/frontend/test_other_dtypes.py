"""`x.view(dtype)` is a view of the same bytes: reads, writes through it, results that share memory."""

from __future__ import annotations

import numpy as np
import pytest

import sparsec
from sparsec.errors import UnsupportedError
from tests.programs.harness import backends, check


def inverse_square_root(x):
    y = x.copy()
    i = y.view(np.int32)
    i[...] = 0x5F3759DF - (i >> 1)
    return y * (1.5 - 0.5 * x * y * y)


def signs(x):
    x.view("u4")[::2] ^= 0x80000000
    x[1] *= 2
    return x.view("i4"), x.T.view("u4"), x[::-1].view("i4")


def smaller(x):
    parts = x.view(np.uint8)
    parts[:2] = 1
    return parts, parts.reshape(-1, 4)[:, ::-1].copy().view("u4"), x.view("u2").sum(), x + 1


def larger(x):
    pairs = x.view(np.complex64)
    pairs *= 2
    return pairs, x[2:].view("f8"), (pairs * pairs).view("f4"), pairs.imag


def masks(x):
    m = x > 2
    bits = m.view(np.uint8)
    bits[0] = 1
    return m, bits.sum(), m.view("i1").cumsum(), (x > 3).astype("u1").view(bool)


def literals(x):
    return np.arange(4, dtype="f4").view("i4"), np.array([1, 2, 3, 4], "u1").view("u4"), np.ones(2).view("i8") + 1


def in_a_loop(x):
    for k in range(int(x[0]) + 2):
        row = x.reshape(2, 4)[k % 2].view("i4")
        row[:] = row[::-1]
        if row[0] > 9:
            x[k] = 3
    return x.view("u4")


def branched(x):
    y = x * 2
    v = y.view("i4") if x[0] > 0 else y[::-1].view("i4")
    return v.sum()


def parts_written_twice(x):
    z = x.view("c8")
    z.real[...] *= 2
    z.real[::2] += 1
    return x


def of_parts_of_run_time_length(x):
    for k in range(int(x[1])):
        x[:k].view("u1")[:1] += 1
    return x


PROGRAMS = [inverse_square_root, signs, smaller, larger, masks, literals, in_a_loop, branched, parts_written_twice,
            of_parts_of_run_time_length]


@pytest.mark.parametrize("backend", backends("interp", "cpu"))
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_view_of_another_dtype(program, backend):
    check(program, lambda: (np.arange(1, 9, dtype="f4"),), backend)


@pytest.mark.parametrize("backend", backends("opencl"))
def test_a_view_of_another_dtype_on_a_device(backend):
    check(lambda x: (smaller(x), larger(x)), lambda: (np.arange(1, 9, dtype="f4"),), backend)


@pytest.mark.parametrize("view", [
    lambda x: x.T.view("f4"), lambda x: x[0, 0].view("f4"), lambda x: x[:, :1].view("c16"),
    lambda x: x[..., ::2].view("u1"),
    lambda x: np.array(1.0).view("f4"),
])
def test_numpys_rules_for_another_size(view):
    check(view, lambda: (np.arange(12.0).reshape(3, 4),), "interp", may_refuse=("UnsupportedError",))


def of_run_time_length(x, n):
    tail = x[n:, 0].view("u2")
    tail[:1] = 7
    return tail


def test_a_view_of_nothing():
    check(lambda x: (x.copy().view("i1") & 3).astype("u1"), lambda: (np.zeros(0, bool),), "cpu")


def test_the_run_says_whether_a_part_is_contiguous():
    compiled = sparsec.jit(of_run_time_length, backend="cpu")
    for n in (3, 2):  # of no element, and of one, there is nothing to be apart
        x, y = np.arange(6).reshape(3, 2), np.arange(6).reshape(3, 2)
        assert compiled(x, np.int64(n)).tolist() == of_run_time_length(y, np.int64(n)).tolist()
        assert x.tolist() == y.tolist()
    with pytest.raises(ValueError, match="last axis must be contiguous"):
        compiled(np.arange(6).reshape(3, 2), np.int64(1))


def of_scalars(x):
    return x[0].view("i4"), (x[1] > 0).view("u1"), x[2].astype("u1").view(bool), (x[1] * 1j).astype("c8").view("f8")


def test_views_of_scalars():
    check(of_scalars, lambda: (np.arange(1, 5, dtype="f4"),), "cpu")
    check(lambda x: x[0].view("f8"), lambda: (np.arange(4, dtype="f4"),), "interp")


def test_what_begins_within_an_element_is_refused():
    with pytest.raises(UnsupportedError, match="not known to begin an element"):
        sparsec.jit(lambda x: x[:, 1:3].view("f8"), backend="interp")(np.zeros((3, 4), "f4"))
    with pytest.raises(UnsupportedError, match="only at run time"):
        sparsec.jit(lambda x: x.view("f8"), backend="interp", dynamic=("x",))(np.zeros(4, "f4"))
