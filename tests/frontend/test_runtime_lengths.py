"""Functions of arrays whose length only the run knows: what a mask selects, and where it is true."""

from __future__ import annotations

import numpy as np
import pytest

from tests.programs.harness import backends, check, check_refused

X = np.array([1.0, -2, 3, 0, 5, 3])
M = np.arange(12.0).reshape(3, 4) - 5


def args():
    return X.copy(), M.copy()


def rows(m):
    return m[m[:, 0] > -4]


def three_best(x, m):
    """What detection does: threshold, sort by score, gather."""
    kept = np.flatnonzero(x > 0.5)
    order = np.argsort(-x[kept], kind="stable")[:3]
    return kept[order], np.take(x, kept[order]), m[kept[order] % 3]


def flipped_pairs(x, m):
    """A view, which is written through."""
    pairs = x[::-1].reshape(np.count_nonzero(x > 2), 2)
    pairs[:, 1] = 7
    return pairs.sum(axis=0)


def copied_for_some(x, m):
    """Reading is fine, and so is what is written before."""
    m[0] = 1
    k = np.count_nonzero(x > 2)
    flat, whole = m[:, :k].reshape(-1), np.ascontiguousarray(m[:, :k])
    own = (m * 2)[:, :k].ravel()
    own += 1  # nobody sees what it may be a view of
    return flat.sum(), whole @ whole.T, own


PROGRAMS = {
    "nonzero": lambda x, m: np.nonzero(m),
    "nonzero twice": lambda x, m: (np.nonzero(x), x.nonzero()),
    "nonzero nan": lambda x, m: np.nonzero(x / 0 * 0),
    "where alone": lambda x, m: np.where(m > 0),
    "flatnonzero": lambda x, m: np.flatnonzero(m),
    "argwhere": lambda x, m: np.argwhere(m),
    "argwhere of nothing": lambda x, m: np.argwhere(m > 100),
    "compress": lambda x, m: np.compress(m[:, 0] > -4, m, axis=0),
    "compress columns": lambda x, m: m.compress(m[:, 0] > -4, axis=1),
    "extract": lambda x, m: np.extract(m > 0, m),
    "take": lambda x, m: np.take(x, np.nonzero(x > 0)[0]),
    "take of rows": lambda x, m: np.take(rows(m), [0, 1], axis=0),
    "take_along_axis": lambda x, m: np.take_along_axis(x[x > 0], np.argsort(x[x > 0], kind="stable"), axis=0),
    "put": lambda x, m: np.put(x, np.flatnonzero(x > 1), 9),
    "where": lambda x, m: np.where(x[x > 0] > 1, x[x > 0], 0),
    "select": lambda x, m: np.select([x[x > 0] > 1], [x[x > 0]], 7),
    "isin": lambda x, m: np.isin(x[x > 0], [1, 3]),
    "unravel_index": lambda x, m: np.unravel_index(np.flatnonzero(m > 0), m.shape),
    "concatenate": lambda x, m: np.concatenate((x[x > 0], x, x[x > 0])),
    "concatenate rows": lambda x, m: np.vstack((rows(m), m)),
    "stack": lambda x, m: np.stack((x[x > 0], x[x > 0])),
    "stack columns": lambda x, m: np.column_stack((x[x > 0], x[x > 0])),
    "append": lambda x, m: np.append(x[x > 0], 1.0),
    "tile": lambda x, m: np.tile(x[x > 0], 2),
    "repeat": lambda x, m: np.repeat(x[x > 0], 2),
    "pad": lambda x, m: np.pad(x[x > 0], (1, 2), constant_values=4),
    "meshgrid": lambda x, m: np.meshgrid(x[x > 0], x),
    "tril": lambda x, m: np.tril(rows(m)),
    "sort": lambda x, m: np.sort(x[x > 0]),
    "sort columns": lambda x, m: np.sort(rows(m), axis=0),
    "argsort": lambda x, m: np.argsort(x[x > 0], kind="stable"),
    "lexsort": lambda x, m: np.lexsort((x[x > 0], -x[x > 0])),
    "searchsorted": lambda x, m: np.searchsorted(np.sort(x), x[x > 0]),
    "digitize": lambda x, m: np.digitize(x[x > 0], [1, 2, 3]),
    "bincount": lambda x, m: np.bincount(x[x > 0].astype(int), minlength=6),
    "histogram": lambda x, m: np.histogram(x[x > 0], bins=3, range=(0, 6)),
    "matmul": lambda x, m: rows(m) @ m.T,
    "dot": lambda x, m: np.dot(x[x > 0], x[x > 0]),
    "outer": lambda x, m: np.outer(x[x > 0], x),
    "cross": lambda x, m: np.cross(rows(m)[:, :3], [1, 2, 3]),
    "norm": lambda x, m: np.linalg.norm(rows(m), axis=1),
    "einsum": lambda x, m: np.einsum("ij,ij->i", rows(m), rows(m)),
    "roll": lambda x, m: np.roll(x[x > 0], 2),
    "roll by what the run knows": lambda x, m: np.roll(x[x > 0], int(x[4])),
    "roll by several": lambda x, m: np.roll(m, m[:2, 0].astype(int), axis=(0, 1)),
    "reshape": lambda x, m: (np.flatnonzero(x > 0).reshape(-1, 2), x[x > 0].reshape(2, -1, 1)),
    "reshape to nothing": lambda x, m: x[x > 9].reshape(-1, 2),
    "reshape into lengths": lambda x, m: x.reshape(np.count_nonzero(x > 2), -1),
    "reshape of what does not fit": lambda x, m: x[x > 1].reshape(-1, 2),
    "squeeze": lambda x, m: np.squeeze(x[None, x > 0, None]),
    "squeeze one": lambda x, m: np.squeeze(x[x > 4], 0),
    "squeeze of several": lambda x, m: np.squeeze(x[x > 0], 0),
    "broadcast_to": lambda x, m: np.broadcast_to(m[m[:, 0] > -9], (2, 3, 4)),
    "three best": three_best,
    "a view of symbolic size": flipped_pairs,
    "a copy for some lengths": copied_for_some,
    "lengths that differ": lambda x, m: np.stack((x[x > 0], x[x > 1])),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_like_numpy(name):
    check(PROGRAMS[name], args, "interp", check_warnings=False, rtol=1e-12)


ON_CPU = (
    "nonzero",
    "argwhere",
    "compress columns",
    "take_along_axis",
    "put",
    "concatenate rows",
    "stack columns",
    "pad",
    "sort columns",
    "lexsort",
    "matmul",
    "einsum",
    "three best",
    "lengths that differ",
)


@pytest.mark.parametrize("backend", backends("cpu"))
@pytest.mark.parametrize("name", ON_CPU)
def test_compiled(name, backend):
    check(PROGRAMS[name], args, backend, check_warnings=False, rtol=1e-12)


@pytest.mark.parametrize(
    "program",
    [
        lambda x, m: np.insert(x[x > 0], 0, 1),
        lambda x, m: np.delete(x[x > 0], 0),
    ],
)
def test_a_rule_that_needs_the_length_says_so(program):
    error = check_refused(program, args, "interp", "UnsupportedError")
    assert "length is known only at run time" in str(error)


def write_copy(x, k):
    flat = x[:, :k].reshape(-1)
    flat += 1


def write_source(x, k):
    flat = x[:, :k].ravel()
    x[0] = 5
    return flat.sum()


def write_contiguous(x, k):
    laid = np.ascontiguousarray(x[:k].T)
    laid[0] = 5


@pytest.mark.parametrize("program", [write_copy, write_source, write_contiguous])
def test_what_is_a_view_for_some_lengths_only_is_not_written(program):
    """With k = 4, or 1, NumPy makes a view."""
    check_refused(program, lambda: (M.copy(), np.int64(4)), "interp", "AliasError")


def test_an_axis_that_the_run_finds_to_be_one():
    check_refused(lambda x: np.squeeze(x[x > 4]), lambda: (X.copy(),), "interp", "ShapeError")
