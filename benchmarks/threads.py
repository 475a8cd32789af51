"""What threads cost and what they give.

    python -m benchmarks.threads [--seconds 1] [--only nms,focus] [--json FILE]

First the price: a loop that does nothing but take time, alone and shared by two threads, called again at once (its
helper is awake) and after a pause (it sleeps). `codegen.threads.WORTHWHILE` is chosen from this table. Then the
large cases of benchmarks/postprocess: NumPy, sparsec with one thread and with two, called in turn in one process;
values are compared first, and the two results of sparsec must be equal bit for bit. Minima, in microseconds.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

import sparsec
from benchmarks.postprocess import CASES
from benchmarks.postprocess.__main__ import same
from sparsec.codegen.pool import SHARE
from sparsec.codegen.threads import WORTHWHILE
from sparsec.compiler import thread_pool
from sparsec.errors import SparsecError
from sparsec.runtime.cpu import CpuExecutable, compile_object

# Sixteen turns of `%count[0]` additions each, which no compiler may skip.
_LOOP = f"""
declare i32 @{SHARE}(ptr, ptr, i64, i64, i64, i32)
define internal i32 @task(ptr %count, i64 %begin, i64 %end) {{
entry:
  %each = load i64, ptr %count
  %turns = sub i64 %end, %begin
  %total = mul i64 %turns, %each
  br label %head
head:
  %k = phi i64 [ 0, %entry ], [ %next, %body ]
  %more = icmp slt i64 %k, %total
  br i1 %more, label %body, label %done
body:
  %seen = load volatile i64, ptr %count
  %next = add i64 %k, 1
  br label %head
done:
  ret i32 0
}}
define i32 @run(ptr %count, i64 %jobs, i32 %threads) {{
entry:
  br label %head
head:
  %k = phi i64 [ 0, %entry ], [ %next, %head ]
  call i32 @{SHARE}(ptr @task, ptr %count, i64 16, i64 1, i64 {10**12}, i32 %threads)
  %next = add i64 %k, 1
  %more = icmp slt i64 %next, %jobs
  br i1 %more, label %head, label %done
done:
  ret i32 0
}}
"""


class Clock:
    """The loop, and what a number of additions takes."""

    def __init__(self) -> None:
        self._code = CpuExecutable([compile_object(_LOOP, 1)], thread_pool().symbols, entry="run")
        kinds = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32)
        self._run = ctypes.CFUNCTYPE(ctypes.c_int32, *kinds)(self._code.address)
        self.per_addition = self.microseconds(10_000, 1, 20) / 160_000

    def microseconds(self, additions: int, threads: int, jobs: int) -> float:
        count = ctypes.c_int64(additions)
        start = time.perf_counter()
        self._run(ctypes.addressof(count), jobs, threads)
        return (time.perf_counter() - start) / jobs * 1e6


def prices(rounds: int) -> list[dict[str, float]]:
    """Rows of: work, alone, shared at once, alone and shared after a pause; minima, but medians after a pause."""
    clock, rows = Clock(), []
    for work in (0.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0):
        additions = int(work / clock.per_addition / 16)
        jobs = max(20, int(2000 / max(work, 1)))
        times: dict[str, list[float]] = {"alone": [], "shared": [], "alone_cold": [], "shared_cold": []}
        for _ in range(rounds):
            times["alone"].append(clock.microseconds(additions, 1, jobs))
            clock.microseconds(additions, 2, jobs)
            times["shared"].append(clock.microseconds(additions, 2, jobs))
            for name, threads in (("alone_cold", 1), ("shared_cold", 2)):
                time.sleep(2e-3)
                times[name].append(clock.microseconds(additions, threads, 1))
        row = {"work": work, **{name: min(found) for name, found in times.items()}}
        rows.append(row | {k: statistics.median(times[k]) for k in ("alone_cold", "shared_cold")})
    return rows


def measure(name: str, case: Any, seconds: float) -> dict[str, Any]:
    """One row: microseconds of NumPy and of sparsec by number of threads."""
    given = case.make("large", 0)
    compiled = sparsec.jit(case.fn, static_argnames=case.static_argnames)
    row: dict[str, Any] = {"name": name}
    found = []
    with np.errstate(all="ignore"):
        wanted_args = copy.deepcopy(given)
        want = case.fn(*wanted_args)
        for threads in (1, 2):
            sparsec.set_num_threads(threads)
            args = copy.deepcopy(given)
            try:
                got = compiled(*args)
            except SparsecError as error:
                return row | {"problem": str(error).splitlines()[0]}
            if not (same(want, got, case) and same(wanted_args, args, case)):
                return row | {"problem": "values differ from NumPy's"}
            found.append(_bytes((got, args)))
        if found[0] != found[1]:
            return row | {"problem": "values depend on the number of threads"}
        jobs = thread_pool().jobs
        sides: dict[str, tuple[Callable[..., Any], int]] = {
            "numpy": (case.fn, 1), "one": (compiled, 1), "two": (compiled, 2)}
        args = {side: copy.deepcopy(given) for side in sides}
        times: dict[str, list[float]] = {side: [] for side in sides}
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times["two"]) < 3:
            for side, (call, threads) in sides.items():
                sparsec.set_num_threads(threads)
                for _ in range(3):  # the native call is there, and helpers are awake
                    start = time.perf_counter()
                    call(*args[side])
                batch = max(1, int(2e-3 / max(time.perf_counter() - start, 1e-7)))
                start = time.perf_counter()
                for _ in range(batch):
                    call(*args[side])
                times[side].append((time.perf_counter() - start) / batch * 1e6)
    return row | {side: min(t) for side, t in times.items()} | {"shared": thread_pool().jobs > jobs}


def _bytes(value: Any) -> list[bytes]:
    if isinstance(value, (tuple, list)):
        return [part for item in value for part in _bytes(item)]
    return [np.asarray(value).tobytes()]


def geomean(ratios: list[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, ratios))) if ratios else float("nan")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.threads", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each row")
    parser.add_argument("--only", default="", help="comma-separated names")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    args = parser.parse_args()
    print(f"{date.today()}, {os.cpu_count()} processors, NumPy {np.__version__}; microseconds\n")
    print(f"loops of more than {WORTHWHILE / 1e6:.0f} us are shared out\n")
    print("| work | alone | shared | after a pause: alone | shared |\n|--:|--:|--:|--:|--:|")
    costs = prices(20)
    for r in costs:
        cells = (r["alone"], r["shared"], r["alone_cold"], r["shared_cold"])
        print(f"| {r['work']:.0f} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")
    print("\n| large | NumPy | 1 thread | 2 threads | 1 / 2 | NumPy / 2 |\n|---|--:|--:|--:|--:|--:|")
    rows = []
    for name, case in CASES.items():
        if args.only and name not in args.only.split(","):
            continue
        row = measure(name, case, args.seconds)
        rows.append(row)
        if "problem" in row:
            print(f"| {name} | {row['problem']} |", flush=True)
        else:
            print(f"| {name} | {row['numpy']:.1f} | {row['one']:.1f} | {row['two']:.1f} | "
                  f"{row['one'] / row['two']:.2f} | {row['numpy'] / row['two']:.2f} |", flush=True)
    good = [r for r in rows if "problem" not in r]
    print(f"| **geometric mean** | | {geomean([r['numpy'] / r['one'] for r in good]):.2f}x | "
          f"{geomean([r['numpy'] / r['two'] for r in good]):.2f}x | "
          f"{geomean([r['one'] / r['two'] for r in good]):.2f} | |")
    if args.json is not None:
        args.json.write_text(json.dumps({"prices": costs, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 1 if len(good) < len(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
