"""`if` on a traced condition: both branches are traced, and what they change is joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sparsec.frontend.array import Traced
from sparsec.frontend.convert import as_bool
from sparsec.frontend.merge import (
    CannotStage,
    Kind,
    Undefined,
    is_array,
    is_scalar,
    join,
    kind_of,
    same,
    value_as,
    variable,
    zero_of,
)
from sparsec.frontend.regions import Block, emit_control, run_block
from sparsec.frontend.signals import (
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
from sparsec.frontend.trace import Trace
from sparsec.ir.graph import Value
from sparsec.ir.types import I64

State = tuple[Any, ...]


@dataclass
class Path:
    """One branch after tracing: its block, the variables it leaves, and its signal."""

    block: Block
    state: State
    signal: Signal


def stage_if(
    trace: Trace,
    cond: Traced,
    thunks: Sequence[Callable[[], Any]],
    names: Sequence[str],
    get: Callable[[], State],
    set_: Callable[[State], None],
) -> Signal:
    """Traces both branches into an `if` op; sets the joined variables; gives the joined signal.

    Raises CannotStage, with nothing changed, where the branches do not fit together.
    """
    test = as_bool(trace, cond.read())
    before, outer = get(), trace.versions()
    try:
        paths = [_path(trace, outer, thunk, before, get, set_) for thunk in thunks]
        plan = _plan(names, paths)
    except CannotStage:
        trace.restore(outer)
        set_(before)
        raise
    storages = [s for s in outer if any(p.block.versions.get(s, outer[s]) is not outer[s] for p in paths)]
    yields = [_yields(trace, p, plan, [p.block.versions.get(s, outer[s]) for s in storages]) for p in paths]
    trace.restore(outer)
    regions = [p.block.finish(y, {}) for p, y in zip(paths, yields)]
    results = iter(emit_control(trace, "if", (test,), regions) if yields[0] else ())
    for storage in storages:
        trace.advance(storage, next(results))
    set_(tuple(_joined(trace, plan, k, paths, results) for k in range(len(names))))
    return _signal(trace, plan, results)


def _path(
    trace: Trace,
    outer: dict[Any, Value],
    thunk: Callable[[], Any],
    before: State,
    get: Callable[[], State],
    set_: Callable[[State], None],
) -> Path:
    set_(before)
    block, (signal, state) = run_block(trace, outer, lambda: (thunk(), get()))
    return Path(block, state, signal)


@dataclass(frozen=True)
class _Plan:
    """What the `if` op yields besides storages: variables with a kind, the jump code, the returned leaves."""

    names: tuple[str, ...]
    kinds: tuple[Kind | None, ...]  # None: not yielded
    codes: frozenset[int]
    returned: ReturnShape | None

    @property
    def has_code(self) -> bool:
        return len(self.codes) > 1


def _plan(names: Sequence[str], paths: Sequence[Path]) -> _Plan:
    codes = frozenset().union(*(codes_of(p.signal) for p in paths))
    returned = None
    if any(returns(p.signal) for p in paths):
        returned = return_shape(
            [p.signal.value for p in paths if isinstance(p.signal, (Return, Pending)) and returns(p.signal)]
        )
    # Where a path certainly returns, its variables are never read again: the other path's stand.
    kinds = tuple(_kind(name, *(p.state[k] for p in paths)) for k, name in enumerate(names))
    return _Plan(tuple(names), kinds, codes, returned)


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
            if kind is not None:
                out.append(value_as(trace, x, kind))
        if plan.has_code:
            out.append(value_as(trace, code_of(path.signal), Kind(I64)))
        if plan.returned is not None:
            has = isinstance(path.signal, (Return, Pending)) and returns(path.signal)
            leaves = leaves_of(path.signal.value, plan.returned) if has else []  # type: ignore[union-attr]
            for k, kind in enumerate(plan.returned.traced):
                out.append(value_as(trace, leaves[k], kind) if has else zero_of(trace, kind))
    return out


def _joined(trace: Trace, plan: _Plan, k: int, paths: Sequence[Path], results: Any) -> Any:
    kind = plan.kinds[k]
    if kind is not None:
        return variable(trace, next(results), kind)
    a, b = (p.state[k] for p in paths)
    if isinstance(a, Undefined) != isinstance(b, Undefined):
        return Undefined(plan.names[k], "has a value on one path only")
    return a


def _signal(trace: Trace, plan: _Plan, results: Any) -> Signal:
    code = Traced.scalar(trace, next(results), int) if plan.has_code else None
    value = None
    if plan.returned is not None:
        value = plan.returned.build([variable(trace, next(results), k) for k in plan.returned.traced])
    if code is not None:
        return Pending(code, plan.codes, value)
    (only,) = plan.codes
    if plan.returned is not None:
        return Return(value)
    from sparsec.frontend.signals import BREAK, CONTINUE

    return {0: None, 1: BREAK, 2: CONTINUE}[only]
