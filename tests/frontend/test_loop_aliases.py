"""Arrays that a loop replaces or hands out are the very arrays that Python has, also where no turn is made."""

from __future__ import annotations

import numpy as np
import pytest

import sparsec
from sparsec.errors import AliasError
from tests.programs.harness import backends, check, check_calls, check_refused


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


def swapped_after_a_write(a, n):
    v, w = a, a * 0
    for _ in range(n):
        w[0] = 9
        v, w = w, v


def swapped_with_another_argument(a, b, n):
    for _ in range(n):
        a, b = b, a
    return a


def swapped_in_a_nest(a, n):
    v, w = a, np.zeros(2)
    for _ in range(n):
        for _ in range(n):
            v, w = w, v
    return w


def one_array_by_two_names(a, n):
    v = w = np.zeros(2)
    for _ in range(n):
        w = v + 1
        v = w
    return v, w


def view_or_new(a, n):
    v = np.zeros(2)
    for _ in range(n):
        v = a[::-1]
        if a[0] > 2:
            v = a * 1
    return v


def left_early_after_a_swap(a, n):
    v, w = a, np.zeros(2)
    for _ in range(n):
        v, w = w, v
        if a[0] > 2:
            break
    w[0] = 3
    return a


@pytest.mark.parametrize("program", [swapped_after_a_write, swapped_in_a_nest, one_array_by_two_names, view_or_new,
                                     left_early_after_a_swap])
def test_arrays_that_change_hands_are_not_copied_in_silence(program):
    check_refused(program, lambda: (np.array([5.0, 10.0]), np.int64(2)), "interp")


def test_arguments_that_change_hands_are_not_copied_in_silence():
    arguments = lambda: (np.zeros(2), np.ones(2), np.int64(2))  # noqa: E731
    check_refused(swapped_with_another_argument, arguments, "interp", "AliasError")


def private_arrays_swapped(a, n):
    v, w = a + 1, a * 2
    for _ in range(n):
        w[1:] = v[:-1]
        v, w = w, v
    return v, w


@pytest.mark.parametrize("backend", backends("interp", "cpu"))
def test_private_arrays_change_hands(backend):
    check_calls(private_arrays_swapped, [lambda n=n: (np.arange(4.0), np.int64(n)) for n in (0, 1, 2, 3)], backend)


def one_of_two_results(a, n):
    v, w = a + 1, a * 2
    either = v if n > 1 else w
    return either, v, w, either[:]


@pytest.mark.parametrize("backend", backends("interp", "cpu"))
def test_one_of_the_other_results_is_that_object(backend):
    check_calls(one_of_two_results, [lambda n=n: (np.arange(4.0), np.int64(n)) for n in (1, 2)], backend)


def part_of_a_bool(a, n):
    return (n == 2).imag, np.real(bool(n > 1))


def imaginary_part_cut(a, n):
    return np.imag(a)[int(n):]


@pytest.mark.parametrize("program", [part_of_a_bool, imaginary_part_cut])
def test_parts(program):
    check_calls(program, [lambda n=n: (np.arange(4.0), np.int64(n)) for n in (1, 2)], "interp")


def test_an_array_is_no_bound_of_a_slice():
    arguments = lambda: (np.arange(4.0), np.ones(1, int))  # noqa: E731
    check_refused(lambda a, n: a[:n], arguments, "interp", "DTypeError", base=TypeError)


def two_choices_of_one(a, n):
    v, w, u = a + 1, a * 2, a - 3
    one = v if n > 1 else w
    other = v if n > 0 else u
    return one, other, other[::2]


@pytest.mark.parametrize("backend", backends("interp", "cpu"))
def test_two_results_may_be_one_object(backend):
    check_calls(two_choices_of_one, [lambda n=n: (np.arange(4.0), np.int64(n)) for n in (0, 1, 2)], backend)


def write_past_a_view_from_before_the_branch(a):
    for k, x in enumerate(a):
        if a[0] > 0:
            a[k : k + 1] = a[k : k + 1] * (k * x)
            a[-k:] = 0


@pytest.mark.parametrize("backend", backends("interp", "cpu"))
def test_a_branch_reads_views_from_around_it_where_its_writes_have_moved(backend):
    check_calls(write_past_a_view_from_before_the_branch, [lambda: (np.ones(3),), lambda: (-np.ones(3),)], backend)


def left_before_the_number_changes(a, n):
    for _ in range(n):
        s = np.nan
        if a[0] > 0:
            break
        s = s + s


def test_a_number_that_is_known_on_both_paths():
    check_calls(left_before_the_number_changes, [lambda: (np.ones(2), np.int64(2))], "interp")


def copied_and_then_replaced(a, b, c):
    t = a + 1
    y = t if c[0] > 0 else (b + 1)[::-1]
    if c[1] > 0:
        t = t * 2
    return y, t


def copied_and_then_replaced_in_a_loop(a, b, c):
    t = a + 1
    y = t if c[0] > 0 else (b + 1)[::-1]
    for k in range(int(c[0])):
        if c[1] > k:
            t = t * 2
    return y, t


@pytest.mark.parametrize("program", [copied_and_then_replaced, copied_and_then_replaced_in_a_loop])
def test_an_array_for_which_a_copy_stands_is_seen(program):
    check_refused(program, lambda: (np.arange(4.0), np.ones(4), np.array([1.0, -1.0])), "interp", "AliasError")


def written_where_chosen(a):
    y = a * 2
    z = y if a[0] > 9 else y[::-1]
    z[0] = 7
    return y + z


def written_after_the_choice(a):
    y, z = a * 2, a * 3
    if a[0] > 9:
        v = y
    else:
        v = z[::-1]
    y[0] = 7
    return v + z


@pytest.mark.parametrize(("program", "hint"), [
    (written_where_chosen, "choose copies (`.copy()`)"),
    (written_after_the_choice, "write before the choice, or choose copies (`.copy()`)"),
])
def test_the_error_says_what_helps(program, hint):
    with pytest.raises(AliasError) as caught:
        sparsec.jit(program, backend="interp")(np.array([5.0, 10.0, 1.0]))
    assert caught.value.hint == hint


def copied_each_turn(x, n):
    first = x * 2
    now = first
    for turn in range(n):
        if turn:
            now[:] = first
        now = np.copy(now)
    return now


def test_what_a_turn_writes_is_made_around_the_branch():
    check(copied_each_turn, lambda: (np.arange(3.0), np.int64(4)), "cpu")
