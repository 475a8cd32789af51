"""Writes into arrays that a program fills: padding, and joining along the channel axis.

    %e  = empty {shape=[1,8,4,4]}                          %i  = index_concat %a, %b {offsets=[0,4]}
    %t1 = update %e, %e[:, :4], %x                         %e  = empty {shape=[1,ka+kb,4,4]}
    %t2 = update %t1, %t1[:, 4:], %y                ->     %t1 = update %e, %e[:, :ka], %x.live
    return %t2                                             %t2 = update %t1, %t1[:, ka:], %y.live
                                                           %r  = spread %t2, %i {axis=1, full=8}

A join is known as one when its last part is there: until then its writes wait (`Join`), and are made as they stand
if no part turns out to be live. A write that does not touch the channel axis (zeros around an image) is made on the
channels that are live in what was there or in what is written; one to some of the channels makes those live.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sparsec.ir.dims import Dim
from sparsec.ir.graph import Op, Value
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.types import I32
from sparsec.passes.channels.fancy import at_live_channels, counted
from sparsec.passes.channels.flow import Flow, Later, Refused
from sparsec.passes.channels.live import Live
from sparsec.passes.channels.views import carried_axis, with_axis

__all__ = ["Join", "write"]


@dataclass(frozen=True, slots=True)
class _Window:
    """The region of a write: a slice of its version."""

    start: tuple[Dim, ...]
    size: tuple[Dim, ...]
    step: tuple[int, ...]
    shape: tuple[Dim, ...]

    @property
    def cut(self) -> tuple[int, ...]:
        """The axes of which only a part is written, or in another order."""
        return tuple(k for k, n in enumerate(self.shape) if (self.start[k], self.size[k], self.step[k]) != (0, n, 1))


@dataclass(frozen=True, slots=True)
class Join:
    """Writes that wait: `parts` are (first channel, write). base: the array that they fill; fill: what it holds
    before, None for anything."""

    axis: int
    base: Value
    fill: Any
    parts: tuple[tuple[int, Op], ...]

    def is_whole(self) -> bool:
        at = 0
        for start, op in sorted(self.parts, key=lambda part: part[0]):
            if start != at:
                return False
            at += _length(op, self.axis)
        return at == self.base.type.shape[self.axis]

    def settle(self, flow: Flow) -> Live | None:
        """The array as it is now; None where no part is live, or no index says what is."""
        parts = sorted(self.parts, key=lambda part: part[0])
        states: list[tuple[int, Op, Live | Value]] = [(start, op, flow.state(op.operands[2])) for start, op in parts]
        lives = [s for *_, s in states if isinstance(s, Live)]
        if not lives or any(s.axis != self.axis for s in lives):
            return None
        fill = next((s.fill for s in lives if s.absent), lives[0].fill)
        if not self.is_whole() and not (self.fill is not None and self.fill == fill):
            return None
        why = "other parts of the join hold another number in their absent channels"
        states = [(start, op, s if not isinstance(s, Live) or s.fill == fill else flow.dense(op.operands[2], why, op))
                  for start, op, s in states]
        return self._made(flow, states, fill)

    def _made(self, flow: Flow, states: list[tuple[int, Op, Any]], fill: Any) -> Live:
        states = [part for part in states if isinstance(part[2], Live) or flow.known(part[2]) != fill]
        indexes, data = [], []
        for _, op, state in states:
            stored = isinstance(state, Live)
            indexes.append(state.index if stored else flow.indexes.everything(_length(op, self.axis)))
            data.append(state.data if stored else state)
        index = flow.indexes.concat(tuple(indexes), tuple(start for start, *_ in states))
        shape = self.base.type.shape
        goal = Live(self.base, index, self.axis, int(shape[self.axis]), fill)  # type: ignore[arg-type]
        version = flow.emit("empty", stem=f"{self.base.name}.live", channels=goal, dtype=self.base.type.dtype,
                            shape=with_axis(shape, self.axis, goal.count))
        at: Dim = 0
        zeros, ones = (0,) * len(shape), (1,) * len(shape)
        for part, entries in zip(data, indexes, strict=True):
            count = entries.type.shape[0]
            region = flow.emit("slice", version, start=with_axis(zeros, self.axis, at),
                               size=with_axis(shape, self.axis, count), step=ones)
            version = flow.emit("update", version, region, part, channels=goal)
            at = at + count
        return replace(goal, data=version)


def write(flow: Flow, op: Op) -> Live | Later | Value:
    """Raises Refused for writes to arguments, to what control flow carries, and to channels that integers name."""
    if op.operands[0].storage in flow.fixed or op.name not in ("update", "scatter"):
        raise Refused("the array that is written is kept in full")
    if op.name == "scatter":
        return _scattered(flow, op)
    op, views = _straight(flow, op, _views(flow, *op.operands[:2]))
    version, _, value = op.operands
    window = _window(version, views)
    found = _join(flow, op, window) if window is not None else None
    if found is not None:
        return found
    base, state = flow.state(version), flow.state(value)
    if not isinstance(base, Live) and not isinstance(state, Live):
        raise Refused("")
    if window is not None and not window.cut and value.type.shape == version.type.shape:
        if not isinstance(state, Live):
            return flow.emit("copy", state)
        return replace(state, data=flow.emit("copy", state.data, channels=state))
    return _inside(flow, op, views, base, state)


def _views(flow: Flow, version: Value, region: Value) -> list[Op]:
    """The views that lead from a version to a region of it."""
    found: list[Op] = []
    while region.name != version.name:
        if region.name not in flow.views:
            raise Refused("the array that is written is kept in full")
        found.insert(0, flow.views[region.name])
        region = found[0].operands[0]
    return found


def _straight(flow: Flow, op: Op, views: list[Op]) -> tuple[Op, list[Op]]:
    """A write through transposed slices as one to a slice: its value is transposed instead. Other writes as they
    are."""
    version, _, value = op.operands
    rank = version.type.rank
    start, size, step, perm = [0] * rank, list(version.type.shape), [1] * rank, list(range(rank))
    for view in views:
        if view.name == "transpose":
            perm = [perm[k] for k in view.attrs["perm"]]
        elif view.name == "slice":
            for k, axis in enumerate(perm):
                start[axis] += step[axis] * view.attrs["start"][k]
                step[axis] *= view.attrs["step"][k]
                size[axis] = view.attrs["size"][k]
        else:
            return op, views
    if perm == list(range(rank)) or value.type.rank not in (0, rank):
        return op, views
    region = flow.added("slice", version, start=tuple(start), size=tuple(size), step=tuple(step))
    if value.type.rank:
        value = flow.added("transpose", value, perm=tuple(perm.index(k) for k in range(rank)))
    return replace(op, operands=(version, region, value)), [flow.views[region.name]]


def _window(version: Value, views: Sequence[Op]) -> _Window | None:
    """The views as one slice, if all are slices."""
    shape = version.type.shape
    start: tuple[Dim, ...] = (0,) * len(shape)
    step = (1,) * len(shape)
    for view in views:
        if view.name != "slice":
            return None
        start = tuple(a + by * b for a, by, b in zip(start, step, view.attrs["start"], strict=True))
        step = tuple(a * b for a, b in zip(step, view.attrs["step"], strict=True))
    return _Window(start, views[-1].attrs["size"] if views else shape, step, shape)


def _length(op: Op, axis: int) -> int:
    """How many channels a write covers."""
    return int(op.operands[1].type.shape[axis])  # type: ignore[arg-type]


# --- joins -----------------------------------------------------------------------------------------------


def _join(flow: Flow, op: Op, window: _Window) -> Live | Later | Value | None:
    """The write as part of a join, if it may be one."""
    version, region, value = op.operands
    if len(window.cut) != 1 or value.type.shape not in ((), region.type.shape):
        return None
    (axis,) = window.cut
    live = flow.live(value)
    if live is not None and live.axis != axis:
        return None
    start, size, step = window.start[axis], window.size[axis], window.step[axis]
    waiting = flow.waiting(version)
    if waiting is None:
        fill, fresh = _contents(flow, version)
        waiting = Join(axis, version, fill, ()) if fresh else None
    if waiting is None or waiting.axis != axis or not isinstance(start, int) or not isinstance(size, int):
        return None
    if step != 1 and size > 1:
        return None
    if any(first < start + size and start < first + _length(part, axis) for first, part in waiting.parts):
        return None
    joined = replace(waiting, parts=(*waiting.parts, (start, op)))
    return Later(op, joined)


def _contents(flow: Flow, version: Value) -> tuple[Any, bool]:
    """What an array holds before it is written, and whether that is known: None for anything."""
    found = flow.peek(version)
    if not isinstance(found, Value):
        return None, False
    made = flow.made.get(found.name)
    if made is not None and record(made.name).kind is Kind.CREATE:
        return None, True
    number = flow.known(found)
    return number, number is not None


# --- inside the channels -----------------------------------------------------------------------------------


def _inside(flow: Flow, op: Op, views: Sequence[Op], base: Any, state: Any) -> Live:
    """A write on live channels: the same views lead to the region in them."""
    version = op.operands[0]
    axis, full = _channels(version, views, base, state)
    inner = _axis_in(views, axis)
    if inner is None:
        return _part(flow, op, views, base)
    lives = [s for s in (base, state) if isinstance(s, Live)]
    if isinstance(state, Live) and state.axis != inner:
        raise Refused("its operands have channels on different axes")
    fill = _same_fill(flow, version, base, state)
    index = lives[0].index if len(lives) == 1 else flow.indexes.union(base.index, state.index, full)
    goal = Live(version, index, axis, full, fill)
    if isinstance(base, Live):
        before = flow.owned(base, index)
    elif _contents(flow, version)[0] is None:
        before = flow.emit("empty", channels=goal, dtype=version.type.dtype,
                           shape=with_axis(version.type.shape, axis, goal.count))
    else:
        before = flow.constant(fill, version.type.dtype, with_axis(version.type.shape, axis, goal.count))
    region = _again(flow, views, before, axis, goal.count)
    new = flow.taken(state, index) if isinstance(state, Live) else state
    made = flow.emit("update", before, region, new, stem=f"{op.result.name}.live", channels=goal)
    if version.name in flow.partial or _contents(flow, version) == (None, True):
        flow.partial[op.result.name] = op
    return replace(goal, data=made)


def _scattered(flow: Flow, op: Op) -> Live:
    """A write at places that integers name, on all channels (`y[:, :, rows] = 0`)."""
    version, region, *indexes, value = op.operands
    base, state = flow.state(version), flow.state(value)
    if not isinstance(base, Live) or op.attrs["combine"] != "set":
        raise Refused("" if not isinstance(state, Live) else "the array that is written is kept in full")
    views = _views(flow, version, region)
    inner = _axis_in(views, base.axis)
    axis = counted(flow, indexes[inner], base.full) if inner is not None else None
    if inner is None or axis is None:
        raise Refused("integers name channels that are written")
    lacking = indexes[inner].type.rank - value.type.rank
    if isinstance(state, Live) and state.axis + lacking != axis:
        raise Refused("its operands have channels on different axes")
    goal = replace(base, fill=_same_fill(flow, version, base, state))
    if isinstance(state, Live):
        goal = replace(goal, index=flow.indexes.union(base.index, state.index, base.full))
    before = flow.owned(base, goal.index)
    at = at_live_channels(flow, indexes, inner, axis, goal.index)
    new = flow.taken(state, goal.index) if isinstance(state, Live) else state
    data = flow.emit("scatter", before, _again(flow, views, before, base.axis, goal.count), *at, new,
                     stem=f"{op.result.name}.live", channels=goal, combine="set")
    return replace(goal, data=data)


def _part(flow: Flow, op: Op, views: Sequence[Op], base: Any) -> Live:
    """A write to some of the channels, which are live from then on (but not where what absent ones hold is written).
    They are taken out, written, and put back:

        %b  = take_channels %y, %at                     all that are written, absent ones too
        %b1 = update %b, …
        %y1 = where %written, (%b1 in its place), %y
    """
    if not isinstance(base, Live):
        raise Refused("a part of the channels is written")
    chosen = flow.indexes.literal(_written_channels(views, base.axis))
    block = Live(base.data, chosen, base.axis, base.full, base.fill)
    before = flow.owned(base, chosen)
    region = _again(flow, views, before, base.axis, block.count)
    value = flow.dense(op.operands[2], "it is written to some of the channels", op)
    block = replace(block, data=flow.emit("update", before, region, value, channels=block))
    union = flow.indexes.union(base.index, chosen, base.full)
    goal = replace(base, index=base.index if flow.known(value) == base.fill else union)
    old, new = flow.taken(base, goal.index), flow.taken(block, goal.index)
    written = flow.emit("greater_equal", flow.indexes.positions(goal.index, chosen), flow.constant(0, I32))
    shape = old.type.shape
    ones = with_axis((1,) * len(shape), base.axis, goal.count)
    mask = flow.emit("broadcast", flow.emit("reshape", written, shape=ones), shape=shape)
    data = flow.emit("where", mask, new, old, stem=f"{op.result.name}.live", channels=goal)
    return replace(goal, data=data)


def _channels(version: Value, views: Sequence[Op], base: Any, state: Any) -> tuple[int, int]:
    """The channel axis of a version, and how many channels there are in all."""
    if isinstance(base, Live):
        return base.axis, base.full
    for axis, size in enumerate(version.type.shape):
        if size == state.full and _axis_in(views, axis) == state.axis:
            return axis, state.full
    raise Refused("a part of the channels is written")


def _axis_in(views: Sequence[Op], axis: int) -> int | None:
    """What an axis of a version is in a region of it; None where only a part of the axis is."""
    found: int | None = axis
    for view in views:
        if found is None:
            return None
        found = _axis_through(view, found)
    return found


def _axis_through(view: Op, axis: int) -> int | None:
    """What an axis is in a view; None where only a part of it is. Raises Refused for views that mix axes."""
    shape = view.operands[0].type.shape
    match view.name:
        case "slice":
            seen = tuple(view.attrs[key][axis] for key in ("start", "size", "step"))
            return axis if seen == (0, shape[axis], 1) else None
        case "transpose":
            return int(view.attrs["perm"].index(axis))
        case "reshape":
            found = carried_axis(shape, axis, view.attrs["shape"])
            if found is not None and (found == axis or shape[axis] != 1):
                return found
    raise Refused("the array that is written is kept in full")


def _again(flow: Flow, views: Sequence[Op], data: Value, axis: int, count: Dim) -> Value:
    """The region that views lead to, in an array of `count` channels: those that a write covers."""
    at: int | None = axis
    for view in views:
        attrs = dict(view.attrs)
        if at is not None:
            there = _axis_through(view, at)
            if view.name == "slice":
                attrs.update(start=with_axis(attrs["start"], at, 0), size=with_axis(attrs["size"], at, count),
                             step=with_axis(attrs["step"], at, 1))
            elif view.name == "reshape" and there is not None:
                attrs["shape"] = with_axis(attrs["shape"], there, count)
            at = there
        try:
            data = flow.emit(view.name, data, **attrs)
        except ValueError:  # no strides say it
            raise Refused("the array that is written is kept in full") from None
    return data


def _written_channels(views: Sequence[Op], axis: int) -> np.ndarray[Any, Any]:
    """The channels that a write covers. Raises Refused where they are known only at run time, or in reverse."""
    for view in views:
        there = _axis_through(view, axis)
        if there is None:
            start, size, step = (view.attrs[key][axis] for key in ("start", "size", "step"))
            if not isinstance(start, int) or not isinstance(size, int) or step < 0 or not size:
                break
            return start + step * np.arange(size, dtype=np.int32)
        axis = there
    raise Refused("the written channels are known only at run time, or in reverse")


def _same_fill(flow: Flow, version: Value, base: Any, state: Any) -> Any:
    """What absent channels hold before and after the write. Raises Refused where that is not one number."""
    written = state.fill if isinstance(state, Live) else flow.known(state) if not state.type.shape else None
    if written is None:
        raise Refused("an array with all channels is written into one that has few")
    if isinstance(base, Live):
        held, known = base.fill, True
    else:
        held, known = _contents(flow, version)
    if not known or (held is not None and held != written):
        raise Refused("absent channels would hold two different numbers")
    return written
