"""Views: ops that only change (offset, shape, strides). None of them copies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsec.errors import DTypeError, ShapeError
from sparsec.ir.dims import Dim, product
from sparsec.ir.graph import Attrs
from sparsec.ir.ops.record import Kind, OpRecord, case, register
from sparsec.ir.tensorref import (
    TensorRef,
    broadcast_ref,
    diagonal_ref,
    reshape_ref,
    slice_ref,
    transpose_ref,
)
from sparsec.ir.types import TensorType, dtype_name


def _same_dtype(shape_of):  # type: ignore[no-untyped-def]
    """An infer rule that keeps the dtype and computes the shape from (shape, attrs)."""

    def infer(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
        return [TensorType(types[0].dtype, tuple(shape_of(types[0].shape, attrs)))]

    return infer


def _slice_array(
    x: np.ndarray, start: tuple[int, ...], size: tuple[int, ...], step: tuple[int, ...]
) -> np.ndarray:
    index = []
    for first, count, stride in zip(start, size, step, strict=True):
        last = first + count * stride
        # A stop below 0 would wrap around in NumPy: "None" is the way to say "to the end".
        index.append(slice(first, last if last >= 0 else None, stride) if count else slice(0, 0))
    return x[tuple(index)]


register(
    OpRecord(
        name="slice",
        kind=Kind.VIEW,
        doc="`size[k]` elements of axis k from index `start[k]` in steps of `step[k]` (negative: backwards).",
        attrs=("start", "size", "step"),
        infer=_same_dtype(lambda shape, a: a["size"]),
        view=lambda ref, shape, result, a: slice_ref(ref, a["start"], a["step"]),
        ref=_slice_array,
        cases=(
            case((5, 6), start=(1, 0), size=(2, 3), step=(2, 2)),
            case((5,), start=(4,), size=(5,), step=(-1,)),
            case((3, 0), start=(0, 0), size=(0, 0), step=(1, 1)),
        ),
    )
)

register(
    OpRecord(
        name="transpose",
        kind=Kind.VIEW,
        doc="Axis k of the result is axis `perm[k]` of the operand.",
        attrs=("perm",),
        infer=_same_dtype(lambda shape, a: [shape[p] for p in a["perm"]]),
        view=lambda ref, shape, result, a: transpose_ref(ref, a["perm"]),
        ref=lambda x, perm: x.transpose(perm),
        cases=(case((2, 3, 4), perm=(2, 0, 1)), case((), perm=())),
    )
)


def _reshape_shape(shape: tuple[Any, ...], attrs: Attrs) -> tuple[Any, ...]:
    if product(shape) != product(attrs["shape"]):
        raise ShapeError(f"cannot reshape array of shape {shape} into shape {attrs['shape']}")
    return attrs["shape"]  # type: ignore[no-any-return]


register(
    OpRecord(
        name="reshape",
        kind=Kind.VIEW,
        doc="The same elements in C order under another shape; only where no copy is needed.",
        attrs=("shape",),
        infer=_same_dtype(_reshape_shape),
        view=lambda ref, shape, result, a: reshape_ref(ref, shape, result),
        ref=lambda x, shape: x.reshape(shape),
        cases=(case((4, 3), shape=(2, 2, 3)), case((1, 6), shape=(6, 1)), case((0, 3), shape=(3, 0, 2))),
    )
)


def _broadcast_shape(shape: tuple[Any, ...], attrs: Attrs) -> tuple[Any, ...]:
    target = attrs["shape"]
    fits = len(shape) <= len(target) and all(
        have in (want, 1) for have, want in zip(reversed(shape), reversed(target), strict=False)
    )
    if not fits:
        raise ShapeError(f"cannot broadcast shape {shape} to {target}")
    return target  # type: ignore[no-any-return]


register(
    OpRecord(
        name="broadcast",
        kind=Kind.VIEW,
        doc="NumPy broadcasting to `shape`; repeated axes get stride 0.",
        attrs=("shape",),
        infer=_same_dtype(_broadcast_shape),
        view=lambda ref, shape, result, a: broadcast_ref(ref, shape, result),
        ref=lambda x, shape: np.broadcast_to(x, shape),
        cases=(case((3, 1), shape=(2, 3, 4)), case((), shape=(2, 2))),
    )
)


def _diagonal_shape(shape: tuple[Any, ...], a: Attrs) -> tuple[Any, ...]:
    return diagonal_ref(TensorRef("", 0, (0,) * len(shape)), shape, a["offset"], a["axis1"], a["axis2"])[1]


register(
    OpRecord(
        name="diagonal",
        kind=Kind.VIEW,
        doc="The diagonal of two axes as a new last axis.",
        attrs=("offset", "axis1", "axis2"),
        infer=_same_dtype(_diagonal_shape),
        view=lambda ref, shape, result, a: diagonal_ref(ref, shape, a["offset"], a["axis1"], a["axis2"])[0],
        ref=lambda x, offset, axis1, axis2: x.diagonal(offset, axis1, axis2),
        cases=(case((3, 4), offset=1, axis1=0, axis2=1), case((2, 4, 3), offset=-1, axis1=2, axis2=0)),
    )
)


def _windows_shape(shape: tuple[Any, ...], a: Attrs) -> tuple[Any, ...]:
    left = list(shape)
    for axis, size in zip(a["axes"], a["size"], strict=True):
        left[axis] = left[axis] - (size - 1)
    return (*left, *a["size"])


register(
    OpRecord(
        name="windows",
        kind=Kind.VIEW,
        doc="Every stretch of `size[k]` elements along `axes[k]`; the places within a window are new last axes.",
        attrs=("size", "axes"),
        infer=_same_dtype(_windows_shape),
        view=lambda ref, shape, result, a: TensorRef(
            ref.storage, ref.offset, (*ref.strides, *(ref.strides[axis] for axis in a["axes"]))
        ),
        ref=lambda x, size, axes: np.lib.stride_tricks.sliding_window_view(x, size, axes),
        cases=(case((4, 6), size=(3,), axes=(1,)), case((4, 5), size=(2, 3, 2), axes=(0, 1, 0))),
    )
)


def _as_strided(x: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """`x` is the flat storage here; the interpreter passes it for this op only."""
    bytes_ = tuple(s * x.itemsize for s in strides)
    return np.lib.stride_tricks.as_strided(x.reshape(-1)[offset if math.prod(shape) else 0 :], shape, bytes_)


register(
    OpRecord(
        name="view",
        kind=Kind.VIEW,
        doc="Any view of a storage, by absolute offset and strides (elements): what view chains resolve to.",
        attrs=("offset", "shape", "strides"),
        infer=_same_dtype(lambda shape, a: a["shape"]),
        view=lambda ref, shape, result, a: TensorRef(ref.storage, a["offset"], a["strides"]),
        ref=_as_strided,
        cases=(case((4, 6), offset=7, shape=(2, 3), strides=(12, -2)),),
    )
)


def _part_shape(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    dtype = types[0].dtype
    return [TensorType(np.dtype("f4" if dtype.itemsize == 8 else "f8"), types[0].shape)]


register(
    OpRecord(
        name="part",
        kind=Kind.VIEW,
        doc="The real (0) or imaginary (1) parts of a complex array, as a float view.",
        attrs=("part",),
        infer=_part_shape,
        view=lambda ref, shape, result, a: TensorRef(
            ref.storage, ref.offset * 2 + a["part"], tuple(s * 2 for s in ref.strides)
        ),
        ref=lambda x, part: x.imag if part else x.real,
        cases=(case((3, 2), dtypes="c16", part=0), case((3,), dtypes="c8", part=1)),
    )
)


LAST_CONTIGUOUS = "To change to a dtype of a different size, the last axis must be contiguous"


def _reinterpreted(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    """NumPy's rules for `x.view(dtype)`: another size changes the last axis, which must be contiguous then.

    Where that depends on lengths of the run, a `check` before has to say so.
    """
    (x,), old, new = types, np.dtype(attrs["of"]).itemsize, np.dtype(attrs["dtype"]).itemsize
    if x.dtype != attrs["of"]:
        raise DTypeError(f"{dtype_name(x.dtype)} is not read as {dtype_name(np.dtype(attrs['of']))}")
    shape = x.shape
    if old != new:
        if not shape:
            raise ShapeError("Changing the dtype of a 0d array is only supported if the itemsize is unchanged")
        apart = x.ref is not None and x.ref.strides[-1] != 1
        if apart and shape[-1] != 1 and 0 not in shape and all(isinstance(d, int) for d in shape):
            raise ShapeError(LAST_CONTIGUOUS)
        if old % new and new < old:
            raise ShapeError("When changing to a smaller dtype, its size must be a divisor of the size of original "
                             "dtype")
        last = _times(shape[-1], old, new)
        if last is None:
            raise ShapeError("When changing to a larger dtype, its size must be a divisor of the total size in bytes "
                             "of the last axis of the array.")
        shape = (*shape[:-1], last)
    return [TensorType(np.dtype(attrs["dtype"]), shape)]


def _reinterpreted_ref(ref: TensorRef, attrs: Attrs) -> TensorRef | None:
    """The same place counted in the new elements; None where it begins, or goes on, within one."""
    old, new = np.dtype(attrs["of"]).itemsize, np.dtype(attrs["dtype"]).itemsize
    if old == new:
        return ref
    places = [n for step in (ref.offset, *ref.strides[:-1]) if (n := _times(step, old, new)) is not None]
    return TensorRef(ref.storage, places[0], (*places[1:], 1)) if len(places) == len(ref.strides) else None


def _times(n: Dim, old: int, new: int) -> Dim | None:
    """n * old / new, where that is known to be whole: n items of one size in those of another."""
    if old % new == 0:
        return n * (old // new)
    return n * old // new if isinstance(n, int) and n * old % new == 0 else None


register(
    OpRecord(
        name="reinterpret",
        kind=Kind.VIEW,
        doc="The bytes of an array of dtype `of` read as `dtype`; another size changes the last axis.",
        attrs=("of", "dtype"),
        infer=_reinterpreted,
        view=lambda ref, shape, result, a: _reinterpreted_ref(ref, a),
        ref=lambda x, of, dtype: x.view(dtype),
        cases=(
            case((3, 2), dtypes="f4", of=np.dtype("f4"), dtype=np.dtype("i4")),
            case((3, 2), dtypes="u4", of=np.dtype("u4"), dtype=np.dtype("u1")),
            case((3, 2), dtypes="f8", of=np.dtype("f8"), dtype=np.dtype("c16")),
            case((), dtypes="i8", of=np.dtype("i8"), dtype=np.dtype("f8")),
        ),
    )
)
