"""Where branches leave different arrays: a name for whichever it is, and what has to come out of a branch for it.

    y = a if c else b          two arrays that others can see: `y` is neither a copy nor read-only
    y[1:] = 0                  if c { a[1:] = 0 } else { b[1:] = 0 }
    s = y.sum()                sum(where(c, a, b)), of both as they are then

Two views of one array are simpler: one view, whose offset and lengths the program chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sparsec.errors import AliasError, ReadOnlyError
from sparsec.frontend.array import Traced
from sparsec.frontend.control.merge import Kind
from sparsec.frontend.control.refuse import CannotStage
from sparsec.frontend.control.regions import Block, emit_control, run_block
from sparsec.frontend.convert import broadcast
from sparsec.frontend.locate import user_loc
from sparsec.frontend.symbolic import symbol_of, value_of
from sparsec.frontend.trace import Storage, Trace
from sparsec.ir.dims import Dim, lower_bound, substitute, symbols, upper_bound
from sparsec.ir.graph import Value
from sparsec.ir.tensorref import TensorRef
from sparsec.ir.types import BOOL, I64, TensorType

#: More arrays than this are not told apart: each read asks for all of them.
_MOST = 32

#: What a branch's values are afterwards, to what an array of it is then.
Build = Callable[[Sequence[Value]], Traced]


@dataclass(frozen=True)
class Arrays:
    """An array that is another one on each path, and stays that one: how to name each after the branch; None for
    a path that leaves none."""

    builds: tuple[Build | None, ...]


@dataclass(eq=False)
class Choice(Storage):
    """Stands for the storage of one of some arrays of one shape, dtype and strides: the one whose test holds, else
    the last. At most one of the tests holds. However many branches led here, each array stands here once."""

    tests: tuple[Value, ...] = ()
    arrays: tuple[Traced, ...] = ()  # one more than tests; none of them is a choice
    whole: Traced | None = None  # the object that is one of them, and no view

    def parts(self, steps: Sequence[Any]) -> list[Traced]:
        """The same view of each array."""
        found = list(self.arrays)
        for name, attrs in steps:
            found = [a.view(name, **dict(attrs)) for a in found]
        return found

    def read(self, trace: Trace, array: Traced) -> Value:
        *parts, last = self.parts(array.steps)
        value = last.read()
        for test, part in zip(reversed(self.tests), reversed(parts), strict=True):
            value = trace.op("where", broadcast(trace, test, array.shape), part.read(), value)
        return value

    def check_writable(self) -> None:
        for array in self.arrays:
            try:
                array.trace.check_writable(array)
            except ReadOnlyError as error:
                raise AliasError(f"of several arrays one is read-only: {error.message}", loc=user_loc(),
                                 hint="write to a copy") from None

    def change(self, trace: Trace, array: Traced, make: Callable[[Traced, Storage], None]) -> None:
        """Changes the array that it is, and not the others."""
        _change(trace, self.tests, self.parts(array.steps), make)


def _change(
    trace: Trace, tests: Sequence[Value], targets: Sequence[Traced], make: Callable[[Traced, Storage], None]
) -> None:
    target = targets[0]
    assert target.storage is not None
    if not tests:
        target.storage.change(trace, target, make)
        return
    outer = trace.versions()
    storage = target.storage
    blocks = [run_block(trace, outer, lambda: storage.change(trace, target, make))[0],
              run_block(trace, outer, lambda: _change(trace, tests[1:], targets[1:], make))[0]]
    trace.restore(outer)
    written = [s for s in outer if any(b.versions.get(s, outer[s]) is not outer[s] for b in blocks)]
    if not written:
        return
    yields = [[b.versions.get(s, outer[s]) for s in written] for b in blocks]
    results = emit_control(trace, "if", (tests[0],), [b.finish(y, {}) for b, y in zip(blocks, yields)])
    for storage, version in zip(written, results):
        trace.advance(storage, version)


def storages_of(x: Traced) -> list[Storage]:
    """The storages that the elements of an array may lie in."""
    if isinstance(x.storage, Choice):
        return [s for a in x.storage.arrays for s in storages_of(a)]
    return [] if x.storage is None else [x.storage]


def maybe(x: Traced) -> list[Storage]:
    """The same, and those for which they stand."""
    return [s for own in storages_of(x) for s in (own, *own.maybe)]


def choose(trace: Trace, test: Value, one: Traced, other: Traced) -> Traced:
    """Whichever of two arrays the test says, by reference. They must be `alike`."""
    if one is other:
        return one
    if _one_view(one, other):
        return _between(trace, test, one, other)
    arrays: list[Traced] = []
    for x in (*_arrays(one), *_arrays(other)):
        if not any(_one_place(x, seen) for seen in arrays):
            arrays.append(x)
    tests = [_where(trace, test, _is(trace, one, x), _is(trace, other, x)) for x in arrays[:-1]]
    return _one_of(trace, tests, arrays)


def _one_of(trace: Trace, tests: Sequence[Value], arrays: Sequence[Traced]) -> Traced:
    if not tests:
        return arrays[0]
    name = trace.builder.names.fresh("choice")
    ref = arrays[0].type.ref
    assert ref is not None
    type = arrays[0].type.with_ref(TensorRef(name, 0, ref.strides))
    storage = Choice(Value(name, type.fresh()), tests=tuple(tests), arrays=tuple(arrays))
    readonly = arrays[0].readonly if all(a.readonly for a in arrays) else ""
    storage.whole = Traced(trace, type, storage=storage, readonly=readonly)
    return storage.whole


def _arrays(x: Traced) -> list[Traced]:
    return x.storage.parts(x.steps) if isinstance(x.storage, Choice) else [x]


def _is(trace: Trace, x: Traced, array: Traced) -> Value | bool:
    """Whether `x` is that one of the arrays that it may be."""
    for k, part in enumerate(_arrays(x)):
        if _one_place(part, array):
            tests = x.storage.tests if isinstance(x.storage, Choice) else ()
            return tests[k] if k < len(tests) else _none(trace, tests)
    return False


def _none(trace: Trace, tests: Sequence[Value]) -> Value | bool:
    held: Value | bool = True
    for test in tests:
        held = _where(trace, test, False, held)
    return held


def _where(trace: Trace, test: Value, one: Value | bool, other: Value | bool) -> Value:
    if one is True and other is False:
        return test
    a, b = (trace.const(x, BOOL) if isinstance(x, bool) else x for x in (one, other))
    return trace.op("where", test, a, b)


def _one_place(x: Traced, y: Traced) -> bool:
    """Whether two arrays are the same view of the same storage."""
    return x is y or (x.storage is y.storage and x.steps == y.steps and x.type == y.type
                      and x.readonly == y.readonly)


def alike(one: Traced, other: Traced) -> bool:
    """Whether `choose` can say which of the two it is: a few arrays of one form, or two views of one array."""
    if one.dtype != other.dtype or one.ndim != other.ndim:
        return False
    if _one_view(one, other):
        return True
    few = len(_arrays(one)) + len(_arrays(other)) <= _MOST
    return few and one.shape == other.shape and _strides(one) == _strides(other)


def _strides(x: Traced) -> tuple[Dim, ...]:
    """Strides, 0 along axes of at most one element: those say nothing."""
    assert x.type.ref is not None
    return tuple(0 if d in (0, 1) else s for d, s in zip(x.type.shape, x.type.ref.strides))


def _one_view(one: Traced, other: Traced) -> bool:
    same = one.storage is other.storage and not isinstance(one.storage, Choice)
    return same and one.type.ref is not None and other.type.ref is not None and (
        one.dtype == other.dtype and one.type.ref.strides == other.type.ref.strides
        and one.readonly == other.readonly and _plain(one) and _plain(other)
    )


def _plain(x: Traced) -> bool:
    """Whether a view's place says all about it: it sees the elements of its storage."""
    assert x.storage is not None
    return x.storage.newest.type.dtype == x.dtype


def _between(trace: Trace, test: Value, one: Traced, other: Traced) -> Traced:
    """A view of their array at the place of the one or the other."""
    a, b = one.type.ref, other.type.ref
    assert a is not None and b is not None
    shape = tuple(_dim(trace, test, m, n) for m, n in zip(one.type.shape, other.type.shape))
    return placed(one, _dim(trace, test, a.offset, b.offset), shape, a.strides)


def placed(x: Traced, offset: Dim, shape: tuple[Dim, ...], strides: tuple[Dim, ...]) -> Traced:
    """A view of the array behind `x` at a place of its own."""
    assert x.storage is not None
    root = x.storage.newest
    whole = Traced(x.trace, root.type.with_ref(root.ref), storage=x.storage, readonly=x.readonly)
    return whole.view("view", offset=offset, shape=shape, strides=strides)


def _dim(trace: Trace, test: Value, a: Dim, b: Dim) -> Dim:
    if a == b:
        return a
    value = trace.op("where", test, value_of(trace, a), value_of(trace, b))
    lows, highs = [lower_bound(d) for d in (a, b)], [upper_bound(d) for d in (a, b)]
    low = -1 if None in lows else min(x for x in lows if x is not None)
    return symbol_of(value, low, None if None in highs else max(x for x in highs if x is not None))


# --- out of a branch ---


@dataclass
class Carrier:
    """What a branch or turn hands on so that arrays that it leaves have names afterwards: tests, integers, arrays."""

    trace: Trace
    block: Block
    outer: dict[Storage, Value]
    values: list[Value] = field(default_factory=list)
    places: dict[Any, int] = field(default_factory=dict)  # storage or value name -> position among the values
    made: dict[int, Traced] = field(default_factory=dict)  # arrays of the branch, as they are known afterwards

    @property
    def kinds(self) -> list[Kind]:
        """The kinds of the values."""
        return [Kind(value.type.dtype, None, value.type.shape) for value in self.values]

    def add(self, x: Traced) -> Build:
        """How to name an array after the branch. Raises CannotStage for a size that only the branch knows."""
        storage = x.storage
        if isinstance(storage, Choice):
            return self._choice(x, storage)
        assert storage is not None
        base: Build = lambda got: x  # noqa: E731
        if storage not in self.outer:
            base = self._own(x, storage)
        names = self._hidden(x)
        if not names:
            return base
        if not _plain(x):
            raise CannotStage("a view of the parts of complex numbers depends on what only one path knows")
        positions = {name: self._carry(name, lambda name=name: Value(name[1:], TensorType(I64)))  # type: ignore[misc]
                     for name in names}
        return lambda got: self._renamed(base(got), x, {n: got[k] for n, k in positions.items()})

    def _choice(self, x: Traced, storage: Choice) -> Build:
        builds = [self.add(a) for a in storage.arrays]
        places = [None if self.trace.visible(test) else self._carry(test.name, lambda test=test: test)  # type: ignore[misc]
                  for test in storage.tests]

        def build(got: Sequence[Value]) -> Traced:
            tests = [test if place is None else got[place] for test, place in zip(storage.tests, places)]
            made = _one_of(self.trace, tests, [named(got) for named in builds])
            return made if x is storage.whole else _stepped(made, x).again()

        return build

    def _own(self, x: Traced, storage: Storage) -> Build:
        """A new array of the branch: its elements are handed on, once."""
        version = self.block.versions[storage]
        if any(not self.trace.visible(Value(s.name[1:], TensorType(I64)))
               for d in version.type.shape for s in symbols(d)):
            raise CannotStage("it makes an array whose length only one path knows")
        position = self._carry(storage, lambda: version)

        def build(got: Sequence[Value]) -> Traced:
            if position not in self.made:
                made = self.made[position] = Traced.fresh(self.trace, got[position])
                assert made.storage is not None
                made.storage.conflict, made.storage.copied = storage.conflict, storage.copied
                made.storage.stands_for = storage.stands_for | ({storage: user_loc()} if storage.conflict else {})
            return _stepped(self.made[position], x)

        return build

    def _hidden(self, x: Traced) -> list[str]:
        """The integers of the branch that a view depends on."""
        ref = x.type.ref
        assert ref is not None
        names = (s.name for d in (*x.type.shape, ref.offset, *ref.strides) for s in symbols(d))
        return [n for n in dict.fromkeys(names)
                if n.startswith("%") and not self.trace.visible(Value(n[1:], TensorType(I64)))]

    def _renamed(self, base: Traced, x: Traced, known: dict[str, Value]) -> Traced:
        ref = x.type.ref
        assert ref is not None
        bounds = {s.name: s for d in (*x.type.shape, ref.offset, *ref.strides) for s in symbols(d)}
        env: dict[str, Dim] = {}
        for name, value in known.items():
            most = bounds[name].upper
            env[name] = symbol_of(value, bounds[name].lower, None if most < 0 else most)
        shape, strides = (tuple(substitute(d, env) for d in dims) for dims in (x.type.shape, ref.strides))
        return placed(base, substitute(ref.offset, env), shape, strides)

    def _carry(self, key: Any, value: Callable[[], Value]) -> int:
        if key not in self.places:
            self.places[key] = len(self.values)
            self.values.append(value())
        return self.places[key]


def _stepped(whole: Traced, x: Traced) -> Traced:
    """The view of `whole` that `x` is of its own array."""
    for name, attrs in x.steps:
        whole = whole.view(name, **dict(attrs))
    if x.readonly and not whole.readonly:
        whole = Traced(whole.trace, whole.type, storage=whole.storage, steps=whole.steps, readonly=x.readonly)
    return whole
