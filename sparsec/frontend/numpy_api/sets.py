"""np.unique and set operations on flat arrays: results of run-time size, at most as large as their operands."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.dispatch import implements
from sparsec.frontend.numpy_api.joining import concatenate
from sparsec.frontend.numpy_api.support import flattened, strong, unsupported_argument
from sparsec.frontend.programs import staged


@staged
def _first_of_each(row: Any, one_nan: bool) -> tuple[Any, Any, Any]:
    """The order that sorts a row, the sorted row, and where in it each value stands first."""
    order = np.argsort(row, kind="stable")
    ordered = row[order]
    first = np.ones(row.shape[0], np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    if one_nan:
        first[1:] &= ~(np.isnan(ordered[1:]) & np.isnan(ordered[:-1]))
    return order, ordered, first


@staged
def _inverse(order: Any, first: Any) -> Any:
    """For each element, the place of its value among the unique ones."""
    found = np.empty(first.shape[0], np.int64)
    found[order] = np.cumsum(first) - 1
    return found


@staged
def _counts(places: Any, total: int) -> Any:
    """How many elements each value has: the distance to the next value's first place."""
    found = np.empty(places.shape[0], np.int64)
    found[:-1] = places[1:] - places[:-1]
    found[-1:] = total - places[-1:]
    return found


@implements(np.unique)
def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: Any = None,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
) -> Any:
    """Sorted; as many as there are."""
    x = strong(ar)
    if axis is not None and x.ndim != 1:
        raise unsupported_argument("np.unique", "axis=", "work on a flat array")
    row = flattened(x)
    order, ordered, first = _first_of_each(row, equal_nan and row.dtype.kind in "fc")
    places = np.flatnonzero(first)
    parts = [ordered[places]]
    if return_index:
        parts.append(order[places])
    if return_inverse:
        parts.append(_inverse(order, first).reshape(x.shape))
    if return_counts:
        parts.append(_counts(places, row.shape[0]))
    return tuple(parts) if len(parts) > 1 else parts[0]


@implements(np.union1d)
def union1d(ar1: Any, ar2: Any) -> Any:
    return unique(concatenate((flattened(strong(ar1)), flattened(strong(ar2)))))


@implements(np.setdiff1d)
def setdiff1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    x: Traced = flattened(strong(ar1)) if assume_unique else unique(ar1)
    return x[~np.isin(x, strong(ar2))]


@implements(np.intersect1d)
def intersect1d(ar1: Any, ar2: Any, assume_unique: bool = False, return_indices: bool = False) -> Any:
    if return_indices:
        raise unsupported_argument("np.intersect1d", "return_indices=True")
    x = unique(ar1)
    return x[np.isin(x, strong(ar2))]
