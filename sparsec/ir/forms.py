"""The forms of the graph IR: named properties that a pass needs and leaves, each of which can be checked.

    TRACED > CANONICAL > SPARSE_KNOWN > VIEWS_RESOLVED > FUSED > PLANNED

A later form has all the properties of the earlier ones. A larger value is a later form.
"""

from __future__ import annotations

import enum
import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from sparsec.errors import VerifyError
from sparsec.ir.dims import upper_bound
from sparsec.ir.graph import Func, Op, Placement, Value, touched_storages, walk
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.text import op_error
from sparsec.ir.versions import Overlay, Versions, versions


class Form(enum.IntEnum):
    """What is true of a function, besides being valid."""

    TRACED = 0  # as the tracer built it: nothing more
    CANONICAL = 1  # no view that changes nothing
    SPARSE_KNOWN = 2  # channel indexes are on the types of all values that have one
    VIEWS_RESOLVED = 3  # a view is taken of a version, never of a view
    FUSED = 4  # `fused` regions hold no control flow and no `fused`
    PLANNED = 5  # storages have places; no version is read after the next one is made


def check_form(func: Func, form: Form) -> None:
    """Raises VerifyError that names the op which keeps `func` from having `form`. `func` must be valid."""
    for step in Form:
        if step <= form and (check := _CHECKS.get(step)) is not None:
            check(func)


# --- one check per form ----------------------------------------------------------------------------------


def _canonical(func: Func) -> None:
    for op in _of_kind(func.ops, Kind.VIEW):
        source, result = op.operands[0], op.result
        if source.type.with_ref(source.ref) == result.type.with_ref(result.ref):
            raise op_error(op, f"%{result.name} is the same view as %{source.name}")


def _views_resolved(func: Func) -> None:
    # A view of another dtype (the parts of complex numbers) has no other spelling: it may stand between.
    views = {
        op.result.name for op in _of_kind(func.ops, Kind.VIEW)
        if op.result.type.dtype == op.operands[0].type.dtype
    }
    for op in _of_kind(func.ops, Kind.VIEW):
        source = op.operands[0]
        if source.name in views and source.type.dtype == op.result.type.dtype:
            raise op_error(op, f"%{op.result.name} is a view of the view %{source.name}")


def _fused(func: Func) -> None:
    for op in walk(func.ops):
        if op.name == "fused":
            for inner in _of_kind(op.regions[0].ops, Kind.CONTROL):
                raise op_error(inner, "control flow inside `fused`")


def _planned(func: Func) -> None:
    check_linear(func)
    _check_plan(func)


_CHECKS = {
    Form.CANONICAL: _canonical,
    Form.VIEWS_RESOLVED: _views_resolved,
    Form.FUSED: _fused,
    Form.PLANNED: _planned,
}


def _of_kind(ops: Iterable[Op], kind: Kind) -> Iterator[Op]:
    return (op for op in walk(ops) if record(op.name).kind is kind)


# --- linear versions -------------------------------------------------------------------------------------


def check_linear(func: Func) -> None:
    """Every read is of the newest version of its storage, so that all versions can share one memory."""
    table = versions(func)
    newest = Overlay({param.storage: table.of[param.name] for param in func.params})
    _linear_ops(table, func.ops, newest)
    for value in func.ends:
        if stale := _stale(table, value, newest):
            raise VerifyError(f"{stale}, and a result", loc=func.loc)


def _linear_ops(table: Versions, ops: Iterable[Op], newest: Overlay) -> None:
    for op in ops:
        rec = record(op.name)
        if rec.kind is Kind.VIEW:
            continue  # metadata: only reading its elements counts
        for position, value in enumerate(op.operands):
            only_place = rec.kind is Kind.UPDATE and position == 1
            if not only_place and (stale := _stale(table, value, newest)):
                raise op_error(op, stale)
        for region in op.regions:
            entered = {p.storage: table.of[p.name] for p in region.params}
            inside = newest.inside(entered)
            _linear_ops(table, region.ops, inside)
            yielded = {table.of[v.name] for v in region.yields}
            for value in region.yields:
                if stale := _stale(table, value, inside):
                    raise op_error(op, f"{stale}, and yielded")
            for storage, last in inside.own.items():
                before = entered.get(storage, newest.get(storage))
                if before is not None and last != before and last not in yielded and storage in newest:
                    raise op_error(op, f"the version %{last} of @{storage} is lost: it is not yielded")
        for result in op.results:
            newest[result.storage] = table.of[result.name]


def _stale(table: Versions, value: Value, newest: Overlay) -> str:
    """Why `value` cannot be read now; empty if it can."""
    version = table.of[value.name]
    if newest.get(value.storage) in (None, version):
        return ""
    return f"%{value.name} is a stale view of @{value.storage}"


# --- the plan --------------------------------------------------------------------------------------------


def _check_plan(func: Func) -> None:
    """Placed storages are large enough, and two that are alive at once do not share arena bytes."""
    needed, alive = _sizes(func), _lifetimes(func)
    placed: set[str] = set()
    for place in func.plan:
        name = place.storage
        problem = ""
        if name in placed:
            problem = "is placed twice"
        elif name not in needed:
            problem = "is placed, but there is no such storage"
        elif place.offset < 0 or (isinstance(place.nbytes, int) and place.nbytes < needed[name]):
            problem = f"needs {needed[name]} bytes, not {place.nbytes} at {place.offset}"
        if problem:
            raise VerifyError(f"@{name} {problem}", loc=func.loc)
        placed.add(name)
    arena = [p for p in func.plan if p.space == "arena"]
    numbered = [[replace(p, nbytes=1) for p in func.plan if p.space == space] for space in ("scratch", "heap")]
    for places in (arena, *numbered):
        if (clash := _clash(places, alive)) is not None:
            one, two = clash
            raise VerifyError(f"@{one} and @{two} share memory while both are alive", loc=func.loc)


def _clash(arena: Iterable[Placement], alive: Mapping[str, tuple[int, int]]) -> tuple[str, str] | None:
    """Two storages with bytes in common whose lives overlap by more than the op that hands the place over.

    Storages begin and end in program order; those alive at a time lie in order of their offsets, so that a new
    one can only meet its neighbours.
    """
    events = []
    for place in arena:
        assert isinstance(place.nbytes, int)
        if place.storage in alive and place.nbytes:  # else nobody reads or writes it
            first, last = alive[place.storage]
            # At one op, what ends makes room before anything begins. What only that op touches comes in between.
            events.append((first, 2 if last > first else 1, place.offset, place))
            if last > first:
                events.append((last, 0, place.offset, place))
    now: list[tuple[int, int, str]] = []  # offset, end and name of what is alive
    for _, what, offset, place in sorted(events, key=lambda event: event[:3]):
        entry = (offset, offset + int(place.nbytes), place.storage)  # type: ignore[arg-type]
        at = bisect_left(now, entry)
        if what == 0:
            del now[at]
            continue
        for start, end, name in now[max(at - 1, 0) : at + 1]:
            if start < entry[1] and offset < end:
                return min(name, place.storage), max(name, place.storage)
        if what == 2:
            now.insert(at, entry)
    return None


def _values(func: Func) -> Iterator[Value]:
    yield from func.params
    for op in walk(func.ops):
        yield from op.results
        for region in op.regions:
            yield from region.params


def _sizes(func: Func) -> dict[str, int]:
    """Bytes of each storage, as far as the shape of the value that begins it tells."""
    sizes: dict[str, int] = {}
    for value in _values(func):
        whole = value.type.ref is None
        size = math.prod(upper_bound(d) or 0 for d in value.type.shape) * value.type.dtype.itemsize if whole else 0
        sizes[value.storage] = max(sizes.get(value.storage, 0), size)
    return sizes


def _lifetimes(func: Func) -> dict[str, tuple[int, int]]:
    """Positions of the first and last op (of the function's own list) that touch each storage."""
    alive: dict[str, tuple[int, int]] = {}

    def touch(storage: str, position: int) -> None:
        first, last = alive.get(storage, (position, position))
        alive[storage] = min(first, position), max(last, position)

    for param in func.params:
        touch(param.storage, -1)
    for position, op in enumerate(func.ops):
        inside = (v.storage for inner in walk([op]) for v in inner.results)
        for storage in (*touched_storages(op), *inside):
            touch(storage, position)
    for value in func.ends:
        touch(value.storage, len(func.ops))
    return alive
