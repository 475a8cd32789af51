"""Reads and writes at computed positions (NumPy's integer-array indexing), and the checks before them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparsec.errors import CheckFailed, DTypeError
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Expr
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops.record import Kind, OpRecord, case, register
from sparsec.ir.scalar import ScalarBuilder
from sparsec.ir.types import I64, TensorType


def _gather_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    x, *indexes = types
    if any(i.dtype != I64 for i in indexes) or len(indexes) != x.rank:
        raise DTypeError(f"gather from rank {x.rank} needs as many i64 indexes, got {len(indexes)}")
    shape = next((i.shape for i in indexes if i.shape), ())
    return [TensorType(x.dtype, shape)]


def _gather_lower(s: ScalarBuilder, index: tuple[Expr, ...], reads: Sequence[Callable[..., Expr]]) -> Expr:
    return reads[0](*(read(*index) for read in reads[1:]))


register(OpRecord(
    name="gather", kind=Kind.MAP, arity=(1, -1),
    doc="result[i] = x[k0[i], k1[i], …]; one i64 index operand per axis of x, each in range, of the result's "
        "shape or a scalar.",
    infer=_gather_types,
    ref=lambda x, *indexes: x[tuple(indexes)] if indexes else x[()],
    lower=_gather_lower, pointwise=tuple(range(1, 65)), numpy=(),
    cases=(case((5,), np.array([[4, 0], [1, 1]])), case((3, 4), np.array([2, 0]), np.array([3, 3]))),
))


def _no_result(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    return []


def _check_ref(ok: np.ndarray, kind: str, message: str) -> tuple[()]:
    if not np.all(ok):
        raise CheckFailed(kind, message)
    return ()


def _check_lower(nest: NestBuilder, kind: str, message: str) -> None:
    with nest.loops(nest.shape(0)) as at:
        with nest.if_(nest.s.logical_not(nest.read(0, *at))):
            nest.fail(kind, message)


register(OpRecord(
    name="check", kind=Kind.CHECK, attrs=("kind", "message"),
    doc="Stops the call with an error if any element is False: before any later write to an argument.",
    infer=_no_result, ref=_check_ref, lower=_check_lower,
))
