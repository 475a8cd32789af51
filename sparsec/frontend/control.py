"""Control flow of staged code: run by Python where it is static, traced into regions where it is not.

The rewritten function (`desugar.py`) calls these with inner functions for its branches and bodies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from sparsec.errors import ConcretizationError, ShapeError, SparsecError, UnsupportedError
from sparsec.frontend import desugar
from sparsec.frontend.array import Traced
from sparsec.frontend.branches import check_of, raise_unless, stage_if
from sparsec.frontend.concrete import concrete_value
from sparsec.frontend.convert import as_bool, as_traced
from sparsec.frontend.locate import user_loc
from sparsec.frontend.loops import State, Variables, stage_for, stage_while, undo
from sparsec.frontend.merge import CannotStage, is_scalar
from sparsec.frontend.mixed import Mixed, truth_of
from sparsec.frontend.mutation import Snapshot
from sparsec.frontend.ranges import Elements, TracedRange, elements
from sparsec.frontend.signals import (
    BREAK,
    BROKE,
    CONTINUE,
    CONTINUED,
    GO_ON,
    RETURNED,
    Jump,
    Pending,
    Return,
    Signal,
    codes_of,
)
from sparsec.frontend.trace import Trace, require_trace
from sparsec.frontend.ufuncs import apply_ufunc
from sparsec.frontend.undefined import Undefined
from sparsec.ir.graph import Value

Get = Callable[[], State]
Set = Callable[[State], None]

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

_ONE_KIND = "give the variable one kind on both paths, or use np.where"
_SAME_KIND = "keep the kind of every variable the same in each turn"


@contextmanager
def _refused(what: str, hint: str) -> Iterator[None]:
    """What cannot be one region, where Python cannot run it either, is the user's error."""
    try:
        yield
    except CannotStage as why:
        raise ConcretizationError(f"{what}, and {why.what}", loc=user_loc(), hint=why.hint or hint) from None


def truth(x: Any) -> bool | Traced:
    """A Python bool where the value is known, else a traced scalar. Raises ShapeError for whole arrays."""
    if isinstance(x, Undefined):
        return bool(x)
    if not isinstance(x, Traced):
        return bool(x)
    if isinstance(x, Mixed):
        return truth(Traced.scalar(x.trace, truth_of(x), bool))
    if x.type.size != 1:
        raise ShapeError(
            "The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()",
            loc=user_loc(),
        )
    known = concrete_value(x)
    return x.as_scalar() if known is None else bool(known.reshape(())[()])


# --- statements ----------------------------------------------------------------------------------------------


def if_(
    cond: Any, then: Callable[[], Any], orelse: Callable[[], Any], names: Sequence[str], get: Get, set_: Set
) -> Any:
    """An `if` statement: its value is the signal of the branch taken."""
    test = truth(cond)
    if not isinstance(test, Traced):
        return then() if test else orelse()
    with _refused("this branch depends on run-time values", _ONE_KIND):
        return stage_if(test.trace, test, (then, orelse), names, get, set_)


def for_(
    items: Any,
    body: Callable[[Any], Any],
    names: Sequence[str],
    get: Get,
    set_: Set,
    orelse: Any,
    used: Sequence[str] = (),
) -> Any:
    """A `for` statement. used: variables that are read outside the loop."""
    walked = require_trace("a loop").walked
    walked.append(items)
    try:
        signal = _for(items, body, names, get, set_, used)
    finally:
        walked.pop()
    return _finish_loop(signal, orelse, names, get, set_)


def _for(
    items: Any, body: Callable[[Any], Any], names: Sequence[str], get: Get, set_: Set, used: Sequence[str]
) -> Signal:
    """The turns of a `for`: run by Python, or one loop op."""
    found = elements(items)
    if found is None:
        return _turns(iter(items), body, names, get, set_)
    if isinstance(items, (range, TracedRange)):
        span, turn = items, body
    else:
        span, turn = found.span, _picking(found, body)
    variables = Variables(names, get(), get, set_, used, walks=1)
    if isinstance(span, TracedRange):
        return _staged(span, turn, variables)
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
    return below + any(c.co_name.startswith(desugar.BODY) for c in inner)


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
            f"this loop of {len(items)} turns cannot be one loop: {why.what}", loc=user_loc(), hint=_SAME_KIND)
    except SparsecError as found:
        # What needs the loop variable's value (a shape, a list's item) works turn by turn.
        error = found

    def rest(after: Variables) -> Signal:
        if peeled < PEEL and after.differ_from(variables):
            return _range(items[1:], turn, body, after, peeled + 1)
        if len(items) > UNROLL_IF_NEEDED:
            raise error from None
        return _unrolled(items[1:], turn, after.names, after.get, after.set)

    return _one_turn(lambda: turn(items[0]), rest, variables)


def _short(
    items: range, turn: Callable[[Any], Any], body: Callable[[Any], Any], variables: Variables
) -> Signal:
    """A short range turn by turn, unless the first turn makes so much that all of them would be a long program: then
    it is taken back, and the range is a loop."""
    if len(items) < FEW:
        return _unrolled(items, turn, variables.names, variables.get, variables.set)
    trace = require_trace("a loop")
    before = trace.versions(), variables, Snapshot([body])
    ops, names = len(trace.builder.ops), len(trace.builder.names)
    with _unrolling(trace, len(items)):
        signal = turn(items[0])
    goes_on = signal is None or signal is CONTINUE
    if (goes_on or isinstance(signal, Pending)) and (len(trace.builder.names) - names) * len(items) > LONG:
        trace.take_back(ops)
        undo(trace, *before)
        return _range(items, turn, body, variables)

    def others() -> Signal:
        return _unrolled(items[1:], turn, variables.names, variables.get, variables.set, len(items))

    if isinstance(signal, Pending):
        return _guarded(signal, others, variables.names, variables.get, variables.set)  # type: ignore[no-any-return]
    return others() if goes_on else signal  # type: ignore[no-any-return]


def _one_turn(turn: Callable[[], Signal], rest: Callable[[Variables], Signal], variables: Variables) -> Signal:
    """One turn by Python, then what `rest` makes of the variables that it leaves."""
    signal = turn()
    if signal is None or signal is CONTINUE:
        return rest(variables.now())
    if not isinstance(signal, Pending):
        return signal
    return _guarded(signal, lambda: rest(variables.now()), variables.names, variables.get, variables.set)  # type: ignore[no-any-return]


def _staged(items: TracedRange, body: Callable[[Any], Any], variables: Variables, peeled: int = 0) -> Signal:
    trace = require_trace("a loop")
    try:
        with _refused("this loop has a run-time length", _SAME_KIND):
            return stage_for(trace, items, body, variables, [body])
    except SparsecError as error:
        if peeled == PEEL or not isinstance(error, ConcretizationError):
            none = items.count() == 0
            return _without_turns(trace, none.as_scalar().value, error)
        rest = TracedRange(items.start + items.step, items.stop, items.step)
        return _peeled(items.holds(items.start), lambda: body(items.start),
                       lambda after: _staged(rest, body, after, peeled + 1), variables, error)


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
        variables.set(variables.before)
        if left is not None:
            variables.forget_unused(left)

    return if_(test, first, no_turn, variables.names, variables.get, variables.set)  # type: ignore[no-any-return]


def _without_turns(trace: Trace, none: Value, error: SparsecError) -> Signal:
    """A loop whose first turn would raise `error`: that is none if there are no turns."""
    if not check_of(error):
        raise error
    raise_unless(trace, none, error)
    return None


def _unrolled(
    items: range, body: Callable[[Any], Any], names: Sequence[str], get: Get, set_: Set, turns: int = 0
) -> Signal:
    """Turn by turn, as Python does. turns: of the whole range, where these are some of it."""
    with _unrolling(require_trace("a loop"), turns or len(items)):
        return _turns(iter(items), body, names, get, set_)


@contextmanager
def _unrolling(trace: Trace, turns: int) -> Iterator[None]:
    """What is traced here is traced so many times."""
    before = trace.unrolled
    trace.unrolled *= max(1, turns)
    try:
        yield
    finally:
        trace.unrolled = before


def _turns(items: Any, body: Callable[[Any], Any], names: Sequence[str], get: Get, set_: Set) -> Signal:
    for item in items:
        signal = body(as_traced(item) if type(item) is np.ndarray else item)
        if signal is None or signal is CONTINUE:
            continue
        if isinstance(signal, Pending):
            # The other turns happen only where this one did not leave.
            return _guarded(signal, lambda: _turns(items, body, names, get, set_), names, get, set_)
        return signal  # type: ignore[no-any-return]
    return None


def _guarded(signal: Pending, rest: Callable[[], Any], names: Sequence[str], get: Get, set_: Set) -> Any:
    """Goes on with `rest` where the pending jump was not taken (or was a `continue`)."""
    if not signal.codes & {BROKE, RETURNED}:
        return rest()
    trace = require_trace("a loop")
    left = apply_ufunc(np.logical_or, (signal.code == BROKE, signal.code == RETURNED))

    def leave() -> Any:
        codes = signal.codes & {BROKE, RETURNED}
        if codes == {BROKE}:
            return BREAK
        return Return(signal.value) if codes == {RETURNED} else Pending(signal.code, codes, signal.value)

    with _refused("whether this loop is left depends on run-time values", _ONE_KIND):
        return stage_if(trace, left, (leave, rest), names, get, set_)


def while_(
    cond: Callable[[], Any],
    body: Callable[[], Any],
    names: Sequence[str],
    get: Get,
    set_: Set,
    orelse: Any,
    used: Sequence[str] = (),
) -> Any:
    """A `while` statement. used: variables that are read outside the loop."""
    return _finish_loop(_while_turns(cond, body, names, get, set_, used, 0), orelse, names, get, set_)


def _while_turns(
    cond: Callable[[], Any],
    body: Callable[[], Any],
    names: Sequence[str],
    get: Get,
    set_: Set,
    used: Sequence[str],
    turns: int,
    peeled: int = 0,
) -> Signal:
    """The loop from here on, `turns` turns having been made by Python."""
    trace = require_trace("a loop")
    refused = False
    while True:
        # The first test decides: a static one is Python's, and may become traced in a later turn.
        before, outer, count = get(), trace.versions(), len(trace.builder.ops)
        test = truth(cond())
        if not isinstance(test, Traced) and not test:
            return None
        must = isinstance(test, Traced) or turns > UNROLL_IF_NEEDED
        if must or (not refused and _wants_loop(turns + 1, body)):
            trace.take_back(count)
            trace.restore(outer)
            set_(before)
            variables = Variables(names, get(), get, set_, used)
            try:
                return _staged_while(cond, body, variables)
            except SparsecError as error:
                test = truth(cond())
                if isinstance(test, Traced) and isinstance(error, ConcretizationError) and peeled < PEEL:
                    rest = partial(_while_turns, cond, body, names, get, set_, used, turns + 1, peeled + 1)
                    return _peeled(test, body, lambda _, rest=rest: rest(), variables, error)  # type: ignore[misc]
                if isinstance(test, Traced):
                    return _without_turns(trace, trace.op("logical_not", as_bool(trace, test.read())), error)
                if must:
                    raise
                refused = True
        signal = body()
        turns += 1
        if isinstance(signal, Pending):
            rest = partial(_while_turns, cond, body, names, get, set_, used, turns)
            return _guarded(signal, rest, names, get, set_)  # type: ignore[no-any-return]
        if signal is not None and signal is not CONTINUE:
            return signal  # type: ignore[no-any-return]


def _staged_while(cond: Callable[[], Any], body: Callable[[], Any], variables: Variables) -> Signal:
    with _refused("this loop depends on run-time values", _SAME_KIND):
        return stage_while(require_trace("a loop"), cond, body, variables)


def _finish_loop(signal: Signal, orelse: Any, names: Sequence[str], get: Get, set_: Set) -> Any:
    """What the statement after a loop sees: a `break` is over, `else` runs if there was none."""
    if signal is BREAK:
        return None
    if isinstance(signal, Pending):
        if orelse is not None:
            if RETURNED in signal.codes:
                raise UnsupportedError(
                    "the `else` of a loop with a run-time `return`", loc=user_loc(), hint="use a flag"
                )
            return if_(signal.code == BROKE, lambda: None, orelse, names, get, set_)
        if RETURNED not in signal.codes:
            return None
        code = apply_ufunc(np.multiply, (signal.code == RETURNED, RETURNED))
        return Pending(code, frozenset([GO_ON, RETURNED]), signal.value)
    if signal is None and orelse is not None:
        return orelse()
    return signal


def after(signal: Any, rest: Callable[[], Any], names: Sequence[str], get: Get, set_: Set) -> Any:
    """What follows a loop that may return."""
    if signal is None:
        return rest()
    if isinstance(signal, Pending):
        taken = signal.code == RETURNED
        return if_(taken, lambda: Return(signal.value), rest, names, get, set_)
    return signal


def go_on(signal: Any, rest: Callable[[], Any], names: Sequence[str], get: Get, set_: Set) -> Any:
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

    return if_(signal.code != GO_ON, leave, rest, names, get, set_)


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


def locals_(*reads: Callable[[], Any]) -> State:
    """The values of local variables, where they have one."""
    found: list[Any] = []
    for read in reads:
        try:
            found.append(read())
        except NameError:
            found.append(Undefined(read.__code__.co_freevars[0] if read.__code__.co_freevars else ""))
    return tuple(found)


# --- expressions -----------------------------------------------------------------------------------------------


def choose(cond: Any, then: Callable[[], Any], orelse: Callable[[], Any]) -> Any:
    """`a if c else b`."""
    test = truth(cond)
    if not isinstance(test, Traced):
        return then() if test else orelse()
    signal = if_(test, lambda: Return(then()), lambda: Return(orelse()), (), tuple, lambda state: None)
    return unwrap(signal)


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
    return unwrap(if_(test, *branches, (), tuple, lambda state: None))


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


#: What staged code calls, by name.
RUNTIME = {
    desugar.IF: if_,
    desugar.WHILE: while_,
    desugar.FOR: for_,
    desugar.AFTER: after,
    desugar.GO_ON: go_on,
    desugar.UNWRAP: unwrap,
    desugar.CHOOSE: choose,
    desugar.AND: and_,
    desugar.OR: or_,
    desugar.BOTH: both,
    desugar.EITHER: either,
    desugar.NOT: not_,
    desugar.CHAIN: chain,
    desugar.RETURN: Return,
    desugar.BREAK: BREAK,
    desugar.CONTINUE: CONTINUE,
    desugar.LOCALS: locals_,
}

__all__ = ["RUNTIME", "UNROLL", "Jump", "codes_of", "is_scalar", "truth"]
