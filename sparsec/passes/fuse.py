"""Groups ops that can share one loop nest into `fused` ops: one kernel each.

    %v = view %x {…} : f32[4] @x+1:(2)               %v = view %x {…} : f32[4] @x+1:(2)
    %e = exp %v : f32[4]                             %x1 = fused () {
    %x1 = update %x, %v, %e : f32[8] @x       ->       %e = exp %v : f32[4]
                                                       %x1.in = update %x, %v, %e : f32[8] @x
                                                       yield %x1.in
                                                     } : f32[8] @x

`groups.py` decides what may be together, `regroup.py` writes it down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from sparsec.ir.builder import Names
from sparsec.ir.forms import Form
from sparsec.ir.graph import Func, Op, Region, Value, free_values, touched_storages, value_symbols, walk
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.remarks import Topic, remark
from sparsec.passes.accesses import accesses, is_kernel, symbol_reads, with_views
from sparsec.passes.base import Pass
from sparsec.passes.groups import Decision, Group, Grouping, is_metadata, summed_only
from sparsec.passes.parameters_first import parameters_first
from sparsec.passes.rebuild import all_names
from sparsec.passes.regroup import Regroup, Scope

__all__ = ["Fuse", "fuse_with_decisions"]


@dataclass(frozen=True)
class Fuse(Pass):
    """`max_ops`: the most ops in one kernel; 1 gives every op a kernel of its own."""

    name: ClassVar[str] = "fuse"
    requires: ClassVar[Form] = Form.VIEWS_RESOLVED
    ensures: ClassVar[Form | None] = Form.FUSED
    max_ops: int = 64

    def run(self, func: Func) -> Func:
        fused, decisions = fuse_with_decisions(func, self.max_ops)
        for made in decisions:
            against = made.against.results[0].name if made.against is not None and made.against.results else ""
            remark(Topic.FUSION, made.reason, made.op, against)
        return fused


def fuse_with_decisions(func: Func, max_ops: int = 64) -> tuple[Func, tuple[Decision, ...]]:
    """The fused function, and for every op that starts a kernel why it is not in an earlier one."""
    fuser = _Fuser(func, max_ops)
    ops, ends = fuser.op_list(func.ops, func.ends)
    results, writes = ends[: len(func.results)], ends[len(func.results) :]
    return replace(func, ops=ops, results=results, writes=writes), tuple(fuser.decisions)


class _Fuser:
    """Fuses op lists, those in regions first."""

    def __init__(self, func: Func, max_ops: int) -> None:
        self.decisions: list[Decision] = []
        self._params = frozenset(p.storage for p in func.params)
        self._names = Names(all_names(func))
        self._max_ops = max_ops
        self._values: dict[str, Value] = {p.name: p for p in func.params}
        self._views: dict[str, Op] = {}
        for op in walk(func.ops):
            self._values.update((r.name, r) for r in op.results)
            if record(op.name).kind is Kind.VIEW:
                self._views[op.result.name] = op

    def op_list(
        self, ops: Sequence[Op], ends: Sequence[Value], versions: Mapping[str, Value] | None = None
    ) -> tuple[tuple[Op, ...], tuple[Value, ...]]:
        """Fused `ops`, and `ends` under their new names; `versions` are block arguments by storage."""
        ops = [op if is_kernel(op) else self._inside(op) for op in ops]
        grouping = Grouping(self._params, self._values, self._views, self._max_ops, summed_only(ops, ends))
        for op in parameters_first([op for op in ops if not is_metadata(op)], self._values, self._views):
            grouping.add(op)
        self.decisions += grouping.decisions
        definitions = {r.name: op for op in ops for r in op.results}
        visible = _visible(grouping.groups, ends, self._values, self._views)
        scope = Scope(dict(versions or {}))
        return Regroup(definitions, self._views, self._names).emit(grouping.groups, ends, scope, visible)

    def _inside(self, op: Op) -> Op:
        return replace(op, regions=tuple(map(self._region, op.regions)))

    def _region(self, region: Region) -> Region:
        versions = {p.storage: p for p in region.params if p.type.ref is not None}
        ops, yields = self.op_list(region.ops, region.yields, versions)
        return replace(region, ops=ops, yields=yields)


def _storages(op: Op, values: Mapping[str, Value], views: Mapping[str, Op]) -> set[str]:
    if record(op.name).kind is Kind.CONTROL:
        return touched_storages(op) | set(value_symbols(*with_views(free_values(op), views)))
    return {a.storage for a in (*accesses(op), *symbol_reads(op, values, views))}


def _visible(
    groups: Sequence[Group], ends: Sequence[Value], values: Mapping[str, Value], views: Mapping[str, Op]
) -> dict[int, set[str]]:
    """For each group, the storages of its own that anything outside it touches."""
    touched: dict[str, set[int]] = {}
    for number, group in enumerate(groups):
        for op in group.ops:
            for storage in _storages(op, values, views):
                touched.setdefault(storage, set()).add(number)
    for value in ends:
        for storage in (value.storage, *value_symbols(*with_views((value,), views))):
            touched.setdefault(storage, set()).add(-1)
    visible: dict[int, set[str]] = {number: set() for number in range(len(groups))}
    for storage, where in touched.items():
        if len(where) > 1:
            for number in where & visible.keys():
                visible[number].add(storage)
    return visible
