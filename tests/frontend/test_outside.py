"""What a function reaches from outside: read by every call as it is then, and changed by none but in arrays."""

from __future__ import annotations

import datetime
import functools
import time
import uuid
import warnings
from collections import defaultdict, namedtuple
from types import SimpleNamespace

import numpy as np
import pytest

import sparsec
from sparsec.errors import SourceError, SparsecError, UnsupportedError


def sequence(make, calls=5):
    """The results of some calls of a function, with changes in between, by NumPy and by sparsec."""
    found = []
    for wrap in (lambda f: f, lambda f: sparsec.jit(f, backend="cpu")):
        f, between = make()
        jitted = wrap(f)
        results = []
        for k in range(calls):
            results.append(np.array(jitted(np.ones(3))))
            between(k)
        found.append(results)
    for want, got in zip(*found, strict=True):
        np.testing.assert_array_equal(got, want)


def test_arrays_in_containers():
    def make():
        arrays = [np.ones(3), np.full(3, 2.0)]
        table = {"a": np.ones(3), "more": [np.ones(3)], "thr": 0.5}
        pair = namedtuple("pair", "w b")(np.ones(3), 2)

        def f(x):
            first, *_ = arrays
            first += x
            for a in arrays:
                x = x + a.sum()
            for value in table["more"]:
                value *= 2
            return x + table.get("a")[0] + table["thr"] * len(arrays) + pair.w * pair.b + sum(table["more"])

        def between(k):
            match k:
                case 0:
                    table["a"][0] = 7
                case 1:
                    table["thr"] = 2.5
                case 2:
                    arrays.append(np.ones(3))
                case 3:
                    table["more"][0] = np.full(3, 9.0)

        return f, between

    sequence(make)


class Scaled:
    shared = np.ones(3)

    def __init__(self, a):
        self.a, self.layers, self.by = a, [a * 2], 2

    @property
    def total(self):
        return self.a.sum() * self.by

    def __add__(self, other):
        return (self.a + self.layers[0]) * self.by + other

    def __getitem__(self, k):
        return self.a[k]

    def step(self, x):
        self.a *= 2
        self.layers[0][1:] += self.a[1:]
        return self + x + self.total + self[0] + type(self).shared

    def __call__(self, x):
        buffer = np.zeros(3)
        buffer += x
        return buffer + self.step(x)


@pytest.mark.parametrize("of", [lambda s: s.step, lambda s: s, lambda s: functools.partial(Scaled.step, s)])
def test_objects(of):
    def make():
        made = Scaled(np.ones(3))

        def between(k):
            match k:
                case 0:
                    made.by = 3
                case 1:
                    made.a = np.full(3, 5.0)
                case 2:
                    made.layers[0][0] = 11
                case 3:
                    made.layers = [np.ones(3)]

        return of(made), between

    sequence(make)


def fresh(x):
    buffer = np.zeros(3)
    buffer += x
    return buffer


def test_what_a_call_makes_is_made_by_every_call():
    def f(x):
        made = Scaled(np.zeros(3))
        made.a += x
        return made.a + made.total + sum(map(fresh, [x, x]))

    sequence(lambda: (f, lambda k: None), calls=3)


class Particular:
    def __call__(self, x):
        return x + 1

    def __eq__(self, other):
        return self.key == other.key  # AttributeError, but for its like


def test_objects_that_compare_with_their_like_only():
    called = Particular()
    np.testing.assert_array_equal(sparsec.jit(lambda x: called(x))(np.ones(3)), np.full(3, 2.0))


def noted(fn):
    @functools.wraps(fn)
    def wrapped(*args):
        return fn(*args) * 2

    return wrapped


@noted
def decorated(x):
    return x + 1


def test_decorated_functions():
    np.testing.assert_array_equal(sparsec.jit(lambda x: decorated(x))(np.ones(3)), np.full(3, 4.0))


def test_arrays_from_outside_are_returned_as_they_are():
    a, listed = np.ones(3), [np.ones(3)]
    f = sparsec.jit(lambda: (a, listed[0], a[1:]))
    for _ in range(3):
        one, two, three = f()
        assert one is a and two is listed[0] and np.shares_memory(three, a)


@pytest.mark.parametrize("make", [lambda x: {1, 2}, lambda x: (v for v in x), lambda x: [lambda: x],
                                  lambda x: (Scaled(x), x), lambda x: SimpleNamespace(x=x)], ids=range(5))
def test_objects_that_every_call_should_make_are_no_results(make):
    with pytest.raises(UnsupportedError, match="every call should make its own"):
        sparsec.jit(make)(np.ones(3))


COUNTS = [0]
NAMED = SimpleNamespace(n=0, w=np.zeros(3))
TURNS = iter(range(9))
FOUND: defaultdict[str, list[int]] = defaultdict(list)


def appends(x):
    COUNTS.append(1)
    return x


def counts(x):
    NAMED.n += 1
    return x


def keeps(x):
    NAMED.w = x * 2
    return x


def sets(x):
    setattr(NAMED, "n", 2)  # noqa: B010
    return x


def makes(x):
    return x * len(FOUND["x"])


def goes_on(x):
    return x * next(TURNS)


def remembers(x, seen={}):  # noqa: B006
    seen["last"] = 1
    return x


def extends(x, more):
    more += [x]
    return x


def reshapes(x):
    x.shape = (3, 1)
    return x


@pytest.mark.parametrize("fn", [appends, counts, keeps, sets, makes, goes_on, remembers, extends, reshapes],
                         ids=lambda fn: fn.__name__)
def test_nothing_else_outside_changes(fn):
    listed = [np.ones(3)]
    arguments = (np.ones(3), listed)[: 2 if fn is extends else 1]
    with pytest.raises(UnsupportedError, match="from outside the function would change") as caught:
        sparsec.jit(fn)(*arguments)
    assert caught.value.loc is not None and caught.value.loc.file == __file__
    assert COUNTS == [0] and NAMED.n == 0 and not FOUND and len(listed) == 1 and arguments[0].shape == (3,)


def asks_the_time(x):
    return x * time.time()


def asks_the_date(x):
    return x * datetime.datetime.now().year


def asks_for_a_name(x):
    return x * uuid.uuid4().int


def asks_for_chance(x):
    return x + np.random.rand()


@pytest.mark.parametrize("fn", [asks_the_time, asks_the_date, asks_for_a_name, asks_for_chance])
def test_what_is_ever_new_is_refused(fn):
    with pytest.raises(UnsupportedError, match="would be frozen"):
        sparsec.jit(fn)(np.ones(3))


def test_error_states_inside():
    def quiet(x, y):
        with np.errstate(divide="ignore"):
            return x // y

    def strict(x, y):
        with np.errstate(all="raise"):
            return x // y

    ones, none = np.ones(3, int), np.zeros(3, int)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not sparsec.jit(quiet)(ones, none).any()
    with pytest.raises(UnsupportedError, match="errstate"):
        sparsec.jit(strict)(ones, none)


def test_variables_of_an_outer_function_are_not_assigned():
    n = 0

    def f(x):
        nonlocal n
        n += 1
        return x

    with pytest.raises(SourceError, match="nonlocal"):
        sparsec.jit(f)(np.ones(3))
    assert n == 0


class Unseen:
    def __add__(self, x):
        made = np.zeros(3)
        made += x
        return made


def test_arrays_of_untraced_code_are_not_written():
    unseen = Unseen()
    with pytest.raises(SparsecError, match="not made by the traced function"):
        sparsec.jit(lambda x: unseen + x)(np.ones(3))


def test_objects_as_arguments():
    made, plain = Scaled(np.ones(3)), Scaled(np.ones(3))
    jitted = sparsec.jit(lambda s, x: s + x * s.by)
    for k in range(4):
        np.testing.assert_array_equal(jitted(made, np.ones(3)), plain + np.ones(3) * plain.by)
        for s in (made, plain):
            s.a[k % 3], s.by = 7.0 + k, k
