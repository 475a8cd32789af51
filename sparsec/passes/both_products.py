"""Products of one matrix with a column and with a row read it once.

    %u = matmul %a, %x : f64[4000,1]                 %u, %p = both_products %a, %x, %r {parts=16, …}
    %v = matmul %r, %a : f64[1,5000]          ->     %v = sum %p {axes=[0]} : f64[1,5000]

What counts is how the matrix lies: `a.T @ r` is a product with a row, too. The row may be the other product
(`(a @ x) @ a`), not what is computed of it. It pays where no cache keeps the matrix from one product to the next, and
a few of its rows are kept: a library reads it twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from sparsec.ir.dims import Poly
from sparsec.ir.forms import Form
from sparsec.ir.graph import Op, Value, touched_storages
from sparsec.ir.remarks import Topic, remark
from sparsec.ir.tensorref import TensorRef
from sparsec.ir.types import TensorType
from sparsec.passes.view_reads import ListPass, Reads, Source

__all__ = ["BothProducts"]

#: Bytes of a matrix that is worth it, and the most of a row: four of them stay in a cache of half a megabyte.
_LEAST, _LONGEST = 2 << 20, 128 << 10

#: The rows are dealt out in so many parts at most, of so many rows at least: the sums of a part are n numbers.
_PARTS, _ROWS = 16, 128


@dataclass(frozen=True)
class BothProducts(ListPass):
    """Float matrices of known shape in one op list."""

    name: ClassVar[str] = "both-products"
    requires: ClassVar[Form] = Form.VIEWS_RESOLVED
    on: bool = True

    def rewrite(self, reads: Reads) -> tuple[Op, ...]:
        products = [p for number, op in enumerate(reads.ops) if (p := _product(op, number, reads)) is not None]
        pairs = {pair.place: pair for pair in _pairs(products, reads)} if self.on else {}
        gone = {p.number for pair in pairs.values() for p in (pair.column, pair.row)}
        out: list[Op] = []
        for number, op in enumerate(reads.ops):
            if number in pairs:
                out += _both(pairs[number], reads)
            elif number not in gone:
                out.append(op)
        return tuple(out)


@dataclass(frozen=True, slots=True)
class _Product:
    """Product number `number` of the list. matrix: where it lies, by rows, `shape` of it. by_row: whether the vector
    is multiplied with its columns."""

    number: int
    op: Op
    matrix: Source
    shape: tuple[int, int]
    vector: Value
    by_row: bool


@dataclass(frozen=True, slots=True)
class _Pair:
    """`place`: in whose place both are computed. `chained`: the row is the other product."""

    column: _Product
    row: _Product
    place: int
    chained: bool


def _product(op: Op, number: int, reads: Reads) -> _Product | None:
    if op.name != "matmul" or op.result.type.dtype.kind != "f" or op.result.type.rank != 2:
        return None
    a, b = op.operands
    if b.type.shape[1] == 1:
        matrix, vector, by_row = a, b, False
    elif a.type.shape[0] == 1:
        matrix, vector, by_row = b, a, True
    else:
        return None
    base, ref = reads.base(matrix), matrix.ref
    if base is None or isinstance(ref.offset, Poly):
        return None
    m, n, far, near = (-1 if isinstance(d, Poly) else int(d) for d in (*matrix.type.shape, *ref.strides))
    if near != 1:  # its transpose lies by rows
        m, n, far, near, by_row = n, m, near, far, not by_row
    size = op.result.type.dtype.itemsize
    if near != 1 or far < n or m * n * size < _LEAST or n * size > _LONGEST or min(m, n) < _ROWS:
        return None
    return _Product(number, op, Source(base, TensorRef(ref.storage, ref.offset, (far, near))), (m, n), vector, by_row)


def _pairs(products: Sequence[_Product], reads: Reads) -> Iterator[_Pair]:
    """Each product in one pair at most."""
    taken: set[int] = set()
    for k, first in enumerate(products):
        for second in products[k + 1 :]:
            same = (first.matrix.version.name, first.matrix.ref, first.shape) == (
                second.matrix.version.name, second.matrix.ref, second.shape)  # fmt: skip
            if first.number in taken or second.number in taken or not same or first.by_row == second.by_row:
                continue
            pair = _pair(first, second, reads)
            if pair is not None:
                taken |= {first.number, second.number}
                yield pair


def _pair(first: _Product, second: _Product, reads: Reads) -> _Pair | None:
    """The pair, if the second product can be computed where the first is, or the first where the second is."""
    row, column = (first, second) if first.by_row else (second, first)
    base = reads.base(second.vector)
    if base is None:
        return None
    if base.name == first.op.result.name:
        return _Pair(column, row, first.number, True) if first is column else None
    if reads.position.get(base.name, -1) < first.number:
        return _Pair(column, row, first.number, False)
    between = reads.ops[first.number + 1 : second.number]
    if any(first.op.result.storage in touched_storages(op) for op in between):
        return None
    return _Pair(column, row, second.number, False)


def _both(pair: _Pair, reads: Reads) -> list[Op]:
    column, row = pair.column, pair.row
    m, n = column.shape
    out: list[Op] = []

    def seen(source: Source, shape: Sequence[int]) -> Value:
        type = TensorType(column.op.result.type.dtype, tuple(shape), source.ref)
        value, views = reads.view(source, Value(source.version.name, type), column.op)
        out.extend(views)
        return value

    def vector(value: Value) -> Value:
        base = reads.base(value)
        assert base is not None
        return seen(Source(base, value.ref), value.type.shape)  # type: ignore[arg-type]

    operands = [seen(column.matrix, (m, n)), vector(column.vector)]
    if not pair.chained:
        operands.append(vector(row.vector))
    parts = max(1, min(_PARTS, m // _ROWS))
    shape = row.op.result.type.shape
    partial = Value(reads.names.fresh(f"{row.op.result.name}.parts"),
                    TensorType(column.op.result.type.dtype, (parts, *shape)))  # fmt: skip
    both = Op("both_products", tuple(operands), (column.op.result, partial), {"parts": parts, "shape": shape}, (),
              column.op.loc)  # fmt: skip
    reason = f"with the other product of the matrix @{column.matrix.version.storage}, which is read once"
    remark(Topic.MOVED, reason, row.op)
    return [*out, both, Op("sum", (partial,), row.op.results, {"axes": (0,)}, (), row.op.loc)]
