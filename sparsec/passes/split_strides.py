"""A convolution reads an image that is taken apart by its strides, or by the columns of its window.

    %y = conv2d %x, %w {stride=[2, 2], …}     ->     %p = phases %x {stride=[2, 2], …}
                                                     %y = conv2d %p, %w {stride=[2, 2], extent=[56, 56], …}

    %y = conv2d %x, %w {padding=…, …}         ->     %p = tap_columns %x {taps=3, padding=…, …}
                                                     %y = conv2d %p, %w {columns=true, extent=[14, 14], …}

What neighbouring outputs read at one tap are then neighbours too, so that a vector of them is one load; with columns
it is so at the edges of the image as well, and no tap has to be asked for. One pass over the input pays for it, and
columns are made where many outputs share them; the phases that no tap reads are left out. The weights stay as they
are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, ClassVar

from sparsec.ir.builder import Names
from sparsec.ir.dims import Poly, product, upper_bound
from sparsec.ir.forms import Form
from sparsec.ir.graph import Func, Op, Region, Value
from sparsec.ir.ops.record import record
from sparsec.ir.tensorref import is_contiguous
from sparsec.passes.base import Pass
from sparsec.passes.rebuild import all_names
from sparsec.passes.schedule.outputs_in_lanes import suits_outputs

__all__ = ["SplitStrides"]

#: A tap that may lie outside of the image is a masked load, for some outputs together: so many of them, of all
#: outputs, take longer than to write one element of the columns.
_ASKED = 400

#: Pixels that are computed side by side: those that share them with the first or last rows are asked for all taps.
_BLOCK = 32

#: Bytes that a core surely has in a cache of its own.
_CACHE = 1 << 20


@dataclass(frozen=True)
class SplitStrides(Pass):
    """Convolutions over images of known height and width. vector_bytes: of a register, where those whose lanes will
    run along their outputs are left as they are (schedule/outputs_in_lanes.py); 0: all are taken apart."""

    name: ClassVar[str] = "split-strides"
    requires: ClassVar[Form] = Form.VIEWS_RESOLVED
    vector_bytes: int = 0

    def run(self, func: Func) -> Func:
        names = Names(all_names(func))
        return replace(func, ops=self._ops(func.ops, names))

    def _ops(self, ops: tuple[Op, ...], names: Names) -> tuple[Op, ...]:
        return tuple(new for op in ops for new in self._op(op, names))

    def _op(self, op: Op, names: Names) -> tuple[Op, ...]:
        if op.regions:
            regions = tuple(Region(r.params, self._ops(r.ops, names), r.yields) for r in op.regions)
            return (replace(op, regions=regions),)
        if not {"stride", "extent", "columns"} <= set(record(op.name).attrs) or op.attrs["extent"]:
            return (op,)
        unknown = any(isinstance(d, Poly) for d in op.operands[0].type.shape[2:])
        return (op,) if unknown or _by_outputs(op, self.vector_bytes) else _split(op, names)


def _by_outputs(op: Op, vector_bytes: int) -> bool:
    """Whether lanes will run along the outputs, to which it does not matter how far apart pixels are."""
    weight, made = op.operands[1].type, op.result.type
    outputs = upper_bound(made.shape[1])
    neighbours = weight.ref is None or is_contiguous(weight.ref, weight.shape)
    if op.attrs["groups"] != 1 or outputs is None or not neighbours:
        return False
    taps, step = math.prod(_taps(op)), int(op.attrs["stride"][1])
    return suits_outputs(vector_bytes, made.dtype.itemsize, outputs, _outputs(op), taps, step)


def _split(op: Op, names: Names) -> tuple[Op, ...]:
    image, weight, *lists = op.operands
    extent = tuple(int(d) for d in image.type.shape[2:])  # type: ignore[arg-type]
    phases = _phases(op, extent)
    apart = _columns(op, extent, _elements(phases)) or phases
    if apart is None:
        return (op,)
    name, taken, attrs = apart
    shape = (*image.type.shape[:2], *taken, *attrs["size"])
    made = Value(names.fresh(f"{image.name}.{name}"), replace(image.type.fresh(), shape=shape))
    first = Op(name, (image,), (made,), {**attrs, "extent": extent}, (), op.loc)
    after = {**op.attrs, "extent": extent, "columns": name == "tap_columns"}
    return first, replace(op, operands=(made, weight, *lists), attrs=after)


_Apart = tuple[str, tuple[int, int], dict[str, Any]]  # an op, the axes that it adds, and its attributes


def _phases(op: Op, extent: tuple[int, ...]) -> _Apart | None:
    stride = op.attrs["stride"]
    if stride == (1, 1):
        return None
    taken = tuple(map(_taken, _taps(op), stride, op.attrs["dilation"], op.attrs["padding"]))
    size = tuple(max(-(-length // step), count) for length, step, count in zip(extent, stride, _outputs(op)))
    return "phases", taken, {"stride": stride, "size": size, "taken": taken}  # type: ignore[return-value]


def _columns(op: Op, extent: tuple[int, ...], otherwise: int) -> _Apart | None:
    """Where questions at the edges, which small images are all made of, cost more than to write more elements than
    `otherwise`, and these stay in a cache."""
    (rows, taps), (height, width) = _taps(op), _outputs(op)
    stride, dilation, padding = (op.attrs[name] for name in ("stride", "dilation", "padding"))
    taken = _taken(rows, stride[0], dilation[0], (0, 0))
    reach = (height - 1) * stride[0] + (rows - 1) * dilation[0] + 1
    size = (-(-reach // stride[0]), width)
    image, made = (upper_bound(product(value.type.shape[:2])) for value in (op.operands[0], op.result))
    if image is None or made is None or not any(chain.from_iterable(padding)):
        return None
    window = {"taps": taps, "stride": stride, "dilation": dilation[1], "padding": padding}
    apart = "tap_columns", (taken, taps), {**window, "size": size, "taken": taken}
    copied = _elements(apart)
    asked = made // op.attrs["groups"] * rows * taps * min(height * width, 2 * (width + _BLOCK))
    if asked < _ASKED * (copied - otherwise) or image * copied * op.result.type.dtype.itemsize > _CACHE:
        return None
    return apart


def _elements(apart: _Apart | None) -> int:
    """Elements made of each channel."""
    return math.prod((*apart[1], *apart[2]["size"])) if apart is not None else 0


def _taps(op: Op) -> tuple[int, int]:
    height, width = op.operands[1].type.shape[2:]
    return int(height), int(width)  # type: ignore[arg-type]


def _outputs(op: Op) -> tuple[int, int]:
    height, width = op.result.type.shape[2:]
    return int(height), int(width)  # type: ignore[arg-type]


def _taken(taps: int, stride: int, dilation: int, padding: tuple[int, int]) -> int:
    """How many phases from the first hold all that taps read."""
    return 1 + max((tap * dilation - padding[0]) % stride for tap in range(taps))
