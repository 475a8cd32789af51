"""The matrix product. Float and complex ones call a BLAS where the runtime has one; it is loops elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparsec.errors import DTypeError, ShapeError
from sparsec.ir.graph import Attrs
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops.declare import SAMPLES, refuse_half
from sparsec.ir.ops.record import Case, Kind, OpRecord, Sparse, case, register
from sparsec.ir.scalar import S, const, index
from sparsec.ir.types import TensorType, dtype_name


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
