"""Elementwise ops: which channels the result has, and what the others hold.

    add %x, %y      union: both operands are 0 elsewhere              exp %x       every channel; 1 where x has none
    mul %x, %d      the channels of x, whatever d is elsewhere        add %x, %d   dense, for a dense d

What the channels that no operand stores hold is computed here and now by the op's own NumPy reference, if all
that it takes is known: so `maximum(x, 0)`, `where(x > 0, x, 0.1 * x)` and `x * sigmoid(x)` need no rule of their own.
A channel that is absent from a product is absent from the result, even where the other factor is infinite or NaN
there: a pruned channel is not computed with.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from sparsec.ir.graph import Op, Value
from sparsec.ir.ops.record import Sparse, record
from sparsec.ir.types import BOOL
from sparsec.passes.channels.flow import Flow, Refused, channels_of
from sparsec.passes.channels.live import Live

__all__ = ["elementwise", "elementwise_at"]


def elementwise(flow: Flow, op: Op) -> Live:
    """Raises Refused where the channels that no operand stores do not all hold one known number."""
    states = [flow.state(v) for v in op.operands]
    lives = [s for s in states if isinstance(s, Live)]
    axis, full = channels_of(lives)
    found = _by_zero(flow, op, states) or _by_fills(flow, op, states, full)
    if found is None:
        flow.mixed[op.result.name] = op
        raise Refused(f"{op.name} with a dense operand has a value in every channel")
    index, fill = found
    goal = Live(lives[0].data, index, axis, full, fill)
    data = elementwise_at(flow, op, goal)
    return Live(data, index, axis, full, fill)


def elementwise_at(flow: Flow, op: Op, goal: Live) -> Value:
    """The op on the channels of `goal.index` of all its operands."""
    operands = [_operand(flow, v, goal) for v in op.operands]
    return flow.emit(op.name, *operands, stem=f"{op.result.name}.live", channels=goal, **op.attrs)


def _operand(flow: Flow, value: Value, goal: Live) -> Value:
    found = flow.state(value)
    if not isinstance(found, Live):
        if value.type.shape == ():
            return found
        number = flow.known(found)
        if number is not None:
            return flow.constant(number, value.type.dtype)
    return flow.gathered(value, goal.index, goal.axis)


def _by_zero(flow: Flow, op: Op, states: list[Any]) -> tuple[Value, Any] | None:
    """Where one operand that is 0 makes the result 0, whatever the others are."""
    sparse = record(op.name).sparse
    zero = [isinstance(s, Live) and s.absent for s in states]
    if sparse is Sparse.INTERSECT and any(zero):
        deciding = [s for s, z in zip(states, zero, strict=True) if z]
    elif sparse is Sparse.KEEP and zero[0] and len(states) > 1:
        deciding = states[:1]
    else:
        return None
    index = deciding[0].index
    for other in deciding[1:]:
        index = flow.indexes.intersection(index, other.index)
    return index, op.result.type.dtype.type(0)


def _by_fills(flow: Flow, op: Op, states: list[Any], full: int) -> tuple[Value, Any] | None:
    """Where all that the op takes outside the live channels is known, or gives one number whatever it is: a bool
    has two values only (`where(mask, x, 0)`)."""
    fills: list[tuple[Any, ...]] = []
    for s, value in zip(states, op.operands, strict=True):
        fill = s.fill if isinstance(s, Live) else flow.known(s)
        if fill is None and value.type.dtype != BOOL:
            return None
        fills.append((False, True) if fill is None else (fill,))
    ref = record(op.name).ref
    assert ref is not None
    with np.errstate(all="ignore"):
        made = [np.asarray(ref(*(np.asarray([f]) for f in each), **op.attrs)) for each in product(*fills)]
    numbers = [m.astype(op.result.type.dtype).reshape(-1)[0] for m in made]
    if any(n.tobytes() != numbers[0].tobytes() for n in numbers):
        return None
    lives = [s for s in states if isinstance(s, Live)]
    index = lives[0].index
    for other in lives[1:]:
        index = flow.indexes.union(index, other.index, full)
    return index, numbers[0]
