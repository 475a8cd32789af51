"""Time of each function of our vector math, in cache, beside the C library, NumPy and torch; a table for docs.

    python -m benchmarks.math_speed [--rounds 40] [names...]
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.math_kernels import Compiled, numpy_function
from sparsec.codegen.vector_math import EXPANSIONS
from sparsec.ir.scalar import FNS
from sparsec.runtime.cpu import optimised_text

DOCS = Path(__file__).parent.parent / "docs" / "math.md"
START, END = "<!-- speed: begin -->\n", "<!-- speed: end -->\n"
COUNT, CALLS = 4096, 10

#: Where a function has something to compute; the others get (-10, 10).
DOMAINS = {
    "acosh": (1, 20), "asin": (-1, 1), "acos": (-1, 1), "atanh": (-0.99, 0.99), "pow": (0.1, 10),
    "log": (0.01, 100), "log2": (0.01, 100), "log10": (0.01, 100), "log1p": (-0.9, 10),
}  # fmt: skip


def torch_function(name: str) -> Callable[..., object] | None:
    """torch's function with an `out` argument, if torch is installed and has it."""
    try:
        import torch
    except ModuleNotFoundError:
        return None
    torch.set_num_threads(1)
    return getattr(torch, name, None)


def calls(name: str, dtype: np.dtype) -> dict[str, Callable[[], object]]:
    """Who takes part, each ready to be called."""
    rng = np.random.default_rng(1)
    low, high = DOMAINS.get(name, (-10, 10))
    inputs = [rng.uniform(low, high, COUNT).astype(dtype) for _ in range(FNS[name].arity)]
    out = np.empty(COUNT, dtype)
    numpy = numpy_function(name)
    found: dict[str, Callable[[], object]] = {
        "own": Compiled(name, dtype, COUNT).bind(inputs, out),
        "lib": Compiled(name, dtype, COUNT, own=False).bind(inputs, out),
        "numpy": lambda: numpy(*inputs, out=out),
    }
    torch = torch_function(name)
    if torch is not None:
        import torch as library

        tensors, result = [library.from_numpy(x) for x in inputs], library.from_numpy(out)
        found["torch"] = lambda: torch(*tensors, out=result)
    return found


def times(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Nanoseconds for each element: the best of batches that take turns."""
    best = dict.fromkeys(functions, float("inf"))
    for _ in range(rounds):
        for who, call in functions.items():
            start = time.perf_counter()
            for _ in range(CALLS):
                call()
            best[who] = min(best[who], (time.perf_counter() - start) / CALLS / COUNT * 1e9)
    return best


def vector_bits(name: str, dtype: np.dtype) -> int:
    """The widest vectors of floats that LLVM made."""
    text = optimised_text(Compiled(name, dtype, COUNT).llvm)
    lanes = [int(n) for n in re.findall(r"<(\d+) x (?:float|double)>", text)]
    return max(lanes, default=1) * 8 * dtype.itemsize


def row(name: str, rounds: int) -> str:
    """A line of the table: both widths."""
    cells = [name]
    for dtype in (np.dtype("f4"), np.dtype("f8")):
        best = times(calls(name, dtype), rounds)
        shown = [f"{best[who]:.2f}" if who in best else "-" for who in ("own", "lib", "numpy", "torch")]
        cells += [*shown, str(vector_bits(name, dtype))]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="functions; default: all, and the table goes to docs/math.md")
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    columns = ("own", "lib", "numpy", "torch", "bits")
    head = " | ".join(f"{who} {width}" for width in ("f32", "f64") for who in columns)
    lines = [f"| function | {head} |", "|---" * 11 + "|"]
    for name in options.names or EXPANSIONS:
        lines.append(row(name, options.rounds))
        print(lines[-1], flush=True)
    if not options.names and DOCS.exists():
        page = DOCS.read_text(encoding="utf-8")
        before, rest = page.split(START)
        DOCS.write_text(f"{before}{START}" + "\n".join(lines) + f"\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
