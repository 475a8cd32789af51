"""Dense layers over features of which some channels are live, against the dense layer of the same shape.

    python -m benchmarks.dense_layers [--rounds 200] [--shapes 1x512x1000,8x512x1000] [--live 0.5,0.25,0.1]

`nn.linear` with a weight [out, in] and a bias, float32, inputs live at random. Values are checked first. Shown are
minima over interleaved rounds, in microseconds of the thread's processor time, and how many times faster than the
dense layer each is. `constant`: the weight is one (`sparsec.constant`), of which a copy in blocks of outputs is kept.
`in, out`: x @ w, with a weight in the other order. The last rows: a weight over flattened
images, whose channels are runs of features.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import sparsec
from sparsec import nn
from sparsec.sparse import from_dense

__all__ = ["main"]

SHAPES = "1x512x1000,4x512x1000,8x512x1000,64x512x1000,1x4096x1024"

Layer = Callable[..., Any]


def out_in(x: Any, w: Any) -> Any:
    return nn.linear(x, w)


def in_out(x: Any, w: Any) -> Any:
    return np.matmul(x, w)


def flattened(x: Any, w: Any) -> Any:
    return nn.linear(nn.flatten(x, 1), w)


def times(layer: Layer, x: np.ndarray, w: np.ndarray, live: Sequence[float], rounds: int) -> list[float]:
    """Microseconds of the dense layer, then for each share of live channels. Raises AssertionError for a wrong
    value."""
    rng = np.random.default_rng(0)
    runs = []
    for share in (None, *live):
        given: Any = x
        if share is not None:
            keep = np.sort(rng.choice(x.shape[1], max(1, int(x.shape[1] * share)), replace=False))
            given = from_dense(x, keep=keep, ratio=1 - share)
        compiled = sparsec.jit(layer)
        want = layer(np.asarray(given), w)
        for _ in range(3):  # the third call is native
            np.testing.assert_allclose(compiled(given, w), want, rtol=1e-4, atol=1e-5 * float(np.abs(want).max()))
        runs.append((compiled, given))
    best = [float("inf")] * len(runs)
    for _ in range(rounds):
        for k, (compiled, given) in enumerate(runs):
            start = time.thread_time()
            compiled(given, w)
            best[k] = min(best[k], 1e6 * (time.thread_time() - start))
    return best


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Dense layers over sparse features.")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--shapes", default=SHAPES, help="rows x inputs x outputs")
    parser.add_argument("--live", default="0.5,0.25,0.1")
    args = parser.parse_args(argv)
    live = [float(share) for share in args.live.split(",")]
    rng = np.random.default_rng(1)
    print("layer".ljust(32), "dense us".rjust(9), *(f"{share:.0%} live".rjust(18) for share in live))

    def row(name: str, layer: Layer, x: tuple[int, ...], w: tuple[int, ...], fixed: bool = False) -> None:
        given, weight = (rng.standard_normal(s).astype(np.float32) for s in (x, w))
        dense, *found = times(layer, given, sparsec.constant(weight) if fixed else weight, live, args.rounds)
        print(name.ljust(32), f"{dense:9.1f}", *(f"{us:9.1f} {dense / us:7.2f}x" for us in found), flush=True)

    for shape in args.shapes.split(","):
        rows, inputs, outputs = map(int, shape.split("x"))
        row(f"{shape} out, in", out_in, (rows, inputs), (outputs, inputs))
        row(f"{shape} out, in, constant", out_in, (rows, inputs), (outputs, inputs), fixed=True)
        row(f"{shape} in, out", in_out, (rows, inputs), (inputs, outputs))
    row("256 of 7 x 7, to 512", flattened, (1, 256, 7, 7), (512, 256 * 49))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
