"""Calls without Python: the record of a specialisation, by which native code recognises its calls and runs them.

`record_of` gives None for a specialisation that needs more than a record can say (temporaries of run-time size, runs
on copies); it is then served by `Specialisation.run` as ever.
"""

from __future__ import annotations

import math
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparsec.compiler import Compilation
from sparsec.config import settings
from sparsec.errors import CompileError
from sparsec.frontend.arguments import Arguments, ScalarSpec, Static
from sparsec.frontend.outside import Contents
from sparsec.frontend.results import Argument, Constant, Leaf, SameAs, Scalar, View, shared
from sparsec.frontend.sparse_arguments import SparseSpec
from sparsec.frontend.spec import ArraySpec
from sparsec.frontend.tracing import TracedFunction
from sparsec.frontend.tree import LEAF, Tree
from sparsec.frontend.warn import warn
from sparsec.ir.call_record import (
    AMOUNT_WORDS,
    ANY,
    CONTIGUOUS,
    LARGE_BYTES,
    MAX_FACTORS,
    MAX_LEAVES,
    MAX_POINTERS,
    MAX_RANK,
    MAX_VALUES,
    SCRATCH_BYTES,
    TERM_WORDS,
    WORDS,
    WRITEABLE,
    Check,
    Guard,
    Pair,
    Param,
    Record,
    Result,
    Step,
)
from sparsec.ir.dims import Dim, Poly, as_sym, product, upper_bound
from sparsec.ir.limits import is_integer, size_values
from sparsec.ir.tensorref import contiguous_strides
from sparsec.runtime import native
from sparsec.runtime.constants import packed
from sparsec.runtime.runners import CpuRunner
from sparsec.runtime.sized import SizedRunner
from sparsec.runtime.stored import StoredCode
from sparsec.sparse.channel import ChannelSparse
from sparsec.sparse.weights import SparseWeight

__all__ = ["NativeRecord", "accelerate", "record_of"]

#: Up to so many statements, a call is over before another thread could make use of the GIL.
_SHORT = 20_000

#: Records that a function tries before it goes the long way.
_MOST_RECORDS = 16

_GUARDS = {"entry": Guard.ENTRY, "cell": Guard.CELL, "attribute": Guard.ATTRIBUTE, "item": Guard.ITEM}
_NUMBERS = {float: Step.FLOAT, int: Step.INT, bool: Step.BOOL, complex: Step.COMPLEX}
_STORED = {float: "f8", int: "i8", bool: "?", complex: "c16"}


class _Unfit(Exception):
    """This specialisation has no record."""


def _need(condition: bool) -> None:
    if not condition:
        raise _Unfit


@dataclass
class NativeRecord:
    """The words of a record; keeps alive what they point to."""

    words: np.ndarray
    kept: list[Any]

    @property
    def address(self) -> int:
        return int(self.words.ctypes.data)


@dataclass
class _Writer:
    """Tables under construction, and the objects whose addresses stand in them."""

    traced: TracedFunction
    call: Arguments
    kept: list[Any] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)  # what each value is in this call
    arrays: list[int] = field(default_factory=list)  # array -> value
    scalars: list[int] = field(default_factory=list)  # scalar -> value
    checks: list[list[int]] = field(default_factory=list)
    captures: list[Any] = field(default_factory=list)  # arrays, then containers, that the function reads from outside
    counts: dict[str, int] = field(default_factory=dict)  # numbers of live channels -> value of an index
    blocks: Mapping[int, tuple[int, int]] = field(default_factory=dict)  # parameters that the program gets packed
    packed: dict[int, int] = field(default_factory=dict)  # those -> value

    def room(self, count: int) -> int:
        """Where that many more values begin."""
        self.values.extend([None] * count)
        return len(self.values) - count

    def ref(self, item: Any) -> int:
        """The address of an object, which the record keeps."""
        self.kept.append(item)
        return id(item)

    def table(self, rows: Sequence[Sequence[int]], words: int = 1) -> int:
        """The address of a table."""
        made = np.zeros((max(len(rows), 1), words), np.int64)
        for k, row in enumerate(rows):
            made[k, : len(row)] = row
        self.kept.append(made)
        return int(made.ctypes.data)

    def list(self, numbers: Sequence[int]) -> int:
        return self.table([[n] for n in numbers])

    def given(self, number: int) -> np.ndarray:
        """One of the call's arrays, those that the function captures last."""
        return [*self.call.arrays, *self.traced.captures][number]

    @property
    def must_be(self) -> bool:
        """Whether the next of the call's arrays must be the very one of this call: what is passed was made of it."""
        specs = self.traced.capture_specs
        storages = {specs[self.traced.params[k].array].storage for k in self.blocks}
        return specs[len(self.arrays)].storage in storages


def record_of(
    traced: TracedFunction, call: Arguments, compilation: Compilation, notify: Callable[[int], None],
    backend: str | None,
) -> NativeRecord | None:
    """The record of a specialisation, made from a call that it serves.

    notify: called with the warning word. backend: the one that the function names; None: the setting's.
    """
    try:
        runner = compilation.runner
        pointers = len(traced.params) + len(traced.results.storages)
        if isinstance(runner, SizedRunner) and len(runner.pointers) == pointers:
            runner = runner.inner  # memory is planned by bounds: there is no scratch
        if not isinstance(runner, CpuRunner) or (runner.transactional and traced.written):
            return None
        w = _Writer(traced, call, blocks=compilation.blocks)
        positional, names = _arguments(w)
        words = np.zeros(Record.SIZE, np.int64)
        words[Record.ARGUMENTS], words[Record.VALUES] = positional, len(w.values)
        words[Record.NAMES], words[Record.NAME_COUNT] = w.list([w.ref(sys.intern(n)) for n in names]), len(names)
        words[Record.ENTRY] = runner.executable.address if runner.code.statements else 0  # views alone run nothing
        words[Record.ARENA] = runner.code.arena_bytes
        words[Record.RELEASE] = runner.code.statements > _SHORT
        words[Record.NOTIFY] = w.ref(notify)
        words[Record.THREADS] = min(settings.num_threads, 1 << 30) if runner.code.threads else 1
        w.kept.append(runner)
        tables = {
            Record.GUARDS: _guards(w, backend, runner.code), Record.CHECKS: w.checks, Record.PAIRS: list(_pairs(w)),
            Record.PARAMS: list(_params(w)), Record.RESULTS: list(_results(w)), Record.STEPS: list(_steps(w)),
        }
        _need(len(w.values) <= MAX_VALUES and len(tables[Record.STEPS]) <= MAX_LEAVES)
        _need(len(tables[Record.PARAMS]) + len(tables[Record.RESULTS]) <= MAX_POINTERS)
        for place, rows in tables.items():
            words[place], words[place + 1] = w.table(rows, WORDS[place]), len(rows)
        words[Record.CAPTURES] = w.list([w.ref(x) for x in w.captures])
        words[Record.CAPTURE_COUNT] = len(w.captures)
        return NativeRecord(words, w.kept)
    except _Unfit:
        return None


# --- what a call must look like ------------------------------------------------------------------------------


def _arguments(w: _Writer) -> tuple[int, tuple[str, ...]]:
    """The checks of all values; gives the number of positional arguments, and the keywords in the call's order."""
    positional, keyword = w.call.tree.children
    _need(positional.kind is tuple)
    arguments = (*positional.children, *keyword.children)
    leaves = iter(zip(w.call.leaves, w.call.key[1], strict=True))
    containers = [g for g in w.traced.guards if isinstance(g, Contents)]
    w.captures += [*w.traced.captures, *(c.owner for c in containers)]
    first_packed = len(arguments) + len(w.captures)
    w.packed = dict(zip(w.blocks, range(first_packed, first_packed + len(w.blocks))))
    w.captures += [packed(w.given(w.traced.params[k].array), *block) for k, block in w.blocks.items()]
    w.values.extend([*[None] * len(arguments), *w.captures])
    for k, child in enumerate(arguments):
        _value(w, k, child, leaves)
    first = len(arguments) + len(w.traced.captures)
    for k in range(len(arguments), first):
        _array(w, k)
    for k, container in enumerate(containers, first):
        _contents(w, k, container)
    return len(positional.children), keyword.keys


def _value(w: _Writer, place: int, tree: Tree, leaves: Iterator[Any]) -> None:
    """The check of one value, then those of its items."""
    if tree.kind is not None:
        first = w.room(len(tree.children))
        w.checks.append(_container_check(w, place, tree, first))
        for k, child in enumerate(tree.children):
            _value(w, first + k, child, leaves)
        return
    leaf, kind = next(leaves)
    w.values[place] = leaf
    match leaf, kind:
        case np.ndarray(), _:
            _array(w, place)
        case ChannelSparse(), SparseSpec():
            _channels(w, place, leaf)
        case _, ScalarSpec(weak=weak):
            cls: Any = type(leaf)
            _need(weak in (float, complex) if weak else native.scalar_in_place(cls))
            w.checks.append([Check.NUMBER, place, w.ref(cls)])
            w.scalars.append(place)
        case _, Static(value=value):
            w.checks.append(_static_check(w, place, value))
        case _:
            raise _Unfit


def _contents(w: _Writer, place: int, container: Contents) -> None:
    """A list or dict from outside: it must hold the very objects that it held."""
    owner, held = container.owner, container.held
    keys = held[: len(held) // 2] if isinstance(owner, dict) else ()
    items = held[len(keys) :]
    first = w.room(len(items))
    w.checks.append(_container_check(w, place, Tree(type(owner), keys, (LEAF,) * len(items)), first))
    w.checks += [[Check.SAME, first + k, w.ref(item)] for k, item in enumerate(items)]


def _container_check(w: _Writer, place: int, tree: Tree, first: int) -> list[int]:
    head = [place, w.ref(tree.kind), len(tree.children), first]
    if issubclass(tree.kind, tuple):
        return [Check.TUPLE, *head]
    if tree.kind is list:
        return [Check.LIST, *head]
    if tree.kind is dict:
        _need(all(type(key) in (str, int) for key in tree.keys))
        return [Check.DICT, *head, w.list([w.ref(key) for key in tree.keys])]
    _need(issubclass(tree.kind, SparseWeight))
    return [Check.OBJECT, *head, w.list([w.ref(sys.intern(name)) for name in tree.keys])]


def _array(w: _Writer, place: int) -> None:
    """The next of the call's arrays."""
    if w.must_be:
        w.checks.append([Check.SAME, place, w.ref(w.given(len(w.arrays)))])
    else:
        w.checks.append(_array_check(w, place, w.traced.capture_specs[len(w.arrays)]))
    w.arrays.append(place)


def _channels(w: _Writer, place: int, x: ChannelSparse) -> None:
    """A sparse argument: how many channels are live may differ from call to call, but not be 0."""
    names = ("data", "index", "full", "axis", "cap", "static")
    first = w.room(len(names))
    data, index, *facts, static = range(first, first + len(names))
    w.checks.append([Check.OBJECT, place, w.ref(ChannelSparse), len(names), first,
                     w.list([w.ref(name) for name in names])])
    w.checks += [_static_check(w, k, value) for k, value in zip(facts, (x.full, x.axis, x.cap), strict=True)]
    w.checks.append(_static_check(w, static, x.static))
    _stored(w, data)
    if x.static:
        w.checks.append([Check.SAME, index, w.ref(x.index)])
        return
    _need(len(x.index) > 0)
    spec = w.traced.capture_specs[len(w.arrays)]
    _stored(w, index)
    count = as_sym(spec.shape[0])
    like = w.counts.setdefault(count.name, index) if count is not None else index
    w.checks.append([Check.INDEX, index, data, x.axis, x.cap, x.full, like])


def _stored(w: _Writer, place: int) -> None:
    """An array of a sparse argument: contiguous, and nobody writes to it here. One that can be written to is no
    constant, of which a program of its own is made. Sizes that are free are for INDEX."""
    spec, given = w.traced.capture_specs[len(w.arrays)], w.given(len(w.arrays))
    _need(not spec.conflict)
    if w.must_be:
        w.checks.append([Check.SAME, place, w.ref(given)])
        w.arrays.append(place)
        return
    flags = CONTIGUOUS | (WRITEABLE if given.flags.writeable else 0)
    dtype = np.dtype(spec.dtype)
    axes = [[d if type(d) is int else ANY, ANY] for d in spec.shape]
    w.checks.append([Check.ARRAY, place, w.ref(np.ndarray), w.ref(dtype), len(axes), CONTIGUOUS | WRITEABLE, flags,
                     dtype.itemsize - 1 if spec.aligned else 0, w.table(axes, 2)])
    w.arrays.append(place)


def _static_check(w: _Writer, place: int, value: Any) -> list[int]:
    cls = type(value)
    if value is None or cls is bool or _by_identity(cls):
        return [Check.SAME, place, w.ref(value)]
    _need(cls in (int, str, bytes))
    return [Check.EQUAL, place, w.ref(cls), w.ref(value)]


def _by_identity(cls: Any) -> bool:
    return cls.__eq__ is object.__eq__ and cls.__hash__ is object.__hash__


def _array_check(w: _Writer, place: int, spec: ArraySpec) -> list[int]:
    _need(not spec.conflict and all(type(d) is int for d in spec.shape))
    dtype = np.dtype(spec.dtype)
    axes = [[d, s * dtype.itemsize if d > 1 else ANY] for d, s in zip(spec.shape, spec.strides, strict=True)]
    # A dtype that is equal but another object (a byte order spelt out, metadata) is left to Python.
    return [Check.ARRAY, place, w.ref(np.ndarray), w.ref(dtype), len(axes), WRITEABLE,
            WRITEABLE if spec.writeable else 0, dtype.itemsize - 1 if spec.aligned else 0, w.table(axes, 2)]


def _guards(w: _Writer, backend: str | None, code: StoredCode) -> list[list[int]]:
    rows: list[list[int]] = []
    watched = ["backend"] if backend is None and code.statements else []  # views alone are the same on all of them
    for name in (*watched, *(("num_threads",) if code.threads else ())):
        (context, _, now), *dicts = settings.sources(name)
        if not rows:
            rows.append([Guard.CONTEXT, w.ref(context), 0, w.ref(now)])
        rows += [[Guard.ENTRY, w.ref(owner), w.ref(key), 0 if value is None else w.ref(value)]
                 for owner, key, value in dicts]
    for guard in w.traced.guards:
        if isinstance(guard, Contents):
            continue
        kind = _GUARDS[guard.kind]
        if kind is Guard.ENTRY:
            _need(type(guard.owner) is dict)
        if kind is Guard.CELL:
            _need(type(guard.owner) is types.CellType)
        rows.append([kind, w.ref(guard.owner), w.ref(guard.name), w.ref(guard.value)])
    return rows


def _pairs(w: _Writer) -> Iterator[list[int]]:
    """Arrays of one storage keep their distance; those of two must not meet where one of them is written."""
    specs, traced = w.traced.capture_specs, w.traced
    written = {specs[k].storage for views in traced.written.values() for k in views}
    for j, second in enumerate(specs):
        for i, first in enumerate(specs[:j]):
            if first.storage == second.storage:
                distance = (second.offset - first.offset) * np.dtype(first.dtype).itemsize
                yield [Pair.DISTANCE, w.arrays[i], w.arrays[j], distance]
            elif (first.storage in written or second.storage in written) and _reach(first) and _reach(second):
                yield [Pair.APART, w.arrays[i], w.arrays[j], *_reach(first), *_reach(second)]


def _reach(spec: ArraySpec) -> tuple[int, ...]:
    """First and last+1 byte of an array's elements, from its data pointer; () without elements."""
    if 0 in spec.shape:
        return ()
    size = np.dtype(spec.dtype).itemsize
    if any(isinstance(d, Poly) for d in spec.shape):  # stored channels, which lie together
        most = upper_bound(product(spec.shape))
        _need(most is not None)
        return 0, int(most or 0) * size
    steps = [(d - 1) * s * size for d, s in zip(spec.shape, spec.strides, strict=True)]
    return sum(min(s, 0) for s in steps), sum(max(s, 0) for s in steps) + size


# --- what is passed, and what comes back ---------------------------------------------------------------------


def _params(w: _Writer) -> Iterator[list[int]]:
    for k, p in enumerate(w.traced.params):
        if k in w.packed:
            yield [w.packed[k], Param.ARRAY, 0]
        elif p.array >= 0:
            _need(type(p.offset) is int)
            size = np.dtype(w.traced.capture_specs[p.array].dtype).itemsize
            yield [w.arrays[p.array], Param.ARRAY, -p.offset * size]
        elif p.scalar >= 0:
            yield [w.scalars[p.scalar], Param.NUMBER, 0]
        else:
            _need(p.size in w.counts)
            yield [w.counts[p.size], Param.SIZE, 0]


def _results(w: _Writer) -> Iterator[list[int]]:
    """Arrays, but scratch memory for what only numbers are made from."""
    results = w.traced.results
    seen = {leaf.storage for leaf in results.leaves if isinstance(leaf, View) and not leaf.param}
    for k, (shape, dtype) in enumerate(results.storages):
        if shape is None:
            yield [Result.BLOCK, w.ref(np.dtype(dtype)), dtype.itemsize]
        elif k not in seen:
            _need(shape == () and dtype.itemsize <= SCRATCH_BYTES)
            yield [Result.SCRATCH]
        elif all(type(d) is int for d in shape):
            kind = Result.LARGE if math.prod(shape) * dtype.itemsize >= LARGE_BYTES else Result.ARRAY
            yield [kind, w.ref(np.dtype(dtype)), len(shape), w.list(shape)]
        else:
            _need(len(shape) <= MAX_RANK)
            yield [Result.SIZED, w.ref(np.dtype(dtype)), len(shape), _amounts(w, shape, _given(w))]


def _given(w: _Writer) -> dict[str, int]:
    """The symbols of integers that are passed by value: where an amount finds them."""
    found: dict[str, int] = {}
    for k, param in enumerate(w.traced.func.params):
        if is_integer(param) and k not in w.traced.written:  # it is read before the program runs, and behind it
            plain, from_zero = size_values(param.name, 0)
            found |= {plain: k, from_zero: ~k}
    return found


def _amounts(w: _Writer, dims: Sequence[Dim], places: Mapping[str, int]) -> int:
    """The address of a table of amounts. places: pointers by symbol."""
    rows = []
    for dim in dims:
        terms = []
        for monomial, factor in dim.terms if isinstance(dim, Poly) else (((), dim),):
            _need(len(monomial) <= MAX_FACTORS and all(s.name in places for s in monomial))
            terms.append([factor, len(monomial), *(places[s.name] for s in monomial)])
        rows.append([len(terms), w.table(terms, TERM_WORDS)])
    return w.table(rows, AMOUNT_WORDS)


def _steps(w: _Writer) -> Iterator[list[int]]:
    rooted: set[int] = set()
    leaves = iter(w.traced.results.leaves)
    yield from _tree_steps(w, w.traced.results.tree, leaves, rooted)


def _tree_steps(w: _Writer, tree: Tree, leaves: Iterator[Leaf], rooted: set[int]) -> Iterator[list[int]]:
    if tree.kind is None:
        yield _leaf_step(w, next(leaves), rooted)
        return
    _need(tree.kind in (tuple, list, dict))
    for child in tree.children:
        yield from _tree_steps(w, child, leaves, rooted)
    if tree.kind is dict:
        _need(all(type(key) in (str, int) for key in tree.keys))
        yield [Step.DICT, len(tree.keys), w.list([w.ref(key) for key in tree.keys])]
    else:
        yield [Step.TUPLE if tree.kind is tuple else Step.LIST, len(tree.children)]


def _leaf_step(w: _Writer, leaf: Leaf, rooted: set[int]) -> list[int]:
    match leaf:
        case Constant(value=value):
            return [Step.CONSTANT, w.ref(value)]
        case Argument(position=k):
            return [Step.VALUE, w.arrays[k]]
        case SameAs(leaf=k):
            return [Step.AGAIN, k]
        case Scalar(storage=k, weak=None):
            return [Step.SCALAR, k, w.ref(np.dtype(w.traced.results.storages[k][1]))]
        case Scalar(storage=k, weak=weak):
            assert weak is not None
            _need(weak in _NUMBERS and w.traced.results.storages[k][1] == np.dtype(_STORED[weak]))
            return [_NUMBERS[weak], k]
        case View():
            return _view_step(w, leaf, rooted)
    raise _Unfit


def _view_step(w: _Writer, leaf: View, rooted: set[int]) -> list[int]:
    size, params, whole_size = leaf.dtype.itemsize, len(w.traced.params), 0
    if not leaf.param:
        shape, dtype = w.traced.results.storages[leaf.storage]
        whole = leaf.shape == shape and leaf.dtype == dtype and leaf.offset == 0 and leaf.writeable
        packed = 0 in leaf.shape or leaf.strides == contiguous_strides(leaf.shape)
        if whole and packed and leaf.storage not in rooted:
            rooted.add(leaf.storage)
            return [Step.ROOT, leaf.storage]
        whole_size = 0 if shared(leaf, w.traced.results) else dtype.itemsize
    _need(not leaf.param or leaf.storage not in w.packed)  # it is a view of the array, not of what is passed
    owner = w.arrays[w.traced.params[leaf.storage].array] if leaf.param else leaf.storage
    head = [int(leaf.param), owner, leaf.storage if leaf.param else params + leaf.storage]
    descr, rank, flags = w.ref(np.dtype(leaf.dtype)), len(leaf.shape), WRITEABLE if leaf.writeable else 0
    if leaf.symbols:
        _need(rank <= MAX_RANK)
        places = _given(w) | {name: params + k for name, k in leaf.symbols if k >= 0}
        dims = (leaf.offset * size, *leaf.shape, *(s * size for s in leaf.strides))
        return [Step.SIZED, *head, _amounts(w, dims, places), descr, rank, flags, size, whole_size]
    return [Step.VIEW, *head, leaf.offset * size, descr, rank, w.list(leaf.shape),
            w.list([s * size for s in leaf.strides]), flags]


# --- tables --------------------------------------------------------------------------------------------------


def accelerate(
    target: native.CallTarget, traced: TracedFunction, call: Arguments, compilation: Compilation, backend: str | None
) -> None:
    """Lets calls like this one run natively from here on, where that can be."""
    # Imported late: most programs call most functions once.
    from sparsec.codegen.stub import CALL, stub_text
    from sparsec.runtime.cpu import compile_object
    from sparsec.runtime.stored import cached_object

    name = traced.func.name
    record = record_of(traced, call, compilation, lambda flags: warn(flags, name, 3), backend)
    if record is None:
        return
    try:
        huge = sys.platform.startswith("linux")
        function = native.load(type(target), lambda layout: stub_text(layout, huge_pages=huge), CALL,
                               lambda text: cached_object(text, lambda t: compile_object(t, 1)))
    except CompileError:  # an LLVM that does not take it: calls go on in Python
        return
    if function:
        _put(target, record, function)


def _put(target: native.CallTarget, record: NativeRecord, function: int) -> None:
    """Puts a record in front of an object's others; the last of too many goes."""
    old = getattr(target, "_table", None) or (np.zeros(1, np.int64),)
    kept = {r.address: r for r in old[1:]}
    order = [int(a) for a in old[0][1 : 1 + int(old[0][0])] if int(a) in kept][: _MOST_RECORDS - 1]
    records = [record, *(kept[a] for a in order)]
    words = np.array([len(records), *(r.address for r in records)], np.int64)
    native.attach(target, (words, *records), function)
