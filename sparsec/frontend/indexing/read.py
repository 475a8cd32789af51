"""`x[key]`: a view, a scalar, or a gathered copy."""

from __future__ import annotations

from typing import Any

from sparsec.frontend.array import Traced
from sparsec.frontend.convert import full
from sparsec.frontend.indexing.keys import Array, Part, has_ellipsis, parse_key
from sparsec.frontend.indexing.masks import bools_with_axes, masks_to_arrays
from sparsec.frontend.indexing.selection import select
from sparsec.frontend.indexing.views import basic_view
from sparsec.frontend.layout import order_of, stand_in
from sparsec.frontend.mixed import any_mixed, decide, replaced, without_mixed_ints
from sparsec.frontend.ufuncs import fresh_array

__all__ = ["getitem"]


def getitem(x: Traced, key: Any) -> Traced:
    """`x[key]`: a view, a scalar, or a gathered copy. Raises IndexOutOfRange as NumPy does."""
    if (mixed := any_mixed((x, key))) is not None:
        key = without_mixed_ints(key)
        if (mixed := any_mixed((x, key))) is not None:
            return decide(mixed, lambda p: p[key] if x is mixed else getitem(x, replaced(key, mixed, p)))
    exact_ellipsis = has_ellipsis(key)
    if x.is_scalar and exact_ellipsis:
        x = x.as_array()
    x, parts = bools_with_axes(x, parse_key(x, key))
    parts = masks_to_arrays(x, parts)
    if any(isinstance(p, Array) for p in parts):
        return _gather(x, parts)
    view = basic_view(x, parts)
    if view.shape == () and not exact_ellipsis:
        return Traced.scalar(x.trace, x.trace.op("copy", view.read()))
    return view


def _gather(x: Traced, parts: list[Part]) -> Traced:
    chosen = select(x, parts)
    trace = x.trace
    source = chosen.region.read()
    if 0 in chosen.shape:
        return Traced.fresh(trace, trace.op("empty", dtype=x.dtype, shape=chosen.shape))
    layout = order_of(stand_in(chosen.region)[chosen.sample])
    indexes = chosen.indexes
    if layout is not None:
        indexes = tuple(i if i.type.shape == () else trace.op("transpose", i, perm=layout) for i in indexes)
    value = trace.op("gather", source, *indexes)
    laid = chosen.shape if layout is None else tuple(chosen.shape[p] for p in layout)
    if value.type.shape != laid:
        value = full(trace, value, laid)
    if chosen.shape == () and all(not isinstance(p, Array) or p.index.ndim == 0 for p in parts):
        return Traced.scalar(trace, value)
    return fresh_array(trace, value, layout)
