"""`for` and `while` whose trip count is large or known only at run time, traced once into one loop op.

The variables that the body assigns become block arguments, as do the storages that it writes. What kinds
they have is found by tracing: a body is traced again with wider kinds until they are stable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sparsec.frontend.array import Traced
from sparsec.frontend.control.aliases import Held
from sparsec.frontend.control.checkpoint import Checkpoint
from sparsec.frontend.control.choices import Arrays, Carrier, Choice, storages_of
from sparsec.frontend.control.merge import Kind, is_array, value_as, values_as, variable, zeros_of
from sparsec.frontend.control.refuse import CannotStage
from sparsec.frontend.control.regions import Block, emit_control, version_params
from sparsec.frontend.control.signals import (
    BROKE,
    CONTINUED,
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
from sparsec.frontend.control.truth import test_value
from sparsec.frontend.control.variables import Flat, Variables
from sparsec.frontend.ranges import TracedRange
from sparsec.frontend.trace import Storage, Trace
from sparsec.ir.dims import sym
from sparsec.ir.graph import Region, Value
from sparsec.ir.types import I64, TensorType

__all__ = ["Loop", "stage_for", "stage_while"]

_ATTEMPTS = 6


def stage_for(
    trace: Trace,
    span: TracedRange,
    body: Callable[[Any], Any],
    variables: Variables,
    functions: Sequence[Callable[..., Any]],
) -> Signal:
    """A loop over a range. functions: the user's, from which a body may reach containers.

    Raises CannotStage, with nothing changed, where no loop op can express it.
    """
    loop = Loop.begin(trace, variables, functions, span)
    with loop.start.all_or_nothing():
        turn = loop.trace_turn(body, span.runs_once)
        if codes_of(turn.signal) not in ({GO_ON}, {CONTINUED}):
            # It may be left early: a `while` that counts.
            return _while(loop, lambda i: span.holds(i), body)
        loop.check_private(turn)
    storages = turn.block.changed(loop.outer)
    with turn.block.open():
        nexts = variables.values(trace, turn.after)
    renamed = version_params(turn.block, storages, loop.outer)
    yields = [*nexts, *(turn.block.versions[s] for s in storages)]
    trace.restore(loop.outer)
    ran = loop.ran(turn, span.holds)
    initial = [*variables.initial(trace), *(loop.outer[s] for s in storages)]
    bounds = span.values(trace)
    # Also if nothing is carried: a turn may raise.
    results = emit_control(trace, "for", (*bounds, *initial), [turn.block.finish(yields, renamed)])
    loop.close(turn, storages, results, ran)
    return None


def stage_while(
    trace: Trace, cond: Callable[[], Any], body: Callable[[], Any], variables: Variables
) -> Signal:
    """A loop on a traced condition. Raises CannotStage, with nothing changed, where no op can express it."""
    loop = Loop.begin(trace, variables, [cond, body])
    with loop.start.all_or_nothing():
        return _while(loop, lambda _: cond(), lambda _: body())


@dataclass
class Turn:
    """A traced body: its block, the variables after it, its signal."""

    block: Block
    after: Flat
    signal: Signal


@dataclass(frozen=True)
class Loop:
    """A loop while it is traced, and what it began with. span: of a loop that counts."""

    trace: Trace
    variables: Variables
    start: Checkpoint
    span: TracedRange | None = None

    @classmethod
    def begin(
        cls, trace: Trace, variables: Variables, functions: Sequence[Callable[..., Any]],
        span: TracedRange | None = None,
    ) -> Loop:
        return cls(trace, variables, Checkpoint.take(trace, variables.scope, functions), span)

    @property
    def outer(self) -> dict[Storage, Value]:
        """The versions before the loop."""
        return self.start.versions

    @contextmanager
    def block(self) -> Iterator[Block]:
        """A block that runs at each turn, with the counter as its first argument."""
        block = Block(self.trace)
        self.trace.loops += 1
        try:
            with block.open():
                if self.span is not None:
                    block.param(Value("", TensorType(I64)))
                yield block
        finally:
            self.trace.loops -= 1

    def trace_turn(self, body: Callable[[Any], Any], runs_once: bool) -> Turn:
        """Traces the body until the kinds of the carried variables no longer change."""
        variables = self.variables
        variables.scope.set(variables.before)
        variables.look_around()
        for _ in range(_ATTEMPTS):
            self.start.rewind()
            with self.block() as block:
                variables.enter(self.trace, _params(block, variables.types))
                signal = body(self._counter(block))
                after = variables.scope.get()
            self.start.containers.check("it")
            if not variables.widen(self.trace, after, runs_once):
                return Turn(block, variables.leaves_after(after), signal)
        raise CannotStage("the kinds of its variables do not settle")

    def _counter(self, block: Block) -> Traced | None:
        """The loop variable: a Python int, known to lie within the range."""
        if self.span is None:
            return None
        value = block.params[0]
        low, high = self.span.bounds()
        made = Traced.scalar(self.trace, value, int)
        made.dim = sym(f"%{value.name}", -1 if high is None else high, -1 if low is None else low)
        return made

    def check_private(self, turn: Turn) -> None:
        """A carried array is passed on by value: nobody else may see it change, or change with it."""
        variables, changed = self.variables, turn.block.changed(self.outer)
        leaves = zip(variables.leaf_names, variables.kinds, turn.after, variables.leaves)
        for k, (name, kind, after, before) in enumerate(leaves):
            if kind is None or kind.shape is None:
                continue
            assert isinstance(after, Traced)
            if after.storage in self.outer or isinstance(after.storage, Choice):
                raise CannotStage(f"`{name}` becomes another existing array")
            if after.storage is not None and any(s in after.storage.maybe for s in changed):
                raise CannotStage(f"`{name}` may become another existing array, which is written")
            elsewhere = is_array(before) and any(s in changed for s in storages_of(before))
            if elsewhere or (k in variables.watched and variables.written(self.trace, k, turn.after)):
                raise CannotStage(f"`{name}` is both written in place and replaced")
            others = [x for m, x in enumerate(turn.after) if m != k and variables.kinds[m] is not None]
            if any(is_array(x) and x.storage is after.storage for x in others):
                raise CannotStage(f"`{name}` shares its elements with another variable after a turn")

    def ran(self, turn: Turn, test: Callable[[Any], Any]) -> Value | bool:
        """Whether there is a turn, where a variable depends on it. test: of a turn, as the program stands now."""
        if not self.variables.replaced(turn.after):
            return True
        scope = self.variables.scope
        now = scope.get()
        scope.set(self.variables.before)
        found = test(None if self.span is None else self.span.start)
        scope.set(now)
        return found if isinstance(found, bool) else test_value(self.trace, found)

    def close(self, turn: Turn, storages: Sequence[Storage], results: Sequence[Value], ran: Value | bool) -> None:
        """Storages and variables as the loop leaves them. results: of the variables, then of the storages."""
        count = len(self.variables.types)
        for storage, version in zip(storages, results[count:]):
            self.trace.advance(storage, version)
        runs_once = self.span is not None and self.span.runs_once
        self.variables.leave(self.trace, results[:count], turn.after, ran, runs_once)


def _params(block: Block, types: Sequence[TensorType]) -> list[Value]:
    return [block.param(Value("", type)) for type in types]


# --- while, and loops with jumps ---------------------------------------------------------------------------


def _while(loop: Loop, cond: Callable[[Any], Any], body: Callable[[Any], Any]) -> Signal:
    """Carried: the counter of a range, the variables, what tells of a jump, the storages."""
    trace, variables, span = loop.trace, loop.variables, loop.span
    turn = loop.trace_turn(body, False)
    loop.check_private(turn)
    jump = _Jump.of(loop, turn)
    block, storages = turn.block, turn.block.changed(loop.outer)
    with block.open():
        _params(block, jump.types)
        yields = [] if span is None else [trace.op("add", block.params[0], span.values(trace)[2])]
        yields += [*variables.values(trace, turn.after), *jump.values(trace, turn.signal)]
    renamed = version_params(block, storages, loop.outer)
    yields += [block.versions[s] for s in storages]
    test = _test(loop, cond, jump, storages)
    trace.restore(loop.outer)
    ran = loop.ran(turn, cond)
    initial = [
        *([] if span is None else [span.values(trace)[0]]),
        *variables.initial(trace),
        *(v for kind in jump.kinds for v in zeros_of(trace, kind)),
        *(loop.outer[s] for s in storages),
    ]
    results = emit_control(trace, "while", initial, [test, block.finish(yields, renamed)])
    results = results[0 if span is None else 1 :]
    first = len(variables.types)
    behind = first + len(jump.types)
    loop.close(turn, storages, (*results[:first], *results[behind:]), ran)
    return jump.signal(trace, turn.signal, results[first:behind])


@dataclass(frozen=True)
class _Jump:
    """What a `while` carries to tell how it was left: the code, the leaves of what is returned, and what names those
    of them that are arrays which others can see."""

    jumps: bool
    shape: ReturnShape | None
    carrier: Carrier

    @classmethod
    def of(cls, loop: Loop, turn: Turn) -> _Jump:
        carrier = Carrier(loop.trace, turn.block, loop.outer)
        shape = _returned(turn, carrier) if returns(turn.signal) else None
        return cls(bool(codes_of(turn.signal) & {BROKE, RETURNED}), shape, carrier)

    @property
    def kinds(self) -> list[Kind]:
        leaves = [kind for kind in (self.shape.traced if self.shape else ()) if isinstance(kind, Kind)]
        return [*[Kind(I64)] * self.jumps, *leaves, *self.carrier.kinds]

    @property
    def types(self) -> list[TensorType]:
        return [type for kind in self.kinds for type in kind.types]

    def values(self, trace: Trace, signal: Signal) -> list[Value]:
        """What a turn hands on, of its signal."""
        found = [value_as(trace, code_of(signal), Kind(I64))] if self.jumps else []
        if self.shape is not None:
            assert isinstance(signal, (Return, Pending))
            for leaf, kind in zip(leaves_of(signal.value, self.shape), self.shape.traced):
                if isinstance(kind, Kind):
                    found += values_as(trace, leaf, kind)
        return found + [trace.op("copy", value) for value in self.carrier.values]

    def stays(self, trace: Trace, code: Value) -> Value:
        """Whether the turn before has not left the loop."""
        left = [trace.op("equal", code, trace.const(c, I64)) for c in (BROKE, RETURNED)]
        return trace.op("logical_not", trace.op("logical_or", *left))

    def signal(self, trace: Trace, signal: Signal, results: Sequence[Value]) -> Signal:
        """What the loop tells of a jump. signal: of a turn. results: of the op, one of each of `types`."""
        if not self.jumps:
            return None
        code, own = results[0], len(results) - len(self.carrier.values)
        leaves, carried = iter(results[1:own]), results[own:]
        value = None if self.shape is None else self.shape.build([
            variable(trace, leaves, kind) if isinstance(kind, Kind) else kind.builds[0](carried)
            for kind in self.shape.traced
        ])
        return Pending(Traced.scalar(trace, code, int), codes_of(signal) | {GO_ON}, value)


def _returned(turn: Turn, carrier: Carrier) -> ReturnShape:
    """The form of what a turn returns. Arrays that others can see are handed on as what they are."""
    assert isinstance(turn.signal, (Return, Pending))
    held = Held(turn.signal.value, carrier.outer)

    def by_reference(column: Sequence[Any]) -> Arrays | None:
        (x,) = column
        if any(s in carrier.outer for own in storages_of(x) for s in own.maybe):
            raise CannotStage("it returns an array that may be the one from before the loop")
        return None if held.private(x, "") else Arrays((carrier.add(x),))

    return return_shape([turn.signal.value], by_reference)


def _test(loop: Loop, cond: Callable[[Any], Any], jump: _Jump, storages: Sequence[Storage]) -> Region:
    """The region that decides whether another turn is made."""
    trace, variables = loop.trace, loop.variables
    trace.restore(loop.outer)
    of_the_body = variables.entered
    try:
        with loop.block() as block:
            params, more = _params(block, variables.types), _params(block, jump.types)
            variables.enter(trace, params)
            index = None if loop.span is None else Traced.scalar(trace, block.params[0], int)
            test = test_value(trace, cond(index))
            if jump.jumps:
                test = trace.op("logical_and", test, jump.stays(trace, more[0]))
    finally:
        variables.entered = of_the_body
    if block.changed(loop.outer):
        raise CannotStage("its condition writes an array")
    return block.finish([test], version_params(block, storages, loop.outer))
