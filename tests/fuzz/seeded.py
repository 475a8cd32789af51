"""Compilers broken on purpose, each in one place: the fuzzer must find every one within 1,000 programs.

`python -m tests.fuzz --seeded` says how many programs each one took.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np

from sparsec.frontend import ranges, results, spec, ufuncs
from sparsec.frontend.array import Traced
from sparsec.frontend.control import branches, loops
from sparsec.frontend.indexing import views
from sparsec.frontend.trace import Trace
from sparsec.ir.ops import gather
from sparsec.ir.ops.record import record
from sparsec.passes import accesses, linearize
from tests.fuzz.program import generate
from tests.fuzz.runner import Config, Workshop

Break = Callable[[], Any]


@dataclass(frozen=True)
class Seeded:
    """A way to break sparsec. `way`: the compilation that runs through the broken place."""

    broken: Break
    way: Config


SEEDED: dict[str, Seeded] = {}
_INTERP, _LOOPS = Config("interp"), Config("loops")


def seeded(name: str, way: Config = _INTERP) -> Callable[[Break], Break]:
    """Registers a context manager that breaks the compiler while it is open."""

    def add(broken: Callable[[], Iterator[None]]) -> Break:
        SEEDED[name] = Seeded(contextmanager(broken), way)
        return SEEDED[name].broken

    return add


@contextmanager
def _rule(op: str, name: str, value: Any) -> Iterator[None]:
    """Replaces a field of an op's record, which is frozen."""
    found = record(op)
    before = getattr(found, name)
    object.__setattr__(found, name, value(before))
    try:
        yield
    finally:
        object.__setattr__(found, name, before)


# --- views and writes -------------------------------------------------------------------------------------


@seeded("a transposed view is a copy")
def _view_copied() -> Iterator[None]:
    view = Traced.view

    def copied(self: Traced, name: str, **attrs: Any) -> Traced:
        made = view(self, name, **attrs)
        return Traced.fresh(self.trace, self.trace.op("copy", made.read())) if name == "transpose" else made

    with patch.object(Traced, "view", copied):
        yield


@seeded("the last write to an argument is lost")
def _write_dropped() -> Iterator[None]:
    finish = Trace.finish

    def forgetful(self: Trace, values: Any) -> Any:
        makers = {r.name: op for op in self.builder.ops for r in op.results}
        for storage in self.storages:
            maker = makers.get(storage.newest.name)
            if maker is not None:
                storage.newest = maker.operands[0]
        return finish(self, values)

    with patch.object(Trace, "finish", forgetful):
        yield


@seeded("a slice with a negative step runs forwards")
def _step_sign() -> Iterator[None]:
    exact = views.slice_range

    def forwards(*args: Any) -> Any:
        first, count, step = exact(*args)
        return (first + (count - 1) * step, count, -step) if step < 0 else (first, count, step)

    with patch.object(views, "slice_range", forwards):
        yield


@seeded("a broadcast axis has stride 1")
def _broadcast_stride() -> Iterator[None]:
    def wrong(rule: Any) -> Any:
        def view(ref: Any, shape: Any, result: Any, attrs: Any) -> Any:
            good = rule(ref, shape, result, attrs)
            pad = len(result) - len(shape)
            strides = [1 if k >= pad and shape[k - pad] == 1 and result[k] == 2 else s
                       for k, s in enumerate(good.strides)]
            return type(good)(good.storage, good.offset, tuple(strides))

        return view

    with _rule("broadcast", "view", wrong):
        yield


@seeded("a view of another dtype begins at the number of the old element")
def _unscaled() -> Iterator[None]:
    def wrong(rule: Any) -> Any:
        def view(ref: Any, *rest: Any) -> Any:
            good = rule(ref, *rest)
            return good and type(good)(good.storage, ref.offset, good.strides)

        return view

    with _rule("reinterpret", "view", wrong):
        yield


@seeded("a returned view is detached")
def _detached() -> Iterator[None]:
    leaf = results._leaf

    def copied(trace: Trace, item: Any, arguments: Any, found: Any) -> Any:
        if isinstance(item, Traced) and item.storage is not None and item.storage.param >= 0 and all(
                item is not a for a in arguments):
            item = Traced.fresh(trace, trace.op("copy", item.read()))
        return leaf(trace, item, arguments, found)

    with patch.object(results, "_leaf", copied):
        yield


@seeded("overlapping arguments are taken for disjoint ones")
def _guard_missed() -> Iterator[None]:
    with patch.object(spec, "_share", lambda a, b: False):
        yield


@seeded("where= of a ufunc is ignored")
def _where_ignored() -> Iterator[None]:
    store = ufuncs.store

    def everywhere(trace: Trace, target: Traced, value: Any, where: Any = True) -> None:
        store(trace, target, value)

    with patch.object(ufuncs, "store", everywhere):
        yield


@seeded("a written element is read before its copy is taken", _LOOPS)
def _no_temporary() -> Iterator[None]:
    with patch.object(linearize, "element_for_element", lambda a, b: True):
        yield


@seeded("overlapping regions count as disjoint when loops are fused", _LOOPS)
def _fused_across() -> Iterator[None]:
    with patch.object(accesses, "regions_overlap", lambda *args: False):
        yield


# --- values -----------------------------------------------------------------------------------------------


def _swapped(ufunc: np.ufunc, other: np.ufunc) -> Any:
    compute = ufuncs.compute

    def wrong(trace: Trace, function: np.ufunc, *rest: Any) -> Any:
        return compute(trace, other if function is ufunc else function, *rest)

    return patch.object(ufuncs, "compute", wrong)


@seeded("> is >=")
def _greater() -> Iterator[None]:
    with _swapped(np.greater, np.greater_equal):
        yield


@seeded("maximum ignores NaN")
def _maximum() -> Iterator[None]:
    with _swapped(np.maximum, np.fmax):
        yield


@seeded("the largest element ignores NaN")
def _max() -> Iterator[None]:
    with _rule("max", "ref", lambda ref: lambda x, axis: np.fmax.reduce(x, axis=axis)):
        yield


@seeded("floor division truncates")
def _floor_division() -> Iterator[None]:
    def truncated(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if np.asarray(x).dtype.kind != "i":
            return np.floor_divide(x, y)
        return np.floor_divide(x, y) + ((np.remainder(x, y) != 0) & ((x < 0) != (y < 0))).astype(x.dtype)

    with _rule("floor_div", "ref", lambda ref: truncated):
        yield


@seeded("the first of several writes to one element wins")
def _first_wins() -> Iterator[None]:
    def backwards(region: np.ndarray, indexes: tuple[np.ndarray, ...], value: np.ndarray) -> None:
        shape = np.broadcast_shapes(value.shape, *(i.shape for i in indexes))
        spread = [np.broadcast_to(i, shape) for i in indexes]
        values = np.broadcast_to(value, shape)
        for at in reversed(list(np.ndindex(shape))):
            region[tuple(int(i[at]) for i in spread)] = values[at]

    with patch.object(gather, "_write_in_order", backwards):
        yield


@seeded("a sum skips the last element")
def _short_sum() -> Iterator[None]:
    def short(ref: Any) -> Any:
        def total(x: np.ndarray, axis: tuple[int, ...]) -> Any:
            if axis and x.shape[axis[-1]] > 1:
                x = np.take(x, range(x.shape[axis[-1]] - 1), axis=axis[-1])
            return ref(x, axis=axis)

        return total

    with _rule("sum", "ref", short):
        yield


# --- loops and branches -----------------------------------------------------------------------------------


@seeded("a range has one turn more")
def _trip_count() -> Iterator[None]:
    exact = ranges.TracedRange.values

    def longer(self: Any, trace: Trace) -> Any:
        start, stop, step = exact(self, trace)
        return start, trace.op("add", stop, step), step

    with patch.object(ranges.TracedRange, "values", longer):
        yield


@seeded("a branch goes the other way")
def _wrong_branch() -> Iterator[None]:
    stage = branches.stage_if

    def swapped(trace: Trace, test: Traced, branches: Any, *rest: Any) -> Any:
        return stage(trace, test, branches[::-1], *rest)

    with patch.object(branches, "stage_if", swapped):
        yield


@seeded("a loop hands on what an array was before it")
def _version_dropped() -> Iterator[None]:
    close = loops.Loop.close

    def forgetful(loop: loops.Loop, turn: Any, storages: Any, results: Any, ran: Any) -> None:
        outer = {s: s.newest for s in storages}
        close(loop, turn, storages, results, ran)
        loop.trace.restore(outer)

    with patch.object(loops.Loop, "close", forgetful):
        yield


# --- how long it takes ------------------------------------------------------------------------------------


def programs_needed(name: str, limit: int = 1000, seed: int = 2) -> int | None:
    """How many programs it takes to find a seeded error: up to the first that differs only while it is in.
    None: more than `limit`."""
    workshop, seeded_error = Workshop(), SEEDED[name]
    try:
        for number in range(limit):
            program = generate(seed, number)
            with ExitStack() as stack:
                stack.enter_context(seeded_error.broken())
                found = workshop.check(program, (seeded_error.way,)).mismatches
            if found and not workshop.check(program, (seeded_error.way,)).mismatches:
                return number + 1
        return None
    finally:
        workshop.close()
