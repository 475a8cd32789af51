"""Which ops can share one loop nest: groups of ops over one domain, and why an op could not join.

Ops are taken in program order. An op may run in the group of an earlier op, or between groups, wherever every
access that must keep its order does so: in a later group always, in the same group if both accesses are
element for element. This file decides; `regroup.py` writes the `fused` ops down.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sparsec.ir.dims import Dim
from sparsec.ir.graph import Op, Value, walk
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.tensorref import self_overlaps
from sparsec.ir.types import DType
from sparsec.passes.accesses import (
    Access,
    accesses,
    domain,
    element_for_element,
    ordered,
    symbol_reads,
)
from sparsec.passes.history import History

Shape = tuple[Dim, ...]

#: An op asks so many groups of its shape, the latest: programs with thousands of kernels stay cheap.
_MOST_GROUPS = 64

#: A pairwise sum writes the code of an element once for each of its accumulators.
_PAIRWISE_OPS = 16


@dataclass(frozen=True, slots=True)
class Decision:
    """Why `op` is not in an earlier group: for `explain`. `against`: the first op of the group that it could
    not join or had to wait for, if it was one."""

    op: Op
    reason: str
    against: Op | None = None


@dataclass
class Group:
    """Ops of one kernel. `shape` None: an op that brings its own loops, or a control op, and is alone. One that
    writes each element `once` is the first of its group, and those after it take its elements further."""

    shape: Shape | None
    ops: list[Op] = field(default_factory=list)
    axes: tuple[int, ...] | None = None  # that its reductions fold away
    pairwise: bool = False
    created: set[str] = field(default_factory=set)  # storages that its results are

    def add(self, op: Op) -> None:
        rec = record(op.name)
        self.ops.append(op)
        if rec.kind is Kind.REDUCE:
            self.axes = op.attrs["axes"]
            self.pairwise = self.pairwise or is_pairwise(op)
        if rec.kind is not Kind.UPDATE:
            self.created.update(r.storage for r in op.results)


def is_pairwise(op: Op) -> bool:
    """Whether the reduction asks for the summation order that walks its operand in blocks."""
    rec = record(op.name)
    return rec.kind is Kind.REDUCE and rec.lower.pairwise and op.operands[0].type.dtype.kind in "fc"


def summed_only(ops: Sequence[Op], ends: Sequence[Value]) -> frozenset[str]:
    """The values that are computed, element for element, for one pairwise sum and nothing else."""
    uses = Counter(value.name for op in ops for value in op.operands)
    uses.update(value.name for value in ends)
    uses.update(value.name for op in ops for region in op.regions for inner in walk(region.ops)
                for value in (*inner.operands, *region.yields))
    found: set[str] = set()
    for op in reversed(ops):
        towards = is_pairwise(op) or (record(op.name).kind is Kind.ELEMENTWISE and op.result.name in found)
        if towards:
            found.update(value.name for value in op.operands if uses[value.name] == 1)
    return frozenset(found)


def may_stop(op: Op) -> bool:
    """Whether the op is a check that ends the call (and not one that only takes a note)."""
    rec = record(op.name)
    return rec.kind is Kind.CHECK and "message" in rec.attrs


def is_metadata(op: Op) -> bool:
    """Views, literals and fresh storage run nothing: they belong to no group."""
    return record(op.name).kind in (Kind.VIEW, Kind.CONST, Kind.CREATE)


class Grouping:
    """The groups of one op list, built op by op."""

    def __init__(
        self, params: frozenset[str], values: Mapping[str, Value], views: Mapping[str, Op], max_ops: int,
        summed: frozenset[str] = frozenset(),
    ) -> None:
        """values, views: those of the function, by name. summed: the values that only a pairwise sum asks for
        (`summed_only`)."""
        self.groups: list[Group] = []
        self.decisions: list[Decision] = []
        self._params, self._values, self._views, self._max_ops = params, values, views, max_ops
        self._summed = summed
        self._history = History()
        self._makers: dict[str, tuple[int, DType]] = {}  # the group that makes a storage, and as what
        self._by_shape: dict[Shape, list[int]] = {}
        self._floor = 0  # nothing moves before a control op
        self._last_check = -1  # the last group that holds a check
        self._checks: list[tuple[int, Op]] = []  # the latest, and the latest of those unlike it
        self._param_write = -1  # the last group that writes to an argument

    def add(self, op: Op) -> None:
        """Puts `op` into the earliest group that may hold it, or into a new one."""
        once = record(op.name).once
        shape = op.result.type.shape if once else None if self._alone(op) else domain(op)
        touched = [*accesses(op), *symbol_reads(op, self._values, self._views)]
        first, reason = self._earliest(op, touched)
        at, against = None, first - 1
        if shape is not None and shape in self._by_shape and not once:
            known = self._by_shape[shape]
            for number in known[max(bisect_left(known, first), len(known) - _MOST_GROUPS) :]:
                refusal = self._refusal(self.groups[number], op)
                if not refusal:
                    at = number
                    break
                reason, against = refusal, number
        if at is None:
            at = self._new_group(shape)
            if at and record(op.name).kind is not Kind.CONTROL:
                self._decided(op, shape, reason, against)
        self._put(op, at, touched)

    def _decided(self, op: Op, shape: Shape | None, reason: str, against: int) -> None:
        if shape is None or record(op.name).once:
            self.decisions.append(Decision(op, "it brings loops of its own"))
        elif not reason:
            known = len(self._by_shape[shape]) > 1
            reason = "control flow stands between" if known else "no earlier kernel has this shape"
            self.decisions.append(Decision(op, reason))
        else:
            self.decisions.append(Decision(op, reason, self.groups[against].ops[0] if against >= 0 else None))

    def _new_group(self, shape: Shape | None) -> int:
        self.groups.append(Group(shape))
        number = len(self.groups) - 1
        if shape is not None:
            self._by_shape.setdefault(shape, []).append(number)
        return number

    def _put(self, op: Op, at: int, touched: Sequence[Access]) -> None:
        kind = record(op.name).kind
        self.groups[at].add(op)
        for item in touched:
            self._history.add(at, item)
        if kind is not Kind.UPDATE:
            self._makers.update((r.storage, (at, r.type.dtype)) for r in op.results)
        if may_stop(op):
            self._note_check(at, op)
        if self._writes_param(op):
            self._param_write = max(self._param_write, at)
        if kind is Kind.CONTROL:
            self._floor = len(self.groups)

    def _alone(self, op: Op) -> bool:
        """Regions whose elements repeat are written in C order: no other op may set the pace."""
        if record(op.name).kind is Kind.UPDATE and domain(op) is not None:
            return self_overlaps(op.operands[1].ref, op.operands[1].type.shape)
        return False

    # --- dependences ---

    def _earliest(self, op: Op, touched: Sequence[Access]) -> tuple[int, str]:
        """The first group in which `op` may run, and what keeps it from an earlier one."""
        first, reason = self._floor, ""
        if record(op.name).kind is Kind.CONTROL:
            return len(self.groups), "control flow"
        for new in touched:
            # Not even an array without elements is named before the op that makes it, nor as another dtype beside it.
            if new.storage in self._makers:
                maker, dtype = self._makers[new.storage]
                first = max(first, maker + (new.dtype != dtype))
            for number, old in self._history.near(new):
                if number < first or not ordered(old, new):
                    continue
                if not element_for_element(old, new):
                    first, reason = number + 1, _clash(old, new)
                elif number > first:
                    first = number
        after, why = self._after_checks(op)
        return (after, why) if after > first else (first, reason)

    def _after_checks(self, op: Op) -> tuple[int, str]:
        """Checks stop the call before arguments change, in their order, and before what they guard."""
        kind, first, reason = record(op.name).kind, 0, ""
        if self._last_check >= 0:
            unlike = max((number for number, check in self._checks if check.attrs != op.attrs), default=-1)
            if self._writes_param(op):
                first, reason = self._last_check + 1, "a check must pass before an argument is written"
            elif may_stop(op) and unlike >= 0:
                first, reason = max(unlike + 1, self._last_check), "checks are made in the program's order"
            elif kind in (Kind.MAP, Kind.NEST, Kind.INDEX, Kind.UPDATE, Kind.CHECK):
                first = self._last_check
        if may_stop(op) and self._param_write >= first:
            first, reason = self._param_write + 1, "an argument is written before this check"
        return first, reason

    def _note_check(self, at: int, op: Op) -> None:
        """Of all checks so far, two answer what is asked: the latest, and the latest with other attributes."""
        self._last_check = max(self._last_check, at)
        like = [at, *(number for number, check in self._checks if check.attrs == op.attrs)]
        others = [entry for entry in self._checks if entry[1].attrs != op.attrs]
        self._checks = sorted([*others, (max(like), op)], key=lambda entry: -entry[0])[:2]

    def _writes_param(self, op: Op) -> bool:
        return record(op.name).kind is Kind.UPDATE and op.operands[0].storage in self._params

    # --- one loop nest ---

    def _refusal(self, group: Group, op: Op) -> str:
        """Why `op` cannot run in a group that its dependences allow; empty if it can."""
        if len(group.ops) >= self._max_ops:
            return f"the kernel already has {self._max_ops} ops"
        if (group.pairwise or is_pairwise(op)) and len(group.ops) >= _PAIRWISE_OPS:
            return "a pairwise sum repeats its kernel's code"
        rec = record(op.name)
        if record(group.ops[0].name).once:
            if rec.kind not in (Kind.ELEMENTWISE, Kind.MAP, Kind.UPDATE):
                return "the kernel's loops are for one element at a time"
            if not any(value.storage in group.created for value in op.operands):
                return "the kernel's loops are made for what is computed in them"
        if rec.kind is Kind.UPDATE and op.operands[0].storage in group.created:
            return "it writes into an array that this kernel computes"
        if rec.kind is Kind.REDUCE and group.axes is not None:
            if group.axes != op.attrs["axes"]:
                return "the kernel reduces other axes"
            if group.pairwise or is_pairwise(op):
                return "a pairwise sum walks its operand in an order of its own"
        if group.pairwise and any(r.name in self._summed for r in op.results):
            return "the sum that it is for cannot be in this kernel"
        return ""


def _clash(old: Access, new: Access) -> str:
    if old.write and new.write:
        return f"it overwrites parts of @{new.storage} that an earlier kernel writes at other indexes"
    if new.write:
        return f"it overwrites elements of @{new.storage} that an earlier kernel reads at other indexes"
    return f"it reads elements of @{new.storage} that an earlier kernel makes at other indexes"
