"""Both products of one matrix, with a column and with a row, in one trip through it.

    %u, %v = both_products %a, %x, %r {parts=2, shape=[1,500]} : f64[400,1], f64[2,1,500]      u = A x;  v = r A
    %u, %v = both_products %a, %x {parts=2, shape=[1,500]} : f64[400,1], f64[2,1,500]          u = A x;  v = uᵀ A

A matrix that no cache holds is read once instead of twice: rows are taken four at a time, and what they add to v is
added while they are at hand. The rows are dealt out in `parts`, which threads share; each part has a v of its own, so
that no sum depends on how many threads there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from sparsec.errors import DTypeError, ShapeError
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Expr
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops.record import Kind, OpRecord, case, register
from sparsec.ir.scalar import S, const, index
from sparsec.ir.types import TensorType, dtype_name

#: Rows that are taken at a time, and bytes of each that its sum takes abreast.
_ROWS, _BYTES = 4, 64


def _types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    a, x, *row = types
    if a.dtype.kind != "f" or a.dtype.itemsize < 4 or any(t.dtype != a.dtype for t in types):
        raise DTypeError(f"both_products does not take ({', '.join(dtype_name(t.dtype) for t in types)})")
    shapes = [t.shape for t in types]
    m, n = a.shape if a.rank == 2 else (0, 0)
    lines = {0: ((n, 1), (1, n)), 1: ((m, 1), (1, m))}
    if a.rank != 2 or any(t.shape not in lines[k] for k, t in enumerate((x, *row))) or attrs["shape"] not in lines[0]:
        raise ShapeError(f"both_products: shapes {', '.join(map(str, shapes))} and {attrs['shape']} do not fit")
    u = (m, 1) if x.shape == (n, 1) else (1, m)
    return [TensorType(a.dtype, u), TensorType(a.dtype, (attrs["parts"], *attrs["shape"]))]


def _part_rows(m: Any, parts: int) -> Any:
    """Rows of a part but the last."""
    return -(-m // (parts * _ROWS)) * _ROWS


def _arrays(
    a: np.ndarray, x: np.ndarray, row: np.ndarray | None = None, *, parts: int, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    (m, n), flat = a.shape, x.reshape(-1)
    u = a @ flat
    factors, size = u if row is None else row.reshape(-1), _part_rows(m, parts)
    starts = [min(k * size, m) for k in range(parts + 1)]
    v = [factors[i:j] @ a[i:j] for i, j in pairwise(starts)]
    return u.reshape((m, 1) if x.shape == (n, 1) else (1, m)), np.stack(v).reshape(parts, *shape)


class _Rows:
    """The nest of one op. A vector is read and written by its one index."""

    def __init__(self, nest: NestBuilder, shape: Sequence[Any]) -> None:
        self.nest, self.dtype = nest, nest.result_dtype()
        self.m, self.n = nest.shape(0)
        self.chained = nest.operand_count() == 2
        self._tall = {
            "x": nest.shape(1)[1] == index(1), "u": nest.result_shape(0)[1] == index(1), "v": shape[1] == 1,
            "row": not self.chained and nest.shape(2)[1] == index(1),
        }

    def at(self, name: str, k: Expr) -> tuple[Expr, Expr]:
        return (k, index(0)) if self._tall[name] else (index(0), k)

    def part(self, p: Expr, first: Expr, last: Expr) -> None:
        """The rows from `first` to `last`, whose v is number p."""
        nest = self.nest
        with nest.loop(self.n, bind="parallel") as j:
            nest.write(1, (p, *self.at("v", j)), const(0, self.dtype))
        whole = nest.let(S.add(first, S.mul(S.quo(S.sub(last, first), index(_ROWS)), index(_ROWS))))
        with nest.loop(whole, first, step=_ROWS) as i:
            self._block(p, [nest.let(S.add(i, index(k))) for k in range(_ROWS)])
        with nest.loop(last, whole) as i:
            self._block(p, [i])

    def _block(self, p: Expr, rows: Sequence[Expr]) -> None:
        nest = self.nest
        factors = [] if self.chained else [nest.read(2, *self.at("row", i)) for i in rows]
        count = _BYTES // self.dtype.itemsize
        sums = [nest.scratch(self.dtype, count, "sums") for _ in rows]
        with nest.loop(index(count), bind="parallel") as lane:
            for cells in sums:
                nest.store(cells, lane, const(0, self.dtype))
        rest = nest.let(S.rem(self.n, index(count)))
        whole = nest.let(S.sub(self.n, rest))

        def take(first: Expr, width: Expr) -> None:
            with nest.loop(width, bind="parallel") as lane:
                j = nest.let(S.add(first, lane))
                elements = self._add(p, rows, factors, j) if factors else [nest.read(0, i, j) for i in rows]
                x = nest.read(1, *self.at("x", j))
                for cells, element in zip(sums, elements):
                    total = S.add(nest.load(cells, lane, self.dtype), S.mul(element, x))
                    nest.store(cells, lane, nest.let(total))

        with nest.loop(whole, step=count) as first:
            take(first, index(count))
        take(whole, rest)
        totals = [self._total(cells, count) for cells in sums]
        for i, total in zip(rows, totals):
            nest.write(0, self.at("u", i), total)
        if self.chained:
            with nest.loop(self.n, bind="parallel") as j:
                self._add(p, rows, totals, j)

    def _add(self, p: Expr, rows: Sequence[Expr], factors: Sequence[Expr], j: Expr) -> list[Expr]:
        """Adds column j of the rows to v; gives its elements."""
        nest, place = self.nest, (p, *self.at("v", j))
        elements = [nest.read(0, i, j) for i in rows]
        products = [S.mul(factor, element) for factor, element in zip(factors, elements)]
        while len(products) > 1:
            products = [S.add(*pair) for pair in zip(products[::2], products[1::2])]
        nest.write(1, place, nest.let(S.add(nest.read_result(1, *place), products[0])))
        return elements

    def _total(self, cells: str, count: int) -> Expr:
        nest = self.nest
        parts = [nest.load(cells, index(k), self.dtype) for k in range(count)]
        while len(parts) > 1:
            half = len(parts) // 2
            parts = [nest.let(S.add(one, other)) for one, other in zip(parts[:half], parts[half:])]
        return parts[0]


def _lower(nest: NestBuilder, parts: int, shape: tuple[Any, Any]) -> None:
    rows = _Rows(nest, shape)
    size = nest.let(S.mul(S.quo(S.add(rows.m, index(parts * _ROWS - 1)), index(parts * _ROWS)), index(_ROWS)))
    with nest.loop(index(parts), bind="parallel") as p:
        first = nest.let(S.min(S.mul(p, size), rows.m))
        rows.part(p, first, nest.let(S.min(S.add(first, size), rows.m)))


register(OpRecord(
    name="both_products", kind=Kind.NEST, arity=(2, 3), attrs=("parts", "shape"),
    doc="A @ x, and row @ A (of no row: of A @ x) as `parts` sums over some rows each, of `shape` [n,1] or [1,n].",
    infer=_types, ref=_arrays, lower=_lower,
    cases=(
        case((9, 21), (21, 1), (1, 9), ulp=16, parts=2, shape=(1, 21)),
        case((9, 21), (1, 21), (9, 1), dtypes="f4", ulp=16, parts=4, shape=(21, 1)),
        case((18, 8), (8, 1), ulp=64, parts=1, shape=(8, 1)),
        case((3, 18), (1, 18), dtypes="f4", ulp=64, parts=2, shape=(1, 18)),
    ),
))
