"""Layers whose weights a pruner made: convolutions over stored taps, kernels or columns, products with blocks."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsec.errors import WeightError
from sparsec.ir.ops.planes import plane_layout
from sparsec.nn.program import op
from sparsec.sparse.weights import (
    BlockWeight,
    ColumnWeight,
    PatternGroups,
    PatternWeight,
    SparseWeight,
    TapWeight,
)

__all__ = ["pruned_conv2d", "pruned_linear"]


def pruned_conv2d(x: Any, weight: SparseWeight, *, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The convolution of images [N, C, H, W], computed on what is stored. Raises WeightError for groups."""
    kernel = tuple(weight.shape[2:])
    if groups != 1 or len(kernel) != 2 or weight.shape[1] != x.shape[1]:
        raise WeightError(
            f"a {type(weight).__name__} of shape {tuple(weight.shape)} does not convolve {x.shape[1]} channels in "
            f"{groups} groups"
        )
    packed = isinstance(weight, PatternGroups)
    window = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "packed": packed}
    made = plane_layout(tuple(x.shape[2:]), kernel, window)
    planes = op("window_planes", x, **window)
    taps, together = kernel[0] * kernel[1], made.together(x.dtype.itemsize)
    parts = -(-weight.shape[1] // together)
    size = {"size": made.size}

    def offsets(columns: Any) -> Any:
        return op("tap_offsets", columns, extent=tuple(x.shape[2:]), **window)

    def bounds(columns: Any, rows: Any, step: int) -> Any:
        return op("tap_bounds", columns, rows, step=step, parts=parts)

    match weight:
        case PatternWeight(values, channels, patterns, rows, library):
            starts, among = offsets(channels * np.int32(taps)), bounds(channels, rows, together)
            y = op("pattern_conv2d", planes, values, starts, patterns, among, offsets(library), **size)
        case PatternGroups(values, filters, ends, library):
            outputs = {"outputs": weight.shape[0]}
            return op("grouped_conv2d", planes, values, filters, ends, offsets(library), **outputs, **size)
        case ColumnWeight(values, columns):
            among = bounds(columns, np.array([0, columns.shape[0]], np.int32), together * taps)
            y = op("column_conv2d", planes, values, offsets(columns), among, **size)
        case TapWeight(values, columns, rows):
            y = op("tap_conv2d", planes, values, offsets(columns), bounds(columns, rows, together * taps), **size)
        case _:
            raise WeightError(f"conv2d does not take a {type(weight).__name__}")
    height, width = made.size
    rows_of_lanes = y[:, :, : height * made.pitch].reshape(*y.shape[:2], height, made.pitch)
    return rows_of_lanes[:, :, :, :width]


def pruned_linear(x: Any, weight: SparseWeight) -> Any:
    """x @ weight.T for x [..., in]."""
    if len(weight.shape) != 2 or x.shape[-1] != weight.shape[1]:
        raise WeightError(f"linear: x {tuple(x.shape)} and a weight of shape {tuple(weight.shape)}")
    match weight:
        case BlockWeight(values, columns, rows):
            blocks = values
        case TapWeight(values, columns, rows):
            blocks = values.reshape(-1, 1, 1)
        case _:
            raise WeightError(f"linear does not take a {type(weight).__name__}")
    y = op("block_matmul", x.reshape(-1, x.shape[-1]), blocks, columns, rows)
    return y.reshape(*x.shape[:-1], weight.shape[0])
