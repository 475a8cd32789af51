"""What loops cost to compile and to run: seconds, and the memory that NumPy and sparsec add, each in a process of
its own.

    python -m benchmarks.control_flow [--size 2000]

A loop of 10^6 turns, and a triangular factorisation written as NumPy loops over slices. "peak" is how much the
process grew while the function ran.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

import sparsec


def long_loop(x: Any) -> Any:
    """A recurrence of 10^6 turns."""
    total = 0.0
    for i in range(1_000_000):
        total = total * 0.5 + x[i % 7]
    return total


def cholesky(a: Any) -> Any:
    """The lower factor in place, column by column; half of the matrix is left as it was."""
    for j in range(a.shape[0]):
        a[j, j] = np.sqrt(a[j, j] - a[j, :j] @ a[j, :j])
        a[j + 1 :, j] = (a[j + 1 :, j] - a[j + 1 :, :j] @ a[j, :j]) / a[j, j]
    return a


FUNCTIONS = {"long_loop": long_loop, "cholesky": cholesky}


def argument(name: str, size: int) -> Any:
    if name == "long_loop":
        return np.arange(7.0)
    a = np.random.default_rng(0).uniform(-1, 1, (size, size))
    a += a.T
    a[np.arange(size), np.arange(size)] += 2.0 * size
    return a


def peak() -> float:
    """Megabytes that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(name: str, tool: str, size: int) -> str:
    """One row, in this process."""
    function: Any = FUNCTIONS[name]
    given = argument(name, size)
    seconds = cpu = 0.0
    if tool == "sparsec":
        sparsec.jit(lambda x: x + 1)(np.zeros(3))  # what the first compilation of a process loads
        function = sparsec.jit(function)
        begin, used = time.perf_counter(), time.process_time()
        function.lower(given).compile()
        seconds, cpu = time.perf_counter() - begin, time.process_time() - used
    before = peak()
    begin = time.perf_counter()
    result = function(given)
    ran = time.perf_counter() - begin
    return (f"{name:10} {tool:8} compile {seconds:5.2f} s ({cpu:.2f} s of CPU)   run {ran:6.2f} s   "
            f"peak {peak() - before:+7.1f} MB   {float(np.sum(result)):.12g}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2000)
    parser.add_argument("--one", nargs=2, metavar=("FUNCTION", "TOOL"), help="measure in this process")
    args = parser.parse_args()
    if args.one:
        name, tool = args.one
        print(measure(name, tool, args.size))
        return 0
    with tempfile.TemporaryDirectory() as empty:  # so that nothing has been compiled before
        for name in FUNCTIONS:
            for tool in ("numpy", "sparsec"):
                command = [sys.executable, "-m", "benchmarks.control_flow", "--size", str(args.size)]
                environment = {**os.environ, "SPARSEC_CACHE_DIR": empty}
                subprocess.run([*command, "--one", name, tool], check=True, env=environment)
    return 0


if __name__ == "__main__":
    sys.exit(main())
