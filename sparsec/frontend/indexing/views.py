"""Views that ints, slices and Nones select."""

from __future__ import annotations

import operator
from typing import Any

from sparsec.errors import DTypeError, IndexOutOfRange, ShapeError
from sparsec.frontend.array import Traced
from sparsec.frontend.concrete import concrete_value
from sparsec.frontend.indexing.keys import Dynamic, Part
from sparsec.frontend.locate import user_loc
from sparsec.frontend.symbolic import index_dim, slice_dims, value_of
from sparsec.frontend.trace import Trace
from sparsec.ir.dims import Dim, Poly
from sparsec.ir.types import I64

__all__ = ["basic_view", "index_of", "slice_range"]


def basic_view(x: Traced, parts: list[Part]) -> Traced:
    """The view that ints, slices and Nones select."""
    start: list[Dim] = []
    size: list[Dim] = []
    step: list[int] = []
    shape: list[Dim] = []
    kept: list[int | None] = []  # the axis of `x` that each axis of the view is
    dims = iter(enumerate(x.shape))
    for part in parts:
        if part is None:
            shape.append(1)
            kept.append(None)
            continue
        axis, dim = next(dims)
        if isinstance(part, (int, Dynamic)):
            start.append(index_of(x.trace, part, dim, axis))
            size.append(1)
            step.append(1)
            continue
        first, count, stride = slice_range(x.trace, part, dim)  # type: ignore[arg-type]
        start.append(first)
        size.append(count)
        step.append(stride)
        shape.append(count)
        kept.append(axis)
    view = x
    if tuple(size) != x.shape or any(s != 1 for s in step):
        view = x.view("slice", start=tuple(start), size=tuple(size), step=tuple(step))
    if view.shape != tuple(shape):
        view = _with_axes(view, tuple(shape), kept)
    if view is x:  # a new view object: `y = x[:]; y += 1` writes, `y is x` is False
        view = Traced(x.trace, x.type, storage=x.storage, steps=x.steps, value=x.value, readonly=x.readonly)
    return view


def _with_axes(view: Traced, shape: tuple[Dim, ...], kept: list[int | None]) -> Traced:
    """The view less the axes of its ints, with those of its Nones. One without elements keeps its strides,
    which a reshape would not: they decide the memory order of what is computed from it."""
    ref = view.type.ref
    if 0 not in shape or ref is None:
        return view.view("reshape", shape=shape)
    strides = tuple(0 if axis is None else ref.strides[axis] for axis in kept)
    return view.view("view", offset=ref.offset, shape=shape, strides=strides)


def index_of(trace: Trace, index: int | Dynamic, dim: Dim, axis: int) -> Dim:
    """A nonnegative index. Raises IndexOutOfRange outside the axis, now or when the program runs."""
    if isinstance(index, Dynamic):
        return index_dim(trace, index.index, dim, axis)
    if isinstance(dim, Poly):
        size = value_of(trace, dim)
        inside = trace.op(
            "less" if index >= 0 else "greater_equal",
            trace.const(index, I64),
            size if index >= 0 else trace.op("neg", size),
        )
        trace.ops("check", inside, kind="index", message=f"index {index} is out of bounds for axis {axis}")
        return index + dim if index < 0 else index
    if not -dim <= index < dim:
        raise IndexOutOfRange(
            f"index {index} is out of bounds for axis {axis} with size {dim}", loc=user_loc()
        )
    return index + dim if index < 0 else index


def slice_range(trace: Trace, part: slice, dim: Dim) -> tuple[Dim, Dim, int]:
    """(first index, count, step) of a slice; an empty one with static bounds starts at 0."""
    ends = [_known(b) for b in (part.start, part.stop, part.step)]
    if any(isinstance(b, Traced) and b.ndim for b in ends):
        raise _bad_slice(TypeError("only integer scalar arrays can be converted to a scalar index"))
    if isinstance(dim, Poly) or any(isinstance(b, Traced) for b in ends):
        return slice_dims(trace, slice(*ends), dim)
    try:
        bounds = slice(*(None if b is None else operator.index(b) for b in ends))
    except TypeError as error:
        raise _bad_slice(error) from None
    try:
        first, last, step = bounds.indices(dim)
    except ValueError as error:
        raise ShapeError(str(error), loc=user_loc()) from None
    count = len(range(first, last, step))
    return (first, count, step) if count else (0, 0, 1)


def _known(bound: Any) -> Any:
    """A traced bound whose value is known while tracing, as that value."""
    if not isinstance(bound, Traced):
        return bound
    known = concrete_value(bound) if bound.dtype.kind in "iu" and bound.ndim == 0 else None
    return bound if known is None else int(known)


def _bad_slice(error: TypeError) -> DTypeError:
    return DTypeError(str(error), loc=user_loc())
