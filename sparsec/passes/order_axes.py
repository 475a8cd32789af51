"""A write walks its region as memory lies: widest stride first, upwards, without axes of length 1.

    %v  = view %t {…} : f32[4,8] @t:(1,4)                     %w  = view %a {…} : f32[8,4] @a:(1,8)
    %t1 = update %t, %v, %a : f32[8,4] @t              ->     %t1 = update %t, %t, %w : f32[8,4] @t

Element for element it is the same write. Writes of one region now have one domain, whatever view they are made
through, and a write of a whole array looks like one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from sparsec.ir.dims import Dim, Poly
from sparsec.ir.forms import Form
from sparsec.ir.graph import Op, Value
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.tensorref import TensorRef, self_overlaps
from sparsec.ir.types import TensorType
from sparsec.passes.view_reads import ListPass, Reads, Source

__all__ = ["OrderAxes"]


@dataclass(frozen=True)
class OrderAxes(ListPass):
    """Only writes whose regions have known strides and no element twice: of those the last would win."""

    name: ClassVar[str] = "order-axes"
    requires: ClassVar[Form] = Form.VIEWS_RESOLVED

    def rewrite(self, reads: Reads) -> tuple[Op, ...]:
        out: list[Op] = []
        for op in reads.ops:
            turn = _turn(op)
            out += [op] if turn is None else _turned(reads, op, turn)
        return tuple(out)


@dataclass(frozen=True, slots=True)
class _Turn:
    """The axes that stay, in their new order, and which of them are walked the other way."""

    axes: tuple[int, ...]
    flipped: frozenset[int]

    def of(self, ref: TensorRef, shape: Sequence[Dim]) -> TensorRef:
        offset, strides = ref.offset, []
        for axis in self.axes:
            stride = ref.strides[axis]
            if axis in self.flipped:
                offset, stride = offset + (shape[axis] - 1) * stride, -1 * stride
            strides.append(stride)
        return TensorRef(ref.storage, offset, tuple(strides))


def _turn(op: Op) -> _Turn | None:
    """How the axes of a write are to be turned; None if they are right, or cannot be."""
    rec = record(op.name)
    if rec.kind is not Kind.UPDATE or not rec.region:
        return None
    region = op.operands[1]
    shape, strides = region.type.shape, region.ref.strides
    if any(isinstance(n, Poly) for n in (*shape, *strides)) or 0 in shape or self_overlaps(region.ref, shape):
        return None
    axes = [axis for axis, d in enumerate(shape) if d != 1]
    axes.sort(key=lambda axis: -abs(int(strides[axis])))  # type: ignore[arg-type]
    flipped = frozenset(axis for axis in axes if int(strides[axis]) < 0)  # type: ignore[arg-type]
    turn = _Turn(tuple(axes), flipped)
    return None if turn.axes == tuple(range(len(shape))) and not flipped else turn


def _turned(reads: Reads, op: Op, turn: _Turn) -> list[Op]:
    out: list[Op] = []
    shape = op.operands[1].type.shape
    operands = list(op.operands)
    for position, value in enumerate(op.operands[1:], 1):
        base = reads.base(value)
        if value.type.shape != shape or (shape == () and position > 1):
            continue
        ref = turn.of(value.ref, shape)
        like = Value(value.name, TensorType(value.type.dtype, tuple(shape[axis] for axis in turn.axes)))
        operands[position], views = reads.view(Source(base if base is not None else value, ref), like, op)
        out += views
    return [*out, replace(op, operands=tuple(operands))]
