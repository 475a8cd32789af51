"""Views of live values: the same view of the compact data, and an index that follows the channel axis.

A reshape that joins the channel axis with those behind it makes each channel as many neighbouring ones, with those
before it the index is repeated; a slice along the channel axis keeps the chosen channels under new numbers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sparsec.ir.dims import Dim, product, quotient
from sparsec.ir.graph import Op, Value
from sparsec.passes.channels.flow import Flow, Refused
from sparsec.passes.channels.live import Live

__all__ = ["carried_axis", "view", "with_axis"]

Shape = tuple[Dim, ...]

#: An index is repeated so often, at most, to say which channels an axis has that is one of batches, too.
_MOST_STACKED = 64


def view(flow: Flow, op: Op) -> Live:
    """Raises Refused for views that mix channels with other axes."""
    live = flow.live(op.operands[0])
    assert live is not None
    rule = _RULES.get(op.name)
    if rule is None:
        raise Refused(f"{op.name} mixes channels with another axis")
    return rule(flow, op, live)


def with_axis(shape: Shape, axis: int, size: Dim) -> Shape:
    """The shape with another length of one axis."""
    return (*shape[:axis], size, *shape[axis + 1 :])


def carried_axis(old: Shape, axis: int, new: Shape) -> int | None:
    """The axis of `new` that `axis` of `old` becomes in a reshape, if it stays one."""
    before, size = product(old[:axis]), old[axis]
    fitting = [k for k, d in enumerate(new) if d == size and product(new[:k]) == before]
    return axis if axis in fitting else fitting[0] if fitting else None


def _made(flow: Flow, op: Op, live: Live, data: Value, **attrs: Any) -> Live:
    """`live`, with the view of its data that the op is with other attributes."""
    given = {**op.attrs, **attrs}
    stem = f"{op.result.name}.live"
    try:
        seen = flow.emit(op.name, data, stem=stem, channels=live, **given)
    except ValueError:  # no strides say it: compact data may lie otherwise than the whole
        seen = flow.emit(op.name, flow.emit("copy", data), stem=stem, channels=live, **given)
    return replace(live, data=seen)


def _transpose(flow: Flow, op: Op, live: Live) -> Live:
    return _made(flow, op, replace(live, axis=op.attrs["perm"].index(live.axis)), live.data)


def _broadcast(flow: Flow, op: Op, live: Live) -> Live:
    target = op.attrs["shape"]
    axis = live.axis + len(target) - len(live.shape)
    if target[axis] != live.full:
        raise Refused("its only channel is repeated")
    return _made(flow, op, replace(live, axis=axis), live.data, shape=with_axis(target, axis, live.count))


def _slice(flow: Flow, op: Op, live: Live) -> Live:
    axis = live.axis
    start, size, step = (op.attrs[key] for key in ("start", "size", "step"))
    data = live.data
    if (start[axis], size[axis], step[axis]) != (0, live.full, 1):
        live = _chosen(flow, live, start[axis], step[axis], size[axis])
        data, start, step = live.data, with_axis(start, axis, 0), with_axis(step, axis, 1)
    return _made(flow, op, live, data, start=start, size=with_axis(size, axis, live.count), step=step)


def _chosen(flow: Flow, live: Live, start: Any, step: int, count: Any) -> Live:
    """Some of the channels, under their new numbers."""
    if not isinstance(start, int) or not isinstance(count, int) or step < 0 or not count:
        raise Refused("the chosen channels are known only at run time, or in reverse")
    index, places = flow.indexes.sliced(live.index, start, step, count)
    goal = replace(live, index=index, full=count)
    if 0 in live.data.type.shape:
        return replace(goal, data=live.data)
    stem = f"{live.data.name}.of"
    data = flow.emit("take_channels", live.data, places, axis=live.axis, fill=None, stem=stem, channels=goal)
    return replace(goal, data=data)


def _reshape(flow: Flow, op: Op, live: Live) -> Live:
    old, new = live.shape, op.attrs["shape"]
    axis = carried_axis(old, live.axis, new)
    if axis is not None and (axis == live.axis or live.full > 1):  # of several axes of length 1, any would do
        return _made(flow, op, replace(live, axis=axis), live.data, shape=with_axis(new, axis, live.count))
    before = product(old[: live.axis])
    times = [quotient(before, product(new[:k])) for k in range(len(new))]
    for k in sorted(range(len(new)), key=lambda k: times[k] != 1):  # the other axes last
        found = _index_on(flow, live, new[k], times[k])
        if found is not None:
            goal = replace(live, axis=k, index=found, full=int(new[k]))
            return _made(flow, op, goal, live.data, shape=with_axis(new, k, goal.count))
    return _reshape(flow, op, _unstacked(flow, op, live))


def _index_on(flow: Flow, live: Live, size: Dim, times: Dim | None) -> Value | None:
    """The index of an axis that has the channels, axes behind them or parts of them, and `times` as much before."""
    if times == 1:
        return _joined(flow, live, size) or _split(flow, live, size)
    if not isinstance(times, int) or times > _MOST_STACKED:
        return None
    return _stacked(flow, live, size, times)


def _stacked(flow: Flow, live: Live, size: Dim, times: int) -> Value | None:
    """The index after the channel axis was joined with `times` from axes before it, and some behind it."""
    by = quotient(size, live.full * times)
    behind = product(live.shape[live.axis + 1 :])
    if not isinstance(by, int) or not isinstance(behind, int) or by < 1 or behind % by:
        return None
    index = live.index if by == 1 else flow.indexes.expand(live.index, by)
    return flow.indexes.stacked(index, times, live.full * by)


def _unstacked(flow: Flow, op: Op, live: Live) -> Live:
    """The value with the axes apart that `_stacked` joined."""
    source, times = flow.indexes.unstacked(live.index)
    if source is None:
        raise Refused("the reshape mixes channels with another axis")
    full = live.full // times
    shape = (*live.shape[: live.axis], times, full, *live.shape[live.axis + 1 :])
    goal = replace(live, axis=live.axis + 1, index=source, full=full)
    return _made(flow, op, goal, live.data, shape=with_axis(shape, goal.axis, goal.count))


def _joined(flow: Flow, live: Live, size: Dim) -> Value | None:
    """The index after the channel axis took in axes behind it."""
    by = quotient(size, live.full)
    behind = product(live.shape[live.axis + 1 :])
    if not isinstance(by, int) or not isinstance(behind, int) or by < 2 or behind % by:
        return None
    return flow.indexes.expand(live.index, by)


def _split(flow: Flow, live: Live, size: Dim) -> Value | None:
    """The index before it was made wider by such a reshape."""
    by = quotient(live.full, size) if isinstance(size, int) and size else None
    return flow.indexes.gathered(live.index, by) if isinstance(by, int) else None


_RULES = {"transpose": _transpose, "broadcast": _broadcast, "slice": _slice, "reshape": _reshape}
