"""The specialisation key of arrays: dtype, shape, strides, alignment, writability, and who overlaps whom.

Arguments that share elements are traced over one common storage; disjoint ones get storages of their own, so
that compiled code may assume that different pointers never meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sparsec.errors import ArgumentError
from sparsec.frontend.array import Traced
from sparsec.frontend.layout import MAX_RANK
from sparsec.frontend.trace import Trace
from sparsec.ir.tensorref import TensorRef, contiguous_strides
from sparsec.ir.types import TensorType, is_supported, tensor, unsupported_dtype
from sparsec.runtime.constants import is_constant
from sparsec.runtime.native import address_of as address

_OVERLAP_WORK = 100_000


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """What compiled code relies on. `storage` numbers the allocations; offset and strides are in elements.
    Sizes that `dynamic=` leaves out of the key are symbols.

    conflict: why a write to this storage must be refused ("" where it may be written). constant: whether nobody ever
    writes to the array (`sparsec.constant`).
    """

    dtype: str
    shape: tuple[Any, ...]
    strides: tuple[Any, ...]
    offset: Any
    storage: int
    aligned: bool
    writeable: bool
    conflict: str = ""
    constant: bool = False


def check_array(array: Any) -> None:
    """Raises the typed error for an array that compiled code cannot take."""
    if type(array) is not np.ndarray:
        raise ArgumentError(
            f"array subclass {type(array).__module__}.{type(array).__name__} is not supported",
            hint="pass `np.asarray(x)`; a mask or matrix semantics would be lost",
        )
    if not is_supported(array.dtype):
        raise unsupported_dtype(array.dtype)
    if array.ndim > MAX_RANK:
        raise ArgumentError(f"arrays of rank {array.ndim} are not supported (at most {MAX_RANK})")
    if any(s % array.itemsize for s, d in zip(array.strides, array.shape, strict=True) if d > 1):
        raise ArgumentError(
            f"strides {array.strides} are not multiples of the item size {array.itemsize}",
            hint="pass a copy (`np.ascontiguousarray(x)`)",
        )


def _bounds(array: np.ndarray) -> tuple[int, int]:
    """First and last+1 byte address of the elements."""
    low = high = address(array)
    if array.flags.c_contiguous:
        return low, low + array.nbytes
    for dim, stride in zip(array.shape, array.strides, strict=True):
        reach = (dim - 1) * stride
        low, high = low + min(reach, 0), high + max(reach, 0)
    return low, high + array.itemsize


def describe(arrays: Sequence[np.ndarray]) -> tuple[ArraySpec, ...]:
    """The key of several arrays together. Raises what `check_array` raises."""
    for array in arrays:
        check_array(array)
    if len(arrays) == 1 and arrays[0].flags.c_contiguous and arrays[0].size:
        return (_lone(arrays[0], 0),)
    bounds = [_bounds(a) if a.size else (0, 0) for a in arrays]
    groups = _overlap_groups(arrays, bounds)
    specs: list[ArraySpec | None] = [None] * len(arrays)
    number = 0
    for members in groups:
        base = min(bounds[k][0] for k in members)
        conflict = _conflict([arrays[k] for k in members], base)
        for k in members:
            # Arrays in conflict may be read, each from a storage of its own.
            specs[k] = _spec(arrays[k], number, bounds[k][0] if conflict else base, conflict)
            number += bool(conflict)
        number += not conflict
    return tuple(s for s in specs if s is not None)


def _lone(array: np.ndarray, storage: int) -> ArraySpec:
    return ArraySpec(
        array.dtype.str,
        array.shape,
        contiguous_strides(array.shape),  # type: ignore[arg-type]
        0,
        storage,
        address(array) % array.itemsize == 0,
        array.flags.writeable,
        constant=_is_constant(array),
    )


def _is_constant(array: np.ndarray) -> bool:
    return not array.flags.writeable and is_constant(array)


def _spec(array: np.ndarray, storage: int, base: int, conflict: str) -> ArraySpec:
    start = address(array)
    plain = contiguous_strides(array.shape)
    # The stride of an axis of length 1 is never used: one key for all of them. Without elements no stride leads
    # anywhere, and only the order of the axes shows in results.
    seen = array.strides if array.size else tuple(map(abs, array.strides))
    strides = tuple(s // array.itemsize if d > 1 else p for s, d, p in zip(seen, array.shape, plain, strict=True))
    offset = (start - base) // array.itemsize if array.size else 0
    return ArraySpec(
        array.dtype.str,
        array.shape,
        strides,  # type: ignore[arg-type]
        offset,
        storage,
        start % array.itemsize == 0,
        array.flags.writeable,
        conflict,
        _is_constant(array),
    )


def _overlap_groups(arrays: Sequence[np.ndarray], bounds: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Indexes of arrays that share elements, directly or through others; in order of first appearance."""
    leader = list(range(len(arrays)))

    def find(k: int) -> int:
        while leader[k] != k:
            k = leader[k]
        return k

    by_address = sorted((k for k in range(len(arrays)) if arrays[k].size), key=lambda k: bounds[k])
    for place, k in enumerate(by_address):
        for j in by_address[place + 1 :]:
            if bounds[j][0] >= bounds[k][1]:
                break
            if _share(arrays[k], arrays[j]):
                first, second = sorted((find(k), find(j)))
                leader[second] = first
    groups: dict[int, list[int]] = {}
    for k in range(len(arrays)):
        groups.setdefault(find(k), []).append(k)
    return list(groups.values())


def _share(a: np.ndarray, b: np.ndarray) -> bool:
    try:
        return bool(np.shares_memory(a, b, max_work=_OVERLAP_WORK))  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def _conflict(members: Sequence[np.ndarray], base: int) -> str:
    """Why these overlapping arrays have no common storage, or ""."""
    if len(members) == 1:
        return ""
    if len({a.dtype for a in members}) > 1:
        names = " and ".join(sorted({str(a.dtype) for a in members}))
        return f"arguments of dtypes {names} overlap, and one of them is written"
    if any((address(a) - base) % a.itemsize for a in members):
        return "arguments overlap by part of an element, and one of them is written"
    return ""


def add_arrays(trace: Trace, specs: Sequence[ArraySpec], names: Sequence[str]) -> list[Traced]:
    """Parameters for the arrays' storages, and a traced array for each."""
    members: dict[int, list[int]] = {}
    for k, spec in enumerate(specs):
        members.setdefault(spec.storage, []).append(k)
    made: list[Traced | None] = [None] * len(specs)
    for group in members.values():
        for k, array in zip(
            group, _add_group(trace, [specs[k] for k in group], [names[k] for k in group]), strict=True
        ):
            made[k] = array
    return [m for m in made if m is not None]


def _add_group(trace: Trace, specs: list[ArraySpec], names: list[str]) -> list[Traced]:
    first = specs[0]
    if all((s.shape, s.strides, s.offset) == (first.shape, first.strides, first.offset) for s in specs):
        base = _add_one(trace, replace(first, constant=all(s.constant for s in specs)), names[0])
        return [Traced(trace, base.type, storage=base.storage, readonly=_readonly(s)) for s in specs]
    # One flat storage; every argument is a view of it.
    extent = max(
        s.offset + sum(max(st, 0) * (d - 1) for st, d in zip(s.strides, s.shape, strict=True)) for s in specs
    )
    name = trace.builder.names.fresh("_".join(names))
    storage = trace.add_param(tensor(np.dtype(first.dtype), extent + 1), name)
    whole = Traced(trace, storage.newest.type.with_ref(storage.newest.ref), storage=storage)
    return [
        whole.view("view", readonly=_readonly(s), offset=s.offset, shape=s.shape, strides=s.strides)
        for s in specs
    ]


def _add_one(trace: Trace, spec: ArraySpec, name: str) -> Traced:
    """A storage of its own, seen through the argument's offset and strides."""
    name = trace.builder.names.fresh(name)
    type = TensorType(np.dtype(spec.dtype), spec.shape)
    if spec.offset or spec.strides != contiguous_strides(spec.shape):
        type = type.with_ref(TensorRef(name, spec.offset, spec.strides))
    storage = trace.add_param(type, name, conflict=spec.conflict)
    if spec.constant:
        trace.builder.constants.append(storage.name)
    return Traced(
        trace, storage.newest.type.with_ref(storage.newest.ref), storage=storage, readonly=_readonly(spec)
    )


def _readonly(spec: ArraySpec) -> str:
    return "" if spec.writeable else "the argument is read-only"


def capture_array(trace: Trace, array: np.ndarray) -> Traced:
    """The traced form of an array from outside the arguments; it becomes one more parameter."""
    captures = trace.captures
    assert captures is not None
    found = captures.of(array)
    if found is None:
        (spec,) = describe([array])
        (found,) = add_arrays(trace, [spec], [f"captured{len(captures.arrays)}"])
        captures.add(array, found)
    return found
