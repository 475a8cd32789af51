"""Which version of which storage each value belongs to.

A parameter begins the first version of its storage, an op that computes begins one of its own; `update` makes
the next version; a view belongs to the version of its operand. A loop's carried block argument is a version
that follows the loop's operand, its result one that follows the same.

    %v  = slice %x0 …          of["v"]  == of["x0"] == "@x"
    %x1 = update %x0, %v, %e   of["x1"] == "x1", parent["x1"] == "@x"
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sparsec.ir.graph import Func, Op, Region, Value
from sparsec.ir.ops.control import FIXED_OPERANDS
from sparsec.ir.ops.record import Kind, record


@dataclass(slots=True)
class Versions:
    """Versions are named by the value that makes them; the first one of a parameter's storage is `@storage`.

    of: value name to version. parent: version to the one that it follows, None for a first one.
    storage: version to storage. maker: version to its op (a parameter or block argument has none).
    """

    of: dict[str, str] = field(default_factory=dict)
    parent: dict[str, str | None] = field(default_factory=dict)
    storage: dict[str, str] = field(default_factory=dict)
    maker: dict[str, Op] = field(default_factory=dict)
    _order: dict[str, int] = field(default_factory=dict)  # version to how many were made before it
    _closed: dict[str, frozenset[str]] = field(default_factory=dict)

    def begin(self, value: Value, name: str = "", parent: str | None = None, op: Op | None = None) -> None:
        """`value` makes a version."""
        name = name or value.name
        self.of[value.name] = name
        if name not in self.parent:
            self._order[name] = len(self._order)
            self.parent[name], self.storage[name] = parent, value.storage
            if op is not None:
                self.maker[name] = op

    def ancestors(self, version: str | None) -> Iterable[str]:
        """The version and all that it follows, newest first."""
        while version is not None:
            yield version
            version = self.parent[version]

    @property
    def count(self) -> int:
        """How many versions there are so far."""
        return len(self._order)

    def is_among(self, version: str, count: int) -> bool:
        """Whether `version` is one of the first `count`."""
        return self._order[version] < count

    def follows(self, version: str, other: str) -> bool:
        """Whether `version` is `other` or comes after it."""
        if version not in self._closed:
            self._closed[version] = frozenset(self.ancestors(version))
        return other in self._closed[version]


class Overlay:
    """The newest version of each storage as a region sees it: what it changes is its `own`, the rest is around it."""

    __slots__ = ("own", "_around")

    def __init__(self, own: dict[str, str], around: Overlay | None = None) -> None:
        self.own, self._around = own, around

    def inside(self, entered: dict[str, str]) -> Overlay:
        """For a region that begins with these versions besides the ones around it."""
        return Overlay(dict(entered), self)

    def get(self, storage: str) -> str | None:
        """The newest version, or None for a storage that has not begun."""
        scope: Overlay | None = self
        while scope is not None:
            found = scope.own.get(storage)
            if found is not None:
                return found
            scope = scope._around
        return None

    def __contains__(self, storage: str) -> bool:
        return self.get(storage) is not None

    def __setitem__(self, storage: str, version: str) -> None:
        self.own[storage] = version


def versions(func: Func) -> Versions:
    """The versions of a function, those in regions included."""
    table = Versions()
    for param in func.params:
        table.begin(param, f"@{param.storage}")
    for op in func.ops:
        _visit(table, op)
    return table


def _visit(table: Versions, op: Op) -> None:
    match record(op.name).kind:
        case Kind.VIEW:
            table.of[op.result.name] = table.of[op.operands[0].name]
        case Kind.UPDATE:
            table.begin(op.results[0], parent=table.of[op.operands[0].name], op=op)
            for other in op.results[1:]:
                table.begin(other, op=op)
        case Kind.CONTROL:
            _visit_control(table, op)
        case _:
            for result in op.results:
                table.begin(result, op=op)


def _visit_control(table: Versions, op: Op) -> None:
    outside = table.count
    carried = op.operands[FIXED_OPERANDS[op.name] :]
    for region in op.regions:
        _enter(table, region, carried)
        for inner in region.ops:
            _visit(table, inner)
    for position, result in enumerate(op.results):
        if result.type.ref is None:
            table.begin(result, op=op)
        elif carried:
            table.begin(result, parent=table.of[carried[position].name], op=op)
        else:
            _leave(table, op, result, [table.of[r.yields[position].name] for r in op.regions], outside)


def _enter(table: Versions, region: Region, carried: tuple[Value, ...]) -> None:
    extra = len(region.params) - len(carried)  # the loop variable
    for param, source in zip(region.params, (*[None] * extra, *carried)):
        shared = source is not None and param.type.ref is not None
        table.begin(param, parent=table.of[source.name] if shared and source is not None else None)


def _leave(table: Versions, op: Op, result: Value, inner: list[str], outside: int) -> None:
    """The version that a result of `if` or `fused` belongs to: what its regions yield for it."""
    before = [next((v for v in table.ancestors(version) if table.is_among(v, outside)), None) for version in inner]
    if all(version == inner[0] and table.is_among(version, outside) for version in inner):
        table.of[result.name] = inner[0]
        return
    # Results that are views of one inner version share the one that it becomes outside.
    for other in op.results:
        if other.name in table.of and other.storage == result.storage:
            table.of[result.name] = table.of[other.name]
            return
    table.begin(result, parent=before[0], op=op)
