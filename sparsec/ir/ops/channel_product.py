"""Products with a matrix of which some rows are read: those of the channels that are live.

    %y = matmul_channels %x, %w, %i                  x[:, p] goes with row i[p] of w, for every p
    %y = matmul_groups %x, %w, %g, %m {by=16}        the same by groups of 16 rows: x is in its place among them

Weights are read where they lie. Where the elements of a column lie side by side (the weight [out, in] of a dense
layer, transposed), sixteen rows are one load, and a group of them none of which is live is skipped.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparsec.errors import DTypeError, ShapeError
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Expr
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops.declare import refuse_half
from sparsec.ir.ops.record import Kind, OpRecord, case, register
from sparsec.ir.scalar import S, const, index
from sparsec.ir.types import F32, F64, I32, I64, TensorType, dtype_name


def _checked(name: str, types: Sequence[TensorType]) -> tuple[TensorType, TensorType]:
    a, b, *lists = types
    if a.dtype != b.dtype or any(t.dtype != I32 for t in lists):
        raise DTypeError(f"{name} does not take ({', '.join(dtype_name(t.dtype) for t in types)})")
    refuse_half(name, a.dtype)
    if a.rank < 2 or a.rank != b.rank or a.shape[:-2] != b.shape[:-2]:
        raise ShapeError(f"{name}: shapes {a.shape} and {b.shape} are not matrices in equal batches")
    return a, b


def _types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    a, b = _checked("matmul_channels", types)
    if types[2].shape != a.shape[-1:]:
        raise ShapeError(f"matmul_channels: {a.shape[-1]} columns, but an index of shape {types[2].shape}")
    return [TensorType(a.dtype, (*a.shape[:-1], b.shape[-1]))]


def _array(a: np.ndarray, b: np.ndarray, at: np.ndarray) -> np.ndarray:
    return np.matmul(a, np.take(b, at, axis=-2))  # type: ignore[no-any-return]


def _lower(nest: NestBuilder) -> None:
    """One sum for each element, in order."""
    *_, k = nest.shape(0)
    dtype = nest.result_dtype()
    with nest.loops(nest.result_shape(), bind="parallel") as (*head, i, j):
        total = nest.mut(const(0, dtype), "total")
        with nest.loop(k) as p:
            row = nest.let(S.cast(nest.read(2, p), I64))
            a, b = nest.read(0, *head, i, p), nest.read(1, *head, row, j)
            if dtype.kind == "b":
                nest.assign(total, S.logical_or(total, S.logical_and(a, b)))
            elif dtype.kind == "f":
                nest.assign(total, S.fma(a, b, total))
            else:
                nest.assign(total, S.add(total, S.mul(a, b)))
        nest.write(0, (*head, i, j), total)


register(OpRecord(
    name="matmul_channels", kind=Kind.NEST, once=True, arity=3, numpy=(),
    doc="`matmul_channels a, b, index`: the product of a with the rows of b that the index names, read where they "
        "are.",
    work=lambda types, attrs: _types(types, attrs)[0].size * types[0].shape[-1],
    infer=_types, ref=_array, lower=_lower,
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


# --- by groups of rows ---------------------------------------------------------------------------------------

#: Columns of the result that are summed side by side: what is read of `a` serves all of them.
_COLUMNS = 6


def _group_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    a, b = _checked("matmul_groups", types)
    by = attrs["by"]
    if a.rank != 2 or a.dtype not in (F32, F64) or by not in (2, 4, 8, 16):
        raise ShapeError(f"matmul_groups takes matrices of f32 or f64 and groups of 2, 4, 8 or 16, not {a}, {by}")
    if types[2].shape != types[3].shape or a.shape[1:] != (types[2].shape[0] * by,):
        raise ShapeError(f"matmul_groups: {types[2]} of {by} with masks {types[3]}, but {a.shape[1]} columns")
    return [TensorType(a.dtype, (a.shape[0], b.shape[1]))]


def _group_array(a: np.ndarray, b: np.ndarray, groups: np.ndarray, masks: np.ndarray, by: int) -> np.ndarray:
    rows = (groups[:, None] * by + np.arange(by)).reshape(-1)
    live = (masks[:, None] >> np.arange(by) & 1).reshape(-1) == 1
    return np.matmul(a[:, live], b[rows[live]])  # type: ignore[no-any-return]


def _group_lower(nest: NestBuilder, by: int) -> None:
    """A lane for each row of a group; blocks of columns, then the columns that are left."""
    m, _ = nest.shape(0)
    n = nest.shape(1)[1]
    whole = S.quo(n, index(_COLUMNS))
    with nest.loops((whole, m), bind="parallel") as (block, i):
        first = nest.let(S.mul(block, index(_COLUMNS)))
        _dots(nest, by, i, [S.add(first, index(c)) for c in range(_COLUMNS)])
    with nest.loop(n, S.mul(whole, index(_COLUMNS)), bind="parallel") as j, nest.loop(m, bind="parallel") as i:
        _dots(nest, by, i, [j])


def _dots(nest: NestBuilder, by: int, i: Expr, columns: Sequence[Expr]) -> None:
    """Row `i` of a times some columns of b. Rows that are not live are not read: they may hold anything."""
    dtype = nest.result_dtype()
    sums = nest.scratch(dtype, by * len(columns), "sums")
    (groups,) = nest.shape(2)
    with nest.loop(index(by), bind="vector", stem="lane") as lane:
        totals = [nest.mut(const(0, dtype), "total") for _ in columns]
        with nest.loop(groups) as g:
            row = nest.let(S.add(S.mul(S.cast(nest.read(2, g), I64), index(by)), lane))
            a = nest.read(0, i, S.add(S.mul(g, index(by)), lane))
            bit = S.logical_and(S.shr(nest.read(3, g), S.cast(lane, I32)), const(1, I32))
            with nest.if_(S.ne(bit, const(0, I32))):
                for total, j in zip(totals, columns, strict=True):
                    nest.assign(total, S.fma(nest.read(1, row, j), a, total))
        for c, total in enumerate(totals):
            nest.store(sums, S.add(index(c * by), lane), total)
    for c, j in enumerate(columns):
        nest.write(0, (i, j), _total(nest, sums, c * by, by))


def _total(nest: NestBuilder, sums: str, first: int, count: int) -> Expr:
    """The sum of consecutive numbers in scratch memory, by halves."""
    dtype = nest.result_dtype()
    while count > 4:
        count //= 2
        with nest.loop(index(count), bind="vector", stem="lane") as lane:
            pair = [nest.load(sums, S.add(index(first + half), lane), dtype) for half in (0, count)]
            nest.store(sums, S.add(index(first), lane), S.add(*pair))
    total = nest.load(sums, index(first), dtype)
    for k in range(1, count):
        total = nest.let(S.add(total, nest.load(sums, index(first + k), dtype)))
    return total


register(OpRecord(
    name="matmul_groups", kind=Kind.NEST, once=True, arity=4, attrs=("by",),
    doc="`matmul_groups a, b, groups, masks`: the product of matrices a and b of which column q of a goes with row "
        "groups[q / by] * by + q % by of b, where bit q % by of masks[q / by] is set; other rows are not read.",
    work=lambda types, attrs: _group_types(types, attrs)[0].size * types[0].shape[-1],
    infer=_group_types, ref=_group_array, lower=_group_lower,
    cases=(
        case((2, 8), (10, 5), np.array([0, 2], "i4"), np.array([0b1101, 0b0010], "i4"),
             dtypes=("f4", "f4", "i4", "i4"), ulp=8, by=4),
        case((1, 16), (16, 9), np.array([0], "i4"), np.array([0xFFFF], "i4"), dtypes=("f8", "f8", "i4", "i4"), ulp=8,
             by=16),
        case((3, 0), (4, 2), np.array([], "i4"), np.array([], "i4"), dtypes=("f4", "f4", "i4", "i4"), by=8),
    ),
))
