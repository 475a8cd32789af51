"""Weights of which single elements, kernels, columns or blocks are stored: what a pruner makes.

Every format is a frozen record of arrays with `to_dense()`, `density` (stored over all elements) and `nbytes`.
Elements of a convolution's weight [O, I, R, S] are named by *column*: `(i * R + r) * S + s`, the place of the
element in its filter.

| format | what is stored |
|---|---|
| `PatternWeight` | whole kernels (o, i), each with the taps of one pattern out of a small library |
| `PatternGroups` | the same, kernels of one input channel and one pattern side by side |
| `ColumnWeight` | the same columns of every filter |
| `TapWeight` | any elements, filter by filter |
| `BlockWeight` | blocks of a matrix |
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from sparsec.errors import WeightError
from sparsec.ir.ops.plane_layout import OUTPUTS

__all__ = ["BlockWeight", "ColumnWeight", "PatternGroups", "PatternWeight", "SparseWeight", "TapWeight"]

Array = np.ndarray[Any, Any]


class SparseWeight:
    """What all formats share. The values may be written to; the indexes are copied, and nobody can.

    A compiled function takes a weight apart into its arrays, which it does not check again.
    """

    values: Array
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in self.parts():
            array = getattr(self, name)
            if name not in ("values", "shape"):
                array = np.array(array, np.int32)
                array.flags.writeable = False
                object.__setattr__(self, name, array)
        self.check()

    def check(self) -> None:
        """Raises WeightError where the arrays do not fit together."""
        raise NotImplementedError

    @classmethod
    def parts(cls) -> tuple[str, ...]:
        """The names of the arrays, and `shape`."""
        return tuple(f.name for f in fields(cls))  # type: ignore[arg-type]

    @classmethod
    def of_parts(cls, parts: Iterable[Any]) -> Self:
        """A weight of parts that are known to fit together (or of what stands for them in a trace)."""
        made = object.__new__(cls)
        for name, part in zip(cls.parts(), parts, strict=True):
            object.__setattr__(made, name, part)
        return made

    def to_dense(self) -> Array:
        """The weight in full: zeros where nothing is stored."""
        raise NotImplementedError

    @property
    def density(self) -> float:
        """Stored elements over all elements."""
        size = int(np.prod(self.shape))
        return self.values.size / size if size else 1.0

    @property
    def nbytes(self) -> int:
        """Bytes of the values and of the indexes beside them."""
        return sum(getattr(self, name).nbytes for name in self.parts() if name != "shape")


@dataclass(frozen=True, eq=False)
class PatternWeight(SparseWeight):
    """Kernels (o, i) with the taps of a pattern each; the others are zero.

    values: [K, E], the E kept elements of each of K kernels. channels: i32[K], the input channel of each, sorted
    within a filter. patterns: i32[K], which pattern of the library it has. rows: i32[O + 1], filter `o` has kernels
    rows[o] to rows[o + 1]. library: [P, E] taps `r * S + s`, sorted. shape: (O, I, R, S).
    Raises WeightError where these do not fit together.
    """

    values: Array
    channels: Array
    patterns: Array
    rows: Array
    library: Array
    shape: tuple[int, int, int, int]

    def check(self) -> None:
        outputs, inputs, *kernel = self.shape
        kernels = len(self.channels)
        _check_rows(self.rows, outputs, kernels)
        if self.values.shape != (kernels, self.library.shape[1]) or self.patterns.shape != (kernels,):
            raise WeightError(
                f"{kernels} kernels of {self.library.shape[1]} taps with values {self.values.shape} and "
                f"{len(self.patterns)} patterns"
            )
        _check_range("input channel", self.channels, inputs)
        _check_range("pattern", self.patterns, len(self.library))
        _check_range("tap", self.library, kernel[0] * kernel[1])
        _check_sorted("the input channels of a filter", self.channels, self.rows)

    def to_dense(self) -> Array:
        outputs, inputs, *kernel = self.shape
        dense = np.zeros((outputs, inputs, kernel[0] * kernel[1]), self.values.dtype)
        filters = _row_of_each(self.rows)
        dense[filters[:, None], self.channels[:, None], self.library[self.patterns]] = self.values
        return dense.reshape(self.shape)


@dataclass(frozen=True, eq=False)
class PatternGroups(SparseWeight):
    """Kernels with a pattern each, in the order in which they are computed: filters in portions of `OUTPUTS`; in a
    portion by input channel, then by pattern. What the kernels of such a group read of the input is the same, and is
    loaded once for all of them.

    values: [K, E]. filters: i32[K], the filter of each kernel. bounds: i32[Q, I * P + 1], the kernels bounds[q, g] to
    bounds[q, g + 1] are group g = channel * P + pattern of portion q. library: [P, E] taps, sorted. shape:
    (O, I, R, S). Raises WeightError where these do not fit together.
    """

    values: Array
    filters: Array
    bounds: Array
    library: Array
    shape: tuple[int, int, int, int]

    @classmethod
    def of(cls, weight: PatternWeight) -> PatternGroups:
        """A weight with its kernels in another order."""
        outputs, inputs, *_ = weight.shape
        portions, patterns = -(-outputs // OUTPUTS), len(weight.library)
        filters = _row_of_each(weight.rows)
        group = (filters // OUTPUTS * inputs + weight.channels) * patterns + weight.patterns
        order = np.argsort(group, kind="stable")
        ends = np.searchsorted(group[order], np.arange(portions * inputs * patterns + 1)).astype(np.int32)
        first = np.arange(portions)[:, None] * inputs * patterns
        bounds = ends[first + np.arange(inputs * patterns + 1)]
        return cls(weight.values[order], filters[order], bounds, weight.library, weight.shape)

    def check(self) -> None:
        outputs, inputs, *kernel = self.shape
        kernels, patterns = len(self.filters), len(self.library)
        portions = -(-outputs // OUTPUTS)
        if self.values.shape != (kernels, self.library.shape[1]) or self.bounds.shape != (
                portions, inputs * patterns + 1):
            raise WeightError(
                f"{kernels} kernels of {self.library.shape[1]} taps with values {self.values.shape} and bounds "
                f"{self.bounds.shape}"
            )
        ends = self.bounds.reshape(-1)
        if (np.diff(ends) < 0).any() or (portions and (ends[0] != 0 or ends[-1] != kernels)):
            raise WeightError("the bounds of groups do not go from 0 up to the number of kernels")
        if (self.bounds[1:, 0] != self.bounds[:-1, -1]).any():
            raise WeightError("a portion does not begin where the one before it ends")
        _check_range("tap", self.library, kernel[0] * kernel[1])
        _check_range("filter", self.filters, outputs)
        portion, _ = self._group_of_each()
        if (self.filters // OUTPUTS != portion).any():
            raise WeightError("a filter is not of the portion that its kernel is in")

    def _group_of_each(self) -> tuple[Array, Array]:
        counts = np.diff(self.bounds, axis=1)
        found = np.repeat(np.arange(counts.size), counts.reshape(-1))
        return found // max(counts.shape[1], 1), found % max(counts.shape[1], 1)

    def to_dense(self) -> Array:
        outputs, inputs, *kernel = self.shape
        dense = np.zeros((outputs, inputs, kernel[0] * kernel[1]), self.values.dtype)
        _, group = self._group_of_each()
        channels, patterns = np.divmod(group, len(self.library))
        dense[self.filters[:, None], channels[:, None], self.library[patterns]] = self.values
        return dense.reshape(self.shape)


@dataclass(frozen=True, eq=False)
class ColumnWeight(SparseWeight):
    """The same columns (i, r, s) of all filters.

    values: [O, n]. columns: i32[n], sorted, unique. shape: (O, I, R, S). Raises WeightError where they do not fit.
    """

    values: Array
    columns: Array
    shape: tuple[int, int, int, int]

    def check(self) -> None:
        outputs, *rest = self.shape
        if self.values.shape != (outputs, len(self.columns)):
            raise WeightError(f"values {self.values.shape} for {outputs} filters of {len(self.columns)} columns")
        _check_range("column", self.columns, int(np.prod(rest)))
        _check_sorted("the columns", self.columns, np.array([0, len(self.columns)]))

    def to_dense(self) -> Array:
        dense = np.zeros((self.shape[0], int(np.prod(self.shape[1:]))), self.values.dtype)
        dense[:, self.columns] = self.values
        return dense.reshape(self.shape)


@dataclass(frozen=True, eq=False)
class TapWeight(SparseWeight):
    """Any elements of a convolution's weight, or of a matrix [O, I].

    values: [T]. columns: i32[T], sorted within a filter. rows: i32[O + 1], filter `o` has elements rows[o] to
    rows[o + 1]. Raises WeightError where they do not fit.
    """

    values: Array
    columns: Array
    rows: Array
    shape: tuple[int, ...]

    def check(self) -> None:
        outputs, *rest = self.shape
        _check_rows(self.rows, outputs, len(self.columns))
        if self.values.shape != self.columns.shape:
            raise WeightError(f"{self.values.size} values at {self.columns.size} columns")
        _check_range("column", self.columns, int(np.prod(rest)))
        _check_sorted("the columns of a filter", self.columns, self.rows)

    def to_dense(self) -> Array:
        dense = np.zeros((self.shape[0], int(np.prod(self.shape[1:]))), self.values.dtype)
        dense[_row_of_each(self.rows), self.columns] = self.values
        return dense.reshape(self.shape)


@dataclass(frozen=True, eq=False)
class BlockWeight(SparseWeight):
    """Blocks of a matrix [O, I].

    values: [B, h, w]. columns: i32[B], the block column of each block, sorted within a row of blocks. rows:
    i32[O / h + 1], block row `o` has blocks rows[o] to rows[o + 1]. shape: (O, I), multiples of h and w.
    Raises WeightError where they do not fit.
    """

    values: Array
    columns: Array
    rows: Array
    shape: tuple[int, int]

    def check(self) -> None:
        blocks, height, width = self.values.shape
        if self.shape[0] % height or self.shape[1] % width:
            raise WeightError(f"blocks of {height} x {width} do not tile a matrix of {self.shape}")
        _check_rows(self.rows, self.shape[0] // height, blocks)
        if self.columns.shape != (blocks,):
            raise WeightError(f"{blocks} blocks at {self.columns.size} columns")
        _check_range("block column", self.columns, self.shape[1] // width)
        _check_sorted("the columns of a block row", self.columns, self.rows)

    def to_dense(self) -> Array:
        _, height, width = self.values.shape
        grid = np.zeros((self.shape[0] // height, self.shape[1] // width, height, width), self.values.dtype)
        grid[_row_of_each(self.rows), self.columns] = self.values
        return np.ascontiguousarray(grid.transpose(0, 2, 1, 3)).reshape(self.shape)


def _row_of_each(rows: Array) -> Array:
    return np.repeat(np.arange(len(rows) - 1), np.diff(rows))


def _check_rows(rows: Array, count: int, entries: int) -> None:
    good = rows.shape == (count + 1,) and rows[0] == 0 and rows[-1] == entries and (np.diff(rows) >= 0).all()
    if not good:
        raise WeightError(f"the row bounds must be {count + 1} numbers that grow from 0 to {entries}")


def _check_range(what: str, numbers: Array, stop: int) -> None:
    wrong = numbers[(numbers < 0) | (numbers >= stop)]
    if wrong.size:
        raise WeightError(f"{what} {wrong.flat[0]} is out of range for {stop}")


def _check_sorted(what: str, numbers: Array, rows: Array) -> None:
    starts = np.zeros(len(numbers), bool)
    starts[rows[:-1][rows[:-1] < len(numbers)]] = True
    if (np.diff(numbers) <= 0)[~starts[1:]].any():
        raise WeightError(f"{what} must be sorted, each there once")
