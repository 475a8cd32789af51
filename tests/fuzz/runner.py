"""One program through NumPy once and through sparsec in several ways."""

from __future__ import annotations

import faulthandler
import gc
import linecache
import os
import pickle
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import numpy as np

from sparsec.frontend.control import turns
from tests.fuzz.compare import Run, compare_runs, refusal, run
from tests.fuzz.meaning import NAMES, meant
from tests.fuzz.program import Program
from tests.programs.harness import Difference, jit

Note = Callable[[int], None]


@dataclass(frozen=True)
class Config:
    """A way to compile."""

    backend: str
    optimise: bool = True

    def __str__(self) -> str:
        return self.backend if self.optimise else f"{self.backend}-O0"


@dataclass
class Outcome:
    """What one program gave: differences and refusals by configuration; `raised` if NumPy refused it.

    `order`: NumPy's answer depends on the order of its loops (`meaning.py`), which was not followed.
    """

    mismatches: dict[Config, str] = field(default_factory=dict)
    refused: dict[Config, str] = field(default_factory=dict)
    raised: bool = False
    order: bool = False


def configs(backends: Sequence[str], optimise: str) -> list[Config]:
    """The ways that `--backend` and `--optimise on|off|both` name; the interpreter runs before all passes."""
    chosen = {"on": (True,), "off": (False,), "both": (True, False)}[optimise]
    return [Config(b, o) for b in backends for o in (chosen if b != "interp" else (True,))]


@contextmanager
def quiet() -> Iterator[None]:
    """Random programs divide by zero all the time."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Workshop:
    """A folder for the programs' source files; each file lives only as long as its program."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sparsec-fuzz-")
        self._count = 0

    def close(self) -> None:
        self._folder.cleanup()

    @contextmanager
    def function(self, source: str) -> Iterator[Callable[..., Any]]:
        """The function `f` of a source text, which stands in a real file meanwhile."""
        self._count += 1
        path = os.path.join(self._folder.name, f"program{self._count}.py")
        with open(path, "w", encoding="utf-8") as file:
            file.write(source)
        space: dict[str, Any] = {"__name__": "sparsec_fuzz_program"}
        try:
            exec(compile(source, path, "exec"), space)
            yield space["f"]
        finally:
            space.clear()
            linecache.cache.pop(path, None)
            os.unlink(path)

    def check(self, program: Program, ways: Sequence[Config], note: Note = lambda way: None) -> Outcome:
        """Runs one program every way. `note` is told the number of each way before it runs."""
        with quiet(), self.function(program.source) as f:
            return check_function(f, program, ways, note)

    def check_apart(self, program: Program, way: Config) -> Outcome:
        """The same in a process of its own: one that dies is a mismatch."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                faulthandler.disable()
                os.write(writer, pickle.dumps(self.check(program, (way,))))
                status = 0
            finally:
                os._exit(status)
        os.close(writer)
        with open(reader, "rb") as pipe:
            found = pipe.read()
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return Outcome({way: crash_text(-os.WTERMSIG(status))})
        return pickle.loads(found)  # type: ignore[no-any-return]


def crash_text(code: int | None) -> str:
    """The message for a process that ended with this exit code."""
    return f"crash: the process ended with {code}"


def check_function(
    f: Callable[..., Any], program: Program, ways: Sequence[Config], note: Note = lambda way: None
) -> Outcome:
    """`f` is the program's function. NumPy runs for every call, sparsec once for every way and call."""
    outcome = Outcome()
    wanted = [run(f, recipe) for recipe in program.calls]
    outcome.raised = any(w.error is not None for w in wanted)
    wanted, outcome.order = _as_meant(program, wanted)
    with _loops_staged() if program.staged else nullcontext():
        for position, way in enumerate(ways):
            note(position)
            _compare_way(f, program, way, wanted, outcome)
    return outcome


def _compare_way(f: Callable[..., Any], program: Program, way: Config, wanted: list[Run], outcome: Outcome) -> None:
    compiled = jit(f, way.backend, optimise=way.optimise)
    for number, (recipe, want) in enumerate(zip(program.calls, wanted)):
        got = run(compiled, recipe)
        try:
            reason = _judge(got, want, program.inexact)
        except Difference as error:
            outcome.mismatches[way] = str(error) + (f" (call {number})" if number else "")
            break
        if reason:
            outcome.refused[way] = reason
            break


@contextmanager
def _loops_staged() -> Iterator[None]:
    """No loop is short enough to be unrolled."""
    with patch.multiple(turns, UNROLL=1, UNROLL_OUTER=1, UNROLL_NESTED=1):
        yield


def _as_meant(program: Program, plain: list[Run]) -> tuple[list[Run], bool]:
    """What NumPy does when every source is copied first, and whether that is something else."""
    space: dict[str, Any] = {"__name__": "sparsec_fuzz_program", **NAMES}
    exec(meant(program.source), space)
    strict = [run(space["f"], recipe) for recipe in program.calls]
    try:
        for one, other in zip(strict, plain):
            compare_runs(one, other, program.inexact)
    except Difference:
        return strict, True
    return plain, False


def _judge(got: Run, want: Run, inexact: bool) -> str:
    """Why sparsec refused, or "" where it did what NumPy did. Raises Difference."""
    reason = refusal(got.error)
    if reason:
        if not got.untouched():
            raise Difference(f"refused: after writing ({reason})")
        if want.error is None:
            return reason
        try:
            compare_runs(got, want, inexact)
        except Difference:
            return reason  # NumPy raises too, something else: a refusal all the same
        return ""
    compare_runs(got, want, inexact)
    return ""


def collect_garbage(number: int) -> None:
    """Compiled functions lie in reference cycles; their native code should not pile up."""
    if number % 200 == 0:
        gc.collect()
