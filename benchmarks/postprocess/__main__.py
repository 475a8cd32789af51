"""The twenty-one functions against NumPy, side by side in one process.

    python -m benchmarks.postprocess [--sizes small,large] [--only nms,focus] [--markdown FILE] [--json FILE]

Values, changed arguments included, are compared before anything is timed. Both are called in turn; the table
shows the median and the minimum of each and the ratio of the minima. A slower result is shown like any other.

The last column is the share of the bandwidth of memory: how long a copy takes, called in turn with both, that reads
and writes as many bytes as arguments and results have, in percent of our time. A function that only moves memory
cannot have much more than 100; one that computes has less.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import sparsec
from benchmarks.postprocess import CASES
from sparsec.errors import SparsecError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="small,large")
    parser.add_argument("--only", default="", help="comma-separated names")
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each row")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    for size in args.sizes.split(","):
        for name, case in CASES.items():
            if args.only and name not in args.only.split(","):
                continue
            row = measure(name, case, size, args.seconds)
            rows.append(row)
            print(line(row), flush=True)
        print(f"{size}: geometric mean {geomean(rows, size):.2f}x", flush=True)
    if args.markdown:
        args.markdown.write_text(markdown(rows))
    if args.json:
        args.json.write_text(json.dumps({"machine": platform.processor(), "rows": rows}, indent=1))
    return 1 if any("problem" in r for r in rows) else 0


def measure(name: str, case: Any, size: str, seconds: float) -> dict[str, Any]:
    """One row: seconds of the first call, and median and minimum of both, in microseconds."""
    row: dict[str, Any] = {"name": name, "size": size}
    given = case.make(size, 0)
    compiled = sparsec.jit(case.fn, static_argnames=case.static_argnames)
    wanted, ours = copy.deepcopy(given), copy.deepcopy(given)
    try:
        start = time.perf_counter()
        got = compiled(*ours)
        row["first"] = time.perf_counter() - start
    except SparsecError as error:
        return {**row, "problem": str(error).splitlines()[0]}
    with np.errstate(all="ignore"):
        want = case.fn(*wanted)
        if not (same(want, got, case) and same(wanted, ours, case)):
            return {**row, "problem": "values differ"}
        row["bytes"] = nbytes((wanted, want))
        mine, theirs, copies = timed(compiled, case.fn, given, seconds, row["bytes"])
    row |= {"median": statistics.median(mine), "min": min(mine)}
    row |= {"numpy_median": statistics.median(theirs), "numpy_min": min(theirs)}
    row["ratio"] = row["numpy_min"] / row["min"]
    row["copy_min"] = min(copies)
    return row


def nbytes(value: Any) -> int:
    """The bytes of all arrays, each once."""
    def arrays(x: Any) -> Iterator[np.ndarray]:
        if isinstance(x, np.ndarray):
            yield x
        elif isinstance(x, (tuple, list)):
            for item in x:
                yield from arrays(item)

    return sum({a.__array_interface__["data"][0]: a.nbytes for a in arrays(value)}.values())


def timed(
    compiled: Callable[..., Any], function: Callable[..., Any], given: Any, seconds: float, copied: int
) -> tuple[list[float], ...]:
    """Microseconds per call of both, and of a copy that moves so many bytes, in turn; short calls in batches."""
    source = np.ones(max(copied // 2, 1), np.uint8)
    sides: list[tuple[Callable[..., Any], Any, list[float]]] = [
        (compiled, copy.deepcopy(given), []), (function, copy.deepcopy(given), []),
        (np.copyto, (np.zeros_like(source), source), []),
    ]
    start = time.perf_counter()
    function(*copy.deepcopy(given))
    batch = max(1, min(1000, int(2e-3 / max(time.perf_counter() - start, 1e-7))))
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(sides[0][2]) < 3:
        for call, args, times in sides:
            begin = time.perf_counter()
            for _ in range(batch):
                call(*args)
            times.append((time.perf_counter() - begin) / batch * 1e6)
    return tuple(times for _, _, times in sides)


def same(want: Any, got: Any, case: Any) -> bool:
    """Equal, or within the case's tolerance where it has one."""
    if isinstance(want, (tuple, list)):
        return len(want) == len(got) and all(same(w, g, case) for w, g in zip(want, got, strict=True))
    if isinstance(want, np.ndarray) and want.dtype.kind in "fc":
        return want.shape == got.shape and np.allclose(want, got, rtol=case.rtol, atol=case.atol, equal_nan=True)
    return bool(np.array_equal(want, got))


def geomean(rows: list[dict[str, Any]], size: str) -> float:
    ratios = [r["ratio"] for r in rows if r["size"] == size and "ratio" in r]
    return math.exp(statistics.fmean(map(math.log, ratios))) if ratios else float("nan")


def line(row: dict[str, Any]) -> str:
    head = f"{row['name']:18} {row['size']:6}"
    if "problem" in row:
        return f"{head} {row['problem']}"
    return (f"{head} first {row['first']:5.2f} s   NumPy {row['numpy_min']:10.1f} ({row['numpy_median']:.1f}) us   "
            f"sparsec {row['min']:9.1f} ({row['median']:.1f}) us   {row['ratio']:6.2f}x   "
            f"copy {share(row):3.0f}%")


def share(row: dict[str, Any]) -> float:
    """Percent of the bandwidth that a copy has."""
    return 100 * float(row["copy_min"]) / float(row["min"])


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table; times are minima in microseconds."""
    out = ["| function | size | NumPy | sparsec | ratio | of a copy's bandwidth |", "|---|---|---|---|---|---|"]
    for r in rows:
        figures = r["problem"] + " | | | " if "problem" in r else (
            f"{r['numpy_min']:.1f} | {r['min']:.1f} | {r['ratio']:.2f}x | {share(r):.0f}%")
        out.append(f"| {r['name']} | {r['size']} | {figures} |")
    sizes = dict.fromkeys(r["size"] for r in rows)
    out += [f"| **geometric mean** | {s} | | | {geomean(rows, s):.2f}x | |" for s in sizes]
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    sys.exit(main())
