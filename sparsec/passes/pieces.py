"""Reads of a padded or patched array: the reader's domain is cut where the parts of the array meet.

    p = np.full(10, 0); p[1:-1] = x; y = p[:-2] + p[2:]          y[0], y[1:-1] and y[-1] on x and 0; no p

    %t1 = update %t, %t, %c : f32[10] @t              %y0 = add %c, %x[1] …       domain f32[1]
    %t2 = update %t1, %v, %x : f32[10] @t       ->    %y1 = add %x[:-2], %x[2:]   domain f32[6]
    %y  = add %l, %r : f32[8]                         %y2 = add %x[6], %c         domain f32[1]

Where a box of the domain sees a write in part, it is cut at the write's edge; a box in which every read lies
inside one write each needs the temporary no more, and `dissolve` removes it. All readers must come to such boxes,
with at most `most` each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from sparsec.ir.dims import Poly
from sparsec.ir.forms import Form
from sparsec.ir.graph import Op, Value
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.types import TensorType
from sparsec.passes.index_map import index_map, whole
from sparsec.passes.split_domain import Box, Component, components, cut, walked
from sparsec.passes.view_reads import ListPass, Reads

__all__ = ["Pieces"]

#: Smaller temporaries stay in the cache anyway.
_FEWEST_ELEMENTS = 1 << 14


@dataclass(frozen=True)
class Pieces(ListPass):
    """`most`: the most boxes for one domain."""

    name: ClassVar[str] = "pieces"
    requires: ClassVar[Form] = Form.VIEWS_RESOLVED
    most: int = 9

    def rewrite(self, reads: Reads) -> tuple[Op, ...]:
        plan = _plan(reads, self.most)
        return cut(reads, plan) if plan else reads.ops


def _plan(reads: Reads, most: int) -> list[tuple[Component, list[Box]]]:
    """Boxes for every component that reads a storage which can be done without."""
    found: dict[int, Component] | None = None
    chosen: dict[int, tuple[Component, list[Box]]] = {}
    for storage in reads.writes:
        if not _is_candidate(reads, storage):
            continue
        found = components(reads) if found is None else found
        readers = _readers(reads, storage, found)
        if readers is None:
            continue
        boxes = {id(c): _boxes(reads, storage, c, most) for c in readers}
        if any(b is None for b in boxes.values()) or any(id(c) in chosen for c in readers):
            continue
        for component in readers:
            parts = boxes[id(component)]
            if parts is not None and len(parts) > 1:
                chosen[id(component)] = component, parts
    return list(chosen.values())


def _is_candidate(reads: Reads, storage: str) -> bool:
    made = reads.definitions.get(storage)
    if storage not in reads.private or made is None:
        return False
    size = made.result.type.size
    return not isinstance(size, Poly) and size >= _FEWEST_ELEMENTS


def _readers(reads: Reads, storage: str, found: dict[int, Component]) -> list[Component] | None:
    """The components that read the storage; None if something else does, or one of them writes to it."""
    readers: dict[int, Component] = {}
    for number, _, value in reads.readers():
        if value.storage != storage:
            continue
        component = found.get(number)
        if component is None or value not in tuple(walked(reads.ops[number])):
            return None
        readers[id(component)] = component
    writers = {id(found.get(number)) for number in reads.writes[storage]}
    return None if writers & set(readers) else list(readers.values())


# --- boxes -------------------------------------------------------------------------------------------------


def _boxes(reads: Reads, storage: str, component: Component, most: int) -> list[Box] | None:
    """Boxes of the component's domain in which all reads of the storage are answered; None if there are too
    many, or an edge is no box's edge."""
    if any(isinstance(d, Poly) for d in component.shape) or 0 in component.shape:
        return None
    seen = [v for n in component.positions for v in walked(reads.ops[n]) if v.storage == storage]
    views = list({(v.name, v.ref): v for v in seen}.values())
    sizes = tuple(int(d) for d in component.shape)  # type: ignore[arg-type]
    todo = [Box((0,) * len(sizes), sizes)]
    done: list[Box] = []
    while todo:
        box = todo.pop()
        parts = _cut_once(reads, storage, views, box)
        if parts is None or len(todo) + len(done) + len(parts) > most:
            return None
        if len(parts) == 1:
            done.append(box)
        else:
            todo += reversed(parts)
    return done


def _cut_once(reads: Reads, storage: str, views: Sequence[Value], box: Box) -> list[Box] | None:
    """The box, if all views are answered in it, or two halves of it; None if it cannot be cut."""
    for view in views:
        inside = replace(view, type=TensorType(view.type.dtype, box.shape, box.of(view.ref)))
        source = reads.resolve(_Seen(reads, view).like(inside))
        if source is None:
            return None
        if source.version.storage != storage:
            continue
        maker = reads.definitions.get(source.version.name)
        if maker is None or record(maker.name).kind is not Kind.UPDATE:
            if source.version.name == storage and maker is not None and record(maker.name).kind is not Kind.CREATE:
                continue
            return None
        return _at_edge(maker, reads, storage, inside, box)
    return [box]


@dataclass(frozen=True, slots=True)
class _Seen:
    """Lets `resolve` see a part of a view that no op has made yet."""

    reads: Reads
    view: Value

    def like(self, inside: Value) -> Value:
        op = self.reads.definitions.get(self.view.name)
        name = f"{self.view.name}.box"
        if op is not None and record(op.name).kind is Kind.VIEW:
            self.reads.definitions[name] = op
        else:
            self.reads.definitions[name] = Op("view", (self.view,), (inside,))
        return replace(inside, name=name)


def _at_edge(op: Op, reads: Reads, storage: str, seen: Value, box: Box) -> list[Box] | None:
    """The box cut at an edge of what `op` writes, along the axis of the widest step over that edge."""
    shape = reads.definitions[storage].result.type.shape
    everything = whole(storage, shape)
    region = op.operands[1]
    view = index_map(seen.ref, seen.type.shape, everything, shape)
    written = index_map(region.ref, region.type.shape, everything, shape)
    if view is None or written is None:
        return None
    for axis in range(len(shape)):
        low, high = _reach(written.start[axis], [s[axis] for s in written.steps], region.type.shape)
        moving = [(abs(step[axis]), k) for k, step in enumerate(view.steps) if step[axis] and box.size[k] > 1]
        first, last = _reach(view.start[axis], [s[axis] for s in view.steps], box.size)
        if (first >= low and last <= high) or not moving:
            continue
        _, along = max(moving)
        step = view.steps[along][axis]
        rest_low, rest_high = _reach(0, [s[axis] if k != along else 0 for k, s in enumerate(view.steps)], box.size)
        for edge in (low, high + 1):
            count = _indexes_before(edge, view.start[axis], step, rest_low, rest_high, box.size[along])
            if 0 < count < box.size[along]:
                return _halves(box, along, count)
    return None


def _reach(start: int, steps: Sequence[int], shape: Sequence[object]) -> tuple[int, int]:
    low = high = start
    for step, dim in zip(steps, shape):
        reach = step * (int(dim) - 1)  # type: ignore[call-overload]
        low, high = low + min(reach, 0), high + max(reach, 0)
    return low, high


def _indexes_before(edge: int, start: int, step: int, low: int, high: int, size: int) -> int:
    """How many first indexes along an axis stay on one side of the edge, whatever the other axes do."""
    if step > 0:  # start + high + step * k < edge
        count = -((start + high - edge) // step)
        if count <= 0:  # not even the first: then those that straddle it
            count = -((start + low - edge) // step)
        return min(count, size)
    # start + low + step * k >= edge
    count = (start + low - edge) // -step + 1
    if count <= 0:
        count = (start + high - edge) // -step + 1
    return min(count, size)


def _halves(box: Box, axis: int, count: int) -> list[Box]:
    def part(first: int, size: int) -> Box:
        start, sizes = list(box.start), list(box.size)
        start[axis], sizes[axis] = start[axis] + first, size
        return Box(tuple(start), tuple(sizes))

    return [part(0, count), part(count, box.size[axis] - count)]
