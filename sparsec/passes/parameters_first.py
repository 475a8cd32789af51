"""What the elements of a convolution are taken further with is computed before it.

    %y = conv2d %x, %w : f32[1,64,28,28]             %s = sqrt %var : f32[64]
    %s = sqrt %var : f32[64]                  ->     %y = conv2d %x, %w : f32[1,64,28,28]
    %z = div %y, %s.v : f32[1,64,28,28]              %z = div %y, %s.v : f32[1,64,28,28]

Only then can `fuse` put `div` into the loops of `conv2d`. Small results only: large ones would live longer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sparsec.ir.dims import upper_bound
from sparsec.ir.graph import Op, Value
from sparsec.ir.ops.record import Kind, record
from sparsec.passes.accesses import accesses, symbol_reads

__all__ = ["parameters_first"]

#: How much smaller than the nest's result a result must be.
_SMALLER = 8

_MOVED = (Kind.ELEMENTWISE, Kind.MAP, Kind.REDUCE, Kind.NEST, Kind.INDEX)
_STAYS = (Kind.CONTROL, Kind.CHECK)


def parameters_first(ops: Sequence[Op], values: Mapping[str, Value], views: Mapping[str, Op]) -> Sequence[Op]:
    """The ops (without metadata) in an order that means the same. values, views: by name, for symbols."""
    if not any(record(op.name).once for op in ops):
        return ops
    out: list[Op] = []
    touched: list[tuple[set[str], set[str]]] = []  # storages that are read, and written
    for op in ops:
        mine = _touched(op, values, views)
        at = len(out)
        if record(op.name).kind in _MOVED:
            for k in range(len(out) - 1, -1, -1):
                if record(out[k].name).kind in _STAYS or _clash(touched[k], mine):
                    break
                if record(out[k].name).once and _size(op) * _SMALLER <= _size(out[k]):
                    at = k
        out.insert(at, op)
        touched.insert(at, mine)
    return out


def _touched(op: Op, values: Mapping[str, Value], views: Mapping[str, Op]) -> tuple[set[str], set[str]]:
    found = [*accesses(op), *symbol_reads(op, values, views)]
    return {a.storage for a in found if not a.write}, {a.storage for a in found if a.write}


def _clash(earlier: tuple[set[str], set[str]], later: tuple[set[str], set[str]]) -> bool:
    return bool(earlier[1] & (later[0] | later[1]) or earlier[0] & later[1])


def _size(op: Op) -> float:
    """Elements of all results, at most."""
    bounds = [upper_bound(result.type.size) for result in op.results]
    return sum(float("inf") if bound is None else bound for bound in bounds)
