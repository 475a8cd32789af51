"""ResNet-18 with pruned channels against itself with all of them: equal values, time, memory.

Channels are pruned by weight at several ratios; residual streams share an index, so that an add keeps its channels,
or each convolution keeps its own, so that an add has the union of two. The dense network that a pruned one is
compared with is masked: the same numbers, zeros in the pruned channels.

    python -m examples.resnet                       # ResNet-18 at 224 x 224, ratios 0.3, 0.5 and 0.7
    python -m examples.resnet --network mobilenet --ratios 0.5
    python -m examples.resnet --constant            # weights that stay as they are may be kept in a second order
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import sparsec
from examples import networks

NETWORKS: dict[str, tuple[Callable[[], Any], Callable[..., Any]]] = {
    "resnet18": (networks.resnet18, networks.forward_resnet18),
    "mobilenet": (networks.mobilenet, networks.forward_mobilenet),
}

#: How far logits may be apart, in parts of the largest: sums of thousands of terms in another order.
TOLERANCE = 1e-5


def measure(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The least time of each call in milliseconds, taken in turn."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            best[name] = min(best[name], 1e3 * (time.perf_counter() - start))
    return best


def compare(
    forward: Callable[..., Any], params: Any, image: np.ndarray, ratio: float, shared: bool, rounds: int,
    constant: bool = False,
) -> bool:
    """Prints one row of the table; False if values differ."""
    pruned = networks.prune(params, ratio, shared)
    sparse, dense = networks.arguments(pruned), networks.arguments(networks.masked(pruned))
    if constant:
        sparse = sparsec.constant(sparse)
    run = sparsec.jit(forward)
    mine, whole = run(image, sparse), run(image, dense)
    error = float(np.abs(mine - whole).max() / np.abs(whole).max())
    times = measure({"dense": lambda: run(image, dense), "sparse": lambda: run(image, sparse)}, rounds)
    memory = run.memory_analysis(image, sparse)
    assert memory.dense is not None
    equal = error <= TOLERANCE
    print(
        f"{ratio:>6.0%} {'shared' if shared else 'own':>8} {'yes' if equal else f'NO ({error:.1e})':>6} "
        f"{times['dense']:>10.1f} {times['sparse']:>10.1f} {times['dense'] / times['sparse']:>7.2f}x "
        f"{memory.dense.total / 1e6:>9.1f} {memory.total / 1e6:>9.1f} {memory.total / memory.dense.total:>7.2f} "
        f"{memory.weight_temporaries:>8}",
        flush=True,
    )
    return equal


def main() -> int:
    """0 if all values are equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default="resnet18")
    parser.add_argument("--ratios", default="0.3,0.5,0.7", help="parts of the channels that go")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--constant", action="store_true", help="nobody writes to the sparse network's parameters")
    args = parser.parse_args()
    make, forward = NETWORKS[args.network]
    image = np.random.default_rng(1).normal(size=(1, 3, args.size, args.size)).astype(np.float32)
    params = make()
    print(f"{args.network} at {args.size} x {args.size}: channels pruned against all channels, masked\n")
    print("pruned  indexes  equal   dense ms  sparse ms   faster  dense MB sparse MB    part  weights copied")
    ratios = [float(r) for r in args.ratios.split(",")]
    good = [
        compare(forward, params, image, ratio, shared, args.rounds, args.constant)
        for ratio in ratios for shared in ((True, False) if ratio == 0.5 else (True,))
    ]  # fmt: skip
    print("\nMB: planned temporaries, parameters and results. `f.memory_analysis(...)` and `f.cost_analysis(...)` "
          "give the figures, `sparsec explain` the rest.")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
