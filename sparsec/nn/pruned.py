"""Layers whose weights a pruner made: convolutions over stored taps, kernels or columns, products with blocks."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsec.errors import WeightError
from sparsec.ir.ops.plane_layout import plane_layout
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
    window = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    match weight:
        case PatternWeight(values, channels, patterns, rows, library):
            return op("pruned_conv2d", x, values, channels, patterns, rows, library, **window)
        case PatternGroups(values, filters, ends, library):
            return op("reordered_conv2d", x, values, filters, ends, library, outputs=weight.shape[0], **window)
    return _by_taps(x, weight, window)


def _by_taps(x: Any, weight: SparseWeight, window: dict[str, Any]) -> Any:
    """Weights that name taps: each is a run of the planes of the input."""
    kernel = window["kernel"]
    made = plane_layout(tuple(x.shape[2:]), kernel, window)
    planes = op("window_planes", x, **window)
    taps, together = kernel[0] * kernel[1], made.together(x.dtype.itemsize)
    parts = -(-weight.shape[1] // together)
    size = {"size": made.size}

    def offsets(columns: Any) -> Any:
        return op("tap_offsets", columns, extent=tuple(x.shape[2:]), **window)

    def bounds(columns: Any, rows: Any) -> Any:
        return op("tap_bounds", columns, rows, step=together * taps, parts=parts)

    match weight:
        case ColumnWeight(values, columns):
            among = bounds(columns, np.array([0, columns.shape[0]], np.int32))
            y = op("column_conv2d", planes, values, offsets(columns), among, **size)
        case TapWeight(values, columns, rows):
            y = op("tap_conv2d", planes, values, offsets(columns), bounds(columns, rows), **size)
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
