"""Ops that bring their own loops: the record's `lower` gets a nest that reads and writes by index.

    %y = conv2d %x, %w                   for … { mut total = 0.0
    %z = maximum %y, %zero        ->       for … { total = fma(…) }
                                           %z[…] = max(total, 0.0) }

What follows an op that writes each element once is done to the element before it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sparsec.ir.graph import Op, Value
from sparsec.ir.loops import Expr
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.scalar import index
from sparsec.ir.types import DType
from sparsec.passes.lower_elements import elements_after
from sparsec.passes.lower_kernel import KernelWriter


def lower_nest(k: KernelWriter, op: Op, after: Sequence[Op], shown: Mapping[str, Value]) -> None:
    """Writes the kernel of one op and of those that take its elements further. shown: what results are called
    outside."""
    rec = record(op.name)
    results = [op.operands[0] if rec.kind is Kind.UPDATE else shown.get(r.name, r) for r in op.results[:1]]
    results += [shown.get(r.name, r) for r in op.results[1:]]
    k.op = op
    k.nest = NestBuilder(
        operands=[_reader(k, v) for v in op.operands],
        results=[_nowhere(v) if after else _place(k, v) for v in results],
        operand_places=[_place(k, v) for v in op.operands],
        operand_shapes=[k.shape(v) for v in op.operands],
        result_shapes=[k.shape(v) for v in results],
        fail_code=lambda kind, message: k.around.fail_code(kind, message, op),
        finish=(lambda at, value: finish(at, value)) if after else None,
    )
    finish = elements_after(k, op, after, shown)
    rec.lower(k.nest, **op.attrs)


def _reader(k: KernelWriter, value: Value) -> Callable[..., Expr]:
    return lambda *at: k.load(value, at)


def _nowhere(value: Value) -> tuple[str, Callable[..., Expr], DType]:
    """A result whose elements others take further: it may have no memory."""
    return "", lambda *at: index(0), value.type.dtype


def _place(k: KernelWriter, value: Value) -> tuple[str, Callable[..., Expr], DType]:
    return k.buffer(value.storage), lambda *at: k.position(value, at), value.type.dtype
