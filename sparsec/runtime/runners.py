"""Compiled functions that run: each backend's, and the interpreters of both IRs, behind one interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from sparsec.config import settings
from sparsec.errors import FAILURES, OutOfMemory, SparsecError
from sparsec.ir.abi import pointer_slots
from sparsec.ir.block import BLOCK_BYTES, fill
from sparsec.ir.flags import collect
from sparsec.ir.graph import Func
from sparsec.ir.loops import Failure, Program
from sparsec.ir.types import DType
from sparsec.runtime.sized import param_elements, sizes_at

if TYPE_CHECKING:
    from sparsec.runtime.stored import StoredCode

__all__ = ["CpuRunner", "GraphRunner", "LoopRunner", "OpenClRunner", "Runner"]


class Runner(Protocol):
    """A compiled function. `transactional`: it must be run on copies of what it writes, because it may fail
    after its first write or writes whole storages back."""

    @property
    def transactional(self) -> bool: ...

    def run(self, params: Sequence[int], results: Sequence[int], sizes: Sequence[int] = ()) -> int:
        """Runs on addresses: one per parameter's storage, one per result storage. Gives the warning word.

        sizes: the bytes behind each address, for programs that do not know them (`SizedRunner`).
        """
        ...


class _Memory:
    def __init__(self, address: int, count: int, dtype: DType) -> None:
        self.__array_interface__ = {
            "version": 3,
            "data": (address, False),
            "shape": (count,),
            "typestr": dtype.str,
        }


def memory(address: int, count: int, dtype: DType) -> np.ndarray[Any, Any]:
    """A flat array over memory that somebody else keeps alive."""
    if count == 0:
        return np.empty(0, dtype)
    return np.asarray(_Memory(address, count, dtype))


def failure(found: Failure) -> Exception:
    """The exception that a failed check raises."""
    cls = FAILURES.get(found.kind)
    if cls is not None:
        return cls(found.message, loc=found.loc)
    return SparsecError(f"{found.kind}: {found.message}", loc=found.loc)


@dataclass
class GraphRunner:
    """The graph interpreter: the meaning, without any compilation."""

    func: Func
    made: frozenset[int] = frozenset()
    transactional = True

    def run(self, params: Sequence[int], results: Sequence[int], sizes: Sequence[int] = ()) -> int:
        from sparsec.ir.interp import interpret

        dims = sizes_at(self.func, params)
        flats = [
            memory(a, param_elements(p, dims), p.type.dtype) for a, p in zip(params, self.func.params, strict=True)
        ]
        with collect() as word:
            values, writes = interpret(self.func, flats, whole=True)
        self._store_results(values, results)
        by_storage = {p.storage: flat for p, flat in zip(self.func.params, flats, strict=True)}
        for value, flat in zip(self.func.writes, writes, strict=True):
            by_storage[value.storage][:] = flat
        return word.bits

    def _store_results(self, flats: Sequence[np.ndarray], results: Sequence[int]) -> None:
        params = {p.storage for p in self.func.params}
        numbers: dict[str, int] = {}
        for value, flat in zip(self.func.results, flats, strict=True):
            if value.storage not in params:
                number = numbers.setdefault(value.storage, len(numbers))
                if number in self.made:
                    fill(memory(results[number], BLOCK_BYTES, np.dtype("u1")), flat)
                else:
                    memory(results[number], flat.size, flat.dtype)[:] = flat


@dataclass
class LoopRunner:
    """The loop interpreter, on the program before any target has touched it."""

    program: Program
    transactional = True

    def run(self, params: Sequence[int], results: Sequence[int], sizes: Sequence[int] = ()) -> int:
        from sparsec.ir.loop_interp import run

        views = _byte_views(self.program, [*params, *results], sizes)
        return _finish(self.program.failures, *run(self.program, views))


@dataclass
class OpenClRunner:
    """An OpenCL device. Buffers are copied whole, so it never runs on the caller's own memory."""

    program: Program
    source: Any
    transactional = True

    def __post_init__(self) -> None:
        from sparsec.runtime.opencl import OpenClExecutable

        self._executable = OpenClExecutable(self.source)

    def run(self, params: Sequence[int], results: Sequence[int], sizes: Sequence[int] = ()) -> int:
        views = _byte_views(self.program, [*params, *results], sizes)
        return _finish(self.program.failures, *self._executable.run(views))


def _byte_views(program: Program, addresses: Sequence[int], sizes: Sequence[int]) -> list[np.ndarray]:
    """The memory behind each pointer. sizes: in bytes, where the program does not say; else empty."""
    slots = pointer_slots(program)
    known = sizes or [BLOCK_BYTES if s.role == "made" else s.buffer.size * s.buffer.dtype.itemsize for s in slots]
    return [memory(a, n, np.dtype("u1")) for a, n, _ in zip(addresses, known, slots, strict=True)]


def _finish(failures: Sequence[Failure], status: int, flags: int) -> int:
    if status:
        raise failure(failures[status - 1])
    return flags


@dataclass
class CpuRunner:
    """Native code on the caller's memory."""

    code: StoredCode
    executable: Any
    transactional: bool = field(init=False)

    def __post_init__(self) -> None:
        self.transactional = self.code.late

    def run(self, params: Sequence[int], results: Sequence[int], sizes: Sequence[int] = ()) -> int:
        size = self.code.arena_bytes
        try:
            arena = np.empty(size + 64, np.uint8) if size else None
        except MemoryError:
            raise OutOfMemory(f"{size} bytes for temporaries could not be allocated") from None
        start = arena.__array_interface__["data"][0] + 63 & ~63 if arena is not None else 0
        threads = settings.num_threads if self.code.threads else 1
        return _finish(self.code.failures, *self.executable.run([*params, *results], start, threads))
