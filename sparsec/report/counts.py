"""How many channels are live where, in one call: its indexes run through the program's index flow, without data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sparsec.ir.dims import Dim, evaluate, symbols
from sparsec.ir.graph import Func, Op
from sparsec.ir.limits import Limits
from sparsec.ir.ops.record import Kind, record

__all__ = ["Sizes", "index_sizes"]


class Sizes:
    """Dims in numbers: as they are in a call, or, where that is not known, as large as they may be."""

    def __init__(self, func: Func, known: Mapping[str, int]) -> None:
        self._limits, self._known = Limits.of(func), known

    def __call__(self, dim: Dim) -> int:
        for candidate in (dim, self._limits.dim(dim)):
            if candidate is not None and all(s.name in self._known for s in symbols(candidate)):
                return max(evaluate(candidate, self._known), 0)
        return 0

    def elements(self, shape: Sequence[Dim]) -> int:
        """The product of the dims."""
        return int(np.prod([self(d) for d in shape], dtype=np.int64)) if shape else 1


def index_sizes(func: Func, sizes: Mapping[str, int], arrays: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, int]:
    """The symbols of a PLANNED function that follow from indexes alone, and those in `sizes`.

    arrays: the values of parameters that are indexes, by name.
    """
    known: dict[str, Any] = dict(arrays)
    found = dict(sizes)
    for op, outside in _index_flow(func.ops):
        if not all(v.name in known for v in op.operands):
            continue
        rec = record(op.name)
        assert rec.ref is not None
        attrs = {k: evaluate(v, found) if k == "size" else v for k, v in op.attrs.items()}
        made = rec.ref(*(known[v.name] for v in op.operands), **attrs)
        for result in (op.result.name, outside):
            known[result] = made
        if np.ndim(made) == 0:
            found[f"%{outside}"] = int(made)
    return found


def _index_flow(ops: Sequence[Op]) -> Iterator[tuple[Op, str]]:
    """Ops on indexes, in order, and what their result is called outside of its kernel."""
    for op in ops:
        if op.name == "fused":
            shown = {v.name: r.name for v, r in zip(op.regions[0].yields, op.results)}
            for inner in op.regions[0].ops:
                if record(inner.name).kind is Kind.INDEX:
                    yield inner, shown.get(inner.result.name, inner.result.name)
