"""One row: every contender's values checked, then all timed in turn, batch by batch.

A batch during which the process did not have a processor nearly all the time was disturbed, and is left out: on a
busy machine short calls find quiet moments and long ones do not, so plain minima would favour the fast. A contender
with too few quiet batches is measured by all of them and marked `~`.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import sparsec
from benchmarks.peers.contenders import Contender, contenders
from benchmarks.postprocess.case import Case
from sparsec.errors import SparsecError

__all__ = ["row"]

_BATCH = 2e-3  # seconds that a batch should take
_FEWEST = 5
_QUIET = 0.95  # of the time of a batch, processor time
_ENOUGH = 3


def row(case: Case, size: str, seconds: float) -> dict[str, Any]:
    """Microseconds per call of each contender, or what became of it.

    `results[name]`: `first` (seconds of the first call), `min`, `median`, `mark` ("", "e": ran eager, "~": never
    undisturbed), `batches` and how many of them were `quiet`; or `problem` ("FAIL": refused; "!": wrong values) and
    `why`. `bytes`: what no program could move less of; `copy`: the time in which NumPy copies that much, in batches
    of as many calls as sparsec's. `alone`: what our code would take if all of its data were in a second-level cache,
    by what it takes for a part that is; of large sizes with one thread.
    """
    given = case.make(size, 0)
    with np.errstate(all="ignore"):
        wanted = copy.deepcopy(given)
        want = case.fn(*wanted)
        results: dict[str, dict[str, Any]] = {}
        sides: dict[str, tuple[Callable[[], Any], int]] = {}
        for contender in contenders(case, given):
            results[contender.name], batch = _checked(contender, case, want, wanted)
            if batch:
                sides[contender.name] = contender.call, batch
        least, part = _least(case, given), 0
        if least:
            source, target = np.ones(least // 2, np.uint8), np.empty(least // 2, np.uint8)
            sides["copy"] = (lambda: np.copyto(target, source)), sides["sparsec"][1] if "sparsec" in sides else 1
        if size == "large" and case.cached and sparsec.get_num_threads() == 1:
            few = case.make(case.cached, 0)
            part, ours = _least(case, few), sparsec.jit(case.fn, static_argnames=case.static_argnames)
            sides["alone"] = _side(lambda: ours(*few))
        times = _timed(sides, seconds)
    for name, found in times.items():
        if name in results:
            results[name] |= _figures(found, results[name]["mark"])
    copied = _figures(times["copy"], "")["min"] if least else None
    alone = _figures(times["alone"], "")["min"] * least / part if part else None
    return {"name": case.name, "size": size, "bytes": least, "copy": copied, "alone": alone, "results": results}


def _figures(batches: Sequence[tuple[float, float]], mark: str) -> dict[str, Any]:
    quiet = [wall for wall, processor in batches if processor >= _QUIET * wall]
    enough = len(quiet) >= _ENOUGH
    used = quiet if enough else [wall for wall, _ in batches]
    return {"min": min(used), "median": statistics.median(used), "mark": mark if enough else f"{mark}~",
            "batches": len(batches), "quiet": len(quiet)}


def _checked(contender: Contender, case: Case, want: Any, wanted: Sequence[Any]) -> tuple[dict[str, Any], int]:
    """What the first call gave, and how many calls make a batch; 0: none, it failed."""
    start = time.perf_counter()
    try:
        got = contender.call()
    except Exception as error:  # whatever a compiler raises about what it does not take
        return {"problem": "FAIL", "why": f"{type(error).__name__}: {str(error).splitlines()[:1]}"[:200]}, 0
    first = time.perf_counter() - start
    changed = [contender.to_numpy(a) for a in contender.args] if contender.in_place else None
    if not _same(want, _numpy(contender, got), case) or (changed is not None and not _same(wanted, changed, case)):
        return {"problem": "!", "why": "values differ from NumPy's"}, 0
    _, batch = _side(contender.call)
    return {"first": first, "mark": "e" if contender.ran_eager() else ""}, batch


def _side(call: Callable[[], Any]) -> tuple[Callable[[], Any], int]:
    """What is timed, and how many calls make a batch."""
    times = []
    for _ in range(3):  # the next calls may still get something ready
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return call, max(1, min(1000, int(_BATCH / max(min(times), 1e-7))))


def _numpy(contender: Contender, got: Any) -> Any:
    return tuple(map(contender.to_numpy, got)) if isinstance(got, tuple) else contender.to_numpy(got)


def _same(want: Any, got: Any, case: Case) -> bool:
    """Equal, but for floats within what another order of operations and another exp may give."""
    if isinstance(want, (tuple, list)):
        return len(want) == len(got) and all(_same(w, g, case) for w, g in zip(want, got, strict=True))
    if isinstance(want, np.ndarray) and want.dtype.kind == "f":
        scale = float(np.max(np.abs(want[np.isfinite(want)]), initial=1.0))
        rtol, atol = max(case.rtol, 1e-5), max(case.atol, 1e-5 * scale)
        return want.shape == np.shape(got) and np.allclose(want, got, rtol=rtol, atol=atol, equal_nan=True)
    return bool(np.array_equal(want, got))


def _least(case: Case, given: Any) -> int:
    try:
        found = sparsec.jit(case.fn, static_argnames=case.static_argnames).explain(*copy.deepcopy(given))
    except SparsecError:
        return 0
    return found.traffic.least if found.traffic.exact else 0


def _timed(
    sides: dict[str, tuple[Callable[[], Any], int]], seconds: float
) -> dict[str, list[tuple[float, float]]]:
    """Microseconds per call, by the clock and of the processor, for each batch: one batch of every side in turn,
    until the time is over."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    end = time.perf_counter() + seconds
    rounds = 0
    while time.perf_counter() < end or rounds < _FEWEST:
        rounds += 1
        for name, (call, batch) in sides.items():
            begin, processor = time.perf_counter(), time.process_time()
            for _ in range(batch):
                call()
            wall, busy = time.perf_counter() - begin, time.process_time() - processor
            times[name].append((wall / batch * 1e6, busy / batch * 1e6))
    return times
