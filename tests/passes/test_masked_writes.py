"""`x[m] = f(y[m])` as a choice between new and old elements, and where it must not become one."""

import numpy as np
import pytest

import sparsec

RNG = np.random.default_rng(1)


def one(x, y, m):
    x[m] = np.sqrt(y[m]) + x[m] * 2


def flipped(x, y, m):
    x[m] = x[::-1][m] - 1


def strided(x, y, m):
    x[::2][m[::2]] /= 3.0


def augmented(x, y, m):
    x[m] += y[m]
    y[m] *= x[m]


def mask_changes(x, y, m):
    kept = y[m]
    np.logical_not(m, out=m)
    x[~m] = kept + 1


def source_changes(x, y, m):
    kept = y[m] * 2
    y[:5] = 0
    x[m] = kept


def compact_is_used(x, y, m):
    kept = y[m] * 2
    x[m] = kept
    return kept


def costly(x, y, m):
    x[m] = np.exp(np.sin(np.exp(y[m])))


@pytest.mark.parametrize(
    ("fn", "chosen"),
    [(one, True), (flipped, True), (strided, True), (augmented, True), (mask_changes, False),
     (source_changes, False), (compact_is_used, False), (costly, False)],
)  # fmt: skip
def test_like_numpy(fn, chosen):
    given = RNG.normal(size=40), RNG.normal(size=40), RNG.normal(size=40) > 0
    wanted, ours = [a.copy() for a in given], [a.copy() for a in given]
    with np.errstate(all="ignore"):
        want, got = fn(*wanted), sparsec.jit(fn)(*ours)
    for a, b in zip((want, *wanted), (got, *ours)):
        np.testing.assert_allclose(b, a, rtol=1e-14) if a is not None else None
    text = sparsec.jit(fn).lower(*given).as_text("dce")
    assert ("nonzero" not in text) == chosen
