"""Bools and masks of a key: as new axes of length 1, as positions of what is true."""

from __future__ import annotations

import functools

import numpy as np

from sparsec.errors import IndexOutOfRange
from sparsec.frontend.array import Traced
from sparsec.frontend.concrete import concrete_value
from sparsec.frontend.convert import as_traced
from sparsec.frontend.indexing.keys import Array, Mask, Part, axes_of
from sparsec.frontend.indexing.selection import common_shape
from sparsec.frontend.indexing.views import basic_view
from sparsec.frontend.locate import user_loc
from sparsec.frontend.symbolic import same_dim, true_positions
from sparsec.frontend.trace import Trace
from sparsec.ir.dims import Poly
from sparsec.ir.graph import Value
from sparsec.ir.types import I64

__all__ = ["bools_with_axes", "check_mask", "masks_to_arrays"]

_APART = "shape mismatch: indexing arrays could not be broadcast together"


def bools_with_axes(x: Traced, parts: list[Part]) -> tuple[Traced, list[Part]]:
    """A bool in a key selects from a new axis of length 1: `x[b]` is `x[None][[b]]`. Of several, all have to hold."""
    tests = [p.mask.read() if isinstance(p, Mask) and p.mask.ndim == 0 else None for p in parts]
    places = [k for k, test in enumerate(tests) if test is not None]
    if not places:
        return x, parts
    trace = x.trace
    test = functools.reduce(lambda a, b: trace.op("logical_and", a, b), [t for t in tests if t is not None])
    parts = [_where_true(trace, p, test) if k not in places else p for k, p in enumerate(parts)]
    always = _must_hold(trace, test, [p for k, p in enumerate(parts) if k not in places])
    spread = trace.op("copy", trace.op("broadcast", test, shape=(1,)))
    for k in places:
        axis = sum(axes_of(p) for p in parts[:k])
        x = basic_view(x, [*[slice(None)] * axis, None, *[slice(None)] * (x.ndim - axis)])
        first = k == places[0] and not always
        parts = [*parts[:k], Mask(Traced.fresh(trace, spread)) if first else Array(as_traced([0])), *parts[k + 1 :]]
    return x, parts


def _where_true(trace: Trace, part: Part, test: Value) -> Part:
    """A mask beside a bool: nothing of it if the bool is false, which goes with at most one true element."""
    if not isinstance(part, Mask):
        return part
    mask = part.mask.read()
    count = trace.op("sum", trace.op("cast", mask, dtype=I64), axes=tuple(range(mask.type.rank)))
    few = trace.op("less_equal", count, trace.const(1, I64))
    trace.ops("check", trace.op("logical_or", test, few), kind="index", message=_APART)
    return Mask(Traced.fresh(trace, trace.op("logical_and", mask, test)))


def _must_hold(trace: Trace, test: Value, others: list[Part]) -> bool:
    """Whether a bool beside index arrays has to be true: one that is not selects nothing, which only arrays go with
    whose last length is 1 (or 0). The program then stops where it is false."""
    last = common_shape([p.index for p in others if isinstance(p, Array)])[-1:]
    if last not in ((), (0,), (1,)):
        trace.ops("check", test, kind="index", message=_APART)
    return any(isinstance(p, Mask) for p in others) or last not in ((), (1,))


def masks_to_arrays(x: Traced, parts: list[Part]) -> list[Part]:
    """Masks as the positions of their true elements: known now, or counted when the program runs."""
    out: list[Part] = []
    axis = 0
    for part in parts:
        if not isinstance(part, Mask):
            out.append(part)
            axis += axes_of(part)
            continue
        check_mask(x, part.mask, axis)
        axis += part.mask.ndim
        known: np.ndarray | None
        if part.mask.type.size == 0:  # whatever its other lengths are when it runs
            known = np.zeros([d if isinstance(d, int) else 0 for d in part.mask.shape], bool)
        else:
            known = concrete_value(part.mask)
        if known is None:
            positions = true_positions(x.trace, part.mask.read())
            out.extend(
                Array(Traced(x.trace, p.type.with_ref(p.ref), storage=x.trace.new_storage(p)), checked=True)
                for p in positions
            )
            continue
        out.extend(
            Array(as_traced(list(k.tolist()) if k.size else np.zeros(0, np.int64))) for k in np.nonzero(known)
        )
    return out


def check_mask(x: Traced, mask: Traced, axis: int) -> None:
    """Raises IndexOutOfRange where a mask that begins at `axis` has another length than what it masks."""
    for k, (have, want) in enumerate(zip(x.shape[axis:], mask.shape), axis):
        if have == want or mask.type.size == 0:  # NumPy lets empty masks pass
            continue
        what = (f"boolean index did not match indexed array along axis {k}; size of axis is {have} but size of "
                f"corresponding boolean axis is {want}")
        if not isinstance(have, Poly) and not isinstance(want, Poly):
            raise IndexOutOfRange(what, loc=user_loc())
        same_dim(x.trace, have, want, what, "index")
