"""Calls that run without Python: the same answers, objects, errors and effects as the long way."""

import copy
import gc
import pickle
import sys
import threading
import time
import warnings
from typing import NamedTuple

import numpy as np
import pytest

import sparsec
from sparsec.config import settings
from sparsec.errors import ChannelError, IndexOutOfRange
from sparsec.frontend.jit import Jitted
from sparsec.runtime import native
from sparsec.sparse import ChannelSparse

pytestmark = pytest.mark.skipif(not native.enable(Jitted), reason="this interpreter's calls stay in Python")


class Counted:
    """A jitted function and how many of its calls went through Python."""

    def __init__(self, fn, **options):
        self.jitted = sparsec.jit(fn, **options)
        self.python = 0
        self.bind = self.jitted._binder.bind
        self.jitted._binder.bind = self._bind

    def _bind(self, args, kwargs):
        self.python += 1
        return self.bind(args, kwargs)

    def __call__(self, *args, **kwargs):
        return self.jitted(*args, **kwargs)

    def warm(self, *args):
        """Two calls on copies, after which such a call is native."""
        for _ in range(2):
            self.jitted(*(a.copy() if isinstance(a, np.ndarray) else a for a in args))
        self.python = 0
        return self


def total(x, y):
    return x + y


X, Y = np.arange(4, dtype=np.float32), np.ones(4, np.float32)


def test_the_third_call_is_native():
    f = Counted(total)
    for k in range(6):
        assert np.array_equal(f(X, Y), X + Y)
        assert f.python == min(k + 1, 2)


def test_every_shape_gets_a_record_and_all_stay_native():
    f = Counted(total)
    for n in range(1, 8):
        f.warm(np.ones(n), np.ones(n))
    for n in (3, 7, 1, 5, 1, 2):
        assert np.array_equal(f(np.full(n, 2.0), np.ones(n)), np.full(n, 3.0))
    assert f.python == 0


def test_the_oldest_of_too_many_records_goes_the_long_way():
    f = Counted(total)
    for n in range(1, 40):
        f.warm(np.ones(n), np.ones(n))
    assert f(np.ones(1), np.ones(1)).shape == (1,)
    assert f.python == 1
    assert f(np.ones(39), np.ones(39)).shape == (39,)
    assert f.python == 1


def misaligned(n):
    return np.zeros(4 * n + 1, np.uint8)[1:].view(np.float32)


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


OTHERS = {
    "dtype": X.astype(np.float64), "shape": X[:1], "rank": X[None], "strides": np.ones(8, np.float32)[::2],
    "negative strides": X[::-1], "read-only": read_only(X), "misaligned": misaligned(4), "float": 2.0, "int": 2,
    "bool": True, "scalar": np.float32(3), "double": np.float64(3), "longlong": np.ones(4, np.longlong),
    "complex": 1j, "big": np.ones((2, 3, 4), np.float32), "empty": X[:0].reshape(0, 1), "0-d": np.array(2.0),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_another_kind_of_argument_is_noticed(name):
    f = Counted(total).warm(X, Y)
    other = OTHERS[name]
    y = Y[: other.shape[0]] if name == "shape" else Y
    for _ in range(4):  # at last it is native itself
        got, wanted = f(other, y), other + y
        assert np.array_equal(got, wanted) and got.dtype == wanted.dtype and got.shape == wanted.shape
        assert np.array_equal(f(X, Y), X + Y)
    # One dtype under another name takes the long way, where both are found to be the same.
    assert f.python in ((4,) if name == "longlong" else (1, 2))


def test_statics_count_by_class_and_value():
    f = Counted(lambda x, k: x * k)
    for k in (1, True, 1.0, 2, 10**6, 0.0, -0.0, 1j):
        f.warm(Y, k)
    for k in (1, True, 1.0, 2, 10**6, int("1000000"), 0.0, -0.0, 1j):
        got, wanted = f(Y, k), Y * k
        assert got.dtype == wanted.dtype and np.array_equal(got, wanted)
        assert np.array_equal(np.signbit(got.real), np.signbit(wanted.real))
    assert f.python == 0


def test_scalars_are_passed_by_value():
    f = Counted(lambda x, a, b: x * a + b)
    for a, b in ((2.0, np.float32(3)), (np.int16(2), np.bool_(True)), (np.complex64(1j), np.float64(2))):
        f.warm(Y, a, b)
        for _ in range(3):
            got, wanted = f(Y, a, b), Y * a + b
            assert got.dtype == wanted.dtype and np.array_equal(got, wanted)
    assert f.python == 0


def test_keywords_wrong_counts_and_defaults_are_pythons_business():
    f = Counted(lambda x, y=2.0: x + y).warm(X, Y)
    assert np.array_equal(f(X, y=Y), X + Y)
    assert np.array_equal(f(X), X + 2)
    assert np.array_equal(f(x=X), X + 2)
    assert f.python == 3
    with pytest.raises(TypeError, match="argument"):
        f(X, Y, X)
    with pytest.raises(TypeError, match="argument"):
        f()


def test_many_arguments():
    def f(*xs):
        return sum(xs[1:20], xs[0])

    few, many = [np.full(3, float(k)) for k in range(20)], [np.full(3, float(k)) for k in range(300)]
    g = Counted(f).warm(*few)
    assert np.array_equal(g(*few), f(*few)) and g.python == 0
    for _ in range(3):  # more than a record can hold
        assert np.array_equal(g(*many), f(*many))
    assert g.python == 3


class Scaled(NamedTuple):
    scale: float
    arrays: list


def _weighted(x, layers):
    for layer in layers:
        x = x * layer["scaled"].scale + layer["scaled"].arrays[0] - layer["b"]
    return x


def _layers(*scales):
    return [{"scaled": Scaled(scale, [X + scale]), "b": Y * scale} for scale in scales]


def test_containers_are_taken_apart():
    f, one = Counted(_weighted), _layers(2.0, 3.0)
    for _ in range(2):
        f(X, one)
    f.python = 0
    for layers in (one, _layers(0.5, -1.0)):
        np.testing.assert_array_equal(f(X, layers), _weighted(X, layers))
    assert f.python == 0
    turned, longer, other = _layers(2.0, 3.0), _layers(1.0, 2.0, 3.0), _layers(2.0, 3.0)
    turned[1] = dict(reversed(turned[1].items()))  # a program may ask for the order of keys
    other[0]["scaled"] = Scaled(2, [X])
    for count, layers in enumerate((turned, longer, other), 1):
        np.testing.assert_array_equal(f(X, layers), _weighted(X, layers))
        assert f.python == count


def test_items_are_neither_lost_nor_kept():
    f, layers = Counted(_weighted), _layers(2.0, 3.0)
    parts = [part for layer in layers for part in (layer, *layer.values(), *layer["scaled"].arrays)]
    for _ in range(2):
        f(X, layers)
    for wrong in (False, True):
        if wrong:
            layers[1]["b"] = layers[1]["b"].astype("f8")  # noticed last of all
        before = [sys.getrefcount(part) for part in parts]
        for _ in range(20):
            f(X, layers)
        gc.collect()
        assert [sys.getrefcount(part) for part in parts] == before


def _channels(index, cap=4):
    data = np.arange(1, 1 + 3 * len(index), dtype=np.float32).reshape(len(index), 3)
    return ChannelSparse(data, np.array(index, np.int32), 8, 0, cap=cap)


def _two_sparse(a, b):
    return (a + b).sum(axis=0) + a[5]


def test_any_number_of_channels_under_the_cap_is_native():
    f = Counted(_two_sparse)
    for _ in range(2):
        f(_channels([0, 5]), _channels([1, 2, 5]))
    f.python = 0
    for first, second in (([5], [0, 1, 2, 7]), ([0, 1, 2, 3], [5]), ([4, 5, 7], [4, 5, 7])):
        a, b = _channels(first), _channels(second)
        np.testing.assert_array_equal(f(a, b), _two_sparse(a.to_dense(), b.to_dense()))
    assert f.python == 0
    a = _channels([0, 1])
    for k, other in enumerate((_channels([]), _channels([0, 1], cap=5)), 1):
        np.testing.assert_array_equal(f(a, other), _two_sparse(a.to_dense(), other.to_dense()))
        assert f.python == k


@pytest.mark.parametrize("index", [[1, 1], [2, 1], [0, 8], [-1, 3]])
def test_a_broken_index_is_the_same_error(index):
    f, x = Counted(_two_sparse), _channels([0, 1])
    for _ in range(3):
        f(x, _channels([2, 3]))
    x.index[:] = index
    with pytest.raises(ChannelError):
        f(x, _channels([2, 3]))


def test_one_index_is_one_index():
    f = Counted(_two_sparse)
    index = np.array([1, 5, 6], np.int32)
    a, b = (ChannelSparse(np.full((3, 3), k, np.float32), index, 8, 0, cap=4) for k in (1, 2))
    for _ in range(3):
        f(a, b)
    assert f.python == 2
    short = ChannelSparse(np.ones((2, 3), np.float32), index[:2], 8, 0, cap=4)  # the same memory, not all of it
    for other in (short, _channels([0, 5])):
        np.testing.assert_array_equal(f(a, other), _two_sparse(a.to_dense(), other.to_dense()))


# --- memory ------------------------------------------------------------------------------------------------


def test_arguments_that_overlap_are_noticed():
    def f(x, y):
        x *= 2
        return x + y

    g = Counted(f).warm(np.ones(4), np.ones(4))
    for offset in (0, 1, 2, 3, 4, 5, 6):
        for _ in range(3):
            a, b = np.arange(12.0), np.arange(12.0)
            assert np.array_equal(g(a[2:6], a[offset : offset + 4]), f(b[2:6], b[offset : offset + 4])), offset
            assert np.array_equal(a, b)
    assert g.python == 2 * 6  # offset 6 is disjoint; each of the others has a distance of its own


def test_the_same_array_twice_is_another_specialisation_than_two():
    def f(x, y):
        x += 1
        return x * y

    g = Counted(f)
    for _ in range(4):
        a = np.ones(3)
        assert np.array_equal(g(a, a), np.full(3, 4.0))
        assert np.array_equal(g(np.ones(3), np.ones(3)), np.full(3, 2.0))
    assert g.python == 4


def test_interleaved_views_do_not_meet_but_their_ranges_do():
    def f(x, y):
        x += y
        return x

    g = Counted(f)
    for _ in range(4):
        a, b = np.arange(10.0), np.arange(10.0)
        g(a[::2], a[1::2])
        f(b[::2], b[1::2])
        assert np.array_equal(a, b)
    g.warm(np.ones(10)[::2].copy(), np.ones(5))


def test_random_overlaps():
    rng = np.random.default_rng(7)

    def f(x, y, z):
        x += y
        y *= 2
        return x - z, x[::-1], y

    g = Counted(f)
    for _ in range(300):
        a = rng.integers(0, 9, 24).astype(np.float64)
        cuts = [slice(k, k + 8 * s, s) for k, s in zip(rng.integers(0, 8, 3), rng.integers(1, 3, 3))]
        b = a.copy()
        got, wanted = g(*(a[c] for c in cuts)), f(*(b[c] for c in cuts))
        for p, q in zip(got, wanted):
            assert np.array_equal(p, q)
        assert np.array_equal(a, b)
    assert 0 < g.python < 300


def test_temporaries_are_kept_apart():
    def f(x):
        y = np.sort(x) + 1
        y[::2] *= 3
        return np.cumsum(y[::-1]) + y.sum()

    g = Counted(f)
    x = np.random.default_rng(0).standard_normal(1000)
    g.warm(x)
    for _ in range(3):
        assert np.allclose(g(x), f(x))
    assert g.python == 0


# --- results -----------------------------------------------------------------------------------------------


class Pair(NamedTuple):
    first: object
    second: object


RESULTS = {
    "array": lambda x, y: x + y,
    "argument": lambda x, y: x,
    "tuple": lambda x, y: (x + y, x * y),
    "nested": lambda x, y: (x + y, [x, (y, x - y)], {"a": x * 2, "b": None}),
    "nothing": lambda x, y: None,
    "constants": lambda x, y: (1, 2.5, "text", None, True, ()),
    "empty list": lambda x, y: [],
    "number": lambda x, y: x.sum(),
    "weak": lambda x, y: (x.shape[0], 2.0 * 3, x.ndim == 1),
    "flag": lambda x, y: (x > y).any(),
    "index": lambda x, y: x.argmax(),
    "complex": lambda x, y: (x + 1j * y).sum(),
    "rank 0": lambda x, y: (x + y)[:1].reshape(()),
    "no elements": lambda x, y: (x + y)[:0],
    "no elements of an argument": lambda x, y: x[2:2],
    "view of an argument": lambda x, y: x[1:3],
    "reversed": lambda x, y: (x[::-1], y),
    "view of a result": lambda x, y: np.stack([x, y]).T,
    "result twice": lambda x, y: (lambda z: (z, z, z[1:], z.reshape(2, 2)))(x + y),
    "broadcast": lambda x, y: np.broadcast_to(x, (3, 4)),
    "named": lambda x, y: Pair(x + y, x),
}  # fmt: skip


def same(got, wanted):
    assert type(got) is type(wanted)
    if isinstance(wanted, (tuple, list)):
        assert len(got) == len(wanted)
        for p, q in zip(got, wanted):
            same(p, q)
    elif isinstance(wanted, dict):
        assert list(got) == list(wanted)
        same(list(got.values()), list(wanted.values()))
    elif isinstance(wanted, np.ndarray):
        assert got.dtype == wanted.dtype and got.shape == wanted.shape and np.array_equal(got, wanted)
        assert got.flags.writeable == wanted.flags.writeable and got.flags.aligned
        assert got.flags.c_contiguous == wanted.flags.c_contiguous or got.size == 0
    elif isinstance(wanted, np.generic):
        assert got == wanted and got.dtype == wanted.dtype
    else:
        assert got == wanted


@pytest.mark.parametrize("name", RESULTS)
def test_results(name):
    f = RESULTS[name]
    x, y = np.array([3.0, 1.0, 2.0, 5.0]), np.array([1.0, 4.0, 2.0, 0.5])
    g = Counted(f)
    for _ in range(5):
        got, wanted = g(x, y), f(x, y)
        same(got, wanted)
        if isinstance(wanted, np.ndarray) and wanted.size:
            assert np.shares_memory(got, x) == np.shares_memory(wanted, x)
        if wanted is x:
            assert got is x
    assert g.python == (5 if name == "named" else 2)


@sparsec.jit(static_argnames="axis")
def scaled_sum(x, *, scale, axis=None):
    return x.sum(axis) * scale


SIZED = {
    "positions": lambda x, n: np.flatnonzero(x > 2),
    "chosen": lambda x, n: x[x > n],
    "rows": lambda x, n: x.reshape(-1, 2)[x[::2] > n],
    "backwards": lambda x, n: np.flatnonzero(x > 2)[::-1],
    "two": lambda x, n: (lambda k: (k, k[1:]))(np.flatnonzero(x)),
    "argument": lambda x, n: x[:n],
    "of the call": lambda x, n: np.arange(n) + 1,
    "unbounded": lambda x, n: np.zeros(x[:2].astype(np.int64).sum() + n),
    "table": lambda x, n: np.ones((n, n + 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZED)
def test_results_whose_size_only_the_call_knows(name):
    f = SIZED[name]
    x = np.array([3.0, 1.0, 2.0, 5.0])
    g = Counted(f).warm(x, np.int64(1))
    for y in (x, x + 1, x * 0):
        for n in (0, 3, 1):
            got = g(y, np.int64(n))
            same(got, f(y, np.int64(n)))
            if name == "argument" and n:
                assert np.shares_memory(got, y)
    assert g.python == 0


def test_sizes_that_are_no_sizes():
    g = Counted(lambda n: np.arange(n)).warm(np.int64(3))
    assert len(g(np.int64(-4))) == 0 and g.python == 0


def test_a_small_part_of_a_large_result_does_not_keep_it():
    g = Counted(lambda x: np.flatnonzero(x)).warm(np.ones(1000))
    few, many = g((np.arange(1000) < 9) * 1.0), g(np.ones(1000))
    assert few.base is None and len(few) == 9 and len(many) == 1000 and g.python == 0


def test_memory_of_unknown_size_goes_with_its_last_view(monkeypatch):
    def f(n):
        z = np.zeros(n[0]) // n[0]
        return z, z[::2]

    g = Counted(f).warm(np.array([3]))
    whole, part = g(np.array([10_000]))
    base = part.base if part.base is not None else part
    del whole
    gc.collect()
    part[:] = 4.0
    assert part.sum() == 4.0 * 5000 and base is not None and g.python == 0
    with warnings.catch_warnings():  # a warning that is an error: the memory that was asked for is given back
        warnings.simplefilter("error")
        h = Counted(lambda n, x: np.ones(n[0], np.int64) // x).warm(np.array([3]), np.ones(1, np.int64))
        for _ in range(3):
            with pytest.raises(RuntimeWarning):
                h(np.array([3]), np.zeros(1, np.int64))
    assert h.python == 0


def test_keywords():
    x = np.arange(6.0).reshape(2, 3)
    f = Counted(lambda x, scale=1.0, shift=0.0: x * scale + shift)
    calls = [{"scale": 2.0}, {"shift": 3.0}, {"shift": 3.0, "scale": 2.0}, {"scale": 2.0, "shift": 3.0}, {}]
    for given in calls:
        for _ in range(4):
            assert np.array_equal(f(x, **given), x * given.get("scale", 1.0) + given.get("shift", 0.0))
    assert f.python == 2 * len(calls)
    assert np.array_equal(f(x=x, scale=2.0), x * 2)
    with pytest.raises(TypeError):
        f(x, wrong=1.0)
    for axis in (None, 0, 1, 0):
        for _ in range(3):
            assert np.array_equal(scaled_sum(x, scale=2.0, axis=axis), x.sum(axis) * 2)


def test_a_view_is_the_same_on_every_backend():
    f = Counted(lambda x: x[1:]).warm(X)
    with settings.override(backend="interp"):
        assert np.shares_memory(f(X), X)
    assert f.python == 0


def test_a_view_of_an_argument_writes_into_it_and_keeps_it():
    g = Counted(lambda x: x[1:]).warm(np.ones(4))
    x = np.zeros(4)
    view = g(x)
    view[0] = 5
    assert x[1] == 5 and g.python == 0
    expected = x[1:].copy()
    del x
    gc.collect()
    assert np.array_equal(view, expected)


def test_a_result_that_is_returned_twice_is_one_array():
    g = Counted(RESULTS["result twice"]).warm(X, Y)
    a, b, c, d = g(X, Y)
    assert a is b and np.shares_memory(a, c) and np.shares_memory(a, d) and g.python == 0


def test_references_are_neither_lost_nor_kept():
    marker = "a text that is nowhere else".upper()
    f = Counted(lambda x, y, k: (x + y, x, x[1:], marker, None, {"k": k}, [x.sum()]))
    f.warm(X, Y, 300)
    k = int("300")
    watched = [X, Y, None, np.dtype(np.float32), k, marker, "k", np.ndarray]
    before = [sys.getrefcount(o) for o in watched]
    for _ in range(1000):
        f(X, Y, k)
    after = [sys.getrefcount(o) for o in watched]
    assert f.python == 0
    assert all(abs(a - b) < 50 for a, b in zip(after, before)), (before, after)


# --- what is read from outside -------------------------------------------------------------------------------

SCALE = 2.0
TABLE = np.array([1.0, 2.0, 3.0, 4.0])
SETTINGS = {"weights": np.ones(4)}


def helper(x):
    return x + 1


def uses_globals(x):
    return helper(x) * SCALE


def test_a_global_that_changes_is_noticed(monkeypatch):
    f = Counted(uses_globals).warm(X)
    assert np.array_equal(f(X), (X + 1) * 2) and f.python == 0
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert np.array_equal(f(X), (X + 1) * 3)
    monkeypatch.setitem(globals(), "helper", lambda x: x - 1)
    assert np.array_equal(f(X), (X - 1) * 3)
    monkeypatch.undo()
    assert np.array_equal(f(X), (X + 1) * 2)
    monkeypatch.delitem(globals(), "SCALE")
    with pytest.raises(NameError):
        f(X)


def test_a_captured_array_is_read_at_each_call(monkeypatch):
    f = Counted(lambda x: x + TABLE).warm(X)
    table = TABLE.copy()
    monkeypatch.setitem(globals(), "TABLE", table)
    f.warm(X)
    table[:] = 10
    assert np.array_equal(f(X), X + 10) and f.python == 0
    monkeypatch.setitem(globals(), "TABLE", np.zeros(4))
    assert np.array_equal(f(X), X)
    monkeypatch.setitem(globals(), "TABLE", np.zeros((2, 4)))
    assert np.array_equal(f(X), X + np.zeros((2, 4)))


def test_an_argument_that_overlaps_a_captured_array():
    def f(x):
        x += TABLE
        return x * TABLE

    g = Counted(f).warm(np.zeros(4))
    wanted = (TABLE + TABLE) ** 2
    before = TABLE.copy()
    try:
        assert np.array_equal(g(TABLE), wanted)
        assert np.array_equal(TABLE, 2 * before)
    finally:
        TABLE[:] = before


def test_cells_attributes_and_items():
    class Model:
        def __init__(self):
            self.scale, self.weights = 2.0, np.ones(4)

        @sparsec.jit
        def scaled(self, x):
            return x * self.scale + self.weights

    model, x = Model(), np.arange(4.0)
    for _ in range(4):
        assert np.array_equal(model.scaled(x), x * 2 + 1)
    model.scale = 3.0
    assert np.array_equal(model.scaled(x), x * 3 + 1)
    model.weights = np.zeros(4)
    assert np.array_equal(model.scaled(x), x * 3)
    model.weights[:] = 7
    assert np.array_equal(model.scaled(x), x * 3 + 7)

    offset = 1.0
    f = Counted(lambda x: x + offset + SETTINGS["weights"]).warm(x)
    assert np.array_equal(f(x), x + 2) and f.python == 0
    offset = 5.0
    assert np.array_equal(f(x), x + 6)


def test_the_backend_of_the_settings_still_counts(monkeypatch):
    f = Counted(total).warm(X, Y)
    with settings.override(backend="interp"):
        f(X, Y)
        assert f.python == 1 and f.jitted.specialisations == 2
    f(X, Y)
    assert f.python == 1
    monkeypatch.setenv("SPARSEC_BACKEND", "interp")
    f(X, Y)
    assert f.python == 2 and f.jitted.specialisations == 2
    monkeypatch.delenv("SPARSEC_BACKEND")
    f(X, Y)
    assert f.python == 2
    try:
        settings.backend = "interp"
        f(X, Y)
        assert f.python == 3
    finally:
        settings.reset()


# --- errors and warnings -----------------------------------------------------------------------------------


def divided(x, y):
    x += 1
    return x // y


def test_a_warning_comes_once_and_writes_are_done_once():
    f = Counted(divided).warm(np.ones(3, np.int64), np.ones(3, np.int64))
    x, zero = np.array([1, 2, 3]), np.zeros(3, np.int64)
    with pytest.warns(RuntimeWarning, match="divide by zero") as caught:
        got = f(x, zero)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert f.python == 0 and np.array_equal(x, [2, 3, 4]) and np.array_equal(got, [0, 0, 0])
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError, match="divide by zero"):
        f(x, zero)
    assert np.array_equal(x, [3, 4, 5])
    with np.errstate(divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        f(x, zero)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning):
            f(x, zero)
    assert f.python == 0


def test_a_handler_may_call_the_function_again():
    f = Counted(divided).warm(np.ones(3, np.int64), np.ones(3, np.int64))
    seen = []

    def handler(kind, flag):
        seen.append(f(np.array([5, 6, 7]), np.array([2, 2, 2])))

    old = np.seterrcall(handler)
    try:
        with np.errstate(divide="call"):
            f(np.array([1, 2, 3]), np.array([0, 1, 1]))
    finally:
        np.seterrcall(old)
    assert np.array_equal(seen[0], [3, 3, 4]) and f.python == 0


def test_an_index_that_is_out_of_range_is_the_same_error():
    def f(x, i):
        return x[i] * 2

    g = Counted(f).warm(np.arange(4.0), np.array([1, 2]))
    assert np.array_equal(g(np.arange(4.0), np.array([0, 3])), [0.0, 6.0])
    assert g.python == 0
    for _ in range(2):
        with pytest.raises(IndexOutOfRange):
            g(np.arange(4.0), np.array([0, 9]))


def test_large_results_have_memory_that_earlier_ones_had():
    f = Counted(lambda x: x + 1).warm(np.zeros(1 << 16))
    kept = [f(np.full(1 << 16, float(k))) for k in range(3)]
    assert len({a.ctypes.data for a in kept}) == 3 and [a[-1] for a in kept] == [1, 2, 3]
    places = {a.ctypes.data for a in kept}
    assert all(a.flags.owndata and a.base is None and a.flags.aligned for a in kept)
    del kept
    again = f(np.zeros(1 << 16))
    assert again.ctypes.data in places and f.python == 0
    again.resize(1 << 17, refcheck=False)
    assert again.sum() == 1 << 16 and not again[1 << 16 :].any()
    again.resize(10, refcheck=False)
    assert np.array_equal(again, np.ones(10))


def test_kept_memory_has_bounds():
    sizes = [(k + 1) << 15 for k in range(24)]
    fs = [Counted(lambda x: x + 1).warm(np.zeros(n)) for n in sizes]
    for _ in range(2):
        held = [f(np.zeros(n)) for f, n in zip(fs, sizes)]
        assert all((a == 1).all() for a in held)
        del held
    assert all(f.python == 0 for f in fs)


def test_no_memory_for_the_result():
    f = Counted(lambda x: np.broadcast_to(x, (1 << 24, 1 << 24)) + 1)
    for _ in range(4):
        with pytest.raises(MemoryError):
            f(np.ones(1))


# --- objects -----------------------------------------------------------------------------------------------


def test_cache_clear_forgets_records_too():
    f = Counted(total).warm(X, Y)
    f.jitted.cache_clear()
    assert np.array_equal(f(X, Y), X + Y) and f.python == 1


def test_a_subclass_with_a_call_of_its_own_is_asked():
    class Loud(Jitted):
        def __call__(self, *args):
            return "loud", super().__call__(*args)

    f = Loud(total)
    for _ in range(4):
        assert f(X, Y)[0] == "loud"


@sparsec.jit
def picklable(x):
    return x + 1


def test_copies_are_the_function_itself():
    assert copy.copy(picklable) is picklable and copy.deepcopy([picklable])[0] is picklable
    try:
        pickle.dumps(picklable)
    except pickle.PicklingError:
        pytest.skip("this module cannot be imported by name here")
    assert pickle.loads(pickle.dumps(picklable)) is picklable


def test_attributes_of_a_function():
    assert picklable.__name__ == "picklable" and callable(picklable)
    assert picklable.__wrapped__(1) == 2
    assert "add" in picklable.trace(X).as_text()


def test_a_function_that_dies_takes_its_records_along():
    import weakref

    f = sparsec.jit(lambda x, y: x + y)
    for _ in range(3):
        f(X, Y)
    watch = weakref.ref(f)
    del f
    gc.collect()
    assert watch() is None


def test_cleared_while_others_call():
    def f(x):
        y = x * 2
        for _ in range(20):
            y = np.sort(y)[::-1] + 1
        return y

    g = sparsec.jit(f)
    x = np.random.default_rng(0).standard_normal(3000)
    wanted = f(x)
    stop, wrong = threading.Event(), []

    def work():
        while not stop.is_set():
            if not np.allclose(g(x), wanted):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for _ in range(5):
        for _ in range(3):
            g(x)
        g.cache_clear()
    stop.set()
    for t in threads:
        t.join()
    assert not wrong


def test_many_threads_share_one_function():
    def f(x, k):
        y = np.sort(x + k)
        return np.cumsum(y[::-1]) - y

    g = Counted(f)
    xs = [np.random.default_rng(k).standard_normal(500) for k in range(8)]
    g.warm(xs[0], 1.0)
    wrong = []

    def work(k):
        for _ in range(200):
            if not np.allclose(g(xs[k], float(k)), f(xs[k], float(k))):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong and g.python == 0


def test_a_long_kernel_lets_other_threads_run():
    def f(x):
        for _ in range(400):
            x = np.sqrt(x * x + 1.0) - x * 0.5
        return x

    g = sparsec.jit(f)
    x = np.ones(100_000)
    for _ in range(3):
        g(x)
    ticks, done = [0], threading.Event()

    def count():
        while not done.is_set():
            ticks[0] += 1
            time.sleep(0)

    other = threading.Thread(target=count)
    other.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # the other thread runs only when the GIL is given away
    try:
        before = ticks[0]
        for _ in range(3):
            g(x)
        during = ticks[0] - before
    finally:
        sys.setswitchinterval(interval)
        done.set()
        other.join()
    assert during > 10


def test_profilers_and_tracers_do_not_mind():
    f = Counted(total).warm(X, Y)
    seen = []
    sys.setprofile(lambda frame, event, arg: seen.append(event))
    try:
        f.jitted(X, Y)
    finally:
        sys.setprofile(None)
    assert f.python == 0


def test_where_calls_must_stay_in_python(monkeypatch):
    monkeypatch.setattr(native, "_loaded", {Jitted: 0})
    f = Counted(total)
    for k in range(4):
        assert np.array_equal(f(X, Y), X + Y)
        assert f.python == k + 1
