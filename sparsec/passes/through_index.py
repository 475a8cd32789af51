"""How products are computed that read rows of a matrix through an index: by groups of rows, or as a convolution.

    %y = matmul_channels %x, %b, %i : f32[1,1000]             x f32[1,256], b f32[512,1000] @w:(1,512)

    %n = index_group_count %i {by=16} : i64                   groups of 16 channels, some of which are live
    %g = index_groups %i {by=16, size=%n} : i32[%n<=32]
    %at = index_group_places %i {by=16, size=%n} : i32[16*%n]      where each of their channels is in %i; or -1
    %m = index_group_masks %i {by=16, size=%n} : i32[%n<=32]       the same as bits
    %x1 = take_channels %x, %at {axis=1, fill=0} : f32[1,16*%n]
    %y = matmul_groups %x1, %b, %g, %m {by=16} : f32[1,1000]

In the weight [out, in] of a dense layer the channels of one output lie side by side. Picked out one by one each of
them is a load of its own; so x is widened to the groups in which something is live, and a group of the weight is one
load where it lies. Where x has rows enough to fill a vector, one element of the weight serves all of them: that is a
convolution of a 1 x M image. Where the *outputs* lie side by side, nothing is to be done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from sparsec.ir.builder import Builder, Names
from sparsec.ir.dims import Dim, Poly, product, sym, upper_bound
from sparsec.ir.forms import Form
from sparsec.ir.graph import Func, Op, Value, walk
from sparsec.ir.ops.record import record
from sparsec.ir.types import F32, F64, I32, TensorType
from sparsec.passes.base import Pass
from sparsec.passes.rebuild import all_names, with_regions

__all__ = ["ThroughIndex"]

#: Channels that are one load.
_BY = 16
#: Rows of x from which on they are the lanes of vectors.
_ROWS = 8
#: Smaller matrices are not worth the index work.
_LEAST = 1024


@dataclass(frozen=True)
class ThroughIndex(Pass):
    """Products of f32 or f64 with one matrix whose columns are consecutive in memory. packs: those of few rows with a
    constant matrix are left to the schedule that packs it, so that its outputs are consecutive
    (schedule/packed_weights.py)."""

    name: ClassVar[str] = "through-index"
    requires: ClassVar[Form] = Form.CANONICAL
    packs: bool = False

    def run(self, func: Func) -> Func:
        if not any(op.name == "matmul_channels" for op in walk(func.ops)):
            return func
        constants = frozenset(func.constants if self.packs else ())
        return replace(func, ops=_ops(func.ops, Names(all_names(func)), {}, constants))


def _ops(
    ops: Sequence[Op], names: Names, literals: dict[str, np.ndarray], constants: frozenset[str]
) -> tuple[Op, ...]:
    out: list[Op] = []
    for op in ops:
        if op.name == "const" and op.result.type.dtype == I32:
            literals[op.result.name] = np.full(op.attrs["shape"], op.attrs["value"], I32)
        if op.name == "matmul_channels" and _fits(op) and not _is_packed(op, constants):
            b = Builder(names)
            b.loc = op.loc
            _Product(b, op, literals).build()
            out += b.ops
        else:
            out.append(with_regions(op, lambda r: replace(r, ops=_ops(r.ops, names, literals, constants))))
    return tuple(out)


def _fits(op: Op) -> bool:
    matrix = op.operands[1]
    *batch, inputs, outputs = matrix.type.shape
    *steps, down, across = matrix.ref.strides
    if any(steps[k] != 0 for k, d in enumerate(batch) if d != 1) or isinstance(inputs, Poly):
        return False
    many = isinstance(outputs, Poly) or inputs * outputs >= _LEAST
    return op.result.type.dtype in (F32, F64) and down == 1 and across != 1 and many


def _is_packed(op: Op, constants: frozenset[str]) -> bool:
    """Whether a product is of few rows with a constant of outputs enough to fill vectors."""
    x, matrix, _ = op.operands
    rows, outputs = product(x.type.shape[:-1]), upper_bound(matrix.type.shape[-1])
    few = matrix.type.rank == 2 and isinstance(rows, int) and rows < _ROWS
    return few and matrix.storage in constants and (outputs or 0) >= _BY


class _Product:
    """One product, under construction."""

    def __init__(self, b: Builder, op: Op, literals: dict[str, np.ndarray]) -> None:
        self._b, self._op, self._literals = b, op, literals

    def build(self) -> None:
        x, matrix, index = self._op.operands
        *batch, _, k = x.type.shape
        rows = product(x.type.shape[:-1])
        if batch:
            x = self._flat(x, (rows, k))
            first, last = (0,) * len(batch), matrix.type.shape[-2:]
            one = self._b.op("slice", matrix, start=(*first, 0, 0), size=(*(1,) * len(batch), *last),
                             step=(1,) * (len(batch) + 2))
            matrix = self._b.op("reshape", one, shape=last)
        if isinstance(rows, int) and rows >= _ROWS:
            found = self._convolution(x, matrix, index)
        else:
            found = self._groups(x, matrix, index)
        if batch:
            found = self._b.op("reshape", found, shape=self._op.result.type.shape)
        if found.type.ref is not None:
            found = self._b.op("copy", found)
        *others, last_op = self._b.ops
        self._b.ops = [*others, replace(last_op, results=self._op.results)]

    def _flat(self, x: Value, shape: tuple[object, ...]) -> Value:
        try:
            return self._b.op("reshape", x, shape=shape)
        except ValueError:  # no strides say it
            return self._b.op("reshape", self._b.op("copy", x), shape=shape)

    def _convolution(self, x: Value, matrix: Value, index: Value) -> Value:
        b = self._b
        rows, k = x.type.shape
        inputs, outputs = matrix.type.shape
        across = b.op("copy", b.op("transpose", x, perm=(1, 0)))
        image = b.op("reshape", across, shape=(1, k, 1, rows))
        weight = b.op("reshape", b.op("transpose", matrix, perm=(1, 0)), shape=(outputs, inputs, 1, 1))
        made = b.op("conv2d", image, weight, index, extras=("inputs",), in_channels=inputs)
        return b.op("transpose", b.op("reshape", made, shape=(outputs, rows)), perm=(1, 0))

    def _groups(self, x: Value, matrix: Value, index: Value) -> Value:
        inputs = int(matrix.type.shape[0])  # type: ignore[arg-type]
        size = self._group_count(index, -(-inputs // _BY))
        groups = self._index("index_groups", index, by=_BY, size=size)
        at = self._index("index_group_places", index, by=_BY, size=size)
        widened = self._b.op("take_channels", x, at, axis=1, fill=0)
        masks = self._index("index_group_masks", index, by=_BY, size=size)
        return self._b.op("matmul_groups", widened, matrix, groups, masks, by=_BY)

    def _group_count(self, index: Value, full: int) -> Dim:
        """How many groups have a live channel, of `full`."""
        if index.name in self._literals:
            return len(np.unique(self._literals[index.name] // _BY))
        most = upper_bound(index.type.shape[0])
        count = self._b.op("index_group_count", index, by=_BY)
        return sym(f"%{count.name}", full if most is None else min(most, full), 0)

    def _index(self, name: str, *operands: Value, **attrs: object) -> Value:
        """An index; a literal where the operands are."""
        known = [self._literals.get(v.name) for v in operands]
        if any(entries is None for entries in known):
            return self._b.op(name, *operands, **attrs)
        ref = record(name).ref
        assert ref is not None
        entries = np.asarray(ref(*known, **attrs))
        made = self._b.const(tuple(entries.tolist()), TensorType(I32, (len(entries),)))
        self._literals[made.name] = entries
        return made
