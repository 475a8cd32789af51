"""`for` and `while` as statements, and what follows those that may jump. Each gives a signal (`signals.py`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sparsec.errors import ConcretizationError, UnsupportedError
from sparsec.frontend.control import turns
from sparsec.frontend.control.branches import if_
from sparsec.frontend.control.checkpoint import Checkpoint
from sparsec.frontend.control.merge import is_array
from sparsec.frontend.control.scope import Scope, State
from sparsec.frontend.control.signals import (
    BREAK,
    BROKE,
    CONTINUE,
    CONTINUED,
    GO_ON,
    RETURNED,
    Pending,
    Return,
    Signal,
)
from sparsec.frontend.locate import user_loc
from sparsec.frontend.trace import require_trace
from sparsec.frontend.ufuncs import apply_ufunc
from sparsec.frontend.undefined import Undefined

__all__ = ["after", "for_", "go_on", "unwrap", "while_"]


def for_(
    items: Any, body: Callable[[Any], Any], scope: Scope, orelse: Any = None, used: Sequence[str] = (),
    own: Sequence[str] = (),
) -> Any:
    """A `for` statement. used: variables that are read outside the loop. own: those that each turn sets before it
    reads them."""
    walked = require_trace("a loop").walked
    walked.append(items)
    try:
        signal = _perhaps_anew(lambda seen: turns.for_turns(items, body, seen, used), body, scope, own)
    finally:
        walked.pop()
    return _finish_loop(signal, orelse, scope)


def while_(
    cond: Callable[[], Any], body: Callable[[], Any], scope: Scope, orelse: Any = None, used: Sequence[str] = (),
    own: Sequence[str] = (),
) -> Any:
    """A `while` statement. used, own: as in `for_`."""
    signal = _perhaps_anew(lambda seen: turns.while_turns(cond, body, seen, used), body, scope, own)
    return _finish_loop(signal, orelse, scope)


def _perhaps_anew(loop: Callable[[Scope], Signal], body: Any, scope: Scope, own: Sequence[str]) -> Signal:
    """The turns of a loop. Where that cannot be, once more without the arrays that the body's own variables hold
    between turns: `row = x[k]` in one has nothing to do with an earlier `row`."""
    if not own:
        return loop(scope)
    trace = require_trace("a loop")
    start, count = Checkpoint.take(trace, scope, [body]), len(trace.builder.ops)
    try:
        return loop(scope)
    except ConcretizationError as error:
        trace.take_back(count)
        start.undo()
        try:
            return loop(_without(scope, own))
        except ConcretizationError:
            raise error from None


def _without(scope: Scope, own: Sequence[str]) -> Scope:
    """The variables, but for the arrays that some of them hold."""
    gone = {name: Undefined(name, "is assigned inside a traced loop only") for name in own}

    def get() -> State:
        return tuple(gone[name] if name in gone and is_array(x) else x
                     for name, x in zip(scope.names, scope.get(), strict=True))

    return replace(scope, get=get)


def _finish_loop(signal: Signal, orelse: Any, scope: Scope) -> Any:
    """What the statement after a loop sees: a `break` is over, `else` runs if there was none."""
    if signal is BREAK:
        return None
    if isinstance(signal, Pending):
        if orelse is not None:
            if RETURNED in signal.codes:
                raise UnsupportedError(
                    "the `else` of a loop with a run-time `return`", loc=user_loc(), hint="use a flag"
                )
            return if_(signal.code == BROKE, lambda: None, orelse, scope)
        if RETURNED not in signal.codes:
            return None
        code = apply_ufunc(np.multiply, (signal.code == RETURNED, RETURNED))
        return Pending(code, frozenset([GO_ON, RETURNED]), signal.value)
    if signal is None and orelse is not None:
        return orelse()
    return signal


def after(signal: Any, rest: Callable[[], Any], scope: Scope) -> Any:
    """What follows a loop that may return."""
    if signal is None:
        return rest()
    if isinstance(signal, Pending):
        return if_(signal.code == RETURNED, lambda: Return(signal.value), rest, scope)
    return signal


def go_on(signal: Any, rest: Callable[[], Any], scope: Scope) -> Any:
    """What follows an `if` that may jump."""
    if signal is None:
        return rest()
    if not isinstance(signal, Pending):
        return signal
    codes = signal.codes - {GO_ON}

    def leave() -> Any:
        if len(codes) > 1:
            return Pending(signal.code, codes, signal.value)
        return {BROKE: BREAK, CONTINUED: CONTINUE}.get(*codes) or Return(signal.value)

    return if_(signal.code != GO_ON, leave, rest, scope)


def unwrap(signal: Any) -> Any:
    """The function's own result."""
    if isinstance(signal, Return):
        return signal.value
    if isinstance(signal, Pending):
        raise ConcretizationError(
            "the function returns on some run-time paths and not on others",
            loc=user_loc(),
            hint="return a value of the same kind on every path",
        )
    return None
