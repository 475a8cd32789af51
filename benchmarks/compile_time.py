"""How compile time grows with the length of a program: it should be a line.

    python -m benchmarks.compile_time [--sizes 10,30,100,300,1000] [--only chain,writes] [--out benchmarks/results]

Programs of n statements of several kinds are traced and compiled from nothing, stage by stage, the cache off. Shown
are the seconds of processor time of each stage, and how growth fits: the exponent of `seconds ~ n^k` between the two
largest sizes (1 is a line). `--out` writes compile_time.json and a plot.
"""

from __future__ import annotations

import argparse
import json
import linecache
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import sparsec
from benchmarks.machine import machine_facts
from benchmarks.plot import lines
from sparsec.compiler import Compilation
from sparsec.config import settings

__all__ = ["KINDS", "STAGES", "exponent", "main", "measure", "program"]

#: In order; each needs the one before. `trace` runs the user's function.
STAGES = ("trace", "passes", "lower", "legalize", "emit", "llvm")


def _chain(n: int) -> list[str]:
    return ["y = x", *(f"y = y * {1 + k % 7}.5 + x" for k in range(n)), "return y"]


def _writes(n: int) -> list[str]:
    return [f"x[{k % 64}:{k % 64 + 64}] += x[{(k * 7) % 128}:{(k * 7) % 128 + 64}]" for k in range(n)]


def _outputs(n: int) -> list[str]:
    return [*(f"y{k} = np.exp(x * {k}.0)" for k in range(n)), f"return [{', '.join(f'y{k}' for k in range(n))}]"]


def _elements(n: int) -> list[str]:
    return [f"x[{k % 256}] = x[{(k * 3 + 1) % 256}] + {k}.0" for k in range(n)]


def _reductions(n: int) -> list[str]:
    return ["s = 0.0", *(f"s = s + (x * {k}.0).sum()" for k in range(n)), "return s"]


def _loops(n: int) -> list[str]:
    out = []
    for k in range(max(n // 4, 1)):
        out += ["for i in range(50):", "    for j in range(20):", f"        x[i] += x[i + {1 + k % 9}]"]
        out += ["    x[0] += 1.0"]
    return out


KINDS: dict[str, Callable[[int], list[str]]] = {
    "chain": _chain, "writes": _writes, "outputs": _outputs, "elements": _elements, "reductions": _reductions,
    "loops": _loops,
}


def program(kind: str, n: int) -> Callable[..., Any]:
    """A function of about n statements, with its source where staging finds it."""
    source = "\n".join([f"def {kind}_{n}(x):", *(f"    {line}" for line in KINDS[kind](n)), ""])
    file = f"<{kind} {n}>"
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    space: dict[str, Any] = {"np": np}
    exec(compile(source, file, "exec"), space)  # noqa: S102  generated above
    made: Callable[..., Any] = space[f"{kind}_{n}"]
    return made


def measure(kind: str, n: int, repeat: int = 3) -> dict[str, float]:
    """Seconds of processor time of each stage, and `total`; the least of some repetitions."""
    best = dict.fromkeys((*STAGES, "total"), math.inf)
    for _ in range(repeat):
        found = _once(program(kind, n))
        best = {name: min(best[name], found[name]) for name in best}
    return best


def _once(function: Callable[..., Any]) -> dict[str, float]:
    from sparsec.runtime.cpu import compile_object

    x = np.ones(256)
    found: dict[str, float] = {}
    with settings.override(cache=False, verify=False):
        start = time.process_time()
        compilation: Compilation = sparsec.jit(function).trace(x).compilation
        steps: dict[str, Callable[[], Any]] = {
            "trace": lambda: None, "passes": lambda: compilation.planned, "lower": lambda: compilation.program,
            "legalize": lambda: compilation.legal, "emit": lambda: compilation.llvm,
            "llvm": lambda: [compile_object(module) for module in compilation.llvm],
        }
        for name in STAGES:
            steps[name]()
            now = time.process_time()
            found[name], start = now - start, now
    return {**found, "total": sum(found.values())}


def exponent(small: tuple[int, float], large: tuple[int, float]) -> float:
    """k of seconds ~ n^k through two points."""
    return math.log(large[1] / small[1]) / math.log(large[0] / small[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10,30,100,300,1000")
    parser.add_argument("--only", default="", help="comma-separated kinds: " + ", ".join(KINDS))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--out", type=Path, help="a folder for the results")
    args = parser.parse_args()
    sizes = sorted(map(int, args.sizes.split(",")))
    measure("chain", 10, 1)  # imports
    data: dict[str, Any] = {"machine": machine_facts(), "seconds": {}, "exponents": {}}
    for kind in [k for k in KINDS if not args.only or k in args.only.split(",")]:
        rows = {n: measure(kind, n, args.repeat) for n in sizes}
        data["seconds"][kind] = {str(n): {k: round(v, 5) for k, v in row.items()} for n, row in rows.items()}
        for n, row in rows.items():
            print(f"{kind:10} {n:5}  " + "  ".join(f"{k} {v:7.3f}" for k, v in row.items()), flush=True)
        if len(sizes) > 1:
            growth = {k: round(exponent((sizes[-2], rows[sizes[-2]][k]), (sizes[-1], rows[sizes[-1]][k])), 2)
                      for k in (*STAGES, "total")}
            data["exponents"][kind] = growth
            print(f"{kind:10} {'n^k':>5}  " + "  ".join(f"{k} {v:7.2f}" for k, v in growth.items()), flush=True)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "compile_time.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        points = {kind: [(int(n), row["total"]) for n, row in rows.items()] for kind, rows in data["seconds"].items()}
        picture = lines("Compile time, nothing cached", points, "statements", "seconds")
        (args.out / "compile_time.svg").write_text(picture, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
