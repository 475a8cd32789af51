"""Reads and writes at computed positions (NumPy's integer-array indexing), and the checks before them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparsec.errors import CheckFailed, DTypeError
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Expr
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops import rules
from sparsec.ir.ops.declare import common_shape, refuse_half
from sparsec.ir.ops.record import Kind, OpRecord, case, register
from sparsec.ir.scalar import S, ScalarBuilder
from sparsec.ir.types import I64, TensorType, dtype_name


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
    with nest.loops(nest.shape(0)) as at, nest.if_(nest.s.logical_not(nest.read(0, *at))):
        nest.fail(kind, message)


register(OpRecord(
    name="check", kind=Kind.CHECK, attrs=("kind", "message"),
    doc="Stops the call with an error if any element is False: before any later write to an argument.",
    infer=_no_result, ref=_check_ref, lower=_check_lower,
))


_COMBINE: dict[str, tuple[Any, Callable[[Expr, Expr], Expr]]] = {
    # name: (NumPy's ufunc, for its `at`; old and new element -> what is stored)
    "set": (None, lambda old, new: new),
    "add": (np.add, lambda old, new: S.logical_or(old, new) if old.dtype.kind == "b" else S.add(old, new)),
    "mul": (np.multiply, lambda old, new: S.logical_and(old, new) if old.dtype.kind == "b" else S.mul(old,
    new)),
    "max": (np.maximum, rules.larger),
    "min": (np.minimum, rules.smaller),
}


def _scatter_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    version, region, *indexes, value = types
    if any(i.dtype != I64 for i in indexes) or len(indexes) != region.rank:
        raise DTypeError(f"scatter into rank {region.rank} needs as many i64 indexes, got {len(indexes)}")
    if value.dtype != region.dtype:
        raise DTypeError(f"scatter of {dtype_name(value.dtype)} into {dtype_name(region.dtype)}")
    if attrs["combine"] not in _COMBINE:
        raise ValueError(f"scatter: combine is one of {', '.join(_COMBINE)}, not {attrs['combine']!r}")
    if attrs["combine"] != "set":
        refuse_half("scatter", region.dtype)
    common_shape("scatter", (*indexes, value))
    return [version]


def _scatter_array(version: np.ndarray, region: np.ndarray, *rest: np.ndarray, combine: str) -> np.ndarray:
    """The elements of the next version. `region` is a view of `version`, which must not change."""
    *indexes, value = rest
    before = region.copy()
    try:
        if combine == "set":
            _write_in_order(region, tuple(indexes), value)
        else:
            _COMBINE[combine][0].at(region, tuple(indexes), value)
        return version.copy()
    finally:
        region[...] = before


def _write_in_order(region: np.ndarray, indexes: tuple[np.ndarray, ...], value: np.ndarray) -> None:
    """The last of several writes to one element wins, which NumPy does but does not promise."""
    shape = np.broadcast_shapes(value.shape, *(i.shape for i in indexes))
    spread = [np.broadcast_to(i, shape) for i in indexes]
    values = np.broadcast_to(value, shape)
    for at in np.ndindex(shape):
        region[tuple(int(i[at]) for i in spread)] = values[at]


def _scatter_lower(nest: NestBuilder, combine: str) -> None:
    operands = nest.operand_count()
    shape = next((nest.shape(k) for k in range(2, operands) if nest.shape(k)), ())
    element = nest.operand_dtype(1)
    with nest.loops(shape) as at:
        indexes = [nest.read(k, *at[len(at) - len(nest.shape(k)):]) for k in range(2, operands)]
        *where, value = indexes
        buffer, position = nest.operand_place(1, *where)
        position = nest.let(position)
        if combine != "set":
            value = _COMBINE[combine][1](nest.load(buffer, position, element), value)
        nest.store(buffer, position, value)


def _scatter_case(combine: str, dtype: str) -> Any:
    whole = np.arange(12).reshape(3, 4).astype(dtype)
    rows, columns = np.array([[2, 0], [2, 2]]), np.array([[3, 1], [3, 0]])
    return case(whole, whole[:, :], rows, columns, np.array([[5, 6], [7, 8]], dtype), combine=combine)


register(OpRecord(
    name="scatter", kind=Kind.UPDATE, arity=(3, -1), attrs=("combine",), defaults={"combine": "set"},
    doc="`scatter version, region, k0, …, value`: the next version; there region[k0[i], k1[i], …] is "
        "value[i], or what `combine` (set, add, mul, max, min) makes of both; in C order, so the last of "
        "equal positions wins. The indexes are in range; neither they nor the value overlap the region.",
    infer=_scatter_types, ref=_scatter_array, lower=_scatter_lower, numpy=(),
    cases=tuple(_scatter_case(c, d) for c in _COMBINE for d in ("f8", "i4")),
))
