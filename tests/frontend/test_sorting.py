"""Sorting, search and counts, compared with NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from tests.programs.harness import backends, check, check_refused

A = np.array([[3.0, np.nan, -1.0, 2.0], [5.0, -2.0, np.inf, -np.inf], [1.0, 1.0, 0.5, np.nan]])
K = np.array([3, 1, 4, 1, 5, 9, 2, 6])
C = np.array([1 + 2j, 1 - 2j, complex(0, np.nan), 0 + 1j, complex(np.nan, 0)])


def args(*arrays):
    return lambda: tuple(a.copy("K") if isinstance(a, np.ndarray) else a for a in arrays)


def sort_in_place(a, k, c):
    a.sort()
    k[::-2].sort()


def sort_a_column(a, k, c):
    a[:, 1].sort()
    a.T.sort(axis=0)
    return a


def top_three(a, k, c):
    order = np.argsort(-k, kind="stable")[:3]
    return k[order], order


def ranks(a, k, c):
    order = np.argsort(k, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(k))
    return rank


def partition_is_sorted_enough(a, k, c):
    p = np.partition(k, 3)
    q = k[np.argpartition(k, 3)]
    k.partition(2)
    return np.max(p[:3]) <= p[3], np.min(p[4:]) >= p[3], p[3], q[3], k[2]


PROGRAMS = {
    "sort": lambda a, k, c: np.sort(a),
    "sort axis": lambda a, k, c: np.sort(a, axis=0),
    "sort none": lambda a, k, c: np.sort(a, axis=None),
    "sort complex": lambda a, k, c: np.sort(c),
    "sort bool": lambda a, k, c: np.sort(k > 3),
    "sort half": lambda a, k, c: np.sort(a.astype("f2")),
    "sort small ints": lambda a, k, c: np.sort(k.astype("u1")),
    "sort F": lambda a, k, c: np.sort(a.T, axis=0).ravel("K"),
    "sort stable": lambda a, k, c: np.sort(a, kind="stable"),
    "sort empty": lambda a, k, c: np.sort(a[:, :0]),
    "sort bad axis": lambda a, k, c: np.sort(a, axis=2),
    "sort 0-d": lambda a, k, c: np.sort(a[0, 0]),
    "sort bad kind": lambda a, k, c: np.sort(a, kind="bubble"),
    "sort in place": sort_in_place,
    "sort a column": sort_a_column,
    "argsort": lambda a, k, c: np.argsort(k, kind="stable"),
    "argsort axis": lambda a, k, c: a.argsort(axis=0, kind="stable"),
    "argsort nan": lambda a, k, c: np.argsort(a, stable=True),
    "argsort none": lambda a, k, c: np.argsort(a, axis=None, kind="stable"),
    "argsort complex": lambda a, k, c: np.argsort(c, kind="stable"),
    "argsort 0-d": lambda a, k, c: np.argsort(a[0, 0]),
    "top three": top_three,
    "ranks": ranks,
    "partition": partition_is_sorted_enough,
    "partition range": lambda a, k, c: np.partition(k, 8),
    "sort_complex": lambda a, k, c: (np.sort_complex(c), np.sort_complex(k), np.sort_complex(k.astype("i2"))),
    "lexsort": lambda a, k, c: np.lexsort((k % 4, k % 2)),
    "lexsort matrix": lambda a, k, c: np.lexsort(a),
    "lexsort axis": lambda a, k, c: np.lexsort((a, a * 0), axis=0),
    "lexsort shapes": lambda a, k, c: np.lexsort((k, a)),
    "searchsorted": lambda a, k, c: np.searchsorted(np.sort(k), [0, 1, 4, 10]),
    "searchsorted right": lambda a, k, c: np.sort(k).searchsorted(k, side="right"),
    "searchsorted scalar": lambda a, k, c: np.searchsorted(np.sort(k), 4),
    "searchsorted float": lambda a, k, c: np.searchsorted(np.sort(k), 3.5),
    "searchsorted matrix": lambda a, k, c: np.searchsorted(np.sort(a[0]), a),
    "searchsorted sorter": lambda a, k, c: np.searchsorted(k, [2, 5], sorter=np.argsort(k, kind="stable")),
    "searchsorted static": lambda a, k, c: np.searchsorted([0.0, 1.0, 2.5], a),
    "searchsorted side": lambda a, k, c: np.searchsorted(k, 1, side="middle"),
    "searchsorted 2-d": lambda a, k, c: np.searchsorted(a, 1),
    "digitize": lambda a, k, c: np.digitize(a, [0.0, 1.0, 2.5]),
    "digitize right": lambda a, k, c: np.digitize(k, np.array([2, 4, 6]), right=True),
    "digitize falling": lambda a, k, c: np.digitize(k, [6, 4, 2]),
    "digitize traced": lambda a, k, c: np.digitize(k, np.sort(k)),
    "digitize traced falling": lambda a, k, c: np.digitize(k, np.sort(k)[::-1], right=True),
    "digitize traced disorder": lambda a, k, c: np.digitize(k, k),
    "digitize disorder": lambda a, k, c: np.digitize(k, [1, 3, 2]),
    "digitize scalar": lambda a, k, c: np.digitize(a[0, 0], [0, 1]),
    "bincount": lambda a, k, c: np.bincount(k, minlength=10),
    "bincount of narrow ones": lambda a, k, c: (np.bincount(k.astype("u1")), np.bincount(k.astype("?"))),
    "bincount of all there are": lambda a, k, c: (np.bincount(k), np.bincount(k, k * 0.5), np.bincount(k[k > 3])),
    "bincount weights": lambda a, k, c: np.bincount(k % 4, weights=k * 0.5, minlength=4),
    "bincount static": lambda a, k, c: np.bincount(np.array([0, 1, 1, 3]), weights=a[0]),
    "bincount empty": lambda a, k, c: np.bincount(k[:0], minlength=3),
    "bincount negative": lambda a, k, c: np.bincount(k - 3, minlength=10),
    "bincount float": lambda a, k, c: np.bincount(a[0], minlength=10),
    "histogram": lambda a, k, c: np.histogram(k),
    "histogram range": lambda a, k, c: np.histogram(k, bins=4, range=(1, 6)),
    "histogram f4": lambda a, k, c: np.histogram(k.astype("f4"), bins=7, range=(0.0, 10.0)),
    "histogram edges": lambda a, k, c: np.histogram(k, bins=[1, 2, 4, 9]),
    "histogram traced edges": lambda a, k, c: np.histogram(k, bins=np.sort(k)),
    "histogram disorder": lambda a, k, c: np.histogram(k, bins=k),
    "histogram weights": lambda a, k, c: np.histogram(k, bins=3, weights=k * 0.5),
    "histogram density": lambda a, k, c: np.histogram(k, bins=4, density=True),
    "histogram one value": lambda a, k, c: np.histogram(k * 0 + 2, bins=3),
    "histogram nan": lambda a, k, c: np.histogram(a, bins=3),
    "histogram nan range": lambda a, k, c: np.histogram(a, bins=3, range=(-1, 3)),
    "histogram bad range": lambda a, k, c: np.histogram(k, bins=3, range=(3, 1)),
    "histogram edges only": lambda a, k, c: np.histogram_bin_edges(k, 3),
    "histogram no bins": lambda a, k, c: np.histogram(k, bins=0),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_like_numpy(name):
    check(PROGRAMS[name], args(A, K, C), "interp", check_warnings=False)


ON_CPU = (
    "sort axis",
    "sort complex",
    "sort half",
    "sort in place",
    "sort a column",
    "argsort nan",
    "ranks",
    "lexsort matrix",
    "searchsorted matrix",
    "digitize traced falling",
    "bincount weights",
    "histogram range",
    "histogram traced edges",
    "digitize traced disorder",
)


@pytest.mark.parametrize("backend", backends("cpu"))
@pytest.mark.parametrize("name", ON_CPU)
def test_compiled(name, backend):
    check(PROGRAMS[name], args(A, K, C), backend, check_warnings=False)


@pytest.mark.parametrize("backend", backends("interp", "cpu"))
def test_long_rows(backend):
    def program(x):
        x.sort(axis=1)
        return np.argsort(x[:, ::-3], kind="stable"), np.searchsorted(x[0], x[1])

    rng = np.random.default_rng(5)
    values = rng.integers(0, 50, (3, 400)).astype("f4")
    check(program, args(values), backend)


def test_random_histograms():
    rng = np.random.default_rng(6)
    for count in (1, 3, 10, 33):
        values = rng.normal(size=200)
        check(lambda x, n=count: np.histogram(x, bins=n), args(values), "interp")
        check(lambda x, n=count: np.histogram(x, bins=n, range=(-1, 1)), args(values.astype("f4")), "interp")


REFUSED = {
    "unique_counts": lambda a, k, c: np.unique_counts(k),
    "histogram": lambda a, k, c: np.histogram(k, bins="auto"),
    "partition": lambda a, k, c: np.partition(a, k[0], axis=0),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    error = check_refused(REFUSED[name], args(A, K, C), "interp", "UnsupportedError")
    assert f"np.{name}" in str(error)


def test_a_count_above_minlength_is_an_error():
    check_refused(lambda k: np.bincount(k, minlength=4), args(K), "interp", "ShapeError", base=ValueError)
