"""Loops and branches: what they hand on stays compact where all that is handed on has channels that are known.

    %y = for … %x (%p: f32[1,8,4,4]) {                %y.live = for … %x.live (%p.live: f32[1,k of 8 @%i,4,4]) {
      %t = mul %p, %w                           ->      %t.live = mul %p.live, %w.at
      yield %t                                          yield %t.live
    } : f32[1,8,4,4]                                  } : f32[1,k of 8 @%i,4,4]

Which channels a turn leaves is known once it is walked. It is walked with the channels that there are at the start
(an array full of zeros has none), and again with all that are added, until a turn adds none; what does not come to
rest, or has no known number elsewhere, is carried whole. A branch leaves the channels of both of its ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from sparsec.ir.graph import Op, Region, Value, free_values, walk
from sparsec.ir.ops.control import FIXED_OPERANDS, control_op
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.types import TensorType
from sparsec.passes.channels.flow import Flow
from sparsec.passes.channels.live import Live, annotated
from sparsec.passes.channels.views import with_axis

__all__ = ["control"]

#: A loop is walked so often; what still changes then is carried whole.
_MOST = 4

_WAYS = "the ways of a branch leave arrays that do not go together"
_TURNS = "a loop changes which channels there are, or what the others hold"


@dataclass(frozen=True, slots=True)
class _Number:
    """All elements are one number: whatever channels are asked for."""

    fill: Any


#: What is handed on: the channels of a Live (its data aside), a number, or None for a whole array.
_Carried = Live | _Number | None


def control(flow: Flow, op: Op) -> None:
    """Writes down a loop or a branch."""
    for value in (*op.operands, *free_values(op)):
        flow.state(value)  # what waits is written down in front
    if not any(v.name in flow.env for v in (*op.operands, *free_values(op))) and not any(
        inner.name == "spread" for inner in walk([op])
    ):
        flow.write_down(op)
        return
    if op.name == "if":
        _branch(flow, op)
    else:
        _loop(flow, op)


def _branch(flow: Flow, op: Op) -> None:
    """Writes down a branch. A way that writes to an array from outside must leave that array. Where one leaves
    another (of more channels, say), ways write to copies of what is compact; where that does not help, arrays stay
    whole."""
    test = flow.dense(op.operands[0], "a branch needs its condition", op)
    regions, carried = _ways(flow, op)
    if _loses(regions):
        with flow.apart():
            regions, carried = _ways(flow, op)
    if _loses(regions):
        flow.fixed.update(v.storage for v in op.results if v.type.ref is not None)
        regions, carried = _ways(flow, op)
    _write(flow, op, (test,), regions, carried)


def _loses(regions: Sequence[Region]) -> bool:
    """Whether a way of a branch writes to an array from outside that is no result of the branch."""
    kept = {a.storage for a, *others in zip(*(r.yields for r in regions), strict=True)
            if all(b.storage == a.storage for b in others)}
    for region in regions:
        kept |= {r.name for op in region.ops for r in op.results}  # made inside
    return any(
        r.type.ref is not None and r.storage not in kept
        for region in regions for op in region.ops if record(op.name).kind in (Kind.UPDATE, Kind.CONTROL)
        for r in op.results
    )


def _ways(flow: Flow, op: Op) -> tuple[list[Region], list[_Carried]]:
    """Both ways of a branch, and what may be said of what they leave."""
    flow.forget(op)
    blocks: list[list[Op]] = []
    states = []
    for region in op.regions:
        ops: list[Op] = []
        with flow.block(ops):
            states.append(_walked(flow, region))
        blocks.append(ops)
    carried = [
        _both(flow, _seen(flow, a), _seen(flow, b)) if v.storage not in flow.fixed else None
        for a, b, v in zip(*states, op.results, strict=True)
    ]
    regions = []
    for region, ops in zip(op.regions, blocks, strict=True):
        with flow.block(ops):
            yields = tuple(_handed(flow, v, c, _WAYS, op) for v, c in zip(region.yields, carried, strict=True))
        regions.append(Region((), tuple(ops), yields))
    return regions, carried


def _loop(flow: Flow, op: Op) -> None:
    fixed = FIXED_OPERANDS[op.name]
    front = tuple(flow.dense(v, "a loop needs its bounds", op) for v in op.operands[:fixed])
    given = op.operands[fixed:]
    carried = [None if v.storage in flow.fixed else _seen(flow, flow.state(v)) for v in given]
    *tests, turn = op.regions
    for attempt in count(1):
        flow.forget(op)
        region, left = _turn(flow, op, turn, given, carried)
        found = [_both(flow, c, _seen(flow, s)) for c, s in zip(carried, left, strict=True)]
        if attempt >= _MOST:
            found = [c if _same(c, f) else None for c, f in zip(carried, found, strict=True)]
        if all(map(_same, carried, found)):
            if not any(isinstance(c, _Number) for c in carried):
                break
            found = [None if isinstance(c, _Number) else c for c in carried]
        carried = found
    regions = [*(_test(flow, op, test, given, carried) for test in tests), region]
    operands = (*front, *(_handed(flow, v, c, _TURNS, op) for v, c in zip(given, carried, strict=True)))
    _write(flow, op, operands, regions, carried)


def _turn(
    flow: Flow, op: Op, region: Region, given: Sequence[Value], carried: Sequence[_Carried]
) -> tuple[Region, list[Live | Value]]:
    """One turn of a loop, if it begins with that; and what it leaves."""
    ops: list[Op] = []
    counters, params = _params(flow, op, region, given, carried)
    with flow.block(ops, (*region.params, *params)):
        left = _walked(flow, region)
        yields = tuple(_handed(flow, v, c, _TURNS, op) for v, c in zip(region.yields, carried, strict=True))
    return Region((*counters, *params), tuple(ops), yields), left


def _test(
    flow: Flow, op: Op, region: Region, given: Sequence[Value], carried: Sequence[_Carried]
) -> Region:
    """The condition of a `while`."""
    ops: list[Op] = []
    _, params = _params(flow, op, region, given, carried)
    with flow.block(ops, (*region.params, *params)):
        _walked(flow, region)
        yields = tuple(flow.dense(v, "a loop needs its condition", op) for v in region.yields)
    return Region(params, tuple(ops), yields)


def _params(
    flow: Flow, op: Op, region: Region, given: Sequence[Value], carried: Sequence[_Carried]
) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    """The block arguments: a loop's counter, and what is carried."""
    counters, olds = region.params[: -len(given) or None], region.params[len(region.params) - len(given) :]
    made = []
    for old, value, c in zip(olds, given, carried, strict=True):
        if isinstance(c, Live):
            shape = with_axis(old.type.shape, c.axis, c.count)
            type = annotated(TensorType(old.type.dtype, shape), c.axis, c.full, c.index)
            new = Value(flow.names.fresh(f"{old.name}.live"), type)
            flow.define(old, replace(c, data=new))
        else:
            ref = flow.rooted(value, _TURNS, op).ref if old.type.ref is not None and c is None else old.type.ref
            new = Value(old.name, old.type.with_ref(ref) if ref is not None else old.type)
            if isinstance(c, _Number):
                flow.define(old, flow.state(value))
            elif new != old:
                flow.define(old, new)
            if ref is not None and c is None:
                flow.fixed.update((ref.storage, old.storage))  # written in place, in every turn: here and before
        made.append(new)
    return counters, tuple(made)


def _walked(flow: Flow, region: Region) -> list[Live | Value]:
    """Walks the ops of a region; what it yields."""
    for op in region.ops:
        flow.add(op)
    return [flow.state(v) for v in region.yields]


def _write(flow: Flow, op: Op, operands: Sequence[Value], regions: Sequence[Region], carried: list[_Carried]) -> None:
    names = [
        flow.names.fresh(f"{old.name}.live") if isinstance(c, Live) else old.name
        for old, c in zip(op.results, carried, strict=True)
    ]
    made = control_op(op.name, operands, regions, names, op.loc)
    flow.write_down(made)
    for old, new, c in zip(op.results, made.results, carried, strict=True):
        if isinstance(c, Live):
            flow.define(old, replace(c, data=new))
        elif new != old:
            flow.define(old, new)


# --- what is handed on ---------------------------------------------------------------------------------------


def _seen(flow: Flow, state: Live | Value) -> _Carried:
    """What may be said of a value elsewhere."""
    if isinstance(state, Live):
        return state
    number = flow.known(state) if state.type.rank else None
    return None if number is None else _Number(number)


def _both(flow: Flow, a: _Carried, b: _Carried) -> _Carried:
    """What may be said of both; None for nothing."""
    if a is None or b is None or not _equal(a.fill, b.fill):
        return None
    if isinstance(a, _Number) or isinstance(b, _Number):
        found = b if isinstance(a, _Number) else a
        return found if isinstance(found, _Number) or _around(flow, found.index) else None
    if (a.axis, a.full) != (b.axis, b.full) or not (_around(flow, a.index) and _around(flow, b.index)):
        return None
    return replace(a, index=flow.indexes.union(a.index, b.index, a.full))


def _around(flow: Flow, index: Value) -> bool:
    """Whether an index is known outside all loops and branches, where those of arguments and literals are."""
    return flow.home(index) == 0


def _same(a: _Carried, b: _Carried) -> bool:
    if isinstance(a, Live) and isinstance(b, Live):
        return a.index.name == b.index.name
    return type(a) is type(b)


def _equal(a: Any, b: Any) -> bool:
    return bool(a == b) or bool(a != a and b != b)


def _handed(flow: Flow, value: Value, carried: _Carried, why: str, op: Op) -> Value:
    """A value as it is handed on. What is carried as a number is so only until more is known."""
    if carried is None:
        return flow.rooted(value, why, op) if value.type.ref is not None else flow.dense(value, why, op)
    state = flow.state(value)
    if isinstance(carried, _Number):
        return state.data if isinstance(state, Live) else state
    if isinstance(state, Live):
        same = state.axis == carried.axis and _equal(state.fill, carried.fill)
        return flow.taken(state, carried.index) if same else state.data
    number = flow.known(state)
    shape = with_axis(value.type.shape, carried.axis, carried.count)
    return flow.constant(number, value.type.dtype, shape) if number is not None else state
