"""Index flow: channel indexes computed from channel indexes, without any data.

An index is an i32 vector, sorted and unique: the live channels of a value, in order. How many entries a result has
is an integer of its own (`index_size`), computed first and named by the result's dim, as `nonzero` does it.
Every op here walks its operands once, side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsec.errors import DTypeError, ShapeError
from sparsec.ir.dims import Dim
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Expr, Var
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops.record import Case, Kind, OpRecord, case, register
from sparsec.ir.scalar import S, const, index
from sparsec.ir.types import I32, I64, TensorType

#: What `index_size` counts.
_JOINS: dict[str, Callable[..., Any]] = {"union": np.union1d, "intersect": np.intersect1d}


def _vectors(name: str, types: Sequence[TensorType]) -> None:
    if any(t.dtype != I32 or t.rank != 1 for t in types):
        raise DTypeError(f"{name} takes i32 vectors, not ({', '.join(map(str, types))})")


def _vector(size: Dim) -> list[TensorType]:
    return [TensorType(I32, (size,))]


class _Walk:
    """Two sorted vectors walked side by side; `i` and `j` are where each stands."""

    def __init__(self, nest: NestBuilder) -> None:
        self.nest = nest
        (self.n,), (self.m,) = nest.shape(0), nest.shape(1)
        self.i, self.j = nest.mut(index(0), "i"), nest.mut(index(0), "j")

    def entry(self, operand: int, place: Var, length: Expr) -> Var:
        """The entry at a place; behind the end one that is larger than all others."""
        nest = self.nest
        found = nest.mut(const(np.iinfo(np.int32).max, I32), "entry")
        with nest.if_(S.lt(place, length)):
            nest.assign(found, nest.read(operand, place))
        return found

    def step(self, cell: Var, when: Expr) -> None:
        """Moves on by one where `when` holds."""
        self.nest.assign(cell, S.add(cell, S.cast(when, I64)))


def _joined(nest: NestBuilder, join: str, write: bool) -> Expr:
    """Walks the union or intersection of the operands; gives the number of entries."""
    walk = _Walk(nest)
    count = nest.mut(index(0), "count")
    more = S.logical_or if join == "union" else S.logical_and
    with nest.while_(more(S.lt(walk.i, walk.n), S.lt(walk.j, walk.m))):
        a, b = walk.entry(0, walk.i, walk.n), walk.entry(1, walk.j, walk.m)
        first, second = nest.let(S.le(a, b)), nest.let(S.le(b, a))
        kept = S.logical_or(first, second) if join == "union" else S.logical_and(first, second)
        with nest.if_(kept):
            if write:
                nest.write(0, (count,), S.min(a, b))
            nest.assign(count, S.add(count, index(1)))
        walk.step(walk.i, first)
        walk.step(walk.j, second)
    return count


_PAIRS: tuple[tuple[list[int], list[int]], ...] = (
    ([0, 2], [1, 2, 3]), ([], [0, 1]), ([1, 4], []), ([0, 1], [0, 1]), ([5], [2, 9]),
)


def _pair_cases(join: str, *, sized: bool) -> tuple[Case, ...]:
    found = []
    for pair in _PAIRS:
        a, b = (np.array(x, "i4") for x in pair)
        attrs: dict[str, Any] = {"size": len(_JOINS[join](a, b))} if sized else {"join": join}
        found.append(case(a, b, dtypes="i4", **attrs))
    return tuple(found)


def _size_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    _vectors("index_size", types)
    if attrs["join"] not in _JOINS:
        raise ValueError(f"index_size: join is one of {', '.join(_JOINS)}, not {attrs['join']!r}")
    return [TensorType(I64, ())]


def _size_lower(nest: NestBuilder, join: str) -> None:
    nest.write(0, (), _joined(nest, join, write=False))


register(OpRecord(
    name="index_size", kind=Kind.INDEX, arity=2, attrs=("join",),
    doc="How many channels the union or the intersection (`join`) of two indexes has.",
    infer=_size_types, ref=lambda a, b, join: np.int64(len(_JOINS[join](a, b))), lower=_size_lower,
    cases=(*_pair_cases("union", sized=False), *_pair_cases("intersect", sized=False)),
))


def _declare_join(name: str, join: str, doc: str) -> None:
    def infer(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
        _vectors(name, types)
        return _vector(attrs["size"])

    def lower(nest: NestBuilder, size: object) -> None:
        _joined(nest, join, write=True)

    register(OpRecord(
        name=name, kind=Kind.INDEX, arity=2, attrs=("size",), doc=doc, infer=infer,
        ref=lambda a, b, size: _JOINS[join](a, b).astype(np.int32), lower=lower,
        cases=_pair_cases(join, sized=True),
    ))


_declare_join("index_union", "union", "The channels that are in one of two indexes; `size` is how many there are.")
_declare_join("index_intersect", "intersect", "The channels that are in both indexes; `size` is how many there are.")


# --- positions -------------------------------------------------------------------------------------------


def _positions_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    _vectors("index_positions", types)
    return _vector(types[0].shape[0])


def _positions_array(of: np.ndarray, within: np.ndarray) -> np.ndarray:
    place = np.searchsorted(within, of)
    there = np.append(within, -1)[place] == of
    return np.where(there, place, -1).astype(np.int32)


def _positions_lower(nest: NestBuilder) -> None:
    walk = _Walk(nest)
    with nest.loop(walk.n) as i:
        wanted = nest.read(0, i)
        here = nest.mut(const(-1, I32), "here")
        seen = nest.mut(const(-1, I32), "seen")
        with nest.while_(S.logical_and(S.lt(walk.j, walk.m), S.lt(seen, wanted))):
            nest.assign(seen, nest.read(1, walk.j))
            with nest.if_(S.eq(seen, wanted)):
                nest.assign(here, S.cast(walk.j, I32))
            walk.step(walk.j, S.lt(seen, wanted))
        nest.write(0, (i,), here)


register(OpRecord(
    name="index_positions", kind=Kind.INDEX, arity=2,
    doc="`index_positions of, within`: where each entry of the first index stands in the second; -1 if nowhere.",
    infer=_positions_types, ref=_positions_array, lower=_positions_lower,
    cases=tuple(case(*(np.array(x, "i4") for x in pair), dtypes="i4")
                for pair in (*_PAIRS, ([0, 1, 2, 3, 4], [1, 3]), ([3], [0, 1, 3]))),
))


# --- concat, expand, groups --------------------------------------------------------------------------------


def _concat_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    _vectors("index_concat", types)
    if len(attrs["offsets"]) != len(types):
        raise ShapeError(f"index_concat: {len(types)} indexes, {len(attrs['offsets'])} offsets")
    total: Dim = 0
    for t in types:
        total = total + t.shape[0]
    return _vector(total)


def _concat_array(*indexes: np.ndarray, offsets: tuple[int, ...]) -> np.ndarray:
    return np.concatenate([x + np.int32(by) for x, by in zip(indexes, offsets, strict=True)])


def _concat_lower(nest: NestBuilder, offsets: tuple[int, ...]) -> None:
    start: Expr = index(0)
    for operand, by in enumerate(offsets):
        (length,) = nest.shape(operand)
        with nest.loop(length) as i:
            nest.write(0, (S.add(start, i),), S.add(nest.read(operand, i), const(by, I32)))
        start = S.add(start, length)


register(OpRecord(
    name="index_concat", kind=Kind.INDEX, arity=(1, -1), attrs=("offsets",),
    doc="The channels of several values laid one behind the other: entries of operand k plus offsets[k].",
    infer=_concat_types, ref=_concat_array, lower=_concat_lower,
    cases=(
        case(np.array([0, 2], "i4"), np.array([1], "i4"), dtypes="i4", offsets=(0, 3)),
        case(np.array([], "i4"), np.array([0, 1], "i4"), np.array([4], "i4"), dtypes="i4", offsets=(0, 2, 4)),
        case(np.array([1, 3], "i4"), dtypes="i4", offsets=(10,)),
    ),
))


def _expand_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    _vectors("index_expand", types)
    return _vector(types[0].shape[0] * attrs["by"])


def _expand_lower(nest: NestBuilder, by: int) -> None:
    with nest.loops((*nest.shape(0), index(by))) as (i, j):
        first = S.mul(nest.read(0, i), const(by, I32))
        nest.write(0, (S.add(S.mul(i, index(by)), j),), S.add(first, S.cast(j, I32)))


register(OpRecord(
    name="index_expand", kind=Kind.INDEX, attrs=("by",),
    doc="Each channel becomes `by` consecutive ones: entry c gives c*by … c*by+by-1.",
    infer=_expand_types,
    ref=lambda x, by: (x[:, None] * np.int32(by) + np.arange(by, dtype=np.int32)).reshape(-1),
    lower=_expand_lower,
    cases=(case(np.array([0, 3], "i4"), dtypes="i4", by=2), case(np.array([1], "i4"), dtypes="i4", by=1),
           case(np.array([], "i4"), dtypes="i4", by=3), case(np.array([1, 2], "i4"), dtypes="i4", by=0)),
))


def _group_count_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    _vectors("index_group_count", types)
    return [TensorType(I64, ())]


def _groups_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    _vectors("index_groups", types)
    return _vector(attrs["size"])


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of an index: its place, the channel, the group, which of the groups that is, and whether it is the
    first of it."""

    place: Expr
    channel: Expr
    group: Expr
    which: Expr
    first: Expr

    def inside(self, by: int) -> Expr:
        """Its number in the group."""
        return S.sub(self.channel, S.mul(self.group, const(by, I32)))  # type: ignore[no-any-return]


def _grouped(nest: NestBuilder, by: int, each: Callable[[_Entry], None]) -> Expr:
    """Walks the operand; gives the number of groups."""
    count, last = nest.mut(index(0), "count"), nest.mut(const(-1, I32), "last")
    with nest.loop(nest.shape(0)[0]) as i:
        channel = nest.read(0, i)
        group = nest.let(S.quo(channel, const(by, I32)))
        first = nest.let(S.gt(group, last))
        which = nest.let(S.sub(S.add(count, S.cast(first, I64)), index(1)))
        each(_Entry(i, channel, group, which, first))
        nest.assign(count, S.add(which, index(1)))
        nest.assign(last, group)
    return count


def _group_count_lower(nest: NestBuilder, by: int) -> None:
    nest.write(0, (), _grouped(nest, by, lambda entry: None))


def _groups_lower(nest: NestBuilder, by: int, size: object) -> None:
    _grouped(nest, by, lambda entry: nest.write(0, (entry.which,), entry.group))


def _group_places_lower(nest: NestBuilder, by: int, size: object) -> None:
    with nest.loop(nest.result_shape()[0], bind="parallel") as q:
        nest.write(0, (q,), const(-1, I32))

    def put(entry: _Entry) -> None:
        at = S.add(S.mul(entry.which, index(by)), S.cast(entry.inside(by), I64))
        nest.write(0, (at,), S.cast(entry.place, I32))

    _grouped(nest, by, put)


def _group_masks_lower(nest: NestBuilder, by: int, size: object) -> None:
    mask = nest.mut(const(0, I32), "mask")

    def put(entry: _Entry) -> None:
        bit = S.shl(const(1, I32), entry.inside(by))
        nest.assign(mask, S.logical_or(bit, S.select(entry.first, const(0, I32), mask)))
        nest.write(0, (entry.which,), mask)

    _grouped(nest, by, put)


def _group_masks_array(x: np.ndarray, by: int, size: int) -> np.ndarray:
    groups, which = np.unique(x // by, return_inverse=True)
    masks = np.zeros(len(groups), np.int32)
    np.bitwise_or.at(masks, which, 1 << x % by)
    return masks


def _group_places_array(x: np.ndarray, by: int, size: int) -> np.ndarray:
    at = np.full(len(np.unique(x // by)) * by, -1, np.int32)
    at[np.unique(x // by, return_inverse=True)[1] * by + x % by] = np.arange(len(x))
    return at


_GROUPS: tuple[tuple[list[int], int], ...] = (([0, 3, 9], 2), ([], 0), ([4], 1), ([1, 2, 7, 8, 11, 15], 4))

register(OpRecord(
    name="index_group_count", kind=Kind.INDEX, attrs=("by",),
    doc="How many groups of `by` neighbouring channels have a channel of the index.",
    infer=_group_count_types, ref=lambda x, by: np.int64(len(np.unique(x // by))), lower=_group_count_lower,
    cases=tuple(case(np.array(x, "i4"), dtypes="i4", by=4) for x, _ in _GROUPS),
))

register(OpRecord(
    name="index_groups", kind=Kind.INDEX, attrs=("by", "size"),
    doc="The groups of `by` neighbouring channels that have a channel of the index, sorted; `size` is their number.",
    infer=_groups_types, ref=lambda x, by, size: np.unique(x // by).astype(np.int32), lower=_groups_lower,
    cases=tuple(case(np.array(x, "i4"), dtypes="i4", by=4, size=n) for x, n in _GROUPS),
))

register(OpRecord(
    name="index_group_places", kind=Kind.INDEX, attrs=("by", "size"),
    doc="For each channel of the `size` groups that `index_groups` gives, its place in the index; -1 if it has none.",
    infer=lambda types, attrs: _groups_types(types, {"size": attrs["size"] * attrs["by"]}),
    ref=_group_places_array, lower=_group_places_lower,
    cases=tuple(case(np.array(x, "i4"), dtypes="i4", by=4, size=n) for x, n in _GROUPS),
))

register(OpRecord(
    name="index_group_masks", kind=Kind.INDEX, attrs=("by", "size"),
    doc="For each of the `size` groups that `index_groups` gives, the channels that are in the index, as bits; `by` "
        "is at most 31.",
    infer=_groups_types, ref=_group_masks_array, lower=_group_masks_lower,
    cases=tuple(case(np.array(x, "i4"), dtypes="i4", by=4, size=n) for x, n in _GROUPS),
))
