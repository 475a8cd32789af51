"""Which rule an op has: by its kind and by what its record says, in one place."""

from __future__ import annotations

from dataclasses import replace

from sparsec.ir.graph import Op, Value
from sparsec.ir.ops.record import Kind, Sparse, record
from sparsec.passes.channels.control import control
from sparsec.passes.channels.convolution import convolution
from sparsec.passes.channels.elementwise import elementwise
from sparsec.passes.channels.fancy import gather
from sparsec.passes.channels.flow import Flow, Refused, Rule
from sparsec.passes.channels.folds import alone, product, reduce
from sparsec.passes.channels.live import Live
from sparsec.passes.channels.push import pushed
from sparsec.passes.channels.views import view
from sparsec.passes.channels.writes import write

__all__ = ["ChannelRules"]


def take(flow: Flow, op: Op) -> Live | Value:
    """Channels taken of a live value: its data, where they are the same. Along another axis: of each channel."""
    value, at = op.operands
    index, axis = flow.dense(at), op.attrs["axis"]
    live = flow.live(value)
    if live is not None and live.axis != axis:
        if op.attrs["fill"] not in (None, live.element()):
            raise Refused("absent channels would hold two different numbers")
        data = flow.emit(op.name, live.data, index, stem=f"{op.result.name}.live", channels=live, **op.attrs)
        return replace(live, data=data)
    if not flow.indexes.is_index(index):
        raise Refused("the channels that are taken are not known to be an index")
    found = flow.gathered(value, index, axis)
    return flow.emit("copy", found) if found.storage in flow.fixed else found


_KINDS: dict[Kind, Rule] = {Kind.ELEMENTWISE: elementwise, Kind.VIEW: view, Kind.REDUCE: reduce, Kind.UPDATE: write}
_NAMES: dict[str, Rule] = {"take_channels": take, "gather": gather, "matmul": product, "conv2d": convolution}


class ChannelRules:
    """The rules of all ops. An op that reads channels through an index has one of its own."""

    def of(self, op: Op) -> Rule | None:
        rec = record(op.name)
        if rec.channelwise is not None and rec.sparse is Sparse.KEEP:
            return alone
        return _NAMES.get(op.name) or _KINDS.get(rec.kind)

    def always(self, op: Op) -> bool:
        return op.name == "take_channels" or record(op.name).kind is Kind.UPDATE

    def pushed(self, flow: Flow, value: Value, index: Value, axis: int) -> Value | None:
        return pushed(flow, value, index, axis)

    def control(self, flow: Flow, op: Op) -> None:
        control(flow, op)
