"""One of two arrays, as run-time values decide: the very array, through which reads and writes go."""

from __future__ import annotations

import numpy as np
import pytest

from tests.programs.harness import backends, check, check_refused

PROGRAMS = {}


def program(fn):
    PROGRAMS[fn.__name__] = fn
    return fn


@program
def read(a, b):
    y = a if a[0] > 0 else b
    a[1] = 9
    return y.sum()


@program
def write(a, b):
    y = a if a[0] > 0 else b
    y[1] = 9
    return a.sum(), b.sum()


@program
def conditional_return(a, b):
    return a if a[0] > 0 else b


@program
def early_return(a, b):
    if a[0] > 0:
        return a
    b[0] = 3
    return b


@program
def views(a, b):
    if a[0] > 0:
        y = a[1:3]
    else:
        y = b[2:4]
    y *= 2
    return y


@program
def views_of_one_array(a, b):
    y = a[:2] if a[0] > 0 else a[2:5]
    y += 1
    return y, y.sum()


@program
def a_view_of_the_chosen_one(a, b):
    y = a[:4] if a[0] > 0 else b[1:]
    z = y[1::2]
    z *= 3
    a[0] = 7
    return z.copy(), y[0], y


@program
def argument_or_new(a, b):
    y = a if a[0] > 0 else b * 2
    y[0] = 5
    return y


@program
def one_of_three(a, b):
    c = a + b
    if a[0] > 0:
        y = a
    elif b[0] > 0:
        y = b
    else:
        y = c
    y[:] = y[::-1] * 2
    return c.sum()


@program
def in_a_loop(a, b):
    for i in range(100):
        y = a if a[i % 5] > b[i % 5] else b
        y[i % 3] -= 1.5


@program
def two_names(a, b):
    if a[0] > 0:
        x, y = a, b
    else:
        x, y = b, a
    x += 1
    return x, y


@program
def swapped(a, b):
    if a[0] > 0:
        a, b = b, a
    a[0] = 100
    b[1] = 200
    return a, b


@program
def temporaries(a, b):
    c, d = a * 1, b * 1
    y = c if a[0] > 0 else d
    y[0] = 42
    return c, d, y


@program
def two_names_of_a_new_array(a, b):
    if a[0] > 0:
        x = a * 2
        y = x[1:]
    else:
        x = b + 1
        y = x[1:]
    y[0] = 7
    return x, y


@program
def nested(a, b):
    c = b * 2
    if a[0] > 0:
        if b[0] > 10:
            y = a
        else:
            y = c
    else:
        y = b
    y[2] = -1
    return y, c


@program
def by_a_function(a, b):
    def better(x, y):
        if x[1] > y[1]:
            return x
        return y

    worse = b * 0
    best = better(better(a, worse), b)
    best[0] = 1
    return worse


@program
def a_row_that_a_path_finds(a, b):
    table = np.outer(a, b)
    if a[0] > 0:
        k = np.argmax(b)
        row = table[k]
    else:
        row = table[0]
    row[:] = -1
    return table


@program
def scattered(a, b):
    y = a if a[0] > 0 else b
    y[np.array([0, 2])] = 5
    np.add.at(y, np.array([1, 1]), 1.0)
    y[y > 4] = 0
    y.sort()
    np.negative(y, out=y)


@program
def new_or_old(a, b):
    x = a * 1
    if a[0] > 0:
        x = x + 1
    x[0] = 3
    return x


@program
def carried_on(a, b):
    x = a
    if a[0] > 0:
        x = b
    for _ in range(20):
        x = x * 0.5
    return x, a, b


@program
def chosen_then_chosen(a, b):
    y = a if a[0] > 0 else b
    z = y if b[0] > 0 else a
    z += y
    return z


@program
def found_while_searching(a, b):
    i = 0
    while i < 4 and a[i] > 0:
        y = a if b[i] > 10 else b
        y[i] = -y[i]
        i += 1
    return i


@program
def complex_parts(a, b):
    c = a + 1j * b
    y = c.real if a[0] > 0 else c.imag
    y += 1
    return c


def arguments(sign, order):
    a, b = np.array([1.0, 2, 3, 4, 5]) * sign, np.arange(5.0) * sign + 10
    return (a, b) if order else (b, a)


@pytest.mark.parametrize("backend", backends("interp", "cpu"))
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name, backend):
    for sign in (1, -1):
        for order in (True, False):
            check(PROGRAMS[name], lambda s=sign, o=order: arguments(s, o), backend)


@pytest.mark.parametrize("backend", backends("opencl"))
@pytest.mark.parametrize("name", ["write", "views_of_one_array", "nested", "temporaries"])
def test_on_a_device(name, backend):
    for sign in (1, -1):
        check(PROGRAMS[name], lambda s=sign: arguments(s, True), backend)


def left_by_many_turns(x):
    y = first = x + 1
    for k in range(24):  # each turn may replace the array: what there is to choose from must not double
        if x[k % 4] > k % 3:
            y[k % 4] += 1
            y = y * 2
        elif x[(k + 1) % 4] > 1:
            y = first
    y[0] = -1
    return y, first


@pytest.mark.parametrize("backend", backends("interp"))
def test_an_array_of_many_branches(backend):
    for first in (0.0, 5.0):
        check(left_by_many_turns, lambda first=first: (np.array([first, 1.5, 0.5, 2.5]),), backend)


def overlapping():
    base = np.arange(6.0)
    return base[:5], base[1:]


@pytest.mark.parametrize("backend", backends("interp", "cpu"))
@pytest.mark.parametrize("name", PROGRAMS)
def test_arguments_that_overlap(name, backend):
    check(PROGRAMS[name], overlapping, backend)
    check(PROGRAMS[name], lambda: overlapping()[::-1], backend)


def laid_out_differently(a, b):
    y = a if a[0, 0] > 0 else b.T
    y[0, 1] = 7
    return a


def lengths_that_differ(a, b):
    y = a if a[0, 0] > 0 else b[1:]
    y[0, 1] = 7
    return a


@pytest.mark.parametrize("fn", [laid_out_differently, lengths_that_differ])
def test_what_cannot_be_one_name_is_refused(fn):
    error = check_refused(fn, lambda: (np.ones((3, 3)), np.ones((3, 3))), "cpu")
    assert "test_choices.py" in str(error)


def layouts_with_two_names(x, y):
    if x[0, 0] > 0:
        t = x + 1
        one, other = t.T, t
    else:
        one, other = y + 0, y + 1
    one[0, 1] = 5
    return other.sum()


def other_name_written(x, y):
    if x[0, 0] > 0:
        t = x + 1
        one, other = t.T, t
    else:
        one, other = y + 0, y + 1
    other[0, 1] = 5
    return one.sum()


def results_of_one_array(x, y):
    if x[0, 0] > 0:
        t = x + 1
        return t, t.T
    return y + 1, y + 2


def variables_of_one_array(x, y):
    if x[0, 0] > 0:
        t = x + 1
        one, other = t.T, t
    else:
        one, other = y + 0, y + 1
    return one, other


def argument_or_transposed(x, y):
    one = x
    if x[0, 0] > 0:
        one = (y + 1).T
    return one


def one_of_two_or_new(x, y):
    one = x if x[0, 0] > 0 else y
    if x[0, 1] > 0:
        one = (y + 1).T
    x[1, 1] = 7
    return one.sum()


@pytest.mark.parametrize("fn", [layouts_with_two_names, other_name_written, results_of_one_array,
                                variables_of_one_array, argument_or_transposed, one_of_two_or_new])
def test_a_copy_that_would_show_is_refused(fn):
    """Arrays of several layouts have no common name after a branch; what stands for them is a copy."""
    error = check_refused(fn, lambda: (np.array([[1.0, -1.0], [3.0, 4.0]]), np.ones((2, 2))), "cpu")
    assert "test_choices.py" in str(error)
