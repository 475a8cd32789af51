"""Joining, splitting and repeating arrays, compared with NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from tests.programs.harness import backends, check, check_refused

A = np.arange(6.0).reshape(2, 3)
B = np.arange(6.0, 12.0).reshape(2, 3)


def args(*arrays):
    return lambda: tuple(a.copy("K") if isinstance(a, np.ndarray) else a for a in arrays)


def concat_out(a, b):
    out = np.zeros((4, 3), np.float32)
    kept = np.concatenate((a, b), out=out)
    return out, kept


def concat_into_argument(a, b):
    np.concatenate((b[1:], a[:1]), out=a)
    return a


def split_writes(a, b):
    first, second = np.split(a, [1], axis=1)
    second += 10
    first[:] = b[:, :1]
    return second


def tiles_of_a_scalar(a, b):
    return np.tile(a[0, 0], 3), np.tile(a[0, 0], (2, 2)), np.tile(2.5, 2)


PROGRAMS = {
    "concatenate": lambda a, b: np.concatenate((a, b)),
    "concatenate axis": lambda a, b: np.concatenate([a, b, a[:, :1]], axis=-1),
    "concatenate none": lambda a, b: np.concatenate((a.T, b, 1.0), axis=None),
    "concatenate dtype": lambda a, b: np.concatenate((a, b), dtype=np.float32),
    "concatenate mixed": lambda a, b: np.concatenate((a.astype("i4"), b.astype("f4"))),
    "concatenate one array": lambda a, b: np.concatenate(a),
    "concatenate int list": lambda a, b: np.concatenate((a[0], [1, 2])),
    "concatenate F": lambda a, b: np.concatenate((a.T, b.T), axis=1).ravel("K"),
    "concatenate conflict": lambda a, b: np.concatenate((a.T, b.reshape(3, 2)), axis=1).ravel("K"),
    "concatenate bad shape": lambda a, b: np.concatenate((a, b[:, 1:])),
    "concatenate bad rank": lambda a, b: np.concatenate((a, b[0])),
    "concatenate 0-d": lambda a, b: np.concatenate((a[0, 0], b[0, 0])),
    "concatenate empty list": lambda a, b: (a[0], np.concatenate([])),
    "concatenate bad axis": lambda a, b: np.concatenate((a, b), axis=2),
    "concatenate casting": lambda a, b: np.concatenate((a, b), dtype=np.int32),
    "concatenate unsafe": lambda a, b: np.concatenate((a, b), dtype=np.int32, casting="unsafe"),
    "concatenate out": concat_out,
    "concatenate into argument": concat_into_argument,
    "stack": lambda a, b: np.stack((a, b)),
    "stack last": lambda a, b: np.stack((a, b), axis=-1),
    "stack middle": lambda a, b: np.stack((a, b, a), axis=1),
    "stack scalars": lambda a, b: np.stack((a[0, 0], b[1, 1], 1)),
    "stack F": lambda a, b: np.stack((a.T, b.T), axis=1).ravel("K"),
    "stack bad": lambda a, b: np.stack((a, b[0])),
    "stack bad axis": lambda a, b: np.stack((a, b), axis=3),
    "vstack": lambda a, b: np.vstack((a, b[0])),
    "vstack rows": lambda a, b: np.vstack((a[0], b[0], [1, 2, 3])),
    "hstack": lambda a, b: np.hstack((a, b)),
    "hstack rows": lambda a, b: np.hstack((a[0], b[0], 5.0)),
    "hstack array": lambda a, b: np.hstack(a),
    "dstack": lambda a, b: np.dstack((a, b)),
    "dstack rows": lambda a, b: np.dstack((a[0], b[0])),
    "column_stack": lambda a, b: np.column_stack((a[0], b[0], a.T)),
    "append": lambda a, b: np.append(a, b),
    "append axis": lambda a, b: np.append(a, b, axis=1),
    "append number": lambda a, b: np.append(a.astype("f4"), 1.5),
    "block": lambda a, b: np.block([[a, b], [b, a]]),
    "block zeros": lambda a, b: np.block([[a, np.zeros((2, 1))], [np.ones((1, 3)), 7]]),
    "block one": lambda a, b: np.block(a),
    "block rows": lambda a, b: np.block([a[0], 1.0, b[1]]),
    "block mismatch": lambda a, b: np.block([[a, b[:1]]]),
    "block depth": lambda a, b: np.block([[a], b]),
    "block tuple": lambda a, b: np.block((a, b)),
    "split": lambda a, b: np.split(a, 3, axis=1),
    "split cuts": lambda a, b: np.split(a.ravel(), [1, 4]),
    "split uneven": lambda a, b: np.split(a, 2, axis=1),
    "array_split": lambda a, b: np.array_split(a, 2, axis=1),
    "array_split many": lambda a, b: np.array_split(a[0], 5),
    "hsplit": lambda a, b: np.hsplit(a, 3),
    "hsplit 1-d": lambda a, b: np.hsplit(a[0], 3),
    "vsplit": lambda a, b: np.vsplit(a, 2),
    "vsplit 1-d": lambda a, b: np.vsplit(a[0], 1),
    "dsplit": lambda a, b: np.dsplit(a.reshape(1, 2, 3), [1]),
    "split writes": split_writes,
    "unstack": lambda a, b: np.unstack(a, axis=1),
    "unstack row": lambda a, b: np.unstack(a[0]),
    "insert": lambda a, b: np.insert(a, 1, 9, axis=1),
    "insert flat": lambda a, b: np.insert(a, 2, 9),
    "insert negative": lambda a, b: np.insert(a, -1, b[:, 0], axis=1),
    "insert several": lambda a, b: np.insert(a, [0, 2], 9, axis=1),
    "insert unsorted": lambda a, b: np.insert(a, [2, 0], b[:, :2], axis=1),
    "insert at one": lambda a, b: np.insert(a, [1], b, axis=1),
    "insert slice": lambda a, b: np.insert(a[0], slice(0, 3, 2), [8, 9]),
    "insert row": lambda a, b: np.insert(a, 1, b[0], axis=0),
    "insert int": lambda a, b: np.insert(a.astype(int), 1, 2.7),
    "insert out of range": lambda a, b: np.insert(a, 9, 1, axis=1),
    "insert F": lambda a, b: np.insert(a.T, 1, 5, axis=0).ravel("K"),
    "delete": lambda a, b: np.delete(a, 1, axis=1),
    "delete flat": lambda a, b: np.delete(a, [0, 3]),
    "delete slice": lambda a, b: np.delete(a, slice(None, None, 2), axis=1),
    "delete mask": lambda a, b: np.delete(a, [True, False, True], axis=1),
    "delete out of range": lambda a, b: np.delete(a, 3, axis=1),
    "delete many": lambda a, b: np.delete(np.arange(80.0) + a[0, 0], np.arange(0, 80, 2)),
    "tile": lambda a, b: np.tile(a, 2),
    "tile rows": lambda a, b: np.tile(a, (2, 1)),
    "tile deep": lambda a, b: np.tile(a, (2, 1, 2)),
    "tile once": lambda a, b: np.tile(a, (1, 1)),
    "tile none": lambda a, b: np.tile(a, 0),
    "tile scalar": tiles_of_a_scalar,
    "repeat": lambda a, b: np.repeat(a, 2),
    "repeat axis": lambda a, b: a.repeat(3, axis=0),
    "repeat by data": lambda a, b: (np.repeat(a, b[0].astype(int) % 3, axis=1), a[0].repeat(b[0].astype(int) % 2),
                                    np.repeat(a, b[0].argmax())),
    "repeat by too few": lambda a, b: np.repeat(a, b[0, :1].astype(int) - 9),
    "resize": lambda a, b: (np.resize(a, (3, 7)), np.resize(a, 3), np.resize(a[:0], (2,)), np.resize(a, (0, 2))),
    "repeat counts": lambda a, b: np.repeat(a, [1, 0, 2], axis=1),
    "repeat one count": lambda a, b: np.repeat(a, [2], axis=-1),
    "repeat none": lambda a, b: np.repeat(a, 0, axis=1),
    "repeat bad": lambda a, b: np.repeat(a, [1, 2], axis=1),
    "repeat negative": lambda a, b: np.repeat(a, -1),
    "roll": lambda a, b: np.roll(a, 2),
    "roll axis": lambda a, b: np.roll(a, 1, axis=1),
    "roll negative": lambda a, b: np.roll(a, -7, axis=-1),
    "roll two": lambda a, b: np.roll(a, (1, 2), axis=(0, 1)),
    "roll one by two axes": lambda a, b: np.roll(a, 1, axis=(0, 1)),
    "roll twice": lambda a, b: np.roll(a, (1, 1), axis=(1, 1)),
    "roll nothing": lambda a, b: np.roll(a, 3, axis=1),
    "roll empty": lambda a, b: np.roll(a[:0], 2, axis=0),
    "roll F": lambda a, b: np.roll(a.T, 1, axis=0).ravel("K"),
    "pad": lambda a, b: np.pad(a, 1),
    "pad values": lambda a, b: np.pad(a, ((1, 2), (0, 1)), constant_values=((1, 2), (3, 4))),
    "pad traced value": lambda a, b: np.pad(a, 1, constant_values=b[0, 0]),
    "pad dict": lambda a, b: np.pad(a, {1: (1, 2)}),
    "pad edge": lambda a, b: np.pad(a, ((1, 2), (3, 1)), mode="edge"),
    "pad reflect": lambda a, b: np.pad(a, ((1, 1), (2, 1)), mode="reflect"),
    "pad reflect far": lambda a, b: np.pad(a, ((3, 2), (5, 7)), mode="reflect"),
    "pad symmetric": lambda a, b: np.pad(a, ((2, 1), (4, 3)), mode="symmetric"),
    "pad wrap": lambda a, b: np.pad(a, ((1, 3), (2, 4)), mode="wrap"),
    "pad int": lambda a, b: np.pad(a.astype(np.int32), 1, constant_values=7),
    "pad F": lambda a, b: np.pad(a.T, 1).ravel("K"),
    "pad zero": lambda a, b: np.pad(a, 0, mode="edge"),
    "pad negative": lambda a, b: np.pad(a, -1),
    "pad float": lambda a, b: np.pad(a, 1.5),
    "r_": lambda a, b: np.r_[a[0], 1:4, 0.5, b[1]],
    "r_ ints": lambda a, b: np.r_[a[0].astype("f4"), 2],
    "c_": lambda a, b: np.c_[a[0], b[0]],
    "c_ matrix": lambda a, b: np.c_[a, b],
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_like_numpy(name):
    check(PROGRAMS[name], args(A, B), "interp")


ON_CPU = (
    "concatenate axis",
    "concatenate conflict",
    "concatenate into argument",
    "stack middle",
    "block zeros",
    "split writes",
    "insert unsorted",
    "delete many",
    "tile deep",
    "repeat counts",
    "roll two",
    "pad values",
    "pad reflect far",
    "r_",
)


@pytest.mark.parametrize("backend", backends("cpu"))
@pytest.mark.parametrize("name", ON_CPU)
def test_compiled(name, backend):
    check(PROGRAMS[name], args(A, B), backend)


def test_views_of_strided_arguments():
    def program(x):
        left, right = np.array_split(x[::-1, ::2], 2, axis=1)
        left[:] = right[:, :1]
        return np.hstack((x, left))

    check(program, lambda: (np.arange(30.0).reshape(5, 6),), "interp")


REFUSED = {
    "pad mode": lambda a, b: np.pad(a, 1, mode="mean"),
    "pad odd": lambda a, b: np.pad(a, 1, mode="reflect", reflect_type="odd"),
    "insert by data": lambda a, b: np.insert(a[0], b[0].astype(int), 1),
    "r_ directive": lambda a, b: np.r_["0,2", a[0], b[0]],
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    error = check_refused(REFUSED[name], args(A, B), "interp", "UnsupportedError")
    assert "np." in str(error)
