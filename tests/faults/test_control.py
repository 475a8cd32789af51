"""Faults 52, 53 and 60: Python asks for what only the run will know. It is staged, with NumPy's result, or a typed
error that shows the line; never an answer that was frozen while tracing."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

from tests.programs.harness import backends, check, check_calls, check_refused

each_backend = pytest.mark.parametrize("backend", backends())
by_name = {"ids": lambda value: getattr(value, "__name__", "")}


def four():
    return (np.arange(4.0),)


def four_down():
    return (np.arange(3.0, -1.0, -1.0),)


# --- 52: bool() -----------------------------------------------------------------------------------------------


def branch(x):
    if x[0] > 0:
        return x * 2.0
    return x - 1.0


def branch_of_views(x):
    if x[0] > 0:
        y = x[1:]
    else:
        y = x[:2]
    return y + 0.0


def conditions(x):
    return (1 if x[0] > 0 else 2), not x[0], (x[0] or x[1]), (x[0] and x[1]), 0 <= x[1] < 2 <= x[2]


def folded(x):
    return functools.reduce(lambda a, b: a if a > b else b, x)


def asserted(x):
    assert x[0] < 100.0, f"too large: {x[0]:.3f}"
    return x


def arithmetic_of_bools(x):
    p, q = bool(x[0]), bool(x[1])
    return p + q, p * q, p - q, p & q, p ^ q, -(p + 0)


@each_backend
@pytest.mark.parametrize(
    "fn", [branch, branch_of_views, conditions, folded, asserted, arithmetic_of_bools], **by_name
)
def test_f52_branches_on_values(fn, backend):
    check_calls(fn, [four, four_down, four], backend)


@each_backend
def test_f52_inverted_bool(backend):
    """Python has begun to warn of it, for what it is: the inverse of an integer."""
    check(lambda x: ~bool(x[1]), four, backend, check_warnings=False)


@each_backend
def test_f52_truth_of_a_whole_array(backend):
    def branches(x):
        if x > 0:
            return x
        return -x

    def negates(x):
        return not x

    for fn in (branches, negates):
        check(fn, four, backend)  # a ValueError, as NumPy's


def comprehension(x):
    return sum([v for v in x if v > 0])  # shown


def kinds(x):
    if x[0] > 0:  # shown
        y = x
    else:
        y = "none"
    return y


def grown_list(x):
    out = []
    for v in x:
        if v > 1:  # shown
            out.append(v)
    return np.array(out)


def inside_try(x):
    try:
        if x[0] > 0:  # shown
            return x[1]
    except KeyError:
        pass
    return x[2]


def matched(x):
    match x[0]:
        case v if v > 0:  # shown
            return v
        case _:
            return x[1]


def member(x):
    return 3.0 in x  # shown


def member_of_range(x):
    return 2 in range(int(x[3]))  # shown


def sorted_by_python(x):
    return sorted(x)  # shown


def filtered(x):
    return list(filter(lambda v: v > 2, x))  # shown


def compared_lists(x):
    return list(x) == [0.0, 1.0, 2.0, 3.0]  # shown


def key_of_dict(x):
    return {0.0: 1, 1.0: 2}[x[1]]  # shown


def members_of_set(x):
    return len({v * 2 for v in x})  # shown


def text(x):
    return str(x[0])  # shown


def formatted(x):
    return f"{x[0]:.2f}"  # shown


def joined(x):
    return ",".join(map(str, x))  # shown


def text_of_list(x):
    return str([x[0]])  # shown


def raises_key_error(x):
    if x[0] > 100:  # shown
        raise KeyError("large")
    return x


def grown_array(x):
    while x.sum() < 100:  # shown
        x = np.concatenate([x, x])
    return x


NEEDS_BOOL = [
    comprehension, kinds, grown_list, inside_try, matched, member, member_of_range, sorted_by_python, filtered,
    compared_lists, key_of_dict, members_of_set, text, formatted, joined, text_of_list, raises_key_error, grown_array,
]  # fmt: skip


@each_backend
@pytest.mark.parametrize("fn", NEEDS_BOOL, **by_name)
def test_f52_what_needs_the_value_now(fn, backend):
    error = check_refused(fn, four, backend, "ConcretizationError", base=TypeError)
    if backend != "numpy":
        assert "# shown" in str(error)


@each_backend
def test_f52_an_error_tells_of_run_time_values(backend):
    def f(x):
        for i in range(30):
            if x[i % 4] > 2.5:
                raise RuntimeError(f"{i}: {x[i % 4]!r:>9}, %s" % x[0])
        return x

    def small():
        return (np.zeros(4),)

    check_calls(f, [small, four, small], backend)


# --- 53: int() and counts -------------------------------------------------------------------------------------


def number(x):
    return int(x[3]), round(x[2]), int(x[1]) * 2 + 1, float(x[3]), math.floor(x[2] + 0.5)


def turns(x):
    total = 0.0
    for k in range(int(x.max())):
        total += x[k]
    return total


def slices(x):
    n = int(x[2])
    x[n:] = -1.0
    return x[:n].sum(), x[-n - 1], len(x[n:])


def integers(x):
    n = int(x[3])
    return n**3, -n, abs(n - 9), n << 4, n >> 1, n // -2, n % -2, divmod(-n, 2), n & 6, n | 8, ~n, n / 2


def lengths(x):
    n = int(x[3])
    return np.zeros(n) + 1.0, np.arange(n), np.arange(n) * 2.0


@each_backend
@pytest.mark.parametrize("fn", [number, turns, slices, integers, lengths], **by_name)
def test_f53_integers_from_values(fn, backend):
    check_calls(fn, [four, four_down, four], backend)


def repeated(x):
    return [0] * int(x[2])  # shown


def repeated_tuple(x):
    return (1, 2) * np.int64(x[2])  # shown


def position(x):
    return [1.0, 2.0, 3.0][int(x[2])]  # shown


def letter(x):
    return "abcd"[int(x[2])]  # shown


def character(x):
    return chr(int(x[2]) + 65)  # shown


def everything(x):
    return x.tolist()  # shown


NEEDS_INT = [repeated, repeated_tuple, position, letter, character, everything]


@each_backend
@pytest.mark.parametrize("fn", NEEDS_INT, **by_name)
def test_f53_what_needs_the_number_now(fn, backend):
    error = check_refused(fn, four, backend, "ConcretizationError", base=TypeError)
    if backend != "numpy":
        assert "# shown" in str(error)


@each_backend
@pytest.mark.parametrize(
    "fn",
    [
        lambda x: int(x),
        lambda x: range(x[3]),
        lambda x: int(x[0] * np.nan),
        lambda x: int(x[3] * np.inf),
        lambda x: 1 // int(x[0]),
        lambda x: 1.0 / float(x[0]),
        lambda x: int(x[3]) << -int(x[1]),
        lambda x: int(x[3]) >> -int(x[1]),
        lambda x: x[int(x[3]) + 1],
    ],
    ids=lambda fn: None,
)
def test_f53_errors_of_numbers(fn, backend):
    def f(x):
        x[1] = 1.0
        return fn(x)

    check(f, four, backend)


@each_backend
@pytest.mark.parametrize(
    "fn",
    [
        lambda n: n + 2**62 + 2**62,
        lambda n: n * 2**62,
        lambda n: n**40,
        lambda n: (n + 6) ** n**3,
        lambda n: n << 62,
        lambda n: n << n + 60,
        lambda n: -(n - 3 - 2**63),
        lambda n: abs(n - 3 - 2**63),
        lambda n: (n - 3 - 2**63) // (n - 4),
    ],
    ids=lambda fn: None,
)
def test_f53_integers_beyond_64_bits(fn, backend):
    """Python's have no limit; ours are refused there, and never wrap."""

    def f(x):
        return fn(int(x[0]))

    check_refused(f, lambda: (np.array([3]),), backend, "ValueOverflow", base=OverflowError)


@each_backend
def test_f53_integers_of_64_bits(backend):
    def f(x):
        n = int(x[0])
        return n**39, (-n) ** 39, n << 61, (n << 61) + (2**61 - 1) * 1, -(n << 61) - 2**61, abs(n - 2**62 - 2**62 + 1)

    check(f, lambda: (np.array([3]),), backend)


# --- 59 and 60: indexes and lengths that only the run knows ----------------------------------------------------


@each_backend
def test_f59_index_in_a_loop(backend):
    def f(a, order):
        a[0] = -1.0
        for k in range(order.shape[0]):
            a[order[k]] += a[order[k] - 1]

    def args(*order):
        return lambda: (np.arange(5.0), np.array([*order] * 7))

    check_calls(f, [args(1, 4, -3), args(1, 5, 2), args(1, 4, -3), args(1, -5, 2)], backend)


def chosen(x):
    y = x[x > 0.5]
    y += 1.0
    return y, x[x > 9], y.sum(), x[~(x > 0.5)].size


def positions(x):
    return np.nonzero(x > 1), np.flatnonzero(x), np.argwhere(x > 1), np.where(x > 2)


def different(x):
    return np.unique(x % 2), np.unique(x, return_inverse=True, return_counts=True), np.compress(x > 1, x)


def in_turns(x):
    total = 0.0
    for k in range(20):
        y = x[x > k * 0.2]
        total += y.sum() * len(y)
    return total


def shaped(x):
    y = x[x > 0.5]
    return y.shape[0], y.reshape(-1, 1) * 2.0, np.zeros_like(y), np.stack([y, y]), y[::-1], y[:2]


def written_back(x):
    x[x > 1] = x[x > 1] * 2.0
    x[np.nonzero(x < 1)] -= 1.0
    return x


def counted(x):
    return np.repeat(x, x.astype(int)), np.bincount(x.astype(int))


@each_backend
@pytest.mark.parametrize("fn", [chosen, positions, different, in_turns, shaped, written_back, counted], **by_name)
def test_f60_lengths_from_values(fn, backend):
    calls = [four, four_down, lambda: (np.zeros(4),), lambda: (np.full(4, 3.0),), four]
    check_calls(fn, calls, backend)


@each_backend
def test_f60_errors_of_lengths(backend):
    def none_left(x):
        x[0] = 5.0
        return x[x > 100].max()

    def two_lengths(x):
        return x[x > 0.5] + x[x < 2.5][:1].repeat(2)

    check(none_left, four, backend)
    check_calls(two_lengths, [lambda: (np.array([0.0, 1.0, 9.0]),), four], backend)


def unpacked(x):
    a, b = x[x > 1]  # shown
    return a + b


def parts(x):
    return np.array_split(x[x > 1], 2)  # shown


@each_backend
@pytest.mark.parametrize("fn", [unpacked, parts], **by_name)
def test_f60_lengths_that_nothing_bounds(fn, backend):
    error = check_refused(fn, four, backend, "ConcretizationError", "UnsupportedError")
    if backend != "numpy":
        assert "# shown" in str(error)
