"""A traced function compiled for one kind of arguments, and how a call's memory meets it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsec.compiler import Compilation
from sparsec.config import settings
from sparsec.errors import UnsupportedError
from sparsec.frontend.arguments import Arguments
from sparsec.frontend.outcome import Outcome
from sparsec.frontend.results import View, view_of
from sparsec.frontend.tracing import TracedFunction
from sparsec.frontend.warn import warn
from sparsec.ir.block import Block
from sparsec.ir.dims import Dim, evaluate
from sparsec.ir.limits import is_integer, size_values
from sparsec.ir.types import I64
from sparsec.runtime.constants import packed
from sparsec.runtime.native import address_of as address
from sparsec.runtime.runners import CpuRunner
from sparsec.runtime.sized import allocate, param_elements, sizes_at

if TYPE_CHECKING:
    from sparsec.passes.choices import Choices

__all__ = ["Specialisation", "passed_by_value"]

#: Kinds of calls of one specialisation of which it is noted how often they come.
_KINDS = 64


class Specialisation:
    """A traced function, its compilation, and how a call's memory meets it."""

    def __init__(
        self, traced: TracedFunction, backend: str, optimise: bool, choices: Choices | None = None
    ) -> None:
        self.traced = traced
        self.compilation = Compilation(traced.func, backend, _alignments(traced), optimise, choices=choices)
        self._calls: dict[tuple[int, ...], int] = {}  # in Python, by threads and constants
        if {k for k, (shape, _) in enumerate(traced.results.storages) if shape is None} != self.compilation.made:
            raise UnsupportedError("the size of a result has no upper bound", loc=traced.func.loc)

    def serves(self, call: Arguments) -> bool:
        """Whether what the trace read from outside is still the same, captured arrays included."""
        traced = self.traced
        if not all(g.holds() for g in traced.guards):
            return False
        return not traced.captures or call.describe(traced.captures) == traced.capture_specs

    def count(self, call: Arguments) -> int:
        """Notes a call in Python; gives how many there have been that one native record would serve."""
        runner = self.compilation.runner
        threads = settings.num_threads if isinstance(runner, CpuRunner) and runner.code.threads else 1
        arrays = [*call.arrays, *self.traced.captures]
        kind = (threads, *(id(arrays[self.traced.params[k].array]) for k in self.compilation.blocks))
        if len(self._calls) >= _KINDS:
            self._calls.clear()
        self._calls[kind] = self._calls.get(kind, 0) + 1
        return self._calls[kind]

    def run(self, call: Arguments) -> Any:
        """One call: memory in, native code, objects out."""
        traced = self.traced
        runner = self.compilation.runner
        arrays = [*call.arrays, *traced.captures]
        cells, sizes = passed_by_value(traced, call)
        storages = traced.results.storages
        pointers = [
            address(arrays[p.array]) - evaluate(p.offset, sizes) * arrays[p.array].itemsize
            if p.array >= 0
            else address(cells[k])
            for k, p in enumerate(traced.params)
        ]
        if any(is_integer(p) for p in traced.func.params):
            sizes.update(sizes_at(traced.func, pointers))  # those in arrays of no axis, too
        blocks = {k: Block() for k in self.compilation.made}
        passed = self._passed(arrays, pointers)
        results = [allocate(_lengths(shape or (), sizes), dtype) for shape, dtype in storages]
        places = [blocks[k].address if k in blocks else address(r) for k, r in enumerate(results)]
        if runner.transactional and traced.written:
            flags = self._run_on_copies(arrays, pointers, passed, places, sizes)
        else:
            flags = runner.run(passed, places)
        if flags:
            warn(flags, traced.func.name, 4)
        for k, block in blocks.items():
            results[k] = block.array(storages[k][1])
            places[k] = address(results[k])
        return Outcome(traced, call, arrays, pointers, results, places, sizes).value()

    def _passed(self, arrays: list[np.ndarray], pointers: list[int]) -> list[int]:
        """What the program gets for its parameters: these addresses, or those of packed copies of constants."""
        passed = list(pointers)
        for k, (columns, block) in self.compilation.blocks.items():
            passed[k] = address(packed(arrays[self.traced.params[k].array], columns, block))
        return passed

    def _run_on_copies(
        self, arrays: list[np.ndarray], pointers: list[int], passed: list[int], places: list[int],
        sizes: Mapping[str, int],
    ) -> int:
        """Runs on copies of the storages that are written; they reach the caller only if all went well. passed: the
        addresses that the program gets of the others."""
        traced = self.traced
        shadows: dict[int, int] = {}
        kept: list[np.ndarray] = []
        for param, views in traced.written.items():
            first = views[0]
            count = param_elements(traced.func.params[param], sizes)
            view = View(0, True, arrays[first].dtype, (count,), 0, (1,), writeable=True)
            shadow = view_of(arrays[first], pointers[param], view).copy()
            kept.append(shadow)
            shadows[param] = address(shadow)
        flags = self.compilation.runner.run([shadows.get(k, p) for k, p in enumerate(passed)], places)
        for param, views in traced.written.items():
            for k in views:
                spec, array = traced.capture_specs[k], arrays[k]
                if array.size and array.flags.writeable:
                    source = View(0, True, array.dtype, spec.shape, spec.offset, spec.strides, True)
                    array[...] = view_of(array, shadows[param], source.at(sizes))
        return flags


def passed_by_value(traced: TracedFunction, call: Arguments) -> tuple[dict[int, np.ndarray], dict[str, int]]:
    """Memory for the parameters that are passed by value, and the integers among them by their symbols."""
    cells: dict[int, np.ndarray] = {}
    sizes: dict[str, int] = {}
    for k, (p, value) in enumerate(zip(traced.params, traced.func.params, strict=True)):
        if p.array < 0:
            cells[k] = np.array(call.scalars[p.scalar] if p.scalar >= 0 else call.sizes[p.size], p.dtype)
            if p.dtype == I64:
                sizes.update(size_values(value.name, int(cells[k])))
    return cells, sizes


def _lengths(shape: Sequence[Dim], sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(max(evaluate(d, sizes), 0) for d in shape)


def _alignments(traced: TracedFunction) -> dict[str, int]:
    """Bytes that may be assumed of each parameter: its item size, or 1 where an argument is not aligned."""
    aligned = {
        p.array: spec.aligned
        for p in traced.params
        if p.array >= 0
        for spec in [traced.capture_specs[p.array]]
    }
    return {
        value.storage: value.type.dtype.itemsize if p.array < 0 or aligned[p.array] else 1
        for p, value in zip(traced.params, traced.func.params, strict=True)
    }
