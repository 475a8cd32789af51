"""The record of a specialisation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import numpy as np

from sparsec.compiler import Compilation
from sparsec.config import settings
from sparsec.frontend.arguments import Arguments
from sparsec.frontend.fastcall.checks import arguments
from sparsec.frontend.fastcall.fits import guards, pairs
from sparsec.frontend.fastcall.pointers import params, results
from sparsec.frontend.fastcall.steps import steps
from sparsec.frontend.fastcall.writer import NativeRecord, Unfit, Writer, need
from sparsec.frontend.tracing import TracedFunction
from sparsec.ir.call_record import MAX_LEAVES, MAX_POINTERS, MAX_VALUES, WORDS, Record
from sparsec.runtime.runners import CpuRunner
from sparsec.runtime.sized import SizedRunner

__all__ = ["record_of"]

#: Up to so many statements, a call is over before another thread could make use of the GIL.
_SHORT = 20_000


def record_of(
    traced: TracedFunction, call: Arguments, compilation: Compilation, notify: Callable[[int], None],
    backend: str | None,
) -> NativeRecord | None:
    """The record of a specialisation, made from a call that it serves; None if it needs more than a record can say.

    notify: called with the warning word. backend: the one that the function names; None: the setting's.
    """
    runner = _runner(traced, compilation)
    if runner is None:
        return None
    w = Writer(traced, call, blocks=compilation.blocks)
    words = np.zeros(Record.SIZE, np.int64)
    try:
        _write_arguments(w, words)
        _write_code(w, words, runner, notify)
        _write_tables(w, words, {
            Record.GUARDS: guards(w, backend, runner.code), Record.CHECKS: w.checks, Record.PAIRS: list(pairs(w)),
            Record.PARAMS: list(params(w)), Record.RESULTS: list(results(w)), Record.STEPS: list(steps(w)),
        })
    except Unfit:
        return None
    return NativeRecord(words, w.kept)


def _runner(traced: TracedFunction, compilation: Compilation) -> CpuRunner | None:
    """What runs the program, if that is native code which needs nothing but pointers."""
    runner = compilation.runner
    pointers = len(traced.params) + len(traced.results.storages)
    if isinstance(runner, SizedRunner) and len(runner.pointers) == pointers:
        runner = runner.inner  # memory is planned by bounds: there is no scratch
    return runner if isinstance(runner, CpuRunner) and not (runner.transactional and traced.written) else None


def _write_arguments(w: Writer, words: np.ndarray) -> None:
    """How many values a call passes, and by which names; the checks of all of them."""
    words[Record.ARGUMENTS], names = arguments(w)
    words[Record.VALUES] = len(w.values)
    words[Record.NAMES], words[Record.NAME_COUNT] = w.list([w.ref(sys.intern(n)) for n in names]), len(names)
    words[Record.CAPTURES], words[Record.CAPTURE_COUNT] = w.list([w.ref(x) for x in w.captures]), len(w.captures)
    need(len(w.values) <= MAX_VALUES)


def _write_code(w: Writer, words: np.ndarray, runner: CpuRunner, notify: Callable[[int], None]) -> None:
    """What runs, and what it needs while it does."""
    code = runner.code
    words[Record.ENTRY] = runner.executable.address if code.statements else 0  # views alone run nothing
    words[Record.ARENA] = code.arena_bytes
    words[Record.RELEASE] = code.statements > _SHORT
    words[Record.NOTIFY] = w.ref(notify)
    words[Record.THREADS] = min(settings.num_threads, 1 << 30) if code.threads else 1
    w.kept.append(runner)


def _write_tables(w: Writer, words: np.ndarray, tables: dict[Record, Sequence[Sequence[int]]]) -> None:
    need(len(tables[Record.STEPS]) <= MAX_LEAVES)
    need(len(tables[Record.PARAMS]) + len(tables[Record.RESULTS]) <= MAX_POINTERS)
    for place, rows in tables.items():
        words[place], words[place + 1] = w.table(rows, WORDS[place]), len(rows)
