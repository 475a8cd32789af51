"""Reads and writes at places that integer arrays name, channel by channel.

    %c = iota {axis=1, shape=[2,8,3]}                       %c = iota {axis=1, shape=[2,k,3]}
    %y = gather %x, %n, %c, %h : f32[2,8,3]           ->    %y.live = gather %x.live, %n.at, %c, %h.at

NumPy's `x[:, :, rows]` is a gather whose channel index counts through all channels along an axis of the result: that
axis has the channels of x then. A list of channels that is known when compiling, sorted and without repetition
(`x[:, [0, 2]]`), chooses among them as a slice does.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace

import numpy as np

from sparsec.ir.dims import Dim
from sparsec.ir.graph import Op, Value
from sparsec.ir.types import I64
from sparsec.passes.channels.flow import Flow, Refused
from sparsec.passes.channels.live import Live
from sparsec.passes.channels.views import with_axis

__all__ = ["at_live_channels", "gather"]

_REFUSED = "the channels that integers name are not a sorted list that is known when compiling"


def gather(flow: Flow, op: Op) -> Live:
    """Raises Refused where channels are named in another way than one after the other along an axis."""
    x, *indexes = op.operands
    live = flow.live(x)
    if live is None:
        raise Refused("channels of the indexes are absent, but those of what they are used on are not")
    shape = op.result.type.shape
    named = indexes[live.axis]
    axis = counted(flow, named, live.full)
    if axis is not None:
        goal = replace(live, axis=axis)
        data = flow.emit("gather", live.data, *at_live_channels(flow, indexes, live.axis, axis, live.index),
                         stem=f"{op.result.name}.live", channels=goal)
        return replace(goal, data=data)
    counted_along = {_counting(flow, i) for i in indexes if i is not named}
    chosen, axis = _listed(flow, named, counted_along)
    renumbered, places = flow.indexes.among(live.index, flow.indexes.literal(chosen))
    goal = replace(live, index=renumbered, axis=axis, full=len(chosen))
    others = at_live_channels(flow, indexes, live.axis, axis, renumbered)
    at = _along(flow, flow.emit("cast", places, dtype=I64), axis, with_axis(shape, axis, goal.count))
    others[live.axis] = at
    data = flow.emit("gather", live.data, *others, stem=f"{op.result.name}.live", channels=goal)
    return replace(goal, data=data)


def counted(flow: Flow, index: Value, full: int) -> int | None:
    """The axis of the result along which an index counts through all `full` channels; None if it does not."""
    axis = _counting(flow, index)
    return axis if axis is not None and index.type.shape[axis] == full else None


def _counting(flow: Flow, index: Value) -> int | None:
    """The axis that an index counts along; None if it does not."""
    made = flow.made.get(index.name)
    if made is not None and made.name == "transpose":
        axis = _counting(flow, made.operands[0])
        return None if axis is None else int(made.attrs["perm"].index(axis))
    return int(made.attrs["axis"]) if made is not None and made.name == "iota" else None


def at_live_channels(
    flow: Flow, indexes: Sequence[Value], channels: int, axis: int, live: Value
) -> list[Value]:
    """The index operands where only some channels are left along `axis` of the result; number `channels` counts."""
    count = live.type.shape[0]
    found = []
    for number, value in enumerate(indexes):
        shape, along = value.type.shape, axis if number == channels else _counting(flow, value)
        if along is not None and (number == channels or along != axis):
            found.append(flow.emit("iota", dtype=I64, shape=with_axis(shape, axis, count), axis=along))
        else:
            found.append(flow.gathered(value, live, axis) if shape else value)
    return found


def _listed(flow: Flow, index: Value, taken: Container[int | None]) -> tuple[np.ndarray, int]:
    """The channels that an index names, and the axis of the result along which. taken: the axes that others count
    along (where all lengths are 1, nothing else tells axes apart)."""
    value, made = index, flow.made.get(index.name)
    while made is not None and made.name in ("broadcast", "reshape", "transpose", "copy", "cast"):
        value, made = made.operands[0], flow.made.get(made.operands[0].name)
    if made is None or made.name != "const" or value.type.rank != 1:
        raise Refused(_REFUSED)
    entries = np.full(made.attrs["shape"], made.attrs["value"], np.int64)
    axes = [k for k, step in enumerate(index.ref.strides)
            if step != 0 and index.type.shape[k] == len(entries) and k not in taken]
    if len(axes) != 1 or not len(entries) or entries[0] < 0 or (np.diff(entries) <= 0).any():
        raise Refused(_REFUSED)
    return entries.astype(np.int32), axes[0]


def _along(flow: Flow, vector: Value, axis: int, shape: tuple[Dim, ...]) -> Value:
    """A vector along one axis of a shape, the same in all others."""
    line = flow.emit("reshape", vector, shape=with_axis((1,) * len(shape), axis, shape[axis]))
    return flow.emit("broadcast", line, shape=shape)
