"""How the turns of a loop are run: by Python one after the other, as one op, or as one op after some turns.

A range that is short is unrolled, a longer one is a loop op, as is all that ends when run-time values say so. Where
a body cannot be one op because its variables begin with other kinds than a turn leaves, the first turns are made
by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from sparsec.errors import ConcretizationError, SparsecError
from sparsec.frontend.array import Traced
from sparsec.frontend.control.branches import check_of, if_, raise_unless, stage_if
from sparsec.frontend.control.checkpoint import Checkpoint
from sparsec.frontend.control.loops import stage_for, stage_while
from sparsec.frontend.control.refuse import ONE_KIND, SAME_KIND, CannotStage, refused
from sparsec.frontend.control.scope import Scope
from sparsec.frontend.control.signals import BREAK, BROKE, CONTINUE, RETURNED, Pending, Return, Signal
from sparsec.frontend.control.truth import truth
from sparsec.frontend.control.variables import Variables
from sparsec.frontend.convert import as_bool, as_traced
from sparsec.frontend.desugar.names import BODY
from sparsec.frontend.locate import user_loc
from sparsec.frontend.ranges import Elements, TracedRange, elements
from sparsec.frontend.trace import Trace, require_trace
from sparsec.frontend.ufuncs import apply_ufunc
from sparsec.ir.graph import Value

__all__ = ["for_turns", "while_turns"]

#: Ranges of at most this many turns are unrolled: Python runs their bodies.
UNROLL = 16
#: ... one with another loop in its body if it has at most so many ...
UNROLL_OUTER = 8
#: ... and nested ones of at most so many turns together.
UNROLL_NESTED = 32
#: ... and of at least FEW turns that make at most so many values together, as the first one shows.
FEW, LONG = 4, 800
#: Where a body cannot be one loop op because its variables begin with other kinds, so many turns are made before.
PEEL = 2
#: Where a body cannot be one loop op, a static range of at most this many turns is unrolled all the same.
UNROLL_IF_NEEDED = 4096


def for_turns(items: Any, body: Callable[[Any], Any], scope: Scope, used: Sequence[str]) -> Signal:
    """The turns of a `for`. used: variables that are read outside the loop."""
    found = elements(items)
    if found is None:
        return _turns(iter(items), body, scope)
    if isinstance(items, (range, TracedRange)):
        span, turn = items, body
    else:
        span, turn = found.span, _picking(found, body)
    variables = Variables(scope, used, walks=1)
    if isinstance(span, TracedRange):
        return _run_time_range(span, turn, variables)
    if _wants_loop(len(span), body):
        return _range(span, turn, body, variables)
    return _short(span, turn, body, variables)


def _picking(items: Elements, body: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda k: body(items.item(k))


def _wants_loop(turns: int, body: Callable[..., Any]) -> bool:
    """Whether a loop should be one op: it is long, stands in others that are unrolled, or holds nested ones."""
    if turns < 2:
        return False
    depth = _depth(body.__code__)
    most = UNROLL if depth == 0 else UNROLL_OUTER
    return turns > most or turns * require_trace("a loop").unrolled > UNROLL_NESTED or depth >= 2


def _depth(code: Any) -> int:
    """How many loops stand inside one another in a body."""
    inner = [c for c in code.co_consts if hasattr(c, "co_consts")]
    below = max(map(_depth, inner), default=0)
    return below + any(c.co_name.startswith(BODY) for c in inner)


# --- ranges ----------------------------------------------------------------------------------------------------


def _range(
    items: range, turn: Callable[[Any], Any], body: Callable[[Any], Any], variables: Variables, peeled: int = 0
) -> Signal:
    """A static range as one loop op if the body allows it, perhaps after a turn or two, else unrolled."""
    if not items:
        return None
    trace = require_trace("a loop")
    error: SparsecError
    try:
        return stage_for(trace, TracedRange.of(items), turn, variables, [body])
    except CannotStage as why:
        error = ConcretizationError(
            f"this loop of {len(items)} turns cannot be one loop: {why.what}", loc=user_loc(), hint=SAME_KIND)
    except SparsecError as found:
        # What needs the loop variable's value (a shape, a list's item) works turn by turn.
        error = found

    def rest(after: Variables) -> Signal:
        if peeled < PEEL and after.differ_from(variables):
            return _range(items[1:], turn, body, after, peeled + 1)
        if len(items) > UNROLL_IF_NEEDED:
            raise error from None
        return _unrolled(items[1:], turn, after.scope)

    return _one_turn(lambda: turn(items[0]), rest, variables)


def _short(
    items: range, turn: Callable[[Any], Any], body: Callable[[Any], Any], variables: Variables
) -> Signal:
    """A short range turn by turn, unless the first turn makes so much that all of them would be a long program: then
    it is taken back, and the range is a loop."""
    if len(items) < FEW:
        return _unrolled(items, turn, variables.scope)
    trace = require_trace("a loop")
    start = Checkpoint.take(trace, variables.scope, [body])
    ops, names = len(trace.builder.ops), len(trace.builder.names)
    with _unrolling(trace, len(items)):
        signal = turn(items[0])
    goes_on = signal is None or signal is CONTINUE
    if (goes_on or isinstance(signal, Pending)) and (len(trace.builder.names) - names) * len(items) > LONG:
        trace.take_back(ops)
        start.undo()
        return _range(items, turn, body, variables)
    return _follow(signal, lambda: _unrolled(items[1:], turn, variables.scope, len(items)), variables.scope)


def _run_time_range(items: TracedRange, body: Callable[[Any], Any], variables: Variables, peeled: int = 0) -> Signal:
    """A range of run-time length: one loop op, perhaps after a turn or two."""
    trace = require_trace("a loop")
    try:
        with refused("this loop has a run-time length", SAME_KIND):
            return stage_for(trace, items, body, variables, [body])
    except SparsecError as error:
        if peeled == PEEL or not isinstance(error, ConcretizationError):
            none = items.count() == 0
            return _without_turns(trace, none.as_scalar().value, error)
        rest = TracedRange(items.start + items.step, items.stop, items.step)
        return _peeled(items.holds(items.start), lambda: body(items.start),
                       lambda after: _run_time_range(rest, body, after, peeled + 1), variables, error)


# --- while -----------------------------------------------------------------------------------------------------


def while_turns(
    cond: Callable[[], Any],
    body: Callable[[], Any],
    scope: Scope,
    used: Sequence[str],
    turns: int = 0,
    peeled: int = 0,
) -> Signal:
    """The turns of a `while` from here on, `turns` having been made by Python. used: variables that are read outside
    the loop."""
    trace = require_trace("a loop")
    cannot = False
    while True:
        # The first test decides: a static one is Python's, and may become traced in a later turn.
        before, outer, count = scope.get(), trace.versions(), len(trace.builder.ops)
        test = truth(cond())
        if not isinstance(test, Traced) and not test:
            return None
        must = isinstance(test, Traced) or turns > UNROLL_IF_NEEDED
        if must or (not cannot and _wants_loop(turns + 1, body)):
            trace.take_back(count)
            trace.restore(outer)
            scope.set(before)
            variables = Variables(scope, used)
            try:
                with refused("this loop depends on run-time values", SAME_KIND):
                    return stage_while(trace, cond, body, variables)
            except SparsecError as error:
                test = truth(cond())
                if isinstance(test, Traced) and isinstance(error, ConcretizationError) and peeled < PEEL:
                    rest = partial(while_turns, cond, body, scope, used, turns + 1, peeled + 1)
                    return _peeled(test, body, lambda _, rest=rest: rest(), variables, error)  # type: ignore[misc]
                if isinstance(test, Traced):
                    return _without_turns(trace, trace.op("logical_not", as_bool(trace, test.read())), error)
                if must:
                    raise
                cannot = True
        signal = body()
        turns += 1
        if signal is not None and signal is not CONTINUE:
            return _follow(signal, partial(while_turns, cond, body, scope, used, turns), scope)


# --- turns by themselves ---------------------------------------------------------------------------------------


def _one_turn(turn: Callable[[], Signal], rest: Callable[[Variables], Signal], variables: Variables) -> Signal:
    """One turn by Python, then what `rest` makes of the variables that it leaves."""
    return _follow(turn(), lambda: rest(variables.now()), variables.scope)


def _peeled(
    test: Any, turn: Callable[[], Signal], rest: Callable[[Variables], Signal], variables: Variables,
    error: SparsecError,
) -> Signal:
    """If there is a turn: the first one by itself, then the loop. Raises `error`, why it cannot be one loop from the
    beginning, if that turn does not change the kinds of the variables, or if the others cannot be one either."""
    left: Variables | None = None

    def checked(after: Variables) -> Signal:
        try:
            if after.differ_from(variables):
                return rest(after)
        except SparsecError as other:
            if check_of(other):
                raise
        raise error

    def first() -> Signal:
        nonlocal left
        signal = _one_turn(turn, checked, variables)
        left = variables.now()
        return signal

    def no_turn() -> None:
        variables.scope.set(variables.before)
        if left is not None:
            variables.forget_unused(left)

    return if_(test, first, no_turn, variables.scope)  # type: ignore[no-any-return]


def _without_turns(trace: Trace, none: Value, error: SparsecError) -> Signal:
    """A loop whose first turn would raise `error`: that is none if there are no turns."""
    if not check_of(error):
        raise error
    raise_unless(trace, none, error)
    return None


def _unrolled(items: range, body: Callable[[Any], Any], scope: Scope, turns: int = 0) -> Signal:
    """Turn by turn, as Python does. turns: of the whole range, where these are some of it."""
    with _unrolling(require_trace("a loop"), turns or len(items)):
        return _turns(iter(items), body, scope)


@contextmanager
def _unrolling(trace: Trace, turns: int) -> Iterator[None]:
    """What is traced here is traced so many times."""
    before = trace.unrolled
    trace.unrolled *= max(1, turns)
    try:
        yield
    finally:
        trace.unrolled = before


def _turns(items: Any, body: Callable[[Any], Any], scope: Scope) -> Signal:
    for item in items:
        signal = body(as_traced(item) if type(item) is np.ndarray else item)
        if signal is not None and signal is not CONTINUE:
            return _follow(signal, lambda: _turns(items, body, scope), scope)
    return None


def _follow(signal: Signal, rest: Callable[[], Signal], scope: Scope) -> Signal:
    """Goes on with `rest`, the other turns, where a turn has not left the loop."""
    if signal is None or signal is CONTINUE:
        return rest()
    if not isinstance(signal, Pending):
        return signal
    codes = signal.codes & {BROKE, RETURNED}
    if not codes:
        return rest()
    left = apply_ufunc(np.logical_or, (signal.code == BROKE, signal.code == RETURNED))

    def leave() -> Signal:
        if codes == {BROKE}:
            return BREAK
        return Return(signal.value) if codes == {RETURNED} else Pending(signal.code, codes, signal.value)

    with refused("whether this loop is left depends on run-time values", ONE_KIND):
        return stage_if(require_trace("a loop"), left, (leave, rest), scope)
