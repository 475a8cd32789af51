"""`for` and `while` whose trip count is large or known only at run time, traced once into one loop op.

The variables that the body assigns become block arguments, as do the storages that it writes. What kinds
they have is found by tracing: a body is traced again with wider kinds until they are stable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
from sparsec.frontend.ranges import TracedRange
from sparsec.frontend.regions import Block, emit_control, version_params
from sparsec.frontend.signals import (
    BROKE,
    GO_ON,
    RETURNED,
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
from sparsec.frontend.trace import Storage, Trace
from sparsec.ir.dims import sym
from sparsec.ir.graph import Value
from sparsec.ir.types import BOOL, I64

State = tuple[Any, ...]

_ATTEMPTS = 6


@dataclass
class Variables:
    """The variables that a loop body assigns: their values before, and the kinds of those that are carried."""

    names: Sequence[str]
    before: State
    get: Callable[[], State]
    set: Callable[[State], None]
    kinds: list[Kind | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kinds = [kind_of(x) if is_scalar(x) else None for x in self.before]

    def carried(self) -> list[int]:
        return [k for k, kind in enumerate(self.kinds) if kind is not None]

    def initial(self, trace: Trace) -> list[Value]:
        """The carried values before the first turn."""
        return [
            zero_of(trace, self.kinds[k])  # type: ignore[arg-type]
            if isinstance(self.before[k], Undefined)
            else value_as(trace, self.before[k], self.kinds[k])  # type: ignore[arg-type]
            for k in self.carried()
        ]

    def enter(self, trace: Trace, params: Sequence[Value]) -> None:
        """Sets the variables to the block's arguments."""
        values = iter(params)
        self.set(
            tuple(
                b if kind is None else variable(trace, next(values), kind)
                for b, kind in zip(self.before, self.kinds)
            )
        )

    def widen(self, after: State, runs_once: bool) -> bool:
        """Adapts the kinds to what a turn left; True if they changed. Raises CannotStage."""
        kinds = [self._kind(k, x, runs_once) for k, x in enumerate(after)]
        changed = kinds != self.kinds
        self.kinds = kinds
        return changed

    def _kind(self, k: int, after: Any, runs_once: bool) -> Kind | None:
        name, before, kind = self.names[k], self.before[k], self.kinds[k]
        if kind is not None:
            if not (is_scalar(after) or is_array(after)):
                raise CannotStage(f"`{name}` is {type(after).__name__} after a turn")
            return join(name, kind, kind_of(after))
        if same(before, after):
            return None
        if isinstance(before, Undefined):
            # Made by the body: a scalar is handed on if the loop surely runs, anything else stays inside.
            return kind_of(after) if runs_once and is_scalar(after) and not before.why else None
        if is_array(before) and is_array(after):
            return join(name, kind_of(before), kind_of(after))
        raise CannotStage(f"`{name}` is another {type(after).__name__} after each turn")

    def leave(self, trace: Trace, results: Sequence[Value], after: State) -> None:
        """Sets the variables to what the loop leaves."""
        values = iter(results)
        final: list[Any] = []
        for name, before, last, kind in zip(self.names, self.before, after, self.kinds):
            if kind is not None:
                final.append(variable(trace, next(values), kind))
            elif isinstance(before, Undefined) and not isinstance(last, Undefined):
                final.append(Undefined(name, "is assigned inside a traced loop only"))
            else:
                final.append(before)
        self.set(tuple(final))


@dataclass
class Turn:
    """A traced body: its block, the variables after it, its signal."""

    block: Block
    params: list[Value]
    after: State
    signal: Signal


def stage_for(trace: Trace, span: TracedRange, body: Callable[[Any], Any], variables: Variables) -> Signal:
    """A loop over a range. Raises CannotStage, with nothing changed, where no loop op can express it."""
    outer = trace.versions()
    try:
        turn = _stable(
            trace, outer, variables, span.runs_once, lambda block: body(_counter(trace, block, span))
        )
        if codes_of(turn.signal) != {GO_ON} and codes_of(turn.signal) != {2}:
            return _for_as_while(trace, outer, span, body, variables)
        _check_private(trace, turn, variables, outer)
    except CannotStage:
        _undo(trace, outer, variables)
        raise
    storages = turn.block.changed(outer)
    params = turn.block.params
    with turn.block.open():
        nexts = _next_values(trace, turn, variables)
    renamed = version_params(turn.block, storages, outer)
    yields = [*nexts, *(turn.block.versions[s] for s in storages)]
    trace.restore(outer)
    initial = [*variables.initial(trace), *(outer[s] for s in storages)]
    bounds = span.values(trace)
    results: Sequence[Value] = ()
    if initial:
        region = turn.block.finish(yields, renamed)
        results = emit_control(trace, "for", (*bounds, *initial), [region])
    del params
    _close(trace, variables, storages, results, turn.after)
    return None


def _counter(trace: Trace, block: Block, span: TracedRange) -> Traced:
    """The loop variable: a Python int, known to lie within the range."""
    value = block.params[0] if block.params else None
    assert value is not None
    low, high = span.bounds()
    made = Traced.scalar(trace, value, int)
    made.dim = sym(f"%{value.name}", -1 if high is None else high, -1 if low is None else low)
    return made


def _stable(
    trace: Trace,
    outer: dict[Storage, Value],
    variables: Variables,
    runs_once: bool,
    run: Callable[[Block], Any],
    counter: bool = True,
) -> Turn:
    """Traces the body until the kinds of the carried variables no longer change."""
    for _ in range(_ATTEMPTS):
        trace.restore(outer)
        block = Block(trace)
        trace.loops += 1
        try:
            with block.open():
                if counter:
                    block.param(Value("", _scalar_type(I64)))
                params = [block.param(Value("", _kind_type(variables.kinds[k]))) for k in variables.carried()]
                variables.enter(trace, params)
                signal = run(block)
                after = variables.get()
        finally:
            trace.loops -= 1
        if not variables.widen(after, runs_once):
            return Turn(block, params, after, signal)
    raise CannotStage("the kinds of its variables do not settle")


def _scalar_type(dtype: Any) -> Any:
    from sparsec.ir.types import tensor

    return tensor(dtype)


def _kind_type(kind: Kind | None) -> Any:
    from sparsec.ir.types import TensorType

    assert kind is not None
    return TensorType(kind.dtype, kind.shape or ())


def _next_values(trace: Trace, turn: Turn, variables: Variables) -> list[Value]:
    return [value_as(trace, turn.after[k], variables.kinds[k]) for k in variables.carried()]  # type: ignore[arg-type]


def _check_private(trace: Trace, turn: Turn, variables: Variables, outer: dict[Storage, Value]) -> None:
    """A carried array is passed on by value: nobody else may see it change."""
    for k in variables.carried():
        kind, after, before = variables.kinds[k], turn.after[k], variables.before[k]
        if kind is None or kind.shape is None:
            continue
        assert isinstance(after, Traced)
        if after.storage in outer:
            raise CannotStage(f"`{variables.names[k]}` becomes another existing array")
        if isinstance(before, Traced) and before.storage in turn.block.changed(outer):
            raise CannotStage(f"`{variables.names[k]}` is both written in place and replaced")


def _close(
    trace: Trace, variables: Variables, storages: Sequence[Storage], results: Sequence[Value], after: State
) -> None:
    count = len(variables.carried())
    for storage, version in zip(storages, results[count:]):
        trace.advance(storage, version)
    variables.leave(trace, results[:count], after)


def _undo(trace: Trace, outer: dict[Storage, Value], variables: Variables) -> None:
    trace.restore(outer)
    variables.set(variables.before)


# --- while, and loops with jumps ---------------------------------------------------------------------------


def stage_while(
    trace: Trace, cond: Callable[[], Any], body: Callable[[], Any], variables: Variables
) -> Signal:
    """A loop on a traced condition. Raises CannotStage, with nothing changed, where no op can express it."""
    outer = trace.versions()
    try:
        return _while(trace, outer, lambda _: cond(), lambda _: body(), variables, None)
    except CannotStage:
        _undo(trace, outer, variables)
        raise


def _for_as_while(
    trace: Trace,
    outer: dict[Storage, Value],
    span: TracedRange,
    body: Callable[[Any], Any],
    variables: Variables,
) -> Signal:
    """A loop over a range that may be left early: a `while` that counts."""
    return _while(trace, outer, lambda i: span.holds(i), body, variables, span)


def _while(
    trace: Trace,
    outer: dict[Storage, Value],
    cond: Callable[[Any], Any],
    body: Callable[[Any], Any],
    variables: Variables,
    span: TracedRange | None,
) -> Signal:
    """Carried: the counter of a range, the variables, the jump code, the returned leaves, the storages."""
    head = [I64] if span is not None else []

    def run(block: Block) -> Any:
        return body(_counter(trace, block, span) if span is not None else None)

    turn = _stable(trace, outer, variables, False, run, counter=span is not None)
    _check_private(trace, turn, variables, outer)
    codes = codes_of(turn.signal) - {2}
    jumps = bool(codes & {BROKE, RETURNED})
    shape = return_shape([turn.signal.value]) if returns(turn.signal) else None  # type: ignore[union-attr]
    storages = turn.block.changed(outer)
    extra = [Kind(I64)] * jumps + list(shape.traced if shape else ())
    for kind in extra:
        with turn.block.open():
            turn.block.param(Value("", _kind_type(kind)))
    with turn.block.open():
        yields = _while_yields(trace, turn, variables, span, jumps, shape)
    renamed = version_params(turn.block, storages, outer)
    yields += [turn.block.versions[s] for s in storages]
    test_region = _test(trace, outer, cond, variables, head, extra, storages, jumps, span)
    trace.restore(outer)
    initial = [
        *([span.values(trace)[0]] if span is not None else []),
        *variables.initial(trace),
        *(zero_of(trace, k) for k in extra),
        *(outer[s] for s in storages),
    ]
    results = emit_control(trace, "while", initial, [test_region, turn.block.finish(yields, renamed)])
    results = results[len(head) :]
    count = len(variables.carried())
    rest = results[count:]
    code = rest[0] if jumps else None
    leaves = rest[int(jumps) : len(extra)]
    _close(trace, variables, storages, (*results[:count], *rest[len(extra) :]), turn.after)
    if shape is None:
        return None
    value = shape.build([variable(trace, v, k) for v, k in zip(leaves, shape.traced)])
    assert code is not None
    # Leaving by `break` is over here; only a return goes further up.
    three = trace.const(RETURNED, I64)
    returned = trace.op("equal", code, three)
    further = trace.op("where", returned, three, trace.const(GO_ON, I64))
    return Pending(Traced.scalar(trace, further, int), frozenset([GO_ON, RETURNED]), value)


def _while_yields(
    trace: Trace,
    turn: Turn,
    variables: Variables,
    span: TracedRange | None,
    jumps: bool,
    shape: ReturnShape | None,
) -> list[Value]:
    out: list[Value] = []
    if span is not None:
        out.append(trace.op("add", turn.block.params[0], span.values(trace)[2]))
    out += _next_values(trace, turn, variables)
    if jumps:
        out.append(value_as(trace, code_of(turn.signal), Kind(I64)))
    if shape is not None:
        assert isinstance(turn.signal, (Return, Pending))
        out += [
            value_as(trace, leaf, kind)
            for leaf, kind in zip(leaves_of(turn.signal.value, shape), shape.traced)
        ]
    return out


def _test(
    trace: Trace,
    outer: dict[Storage, Value],
    cond: Callable[[Any], Any],
    variables: Variables,
    head: list[Any],
    extra: Sequence[Kind],
    storages: Sequence[Storage],
    jumps: bool,
    span: TracedRange | None,
) -> Any:
    """The region that decides whether another turn is made."""
    trace.restore(outer)
    block = Block(trace)
    trace.loops += 1
    try:
        with block.open():
            for dtype in head:
                block.param(Value("", _scalar_type(dtype)))
            params = [block.param(Value("", _kind_type(variables.kinds[k]))) for k in variables.carried()]
            more = [block.param(Value("", _kind_type(kind))) for kind in extra]
            variables.enter(trace, params)
            index = Traced.scalar(trace, block.params[0], int) if head else None
            result = cond(index)
            test = value_as(trace, _truth(result), Kind(BOOL))
            if jumps:
                left = [trace.op("equal", more[0], trace.const(c, I64)) for c in (BROKE, RETURNED)]
                stays = trace.op("logical_not", trace.op("logical_or", *left))
                test = trace.op("logical_and", test, stays)
    finally:
        trace.loops -= 1
    if block.changed(outer):
        raise CannotStage("its condition writes an array")
    renamed = version_params(block, storages, outer)
    return block.finish([test], renamed)


def _truth(x: Any) -> Any:
    if isinstance(x, Traced):
        return Traced.scalar(x.trace, as_bool(x.trace, x.as_scalar().value))
    return bool(x)
