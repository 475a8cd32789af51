"""Storage: constants, fresh arrays, and the write that turns one version into the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsec.errors import ShapeError
from sparsec.ir.graph import Attrs
from sparsec.ir.ops.record import Kind, OpRecord, case, register
from sparsec.ir.scalar import ScalarBuilder
from sparsec.ir.types import TensorType


def _typed(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    return [TensorType(np.dtype(attrs["dtype"]), tuple(attrs["shape"]))]


def _const_array(value: Any, dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
    with np.errstate(all="ignore"):
        flat = np.array(value, dtype=dtype)
    return np.full(shape, flat) if flat.ndim == 0 else flat.reshape(shape)


register(
    OpRecord(
        name="const",
        kind=Kind.CONST,
        arity=0,
        doc="A literal: one number for all elements, or a flat tuple of them in C order.",
        attrs=("value", "dtype", "shape"),
        infer=_typed,
        ref=_const_array,
        cases=(
            case(value=1.5, dtype=np.dtype("f4"), shape=()),
            case(value=(1, 2, 3), dtype=np.dtype("i8"), shape=(3,)),
        ),
    )
)

register(
    OpRecord(
        name="empty",
        kind=Kind.CREATE,
        arity=0,
        doc="Fresh storage. Reading it before writing it gives zeros in the interpreters, anything in a backend.",
        attrs=("dtype", "shape"),
        infer=_typed,
        ref=lambda dtype, shape: np.zeros(shape, dtype),
    )
)

def _seen_iota(
    attrs: Attrs, shape: tuple[int, ...], start: tuple[int, ...], steps: tuple[tuple[int, ...], ...]
) -> Attrs | None:
    """An iota along the one axis of the view that moves along ours, by ones from the first."""
    axis = attrs["axis"]
    moving = [k for k, (step, size) in enumerate(zip(steps, shape)) if step[axis] and size != 1]
    if start[axis] or len(moving) != 1 or steps[moving[0]][axis] != 1:
        return None
    return {"dtype": attrs["dtype"], "shape": shape, "axis": moving[0]}


register(
    OpRecord(
        name="iota",
        kind=Kind.MAP,
        arity=0,
        doc="The index along `axis`, as `dtype` (an integer).",
        attrs=("dtype", "shape", "axis"),
        infer=_typed,
        ref=lambda dtype, shape, axis: np.ascontiguousarray(
            np.broadcast_to(
                np.arange(shape[axis], dtype=dtype).reshape(
                    [-1 if k == axis else 1 for k in range(len(shape))]
                ),
                shape,
            )
        ),
        lower=lambda s, index, reads, dtype, shape, axis: s.cast(index[axis], dtype),
        seen=_seen_iota,
        cases=(
            case(dtype=np.dtype("i8"), shape=(3, 4), axis=1),
            case(dtype=np.dtype("u1"), shape=(2,), axis=0),
        ),
    )
)

register(
    OpRecord(
        name="copy",
        kind=Kind.ELEMENTWISE,
        doc="The same elements in fresh storage, in C order.",
        infer=lambda types, attrs: [types[0].fresh()],
        ref=lambda x: np.array(x, order="C", copy=True),
        lower=lambda s, x: x,
        cases=(case((3, 4)), case((0,), dtypes="bool")),
    )
)


def _update_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    version, region, value = types
    if value.shape not in (region.shape, ()):
        raise ShapeError(
            f"could not broadcast input array from shape {value.shape} into shape {region.shape}"
        )
    if value.dtype != region.dtype:
        raise TypeError(f"update of {region} with {value}: dtypes differ")
    return [version]


def _write(s: ScalarBuilder, old: Any, value: Any) -> Any:
    return value


register(
    OpRecord(
        name="update",
        kind=Kind.UPDATE,
        arity=3,
        doc="`update version, region, value`: the next version, with the elements of the view `region` replaced.",
        infer=_update_types,
        ref=lambda version, region, value: version,
        lower=_write,
        region=True,
    )
)
