"""A matrix that is computed only to be multiplied by a vector is not made.

    %b = mul %alpha, %a : f64[99,64]            %b = mul %alpha, %a : f64[99,64]
    %y = matmul %b, %x : f64[99,1]      ->      %p = mul %b, (%x in every row) : f64[99,64]
                                                %s = sum %p {axes=[1]} : f64[99]
                                                %y = copy (%s as f64[99,1])

What computes the matrix is then inlined in the sum, which goes through its operands once; a library's product would
write the matrix and read it back. Products are rounded before they are added, and the sum is pairwise: the error is
within what a product of matrices may have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from sparsec.ir.builder import Builder, Names
from sparsec.ir.dims import Poly
from sparsec.ir.forms import Form
from sparsec.ir.graph import Func, Op, Value
from sparsec.ir.ops.record import Kind, record
from sparsec.passes.base import Pass
from sparsec.passes.facts import direct_uses
from sparsec.passes.rebuild import all_names, with_regions

__all__ = ["Dots"]

#: A smaller matrix stays in the cache that is nearest.
_LEAST = 4096


@dataclass(frozen=True)
class Dots(Pass):
    """Products of real floats, of matrices that only the product reads, made by the op list that it stands in."""

    name: ClassVar[str] = "dots"
    requires: ClassVar[Form] = Form.TRACED

    def run(self, func: Func) -> Func:
        uses = direct_uses(func.ops)
        counts = {name: len(found) for name, found in uses.items()}
        for value in func.ends:
            counts[value.name] = counts.get(value.name, 0) + 1
        return replace(func, ops=_ops(func.ops, counts, Names(all_names(func))))


def _ops(ops: Sequence[Op], uses: Mapping[str, int], names: Names) -> tuple[Op, ...]:
    made: dict[str, Op] = {}
    out: list[Op] = []
    for op in ops:
        if op.name == "matmul" and _fits(op, made, uses):
            out += _dot(op, names)
        else:
            out.append(with_regions(op, lambda r: replace(r, ops=_ops(r.ops, uses, names))))
        made.update((r.name, op) for r in op.results)
    return tuple(out)


def _fits(op: Op, made: Mapping[str, Op], uses: Mapping[str, int]) -> bool:
    matrix, vector = op.operands
    shape = matrix.type.shape
    if op.result.type.dtype.kind != "f" or len(shape) != 2 or vector.type.shape[1] != 1:
        return False
    size = matrix.type.size
    if isinstance(size, Poly) or size < _LEAST:
        return False
    return _computed(matrix, made) and uses[matrix.name] == 1 and _along_rows(matrix, made)


def _computed(value: Value, made: Mapping[str, Op]) -> bool:
    return value.name in made and record(made[value.name].name).kind is Kind.ELEMENTWISE


def _along_rows(value: Value, made: Mapping[str, Op]) -> bool:
    """Whether the elements of a row lie side by side wherever they are read to compute it."""
    if _computed(value, made):
        return all(_along_rows(operand, made) for operand in made[value.name].operands)
    return value.type.rank < 2 or value.ref.strides[-1] in (0, 1)


def _dot(op: Op, names: Names) -> list[Op]:
    matrix, vector = op.operands
    b = Builder(names)
    b.loc = op.loc
    row = b.op("broadcast", b.op("transpose", vector, perm=(1, 0)), shape=matrix.type.shape)
    total = b.op("sum", b.op("mul", matrix, row), axes=(1,))
    column = b.op("reshape", total, shape=op.result.type.shape)
    return [*b.ops, Op("copy", (column,), op.results, {}, (), op.loc)]
