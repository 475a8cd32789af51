"""A convolution with strides reads an image that is taken apart by them.

    %y = conv2d %x, %w {stride=[2, 2], …}     ->     %p = phases %x {stride=[2, 2], …}
                                                     %y = conv2d %p, %w {stride=[2, 2], extent=[56, 56], …}

What neighbouring outputs read at one tap are then neighbours too, so that a vector of them is one load. One pass over
the input pays for it; the phases that no tap reads are left out. The weights stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from sparsec.ir.builder import Names
from sparsec.ir.dims import Poly
from sparsec.ir.forms import Form
from sparsec.ir.graph import Func, Op, Region, Value
from sparsec.ir.ops.record import record
from sparsec.passes.base import Pass
from sparsec.passes.rebuild import all_names

__all__ = ["SplitStrides"]


@dataclass(frozen=True)
class SplitStrides(Pass):
    """Convolutions over images of known height and width."""

    name: ClassVar[str] = "split-strides"
    requires: ClassVar[Form] = Form.VIEWS_RESOLVED

    def run(self, func: Func) -> Func:
        names = Names(all_names(func))
        return replace(func, ops=_ops(func.ops, names))


def _ops(ops: tuple[Op, ...], names: Names) -> tuple[Op, ...]:
    return tuple(new for op in ops for new in _op(op, names))


def _op(op: Op, names: Names) -> tuple[Op, ...]:
    if op.regions:
        regions = tuple(Region(r.params, _ops(r.ops, names), r.yields) for r in op.regions)
        return (replace(op, regions=regions),)
    if not {"stride", "extent"} <= set(record(op.name).attrs) or not record(op.name).once:
        return (op,)
    image, weight, *lists = op.operands
    stride = op.attrs["stride"]
    if op.attrs["extent"] or stride == (1, 1) or any(isinstance(d, Poly) for d in image.type.shape[2:]):
        return (op,)
    extent = tuple(int(d) for d in image.type.shape[2:])  # type: ignore[arg-type]
    taps = tuple(int(d) for d in weight.type.shape[2:])  # type: ignore[arg-type]
    taken = tuple(map(_phases, taps, stride, op.attrs["dilation"], op.attrs["padding"]))
    outputs = tuple(int(d) for d in op.result.type.shape[2:])  # type: ignore[arg-type]
    size = tuple(max(-(-length // step), count) for length, step, count in zip(extent, stride, outputs))
    shape = (*image.type.shape[:2], *taken, *size)
    planes = Value(names.fresh(f"{image.name}.phases"), replace(image.type.fresh(), shape=shape))
    attrs = {"stride": stride, "size": size, "taken": taken, "extent": extent}
    apart = Op("phases", (image,), (planes,), attrs, (), op.loc)
    return apart, replace(op, operands=(planes, weight, *lists), attrs={**op.attrs, "extent": extent})


def _phases(taps: int, stride: int, dilation: int, padding: tuple[int, int]) -> int:
    """How many phases from the first hold all that taps read."""
    return 1 + max((tap * dilation - padding[0]) % stride for tap in range(taps))
