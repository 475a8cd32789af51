"""Convolutions of small images: constant weights, of which a copy in blocks of outputs is kept, against plain ones.

    python -m benchmarks.packed [--rounds 30] [--layers 512x3,1024x1] [--size 7] [--cold 0]

One image, float32, one thread, as many outputs as inputs; `live` is half of both, the inputs by an index known at run
time, summed over channels so that a plain array comes back. Values are compared first. Shown are minima over
interleaved rounds in microseconds, how many times faster the constant is, and megabytes of its copy. --cold:
megabytes that are written between calls, so that weights come from memory.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

import sparsec
from sparsec import nn
from sparsec.sparse import from_dense

__all__ = ["main"]


def layer(x: Any, w: Any) -> Any:
    return nn.relu(nn.conv2d(x, w, padding=w.shape[2] // 2)).sum(1)


def times(x: Any, weights: Sequence[Any], rounds: int, cold: np.ndarray) -> list[float]:
    """Microseconds with each of the weights. Raises AssertionError for a wrong value."""
    run = sparsec.jit(layer)
    want = run(x, weights[0])
    for w in weights:
        for _ in range(3):  # the third call is native
            np.testing.assert_allclose(run(x, w), want, rtol=1e-4, atol=1e-5 * float(np.abs(want).max()))
    best = [float("inf")] * len(weights)
    for _ in range(rounds):
        for k, w in enumerate(weights):
            for _ in range(3):
                cold += 1
                start = time.perf_counter()
                run(x, w)
                best[k] = min(best[k], 1e6 * (time.perf_counter() - start))
    return best


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Convolutions with constant weights.")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--layers", default="256x3,512x3,512x1,1024x1", help="channels x kernel")
    parser.add_argument("--size", type=int, default=7)
    parser.add_argument("--cold", type=int, default=0)
    args = parser.parse_args(argv)
    sparsec.set_num_threads(1)
    rng, cold = np.random.default_rng(0), np.zeros(args.cold << 18, np.float32)
    print(f"{'layer':<16} {'channels':<8} {'array us':>9} {'constant us':>12} {'faster':>8} {'MB':>6}")
    for text in args.layers.split(","):
        channels, kernel = map(int, text.split("x"))
        x = rng.standard_normal((1, channels, args.size, args.size)).astype(np.float32)
        w = rng.standard_normal((channels, channels, kernel, kernel)).astype(np.float32)
        keep = np.sort(rng.choice(channels, channels // 2, replace=False))
        half = from_dense(x, keep=keep, ratio=0.5), from_dense(w, keep=keep, ratio=0.5, axis=0)
        for name, given, weight in (("all", x, w), ("live", *half)):
            fixed = sparsec.constant(weight)
            plain, packed = times(given, (weight, fixed), args.rounds, cold)
            megabytes = sparsec.jit(layer).memory_analysis(given, fixed).packed_weights / 1e6
            title = f"{kernel}x{kernel} {channels}@{args.size}"
            print(f"{title:<16} {name:<8} {plain:>9.1f} {packed:>12.1f} {plain / packed:>7.2f}x {megabytes:>6.2f}",
                  flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
