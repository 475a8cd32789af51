"""Arrays that a loop replaces or hands out are the very arrays that Python has, also where no turn is made."""

from __future__ import annotations

import numpy as np
import pytest

from tests.programs.harness import backends, check_calls, check_refused


def original_is_written(a, n):
    v = a
    for _ in range(n):
        v = v * 2
    a[0] = 100
    return v


def replaced_is_written(a, n):
    v = a
    for _ in range(n):
        v = v * 2
    v[0] = 7
    return v


def two_names(a, n):
    v = np.zeros(3)
    w = v
    for _ in range(n):
        v, w = v + 1, w + 2
    w += a
    return v, w


def until_large(a, n):
    v = a
    while v.sum() < n * 20:
        v = v * 2
    return v


def first_free(rows, n):
    for k in range(40):
        if rows[k, 0] <= n:
            return rows[k]
    return rows[0]


def view_out_of_a_loop(a, n):
    rows = np.arange(40.0)[::-1].reshape(40, 1) + np.zeros(3)
    row = first_free(rows, n)
    row[:] = a
    return rows


def row_of_an_argument(a, n):
    grid = a.reshape(3, 1)
    for row in grid:
        if row[0] > n * 4:
            return row
    return grid[1]


def anew_in_each_turn(a, n):
    total = a[1] * 0
    for t in range(n):
        a[0] = t
        v = a
        for k in range(n):
            if a[k] > 5:
                v = v * 2
        total = total + v.sum()
    return total


def sometimes_replaced(a, n):
    v = a
    for i in range(n):
        if a[i] > 5:
            v = v * 2
    v[0] = 7
    return v


@pytest.mark.parametrize("backend", backends("numpy", "interp", "cpu"))
@pytest.mark.parametrize("program", [
    original_is_written, replaced_is_written, two_names, until_large, view_out_of_a_loop, row_of_an_argument,
    anew_in_each_turn,
])
def test_the_very_array(program, backend):
    check_calls(program, [lambda n=n: (np.array([5.0, 10.0, -3.0]), np.int64(n)) for n in (0, 1, 2)], backend)


@pytest.mark.parametrize("backend", backends("numpy", "interp"))
def test_which_array_only_the_turns_tell(backend):
    check_refused(sometimes_replaced, lambda: (np.array([5.0, 10.0]), np.int64(1)), backend, "AliasError")


def kept_over_turns(a, n):
    v, s = np.ones(3), 0.0
    for t in range(n):
        a[0] = t
        s = s + v[0]
        v = a
        for k in range(n):
            if a[k] > 5:
                v = v * 2
    return s


@pytest.mark.parametrize("backend", backends("numpy", "interp"))
def test_a_copy_is_not_kept_where_the_array_is_written(backend):
    check_refused(kept_over_turns, lambda: (np.array([5.0, 10.0]), np.int64(2)), backend, "ConcretizationError")


def reversed_or_not(a):
    y = a * 2
    z = y if a[0] > 9 else y[::-1]
    z[0] = 7
    return y + 0


def views_of_what_is_returned(a):
    y = a * 2
    return y, y[:] if a[0] > 9 else y[::-1]


@pytest.mark.parametrize("program", [reversed_or_not, views_of_what_is_returned])
def test_a_copy_of_one_of_two_layouts_is_neither_written_nor_returned(program):
    check_refused(program, lambda: (np.array([5.0, 10.0, 1.0]),), "interp", "AliasError")


def chosen_where_it_fails(a):
    y = a * 2
    if a[0] > 9:
        z = y if a[1] > 0 else y[::-1]
        raise ValueError(z.shape)
    y[0] = 1
    return y


def a_number_after_each_turn(a):
    s = a.sum()
    for _ in range(a.shape[0]):
        s = 5
    return s


@pytest.mark.parametrize("program", [chosen_where_it_fails, a_number_after_each_turn])
def test_a_path_that_fails_leaves_no_marks(program):
    check_calls(program, [lambda: (np.arange(20.0),)], "interp")
