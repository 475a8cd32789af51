"""`np.lib.stride_tricks`: neighbourhoods, and any other strides, as views; no element is copied."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from sparsec.errors import ShapeError
from sparsec.frontend.array import Traced
from sparsec.frontend.control.choices import placed
from sparsec.frontend.convert import as_traced
from sparsec.frontend.dispatch import implements
from sparsec.frontend.locate import user_loc
from sparsec.frontend.numpy_api.support import unsupported_argument
from sparsec.frontend.ufunc_reduce import normalize_axis
from sparsec.ir.dims import lower_bound
from sparsec.ir.tensorref import TensorRef, self_overlaps, span


@implements(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(
    x: Any, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False
) -> Traced:
    """A read-only view."""
    source = as_traced(x).as_array()
    if writeable:
        raise unsupported_argument("np.lib.stride_tricks.sliding_window_view", "writeable=True")
    size = tuple(operator.index(n) for n in (window_shape if isinstance(window_shape, Iterable) else (window_shape,)))
    if any(n < 0 for n in size):
        raise ShapeError("`window_shape` cannot contain negative values", loc=user_loc())
    axes = tuple(range(source.ndim)) if axis is None else tuple(
        normalize_axis(k, source.ndim) for k in (axis if isinstance(axis, Iterable) else (axis,))
    )
    if len(size) != len(axes):
        raise ShapeError(
            f"window_shape has {len(size)} sizes for {len(axes)} axes: NumPy wants one for each", loc=user_loc()
        )
    rest = list(source.type.shape)
    for k, n in zip(axes, size):
        rest[k] = rest[k] - (n - 1)
    if any(isinstance(d, int) and d < 1 for d in rest):
        raise ShapeError("window shape cannot be larger than input array shape", loc=user_loc())
    if any((least := lower_bound(d)) is None or least < 1 for d in rest):
        raise unsupported_argument("np.lib.stride_tricks.sliding_window_view", "a window that may not fit")
    return source.view("windows", size=size, axes=axes, readonly="windows overlap, so they are read-only")


@implements(np.lib.stride_tricks.as_strided)
def as_strided(
    x: Any, shape: Any = None, strides: Any = None, subok: bool = False, writeable: bool = True
) -> Traced:
    """A view within the memory of `x`; read-only where elements lie in several places of it."""
    source = as_traced(x).as_array()
    ref, size = source.type.ref, source.itemsize
    sizes = source.shape if shape is None else tuple(
        operator.index(n) for n in (shape if isinstance(shape, Iterable) else (shape,)))
    given = source.strides if strides is None else tuple(
        operator.index(n) for n in (strides if isinstance(strides, Iterable) else (strides,)))
    assert ref is not None and source.storage is not None
    if len(given) != len(sizes):
        raise ShapeError("mismatch in length of strides and shape", loc=user_loc())
    fits = all(isinstance(n, int) for n in (*source.type.shape, ref.offset, *ref.strides, *sizes))
    if not fits or any(n % size for n in given) or source.storage.newest.type.dtype != source.dtype:
        raise unsupported_argument("np.lib.stride_tricks.as_strided", "strides or an array of this kind")
    if any(n < 0 for n in sizes):
        raise ShapeError("negative dimensions are not allowed", loc=user_loc())
    place = TensorRef(ref.storage, ref.offset, tuple(n // size for n in given))
    (low, high), (least, most) = span(place, sizes), span(ref, source.type.static_shape)
    if 0 not in sizes and (low < least or high > most):
        raise ShapeError("np.lib.stride_tricks.as_strided reaches beyond the array", loc=user_loc(),
                         hint="take the view of the array that holds all of it")
    view = placed(source, place.offset, sizes, place.strides)
    if self_overlaps(place, sizes):
        return view.again("elements of this view lie in several places of it")
    return view if writeable else view.again("it was made so")
