"""Layers whose weights a pruner made: convolutions over stored taps, kernels or columns, products with blocks."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsec.errors import WeightError
from sparsec.nn.program import op
from sparsec.sparse.weights import BlockWeight, ColumnWeight, PatternWeight, SparseWeight, TapWeight

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
    planes = op("window_planes", x, **window)
    size = {"size": tuple(_outputs(x.shape[2 + axis], axis, window) for axis in (0, 1))}

    def offsets(columns: Any) -> Any:
        return op("tap_offsets", columns, extent=tuple(x.shape[2:]), **window)

    match weight:
        case PatternWeight(values, channels, patterns, rows, library):
            starts = offsets(channels * np.int32(kernel[0] * kernel[1]))
            return op("pattern_conv2d", planes, values, starts, patterns, rows, offsets(library), **size)
        case ColumnWeight(values, columns):
            return op("column_conv2d", planes, values, offsets(columns), **size)
        case TapWeight(values, columns, rows):
            return op("tap_conv2d", planes, values, offsets(columns), rows, **size)
    raise WeightError(f"conv2d does not take a {type(weight).__name__}")


def _outputs(extent: int, axis: int, window: dict[str, Any]) -> int:
    reach = window["dilation"][axis] * (window["kernel"][axis] - 1)
    return int((extent + sum(window["padding"][axis]) - reach - 1) // window["stride"][axis] + 1)


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
