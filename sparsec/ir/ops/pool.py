"""Pooling over windows of an image [N, C, H, W], channel by channel. What lies around the image is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparsec.errors import DTypeError, ShapeError
from sparsec.ir.dims import Poly
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Const, Expr, Var
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops import rules
from sparsec.ir.ops.declare import refuse_half
from sparsec.ir.ops.record import Case, Kind, OpRecord, Sparse, case, register
from sparsec.ir.scalar import S, const, index
from sparsec.ir.types import DType, TensorType, dtype_name

Pair = tuple[int, int]
_ATTRS = ("kernel", "stride", "before", "dilation", "size")


def _image(name: str, types: Sequence[TensorType], kinds: str) -> TensorType:
    (x,) = types
    if x.dtype.kind not in kinds:
        raise DTypeError(f"{name} does not take {dtype_name(x.dtype)}")
    refuse_half(name, x.dtype)
    if x.rank != 4 or any(isinstance(d, Poly) for d in x.shape[2:]):
        raise ShapeError(f"{name} takes [N,C,H,W] of known height and width, not {x}")
    return x


def _window_types(name: str, kinds: str) -> Callable[[Sequence[TensorType], Attrs], list[TensorType]]:
    def infer(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
        x = _image(name, types, kinds)
        if min(*attrs["kernel"], *attrs["stride"], *attrs["dilation"]) < 1 or min(attrs["before"]) < 0:
            raise ShapeError(f"{name}: kernel, stride and dilation are positive, padding not negative")
        for axis in (0, 1):
            extent = int(x.shape[2 + axis])  # type: ignore[arg-type]
            if not all(_taps(extent, axis, o, attrs) for o in range(attrs["size"][axis])):
                raise ShapeError(f"{name}: a window lies outside the image {x.shape[2:]}")
        return [TensorType(x.dtype, (*x.shape[:2], *attrs["size"]))]

    return infer


def _taps(extent: int, axis: int, o: int, attrs: Attrs) -> list[int]:
    """The elements along an axis that output `o` sees."""
    first = o * attrs["stride"][axis] - attrs["before"][axis]
    taps = (first + r * attrs["dilation"][axis] for r in range(attrs["kernel"][axis]))
    return [t for t in taps if 0 <= t < extent]


def _by_windows(fold: Callable[[np.ndarray], np.ndarray]) -> Callable[..., np.ndarray]:
    def ref(x: np.ndarray, **attrs: Any) -> np.ndarray:
        out = np.empty((*x.shape[:2], *attrs["size"]), x.dtype)
        for i, j in np.ndindex(*attrs["size"]):
            rows, columns = _taps(x.shape[2], 0, i, attrs), _taps(x.shape[3], 1, j, attrs)
            out[:, :, i, j] = fold(x[:, :, rows][:, :, :, columns])
        return out

    return ref


class _Pooling:
    """Rows of results, one input row at a time: a loop along the row with the taps of a window written out."""

    def __init__(
        self, nest: NestBuilder, attrs: Attrs, start: Callable[[DType], Expr], step: Callable[[Expr, Expr], Expr]
    ) -> None:
        self.nest, self.step = nest, step
        self.begin = start(nest.result_dtype())
        self.kernel, self.stride, self.before = attrs["kernel"], attrs["stride"], attrs["before"]
        self.dilation, self.size = attrs["dilation"], attrs["size"]
        _, _, self.height, self.width = nest.shape(0)

    def write(self) -> None:
        nest = self.nest
        with nest.loops(nest.result_shape()[:3], bind="parallel") as (n, c, i):
            with nest.loop(index(self.size[1])) as j:
                nest.write(0, (n, c, i, j), self.begin)
            with nest.loop(index(self.kernel[0])) as r:
                row = nest.let(S.add(S.mul(i, index(self.stride[0])),
                                     S.sub(S.mul(r, index(self.dilation[0])), index(self.before[0]))), "row")
                with nest.if_(S.logical_and(S.ge(row, index(0)), S.lt(row, self.height))):
                    self._row((n, c, i), row)

    def _row(self, at: tuple[Var, Var, Var], row: Expr) -> None:
        low, high = self._inner()
        self._columns(at, row, 0, low, inside=False)
        self._columns(at, row, low, high, inside=True)
        self._columns(at, row, high, self.size[1], inside=False)

    def _inner(self) -> Pair:
        """Outputs whose window lies inside the row."""
        assert isinstance(self.width, Const)  # inferred to be known
        width = int(self.width.value.real)
        reach = self.dilation[1] * (self.kernel[1] - 1)
        low = min(-(-self.before[1] // self.stride[1]), self.size[1])
        high = (width - 1 - reach + self.before[1]) // self.stride[1] + 1
        return low, max(low, min(high, self.size[1]))

    def _columns(self, at: tuple[Var, Var, Var], row: Expr, low: int, high: int, *, inside: bool) -> None:
        if low >= high:
            return
        nest, (n, c, i) = self.nest, at
        with nest.loop(index(high), index(low)) as j:
            found = nest.mut(nest.read_result(0, n, c, i, j), "found")
            first = nest.let(S.sub(S.mul(j, index(self.stride[1])), index(self.before[1])))
            for s in range(self.kernel[1]):
                column = S.add(first, index(s * self.dilation[1]))
                if inside:
                    nest.assign(found, self.step(found, nest.read(0, n, c, row, column)))
                    continue
                column = nest.let(column)
                with nest.if_(S.logical_and(S.ge(column, index(0)), S.lt(column, self.width))):
                    nest.assign(found, self.step(found, nest.read(0, n, c, row, column)))
            nest.write(0, (n, c, i, j), found)


def _channelwise(attrs: Attrs, rank: int) -> tuple[int, ...]:
    return (0, 1)


def _window_cases(dtypes: Sequence[str], ulp: int = 0) -> tuple[Case, ...]:
    """2x2; 3x3 with stride 2 and a border; dilated; a last window that reaches over the edge; no image."""
    plain, bordered, dilated, over = (
        dict(zip(_ATTRS, pairs, strict=True)) for pairs in (
            ((2, 2), (2, 2), (0, 0), (1, 1), (2, 3)), ((3, 3), (2, 2), (1, 1), (1, 1), (3, 4)),
            ((2, 3), (1, 1), (1, 2), (2, 2), (5, 6)), ((2, 2), (2, 2), (0, 0), (1, 1), (3, 4)),
        )
    )
    found = [Case(((2, 3, 5, 7),), (d,), attrs, ulp) for d in dtypes for attrs in (plain, bordered)]
    found += [Case(((1, 2, 5, 6),), attrs=dilated, ulp=ulp), Case(((1, 2, 5, 7),), attrs=over, ulp=ulp)]
    return (*found, Case(((0, 2, 5, 7),), attrs=plain))


def _largest(windows: np.ndarray) -> np.ndarray:
    return np.maximum.reduce(windows, axis=(2, 3))


def _larger(a: Expr, x: Expr) -> Expr:
    return rules.larger(a, x)


def _sum(windows: np.ndarray) -> np.ndarray:
    return np.add.reduce(windows, axis=(2, 3), dtype=windows.dtype)


def _zero(dtype: DType) -> Expr:
    return const(0, dtype)


register(OpRecord(
    name="max_pool2d", kind=Kind.NEST, attrs=_ATTRS, numpy=(), sparse=Sparse.KEEP, channelwise=_channelwise,
    doc="The largest element of each window, NaN if one is. Window (i, j) begins at i*stride - before; `size` "
        "windows along each axis.",
    infer=_window_types("max_pool2d", "iuf"), ref=_by_windows(_largest),
    lower=lambda nest, **attrs: _Pooling(nest, attrs, rules.lowest, _larger).write(),
    cases=_window_cases(("f4", "f8", "i4")),
))
register(OpRecord(
    name="sum_pool2d", kind=Kind.NEST, attrs=_ATTRS, numpy=(), sparse=Sparse.KEEP, channelwise=_channelwise,
    doc="The sum of each window (see max_pool2d).",
    infer=_window_types("sum_pool2d", "iuf"), ref=_by_windows(_sum),
    lower=lambda nest, **attrs: _Pooling(nest, attrs, _zero, S.add).write(),
    cases=_window_cases(("f4", "f8"), ulp=8),
))


# --- adaptive --------------------------------------------------------------------------------------------


def _adaptive_types(name: str, kinds: str) -> Callable[[Sequence[TensorType], Attrs], list[TensorType]]:
    def infer(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
        x = _image(name, types, kinds)
        if min(attrs["size"]) < 1 or 0 in x.shape[2:]:
            raise ShapeError(f"{name}: {attrs['size']} windows over {x.shape[2:]}")
        return [TensorType(x.dtype, (*x.shape[:2], *attrs["size"]))]

    return infer


def _by_shares(fold: Callable[[np.ndarray], np.ndarray]) -> Callable[..., np.ndarray]:
    def ref(x: np.ndarray, size: Pair) -> np.ndarray:
        out = np.empty((*x.shape[:2], *size), x.dtype)
        for i, j in np.ndindex(*size):
            (top, bottom), (left, right) = (
                (k * x.shape[2 + a] // size[a], -(-(k + 1) * x.shape[2 + a] // size[a])) for a, k in enumerate((i, j))
            )
            out[:, :, i, j] = fold(x[:, :, top:bottom, left:right])
        return out

    return ref


def _adaptive_lower(
    nest: NestBuilder, size: Pair, start: Callable[[DType], Expr], step: Callable[[Expr, Expr], Expr]
) -> None:
    extents = nest.shape(0)[2:]
    with nest.loops(nest.result_shape(), bind="parallel") as (n, c, *at):
        ends = []
        for o, extent, windows in zip(at, extents, size, strict=True):
            first = nest.let(S.quo(S.mul(o, extent), index(windows)))
            after = S.add(S.mul(S.add(o, index(1)), extent), index(windows - 1))
            ends.append((first, nest.let(S.quo(after, index(windows)))))
        found = nest.mut(start(nest.result_dtype()), "found")
        with nest.loop(ends[0][1], ends[0][0]) as y, nest.loop(ends[1][1], ends[1][0]) as x:
            nest.assign(found, step(found, nest.read(0, n, c, y, x)))
        nest.write(0, (n, c, *at), found)


register(OpRecord(
    name="adaptive_max_pool2d", kind=Kind.NEST, attrs=("size",), numpy=(), sparse=Sparse.KEEP,
    channelwise=_channelwise,
    doc="The largest element of each of the windows of adaptive_sum_pool2d, NaN if one is.",
    infer=_adaptive_types("adaptive_max_pool2d", "iuf"), ref=_by_shares(_largest),
    lower=lambda nest, size: _adaptive_lower(nest, size, rules.lowest, _larger),
    cases=(case((2, 2, 5, 7), size=(2, 3)), case((1, 2, 4, 4), dtypes="i4", size=(4, 2)),
           case((1, 1, 2, 3), size=(3, 5))),
))
register(OpRecord(
    name="adaptive_sum_pool2d", kind=Kind.NEST, attrs=("size",), numpy=(), sparse=Sparse.KEEP,
    channelwise=_channelwise,
    doc="The sums of `size` windows that divide the image as evenly as whole elements allow: window i of n over H "
        "rows is rows floor(i*H/n) to ceil((i+1)*H/n).",
    infer=_adaptive_types("adaptive_sum_pool2d", "f"), ref=_by_shares(_sum),
    lower=lambda nest, size: _adaptive_lower(nest, size, _zero, S.add),
    cases=(case((2, 2, 5, 7), ulp=16, size=(2, 3)), case((1, 2, 4, 4), dtypes="f4", ulp=16, size=(4, 2)),
           case((1, 1, 2, 3), ulp=8, size=(3, 5))),
))
