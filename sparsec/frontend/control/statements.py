"""`for` and `while` as statements, and what follows those that may jump. Each gives a signal (`signals.py`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparsec.errors import ConcretizationError, UnsupportedError
from sparsec.frontend.control import turns
from sparsec.frontend.control.branches import if_
from sparsec.frontend.control.scope import Scope
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

__all__ = ["after", "for_", "go_on", "unwrap", "while_"]


def for_(items: Any, body: Callable[[Any], Any], scope: Scope, orelse: Any = None, used: Sequence[str] = ()) -> Any:
    """A `for` statement. used: variables that are read outside the loop."""
    walked = require_trace("a loop").walked
    walked.append(items)
    try:
        signal = turns.for_turns(items, body, scope, used)
    finally:
        walked.pop()
    return _finish_loop(signal, orelse, scope)


def while_(
    cond: Callable[[], Any], body: Callable[[], Any], scope: Scope, orelse: Any = None, used: Sequence[str] = ()
) -> Any:
    """A `while` statement. used: variables that are read outside the loop."""
    return _finish_loop(turns.while_turns(cond, body, scope, used), orelse, scope)


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
