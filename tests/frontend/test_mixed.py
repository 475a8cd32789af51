"""Scalars that are a Python number on one path and a NumPy scalar on another: what is done with them goes by the
type that they have when the program runs."""

import math
import re

import numpy as np
import pytest

from tests.programs.harness import backends, check_calls, ir_text

each_backend = pytest.mark.parametrize("backend", backends("interp", "cpu"))

U8 = np.array([7, 200, 0, 255, 3, 0, 9, 100, 50, 20, 4, 250, 6, 1, 90, 7, 33, 2, 11, 0], np.uint8)
F4 = np.linspace(0.1, 7.3, 20, dtype=np.float32)
I4 = np.arange(-10, 10, dtype=np.int32)
F8 = np.linspace(-1.1, 5.3, 20)


def number_before_the_first_turn(a, o):
    s = 0
    for k in range(a.shape[0]):
        o[k] = s - 1
        s = s + a[k]
    return s


def run_time_range(a, n):
    o = np.zeros(20, np.int64)
    s = 3
    for k in range(n[0]):
        o[k] = s - 4
        s = a[k]
    return o, s


def while_loop(a, n):
    s, k = 0, 0
    seen = np.zeros(20, np.int64)
    while k < n[0]:
        seen[k] = s - 1
        s = s + a[k]
        k += 1
    return s, seen, s - 1


def smoothed(x):
    m = 0.0
    out = np.zeros(x.shape[0], x.dtype)
    for k in range(x.shape[0]):
        m = 0.9 * m + 0.1 * x[k]
        out[k] = m
    return m, out


def float_of_python(a32, b, o):
    s = 0.1
    for k in range(o.shape[0]):
        o[k] = a32[k] * s
        s = s + b[k]
    return s


def int_then_float(n, i):
    s = 7
    o = np.zeros(20)
    for k in range(n[0]):
        o[k] = (i * s).sum()
        s = s // 2 + 0.5
    return s, o, s * 2


def flag_then_count(a):
    found = False
    for k in range(a.shape[0]):
        if a[k] > 200:
            found = found + 1
    return found, found + 1, not found


def branch(c, a):
    if c[0] > 0:
        s = 0
    else:
        s = a[0]
    return s, s - 1, np.array([1, 2], np.uint8) + (s - 1) % 100


def one_or_other(c, a):
    s = 2 if c[0] > 0 else a[0]
    t = s if c[0] > 1 else 3.5
    return s / 2, t, t * np.float32(2), -t, abs(t), t > 1, s == 2, max(s, 4), min(t, 1), int(t), float(s), bool(s)


def used_in_many_ways(c, a):
    s = 1 if c[0] > 0 else a[4]
    x = np.arange(20.0)
    y = np.zeros(4, np.uint8)
    y[s] = s
    y[0] += 2
    y[1:] += a[:3]
    total = 0
    for k in range(s):
        total += k
    return x[s], x[:s].sum(), y, x * s, np.sqrt(s), math.sqrt(s), np.float32(s), np.maximum(s, 2), total, [s, (s,)]


def lengths(c, a):
    n = 0
    for k in range(c[0]):
        n = n + a[k]
    return np.zeros(n), np.arange(n), np.full(2, n), np.ones((2, n)), np.array(n)


def of_numpy_only(c, a):
    s = 0
    for k in range(c[0]):
        s = s + a[k]
    return s.astype(np.float32), s.item(), a.sum()


def two_dtypes(x):
    value = np.float32(0)
    i = 0
    while i < 3:
        if x[i] > 1:
            break
        value = np.float64(x[i]) + value
        i += 1
    return value, value * np.float32(0.1)


def nested(a, n):
    o = np.zeros((20, 20), np.int64)
    for i in range(n[0]):
        s = 0
        for j in range(i):
            o[i, j] = s - 1
            s = s + a[j]
        o[i, i] = s - 1
    return o


def best_of(x, n):
    best, at = 0.0, -1
    for k in range(n[0]):
        if x[k] > best:
            best, at = x[k], k
    return best, at, best * np.float32(2)


def left_early(a):
    s = 0
    for k in range(a.shape[0]):
        if s - 1 > 100:
            break
        s = s + a[k]
    return s


def rows(x):
    total = 0
    for k in range(x.shape[0]):
        total = total + x[k]
    return total


def rows_of_a_run_time_range(x, n):
    total, seen = 0, np.zeros(x.shape[1])
    for k in range(n[0]):
        total = total + x[k]
        seen += total
    return seen


def wider_after_a_turn(x, n):
    y = np.zeros(3, np.float32)
    k, found = 0, 0.0
    while k < n[0]:
        y = y * 2 + x[k]
        found += y.sum()
        k += 1
    return found


def halved_while_large(x):
    y = x[0] if x[0] > 0 else 0.0
    while y > 0.1:
        y = y / 2
    return y


CASES = {
    halved_while_large: [(F8[8:],), (F8,)],
    number_before_the_first_turn: [(U8, np.zeros(20, np.int64)), (U8, np.zeros(20))],
    run_time_range: [(U8, np.array([n])) for n in (20, 1, 0)],
    while_loop: [(U8, np.array([n])) for n in (20, 0)],
    smoothed: [(F4,), (F8,)],
    float_of_python: [(F4, F8, np.zeros(20, np.float32)), (F4, F8, np.zeros(20))],
    int_then_float: [(np.array([n]), np.array([100, 50], np.int8)) for n in (3, 0)],
    flag_then_count: [(U8,), (U8 % 100,)],
    branch: [(np.array([c]), U8[2:]) for c in (1, 0)],
    one_or_other: [(np.array([c]), U8) for c in (2, 1, 0)],
    used_in_many_ways: [(np.array([c]), U8) for c in (1, 0)],
    lengths: [(np.array([c]), np.arange(5)) for c in (3, 0)],
    of_numpy_only: [(np.array([c]), U8) for c in (3, 0)],
    two_dtypes: [(np.array([0.1, 0.2, 3.0]),), (np.array([7.0, 0.2, 3.0]),)],
    nested: [(U8, np.array([n])) for n in (20, 0)],
    best_of: [(F8, np.array([n])) for n in (20, 0)],
    rows: [(F8.reshape(20, 1),), (F8[:0].reshape(0, 3),)],
    rows_of_a_run_time_range: [(F8[:18].reshape(6, 3), np.array([n])) for n in (6, 1, 0)],
    wider_after_a_turn: [(F8[:18].reshape(6, 3), np.array([n])) for n in (6, 1, 0)],
    left_early: [(U8,), (U8[:3],)],
}


def test_loops_that_begin_with_another_kind_are_one_loop_op():
    assert ir_text(rows, np.ones((3000, 2))).count(" = for ") == 1


def test_nothing_is_decided_at_run_time_where_all_types_give_the_same():
    def total(x, n):
        out = np.zeros(40)
        for i in range(40):
            s = 0
            for k in range(n[i]):
                s = s + x[k]
            out[i] = s
        return out

    text = ir_text(total, np.ones(9), np.zeros(40, int), stage="dce")
    assert " = if " not in text
    assert " = where " not in ir_text(smoothed, F4, stage="dce")
    assert re.search(r"for (%\w+, ){3}%\w+ \(%\w+: i64, %\w+: f64\) \{", text)  # the sum, and nothing else


@each_backend
@pytest.mark.parametrize("fn", CASES, ids=lambda f: f.__name__)
def test_it_has_the_type_that_it_has_when_the_program_runs(fn, backend):
    calls = CASES[fn]
    check_calls(fn, [lambda call=call: tuple(x.copy() for x in call) for call in calls], backend,
                check_warnings=False)


def a_half_at_each(a):
    s = 2
    for k in range(3):
        if a[k] > 0:
            s = s + 0.5
    return s


@pytest.mark.parametrize("backend", backends("interp", "cpu"))
def test_two_numbers_of_two_kinds_and_then_a_third(backend):
    """The float that is carried holds the int while that is chosen, also behind a branch that knew both."""
    patterns = [(x, y, z) for x in (1.0, -1.0) for y in (1.0, -1.0) for z in (1.0, -1.0)]
    check_calls(a_half_at_each, [lambda p=p: (np.array(p),) for p in patterns], backend)
