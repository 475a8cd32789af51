"""What a call costs: functions on four floats, where nearly all of the time is the call.

    python -m benchmarks.calls [--json FILE] [--batches 40]

Values are checked first. Then every tool runs a batch in turn, again and again in the same process, so that a
noisy moment hits all of them; shown are the minimum and the median over batches, in ns per call, the loop of
the benchmark (a few ns) included. NumPy runs the expression itself, with no function around it. Numba and
torch take part where they are installed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

import sparsec

__all__ = ["CASES", "Case", "main", "measure"]


@dataclass(frozen=True)
class Case:
    """`fn` is what compilers get; `loop(n, f, *args)` calls f, `inline(n, *args)` evaluates the expression."""

    name: str
    fn: Callable[..., Any]
    loop: Callable[..., None]
    inline: Callable[..., None]
    make: Callable[[], tuple[Any, ...]]
    goal: float | None = None  # ns
    in_place: bool = False


def add(x, y):
    return x + y


def add_six(a, b, c, d, e, f):
    return a + b + c + d + e + f


def add_in_place(x, y):
    x += y


def scale(x, k):
    return x * k


def both(x, y):
    return x + y, x - y


def tail(x):
    return x[1:]


def total(x):
    return x.sum()


# Loops are written out: a call through `*args` would cost every tool a tuple.
def _loop1(n, f, a):
    for _ in repeat(None, n):
        f(a)


def _loop2(n, f, a, b):
    for _ in repeat(None, n):
        f(a, b)


def _loop6(n, fn, a, b, c, d, e, f):
    for _ in repeat(None, n):
        fn(a, b, c, d, e, f)


def _inline_add(n, x, y):
    for _ in repeat(None, n):
        x + y


def _inline_add_six(n, a, b, c, d, e, f):
    for _ in repeat(None, n):
        a + b + c + d + e + f


def _inline_add_in_place(n, x, y):
    for _ in repeat(None, n):
        x += y


def _inline_scale(n, x, k):
    for _ in repeat(None, n):
        x * k


def _inline_both(n, x, y):
    for _ in repeat(None, n):
        (x + y, x - y)


def _inline_tail(n, x):
    for _ in repeat(None, n):
        x[1:]


def _inline_total(n, x):
    for _ in repeat(None, n):
        x.sum()


def _floats(count: int) -> tuple[np.ndarray, ...]:
    return tuple(np.arange(4, dtype=np.float32) / 8 + k for k in range(count))


CASES = (
    Case("x + y", add, _loop2, _inline_add, lambda: _floats(2), goal=150),
    Case("a + b + c + d + e + f", add_six, _loop6, _inline_add_six, lambda: _floats(6), goal=250),
    Case("x += y", add_in_place, _loop2, _inline_add_in_place, lambda: (_floats(1)[0], np.zeros(4, np.float32)),
         in_place=True),
    Case("x * 2.5", scale, _loop2, _inline_scale, lambda: (_floats(1)[0], 2.5)),
    Case("x + y, x - y", both, _loop2, _inline_both, lambda: _floats(2)),
    Case("x[1:]", tail, _loop1, _inline_tail, lambda: _floats(1)),
    Case("x.sum()", total, _loop1, _inline_total, lambda: _floats(1)),
)  # fmt: skip


def measure(case: Case, batches: int, calls: int) -> dict[str, dict[str, float]]:
    """Minimum and median ns per call, by tool."""
    runs = {"numpy": _numpy(case), **_compilers(case)}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(batches):
        for name, run in runs.items():
            start = time.perf_counter()
            run(calls)
            times[name].append((time.perf_counter() - start) / calls * 1e9)
    return {name: {"min": min(t), "median": statistics.median(t)} for name, t in times.items()}


def _numpy(case: Case) -> Callable[[int], None]:
    args = case.make()
    return lambda n: case.inline(n, *args)


def _compilers(case: Case) -> dict[str, Callable[[int], None]]:
    """Every tool that is installed and right, after its first calls."""
    found: dict[str, Callable[[int], None]] = {}
    for name, prepare in (("sparsec", _sparsec), ("numba", _numba), ("torch", _torch)):
        made = prepare(case)
        if made is None:
            continue
        function, convert = made
        args = tuple(convert(a) if isinstance(a, np.ndarray) else a for a in case.make())
        _check(case, name, function, convert)
        for _ in range(3):
            function(*args)
        found[name] = _calls(case, function, args)
    return found


def _calls(case: Case, function: Callable[..., Any], args: tuple[Any, ...]) -> Callable[[int], None]:
    return lambda n: case.loop(n, function, *args)


def _check(case: Case, name: str, function: Callable[..., Any], convert: Callable[[Any], Any]) -> None:
    wanted_args = case.make()
    wanted = case.fn(*wanted_args)
    args = tuple(convert(a) if isinstance(a, np.ndarray) else a for a in case.make())
    got = function(*args)
    if case.in_place:
        got, wanted = args[0], wanted_args[0]
    pairs = zip(got, wanted, strict=True) if isinstance(wanted, tuple) else [(got, wanted)]
    for a, b in pairs:
        if not np.array_equal(np.asarray(a), b):
            raise AssertionError(f"{name} is wrong on {case.name}: {a} for {b}")


Prepared = tuple[Callable[..., Any], Callable[[Any], Any]] | None


def _sparsec(case: Case) -> Prepared:
    return sparsec.jit(case.fn), lambda a: a


def _numba(case: Case) -> Prepared:
    try:
        numba: Any = importlib.import_module("numba")
    except ImportError:
        return None
    return numba.njit(case.fn), lambda a: a


def _torch(case: Case) -> Prepared:
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError:
        return None
    torch.set_num_threads(1)
    return case.fn, lambda a: torch.from_numpy(a.copy())


def _row(case: Case, found: dict[str, dict[str, float]]) -> str:
    cells = [f"{t['median']:.0f} ({t['min']:.0f})" for t in found.values()]
    ratio = found["numpy"]["median"] / found["sparsec"]["median"]
    goal = "" if case.goal is None else f"{case.goal:.0f}"
    return f"| `{case.name}` | {' | '.join(cells)} | {ratio:.2f} | {goal} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calls", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--calls", type=int, default=5000, help="in a batch")
    args = parser.parse_args()
    results = {case.name: measure(case, args.batches, args.calls) for case in CASES}
    tools = list(next(iter(results.values())))
    print(f"ns per call, median (minimum) of {args.batches} batches; Python {platform.python_version()}, "
          f"NumPy {np.__version__}, {date.today()}\n")
    print(f"| four floats | {' | '.join(tools)} | NumPy / sparsec | goal |")
    print("|---|" + "--:|" * (len(tools) + 2))
    for case in CASES:
        print(_row(case, results[case.name]))
    if args.json is not None:
        args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
