"""What must hold around the values of a call: what was read from outside, how arrays lie to each other."""

from __future__ import annotations

import types
from collections.abc import Iterator

import numpy as np

from sparsec.config import settings
from sparsec.frontend.fastcall.writer import Writer, need
from sparsec.frontend.outside import Contents
from sparsec.frontend.spec import ArraySpec
from sparsec.ir.call_record import Guard, Pair
from sparsec.ir.dims import Poly, product, upper_bound
from sparsec.runtime.stored import StoredCode

__all__ = ["guards", "pairs"]

_GUARDS = {"entry": Guard.ENTRY, "cell": Guard.CELL, "attribute": Guard.ATTRIBUTE, "item": Guard.ITEM}


def guards(w: Writer, backend: str | None, code: StoredCode) -> list[list[int]]:
    """Settings that the code depends on, and what the function read from outside."""
    return [*_settings(w, backend, code), *_outside(w)]


def _settings(w: Writer, backend: str | None, code: StoredCode) -> list[list[int]]:
    rows: list[list[int]] = []
    watched = ["backend"] if backend is None and code.statements else []  # views alone are the same on all of them
    for name in (*watched, *(("num_threads",) if code.threads else ())):
        (context, _, now), *dicts = settings.sources(name)
        if not rows:
            rows.append([Guard.CONTEXT, w.ref(context), 0, w.ref(now)])
        rows += [[Guard.ENTRY, w.ref(owner), w.ref(key), 0 if value is None else w.ref(value)]
                 for owner, key, value in dicts]
    return rows


def _outside(w: Writer) -> Iterator[list[int]]:
    for guard in w.traced.guards:
        if isinstance(guard, Contents):
            continue
        kind = _GUARDS[guard.kind]
        if kind is Guard.ENTRY:
            need(type(guard.owner) is dict)
        if kind is Guard.CELL:
            need(type(guard.owner) is types.CellType)
        yield [kind, w.ref(guard.owner), w.ref(guard.name), w.ref(guard.value)]


def pairs(w: Writer) -> Iterator[list[int]]:
    """Arrays of one storage keep their distance; those of two must not meet where one of them is written."""
    specs, traced = w.traced.capture_specs, w.traced
    written = {specs[k].storage for views in traced.written.values() for k in views}
    for j, second in enumerate(specs):
        for i, first in enumerate(specs[:j]):
            if first.storage == second.storage:
                distance = (second.offset - first.offset) * np.dtype(first.dtype).itemsize
                yield [Pair.DISTANCE, w.arrays[i], w.arrays[j], distance]
            elif (first.storage in written or second.storage in written) and _reach(first) and _reach(second):
                yield [Pair.APART, w.arrays[i], w.arrays[j], *_reach(first), *_reach(second)]


def _reach(spec: ArraySpec) -> tuple[int, ...]:
    """First and last+1 byte of an array's elements, from its data pointer; () without elements."""
    if 0 in spec.shape:
        return ()
    size = np.dtype(spec.dtype).itemsize
    if any(isinstance(d, Poly) for d in spec.shape):  # stored channels, which lie together
        most = upper_bound(product(spec.shape))
        need(most is not None)
        return 0, int(most or 0) * size
    steps = [(d - 1) * s * size for d, s in zip(spec.shape, spec.strides, strict=True)]
    return sum(min(s, 0) for s in steps), sum(max(s, 0) for s in steps) + size
