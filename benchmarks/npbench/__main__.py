"""NPBench's NumPy kernels, compiled unmodified and compared with NumPy.

    python -m benchmarks.npbench CHECKOUT [--preset S] [--only lu,gemm] [--backend cpu] [--time] [--scale 0.1]

Every argument that a kernel may change is compared, as is everything that it returns. Exit status 1 if any
kernel differs or is refused. One kernel (spmv) makes its input with SciPy.
"""

from __future__ import annotations

import argparse
import copy
import math
import statistics
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import sparsec
from benchmarks.npbench.suite import Kernel, load
from sparsec.errors import SparsecError


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--preset", default="S")
    parser.add_argument("--only", default="", help="comma-separated kernel names")
    parser.add_argument("--backend", default="cpu")
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the preset's sizes")
    parser.add_argument("--time", action="store_true", help="also time both, interleaved")
    parser.add_argument("--trace", action="store_true", help="show tracebacks of refusals")
    args = parser.parse_args()
    chosen = [k for k in load(args.checkout) if not args.only or k.name in args.only.split(",")]
    failed, ratios = 0, []
    for number, kernel in enumerate(chosen, 1):
        print(f"[{number:2}/{len(chosen)}] {kernel.name:12}", end=" ", flush=True)
        verdict, ratio = run(kernel, args)
        print(verdict, flush=True)
        failed += not verdict.startswith("equal")
        if ratio:
            ratios.append(ratio)
    if ratios:
        print(f"geometric mean of NumPy time / ours: {math.exp(statistics.fmean(map(math.log, ratios))):.2f}")
    print(f"{len(chosen) - failed} of {len(chosen)} equal")
    return 1 if failed else 0


def run(kernel: Kernel, args: argparse.Namespace) -> tuple[str, float]:
    """What came of one kernel, and how many times faster than NumPy it was (0: not timed)."""
    try:
        given = kernel.arguments(args.preset, args.scale)
    except Exception:  # sizes that must fit together (layers of a network) cannot be scaled
        if args.scale == 1.0:
            raise
        given = kernel.arguments(args.preset)
    wanted, ours = copy.deepcopy(given), copy.deepcopy(given)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        want = kernel.function(*wanted)
        numpy_seconds = time.perf_counter() - start
        compiled = sparsec.jit(kernel.function, backend=args.backend)
        try:
            start = time.perf_counter()
            got = compiled(*ours)
            first_seconds = time.perf_counter() - start
        except SparsecError as error:
            if args.trace:
                traceback.print_exc()
            return f"refused: {str(error).splitlines()[0]} ({error.loc})", 0.0
        except Exception as error:
            if args.trace:
                traceback.print_exc()
            return f"FAILED: {type(error).__name__}: {str(error)[:150]}", 0.0
        problem = difference(want, got) or difference(wanted, ours)
        if problem:
            return f"DIFFERS: {problem}", 0.0
        text = f"equal   first call {first_seconds:6.2f} s (NumPy {numpy_seconds:.3f} s)"
        if not args.time:
            return text, 0.0
        mine, theirs = timed(compiled, kernel.function, given)
    return (
        f"{text}   NumPy {theirs * 1e3:9.3f} ms   ours {mine * 1e3:9.3f} ms   {theirs / mine:6.2f}x",
        theirs / mine,
    )


def timed(compiled: Any, function: Any, given: list[Any], budget: float = 2.0) -> tuple[float, float]:
    """Minima of calls in turn, on fresh copies of the arguments. Who goes first changes with every round."""
    mine: list[float] = []
    theirs: list[float] = []
    begin = time.perf_counter()
    while len(mine) < 3 or (time.perf_counter() - begin < budget and len(mine) < 50):
        for seconds, call in ((mine, compiled), (theirs, function))[:: 1 - len(mine) % 2 * 2]:
            fresh = copy.deepcopy(given)
            start = time.perf_counter()
            call(*fresh)
            seconds.append(time.perf_counter() - start)
    return min(mine), min(theirs)


def difference(want: Any, got: Any, path: str = "") -> str:
    """Where two results differ, or ""; floats may differ by rounding in another order."""
    if isinstance(want, (tuple, list)):
        if not isinstance(got, (tuple, list)) or len(want) != len(got):
            return f"{path}: {type(got).__name__} for {type(want).__name__} of {len(want)}"
        found = (difference(w, g, f"{path}[{k}]") for k, (w, g) in enumerate(zip(want, got, strict=True)))
        return next(filter(None, found), "")
    if want is None or isinstance(want, str):
        return "" if got == want else f"{path}: {got!r} for {want!r}"
    if not isinstance(want, (np.ndarray, np.generic, int, float, complex)):
        return ""  # a sparse matrix, a generator: never written by a kernel
    a, b = np.asarray(want), np.asarray(got)
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"{path}: {b.dtype}{b.shape} for {a.dtype}{a.shape}"
    exact = a.dtype.kind in "biu"
    same = (
        np.array_equal(a, b)
        if exact
        else np.allclose(
            a,
            b,
            rtol=1e-5 if a.dtype.itemsize <= 4 else 1e-9,
            atol=1e-6 * (np.abs(a[np.isfinite(a)]).max(initial=0)),
            equal_nan=True,
        )
    )
    return "" if same else f"{path}: values differ"


if __name__ == "__main__":
    sys.exit(main())
