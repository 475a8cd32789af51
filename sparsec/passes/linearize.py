"""Makes in-place execution right: copies what is read after it would be gone.

    %x1 = update %x, %v, %e            %x.copy = copy %x
    %y  = add %x, %x1            ->    %x1 = update %x, %v, %e
                                       %y  = add %x.copy, %x1

Five things need a copy: an old version that is read after the next one is made; what a write reads from the
elements that it overwrites, other than element for element (`a[1:] = a[:-1]`); a literal that is written; a
carried array that is handed on to another one; a literal that is a result. (A literal whose elements are all
overwritten before they are read is not copied: `coverage.py`.) After this pass the ops may run in list order,
each version in its storage's memory.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from sparsec.errors import UnsupportedError
from sparsec.ir.builder import Names
from sparsec.ir.forms import Form
from sparsec.ir.graph import Func, Op, Region, Value, walk
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.remarks import Topic, remark
from sparsec.ir.tensorref import contiguous_strides
from sparsec.ir.versions import Overlay, Versions, versions
from sparsec.passes.accesses import access, accesses, element_for_element, ordered
from sparsec.passes.base import Pass
from sparsec.passes.coverage import overwritten_unread
from sparsec.passes.rebuild import all_names, retyped, swap

__all__ = ["Linearize"]


@dataclass(frozen=True)
class Linearize(Pass):
    """Only copies are added; where the tracer made the IR, only for writes that read what they overwrite."""

    name: ClassVar[str] = "linearize"
    requires: ClassVar[Form] = Form.VIEWS_RESOLVED

    def run(self, func: Func) -> Func:
        saves = _stale_reads(func)
        work = _Copier(func, saves)
        ops = list(work.op_list(func.ops))
        results = tuple(work.result(v, ops) for v in swap(func.results, work.mapping))
        return replace(func, ops=tuple(ops), results=results, writes=swap(func.writes, work.mapping))


# --- what is read too late -------------------------------------------------------------------------------


@dataclass
class _Saves:
    """Values of versions that an op ends, and that are read later. before: in its regions already (a loop ends the
    versions that it carries); after: behind it only (in a branch they are what they were until that writes)."""

    before: dict[str, Value] = field(default_factory=dict)
    after: dict[str, Value] = field(default_factory=dict)


def _stale_reads(func: Func) -> dict[int, _Saves]:
    """For each op (by `id`) that ends versions, itself or in its regions: what is read of them later."""
    finder = _StaleReads(versions(func))
    newest = Overlay({p.storage: finder.table.of[p.name] for p in func.params})
    finder.visit(func.ops, newest)
    for value in func.ends:
        finder.read(value, newest)
    return finder.saves


class _StaleReads:
    """Walks the ops as the machine will run them, with the newest version of each storage at hand."""

    def __init__(self, table: Versions) -> None:
        self.table = table
        self.saves: dict[int, _Saves] = {}
        # Version -> the op that ends it, as this region sees it: what one branch ends, the other still has.
        self._ended_by: ChainMap[str, tuple[Op, str]] = ChainMap()

    def visit(self, ops: Sequence[Op], newest: Overlay) -> None:
        for op in ops:
            rec = record(op.name)
            if rec.kind is Kind.VIEW:
                continue
            for position, value in enumerate(op.operands):
                if not (rec.kind is Kind.UPDATE and position == 1):  # only a place
                    self.read(value, newest)
            for region in op.regions:
                inside = newest.inside({})
                self._ended_by = self._ended_by.new_child()
                for param in region.params:
                    self._advance(param, op, "before", inside)
                self.visit(region.ops, inside)
                for value in region.yields:
                    self.read(value, inside)
                self._ended_by = self._ended_by.parents
            for result in op.results:
                self._advance(result, op, "after", newest)

    def _advance(self, value: Value, op: Op, when: str, newest: Overlay) -> None:
        version = self.table.of[value.name]
        old = newest.get(value.storage)
        if old is not None and old != version:
            self._ended_by.setdefault(old, (op, when))
        newest[value.storage] = version

    def read(self, value: Value, newest: Overlay) -> None:
        version = self.table.of[value.name]
        if newest.get(value.storage) not in (None, version):
            op, when = self._ended_by[version]
            getattr(self.saves.setdefault(id(op), _Saves()), when)[value.name] = value


def _targets(region: Region) -> tuple[Value | None, ...]:
    """For each yielded value, the block argument that it becomes, if there is one."""
    params: tuple[Value | None, ...] = (None,) * len(region.yields) + region.params
    return params[len(params) - len(region.yields) :]


# --- copies ----------------------------------------------------------------------------------------------


class _Copier:
    """Rebuilds op lists with copies in them. `mapping`: what a value is called from here on, in this region."""

    def __init__(self, func: Func, saves: dict[int, _Saves]) -> None:
        self.mapping: ChainMap[str, Value] = ChainMap()
        self._saves = saves
        self._kept: ChainMap[str, Value] = ChainMap()  # the copies of old values that this region sees
        self._defined = {p.name for p in func.params}
        self._given_out: dict[str, Value] = {}  # a literal -> the copy of it that the caller gets
        self._names = Names(all_names(func))
        self._definitions = {r.name: op for op in walk(func.ops) for r in op.results}

    def op_list(self, ops: Sequence[Op]) -> tuple[Op, ...]:
        out: list[Op] = []
        for position, op in enumerate(ops):
            saves = self._saves.get(id(op), _Saves())
            for value in (*saves.before.values(), *saves.after.values()):
                self._keep(value, out, op)
            new = retyped(op, swap(op.operands, self.mapping))
            if record(op.name).kind is Kind.UPDATE:
                new = self._update(op, new, out, ops[position:])
            self.mapping.update((name, self._kept[name]) for name in saves.before)
            new = replace(new, regions=tuple(map(self._region, new.regions)))
            self.mapping.update((name, self._kept[name]) for name in saves.after)
            self.mapping.update((r.name, s) for r, s in zip(op.results, new.results) if r != s)
            out.append(new)
            self._defined.update(r.name for r in new.results)
        return tuple(out)

    def _region(self, region: Region) -> Region:
        self.mapping, self._kept = self.mapping.new_child(), self._kept.new_child()
        new = self._inside(region)
        self.mapping, self._kept = self.mapping.parents, self._kept.parents
        return new

    def _inside(self, region: Region) -> Region:
        ops = list(self.op_list(region.ops))
        yields = swap(region.yields, self.mapping)
        # The next turn's values are handed on one by one: `a, b = b, a` must not read what it has replaced.
        carried = {p.storage for p in region.params if p.type.ref is None}
        yields = tuple(
            self._copy(v, ops, None, "carried arrays change places") if v.storage in carried and v != target else v
            for v, target in zip(yields, _targets(region))
        )
        return replace(region, ops=tuple(ops), yields=yields)

    def result(self, value: Value, out: list[Op]) -> Value:
        """A result cannot be a literal's storage: the caller may write to it. Views of one literal share a copy."""
        if not self._is_literal(value):
            return value
        literal = self._definitions[value.storage].result
        if literal.name not in self._given_out:
            reason = "a literal is returned, and the caller may write to it"
            self._given_out[literal.name] = self._copy(literal, out, None, reason)
        return self._view_on(value, self._given_out[literal.name], out, "out")

    def _is_literal(self, value: Value) -> bool:
        op = self._definitions.get(value.storage)
        return op is not None and record(op.name).kind is Kind.CONST

    def _copy(self, value: Value, out: list[Op], like: Op | None, reason: str) -> Value:
        copied = Value(self._names.fresh(f"{value.name}.copy"), value.type.fresh())
        out.append(Op("copy", (value,), (copied,), {}, (), like.loc if like is not None else None))
        remark(Topic.WRITE, reason, out[-1], value.storage)
        return copied

    def _empty(self, version: Value, out: list[Op], like: Op) -> Value:
        fresh = Value(self._names.fresh(f"{version.name}.new"), version.type.fresh())
        attrs = {"dtype": version.type.dtype, "shape": version.type.shape}
        out.append(Op("empty", (), (fresh,), attrs, (), like.loc))
        return fresh

    def _keep(self, value: Value, out: list[Op], like: Op) -> None:
        """Copies `value` before `like`; its view may stand later in the list, so it is made anew."""
        if value.name in self._kept:
            return
        reason = f"%{value.name} is read after it is overwritten here"
        copied = self.mapping.get(value.name) or self._copy(self._visible(value, out), out, like, reason)
        self._kept[value.name] = copied

    def _visible(self, value: Value, out: list[Op]) -> Value:
        op = self._definitions.get(value.name)
        if op is None or record(op.name).kind is not Kind.VIEW or value.name in self._defined:
            return self.mapping.get(value.name, value)
        base = self._visible(op.operands[0], out)
        again = retyped(op, (base,))
        again = replace(again, results=(Value(self._names.fresh(f"{value.name}.old"), again.result.type),))
        out.append(again)
        return again.result

    # --- writes ---

    def _update(self, op: Op, new: Op, out: list[Op], rest: Sequence[Op]) -> Op:
        """A write to memory of its own, of values that it does not overwrite before it reads them."""
        version = new.operands[0]
        old = op.operands[0].name
        if (old in self._kept and self.mapping.get(old) == self._kept[old]) or self._is_literal(version):
            new = self._on_copy(op, new, out, rest)
        writes = [a for a in accesses(new) if a.write]
        operands = list(new.operands)
        region = record(new.name).region
        for position in range(2, len(operands)):
            value = operands[position]
            pointwise = region and value.type.shape == operands[1].type.shape
            read = access(value, write=False, pointwise=pointwise)
            if any(ordered(w, read) and not element_for_element(w, read) for w in writes):
                reason = f"the write overwrites elements of @{value.storage} that it reads at other indexes"
                operands[position] = self._copy(value, out, op, reason)
        return replace(new, operands=tuple(operands))

    def _on_copy(self, op: Op, new: Op, out: list[Op], rest: Sequence[Op]) -> Op:
        """The write to a copy of its version, which is a literal or was saved from being overwritten."""
        version = op.operands[0]
        ref = version.ref
        if ref.offset != 0 or ref.strides != contiguous_strides(version.type.shape):
            raise UnsupportedError(f"a second write to the old version %{version.name}", loc=op.loc)
        if overwritten_unread(rest):
            copied = self._empty(version, out, op)
        else:
            copied = self._copy(new.operands[0], out, op, f"%{version.name} is written here, and needed as it was")
        return retyped(new, (copied, self._view_on(op.operands[1], copied, out, "on"), *new.operands[2:]))

    def _view_on(self, value: Value, copied: Value, out: list[Op], word: str) -> Value:
        """The same view of the copy, if it is a view. word: what names it."""
        view = self._definitions.get(value.name)
        if view is None or record(view.name).kind is not Kind.VIEW:
            return copied
        again = retyped(view, (self._view_on(view.operands[0], copied, out, word),))
        again = replace(again, results=(Value(self._names.fresh(f"{value.name}.{word}"), again.result.type),))
        out.append(again)
        return again.result
