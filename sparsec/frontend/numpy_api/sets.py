"""np.unique and set operations on flat arrays: results of run-time size, at most as large as their operands."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.dispatch import implements
from sparsec.frontend.numpy_api.joining import concatenate
from sparsec.frontend.numpy_api.support import (
    axis_index,
    axis_to,
    flattened,
    reshaped,
    strong,
    unsupported_argument,
)
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
def _first_of_each_row(rows: Any) -> tuple[Any, Any]:
    """The order that sorts rows by their first element, then the second, …; and where in it each row stands first."""
    order = np.arange(rows.shape[0])
    for k in range(rows.shape[1] - 1, -1, -1):
        order = order[np.argsort(rows[order, k], kind="stable")]
    ordered = rows[order]
    first = np.ones(rows.shape[0], np.bool_)
    first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return order, first


@staged
def _in_one(values: Any) -> Any:
    """Which of sorted values have no equal beside them."""
    changes = np.ones(values.shape[0] + 1, np.bool_)
    changes[1:-1] = values[1:] != values[:-1]
    return changes[1:] & changes[:-1]


@staged
def _in_both(values: Any) -> Any:
    """Sorted values that have an equal behind them."""
    return values[:-1][values[1:] == values[:-1]]


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
    x, shape = strong(ar), strong(ar).shape
    if axis is not None and x.ndim != 1:
        at = axis_index(axis, x.ndim)
        rows = axis_to(x, at, 0)
        order, first = _first_of_each_row(reshaped(rows, (rows.shape[0], math.prod(rows.shape[1:]))))
        places, shape = np.flatnonzero(first), (rows.shape[0],)
        parts = [axis_to(rows[order[places]], 0, at)]
    else:
        row = flattened(x)
        order, ordered, first = _first_of_each(row, equal_nan and row.dtype.kind in "fc")
        places = np.flatnonzero(first)
        parts = [ordered[places]]
    if return_index:
        parts.append(order[places])
    if return_inverse:
        parts.append(_inverse(order, first).reshape(shape))
    if return_counts:
        parts.append(_counts(places, first.shape[0]))
    return tuple(parts) if len(parts) > 1 else parts[0]


@implements(np.union1d)
def union1d(ar1: Any, ar2: Any) -> Any:
    return unique(concatenate((flattened(strong(ar1)), flattened(strong(ar2)))))


@implements(np.setdiff1d)
def setdiff1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    x: Traced = flattened(strong(ar1)) if assume_unique else unique(ar1)
    return x[~np.isin(x, strong(ar2))]


@implements(np.setxor1d)
def setxor1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    parts = [flattened(strong(x)) if assume_unique else unique(x) for x in (ar1, ar2)]
    values = np.sort(concatenate(parts))
    return values[_in_one(values)]


@implements(np.intersect1d)
def intersect1d(ar1: Any, ar2: Any, assume_unique: bool = False, return_indices: bool = False) -> Any:
    if return_indices:
        raise unsupported_argument("np.intersect1d", "return_indices=True")
    parts = [flattened(strong(x)) if assume_unique else unique(x) for x in (ar1, ar2)]
    return _in_both(np.sort(concatenate(parts)))
