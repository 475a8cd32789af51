"""Reductions and products: over other axes channel by channel, over the channels themselves on live ones only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sparsec.ir.graph import Op, Value
from sparsec.ir.loops import Const
from sparsec.ir.ops.record import Fold, record
from sparsec.passes.channels.flow import Flow, Refused
from sparsec.passes.channels.live import Live

__all__ = ["alone", "product", "reduce"]


def reduce(flow: Flow, op: Op) -> Live | Value:
    """Over the channels: what a fold starts at may be left out. Else each channel alone."""
    live = flow.live(op.operands[0])
    assert live is not None
    axes = op.attrs["axes"]
    if live.axis in axes:
        if not _starts_at_fill(op, live):
            raise Refused(f"{op.name} over the channels sees those that are absent")
        if 0 in live.data.type.shape:
            return flow.constant(live.fill, op.result.type.dtype, op.result.type.shape)
        return flow.emit_for(op, op.name, live.data, **op.attrs)
    fold = tuple(live.shape[a] for a in axes)
    if not all(isinstance(d, int) and d for d in fold):
        raise Refused("the length of what is folded is known only at run time")
    ref = record(op.name).ref
    assert ref is not None
    with np.errstate(all="ignore"):
        fill = np.asarray(ref(np.full(fold, live.fill), axes=tuple(range(len(fold))))).astype(op.result.type.dtype)
    goal = replace(live, axis=live.axis - sum(a < live.axis for a in axes), fill=fill[()])
    data = flow.emit(op.name, live.data, stem=f"{op.result.name}.live", channels=goal, **op.attrs)
    return replace(goal, data=data)


def _starts_at_fill(op: Op, live: Live) -> bool:
    """Whether folding in the number that absent channels hold changes nothing."""
    fold = record(op.name).lower
    assert isinstance(fold, Fold)
    start = fold.init(live.data.type.dtype, op.attrs)
    return len(start) == 1 and isinstance(start[0], Const) and bool(start[0].value == live.fill)


def alone(flow: Flow, op: Op) -> Live:
    """An op with loops of its own that makes 0 of 0, channel by channel."""
    live = flow.live(op.operands[0])
    axes = record(op.name).channelwise
    assert live is not None and axes is not None
    if not live.absent or live.axis not in axes(op.attrs, len(live.shape)) or len(op.operands) > 1:
        raise Refused(f"{op.name} does not take each channel for itself here")
    data = flow.emit(op.name, live.data, stem=f"{op.result.name}.live", channels=live, **op.attrs)
    return replace(live, data=data)


def product(flow: Flow, op: Op) -> Live | Value:
    """A matrix product. Over the channels of the left operand, rows of the right one are read through the index."""
    a, b = op.operands
    left, right = flow.absent(a), flow.absent(b)
    rank = a.type.rank
    outer = next((s for s in (left, right) if s and s.axis < rank - 2), None)
    if outer:
        return _batched(flow, op, outer)
    if right and right.axis == rank - 2:
        if left and left.axis == rank - 2:
            columns = flow.gathered_dense(left.data, right.index, rank - 1)
            return _to(flow, op, left, "matmul", columns, right.data)
        return flow.emit_for(op, "matmul", flow.gathered(a, right.index, rank - 1), right.data)
    if left and left.axis == rank - 1:
        if right is None:
            return flow.emit_for(op, "matmul_channels", left.data, flow.dense(b), left.index)
        return _to(flow, op, right, "matmul_channels", left.data, right.data, left.index)
    if left and right:
        return _both_sides(flow, op, left, right)
    if left:
        return _to(flow, op, left, "matmul", left.data, flow.dense(b))
    if right:
        return _to(flow, op, right, "matmul", flow.dense(a), right.data)
    raise Refused("the product has channels on axes that do not meet")


def _batched(flow: Flow, op: Op, live: Live) -> Live:
    """Products for live channels only: each channel has one of its own."""
    a, b = op.operands
    for other in (flow.absent(a), flow.absent(b)):
        if other and other.axis == live.axis:
            live = replace(live, index=flow.indexes.intersection(live.index, other.index))
    return _to(flow, op, live, "matmul", *(flow.gathered(v, live.index, live.axis) for v in (a, b)))


def _both_sides(flow: Flow, op: Op, left: Live, right: Live) -> Live:
    """Live rows times live columns; a value has one channel axis, so the columns are spread."""
    made = flow.emit("matmul", left.data, right.data)
    full = flow.emit("spread", made, right.index, axis=right.axis, full=right.full, channels=left)
    flow.reasons[full.name] = op, "the product has channels on two axes"
    return replace(left, data=full)


def _to(flow: Flow, op: Op, like: Live, name: str, *operands: Value) -> Live:
    """A product of which the result has the channels of an operand, on the same axis."""
    return replace(like, data=flow.emit(name, *operands, stem=f"{op.result.name}.live", channels=like))
