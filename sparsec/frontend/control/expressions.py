"""Expressions that evaluate only some of their operands, which come as functions: a traced test makes each of
them a branch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.control.branches import if_
from sparsec.frontend.control.scope import EMPTY
from sparsec.frontend.control.signals import Return
from sparsec.frontend.control.statements import unwrap
from sparsec.frontend.control.truth import truth
from sparsec.frontend.convert import as_bool
from sparsec.frontend.ufuncs import apply_ufunc

__all__ = ["and_", "both", "chain", "choose", "either", "not_", "or_"]


def choose(cond: Any, then: Callable[[], Any], orelse: Callable[[], Any]) -> Any:
    """`a if c else b`."""
    test = truth(cond)
    if not isinstance(test, Traced):
        return then() if test else orelse()
    return unwrap(if_(test, lambda: Return(then()), lambda: Return(orelse()), EMPTY))


def and_(*operands: Callable[[], Any]) -> Any:
    """`a and b and …`: the first operand that is false, else the last."""
    return _connect(operands, True)


def or_(*operands: Callable[[], Any]) -> Any:
    """`a or b or …`: the first operand that is true, else the last."""
    return _connect(operands, False)


def both(*operands: Callable[[], Any]) -> Any:
    """`a and b and …` where only its truth is asked for."""
    return _connect(operands, True, _truth_value)


def either(*operands: Callable[[], Any]) -> Any:
    """`a or b or …` where only its truth is asked for."""
    return _connect(operands, False, _truth_value)


def _truth_value(x: Any) -> Any:
    """The truth of a value as a bool, traced or not."""
    test = truth(x)
    return Traced.scalar(test.trace, as_bool(test.trace, test.value)) if isinstance(test, Traced) else test


def _connect(operands: Sequence[Callable[[], Any]], wants: bool, of: Callable[[Any], Any] = lambda x: x) -> Any:
    value = of(operands[0]())
    if len(operands) == 1:
        return value
    test = truth(value)
    if not isinstance(test, Traced):
        return _connect(operands[1:], wants, of) if test == wants else value
    kept, going = (lambda: Return(value)), (lambda: Return(_connect(operands[1:], wants, of)))
    branches = (going, kept) if wants else (kept, going)
    return unwrap(if_(test, *branches, EMPTY))


def not_(x: Any) -> Any:
    """`not x`."""
    test = truth(x)
    if not isinstance(test, Traced):
        return not test
    made = apply_ufunc(np.logical_not, (test,))
    made.weak = bool
    return made


def chain(tests: Sequence[Callable[[Any, Any], Any]], *operands: Callable[[], Any]) -> Any:
    """`a < b < c`."""
    left = operands[0]()
    right = operands[1]()
    first = tests[0](left, right)
    if len(tests) == 1:
        return first
    return and_(lambda: first, lambda: chain(tests[1:], lambda: right, *operands[2:]))
