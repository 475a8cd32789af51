"""A matrix computed only for a product with a vector takes no memory."""

import numpy as np
import pytest

import sparsec


def scaled(a, x):
    return (2.5 * a) @ x


def twice(a, x):
    return (a - 1.0) @ x + (np.abs(a) + a) @ x[::-1]


def across(a, x):
    return (a.T + 1.0) @ x


def kept(a, x):
    b = a * 0.5
    return b @ x, b


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("fn", "matrices"), [(scaled, 0), (twice, 0), (across, 1), (kept, 0)])
def test_values_and_memory(fn, matrices, dtype):
    rng = np.random.default_rng(0)
    a, x = rng.normal(size=(70, 70)).astype(dtype), rng.normal(size=70).astype(dtype)
    jitted = sparsec.jit(fn)
    tolerance = 70 * np.finfo(dtype).eps * 70
    for got, want in zip(np.atleast_2d(jitted(a, x)[0]), np.atleast_2d(fn(a, x)[0]), strict=True):
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
    program = jitted.lower(a, x).compilation.program
    assert program.arena_bytes // a.nbytes == matrices
    externs = jitted.lower(a, x).as_text("loops").count("extern gemm")
    assert externs == (1 if fn in (kept, across) else 0)


def test_infinities_are_those_of_the_product():
    a, x = np.full((64, 64), 1e300), np.arange(64.0)
    a[3] *= -1
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(sparsec.jit(lambda a, x: (a * 1e10) @ x)(a, x), (a * 1e10) @ x)
