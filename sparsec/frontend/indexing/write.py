"""`x[key] = value`: into a view, where a mask holds, or at the places of integer arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsec.errors import ShapeError
from sparsec.frontend.array import Traced
from sparsec.frontend.assigned import assigned, assigned_number, checked_scalar, fit
from sparsec.frontend.concrete import concrete_value
from sparsec.frontend.convert import PYTHON_NUMBERS, as_traced, cast
from sparsec.frontend.indexing.keys import Array, Mask, Part, axes_of, has_ellipsis, parse_key
from sparsec.frontend.indexing.masks import bools_with_axes, check_mask, masks_to_arrays
from sparsec.frontend.indexing.selection import Selection, select
from sparsec.frontend.indexing.views import basic_view
from sparsec.frontend.layout import order_like
from sparsec.frontend.locate import user_loc
from sparsec.frontend.mixed import (
    Mixed,
    any_mixed,
    decide,
    dtype_of,
    replaced,
    settled,
    weak_of,
    without_mixed_ints,
)
from sparsec.frontend.trace import Trace
from sparsec.frontend.ufuncs import store
from sparsec.ir.graph import Value
from sparsec.ir.types import DType

__all__ = ["setitem"]


def setitem(x: Traced, key: Any, value: Any) -> None:
    """`x[key] = value`. Raises what NumPy raises; nothing is written then."""
    trace = x.trace
    trace.check_open()
    if any_mixed((key, value)) is not None:
        key, value = without_mixed_ints(key), _stored(x, value)
        if (mixed := any_mixed((key, value))) is not None:
            decide(mixed, lambda p: setitem(x, replaced(key, mixed, p), replaced(value, mixed, p)))
            return
    trace.check_writable(x)
    x, parts = bools_with_axes(x, parse_key(x, key))
    masks = [p for p in parts if isinstance(p, Mask) and p.mask.type.size != 0]
    if (
        len(masks) == 1
        and not any(isinstance(p, Array) for p in parts)
        and concrete_value(masks[0].mask) is None
        and _write_mask(x, parts, masks[0], value)
    ):
        return
    parts = masks_to_arrays(x, parts)
    if any(isinstance(p, Array) for p in parts):
        _scatter(x, parts, value)
        return
    region = basic_view(x, parts)
    if region.shape == () and not has_ellipsis(key) and isinstance(value, (Traced, np.ndarray)) and value.ndim:
        raise ShapeError("setting an array element with a sequence.", loc=user_loc())
    store(trace, region, assigned(trace, value, region))


def _stored(x: Traced, value: Any) -> Any:
    """A scalar of several kinds as one of the dtype into which it is stored, where each kind becomes the same."""
    if not isinstance(value, Mixed) or (any(dtype_of(p).kind == "c" for p in value.parts) and x.dtype.kind != "c"):
        return value
    if x.dtype.kind in "iu" and any(not _just_cast(p, x.dtype) for p in value.parts):
        return value
    one = settled(value, x.dtype)
    return value if one is None else Traced.scalar(x.trace, one)


def _just_cast(part: Any, target: DType) -> bool:
    """Whether storing a scalar into integers cannot fail, once it is known to fit."""
    if type(part) in PYTHON_NUMBERS:
        return type(part) is not float
    return weak_of(part) is None and not checked_scalar(dtype_of(part), target)


def _write_mask(x: Traced, parts: list[Part], part: Mask, value: Any) -> bool:
    """`x[mask] = value` as a choice between new and old elements; False where the value has one element for
    each selected one."""
    trace = x.trace
    at = parts.index(part)
    mask = part.mask
    axis = sum(axes_of(p) for p in parts[:at])
    check_mask(x, mask, axis)
    others = [p for p in parts if p is not part]
    plain = all(p == slice(None) for p in others)
    stretched = [*parts[:at], *[slice(None)] * mask.ndim, *parts[at + 1 :]]
    region = basic_view(x, stretched)
    rest = len([p for p in parts[at + 1 :] if p is None or isinstance(p, slice)])
    spread = mask.read()
    if rest:
        spread = _as_view(trace, spread, (*mask.shape, *[1] * rest))
    if type(value) in PYTHON_NUMBERS:
        new = assigned_number(trace, value, region)
    else:
        array = as_traced(value)
        if array.ndim and not (plain and at == 0 and _fits_rest(array.shape, region.shape[mask.ndim :])):
            return False
        new = assigned(trace, array, region) if array.weak else array.read()
        if new.type.shape not in ((), region.shape):
            new = fit(trace, new, (1,) * mask.ndim + region.shape[mask.ndim :])
    store(trace, region, new, spread)
    return True


def _as_view(trace: Trace, value: Value, shape: tuple[int, ...]) -> Value:
    """`value` reshaped, copied first where a view is impossible."""
    try:
        return trace.op("reshape", value, shape=shape)
    except ValueError:
        return trace.op("reshape", trace.op("copy", value), shape=shape)


def _fits_rest(shape: tuple[int, ...], rest: tuple[int, ...]) -> bool:
    """Whether a right side broadcasts against (count, *rest) whatever count is."""
    if len(shape) > len(rest) + 1 or (len(shape) == len(rest) + 1 and shape[0] != 1):
        return False
    tail = shape[-len(rest) :] if rest else ()
    return all(have in (want, 1) for have, want in zip(reversed(tail), reversed(rest), strict=False))


def _scatter(x: Traced, parts: list[Part], value: Any) -> None:
    trace = x.trace
    chosen = select(x, parts)
    region = chosen.region
    target = Traced(trace, region.type, storage=region.storage, steps=region.steps, readonly=region.readonly)
    if type(value) in PYTHON_NUMBERS:
        new = assigned_number(trace, value, target)
    elif isinstance(value, Traced) and value.weak:
        new = assigned(trace, value, target)
    else:
        new = fit(trace, cast(trace, as_traced(value).read(), x.dtype), chosen.shape)
    if 0 in chosen.shape:
        return
    indexes = chosen.indexes
    order = _writing_order(chosen, parts, value)
    if order is not None:
        indexes = tuple(i if i.type.shape == () else trace.op("transpose", i, perm=order) for i in indexes)
        new = new if new.type.shape == () else trace.op("transpose", new, perm=order)
    trace.scatter(target, indexes, new)


def _writing_order(chosen: Selection, parts: list[Part], value: Any) -> tuple[int, ...] | None:
    """The axes of the selection in the order in which NumPy walks them: it decides who writes an element last.

    That is C order, unless every axis is selected by arrays and they and the value agree on another.
    """
    arrays = [p.index for p in parts if isinstance(p, Array)]
    if len(arrays) != len(parts) or not isinstance(value, Traced):
        return None
    return order_like([*arrays, value], chosen.shape)
