"""`grouped_conv2d`: kernels that read the same together, over packed planes (`plane_layout.py`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsec.errors import ShapeError
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Expr
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops.conv import Pair
from sparsec.ir.ops.plane_layout import (
    OUTPUTS,
    VECTOR,
    VECTORS,
    flat_images,
    i32_lists,
    lanes_of,
    sum_types,
    work,
)
from sparsec.ir.ops.record import Kind, OpRecord, case, i32, register
from sparsec.ir.scalar import S, const, index
from sparsec.ir.types import I64, TensorType


def _group_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    planes, values, filters, bounds, library, *extras = types
    i32_lists("grouped_conv2d", filters, bounds, library, *extras)
    if [name for name in ("groups", "order") if name in attrs["extras"]] != list(attrs["extras"]):
        raise ShapeError(f"grouped_conv2d: lists {list(attrs['extras'])}")
    if values.rank != 2 or library.rank != 2 or values.shape[1] != library.shape[1] or bounds.rank != 2:
        raise ShapeError(f"grouped_conv2d: values {values} with patterns {library}, bounds {bounds}")
    if bounds.shape[1] != planes.shape[1] * library.shape[0] + 1 or len(extras) != len(attrs["extras"]):
        raise ShapeError(f"grouped_conv2d: {bounds} and {len(extras)} lists for {library} and {planes}")
    if any(t.shape != values.shape[:1] for t in (filters, *extras)):
        raise ShapeError(f"grouped_conv2d: lists of {values.shape[0]} kernels that are as long as {filters}")
    if bounds.shape[0] != -(-attrs["outputs"] // OUTPUTS):
        raise ShapeError(f"grouped_conv2d: bounds {bounds} for {attrs['outputs']} outputs of {attrs['size']}")
    sum_types("grouped_conv2d", planes, values, attrs, 0)
    return [TensorType(planes.dtype, (planes.shape[0], attrs["outputs"], *attrs["size"]))]


def _group_array(
    planes: np.ndarray, values: np.ndarray, filters: np.ndarray, bounds: np.ndarray, library: np.ndarray,
    *lists: np.ndarray, size: Pair, outputs: int, extras: Sequence[str],
) -> np.ndarray:
    values = values[lists[-1]] if "order" in extras else values
    flat, lanes = flat_images(planes).astype(np.float64), lanes_of(size, planes.shape[-1], packed=True)
    out = np.zeros((len(planes), outputs, lanes))
    for (portion, group), first in np.ndenumerate(bounds[:, :-1]):
        channel, pattern = divmod(group, len(library))
        for k in range(first, bounds[portion, group + 1]):
            for value, offset in zip(values[k], channel * math.prod(planes.shape[2:]) + library[pattern]):
                out[:, filters[k]] += float(value) * flat[:, offset : offset + lanes]
    (height, width), pitch = size, planes.shape[-1]
    return out[:, :, : height * pitch].reshape(*out.shape[:2], height, pitch)[..., :width].astype(planes.dtype)


def _group_lower(nest: NestBuilder, size: Pair, outputs: int, extras: Sequence[str]) -> None:
    """Sums are added to in the nearest cache, a few vectors of lanes of many outputs. Results are written once, when
    all are done."""
    images, *_ = nest.result_shape()
    pitch = int(nest.shape(0)[-1].value.real)  # type: ignore[union-attr]
    portions = nest.shape(3)[0]
    lanes, full = lanes_of(size, pitch, packed=True), VECTOR * VECTORS
    blocks, rest = divmod(lanes, full)
    for count, start, wide in ((blocks, 0, full), (1 if rest else 0, blocks * full, rest)):
        if count:
            with nest.loops((images, portions, index(count)), bind="parallel") as (n, portion, block):
                here = nest.let(S.add(S.mul(block, index(full)), index(start)))
                made = _Groups(nest, n, portion, here, wide, outputs, {name: 5 + k for k, name in enumerate(extras)})
                made.clear()
                if "groups" in extras:
                    made.kernel_by_kernel()
                else:
                    made.group_by_group()
                made.write(pitch)


class _Groups:
    """All kernels of a portion of the outputs, for `wide` lanes from `start` on."""

    def __init__(
        self, nest: NestBuilder, n: Expr, portion: Expr, start: Expr, wide: int, outputs: int, lists: dict[str, int]
    ) -> None:
        self.nest, self.n, self.portion, self.start, self.wide, self.lists = nest, n, portion, start, wide, lists
        self.dtype = nest.result_dtype()
        self.patterns, self.entries = nest.shape(4)
        self.most, self.outputs = min(outputs, OUTPUTS), outputs
        self.sums = nest.scratch(self.dtype, self.most * wide, "sums")
        self.first = nest.let(S.mul(portion, index(OUTPUTS)))

    def clear(self) -> None:
        with self.nest.loop(index(self.most)) as o, self._lanes() as lane:
            self.nest.store(self.sums, self._place(o, lane), const(0, self.dtype))

    def group_by_group(self) -> None:
        """Each group loads its runs once, into registers; then its kernels follow, straight lines without a
        choice."""
        nest = self.nest
        with nest.loop(nest.shape(0)[1]) as channel, nest.loop(self.patterns) as pattern:
            group = nest.let(S.add(S.mul(channel, self.patterns), pattern))
            begin, end = (self._bound(at) for at in (group, S.add(group, index(1))))
            with nest.if_(S.lt(begin, end)), self._lanes() as lane:
                runs = self._runs(channel, pattern, lane)
                with nest.loop(end, begin) as k:
                    self._add(k, runs, lane)

    def kernel_by_kernel(self) -> None:
        """Each kernel loads its own runs."""
        nest = self.nest
        groups = S.sub(nest.shape(3)[1], index(1))
        with nest.loop(self._bound(groups), self._bound(index(0))) as k:
            group = nest.let(S.cast(nest.read(self.lists["groups"], k), I64))
            channel, pattern = (nest.let(f(group, self.patterns)) for f in (S.quo, S.rem))
            with self._lanes() as lane:
                self._add(k, self._runs(channel, pattern, lane), lane)

    def _lanes(self) -> Any:
        return self.nest.loop(index(self.wide), bind="vector", stem="lane")

    def _place(self, output: Expr, lane: Expr) -> Expr:
        return S.add(S.mul(output, index(self.wide)), lane)

    def _bound(self, group: Expr) -> Expr:
        return self.nest.let(S.cast(self.nest.read(3, self.portion, group), I64))

    def _runs(self, channel: Expr, pattern: Expr, lane: Expr) -> list[Expr]:
        """What the taps of a pattern read of a channel."""
        nest = self.nest
        buffer, here = nest.operand_place(0, self.n, channel, *[index(0)] * 4)
        entries = int(self.entries.value.real)  # type: ignore[union-attr]
        offsets = [S.cast(nest.read(4, pattern, index(e)), I64) for e in range(entries)]
        place = S.add(self.start, lane)
        return [nest.load(buffer, S.add(S.add(here, offset), place), self.dtype) for offset in offsets]

    def _add(self, k: Expr, runs: Sequence[Expr], lane: Expr) -> None:
        """Adds a kernel to the sums of its output."""
        nest = self.nest
        output = S.sub(S.cast(nest.read(2, k), I64), self.first)
        stored = nest.let(S.cast(nest.read(self.lists["order"], k), I64)) if "order" in self.lists else k
        place = nest.let(self._place(output, lane), "place")
        total = nest.mut(nest.load(self.sums, place, self.dtype), "total")
        for e, run in enumerate(runs):
            nest.assign(total, S.fma(nest.read(1, stored, index(e)), run, total))
        nest.store(self.sums, place, total)

    def write(self, pitch: int) -> None:
        nest = self.nest
        last = nest.let(S.min(index(self.most), S.sub(index(self.outputs), self.first)))
        with nest.loop(last) as o, nest.loop(index(self.wide // VECTOR)) as vector:
            at = nest.let(S.mul(vector, index(VECTOR)))
            start, place = S.add(self.start, at), self._place(o, at)
            _write_lanes(nest, self.n, S.add(self.first, o), start, self.sums, place, pitch)


def _write_lanes(
    nest: NestBuilder, n: Expr, output: Expr, start: Expr, sums: str, place: Expr, pitch: int
) -> None:
    """A vector of lanes, row by row: those behind a row are nobody's."""
    _, _, height, width = nest.result_shape()
    top = nest.let(S.quo(start, index(pitch)))
    with nest.loop(index(1 - -(VECTOR - 1) // pitch)) as more:
        row = nest.let(S.add(top, more))
        begin = nest.let(S.mul(row, index(pitch)))
        here = S.logical_and(S.lt(row, height), S.lt(begin, S.add(start, index(VECTOR))))
        with nest.if_(here), nest.loop(index(VECTOR), bind="vector", stem="lane") as lane:
            column = nest.let(S.sub(S.add(start, lane), begin))
            with nest.if_(S.logical_and(S.ge(column, index(0)), S.lt(column, width))):
                nest.write(0, (n, output, row, column), nest.load(sums, S.add(place, lane), nest.result_dtype()))


register(OpRecord(
    name="grouped_conv2d", kind=Kind.NEST, once=True, arity=(5, 7), attrs=("size", "outputs", "extras"),
    defaults={"extras": ()},
    doc="`grouped_conv2d planes, values, filters, bounds, library`: [N,O,*size], as pattern_conv2d over packed "
        "planes, kernels in groups of one input channel and one pattern: the kernels bounds[q,c*P+p] to "
        "bounds[q,c*P+p+1] of channel c have pattern p and belong to the outputs filters[k], which are the q-th "
        "portion of them. `extras` names lists that follow: `groups`, the number c*P+p of each kernel, which then "
        "loads what it reads by itself; `order`, where each kernel is in values.",
    infer=_group_types, ref=_group_array, lower=_group_lower, work=work,
    cases=(
        case((2, 2, 1, 3, 7, 5), (3, 2), i32(0, 1, 1), i32([0, 1, 1, 2, 3]), i32([0, 40], [12, 50]),
             dtypes="f4", ulp=8, size=(4, 5), outputs=2),
        case((1, 1, 1, 3, 33, 7), (2, 1), i32(0, 129), i32([0, 1], [1, 2]), i32([3]),
             ulp=8, size=(30, 7), outputs=130),
        case((0, 1, 1, 3, 33, 7), (2, 1), i32(0, 129), i32([0, 1], [1, 2]), i32([3]), size=(30, 7), outputs=130),
        case((1, 2, 1, 3, 7, 5), (3, 2), i32(0, 1, 1), i32([0, 1, 1, 2, 3]), i32([0, 40], [12, 50]),
             i32(0, 2, 3), i32(2, 0, 1), extras=("groups", "order"), dtypes="f4", ulp=8, size=(4, 5), outputs=2),
    ),
))  # fmt: skip
