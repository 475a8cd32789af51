"""The parts of a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsec.errors import IndexOutOfRange
from sparsec.frontend.array import Traced
from sparsec.frontend.concrete import concrete_value
from sparsec.frontend.convert import as_traced
from sparsec.frontend.layout import MAX_RANK
from sparsec.frontend.locate import user_loc
from sparsec.ir.types import BOOL

__all__ = ["Array", "Dynamic", "Mask", "Part", "axes_of", "has_ellipsis", "parse_key"]


@dataclass(frozen=True, slots=True)
class Array:
    """An integer-array part of a key: indexes into one axis. `checked`: they are known to be in range."""

    index: Traced
    checked: bool = False


@dataclass(frozen=True, slots=True)
class Dynamic:
    """A traced integer scalar in a key: one index into one axis, as an int is."""

    index: Traced


@dataclass(frozen=True, slots=True)
class Mask:
    """A boolean-array part of a key: covers as many axes as it has."""

    mask: Traced


Part = int | slice | None | Dynamic | Array | Mask


def parse_key(x: Traced, key: Any) -> list[Part]:
    """The parts of a key, Ellipsis expanded, so that together they cover every axis of `x`."""
    items = list(key) if isinstance(key, tuple) else [key]
    parts = [Ellipsis if k is Ellipsis else _part(k) for k in items]
    used = sum(axes_of(p) for p in parts if p is not Ellipsis)
    if used > x.ndim:
        raise IndexOutOfRange(
            f"too many indices for array: array is {x.ndim}-dimensional, but {used} were indexed",
            loc=user_loc(),
        )
    if x.ndim - used + len(parts) > MAX_RANK:
        raise IndexOutOfRange(f"number of dimensions must be within [0, {MAX_RANK}]", loc=user_loc())
    dots = [k for k, p in enumerate(parts) if p is Ellipsis]
    if len(dots) > 1:
        raise IndexOutOfRange("an index can only have a single ellipsis ('...')", loc=user_loc())
    at = dots[0] if dots else len(parts)
    return [*parts[:at], *[slice(None)] * (x.ndim - used), *parts[at + 1 :]]  # type: ignore[list-item]


def has_ellipsis(key: Any) -> bool:
    """Whether a key has an Ellipsis: then it never selects a scalar."""
    return key is Ellipsis or (isinstance(key, tuple) and any(k is Ellipsis for k in key))


def axes_of(part: Any) -> int:
    """How many axes of the array a part covers."""
    if part is None:
        return 0
    return part.mask.ndim if isinstance(part, Mask) else 1


def _part(item: Any) -> Part:
    if item is None or isinstance(item, slice):
        return item
    if isinstance(item, (int, np.integer)) and not isinstance(item, bool):
        return int(item)
    if isinstance(item, (float, str, complex, np.inexact)):
        raise bad_index()
    if isinstance(item, list) and not item:
        item = np.zeros(0, np.int64)
    array = as_traced(item)
    if array.dtype == BOOL:
        return Mask(array)
    if array.is_scalar and array.dtype.kind in "iu":
        known = concrete_value(array)
        return Dynamic(array) if known is None else int(known)
    if array.dtype.kind not in "iu":
        raise bad_index("arrays used as indices must be of integer (or boolean) type")
    return Array(array)


def bad_index(message: str = "") -> IndexOutOfRange:
    return IndexOutOfRange(
        message
        or "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and "
        "integer or boolean arrays are valid indices",
        loc=user_loc(),
    )
