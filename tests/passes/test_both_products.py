"""Two products of one large matrix that read it once: where that is right, and that it is NumPy's answer."""

import numpy as np
import pytest

import sparsec


def chained(a, x, r):
    return (a @ x) @ a


def transposed(a, x, r):
    return a.T @ r, x @ a.T


def columns(a, x, r):
    return a.T @ (a @ x.reshape(-1, 1))


def in_place(a, x, r):
    y, z = r * 2, x + 1
    y += a @ x
    z -= r @ a
    return y, z


def later(a, x, r):
    y = a @ x
    return y, np.sqrt(np.abs(r) + x.sum()) @ a


def written_between(a, x, r):
    y = a @ x
    a[3, 5] = 0.0
    return y, r @ a


def row_first(a, x, r):
    return a @ (r @ a)


def of_the_product(a, x, r):
    return np.tanh(a @ x) @ a


def part(a, x, r):
    k = len(r) - 79
    return a[:k] @ x, r @ a, a[:k, :-1] @ x[1:], r[:k] @ a[:k]


def two_of_a_kind(a, x, r):
    return a @ x, a @ x[::-1]


PROGRAMS = {chained: 1, transposed: 1, columns: 1, in_place: 1, later: 1, written_between: 0, row_first: 0,
            of_the_product: 0, part: 1, two_of_a_kind: 0}  # fmt: skip


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("fn", PROGRAMS)
def test_values_and_trips(fn, dtype):
    rng = np.random.default_rng(1)
    m, n = (2100, 261) if dtype == "f4" else (1103, 259)
    a, x, r = (rng.normal(size=size).astype(dtype) for size in ((m, n), n, m))
    jitted = sparsec.jit(fn)
    wanted, got = fn(a.copy(), x, r), jitted(a.copy(), x, r)
    for one, other in zip(*(result if isinstance(result, tuple) else (result,) for result in (wanted, got))):
        assert one.shape == other.shape and one.dtype == other.dtype
        np.testing.assert_allclose(other, one, rtol=0, atol=100 * np.finfo(dtype).eps * np.abs(one).max())
    assert jitted.lower(a, x, r).as_text("graph").count("= both_products") == PROGRAMS[fn]


def test_small_matrices_are_left_alone():
    a, x, r = np.ones((500, 500)), np.ones(500), np.ones(500)
    assert "= both_products" not in sparsec.jit(chained).lower(a, x, r).as_text("graph")
    a = np.ones((600, 500))
    assert "= both_products" in sparsec.jit(chained).lower(a, x, r).as_text("graph")
    assert "= both_products" not in sparsec.jit(chained, choices="both-products=0").lower(a, x, r).as_text("graph")


def test_no_sum_depends_on_the_number_of_threads():
    rng = np.random.default_rng(2)
    a, x, r = rng.normal(size=(1103, 259)), rng.normal(size=259), rng.normal(size=1103)
    before, found = sparsec.get_num_threads(), []
    try:
        for threads in (1, 2):
            sparsec.set_num_threads(threads)
            found.append(sparsec.jit(transposed)(a, x, r))
    finally:
        sparsec.set_num_threads(before)
    for one, other in zip(*found):
        np.testing.assert_array_equal(one, other)
