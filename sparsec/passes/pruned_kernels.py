"""How convolutions with pruned kernels are computed: four passes, each of which can be left out.

    %y = pruned_conv2d %x, %values, %channels, %patterns, %rows, %library {…}

compress-patterns   {compressed=true}: a kernel is one place and a pattern, not a place for each of its taps
reorder-filters     %b = kernel_bounds %channels, %patterns, %rows       kernels that read the same go together;
                    %o = kernel_order %channels, %patterns, %rows, %b    values stay where they are
                    %y = reordered_conv2d %x, %values, %o[1], %b, %library, %o[0] {extras=["order"], …}
share-loads         {shared=true}: what the kernels of a group read is loaded once for all of them
lay-out-planes      the ops that compute it, on planes of the input (ir/ops/planes.py); always needed

Lists are made from lists alone. A weight that a pruner stored reordered needs none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from sparsec.ir.builder import Builder, Names
from sparsec.ir.dims import Poly
from sparsec.ir.forms import Form
from sparsec.ir.graph import Func, Op, Value
from sparsec.ir.ops.plane_layout import WINDOW, PlaneLayout, plane_layout
from sparsec.ir.types import I32, tensor
from sparsec.passes.base import Pass
from sparsec.passes.rebuild import all_names, with_regions

__all__ = ["CompressPatterns", "LayOutPlanes", "ReorderFilters", "ShareLoads"]

_PRUNED, _REORDERED = "pruned_conv2d", "reordered_conv2d"


@dataclass(frozen=True)
class _KernelPass(Pass):
    """Rewrites one kind of op, wherever it stands."""

    requires: ClassVar[Form] = Form.TRACED
    looks_for: ClassVar[tuple[str, ...]] = ()

    def run(self, func: Func) -> Func:
        if not any(op.name in self.looks_for or op.regions for op in func.ops):
            return func
        return replace(func, ops=self._ops(func.ops, Names(all_names(func))))

    def _ops(self, ops: tuple[Op, ...], names: Names) -> tuple[Op, ...]:
        out: list[Op] = []
        for op in ops:
            op = with_regions(op, lambda r: replace(r, ops=self._ops(r.ops, names)))
            out += self.rewrite(op, names) if op.name in self.looks_for else [op]
        return tuple(out)

    def rewrite(self, op: Op, names: Names) -> list[Op]:
        """What the op becomes; its last op has the same results."""
        raise NotImplementedError


@dataclass(frozen=True)
class _Choice(_KernelPass):
    """on: whether it does."""

    on: bool = True

    def run(self, func: Func) -> Func:
        return super().run(func) if self.on else func


@dataclass(frozen=True)
class CompressPatterns(_Choice):
    """Kernels of a pattern are addressed as one."""

    name: ClassVar[str] = "compress-patterns"
    looks_for: ClassVar[tuple[str, ...]] = (_PRUNED,)

    def rewrite(self, op: Op, names: Names) -> list[Op]:
        return [replace(op, attrs={**op.attrs, "compressed": True})]


@dataclass(frozen=True)
class ReorderFilters(_Choice):
    """Kernels in groups of one input channel and one pattern. To find the order takes a few steps for each kernel at
    every call: less than what is won even for the smallest images."""

    name: ClassVar[str] = "reorder-filters"
    looks_for: ClassVar[tuple[str, ...]] = (_PRUNED,)

    def rewrite(self, op: Op, names: Names) -> list[Op]:
        x, values, channels, patterns, rows, library = op.operands
        sizes = (x.type.shape[1], library.type.shape[0], rows.type.shape[0], values.type.shape[0])
        if not op.attrs["compressed"] or any(isinstance(d, Poly) for d in sizes):
            return [op]
        b = _builder(op, names)
        count = {"library": sizes[1]}
        bounds = b.op("kernel_bounds", channels, patterns, rows, inputs=sizes[0], **count)
        both = b.op("kernel_order", channels, patterns, rows, bounds, **count)
        order, filters = (_row(b, both, row) for row in (0, 1))
        outputs = int(rows.type.shape[0]) - 1  # type: ignore[arg-type]
        attrs = {**_window(op), "outputs": outputs, "shared": False, "extras": ("order",)}
        operands = (x, values, filters, bounds, library, order)
        return [*b.ops, Op(_REORDERED, operands, op.results, attrs, (), op.loc)]


@dataclass(frozen=True)
class ShareLoads(_Choice):
    """Redundant loads of the kernels of a group."""

    name: ClassVar[str] = "share-loads"
    looks_for: ClassVar[tuple[str, ...]] = (_REORDERED,)

    def rewrite(self, op: Op, names: Names) -> list[Op]:
        return [replace(op, attrs={**op.attrs, "shared": True})]


@dataclass(frozen=True)
class LayOutPlanes(_KernelPass):
    """The input is laid out once; offsets into it take the place of taps."""

    name: ClassVar[str] = "lay-out-planes"
    looks_for: ClassVar[tuple[str, ...]] = (_PRUNED, _REORDERED)

    def rewrite(self, op: Op, names: Names) -> list[Op]:
        b = _builder(op, names)
        if op.name == _REORDERED:
            return [*b.ops, *_grouped(op, b)]
        y = _filter_by_filter(op, b)
        return [*b.ops, Op("copy", (y,), op.results, {}, (), op.loc)]


def _grouped(op: Op, b: Builder) -> list[Op]:
    x, values, filters, bounds, library, *lists = op.operands
    extras = tuple(op.attrs["extras"])
    made = _Planes(b, x, op, packed=True)
    offsets = made.offsets(library)
    if not op.attrs["shared"]:
        lists = [b.op("kernel_groups", bounds, count=values.type.shape[0]), *lists]
        extras = ("groups", *extras)
    attrs = {"size": made.layout.size, "outputs": op.attrs["outputs"], "extras": extras}
    operands = (made.planes, values, filters, bounds, offsets, *lists)
    return [*b.ops, Op("grouped_conv2d", operands, op.results, attrs, (), op.loc)]


def _filter_by_filter(op: Op, b: Builder) -> Value:
    """The result as a view of rows of lanes."""
    x, values, channels, patterns, rows, library = op.operands
    made = _Planes(b, x, op, packed=False)
    height, width = op.attrs["kernel"]
    taps, entries = height * width, int(library.type.shape[1])  # type: ignore[arg-type]
    firsts = b.op("mul", channels, _number(b, taps))
    if op.attrs["compressed"]:
        bounds = made.bounds(channels, rows, 1)
        y = b.op("pattern_conv2d", made.planes, values, made.offsets(firsts), patterns, bounds, made.offsets(library),
                 size=made.layout.size)
    else:
        kernels = values.type.shape[0]
        column = b.op("reshape", firsts, shape=(kernels, 1))
        own = b.op("take_channels", library, patterns, axis=0, fill=None)
        all_taps = b.op("add", b.op("broadcast", column, shape=(kernels, entries)), own)
        columns = b.op("reshape", all_taps, shape=(kernels * entries,))
        bounds = made.bounds(columns, b.op("mul", rows, _number(b, entries)), taps)
        flat = b.op("reshape", values, shape=(kernels * entries,))
        y = b.op("tap_conv2d", made.planes, flat, made.offsets(columns), bounds, size=made.layout.size)
    return made.image(y)


class _Planes:
    """The planes of an input, and numbers that belong to them."""

    def __init__(self, b: Builder, x: Value, op: Op, *, packed: bool) -> None:
        self._b, self._window = b, {**_window(op), "packed": packed}
        self._extent = x.type.shape[2:]
        self._inputs, self._itemsize = int(x.type.shape[1]), x.type.dtype.itemsize  # type: ignore[arg-type]
        self.layout: PlaneLayout = plane_layout(self._extent, op.attrs["kernel"], self._window)
        self.planes = b.op("window_planes", x, **self._window)

    def offsets(self, columns: Value) -> Value:
        return self._b.op("tap_offsets", columns, extent=self._extent, **self._window)

    def bounds(self, columns: Value, rows: Value, each: int) -> Value:
        """Where the parts of the channels begin in each row; each: columns of a channel."""
        together = self.layout.together(self._itemsize)
        return self._b.op("tap_bounds", columns, rows, step=together * each, parts=-(-self._inputs // together))

    def image(self, y: Value) -> Value:
        """The elements of rows of lanes that are somebody's."""
        (height, width), pitch = self.layout.size, self.layout.pitch
        images, outputs, _ = y.type.shape
        full = _part(self._b, y, (images, outputs, height * pitch))
        rows = self._b.op("reshape", full, shape=(images, outputs, height, pitch))
        return _part(self._b, rows, (images, outputs, height, width))


def _part(b: Builder, x: Value, size: tuple[Any, ...]) -> Value:
    rank = len(size)
    return b.op("slice", x, start=(0,) * rank, size=size, step=(1,) * rank)


def _row(b: Builder, x: Value, row: int) -> Value:
    count = x.type.shape[1]
    return b.op("reshape", b.op("slice", x, start=(row, 0), size=(1, count), step=(1, 1)), shape=(count,))


def _number(b: Builder, n: int) -> Value:
    return b.const(np.int32(n), tensor(I32))


def _window(op: Op) -> Mapping[str, Any]:
    return {name: op.attrs[name] for name in WINDOW}


def _builder(op: Op, names: Names) -> Builder:
    b = Builder(names)
    b.loc = op.loc
    return b
