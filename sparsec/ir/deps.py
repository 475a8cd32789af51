"""Dependency edges between the ops of a function: from versions and the overlap of regions.

    RAW  the target reads elements that the source wrote
    WAR  the target writes elements whose old values the source reads
    WAW  both write the same elements
    RAR  both read the same elements: orders nothing; a hint that they belong together

Edges between provably disjoint regions are left out, so `out[:, 0::4] = …` and `out[:, 1::4] = …` are
independent. Order follows versions and not the listing: an op that reads an old version gets a WAR edge to
every later write, also to one that stands before it. Such an edge closes a cycle exactly where writing in
place is impossible and the old version must be copied. View ops have no edges: they touch no element.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sparsec.ir.dims import Poly
from sparsec.ir.graph import Func, Op, Value, defined_inside, definitions, symbol_uses, walk
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.tensorref import regions_overlap, span
from sparsec.ir.versions import Versions, versions


class Dep(enum.Enum):
    """What orders two ops (RAR: nothing does)."""

    RAW = "RAW"
    WAR = "WAR"
    WAW = "WAW"
    RAR = "RAR"


@dataclass(frozen=True, slots=True)
class Edge:
    """`source` comes first. Both are positions in the function's list of ops."""

    source: int
    target: int
    kind: Dep
    storage: str


@dataclass(frozen=True, slots=True)
class Touch:
    """Elements that op `position` reads or writes: a view of a version; `reach` is its byte range."""

    position: int
    view: Value
    version: str
    write: bool
    reach: tuple[int, int] | None


def edges(func: Func) -> tuple[Edge, ...]:
    """All edges between the ops of the function's own list; an op stands for what its regions do."""
    table = versions(func)
    touches: dict[str, list[Touch]] = {}
    for position, op in enumerate(func.ops):
        for touch in _touches(table, op, position):
            touches.setdefault(touch.view.storage, []).append(touch)
    found: dict[Edge, None] = {}
    for storage, group in touches.items():
        found.update((edge, None) for edge in _pairs(table, storage, group))
    found.update((edge, None) for edge in _symbol_edges(func))
    return tuple(sorted(found, key=lambda e: (e.source, e.target, e.kind.value, e.storage)))


def graph(func: Func) -> Any:
    """What orders the ops, as a networkx DiGraph on positions; `kinds` of an edge is a tuple. RAR is left out."""
    import networkx

    result = networkx.DiGraph()
    result.add_nodes_from(range(len(func.ops)))
    for edge in edges(func):
        if edge.kind is not Dep.RAR:
            known = result.get_edge_data(edge.source, edge.target, {"kinds": ()})["kinds"]
            result.add_edge(edge.source, edge.target, kinds=tuple(dict.fromkeys((*known, edge.kind))))
    return result


# --- what an op touches ----------------------------------------------------------------------------------


def _touches(table: Versions, op: Op, position: int) -> Iterator[Touch]:
    """What the op and its regions touch, as seen from outside: by the versions before and after it.

    Storages that begin inside the regions and stay there are the op's own business.
    """
    inside = defined_inside(op)
    private = {v.storage for v in inside if v.type.ref is None} - {r.storage for r in op.results}
    hidden = {v.name for v in inside}
    after = {r.storage: table.of[r.name] for r in op.results}
    for inner in walk([op]):
        for view, made in _accesses(inner):
            if view.storage in private:
                continue
            version = table.of[(made or view).name]
            if version in hidden and made is not None:
                version = after.get(view.storage, version)
            elif version in hidden:
                before = (v for v in table.ancestors(version) if v not in hidden)
                version = next(before, after.get(view.storage, version))
            yield Touch(position, view, version, made is not None, _reach(view))


def _reach(view: Value) -> tuple[int, int] | None:
    dims = (*view.type.shape, view.ref.offset, *view.ref.strides)
    if any(isinstance(d, Poly) for d in dims):
        return None
    low, high = span(view.ref, view.type.static_shape)
    return low * view.type.dtype.itemsize, high * view.type.dtype.itemsize


def _accesses(op: Op) -> Iterator[tuple[Value, Value | None]]:
    """(view, the version that it is written in or None if it is read) of an op, without its regions'."""
    rec = record(op.name)
    if rec.kind is Kind.VIEW:
        return
    if rec.kind is Kind.CONTROL:
        # Carried versions are passed on, not read; an array without a storage of its type's own is copied.
        carried = {r.storage for r in op.results if r.type.ref is not None}
        yield from ((v, None) for v in op.operands if v.storage not in carried)
        yield from ((r, r) for r in op.results if r.type.ref is None)
        return
    if rec.kind is Kind.UPDATE:
        yield op.operands[1], op.results[0]
        yield from ((v, None) for v in op.operands[2:])
        yield from ((r, r) for r in op.results[1:])
        return
    yield from ((v, None) for v in op.operands)
    yield from ((r, r) for r in op.results)


# --- pairs of touches ------------------------------------------------------------------------------------


def _pairs(table: Versions, storage: str, group: Sequence[Touch]) -> Iterator[Edge]:
    for later, b in enumerate(group):
        hinted = False
        for a in reversed(group[:later]):
            if a.position == b.position:
                continue
            if not a.write and not b.write:
                # The nearest earlier reader is enough of a hint.
                if not hinted and _overlap(a, b):
                    hinted = True
                    yield Edge(a.position, b.position, Dep.RAR, storage)
            elif _overlap(a, b):
                yield _ordered(table, storage, a, b)


def _ordered(table: Versions, storage: str, a: Touch, b: Touch) -> Edge:
    """The edge between two touches of which one at least is a write, by their versions."""
    if a.write and b.write:
        # Two writes that follow one version each (neither follows the other) keep the listed order.
        swap = a.version != b.version and table.follows(a.version, b.version)
        first, last = (b, a) if swap else (a, b)
        return Edge(first.position, last.position, Dep.WAW, storage)
    write, read = (a, b) if a.write else (b, a)
    if table.follows(read.version, write.version):
        return Edge(write.position, read.position, Dep.RAW, storage)
    return Edge(read.position, write.position, Dep.WAR, storage)


def _overlap(a: Touch, b: Touch) -> bool:
    if a.reach and b.reach and (a.reach[1] <= b.reach[0] or b.reach[1] <= a.reach[0]):
        return False
    x, y = a.view, b.view
    sizes = x.type.dtype.itemsize, y.type.dtype.itemsize
    return regions_overlap(x.ref, x.type.shape, sizes[0], y.ref, y.type.shape, sizes[1])


def _symbol_edges(func: Func) -> Iterator[Edge]:
    """An op whose types or attributes name an SSA integer reads it."""
    makers = definitions(func)
    at = {id(op): position for position, top in enumerate(func.ops) for op in walk([top])}
    for position, op in enumerate(func.ops):
        if record(op.name).kind is Kind.VIEW:
            continue
        views = [makers[v.name] for inner in walk([op]) for v in inner.operands if v.name in makers]
        names = dict.fromkeys([*symbol_uses(op), *(n for v in views for n in symbol_uses(v))])
        for name in names:
            if name in makers and at[id(makers[name])] != position:
                yield Edge(at[id(makers[name])], position, Dep.RAW, name)
