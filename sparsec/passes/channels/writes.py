"""Writes into arrays that a program fills: padding, and joining along the channel axis.

    %e  = empty {shape=[1,8,4,4]}                          %i  = index_concat %a, %b {offsets=[0,4]}
    %t1 = update %e, %e[:, :4], %x                         %e  = empty {shape=[1,ka+kb,4,4]}
    %t2 = update %t1, %t1[:, 4:], %y                ->     %t1 = update %e, %e[:, :ka], %x.live
    return %t2                                             %t2 = update %t1, %t1[:, ka:], %y.live
                                                           %r  = spread %t2, %i {axis=1, full=8}

A join is known as one when its last part is there: until then its writes wait (`Join`), and are made as they stand
if no part turns out to be live. A write that does not touch the channel axis (zeros around an image) is made on the
channels that are live in what was there or in what is written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sparsec.ir.dims import Dim
from sparsec.ir.graph import Op, Value
from sparsec.ir.ops.record import Kind, record
from sparsec.passes.channels.flow import Flow, Later, Refused, whole
from sparsec.passes.channels.live import Live
from sparsec.passes.channels.views import with_axis

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
    """Raises Refused for writes to arguments, to what control flow carries, and through other views than slices."""
    version, region, value = op.operands
    window = _window(flow, version, region)
    if not record(op.name).region or op.name != "update" or window is None or version.storage in flow.fixed:
        raise Refused("the array that is written is kept in full")
    found = _join(flow, op, window)
    if found is not None:
        return found
    base, state = flow.state(version), flow.state(value)
    if not isinstance(base, Live) and not isinstance(state, Live):
        raise Refused("")
    if not window.cut and value.type.shape == version.type.shape:
        return state if isinstance(state, Live) else flow.emit("copy", state)
    return _inside(flow, op, window, base, state)


def _window(flow: Flow, version: Value, region: Value) -> _Window | None:
    """The slices that lead from the version to the region, as one."""
    shape = version.type.shape
    start: tuple[Dim, ...] = (0,) * len(shape)
    step = (1,) * len(shape)
    views = []
    while region.name != version.name:
        view = flow.views.get(region.name)
        if view is None or view.name != "slice":
            return None
        views.append(view)
        region = view.operands[0]
    for view in reversed(views):
        start = tuple(a + by * b for a, by, b in zip(start, step, view.attrs["start"], strict=True))
        step = tuple(a * b for a, b in zip(step, view.attrs["step"], strict=True))
    return _Window(start, views[0].attrs["size"] if views else shape, step, shape)


def _length(op: Op, axis: int) -> int:
    """How many channels a write covers."""
    return int(op.operands[1].type.shape[axis])  # type: ignore[arg-type]


# --- joins -----------------------------------------------------------------------------------------------


def _join(flow: Flow, op: Op, window: _Window) -> Live | Later | Value | None:
    """The write as part of a join, if it may be one."""
    version, region, value = op.operands
    if len(window.cut) != 1 or value.type.shape != region.type.shape:
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


def _inside(flow: Flow, op: Op, window: _Window, base: Any, state: Any) -> Live:
    """A write that covers the channel axis, on live channels."""
    version, *_ = op.operands
    lives = [s for s in (base, state) if isinstance(s, Live)]
    axis, full = lives[0].axis, int(version.type.shape[lives[0].axis])  # type: ignore[arg-type]
    if axis in window.cut or any(s.axis != axis for s in lives):
        raise Refused("a part of the channels is written")
    fill = _same_fill(flow, version, base, state)
    index = lives[0].index if len(lives) == 1 else flow.indexes.union(base.index, state.index, full)
    goal = Live(lives[0].data, index, axis, full, fill)
    shape = with_axis(version.type.shape, axis, goal.count)
    if isinstance(base, Live):
        before = flow.taken(base, index)
        if before.storage in flow.fixed or not whole(before):
            before = flow.emit("copy", before, channels=goal)
    elif _contents(flow, version)[0] is None:
        before = flow.emit("empty", channels=goal, dtype=version.type.dtype, shape=shape)
    else:
        before = flow.constant(fill, version.type.dtype, shape)
    new = flow.taken(state, index) if isinstance(state, Live) else state
    region = flow.emit("slice", before, start=window.start, size=with_axis(window.size, axis, goal.count),
                       step=window.step)
    made = flow.emit("update", before, region, new, stem=f"{op.result.name}.live", channels=goal)
    return replace(goal, data=made)


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
