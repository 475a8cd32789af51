"""`if` on a traced condition: both branches are traced, and what they change is joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sparsec.errors import FAILURES, SparsecError
from sparsec.frontend.array import Traced
from sparsec.frontend.control.aliases import RESULT, Held, inherit, mark_choice, refuse_writes
from sparsec.frontend.control.checkpoint import Checkpoint
from sparsec.frontend.control.choices import Arrays, Carrier, alike, choose, maybe, storages_of
from sparsec.frontend.control.merge import (
    Kind,
    is_array,
    is_scalar,
    join,
    kind_of,
    same,
    value_as,
    values_as,
    variable,
    zeros_of,
)
from sparsec.frontend.control.refuse import ONE_KIND, CannotStage, refused
from sparsec.frontend.control.regions import Block, emit_control, run_block
from sparsec.frontend.control.scope import Scope, State
from sparsec.frontend.control.signals import (
    BREAK,
    BROKE,
    CONTINUE,
    CONTINUED,
    GO_ON,
    Pending,
    Return,
    ReturnShape,
    Signal,
    code_of,
    codes_of,
    leaves_of,
    return_shape,
    returns,
)
from sparsec.frontend.control.truth import truth
from sparsec.frontend.convert import as_bool
from sparsec.frontend.locate import raised_at
from sparsec.frontend.trace import Storage, Trace
from sparsec.frontend.tree import LEAF, Tree, flatten, leaf_count, packed
from sparsec.frontend.undefined import Undefined
from sparsec.ir.graph import Value
from sparsec.ir.types import I64


@dataclass
class Path:
    """One branch after tracing: its block, the variables it leaves, and its signal."""

    block: Block
    state: State
    signal: Signal


def if_(cond: Any, then: Callable[[], Any], orelse: Callable[[], Any], scope: Scope) -> Any:
    """An `if` statement: its value is the signal of the branch taken."""
    test = truth(cond)
    if not isinstance(test, Traced):
        return then() if test else orelse()
    with refused("this branch depends on run-time values", ONE_KIND):
        return stage_if(test.trace, test, (then, orelse), scope)


def stage_if(trace: Trace, cond: Traced, thunks: Sequence[Callable[[], Any]], scope: Scope) -> Signal:
    """Traces both branches into an `if` op; sets the joined variables; gives the joined signal.

    Raises CannotStage, with nothing changed, where the branches do not fit together.
    """
    test = as_bool(trace, cond.read())
    start = Checkpoint.take(trace, scope, thunks)
    outer = start.versions
    with start.all_or_nothing():
        paths, failing = _paths(start, thunks)
        if failing:
            start.undo()
            return _failing(trace, test, thunks, failing)
        trees = _take_apart(paths)
        names = [n for n, tree in zip(scope.names, trees) for _ in range(leaf_count(tree))]
        plan = _plan(trace, outer, names, paths)
    storages = [s for s in outer if any(p.block.versions.get(s, outer[s]) is not outer[s] for p in paths)]
    yields = [_yields(trace, p, plan, [p.block.versions.get(s, outer[s]) for s in storages]) for p in paths]
    trace.restore(outer)
    regions = [p.block.finish(y, {}) for p, y in zip(paths, yields)]
    made = emit_control(trace, "if", (test,), regions) if yields[0] else ()
    joiner = _Joiner(trace, test, plan.split(made))
    results = iter(made)
    for storage in storages:
        trace.advance(storage, next(results))
    lengths: dict[Any, Any] = {}
    scope.set(packed(trees, [_joined(joiner, plan, k, paths, results, outer, lengths) for k in range(len(names))]))
    return _signal(joiner, plan, results)


#: What a program may raise on one path only, and the kind of check that raises it when the program runs.
_FAILS: dict[type[Exception], str] = {
    ValueError: "value", IndexError: "index", OverflowError: "overflow", ZeroDivisionError: "zero-division",
    AssertionError: "assertion", RuntimeError: "runtime", TypeError: "type", AttributeError: "attribute",
}
#: Errors of the program that sparsec finds while it traces: in a path that is not taken, they are none.
_FOUND = {cls: kind for kind, cls in FAILURES.items()}


def check_of(error: Exception) -> str:
    """The kind of check that raises such an error when the program runs; "" if there is none."""
    if isinstance(error, SparsecError):
        return _FOUND.get(type(error), "")
    return next((kind for cls, kind in _FAILS.items() if isinstance(error, cls)), "")


def raise_unless(trace: Trace, fine: Value, error: Exception) -> None:
    """Raises what tracing found, where `fine` is False when the program runs."""
    message, loc = (error.message, error.loc) if isinstance(error, SparsecError) else (str(error), None)
    trace.check(fine, check_of(error), message, loc)


def _failing(
    trace: Trace,
    test: Value,
    thunks: Sequence[Callable[[], Any]],
    failing: dict[int, Exception],
) -> Signal:
    """A branch with a path that raises: a check that the other one is taken, which then is certain."""
    (first, error), *others = failing.items()
    if others:
        raise error
    fine = test if first == 1 else trace.op("logical_not", test)
    raise_unless(trace, fine, error)
    return thunks[1 - first]()  # type: ignore[no-any-return]


def _paths(start: Checkpoint, thunks: Sequence[Callable[[], Any]]) -> tuple[list[Path], dict[int, Exception]]:
    """The branches, traced; those that raise what a check of the running program may raise, by number."""
    paths, failing = [], {}
    for k, thunk in enumerate(thunks):
        try:
            paths.append(_path(start, thunk))
        except Exception as error:
            if not isinstance(error, CannotStage) and check_of(error):
                failing[k] = error
            elif isinstance(error, SparsecError | CannotStage):
                raise
            else:
                what = f"one path raises {type(error).__name__}: {error}"
                raise CannotStage(what, hint=f"{raised_at(error)} raises it") from error
    return paths, failing


def _path(start: Checkpoint, thunk: Callable[[], Any]) -> Path:
    start.scope.set(start.before)
    block, (signal, state) = run_block(start.trace, start.versions, lambda: (thunk(), start.scope.get()))
    start.containers.check("one path")
    return Path(block, state, signal)


def _take_apart(paths: Sequence[Path]) -> list[Tree]:
    """Makes the state of each path one of leaves: a tuple of one form on both paths is joined by its parts."""
    trees = []
    flat: list[list[Any]] = [[] for _ in paths]
    for column in zip(*(p.state for p in paths)):
        parts: list[list[Any]] = [[] for _ in paths]
        found = [flatten(x, leaves) for x, leaves in zip(column, parts)]
        whole = any(tree != found[0] for tree in found) or all(same(column[0], x) for x in column)
        trees.append(LEAF if whole else found[0])
        for leaves, x, part in zip(flat, column, parts):
            leaves += [x] if whole else part
    for path, leaves in zip(paths, flat):
        path.state = tuple(leaves)
    return trees


@dataclass(frozen=True)
class _Plan:
    """What the `if` op yields besides storages: variables with a kind, the jump code, the returned leaves."""

    names: tuple[str, ...]
    kinds: tuple[Kind | Arrays | None, ...]  # None: not yielded
    copied: tuple[list[Traced], ...]  # arrays that others can see, of which a variable becomes a copy
    codes: frozenset[int]
    returned: ReturnShape | None
    given: tuple[list[Traced], ...]  # the same for each traced part of what is returned
    carriers: tuple[Carrier, ...]

    @property
    def has_code(self) -> bool:
        return len(self.codes) > 1

    def split(self, results: Sequence[Value]) -> list[Sequence[Value]]:
        """What each carrier's values have become, of all the results."""
        found, end = [], len(results)
        for carrier in reversed(self.carriers):
            found.append(results[end - len(carrier.values) : end])
            end -= len(carrier.values)
        return found[::-1]


@dataclass
class _Joiner:
    """What is needed after the branch to name the arrays of its paths."""

    trace: Trace
    test: Value
    carried: list[Sequence[Value]]

    def build(self, arrays: Arrays) -> Traced:
        found = [build(got) for build, got in zip(arrays.builds, self.carried) if build is not None]
        return found[0] if len(found) == 1 else choose(self.trace, self.test, *found)


def _plan(trace: Trace, outer: dict[Storage, Value], names: Sequence[str], paths: Sequence[Path]) -> _Plan:
    codes = frozenset().union(*(codes_of(p.signal) for p in paths))
    carriers = tuple(Carrier(trace, p.block, outer) for p in paths)
    held = [Held((p.state, getattr(p.signal, "value", None)), outer) for p in paths]
    returned, given = None, list[list[Traced]]()
    if any(returns(p.signal) for p in paths):
        numbers = [k for k, p in enumerate(paths) if returns(p.signal)]

        def by_reference(column: Sequence[Any]) -> Arrays | None:
            if all(held[k].private(x, "") for k, x in zip(numbers, column)):
                return None
            if len(column) == 2 and not alike(*column):
                return None
            builds = {k: carriers[k].add(x) for k, x in zip(numbers, column)}
            return Arrays(tuple(builds.get(k) for k in range(len(paths))))

        values = [paths[k].signal.value for k in numbers]  # type: ignore[union-attr]
        returned = return_shape(values, by_reference)
        for kind, column in zip(returned.traced, zip(*(leaves_of(v, returned) for v in values))):
            seen = [x for k, x in zip(numbers, column) if is_array(x) and not held[k].private(x, "")]
            given.append([] if isinstance(kind, Arrays) else seen)
            refuse_writes(RESULT, given[-1])
    # Where a path certainly returns, its variables are never read again: the other path's stand.
    kinds = []
    copied: list[list[Traced]] = []
    for k, name in enumerate(names):
        a, b = (p.state[k] for p in paths)
        seen = [x for h, x in zip(held, (a, b)) if is_array(x) and not same(a, b) and not h.private(x, name)]
        known = seen and is_array(a) and is_array(b) and alike(a, b)
        kinds.append(Arrays((carriers[0].add(a), carriers[1].add(b))) if known else _kind(name, a, b))
        copied.append([] if known or kinds[-1] is None else seen)
        refuse_writes(name, copied[-1])
    return _Plan(tuple(names), tuple(kinds), tuple(copied), codes, returned, tuple(given), carriers)


def _kind(name: str, a: Any, b: Any) -> Kind | None:
    if same(a, b) or isinstance(a, Undefined) or isinstance(b, Undefined):
        return None
    if (is_scalar(a) or is_array(a)) and (is_scalar(b) or is_array(b)):
        return join(name, kind_of(a), kind_of(b))
    raise CannotStage(f"`{name}` is a different {type(a).__name__} on each path")


def _yields(trace: Trace, path: Path, plan: _Plan, versions: Sequence[Value]) -> list[Value]:
    with path.block.open():
        out = list(versions)
        for kind, x in zip(plan.kinds, path.state):
            if isinstance(kind, Kind):
                out += values_as(trace, x, kind)
        if plan.has_code:
            out.append(value_as(trace, code_of(path.signal), Kind(I64)))
        if plan.returned is not None:
            has = isinstance(path.signal, (Return, Pending)) and returns(path.signal)
            leaves = leaves_of(path.signal.value, plan.returned) if has else []  # type: ignore[union-attr]
            for k, kind in enumerate(plan.returned.traced):
                if isinstance(kind, Kind):
                    out += values_as(trace, leaves[k], kind) if has else zeros_of(trace, kind)
        for carrier in plan.carriers:
            for value, kind in zip(carrier.values, carrier.kinds):
                out += [trace.op("copy", value)] if carrier.block is path.block else zeros_of(trace, kind)
    return out


def _joined(
    joiner: _Joiner,
    plan: _Plan,
    k: int,
    paths: Sequence[Path],
    results: Any,
    outer: dict[Any, Value],
    lengths: dict[Any, Any],
) -> Any:
    """A variable after both branches. Lengths that agree on each path go by one name: `lengths` has those."""
    kind = plan.kinds[k]
    if isinstance(kind, Arrays):
        return joiner.build(kind)
    if kind is not None:
        keys = {axis: tuple(p.state[k].type.shape[axis] for p in paths) for axis in kind.flexible}
        known = {axis: lengths[key] for axis, key in keys.items() if key in lengths}
        made = variable(joiner.trace, results, kind, known)
        lengths.update((key, known[axis]) for axis, key in keys.items())
        chosen = [p.state[k] for p in paths]
        mark_choice(made, plan.names[k], plan.copied[k])
        if is_array(made):
            made.storage.maybe = frozenset(s for x in chosen for s in maybe(x))
            inherit(made, *(x for x in chosen if not is_array(x) or outer.keys().isdisjoint(storages_of(x))))
        return made
    a, b = (p.state[k] for p in paths)
    if isinstance(a, Undefined) != isinstance(b, Undefined):
        return Undefined(plan.names[k], "has a value on one path only")
    return a


def _signal(joiner: _Joiner, plan: _Plan, results: Any) -> Signal:
    trace = joiner.trace
    code = Traced.scalar(trace, next(results), int) if plan.has_code else None
    value = None
    if plan.returned is not None:
        parts = []
        for kind, seen in zip(plan.returned.traced, plan.given, strict=True):
            parts.append(joiner.build(kind) if isinstance(kind, Arrays) else variable(trace, results, kind))
            mark_choice(parts[-1], RESULT, seen)
        value = plan.returned.build(parts)
    if code is not None:
        return Pending(code, plan.codes, value)
    (only,) = plan.codes
    if plan.returned is not None:
        return Return(value)
    return {GO_ON: None, BROKE: BREAK, CONTINUED: CONTINUE}[only]
