"""Convolutions with pruned weights against our own dense convolution of the same shape: where do they win?

    python -m benchmarks.pruned [--json FILE] [--rounds 40] [--layers 64@56] [--densities 0.5,0.1]

One image, 3x3 float32, padding 1. Every kernel keeps 4 of its 9 taps, by one of at most 8 patterns; with
connectivity, 1 of 3.6 kernels is left, too. The same weight is computed with more and more passes switched on
(`sparsec/passes/pruned_kernels.py`):

    elements     none: every element with a place of its own
    + compress   one place for each kernel, the taps from a library of patterns
    + reorder    filters reordered, so that kernels that read the same go together
    + share      what they read is loaded once: the default
    stored so    the default, for a weight that the pruner stored reordered: no lists are made at each call

Values are checked against the dense convolution of the same weight first. Shown are minima of the thread's
processor time over interleaved rounds, and how many times faster than the dense convolution (of all elements) each
is. The second table gives the density below which unstructured weights win.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import sparsec
from sparsec import nn
from sparsec.sparse import prune

__all__ = ["LAYERS", "main", "measure"]

#: Channels and height of the images.
LAYERS = ((64, 56), (128, 28), (256, 14))

#: The share of kernels that connectivity pruning takes away on top of patterns.
CONNECTIVITY = 1 - 1 / 3.6


#: Which passes are switched off, by what is left.
ABLATION = {"elements": "compress=0", "+ compress": "reorder=0", "+ reorder": "share=0", "+ share": ""}

STORED = "stored so"


def measure(runs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Milliseconds of each, taken in turn."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.thread_time()
            run()
            best[name] = min(best[name], 1e3 * (time.thread_time() - start))
    return best


def layer_times(
    channels: int, size: int, weights: dict[str, tuple[Any, str]], dense: np.ndarray, rounds: int
) -> dict[str, float]:
    """Milliseconds with each weight, by a function of these choices, and with the `dense` one. Raises AssertionError
    for a wrong value."""
    x = np.random.default_rng(1).uniform(-1, 1, (1, channels, size, size)).astype(np.float32)
    conv = _layer("")
    runs: dict[str, Callable[[], Any]] = {"dense": functools.partial(conv, x, dense)}
    for name, (weight, choices) in weights.items():
        want, layer = conv(x, weight.to_dense()), _layer(choices)
        for _ in range(3):  # the third call is native
            np.testing.assert_allclose(layer(x, weight), want, rtol=1e-4, atol=1e-4 * float(np.abs(want).max()))
        runs[name] = functools.partial(layer, x, weight)
    return measure(runs, rounds)


def _layer(choices: str) -> Callable[..., Any]:
    return sparsec.jit(lambda x, w: nn.conv2d(x, w, padding=1), choices=choices)


def pattern_rows(layers: Sequence[tuple[int, int]], rounds: int) -> list[dict[str, Any]]:
    """A row for each layer, with and without connectivity pruning."""
    rows = []
    for channels, size in layers:
        dense = _dense(channels)
        for connectivity in (0.0, CONNECTIVITY):
            plain, stored = (prune(dense, "pattern", connectivity=connectivity, reorder=r) for r in (False, True))
            made = {name: (plain, choices) for name, choices in ABLATION.items()} | {STORED: (stored, "")}
            times = layer_times(channels, size, made, dense, rounds)
            rows.append({"layer": f"{channels}@{size}", "density": plain.density, "ms": times})
    return rows


def unstructured_rows(
    layers: Sequence[tuple[int, int]], densities: Sequence[float], rounds: int
) -> list[dict[str, Any]]:
    """How many times faster than dense, by density."""
    rows = []
    for channels, size in layers:
        dense = _dense(channels)
        made = {f"{d:g}": (prune(dense, "unstructured", ratio=1 - d), "") for d in densities}
        times = layer_times(channels, size, made, dense, rounds)
        gains = {name: times["dense"] / times[name] for name in made}
        rows.append({"layer": f"{channels}@{size}", "faster": gains, "below": _crossing(gains)})
    return rows


def _crossing(gains: dict[str, float]) -> float:
    """The density at which the gain is 1, between two that were measured; 0 and 1 where none of them was."""
    points = sorted((float(d), gain) for d, gain in gains.items())
    if points[0][1] < 1:
        return 0.0
    for (d, gain), (e, next_gain) in pairwise(points):
        if next_gain < 1 <= gain:
            return d + (e - d) * (gain - 1) / (gain - next_gain)
    return 1.0


def _dense(channels: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (channels, channels, 3, 3)).astype(np.float32)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(argv: list[str] | None = None) -> int:
    """Prints the tables; writes JSON where asked."""
    parser = argparse.ArgumentParser(prog="benchmarks.pruned", description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--layers", default="", help="only those whose name contains this")
    parser.add_argument("--densities", default="0.8,0.6,0.5,0.3,0.2,0.1,0.05", help="of unstructured weights")
    options = parser.parse_args(argv)
    sparsec.set_num_threads(1)
    layers = [(c, s) for c, s in LAYERS if options.layers in f"{c}@{s}"]
    patterns = pattern_rows(layers, options.rounds)
    formats = (*ABLATION, STORED)
    print(_table(
        ("3x3 layer", "density", "dense ms", *formats, *(f"{f}: faster" for f in formats)),
        [(r["layer"], f"{r['density']:.3f}", *(f"{r['ms'][f]:.3f}" for f in ("dense", *formats)),
          *(f"{r['ms']['dense'] / r['ms'][f]:.2f}x" for f in formats)) for r in patterns],
    ))  # fmt: skip
    densities = [float(d) for d in options.densities.split(",")]
    unstructured = unstructured_rows(layers, densities, options.rounds)
    print("\nUnstructured weights, times faster than dense by density:\n")
    print(_table(
        ("3x3 layer", *(f"{d:g}" for d in densities), "wins below"),
        [(r["layer"], *(f"{gain:.2f}x" for gain in r["faster"].values()), f"{r['below']:.2f}") for r in unstructured],
    ))  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps({"patterns": patterns, "unstructured": unstructured}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
