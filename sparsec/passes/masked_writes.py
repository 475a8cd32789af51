"""A masked write of what was computed from masked reads is a choice between new and old elements.

    %i  = nonzero %m {count=%n} : i64[%n]                 %b  = sqrt %y : f32[8]
    %a  = gather %y, %i : f32[%n]                   ->    %c  = where %m, %b, %x : f32[8]
    %b  = sqrt %a : f32[%n]                               %x1 = update %x, %x, %c : f32[8] @x
    %x1 = scatter %x, %x, %i, %b : f32[8] @x

This is `x[m] = np.sqrt(y[m])`. All elements are computed, chosen or not: every op has a value for every operand,
and none can be seen to have been run. But the ops must be cheap, and nobody else may want what they compute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from sparsec.ir.builder import Builder, Names
from sparsec.ir.forms import Form
from sparsec.ir.graph import Func, Op, Region, Value, touched_storages, users
from sparsec.ir.ops.record import Kind, record
from sparsec.passes.base import Pass
from sparsec.passes.op_cost import op_cost
from sparsec.passes.rebuild import all_names, with_regions

__all__ = ["MaskedWrites"]


@dataclass(frozen=True)
class MaskedWrites(Pass):
    """`most`: additions that computing an element may cost; beyond, only the chosen ones are computed."""

    name: ClassVar[str] = "masked-writes"
    requires: ClassVar[Form] = Form.TRACED
    most: int = 48

    def run(self, func: Func) -> Func:
        return func.with_ops(_Rewriter(func, self.most).op_list(func.ops))


class _Rewriter:
    """Walks op lists; each masked write looks back in its own list."""

    def __init__(self, func: Func, most: int) -> None:
        self._names, self._most = Names(all_names(func)), most
        self._users = users(func)
        self._ends = {v.name for v in func.ends}

    def op_list(self, ops: Sequence[Op]) -> tuple[Op, ...]:
        places = {r.name: number for number, op in enumerate(ops) for r in op.results}
        out: list[Op] = []
        for number, op in enumerate(ops):
            chain = self._chain(op, number, ops, places)
            out += self._select(op, chain) if chain is not None else [with_regions(op, self._region)]
        return tuple(out)

    def _region(self, region: Region) -> Region:
        return replace(region, ops=self.op_list(region.ops))

    def _chain(self, op: Op, number: int, ops: Sequence[Op], places: dict[str, int]) -> list[Op] | None:
        """The selection, and in their order the ops between it and the write `op`; None if it must stay."""
        if op.name != "scatter" or op.attrs["combine"] != "set":
            return None
        _, region, *indexes, value = op.operands
        first = places.get(indexes[0].name)
        if first is None or ops[first].name != "nonzero" or ops[first].results != tuple(indexes):
            return None
        selection = ops[first]
        if selection.operands[0].type.shape != region.type.shape or value.type.shape != indexes[0].type.shape:
            return None
        if _written(ops[first + 1 : number], {selection.operands[0].storage}):
            return None
        chain: dict[int, Op] = {}
        todo = [value]
        while todo:
            at = places.get(todo.pop().name, -1)
            if at in chain:
                continue
            made = ops[at] if at > first else None
            if made is None or not self._fits(made, selection, ops[at + 1 : number]):
                return None
            chain[at] = made
            if made.name != "gather":
                todo += [v for v in made.operands if v.type.shape]
        steps = [chain[at] for at in sorted(chain)]
        inside = {id(step) for step in (*steps, op)}
        computed = [step for step in steps if step.name != "gather"]
        if any(id(user) not in inside for step in computed for user in self._users.get(step.result.name, ())):
            return None
        cost = sum(map(op_cost, computed))
        return [selection, *steps] if cost <= self._most else None

    def _fits(self, op: Op, selection: Op, after: Sequence[Op]) -> bool:
        """Whether the op computes chosen elements from chosen elements, and could do so at the write."""
        if len(op.results) != 1 or op.result.name in self._ends or op.result.type.ref is not None:
            return False
        if op.name == "gather":
            source, *indexes = op.operands
            if tuple(indexes) != selection.results or source.type.shape != selection.operands[0].type.shape:
                return False
        elif record(op.name).kind is not Kind.ELEMENTWISE:
            return False
        return not _written(after, {v.storage for v in op.operands})

    def _select(self, op: Op, chain: Sequence[Op]) -> list[Op]:
        selection, *steps = chain
        version, region, *_, value = op.operands
        build = Builder(self._names)
        build.loc = op.loc
        full: dict[str, Value] = {}
        for step in steps:
            build.loc = step.loc
            if step.name == "gather":
                full[step.result.name] = step.operands[0]
            else:
                operands = [full.get(v.name, v) for v in step.operands]
                full[step.result.name] = build.op(step.name, *operands, **step.attrs)
        build.loc = op.loc
        chosen = build.op("where", selection.operands[0], full[value.name], region)
        write = Op("update", (version, region, chosen), op.results, {}, (), op.loc)
        return [*build.ops, write]


def _written(ops: Sequence[Op], storages: set[str]) -> bool:
    """Whether one of the storages may get a next version here."""
    for op in ops:
        kind = record(op.name).kind
        if kind is Kind.UPDATE and op.operands[0].storage in storages:
            return True
        if kind is Kind.CONTROL and storages & touched_storages(op):
            return True
    return False
