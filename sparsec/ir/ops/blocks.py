"""The product with a matrix of which only some blocks are stored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparsec.errors import DTypeError, ShapeError
from sparsec.ir.dims import Poly
from sparsec.ir.graph import Attrs
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops.record import Kind, OpRecord, case, i32, register
from sparsec.ir.scalar import S, const, index
from sparsec.ir.types import F32, F64, I32, I64, TensorType


def _types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    x, values, columns, rows = types
    if x.dtype != values.dtype or x.dtype not in (F32, F64) or columns.dtype != I32 or rows.dtype != I32:
        raise DTypeError(f"block_matmul does not take ({', '.join(map(str, types))})")
    ranks = (x.rank, values.rank, columns.rank, rows.rank)
    if ranks != (2, 3, 1, 1) or values.shape[:1] != columns.shape or isinstance(values.shape[1], Poly):
        raise ShapeError(f"block_matmul: {x}, blocks {values} at {columns}, rows {rows}")
    return [TensorType(x.dtype, (x.shape[0], (rows.shape[0] - 1) * values.shape[1]))]


def _array(x: np.ndarray, values: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    _, height, width = values.shape
    out = np.zeros((len(x), len(rows) - 1, height))
    for o in range(len(rows) - 1):
        for b in range(rows[o], rows[o + 1]):
            seen = x[:, columns[b] * width : (columns[b] + 1) * width]
            out[:, o] += seen.astype(np.float64) @ values[b].T.astype(np.float64)
    return out.reshape(len(x), (len(rows) - 1) * height).astype(x.dtype)


def _lower(nest: NestBuilder) -> None:
    """Lanes are the rows of a block: values that lie column by column are read in runs."""
    dtype = nest.result_dtype()
    _, height, width = nest.shape(1)
    (bounds,) = nest.shape(3)
    with (
        nest.loops((nest.shape(0)[0], S.sub(bounds, index(1))), bind="parallel") as (m, o),
        nest.loop(height, bind="vector", stem="lane") as lane,
    ):
        first = S.cast(nest.read(3, o), I64)
        last = S.cast(nest.read(3, S.add(o, index(1))), I64)
        total = nest.mut(const(0, dtype), "total")
        with nest.loop(last, first) as b:
            start = nest.let(S.mul(S.cast(nest.read(2, b), I64), width), "start")
            with nest.loop(width) as c:
                nest.assign(total, S.fma(nest.read(0, m, S.add(start, c)), nest.read(1, b, lane, c), total))
        nest.write(0, (m, S.add(S.mul(o, height), lane)), total)


register(OpRecord(
    name="block_matmul", kind=Kind.NEST, arity=4,
    doc="`block_matmul x[M,I], values[B,h,w], columns, rows`: x @ W.T, where block row o of W has the blocks rows[o] "
        "to rows[o+1], each at its block column.",
    infer=_types, ref=_array, lower=_lower, work=lambda types, attrs: types[0].shape[0] * types[1].size,
    cases=(
        case((2, 6), (3, 4, 2), i32(2, 0, 1), i32(0, 1, 1, 3), dtypes="f4", ulp=8),
        case((1, 6), (2, 16, 3), i32(0, 1), i32(0, 2), ulp=8),
        case((3, 4), (5, 1, 1), i32(0, 3, 1, 2, 3), i32(0, 2, 5), ulp=8),
        case((1, 4), (0, 2, 2), i32(), i32(0, 0, 0), dtypes="f4"),
        case((0, 6), (2, 16, 3), i32(0, 1), i32(0, 2)),
    ),
))
