"""Choosing elements by masks and positions, grids and triangles, compared with NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from tests.programs.harness import backends, check, check_refused

A = np.array([[3.0, -1.0, 2.0], [np.nan, 5.0, -0.0]])
B = np.arange(6.0).reshape(2, 3)
K = np.array([2, 0, 1])


def args(*arrays):
    return lambda: tuple(a.copy("K") if isinstance(a, np.ndarray) else a for a in arrays)


def take_out(a, b, k):
    out = np.zeros(3, np.float64)
    return np.take(a[0], k, out=out), out


def choose_out(a, b, k):
    out = np.zeros(3, np.float32)
    np.choose(k, (a[0], b[0], b[1]), out=out)
    return out


def put_in_place(a, b, k):
    np.put(a, [0, -1, 2], [10, 20])
    return a


def put_strided(a, b, k):
    a.T[::2].put(k, b[0])
    return a


def put_wrap(a, b, k):
    np.put(a, k * 5, 7, mode="wrap")
    np.put(a, k - 9, 8, mode="clip")


def put_along(a, b, k):
    np.put_along_axis(a, np.argsort(b, axis=1)[:, :1], 99, axis=1)
    return a


def put_along_values(a, b, k):
    np.put_along_axis(a, k[None, :] % 2, b, axis=0)


def putmask(a, b, k):
    np.putmask(a, b > 2, b * 10)
    np.putmask(b, b > 1, [1, 2])


def place(a, b, k):
    np.place(a, a > 2, 7)
    np.place(b, b < 1, [3.0])


def fill_diagonal(a, b, k):
    np.fill_diagonal(a, 4)
    np.fill_diagonal(b.T, k)
    return np.einsum("ii->i", a[:, :2])


def fill_deep(a, b, k):
    cube = np.zeros((3, 3, 3)) + a[0, 0]
    np.fill_diagonal(cube, k)
    return cube


def where_in_steps(a, b, k):
    mask = a > b
    a[...] = np.where(mask, a, b)
    return np.where(mask, 1, 0)


def compress_static(a, b, k):
    return np.compress([True, False, True], a, axis=1), a.compress([0, 1]), np.extract([[1, 0, 1]], a[:1])


def known_positions(a, b, k):
    table = np.array([[0, 1], [2, 0]])
    return np.nonzero(table), np.argwhere(table), np.flatnonzero(table), a[np.nonzero(table)]


def grid_views(a, b, k):
    x, y = np.meshgrid(a[0], b[:, 0], copy=False, sparse=True)
    x += 1
    return x, y


def index_views(a, b, k):
    rows, columns = np.ix_([0, 1], k)
    return a[rows, columns], rows, columns


def take_negative_and_out_of_range(a, b, k):
    return np.take(a, k - 9)


PROGRAMS = {
    "where": lambda a, b, k: np.where(a > b, a, b),
    "where number": lambda a, b, k: np.where(a.astype("f4") > 0, a.astype("f4"), 0.5),
    "where ints": lambda a, b, k: np.where(a > 0, 1, 2.5),
    "where broadcast": lambda a, b, k: np.where(k > 0, a, b[:, :1]),
    "where 0-d": lambda a, b, k: np.where(a[0, 0] > 1, a[0, 1], 2),
    "where F": lambda a, b, k: np.where(a.T > 0, a.T, b.T).ravel("K"),
    "where one": lambda a, b, k: np.where(a > 0, a),
    "where mixed": lambda a, b, k: np.where(k, k.astype("u1"), k.astype("i1")),
    "where not bool": lambda a, b, k: np.where(a, a, b),
    "where int too large": lambda a, b, k: np.where(k > 0, k.astype("u1"), 300),
    "where in steps": where_in_steps,
    "select": lambda a, b, k: np.select([a > 2, a < 0], [a, b * 10], -1),
    "select default": lambda a, b, k: np.select([k > 1], [k.astype("i2")]),
    "select broadcast": lambda a, b, k: np.select([k > 1, a > 0], [1, b]),
    "select bad": lambda a, b, k: np.select([k], [k]),
    "select lengths": lambda a, b, k: np.select([a > 1], [a, b]),
    "choose": lambda a, b, k: np.choose(k, (a[0], b[0], b[1])),
    "choose method": lambda a, b, k: k.choose(([1, 2, 3], 5, 6.5)),
    "choose range": lambda a, b, k: np.choose(k, (a[0], b[0])),
    "choose wrap": lambda a, b, k: np.choose(k - 7, (a[0], b[0]), mode="wrap"),
    "choose clip": lambda a, b, k: np.choose(k - 1, (a[0], b[0]), mode="clip"),
    "choose out": choose_out,
    "take": lambda a, b, k: np.take(a, k),
    "take axis": lambda a, b, k: a.take(k, axis=1),
    "take axis 0": lambda a, b, k: np.take(a, [[1, 0], [0, 0]], axis=0),
    "take middle": lambda a, b, k: np.take(b.reshape(1, 3, 2), k[:2], axis=1),
    "take scalar": lambda a, b, k: np.take(a, 2),
    "take scalar axis": lambda a, b, k: np.take(a, k[0], axis=1),
    "take wrap": lambda a, b, k: np.take(a, k - 20, mode="wrap"),
    "take clip": lambda a, b, k: np.take(a, k * 4 - 3, mode="clip"),
    "take none": lambda a, b, k: np.take(a, [], axis=0) if False else np.take(a, k[:0], axis=1),
    "take range": lambda a, b, k: np.take(a, [0, 6]),
    "take range at run time": take_negative_and_out_of_range,
    "take float": lambda a, b, k: np.take(a, b[0]),
    "take out": take_out,
    "take mode": lambda a, b, k: np.take(a, k, mode="no"),
    "take_along_axis": lambda a, b, k: np.take_along_axis(a, np.argsort(b * -1, axis=1), axis=1),
    "take_along_axis rows": lambda a, b, k: np.take_along_axis(a, k[None, :] % 2, axis=0),
    "take_along_axis short": lambda a, b, k: np.take_along_axis(a, k[:2][:, None], axis=1),
    "take_along_axis flat": lambda a, b, k: np.take_along_axis(a, k, axis=None),
    "take_along_axis float": lambda a, b, k: np.take_along_axis(a, b, axis=0),
    "take_along_axis rank": lambda a, b, k: np.take_along_axis(a, k, axis=0),
    "take_along_axis range": lambda a, b, k: np.take_along_axis(a, k[None] + 1, axis=0),
    "put": put_in_place,
    "put strided": put_strided,
    "put wrap and clip": put_wrap,
    "put range": lambda a, b, k: np.put(a, k + 5, 1),
    "put_along_axis": put_along,
    "put_along_axis values": put_along_values,
    "putmask": putmask,
    "place": place,
    "putmask cast": lambda a, b, k: np.putmask(k, k > 1, b[0]),
    "putmask number": lambda a, b, k: np.putmask(k, k > 1, 2.5),
    "mask from a type": lambda a, b, k: np.zeros(3, np.result_type(k, b, 1.0)) + np.polyval([1, 2.0], k),
    "types": lambda a, b, k: (np.can_cast(k.dtype, b.dtype), np.common_type(k, b), np.isscalar(k[0])),
    "compress": compress_static,
    "known positions": known_positions,
    "nonzero 0-d": lambda a, b, k: np.nonzero(a[0, 0]),
    "isin": lambda a, b, k: np.isin(a, [5, -1, np.nan]),
    "isin invert": lambda a, b, k: np.isin(k, np.array([1, 2]), invert=True),
    "isin many": lambda a, b, k: np.isin(b, np.arange(0, 40, 2)),
    "isin halves": lambda a, b, k: np.isin(b.astype("f2"), np.arange(0, 40, 2).astype("f2")),
    "isin nothing": lambda a, b, k: np.isin(b, []),
    "isin arrays": lambda a, b, k: np.isin(k, a),
    "tri": lambda a, b, k: np.tri(3, 4, 1, dtype=int) + a[0, 1],
    "tril": lambda a, b, k: np.tril(a),
    "triu": lambda a, b, k: np.triu(a, 1),
    "triu deep": lambda a, b, k: np.triu(b.reshape(1, 2, 3), -1),
    "tril row": lambda a, b, k: np.tril(k),
    "tril_indices": lambda a, b, k: a[np.tril_indices(2)],
    "triu_indices_from": lambda a, b, k: (a[np.triu_indices_from(a)], np.diag_indices_from(a[:, :2])),
    "fill_diagonal": fill_diagonal,
    "fill_diagonal deep": fill_deep,
    "fill_diagonal row": lambda a, b, k: np.fill_diagonal(k, 1),
    "ix_": index_views,
    "meshgrid": lambda a, b, k: np.meshgrid(a[0], k[:2]),
    "meshgrid ij": lambda a, b, k: np.meshgrid(a[0], b[:, 0], k, indexing="ij"),
    "meshgrid sparse": lambda a, b, k: np.meshgrid(k, a[0], sparse=True),
    "meshgrid three": lambda a, b, k: np.meshgrid(k, 1.0, a[:, 0]),
    "meshgrid views": grid_views,
    "meshgrid bad": lambda a, b, k: np.meshgrid(k, indexing="yx"),
    "indices": lambda a, b, k: np.indices((2, 3)) + k,
    "indices sparse": lambda a, b, k: np.indices(a.shape, sparse=True),
    "indices float": lambda a, b, k: np.indices((2, 2), dtype=np.float32),
    "mgrid": lambda a, b, k: np.mgrid[0:2, 1:7:2] * k,
    "mgrid complex": lambda a, b, k: np.mgrid[0:1:3j] + a[0],
    "ogrid": lambda a, b, k: np.ogrid[0:2, 0:3],
    "unravel_index": lambda a, b, k: np.unravel_index(k, (2, 3)),
    "unravel_index F": lambda a, b, k: np.unravel_index(k * 2, (2, 3), order="F"),
    "unravel_index scalar": lambda a, b, k: np.unravel_index(k[0], a.shape),
    "unravel_index argmax": lambda a, b, k: np.unravel_index(b.argmax(), b.shape),
    "unravel_index range": lambda a, b, k: np.unravel_index(k + 4, (2, 3)),
    "ravel_multi_index": lambda a, b, k: np.ravel_multi_index((k % 2, k), (2, 3)),
    "ravel_multi_index F": lambda a, b, k: np.ravel_multi_index((k % 2, 1), (2, 3), order="F"),
    "ravel_multi_index wrap": lambda a, b, k: np.ravel_multi_index(
        (k - 5, k + 5), (2, 3), mode=("wrap", "clip")
    ),
    "ravel_multi_index range": lambda a, b, k: np.ravel_multi_index((k, k), (2, 3)),
    "linspace": lambda a, b, k: np.linspace(a[0, 0], b[1, 2], 7),
    "linspace open": lambda a, b, k: np.linspace(a[0, 0], 9, 4, endpoint=False),
    "linspace arrays": lambda a, b, k: np.linspace(b[0], b[1], 3),
    "linspace axis": lambda a, b, k: np.linspace(b[0], 0, 3, axis=-1),
    "linspace int": lambda a, b, k: np.linspace(a[0, 0], -4, 5, dtype=int),
    "linspace step": lambda a, b, k: np.linspace(k[0], 8, 5, retstep=True),
    "linspace one": lambda a, b, k: np.linspace(a[0, 0], 8, 1),
    "linspace none": lambda a, b, k: np.linspace(a[0, 0], 8, 0),
    "linspace equal": lambda a, b, k: np.linspace(a[0, 0], a[0, 0], 3),
    "linspace f4": lambda a, b, k: np.linspace(a.astype("f4")[0, 0], 1, 5),
    "linspace static": lambda a, b, k: np.linspace(0, 1, 5) + a[0, 0],
    "vander": lambda a, b, k: np.vander(k),
    "vander rising": lambda a, b, k: np.vander(b[0], 4, increasing=True),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_like_numpy(name):
    check(PROGRAMS[name], args(A, B, K), "interp")


@pytest.mark.parametrize("name", ["logspace", "geomspace", "geomspace falling", "logspace base"])
def test_powers_like_numpy(name):
    programs = {
        "logspace": lambda a, b, k: np.logspace(a[0, 0], b[0, 1], 5),
        "logspace base": lambda a, b, k: np.logspace(a[0, 0], b[0, 1], 5, base=2.0, endpoint=False),
        "geomspace": lambda a, b, k: np.geomspace(a[0, 0], b[1, 2], 6),
        "geomspace falling": lambda a, b, k: np.geomspace(-a[0, 0] * 9, -1, 4),
    }
    check(programs[name], args(A, B, K), "interp", ulp=8)


ON_CPU = (
    "where broadcast",
    "where F",
    "where in steps",
    "select broadcast",
    "choose wrap",
    "take middle",
    "take range at run time",
    "take_along_axis",
    "put strided",
    "put_along_axis values",
    "putmask",
    "isin many",
    "triu deep",
    "fill_diagonal",
    "meshgrid views",
    "mgrid",
    "unravel_index F",
    "ravel_multi_index wrap",
    "linspace arrays",
    "vander",
)


@pytest.mark.parametrize("backend", backends("cpu"))
@pytest.mark.parametrize("name", ON_CPU)
def test_compiled(name, backend):
    check(PROGRAMS[name], args(A, B, K), backend)


REFUSED = {
    "unique_values": lambda a, b, k: np.unique_values(a),
    "place": lambda a, b, k: np.place(a, a > 0, k),
    "mgrid": lambda a, b, k: np.mgrid[0 : a[0, 0]],
    "meshgrid": lambda a, b, k: np.meshgrid(k, a[0], copy=False),
    "fill_diagonal": lambda a, b, k: np.fill_diagonal(a.T, 1, wrap=True),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    error = check_refused(REFUSED[name], args(A, B, K), "interp", "UnsupportedError")
    assert f"np.{name.split()[0]}" in str(error) or "data" in str(error)


def doubled(x):
    """A Python int that only the run tells, of which NumPy knows no size."""
    n = 1
    for _ in range(int(x[0])):
        n = n + n
    return n


def chosen_numbers(x):
    n = doubled(x)
    return (np.select([x > 3, x > 1], [n, x], -n), np.choose(x & 1, [x, n]), np.choose(x & 1, [2, x]),
            np.select([x > 3], [x], 40000))


def clipped(x):
    n = doubled(x)
    return x.clip(-n - 1, n), np.clip(x, 0, n), np.clip(x.astype("u2"), -n, n), np.clip(x.astype("u8"), 0, n)


def where_number(x):
    return np.where(x > 0, x, doubled(x))


def clipped_above(x):
    return np.clip(x, doubled(x), None)


def clipped_below(x):
    n = doubled(x)
    return np.clip(x, None, -n - n)


@pytest.mark.parametrize("turns", [3, 15])
@pytest.mark.parametrize("program", [chosen_numbers, clipped, where_number, clipped_above, clipped_below])
def test_python_ints_of_the_run_fit_where_known_ones_do(program, turns):
    check(program, lambda: (np.array([turns, -1, 2], "i2"),), "interp")


def put_lists(x):
    """Lists become what the array holds, whatever that is; NumPy scalars too, but arrays must fit."""
    np.putmask(x, x > 1, [7, 8, 2.5])
    np.putmask(x, x < 1, np.float64(9))
    np.place(x, x > 8, [4.5])
    return np.insert(x, 1, [2, 100])


@pytest.mark.parametrize("dtype", ["f4", "u1", "i8"])
@pytest.mark.parametrize("program", [
    put_lists,
    lambda x: np.put(x, [0], [300]),
    lambda x: np.insert(x, 0, [2, 300]),
    lambda x: np.putmask(x, x > 1, np.array([2.5])),
    lambda x: (np.intersect1d(x, [1, 2, 9]), np.intersect1d([1.0, 2.5], x), np.intersect1d(x, [])),
])
def test_values_of_another_kind(program, dtype):
    check(program, lambda: (np.array([3, 1, 0, 2], dtype),), "interp")
