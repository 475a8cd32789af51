"""Taking channels of a dense value: before the views, and before the ops, that made it.

    %s = broadcast %scale {shape=[1,64,8,8]}              %t = take_channels %scale, %i
    %t = take_channels %s, %i {axis=1}            ->      %s = broadcast %t {shape=[1,k<=32,8,8]}

Parameters of a layer are vectors over channels: it is they that are gathered. An op that became dense only because
of such a vector (`x * scale + shift`) is computed again on the channels that are asked for.
"""

from __future__ import annotations

from sparsec.ir.dims import Dim
from sparsec.ir.graph import Op, Value
from sparsec.ir.ops.record import Kind, record
from sparsec.passes.channels.elementwise import elementwise_at
from sparsec.passes.channels.flow import Flow
from sparsec.passes.channels.live import Live
from sparsec.passes.channels.views import carried_axis, with_axis

__all__ = ["pushed"]


def pushed(flow: Flow, value: Value, index: Value, axis: int) -> Value | None:
    """The channels `index` of `value`, taken further up; None where they are best taken here."""
    count: Dim = index.type.shape[0]
    full = int(value.type.shape[axis])  # type: ignore[arg-type]
    goal = Live(value, index, axis, full, 0)
    mixed = flow.mixed.get(value.name)
    if mixed is not None:
        return elementwise_at(flow, mixed, goal)
    op = flow.made.get(value.name)
    if op is not None and op.name == "spread" and op.attrs["axis"] == axis and op.operands[1].name == index.name:
        return op.operands[0]
    if op is None or record(op.name).kind is not Kind.VIEW:
        return None
    inner = _source_axis(op, axis)
    if inner is None:
        return None
    source = op.operands[0]
    repeated = inner < 0 or source.type.shape[inner] != full
    taken = source if repeated else flow.gathered_dense(source, index, inner)
    attrs = dict(op.attrs)
    key = "size" if op.name == "slice" else "shape"
    if key in attrs:
        attrs[key] = with_axis(attrs[key], axis, count)
    return flow.emit(op.name, taken, stem=f"{value.name}.at", channels=goal, **attrs)


def _source_axis(op: Op, axis: int) -> int | None:
    """The axis of the operand that `axis` of a view is; negative: a new one."""
    shape = op.operands[0].type.shape
    match op.name:
        case "broadcast":
            return axis - len(op.attrs["shape"]) + len(shape)
        case "transpose":
            return int(op.attrs["perm"][axis])
        case "reshape":
            return carried_axis(op.attrs["shape"], axis, shape)
        case "slice":
            whole = (op.attrs["start"][axis], op.attrs["size"][axis], op.attrs["step"][axis]) == (0, shape[axis], 1)
            return axis if whole else None
    return None
