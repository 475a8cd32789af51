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
    "three best": three_best,
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
        lambda x, m: np.roll(x[x > 0], 1),
        lambda x, m: np.insert(x[x > 0], 0, 1),
        lambda x, m: np.delete(x[x > 0], 0),
    ],
)
def test_a_rule_that_needs_the_length_says_so(program):
    error = check_refused(program, args, "interp", "UnsupportedError")
    assert "length is known only at run time" in str(error)
