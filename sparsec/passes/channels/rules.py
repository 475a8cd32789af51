"""Which rule an op has: by its kind and by what its record says, in one place."""

from __future__ import annotations

from sparsec.ir.graph import Op, Value
from sparsec.ir.ops.record import Kind, record
from sparsec.passes.channels.elementwise import elementwise
from sparsec.passes.channels.flow import Flow, Refused, Rule
from sparsec.passes.channels.folds import product, reduce
from sparsec.passes.channels.push import pushed
from sparsec.passes.channels.views import view

__all__ = ["ChannelRules"]


def take(flow: Flow, op: Op) -> Value:
    """Channels taken of a live value: its data, where they are the same."""
    value, at = op.operands
    index = flow.dense(at)
    if not flow.indexes.is_index(index):
        raise Refused("the channels that are taken are not known to be an index")
    return flow.gathered(value, index, op.attrs["axis"])


_KINDS: dict[Kind, Rule] = {Kind.ELEMENTWISE: elementwise, Kind.VIEW: view, Kind.REDUCE: reduce}
_NAMES: dict[str, Rule] = {"take_channels": take, "matmul": product}


class ChannelRules:
    """The rules of all ops. An op that reads channels through an index has one of its own."""

    def of(self, op: Op) -> Rule | None:
        return _NAMES.get(op.name) or _KINDS.get(record(op.name).kind)

    def always(self, op: Op) -> bool:
        return op.name == "take_channels"

    def pushed(self, flow: Flow, value: Value, index: Value, axis: int) -> Value | None:
        return pushed(flow, value, index, axis)
