"""`ChannelSparse` values as arguments and results of compiled functions.

An argument is two arrays to the program, the stored channels and their index, and one value to the user's function:
their `spread`, which has plain dense meaning. How many channels are live is a run-time integer under the cap, so one
compilation serves every index; the index of a `static` argument is a literal of the program. Arguments that carry
the same index array have the same channels. A result of which only some channels are live (as the pass `propagate`
will find) comes back as a `ChannelSparse`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from sparsec.errors import ArgumentError
from sparsec.frontend.array import Traced
from sparsec.frontend.convert import as_traced
from sparsec.frontend.live_channels import LiveChannels
from sparsec.frontend.locate import user_loc
from sparsec.frontend.spec import ArraySpec
from sparsec.frontend.trace import Trace
from sparsec.ir.dims import sym
from sparsec.ir.tensorref import contiguous_strides
from sparsec.ir.types import I32
from sparsec.sparse.channel import ChannelSparse, can_change
from sparsec.sparse.weights import SparseWeight

__all__ = ["SparseSpec", "Stored", "densified", "generalise", "parts_of", "spread"]

_READ_ONLY = "it is a ChannelSparse argument, of which only the live channels are stored"
_INDEX_READ_ONLY = "it says which channels of a ChannelSparse argument are live"


@dataclass(frozen=True, slots=True)
class SparseSpec:
    """What is part of the key besides the two arrays. index: the channels themselves, where they are static."""

    axis: int
    full: int
    cap: int
    index: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Stored:
    """Where the arrays of a sparse argument are among the call's arrays (index -1: static)."""

    data: int
    index: int
    spec: SparseSpec
    live: int


def parts_of(x: ChannelSparse, empty: dict[int, np.ndarray]) -> tuple[SparseSpec, list[np.ndarray]]:
    """The key of an argument and its arrays. Raises ChannelError for an index that is none (any more).

    empty: what stands for indexes without entries in this call, by their identity; it is filled here.
    """
    x.check()
    data = np.ascontiguousarray(x.data)
    if x.static:
        return SparseSpec(x.axis, x.full, x.cap, tuple(x.index.tolist())), [data]
    if not len(x.index):
        # Nothing is live, but there is memory to point to: absent channels are masked after they are read.
        data = np.zeros((*data.shape[: x.axis], 1, *data.shape[x.axis + 1 :]), data.dtype)
        return SparseSpec(x.axis, x.full, x.cap, None), [data, empty.setdefault(id(x.index), np.zeros(1, I32))]
    return SparseSpec(x.axis, x.full, x.cap, None), [data, x.index]


def generalise(
    specs: Sequence[ArraySpec], stored: Sequence[Stored]
) -> tuple[tuple[ArraySpec, ...], Mapping[str, int]]:
    """The key with a symbol for the number of live channels of each index, and what it is in this call.

    Arrays that overlap others, or are arguments of their own as well, keep exact sizes.
    """
    made = list(specs)
    sizes: dict[str, int] = {}
    places: dict[int, list[int]] = {}
    for k, spec in enumerate(specs):
        places.setdefault(spec.storage, []).append(k)
    groups: dict[int, list[Stored]] = {}
    for s in stored:
        made[s.data] = _made(specs[s.data], specs[s.data].shape, specs[s.data].strides)
        if s.index >= 0:
            made[s.index] = _made(specs[s.index], specs[s.index].shape, specs[s.index].strides)
            groups.setdefault(specs[s.index].storage, []).append(s)
    for members in groups.values():
        arrays = [k for s in members for k in (s.data, s.index)]
        apart = all(_alone(specs, places[specs[k].storage], arrays) for k in arrays)
        if not apart or len({s.live for s in members}) > 1:
            continue
        name, cap = f"%k{members[0].index}", min(s.spec.cap for s in members)
        sizes[name] = members[0].live
        for s in members:
            made[s.index] = _made(made[s.index], *_with_count((0,), 0, name, cap))
            shape = specs[s.data].shape
            open_shape = (*shape[: s.spec.axis], 0, *shape[s.spec.axis + 1 :])
            made[s.data] = _made(made[s.data], *_with_count(open_shape, s.spec.axis, name, cap))
    return tuple(made), sizes


def _alone(specs: Sequence[ArraySpec], places: Sequence[int], members: Sequence[int]) -> bool:
    """Whether all arrays of a storage are the same one, and among `members`."""
    if specs[places[0]].conflict or not set(places) <= set(members):
        return False
    if len(places) == 1:
        return True
    return len({(s.dtype, s.shape, s.strides, s.offset) for s in (specs[k] for k in places)}) == 1


def _made(spec: ArraySpec, shape: tuple[Any, ...], strides: tuple[Any, ...]) -> ArraySpec:
    """The spec of an array that nobody writes through."""
    return ArraySpec(spec.dtype, shape, strides, spec.offset, spec.storage, spec.aligned, False, spec.conflict,
                     spec.constant)


@lru_cache(maxsize=4096)
def _with_count(shape: tuple[Any, ...], axis: int, name: str, cap: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """A shape with a run-time number of channels, and its strides in C order."""
    made = (*shape[:axis], sym(name, cap, 0), *shape[axis + 1 :])
    return made, contiguous_strides(made)


def captured(trace: Trace, x: ChannelSparse) -> Traced:
    """The dense value of a `ChannelSparse` from outside the function. Raises ArgumentError where its index could
    change behind the program's back."""
    x.check()
    if can_change(x.index):
        raise ArgumentError(
            "a ChannelSparse from outside the function has an index array that can be written to", loc=user_loc(),
            hint="pass it as an argument, or make its index read-only (`index.flags.writeable = False`)",
        )
    known = trace.captured_sparse.get(id(x))
    if known is None:
        spec = SparseSpec(x.axis, x.full, x.cap, tuple(x.index.tolist()))
        known = trace.captured_sparse[id(x)] = spread(trace, as_traced(x.data), None, spec, argument=False)
    return known


def spread(
    trace: Trace, data: Traced, index: Traced | None, spec: SparseSpec, *, argument: bool = True
) -> Traced:
    """The dense value of an argument, or of a captured value. It cannot be written to."""
    if index is None:
        assert spec.index is not None
        channels = trace.const(spec.index, I32, (len(spec.index),))
    else:
        channels = index.read()
        assert index.storage is not None
        index.storage.readonly = _INDEX_READ_ONLY
    value = trace.op("spread", data.read(), channels, axis=spec.axis, full=spec.full)
    made = Traced.fresh(trace, value)
    assert made.storage is not None
    made.storage.readonly = made.readonly = _READ_ONLY
    if argument:
        trace.sparse.append(made)
        trace.sparse_indexes.append(channels)
    trace.live_channels = trace.live_channels or LiveChannels(trace)
    return made


def densified(value: Any) -> Any:
    """Nested arguments with every sparse array in full; None if there is none."""
    found, some = _densified(value)
    return found if some else None


def _densified(value: Any) -> tuple[Any, bool]:
    if isinstance(value, ChannelSparse | SparseWeight):
        return value.to_dense(), True
    if isinstance(value, dict):
        made = {key: _densified(part) for key, part in value.items()}
        return {key: part for key, (part, _) in made.items()}, any(some for _, some in made.values())
    if type(value) in (tuple, list):
        parts = [_densified(part) for part in value]
        return type(value)(part for part, _ in parts), any(some for _, some in parts)
    return value, False
