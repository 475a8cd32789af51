"""Writes groups of ops down as `fused` ops, and renumbers storage versions to their order.

    %a = exp %x                          %x1 = fused () {
    %v = view %x {…}                       %a = exp %x
    %x1 = update %x, %v, %a      ->        %x1.in = update %x, %v, %a
                                           yield %x1.in
                                         } : f32[8] @x

Groups keep the order of all accesses to an element, but two disjoint writes may have changed places; so the
version that an op reads is the newest one at its new place. The result of a `fused` op keeps the name that
the value had before; the value inside gets another one. What is not used outside gets no storage.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace

from sparsec.ir.builder import Names
from sparsec.ir.graph import Op, Region, Value, free_values, symbol_uses, value_symbols
from sparsec.ir.ops.record import Kind, record
from sparsec.passes.groups import Group, is_metadata
from sparsec.passes.rebuild import rename_region


@dataclass
class Scope:
    """What values are called at one place: the newest version of each storage, the views made of it."""

    versions: MutableMapping[str, Value] = field(default_factory=dict)
    views: MutableMapping[tuple[str, str], Value] = field(default_factory=dict)  # (old view, base) -> view
    inner: dict[str, Value] = field(default_factory=dict)  # a result, while inside its group
    emitted: MutableMapping[str, bool] = field(default_factory=dict)  # metadata ops that are written down
    inside: bool = False  # of a group: the names of what it needs again are taken outside

    def nested(self) -> Scope:
        return Scope(
            ChainMap({}, self.versions), ChainMap({}, self.views), {}, ChainMap({}, self.emitted), True
        )


class Regroup:
    """Emits one op list. `definitions` are its ops before fusion, by result name, `views` those of the function."""

    def __init__(self, definitions: Mapping[str, Op], views: Mapping[str, Op], names: Names) -> None:
        self._definitions, self._views, self._names = definitions, views, names
        self._origins: dict[str, Value] = {}

    def emit(
        self, groups: Sequence[Group], ends: Sequence[Value], scope: Scope, visible: Mapping[int, set[str]]
    ) -> tuple[tuple[Op, ...], tuple[Value, ...]]:
        """The new op list, and `ends` under their new names."""
        out: list[Op] = []
        for number, group in enumerate(groups):
            if record(group.ops[0].name).kind is Kind.CONTROL:
                out.append(self._control(group.ops[0], scope, out))
            else:
                out.append(self._fused(group, scope, out, visible[number]))
        named = tuple(self._resolve(v, scope, out) for v in ends)  # may need views: before the list is closed
        return tuple(out), named

    # --- one group ---

    def _fused(self, group: Group, outer: Scope, out: list[Op], visible: set[str]) -> Op:
        body: list[Op] = []
        scope = outer.nested()
        updated: dict[str, Value] = {}
        results: list[tuple[Value, Value]] = []  # (outside, inside)
        for op in group.ops:
            operands = tuple(self._operand(v, scope, outer, updated, body, out) for v in op.operands)
            self._define_symbols(op, outer, out)
            is_update = record(op.name).kind is Kind.UPDATE
            inside = []
            for result in op.results:
                shown = is_update or group.shape is None or result.storage in visible
                value = self._rename(result) if shown else result
                inside.append(value)
                if is_update:
                    scope.versions[result.storage] = updated[result.storage] = value
                    results = [r for r in results if r[0].storage != result.storage]
                else:
                    scope.inner[result.name] = value
                if shown:
                    results.append((result, value))
            body.append(replace(op, operands=operands, results=tuple(inside)))
        for outside, _ in results:
            if outside.storage in updated:
                outer.versions[outside.storage] = outside
        region = Region((), tuple(body), tuple(v for _, v in results))
        return Op("fused", (), tuple(v for v, _ in results), {}, (region,), group.ops[0].loc)

    def _rename(self, value: Value) -> Value:
        """The value under a fresh name; a version stays in its storage."""
        return Value(self._names.fresh(f"{value.name}.in"), value.type)

    def _operand(
        self, value: Value, scope: Scope, outer: Scope, updated: Mapping[str, Value],
        body: list[Op], out: list[Op],
    ) -> Value:
        """What `value` is called inside the group; views of what the group made are made inside it."""
        origin = self._origin(value)
        if origin.name in scope.inner:
            return scope.inner[origin.name]  # the group reads it at the same index, whatever view is named
        if value.storage in updated:
            return self._resolve(value, scope, body)
        return self._resolve(value, outer, out)

    # --- names ---

    def _origin(self, value: Value) -> Value:
        """The first version of the value's storage in this op list."""
        passed = []
        while value.name not in self._origins:
            op = self._definitions.get(value.name)
            if op is None or record(op.name).kind not in (Kind.VIEW, Kind.UPDATE):
                self._origins[value.name] = value
                break
            passed.append(value.name)
            value = op.operands[0]
        value = self._origins[value.name]
        self._origins.update(dict.fromkeys(passed, value))
        return value

    def _newest(self, value: Value, scope: Scope) -> Value:
        """The version of the value's storage at this place: not yet the one that it names, if a write that
        does not matter to the reader has moved behind it."""
        known = scope.versions.get(value.storage)
        return known if known is not None else self._origin(value)

    def _resolve(self, value: Value, scope: Scope, out: list[Op]) -> Value:
        """`value` at this place: read from the newest version. Emits the metadata ops that it needs."""
        op = self._definitions.get(value.name)
        if op is None and value.storage in scope.versions:  # a view from around the region that this list is
            op = self._views.get(value.name)
        if op is None or record(op.name).kind is not Kind.VIEW:
            newest = self._newest(value, scope)
            made = self._definitions.get(newest.name)
            if made is not None and is_metadata(made) and newest.name not in scope.emitted:
                scope.emitted[newest.name] = True
                self._define_symbols(made, scope, out)
                out.append(made)
            return newest
        base = self._resolve(op.operands[0], scope, out)
        found = scope.views.get((value.name, base.name))
        if found is None:
            self._define_symbols(op, scope, out)
            taken = value.name in scope.emitted or scope.inside or value.name not in self._definitions
            found = Value(self._names.fresh(value.name + ".v"), value.type) if taken else value
            scope.emitted[value.name] = True
            scope.views[value.name, base.name] = found
            out.append(replace(op, operands=(base,), results=(found,)))
        return found

    def _define_symbols(self, op: Op, scope: Scope, out: list[Op]) -> None:
        """Literals that the op, regions included, names as symbols or channel indexes stand before it."""
        for name in dict.fromkeys((*value_symbols(*op.operands), *symbol_uses(op))):
            source = self._definitions.get(name)
            if source is not None and is_metadata(source):
                self._resolve(source.results[0], scope, out)

    # --- control ops ---

    def _control(self, op: Op, scope: Scope, out: list[Op]) -> Op:
        """A control op with its (already fused) regions, under the names of this place."""
        operands = tuple(self._resolve(v, scope, out) for v in op.operands)
        mapping = {v.name: self._resolve(v, scope, out) for v in free_values(op)}
        self._define_symbols(op, scope, out)
        regions = tuple(rename_region(r, mapping) for r in op.regions)
        for result in op.results:
            if result.type.ref is not None:
                scope.versions[result.storage] = result
        return replace(op, operands=operands, regions=regions)

