"""The matrix product. Float and complex ones call a BLAS where the runtime has one; it is loops elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparsec.errors import DTypeError, ShapeError
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Const, Expr
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops.declare import SAMPLES, refuse_half
from sparsec.ir.ops.record import Case, Kind, OpRecord, Sparse, case, register
from sparsec.ir.scalar import S, const, index
from sparsec.ir.types import I32, I64, TensorType, dtype_name


def _types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    a, b = types
    if a.dtype != b.dtype:
        raise DTypeError(f"matmul does not take ({dtype_name(a.dtype)}, {dtype_name(b.dtype)})")
    refuse_half("matmul", a.dtype)
    if a.rank < 2 or a.rank != b.rank or a.shape[:-2] != b.shape[:-2]:
        raise ShapeError(f"matmul: shapes {a.shape} and {b.shape} are not matrices in equal batches")
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(f"matmul: shapes {a.shape} and {b.shape} do not fit: {a.shape[-1]} != {b.shape[-2]}")
    return [TensorType(a.dtype, (*a.shape[:-1], b.shape[-1]))]


def _lower(nest: NestBuilder) -> None:
    if nest.result_dtype().kind in "fc":
        _by_gemm(nest)
    else:
        _by_loops(nest)


def _by_gemm(nest: NestBuilder) -> None:
    """One `gemm` per matrix of the batch: C, A, B with the row and column stride of each.

    Batches that multiply one B are further rows of A where memory allows: their product is one.
    """
    *batch, m, k = nest.shape(0)
    n = nest.shape(1)[-1]
    rank = len(batch)
    strides = [nest.result_stride(rank), nest.result_stride(rank + 1)]
    strides += [nest.operand_stride(operand, axis) for operand in (0, 1) for axis in (rank, rank + 1)]
    while batch and nest.operand_stride(1, len(batch) - 1) == index(0):
        outer = [nest.result_stride(len(batch) - 1), nest.operand_stride(0, len(batch) - 1)]
        if m != index(1) and outer != [S.mul(m, strides[0]), S.mul(m, strides[2])]:
            break
        if m == index(1):
            strides[0], strides[2] = outer
        m = S.mul(batch.pop(), m)
    corner = [index(0)] * (rank - len(batch) + 2)
    with nest.loops(batch) as at:
        places = (
            nest.result_place(0, *at, *corner), nest.operand_place(0, *at, *corner),
            nest.operand_place(1, *at, *corner),
        )
        nest.extern("gemm", places, (m, n, k, *strides), nest.result_dtype())


def _by_loops(nest: NestBuilder) -> None:
    """Integers wrap; on bool the product is `and`, the sum `or`."""
    *batch, m, k = nest.shape(0)
    n = nest.shape(1)[-1]
    dtype = nest.result_dtype()
    with nest.loops((*batch, m, n), bind="parallel") as at:
        *head, i, j = at
        total = nest.mut(const(0, dtype), "total")
        with nest.loop(k) as p:
            a, b = nest.read(0, *head, i, p), nest.read(1, *head, p, j)
            if dtype.kind == "b":
                nest.assign(total, S.logical_or(total, S.logical_and(a, b)))
            else:
                nest.assign(total, S.add(total, S.mul(a, b)))
        nest.write(0, at, total)


def _transposed(b, x):  # type: ignore[no-untyped-def]
    rank = x.type.rank
    return b.op("transpose", x, perm=(*range(rank - 2), rank - 1, rank - 2))


def _cases() -> tuple[Case, ...]:
    dtypes = [d for k in "biufc" for d in SAMPLES[k]]
    return (
        *(case((2, 3), (3, 4), dtypes=d, ulp=8) for d in dtypes),
        case((2, 2, 3), (2, 3, 2), ulp=8), case((2, 0), (0, 3)), case((2, 0), (0, 3), dtypes="i4"),
        case((0, 2, 3), (0, 3, 1), ulp=8), case((0, 3), (3, 2)),
    )


register(OpRecord(
    name="matmul", kind=Kind.NEST, arity=2, numpy=("matmul",), sparse=Sparse.CONTRACT,
    doc="[…, m, k] @ […, k, n] with equal batch axes; zeros where k is 0.",
    work=lambda types, attrs: _types(types, attrs)[0].size * types[0].shape[-1],
    infer=_types, ref=np.matmul, lower=_lower, cases=_cases(),
    grad=lambda b, op, g: (
        b.op("matmul", g, _transposed(b, op.operands[1])), b.op("matmul", _transposed(b, op.operands[0]), g),
    ),
))


def _through_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    a, b, at = types
    if a.dtype != b.dtype or at.dtype != I32:
        raise DTypeError(f"matmul_channels does not take ({', '.join(dtype_name(t.dtype) for t in types)})")
    refuse_half("matmul_channels", a.dtype)
    if a.rank < 2 or a.rank != b.rank or a.shape[:-2] != b.shape[:-2]:
        raise ShapeError(f"matmul_channels: shapes {a.shape} and {b.shape} are not matrices in equal batches")
    if at.shape != a.shape[-1:]:
        raise ShapeError(f"matmul_channels: {a.shape[-1]} columns, but an index of shape {at.shape}")
    return [TensorType(a.dtype, (*a.shape[:-1], b.shape[-1]))]


def _through_array(a: np.ndarray, b: np.ndarray, at: np.ndarray) -> np.ndarray:
    return np.matmul(a, np.take(b, at, axis=-2))  # type: ignore[no-any-return]


#: Rows and columns of the result that are summed side by side: their sums do not wait for each other, and what is
#: read of one operand serves all of the other's. More columns would be in each other's way in the cache.
_ROWS, _COLUMNS = 4, 4


def _through_lower(nest: NestBuilder) -> None:
    """Each row of b is found through the index, where it is; a block of the result shares the way there."""
    m = nest.shape(0)[-2]
    if isinstance(m, Const) and int(m.value.real) < _ROWS:
        _blocks(nest, index(0), m, 1)
        return
    whole = S.mul(S.quo(m, index(_ROWS)), index(_ROWS))
    _blocks(nest, index(0), whole, _ROWS)
    _blocks(nest, whole, m, 1)


def _blocks(nest: NestBuilder, first: Expr, stop: Expr, rows: int) -> None:
    """The rows from `first` to `stop` in blocks; then the columns that no block has."""
    *batch, _, k = nest.shape(0)
    n = nest.shape(1)[-1]
    down, across = S.quo(S.sub(stop, first), index(rows)), S.quo(n, index(_COLUMNS))
    with nest.loops((*batch, down, across), bind="parallel") as (*head, i, j):
        top, left = nest.let(S.add(first, S.mul(i, index(rows)))), nest.let(S.mul(j, index(_COLUMNS)))
        _sums(nest, head, _from(top, rows), _from(left, _COLUMNS), k)
    with nest.loops((*batch, down), bind="parallel") as (*head, i):
        top = nest.let(S.add(first, S.mul(i, index(rows))))
        with nest.loop(n, S.mul(across, index(_COLUMNS))) as j:
            _sums(nest, head, _from(top, rows), [j], k)


def _from(first: Expr, count: int) -> list[Expr]:
    return [S.add(first, index(c)) for c in range(count)]


def _sums(nest: NestBuilder, head: Sequence[Expr], rows: Sequence[Expr], columns: Sequence[Expr], k: Expr) -> None:
    """A block of the result."""
    dtype = nest.result_dtype()
    totals = [[nest.mut(const(0, dtype), "total") for _ in columns] for _ in rows]
    with nest.loop(k) as p:
        row = nest.let(S.cast(nest.read(2, p), I64))
        of_b = [nest.let(nest.read(1, *head, row, j)) for j in columns]
        for i, line in zip(rows, totals, strict=True):
            a = nest.let(nest.read(0, *head, i, p))
            for total, b in zip(line, of_b, strict=True):
                if dtype.kind == "b":
                    nest.assign(total, S.logical_or(total, S.logical_and(a, b)))
                elif dtype.kind == "f":
                    nest.assign(total, S.fma(a, b, total))
                else:
                    nest.assign(total, S.add(total, S.mul(a, b)))
    for i, line in zip(rows, totals, strict=True):
        for j, total in zip(columns, line, strict=True):
            nest.write(0, (*head, i, j), total)


register(OpRecord(
    name="matmul_channels", kind=Kind.NEST, arity=3, numpy=(),
    doc="`matmul_channels a, b, index`: the product of a with the rows of b that the index names, read where they "
        "are.",
    work=lambda types, attrs: _through_types(types, attrs)[0].size * types[0].shape[-1],
    infer=_through_types, ref=_through_array, lower=_through_lower,
    cases=(
        case((2, 3), (5, 4), np.array([0, 2, 4], "i4"), dtypes="f4", ulp=8),
        case((2, 3), (5, 7), np.array([0, 1, 4], "i4"), ulp=8),
        case((2, 2, 2), (2, 3, 4), np.array([1, 2], "i4"), ulp=8),
        case((2, 0), (3, 2), np.array([], "i4")),
        case((2, 2), (4, 3), np.array([0, 3], "i4"), dtypes="i4"),
        case((2, 2), (4, 3), np.array([1, 2], "i4"), dtypes="bool"),
        case((19, 3), (5, 18), np.array([0, 2, 3], "i4"), dtypes="f4", ulp=8),
    ),
))
