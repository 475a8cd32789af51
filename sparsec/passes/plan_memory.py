"""Gives every storage a place: arguments and results are the caller's, the rest shares one arena.

    %a = fused () {…}        storage @a: arena+0, 4096 bytes
    %b = fused () {… %a}  -> storage @b: arena+0, 4096 bytes      @a is read for the last time
    %c = fused () {… %b}     storage @c: result+0, 4096 bytes

A storage lives from the op that first touches it to the last that does; what control flow hands on stays where it
is if it can (`hand_over.py`). Blocks are placed largest first, each where it leaves the smallest gap. Symbolic
sizes count with their upper bounds; where they have none, a temporary is `scratch`, which each call makes as large
as its arguments ask for, and which later temporaries of the same size share. Where only what is computed tells the
size, it is on the `heap`: memory that the program asks for when it gets there, and that later temporaries of any
size take over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from sparsec.errors import OutOfMemory, UnsupportedError
from sparsec.ir.dims import Dim, product
from sparsec.ir.forms import Form
from sparsec.ir.graph import Func, Op, Placement, Value, touched_storages, walk
from sparsec.ir.limits import Limits
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.remarks import Topic, remark
from sparsec.ir.tensorref import reach
from sparsec.ir.types import TensorType
from sparsec.passes.accesses import is_kernel, last_pointwise_reads
from sparsec.passes.base import Pass
from sparsec.passes.hand_over import shared_places

__all__ = ["MemoryReport", "PlanMemory", "lifetimes", "memory_report"]

ALIGN = 64  # a cache line, and the widest vector


@dataclass(frozen=True)
class PlanMemory(Pass):
    """`limit`: the most bytes that arena and results may take together; 0 is no limit."""

    name: ClassVar[str] = "plan-memory"
    requires: ClassVar[Form] = Form.FUSED
    ensures: ClassVar[Form | None] = Form.PLANNED
    limit: int = 0

    def run(self, func: Func) -> Func:
        planned = replace(func, plan=tuple(_placements(func)))
        report = memory_report(planned)
        total = report.peak + report.results
        if self.limit and total > self.limit:
            raise OutOfMemory(
                f"`{func.name}` needs {report.peak} bytes of temporaries and {report.results} of results; "
                f"the limit is {self.limit}",
                hint="raise the limit, or work on a part of the arrays at a time",
            )
        return planned


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """Bytes. peak: the arena. lower_bound: the most that is alive at once. naive: no sharing at all."""

    peak: int
    lower_bound: int
    naive: int
    results: int


@dataclass
class _Block:
    """Storages that share one place, one after the other, alive from op `first` to op `last`."""

    storages: list[str]
    space: str
    nbytes: Dim
    first: int
    last: int
    offset: int = -1


def nbytes(type: TensorType, limits: Limits) -> Dim:
    """Bytes of all elements, symbols at their upper bounds or, without one, at what the call says."""
    found = limits.nbytes(type)
    if found is None:
        raise UnsupportedError(f"the size of {type} has no upper bound", hint="bound the dim: n<=1000")
    return found


def _own_place(type: TensorType, limits: Limits) -> tuple[str, Dim]:
    """Where a temporary can be, and the bytes that it needs there."""
    found = limits.nbytes(type)
    if found is None:
        return "heap", product(type.shape) * type.dtype.itemsize
    return "arena" if isinstance(found, int) else "scratch", found


def param_bytes(value: Value) -> Dim:
    """Bytes from element 0 of the storage to the last that the parameter reaches."""
    return reach(value.ref, value.type.shape) * value.type.dtype.itemsize


def _placements(func: Func) -> Iterator[Placement]:
    placed: set[str] = set()
    for position, param in enumerate(func.params):
        if param.storage not in placed:
            placed.add(param.storage)
            sizes = [param_bytes(p) for p in func.params if p.storage == param.storage]
            yield Placement(param.storage, "param", position, sizes[0] if len(sizes) == 1 else _most(sizes))
    types, limits = storage_types(func), Limits.of(func)
    for op in walk(func.ops):
        if record(op.name).kind is Kind.CONST:
            placed.add(op.result.storage)
            yield Placement(op.result.storage, "const", 0, nbytes(op.result.type, limits))
    position = 0
    for value in func.results:
        if value.storage not in placed:
            placed.add(value.storage)
            space, size = _own_place(types[value.storage], limits)
            yield Placement(value.storage, "made" if space == "heap" else "result", position, size)
            position += 1
    types_here = {name: t for name, t in types.items() if name not in placed}
    blocks = _lifetimes(func, types_here, limits)
    in_arena = {b.storages[0]: types[b.storages[0]] for b in blocks if b.space == "arena"}
    blocks = _share_in_place(func, _joined(blocks, shared_places(func, in_arena)))
    _assign_offsets([b for b in blocks if b.space == "arena"])
    _assign_numbers([b for b in blocks if b.space == "scratch"], lambda a, b: a.nbytes == b.nbytes)
    _assign_numbers([b for b in blocks if b.space == "heap"], lambda a, b: True)
    found = {name: b for b in blocks for name in b.storages}
    for name, type in types.items():  # in program order
        if name in found:
            space, size = _own_place(type, limits)
            yield Placement(name, space, found[name].offset, size)


def _most(sizes: Sequence[Dim]) -> Dim:
    """The largest size of several parameters in one storage."""
    if not all(isinstance(size, int) for size in sizes):
        raise UnsupportedError("parameters of symbolic size in one storage")
    return max(sizes)  # type: ignore[type-var]


def storage_types(func: Func) -> dict[str, TensorType]:
    """Every storage that the function makes outside `fused` regions, and the type of its contents."""
    found: dict[str, TensorType] = {}
    for op in _outer_ops(func.ops):
        if record(op.name).kind is Kind.VIEW:
            continue
        for value in (*op.results, *(p for r in op.regions for p in r.params)):
            if value.type.ref is None:
                found[value.storage] = value.type
    return found


def _outer_ops(ops: Sequence[Op]) -> Iterator[Op]:
    """All ops that are not inside a kernel; a control op before what is inside it."""
    for op in ops:
        yield op
        if not is_kernel(op):
            for region in op.regions:
                yield from _outer_ops(region.ops)


# --- lifetimes ---


def _lifetimes(func: Func, types: dict[str, TensorType], limits: Limits) -> list[_Block]:
    """One block for each storage, in order of first use."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    counter = 0

    def touch(names: set[str], at: int) -> None:
        for name in sorted(names):
            first.setdefault(name, at)
            last[name] = max(last.get(name, at), at)

    def visit(ops: Sequence[Op]) -> None:
        nonlocal counter
        for op in ops:
            kind = record(op.name).kind
            if kind in (Kind.CONST, Kind.CREATE):
                continue
            counter += 1
            if kind is Kind.VIEW:  # touches no elements, but the integers behind the dims on both sides
                touch(touched_storages(op) - {op.result.storage}, counter)
                continue
            around = touched_storages(op)
            touch(around, counter)
            if not is_kernel(op):
                for region in op.regions:
                    touch({p.storage for p in region.params}, counter)
                    visit(region.ops)
                counter += 1
                # The next turn needs again what this one read, and what was yielded is carried over then.
                touch(around | {v.storage for r in op.regions for v in (*r.params, *r.yields)}, counter)

    visit(func.ops)
    touch(touched_storages(Op("", func.ends, ())), counter + 1)
    # Even nothing gets a place that no other storage has.
    places = {name: _own_place(type, limits) for name, type in types.items() if name in first}
    return [_Block([name], space, size or 1, first[name], last[name]) for name, (space, size) in places.items()]


def lifetimes(func: Func) -> dict[str, tuple[int, int]]:
    """The first and the last step of the program that touch each storage in the arena or scratch of a plan."""
    own = {p.storage for p in func.plan if p.space in ("arena", "scratch")}
    types = {name: t for name, t in storage_types(func).items() if name in own}
    return {b.storages[0]: (b.first, b.last) for b in _lifetimes(func, types, Limits.of(func))}


# --- sharing ---


def _joined(blocks: list[_Block], shared: Mapping[str, str]) -> list[_Block]:
    """The blocks, those of storages that share a place made one."""
    by_name = {b.storages[0]: b for b in blocks}
    for name, root in shared.items():
        one, other = by_name.get(root), by_name.pop(name, None)
        if one is not None and other is not None:
            one.storages += other.storages
            one.first, one.last = min(one.first, other.first), max(one.last, other.last)
    return list(by_name.values())


def _share_in_place(func: Func, blocks: list[_Block]) -> list[_Block]:
    """Lets a kernel's result take the place of an operand that it reads element for element, and last."""
    by_name = {b.storages[0]: b for b in blocks}
    merged: set[str] = set()  # first storages of blocks that went into others
    for op in func.ops:
        if not is_kernel(op):
            continue
        taken: set[str] = set()
        for result in op.results:
            target = by_name.get(result.storage)
            if target is None or result.type.ref is not None or target.storages[0] != result.storage:
                continue
            for name in sorted(last_pointwise_reads(op, result)):
                source = by_name.get(name)
                if source is not None and source is not target and name not in taken and (
                    source.last == target.first and (source.space, source.nbytes) == (target.space, target.nbytes)
                ):
                    taken |= {name, result.storage}
                    reason = f"it takes the place of @{name}, read here for the last time"
                    remark(Topic.PLACE, reason, op, result.storage)
                    source.storages += target.storages
                    source.last = target.last
                    merged.add(target.storages[0])
                    by_name.update(dict.fromkeys(target.storages, source))
                    break
    return [b for b in blocks if b.storages[0] not in merged]


def _assign_offsets(blocks: list[_Block]) -> None:
    """Largest first, each into the smallest gap between those that are alive with it."""
    order = sorted(blocks, key=lambda b: (-_int(b.nbytes), b.first, b.storages[0]))
    first, last = (np.array([getattr(b, name) for b in order], np.int64) for name in ("first", "last"))
    # All pairs are looked at: by NumPy, so that thousands of blocks take no time.
    places = np.zeros((3, len(order)), np.int64)  # number, start and end of those that have one, by start
    for count, block in enumerate(order):
        numbers, starts, ends = places[:, :count]
        alive = (first[numbers] <= block.last) & (last[numbers] >= block.first)
        size = _int(block.nbytes)
        block.offset = _best_gap(starts[alive], ends[alive], size)
        at = int(np.searchsorted(starts, block.offset))
        places[:, at + 1 : count + 1] = places[:, at:count].copy()
        places[:, at] = count, block.offset, _aligned(block.offset + size)


def _assign_numbers(blocks: list[_Block], may_share: Callable[[_Block, _Block], bool]) -> None:
    """The lowest number that is free: no block has it that is alive with this one, or that may not share with it."""
    taken: list[list[_Block]] = []
    for block in sorted(blocks, key=lambda b: (b.first, b.storages[0])):
        free = [number for number, users in enumerate(taken)
                if may_share(users[0], block) and all(u.last < block.first for u in users)]
        block.offset = free[0] if free else len(taken)
        if not free:
            taken.append([])
        taken[block.offset].append(block)


def _best_gap(starts: np.ndarray, ends: np.ndarray, size: int) -> int:
    """The start of the smallest gap of at least `size` between places in order, or behind them all."""
    if not len(starts):
        return 0
    reach = np.maximum.accumulate(ends)
    before = np.concatenate(([0], reach[:-1]))
    gaps = starts - before
    wide = np.flatnonzero(gaps >= size)
    return int(before[wide[np.argmin(gaps[wide])]]) if len(wide) else int(reach[-1])


def _aligned(offset: int) -> int:
    return -(-offset // ALIGN) * ALIGN


# --- report ---


def arena_bytes(func: Func) -> int:
    """The size of the arena that the plan needs."""
    return max((_aligned(p.offset + _int(p.nbytes)) for p in func.plan if p.space == "arena"), default=0)


def _int(size: Dim) -> int:
    assert isinstance(size, int), "only scratch and heap have sizes that are not known"
    return size


def memory_report(func: Func) -> MemoryReport:
    """What the plan of a PLANNED function costs, and what it could cost at best and at worst.

    Storages whose size only the call can tell are not counted.
    """
    arena = {p.storage: p for p in func.plan if p.space == "arena"}
    types = {name: t for name, t in storage_types(func).items() if name in arena}
    blocks = _lifetimes(func, types, Limits.of(func))
    sizes = [_int(b.nbytes) for b in blocks]
    places = zip(blocks, sizes, strict=True)
    lower = _most_alive([(b.first, b.last, arena[b.storages[0]].offset, size) for b, size in places])
    naive = sum(map(_aligned, sizes))
    results = sum(p.nbytes for p in func.plan if p.space == "result" and isinstance(p.nbytes, int))
    return MemoryReport(arena_bytes(func), lower, naive, results)


def _most_alive(blocks: Sequence[tuple[int, int, int, int]]) -> int:
    """The largest sum of bytes that are alive at once, of (first, last, offset, bytes) blocks.

    Two blocks of one offset are never alive together but at the op that hands the place over: they count once.
    """
    events = sorted([(first, 0, k) for k, (first, *_) in enumerate(blocks)]
                    + [(last, 1, k) for k, (_, last, *_) in enumerate(blocks)])
    at_offset: dict[int, int] = {}
    total = most = 0
    for _, ends, k in events:
        _, _, offset, nbytes = blocks[k]
        count = at_offset.get(offset, 0)
        at_offset[offset] = count - 1 if ends else count + 1
        if count == ends:
            total += -nbytes if ends else nbytes
        most = max(most, total)
    return most
