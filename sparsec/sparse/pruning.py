"""One interface to all pruners: a dense weight and a method in, a sparse weight out.

    prune(w, "channel", ratio=0.5)                   # ChannelSparse: half of the filters
    prune(w, "pattern")                              # PatternWeight: 4 of 9 taps of each 3x3 kernel
    prune(w, "pattern", connectivity=0.72)           # ... of the 28% of kernels that are left
    prune(w, "pattern", reorder=True)                # PatternGroups: in the order in which they are computed
    prune(w, "connectivity", ratio=0.5)              # PatternWeight: whole kernels
    prune(w, "column", ratio=0.5)                    # ColumnWeight
    prune(w, "block", ratio=0.5, block=(8, 8))       # BlockWeight of a matrix
    prune(w, "unstructured", ratio=0.9)              # TapWeight

`ratio` is the share that goes. What stays is what has most energy (sum of squares); of equals, the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from sparsec.errors import WeightError
from sparsec.sparse.channel import ChannelSparse, from_dense
from sparsec.sparse.weights import (
    Array,
    BlockWeight,
    ColumnWeight,
    PatternGroups,
    PatternWeight,
    SparseWeight,
    TapWeight,
)

__all__ = ["METHODS", "prune"]


def prune(weight: Array, method: str, **options: Any) -> ChannelSparse | SparseWeight:
    """The pruned weight. weight: [O, I, R, S] of a convolution or [O, I] of a dense layer, floats; not changed.

    method: a name in `METHODS`, whose functions document the options. Raises WeightError for a method that does
    not exist, a shape that the method does not take, or a ratio outside [0, 1).
    """
    if method not in METHODS:
        raise WeightError(f"there is no pruning method {method!r}", hint=f"one of {', '.join(sorted(METHODS))}")
    weight = np.asarray(weight)
    if weight.ndim not in (2, 4) or weight.dtype.kind != "f":
        raise WeightError(f"a weight is [O, I, R, S] or [O, I] of floats, not {weight.dtype}{list(weight.shape)}")
    return METHODS[method](weight, **options)


def _channel(weight: Array, ratio: float) -> ChannelSparse:
    """The strongest filters."""
    energy = np.sum(np.square(weight, dtype=np.float64), axis=tuple(range(1, weight.ndim)))
    return from_dense(weight, _strongest(energy, _left(len(energy), ratio)), ratio=ratio, axis=0)


def _connectivity(weight: Array, ratio: float) -> PatternWeight:
    """The strongest kernels (o, i) of the whole layer, with all their taps."""
    _need(weight, 4, "connectivity")
    taps = weight.shape[2] * weight.shape[3]
    return _kernels(weight, ratio, np.arange(taps, dtype=np.int32)[None])


def _pattern(
    weight: Array, entries: int = 4, patterns: int = 8, connectivity: float = 0.0, reorder: bool = False
) -> PatternWeight | PatternGroups:
    """Each kernel with `entries` of its taps, by one of at most `patterns` patterns.

    A kernel's own pattern is its centre and its strongest other taps; the most frequent ones make the library,
    and each kernel takes the one of them that keeps most of its energy. connectivity: the share of kernels that
    go, too. reorder: store kernels that read the same side by side; convolutions are faster with that.
    """
    _need(weight, 4, "pattern")
    made = _kernels(weight, connectivity, pattern_library(weight, entries, patterns))
    return PatternGroups.of(made) if reorder else made


def pattern_library(weight: Array, entries: int = 4, patterns: int = 8) -> Array:
    """The most frequent own patterns of a weight's kernels: i32[P, entries], taps sorted, most frequent first."""
    taps = weight.shape[2] * weight.shape[3]
    if not 1 <= entries <= taps or patterns < 1:
        raise WeightError(f"{patterns} patterns of {entries} of {taps} taps")
    energy = np.square(weight.reshape(-1, taps), dtype=np.float64)
    energy[:, taps // 2] = np.inf
    own = np.sort(np.argsort(-energy, axis=1, kind="stable")[:, :entries], axis=1)
    found, first, count = np.unique(own, axis=0, return_index=True, return_counts=True)
    order = np.lexsort((first, -count))[:patterns]
    return found[order].astype(np.int32)


def _kernels(weight: Array, ratio: float, library: Array) -> PatternWeight:
    outputs, inputs = weight.shape[:2]
    flat = weight.reshape(outputs, inputs, -1)
    energy = np.square(flat, dtype=np.float64)
    kept = np.stack([energy[..., taps].sum(axis=-1) for taps in library], axis=-1)  # [O, I, P]
    best = kept.argmax(axis=-1)
    chosen = _strongest(kept.max(axis=-1).reshape(-1), _left(outputs * inputs, ratio))
    filters, channels = np.divmod(chosen, inputs)
    patterns = best[filters, channels]
    values = np.take_along_axis(flat[filters, channels], library[patterns], axis=1)
    return PatternWeight(
        values, channels.astype(np.int32), patterns.astype(np.int32), _bounds(filters, outputs),
        np.ascontiguousarray(library), weight.shape,
    )  # fmt: skip


def _column(weight: Array, ratio: float) -> ColumnWeight:
    """The strongest columns (i, r, s), the same ones in all filters."""
    _need(weight, 4, "column")
    flat = weight.reshape(len(weight), -1)
    energy = np.sum(np.square(flat, dtype=np.float64), axis=0)
    columns = _strongest(energy, _left(len(energy), ratio))
    return ColumnWeight(np.ascontiguousarray(flat[:, columns]), columns.astype(np.int32), weight.shape)


def _block(weight: Array, ratio: float, block: tuple[int, int] = (8, 8)) -> BlockWeight:
    """The strongest blocks of a matrix. block: their height and width, which must tile it."""
    _need(weight, 2, "block")
    (outputs, inputs), (height, width) = weight.shape, block
    if min(block) < 1 or outputs % height or inputs % width:
        raise WeightError(f"blocks of {height} x {width} do not tile a matrix of {outputs} x {inputs}")
    grid = weight.reshape(outputs // height, height, inputs // width, width).transpose(0, 2, 1, 3)
    energy = np.sum(np.square(grid, dtype=np.float64), axis=(2, 3))
    rows, columns = np.divmod(_strongest(energy.reshape(-1), _left(energy.size, ratio)), inputs // width)
    return BlockWeight(
        _by_columns(grid[rows, columns]), columns.astype(np.int32), _bounds(rows, outputs // height),
        weight.shape,
    )  # fmt: skip


def _unstructured(weight: Array, ratio: float) -> TapWeight:
    """The strongest elements of the whole layer."""
    flat = weight.reshape(len(weight), -1)
    chosen = _strongest(np.square(flat.reshape(-1), dtype=np.float64), _left(flat.size, ratio))
    rows, columns = np.divmod(chosen, max(flat.shape[1], 1))
    return TapWeight(flat[rows, columns], columns.astype(np.int32), _bounds(rows, len(weight)), weight.shape)


METHODS: dict[str, Callable[..., ChannelSparse | SparseWeight]] = {
    "channel": _channel,
    "pattern": _pattern,
    "connectivity": _connectivity,
    "column": _column,
    "block": _block,
    "unstructured": _unstructured,
}


def _left(count: int, ratio: float) -> int:
    """How many of `count` stay: at least one of any."""
    if not 0 <= ratio < 1:
        raise WeightError(f"a ratio is at least 0 and below 1, not {ratio}")
    return min(count, max(1, math.ceil(count * (1 - ratio) - 1e-9)))


def _strongest(energy: Array, count: int) -> Array:
    """Positions of the `count` largest, in order of position; NaN counts as largest, so that it is not lost."""
    rank = np.where(np.isnan(energy), np.inf, energy)
    return np.sort(np.argsort(-rank, kind="stable")[:count])


def _bounds(rows: Array, count: int) -> Array:
    """Where the entries of each row begin, and the end of the last; `rows` is sorted."""
    return np.searchsorted(rows, np.arange(count + 1)).astype(np.int32)


def _need(weight: Array, rank: int, method: str) -> None:
    if weight.ndim != rank:
        what = "[O, I, R, S]" if rank == 4 else "[O, I]"
        raise WeightError(f"{method} pruning takes a weight {what}, not {list(weight.shape)}")


def _by_columns(blocks: Array) -> Array:
    """The same blocks, in memory column by column: the rows of a block are the lanes of its product."""
    return np.ascontiguousarray(blocks.transpose(0, 2, 1)).transpose(0, 2, 1)
