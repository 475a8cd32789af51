"""Computes at compile time what depends on literals only, by running the op's NumPy reference.

    %a = const {value=2.0, …} : f32
    %b = const {value=3.0, …} : f32      ->      %c = const {value=6.0, dtype=f32, shape=[]} : f32
    %c = mul %a, %b : f32

No algebra: `x*0` stays (NaN), `x+0` stays (-0.0). A check on literals that passes goes; one that fails stays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from sparsec.errors import CheckFailed
from sparsec.ir.flags import collect
from sparsec.ir.forms import Form
from sparsec.ir.graph import Func, Op, Region, Value, walk
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.remarks import Topic, remark
from sparsec.ir.tensorref import span
from sparsec.passes.base import Pass
from sparsec.passes.facts import literal, written_storages

__all__ = ["Fold"]

_FOLDED = (Kind.ELEMENTWISE, Kind.MAP, Kind.REDUCE)

#: Larger literals are not spread out just to be read.
_READ = 4096


def _is_small(value: Value, most: int) -> bool:
    return value.type.is_static and math.prod(value.type.static_shape) <= most


@dataclass(frozen=True)
class Fold(Pass):
    """`max_elements`: larger results are computed at run time, so that code stays small."""

    name: ClassVar[str] = "fold"
    requires: ClassVar[Form] = Form.TRACED
    max_elements: int = 64

    def run(self, func: Func) -> Func:
        work = _Folder(func, self.max_elements)
        return func.with_ops(work.op_list(func.ops))


class _Folder:
    """Walks op lists; `definitions` grows with the literals that folding makes."""

    def __init__(self, func: Func, max_elements: int) -> None:
        self._definitions = {r.name: op for op in walk(func.ops) for r in op.results}
        self._written = written_storages(func)
        self._max = max_elements

    def op_list(self, ops: Sequence[Op]) -> tuple[Op, ...]:
        out = []
        for op in ops:
            if record(op.name).kind is Kind.CHECK and self._passes(op):
                remark(Topic.GONE, "the check holds for certain", op)
                continue
            folded = self._folded(op)
            if folded is not op:
                remark(Topic.GONE, "it is computed when the function is compiled", op)
            new = replace(folded, regions=tuple(map(self._region, op.regions)))
            self._definitions.update((r.name, new) for r in new.results)
            out.append(new)
        return tuple(out)

    def _region(self, region: Region) -> Region:
        return replace(region, ops=self.op_list(region.ops))

    def _folded(self, op: Op) -> Op:
        rec = record(op.name)
        small = rec.kind in _FOLDED and _is_small(op.result, self._max)
        operands = self._arrays(op) if small and op.operands else None
        if operands is None or op.result.storage in self._written:
            return op
        assert rec.ref is not None
        with np.errstate(all="ignore"):
            found = np.asarray(rec.ref(*operands, **op.attrs))
        kind = op.result.type
        if found.dtype != kind.dtype or found.shape != kind.static_shape:
            return op
        return const_op(op.result, found, op)

    def _passes(self, op: Op) -> bool:
        """Whether a check holds for certain, and takes no note."""
        operands = self._arrays(op)
        if operands is None:
            return False
        ref = record(op.name).ref
        assert ref is not None
        try:
            with collect() as word:
                ref(*operands, **op.attrs)
        except CheckFailed:
            return False
        return not word.bits

    def _arrays(self, op: Op) -> list[np.ndarray[Any, Any]] | None:
        """The operands, if all are (views of) literals."""
        found = []
        for value in op.operands:
            source = literal(value, self._definitions)
            if source is None or not _is_small(value, _READ) or not _is_small(source.result, _READ):
                return None
            if not all(isinstance(d, int) for d in (value.ref.offset, *value.ref.strides)):
                return None  # which elements these are, a loop variable tells
            found.append(view_array(source, value))
        return found


def const_op(result: Value, array: np.ndarray[Any, Any], like: Op) -> Op:
    """`result` as a literal; one number where all elements have the same bits."""
    flat = np.ascontiguousarray(array).reshape(-1)
    bits = flat.tobytes()
    size = flat.dtype.itemsize
    splat = bool(flat.size) and bits == bits[:size] * flat.size
    value = flat[0].item() if splat else tuple(flat.tolist())
    attrs = {"value": value, "dtype": result.type.dtype, "shape": result.type.shape}
    return Op("const", (), (result,), attrs, (), like.loc)


def view_array(source: Op, value: Value) -> np.ndarray[Any, Any]:
    """The elements of a view of a literal."""
    ref = record(source.name).ref
    assert ref is not None
    flat = np.ascontiguousarray(ref(**source.attrs)).reshape(-1).view(value.type.dtype)
    shape = value.type.static_shape
    if 0 in shape:
        return np.zeros(shape, value.type.dtype)
    assert span(value.ref, shape)[1] <= flat.size
    strides = tuple(int(s) * flat.itemsize for s in value.ref.strides)  # type: ignore[arg-type]
    start = flat[int(value.ref.offset):]  # type: ignore[arg-type]
    return np.array(np.lib.stride_tricks.as_strided(start, shape, strides))
