"""Values that are known while tracing: anything computed from constants alone.

Lets ordinary Python use `np.array([1, 2]).sum()` as a size, or `if len(table) and table[0]:` on a literal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparsec.errors import CheckFailed
from sparsec.ir.graph import Op
from sparsec.ir.ops.record import Kind, record

if TYPE_CHECKING:
    from sparsec.frontend.array import Traced
    from sparsec.frontend.trace import Trace

_LIMIT = 1 << 16  # elements: beyond that a constant is data, not a parameter of the program


def concrete_value(array: Traced) -> np.ndarray | None:
    """The elements of `array` if they depend on no run-time input, else None."""
    trace = array.trace
    base = array.value if array.storage is None else array.storage.newest
    if base.name not in trace.static:
        return None
    if array.storage is not None and array.storage.depth < trace.loops:
        return None  # the loop that is being traced may write it in an earlier turn
    value = array.read()
    if value.name not in trace.known:
        for op in _needed(trace, value.name):
            _run(trace, op)
    return trace.known.get(value.name)


def _needed(trace: Trace, name: str) -> list[Op]:
    """The ops behind a value that have not been run yet, in program order."""
    found: dict[int, Op] = {}
    stack = [name]
    while stack:
        current = stack.pop()
        number, op = trace.static[current]
        if current not in trace.known and number not in found:
            found[number] = op
            stack.extend(v.name for v in op.operands)
    return [found[number] for number in sorted(found)]


def _run(trace: Trace, op: Op) -> None:
    """Runs one op by its NumPy reference; what cannot be run here is recorded as unknown."""
    operands = [trace.known.get(v.name) for v in op.operands]
    result: np.ndarray | None = None
    if all(o is not None for o in operands) and _runnable(op):
        result = _evaluate(op, operands)  # type: ignore[arg-type]
    for value in op.results:
        trace.known[value.name] = result


def _runnable(op: Op) -> bool:
    rec = record(op.name)
    small = all(isinstance(r.type.size, int) and r.type.size <= _LIMIT for r in op.results)
    return small and len(op.results) == 1 and rec.kind not in (Kind.CONTROL, Kind.INDEX) and (
        rec.kind is not Kind.CREATE and op.name not in ("view", "scatter"))


def _evaluate(op: Op, operands: list[np.ndarray]) -> np.ndarray | None:
    rec = record(op.name)
    assert rec.ref is not None
    if rec.kind is Kind.UPDATE:
        # Only writes of the whole array, element for element, are followed.
        version, region = op.operands[:2]
        whole = region.ref == version.ref and region.type.shape == version.type.shape
        return np.array(np.broadcast_to(operands[2], operands[0].shape)) if whole else None
    with np.errstate(all="ignore"):
        try:
            return np.asarray(rec.ref(*operands, **op.attrs))
        except CheckFailed:
            return None
