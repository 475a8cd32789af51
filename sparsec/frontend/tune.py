"""Searches around the cost model's choices for one function and one kind of arguments, and keeps the winner.

    found = tune(jitted, args)
    found.choices, found.ratio              max-ops=16, 1.21

One choice after the other is varied, the best so far kept. Every candidate's values are compared with those of the
default version, bit by bit; then both run in turn, and the ratio of the minima decides. The winner goes to the disk
cache: later calls of the same function with such arguments, in any process, are compiled with it.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sparsec.errors import CompileError, ConfigError
from sparsec.frontend.jit import Jitted
from sparsec.frontend.specialisation import Specialisation
from sparsec.frontend.tracing import trace_function
from sparsec.passes.choices import ALTERNATIVES, Choices
from sparsec.runtime.cache import disk_cache
from sparsec.runtime.constants import is_constant

__all__ = ["Trial", "Tuned", "tune"]

#: A candidate that gains less than this is noise.
_GAIN = 1.03
_ROUNDS = 9


@dataclass(frozen=True)
class Trial:
    """One candidate. `ratio`: how many times faster than the default it is; None: the same code as one before."""

    choices: Choices
    ratio: float | None


@dataclass(frozen=True)
class Tuned:
    """The winner; the default choices where nothing was faster."""

    choices: Choices
    ratio: float
    trials: tuple[Trial, ...]


class _Version:
    """A compiled candidate with arguments of its own."""

    def __init__(self, jitted: Jitted[..., Any], choices: Choices, args: Sequence[Any], kwargs: Mapping[str, Any]):
        given = jitted._binder.bind(tuple(args), kwargs).arrays
        constants: dict[int, Any] = {id(array): array for array in given if is_constant(array)}
        own = copy.deepcopy((tuple(args), dict(kwargs)), constants)
        self.call = jitted._binder.bind(*own)
        traced = trace_function(jitted._fn, jitted._binder, self.call)
        self.made = Specialisation(traced, "cpu", True, choices)
        self.code = self.made.compilation.llvm

    def run(self) -> Any:
        return self.made.run(self.call)

    def seconds(self, batch: int) -> float:
        start = time.perf_counter()
        for _ in range(batch):
            self.run()
        return (time.perf_counter() - start) / batch


def tune(
    jitted: Jitted[..., Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, *,
    seconds: float = 0.2, progress: Callable[[Trial], None] = lambda trial: None,
) -> Tuned:
    """Tries alternatives, about `seconds` of measuring each. The arguments are not written to.

    Raises ConfigError where there is nothing to tune or nowhere to keep it, CompileError if a candidate's values
    differ (a defect of sparsec), and what calls of the function raise.
    """
    cache = disk_cache()
    if jitted.backend != "cpu":
        raise ConfigError(f"the {jitted.backend} backend is not tuned", hint='use backend="cpu"')
    if cache is None:
        raise ConfigError("there is no disk cache to keep the winner in", hint="set SPARSEC_CACHE=1, no SPARSEC_DUMP")
    kwargs = kwargs or {}
    default = _Version(jitted, Choices(), args, kwargs)
    wanted = _outcome(default)
    seen, trials = {default.code}, []
    best, best_ratio = Choices(), 1.0
    for name, values in ALTERNATIVES.items():
        for value in values:
            choices = replace(best, **{name: value})  # type: ignore[arg-type]
            version = _Version(jitted, choices, args, kwargs)
            ratio = None
            if version.code not in seen:
                seen.add(version.code)
                if not _same(wanted, _outcome(version)):
                    raise CompileError(f"with {choices}, `{default.made.traced.func.name}` computes other values")
                ratio = _ratio(default, version, seconds)
                if ratio > best_ratio * _GAIN:
                    best, best_ratio = choices, ratio
            trials.append(Trial(choices, ratio))
            progress(trials[-1])
    cache.put(default.made.compilation.choices_key, str(best).encode())
    jitted.cache_clear()
    return Tuned(best, best_ratio, tuple(trials))


def _outcome(version: _Version) -> tuple[Any, ...]:
    """What one call gives, and what it leaves in the arguments."""
    got = version.run()
    return copy.deepcopy(got), tuple(array.copy() for array in version.call.arrays)


def _same(want: Any, got: Any) -> bool:
    if isinstance(want, (tuple, list)):
        return len(want) == len(got) and all(map(_same, want, got))
    if isinstance(want, dict):
        return want.keys() == got.keys() and all(_same(want[key], got[key]) for key in want)
    if isinstance(want, (np.ndarray, np.generic, float, complex)):
        return np.asarray(want).dtype == np.asarray(got).dtype and bool(np.array_equal(want, got, equal_nan=True))
    return bool(want == got)


def _ratio(default: _Version, version: _Version, seconds: float) -> float:
    """Of the minima over batches in turn."""
    batch = max(1, int(seconds / (2 * _ROUNDS) / max(default.seconds(1), 1e-7)))
    times = [(default.seconds(batch), version.seconds(batch)) for _ in range(_ROUNDS)]
    return min(one for one, _ in times) / min(other for _, other in times)
