"""Convolutions: input channels are read through the index of the input, result channels are those of the weights.

    conv2d %x, %w          x live on channels %i, w on rows %o (its own output channels)
                    ->     conv2d %x.live, %w.live, %i {extras=["inputs"]} : f32[1, o<=32 of 64 @%o, 56, 56]

Weights stay where they are and as they are: the kernel reads them through the lists and skips the rest. A channel
of a depthwise convolution is absent where its only input is.
"""

from __future__ import annotations

from dataclasses import replace

from sparsec.ir.graph import Op, Value
from sparsec.passes.channels.flow import Flow, Refused
from sparsec.passes.channels.live import Live

__all__ = ["convolution"]


_NUMBER = "the channels that are not stored hold a number other than 0"


def convolution(flow: Flow, op: Op) -> Live | Value:
    """Raises Refused for live values on other axes than channels, and for lists that the program itself gives."""
    x, w = op.operands[:2]
    image, weight = flow.absent(x), flow.absent(w)
    if op.attrs["extras"]:
        raise Refused("the convolution has lists of channels already")
    if image is None and weight is None:
        raise Refused(_NUMBER)
    if not all(isinstance(d, int) for d in (x.type.shape[1], w.type.shape[0])):
        raise Refused("the number of all channels is known only at run time")
    if image is not None and image.axis != 1:
        raise Refused("only the channels of an image may be absent from a convolution")
    if weight is not None and weight.axis == 1 and op.attrs["groups"] == 1 and isinstance(weight.count, int):
        # Pruned on the input side: those channels of the image, in the order of the weights.
        chosen = flow.gathered(x, weight.index, 1)
        return flow.emit_for(op, "conv2d", chosen, weight.data, **op.attrs)
    if weight is not None and weight.axis != 0:
        raise Refused("weights may lack output channels, or without groups input channels that are static")
    return _through_lists(flow, op, image, weight)


def _through_lists(flow: Flow, op: Op, image: Live | None, weight: Live | None) -> Live | Value:
    x, w = op.operands[:2]
    full_in, full_out = (int(v.type.shape[k]) for v, k in ((x, 1), (w, 0)))  # type: ignore[arg-type]
    index = _result_index(flow, op, image, weight, full_in, full_out)
    lists: dict[str, Value] = {}
    if image is not None:
        lists["inputs"] = image.index
    if index is not None and (weight is None or index.name != weight.index.name):
        lists["rows"] = index if weight is None else flow.indexes.positions(index, weight.index)
    if weight is not None and op.attrs["groups"] > 1:
        lists["outputs"] = weight.index
    data = [s.data if s else flow.dense(v, _NUMBER, op) for s, v in ((image, x), (weight, w))]
    operands = (*data, *lists.values())
    attrs = {**op.attrs, "extras": tuple(lists), "in_channels": full_in, "out_channels": full_out}
    if index is None:
        return flow.emit_for(op, "conv2d", *operands, **attrs)
    goal = Live(operands[0], index, 1, full_out, op.result.type.dtype.type(0))
    return replace(goal, data=flow.emit("conv2d", *operands, stem=f"{op.result.name}.live", channels=goal, **attrs))


def _result_index(
    flow: Flow, op: Op, image: Live | None, weight: Live | None, full_in: int, full_out: int
) -> Value | None:
    """The channels that are computed; None for all. In a group of one input, no input means no output."""
    own = weight.index if weight is not None else None
    groups = op.attrs["groups"]
    if image is None or groups == 1 or groups != full_in:
        return own
    times = full_out // groups
    fed = image.index if times == 1 else flow.indexes.expand(image.index, times)
    return fed if own is None else flow.indexes.intersection(fed, own)
