"""Computes live channels only: ops whose operands are spread from stored channels run on what is stored.

    %x = spread %d, %i {axis=1, full=64} : f32[1,64,8,8]
    %r = maximum %x, %zero : f32[1,64,8,8]                   %r.live = maximum %d, %zero : f32[1,k<=32 of 64 @%i,8,8]
    %y = mul %r, %scale : f32[1,64,8,8]               ->     %s = take_channels %scale, %i {axis=1}
    return %y                                                %y.live = mul %r.live, %s : f32[1,k<=32 of 64 @%i,8,8]
                                                             %y = spread %y.live, %i {axis=1, full=64}

The traced program has dense meaning throughout; this pass alone makes it sparse. A `spread` that is left stands
where a value is needed in full, and `propagate_with_reasons` says by what and why. A program without a spread is
not looked at. The rules are in `channels/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from sparsec.ir.builder import Names
from sparsec.ir.forms import Form
from sparsec.ir.graph import Func, Op, Value, walk
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.remarks import Topic, remark
from sparsec.passes.base import Pass
from sparsec.passes.channels.flow import Flow, whole
from sparsec.passes.channels.rules import ChannelRules
from sparsec.passes.dce import Dce
from sparsec.passes.rebuild import all_names

__all__ = ["Densified", "Propagate", "propagate_with_reasons"]


@dataclass(frozen=True, slots=True)
class Densified:
    """A value that had to be spread: the op that makes it whole, the op that needs it, and why."""

    spread: Op
    user: Op
    reason: str


@dataclass(frozen=True)
class Propagate(Pass):
    """One walk over the function, regions included; those of loops until what they carry is known."""

    name: ClassVar[str] = "propagate"
    requires: ClassVar[Form] = Form.CANONICAL
    ensures: ClassVar[Form | None] = Form.SPARSE_KNOWN

    def run(self, func: Func) -> Func:
        made, densified = propagate_with_reasons(func)
        for op in walk(made.ops):
            if record(op.name).kind is Kind.INDEX or any(r.type.channels for r in op.results):
                remark(Topic.CHANNELS, "", op)
        for each in densified:
            remark(Topic.WHOLE, each.reason, each.user, each.spread.result.name)
            remark(Topic.CHANNELS, each.reason, each.spread)
        return made


def propagate_with_reasons(func: Func) -> tuple[Func, tuple[Densified, ...]]:
    """The function on compact data, and for every spread that is left who needs it."""
    if not any(op.name == "spread" for op in walk(func.ops)):
        return func, ()
    flow = Flow(Names(all_names(func)), ChannelRules(), func.params, (p.storage for p in func.params))
    for op in index_flow(func):
        flow.adopt(op)
    for op in func.ops:
        flow.add(op)
    results = _own_storages(flow, func)
    writes = tuple(flow.rooted(v) for v in func.writes)
    made = Dce().run(replace(func, ops=flow.ops, results=results, writes=writes))
    left = [op for op in walk(made.ops) if op.name == "spread" and op.result.name in flow.reasons]
    return made, tuple(Densified(op, *flow.reasons[op.result.name]) for op in left)


def _own_storages(flow: Flow, func: Func) -> tuple[Value, ...]:
    """The results. What was a storage of its own is one again: compact data may be a view of an argument."""
    params = {p.storage for p in func.params}
    found: list[Value] = []
    taken: dict[str, str] = {}  # new storage -> old
    for old in func.results:
        new = flow.rooted(old)
        shared = taken.setdefault(new.storage, old.storage) != old.storage
        moved = new.storage != old.storage and new.storage in params
        if shared or moved or (old.type.ref is None and not whole(new)):
            new = flow.emit("copy", new)
        found.append(new)
    return tuple(found)


def index_flow(func: Func) -> Sequence[Op]:
    """Index flow that depends on parameters and literals alone: it is computed first, whatever stands before it."""
    known = {p.name for p in func.params}
    found = []
    for op in func.ops:
        kind = record(op.name).kind
        if kind in (Kind.CONST, Kind.INDEX) and all(v.name in known for v in op.operands):
            found.append(op)
            known.update(r.name for r in op.results)
    return found
