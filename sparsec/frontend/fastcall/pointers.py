"""What compiled code is given: the parameters, then memory for the results."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from sparsec.frontend.fastcall.amounts import amounts, given
from sparsec.frontend.fastcall.writer import Writer, need
from sparsec.frontend.results import View
from sparsec.ir.call_record import LARGE_BYTES, MAX_RANK, SCRATCH_BYTES, Param, Result

__all__ = ["params", "results"]


def params(w: Writer) -> Iterator[list[int]]:
    """Where the elements of an array begin, a number, how many channels are live."""
    for k, p in enumerate(w.traced.params):
        if k in w.packed:
            yield [w.packed[k], Param.ARRAY, 0]
        elif p.array >= 0:
            need(type(p.offset) is int)
            size = np.dtype(w.traced.capture_specs[p.array].dtype).itemsize
            yield [w.arrays[p.array], Param.ARRAY, -p.offset * size]
        elif p.scalar >= 0:
            yield [w.scalars[p.scalar], Param.NUMBER, 0]
        else:
            need(p.size in w.counts)
            yield [w.counts[p.size], Param.SIZE, 0]


def results(w: Writer) -> Iterator[list[int]]:
    """Arrays, but scratch memory for what only numbers are made from."""
    made = w.traced.results
    seen = {leaf.storage for leaf in made.leaves if isinstance(leaf, View) and not leaf.param}
    for k, (shape, dtype) in enumerate(made.storages):
        if shape is None:
            yield [Result.BLOCK, w.ref(np.dtype(dtype)), dtype.itemsize]
        elif k not in seen:
            need(shape == () and dtype.itemsize <= SCRATCH_BYTES)
            yield [Result.SCRATCH]
        elif all(type(d) is int for d in shape):
            kind = Result.LARGE if math.prod(shape) * dtype.itemsize >= LARGE_BYTES else Result.ARRAY
            yield [kind, w.ref(np.dtype(dtype)), len(shape), w.list(shape)]
        else:
            need(len(shape) <= MAX_RANK)
            yield [Result.SIZED, w.ref(np.dtype(dtype)), len(shape), amounts(w, shape, given(w))]
