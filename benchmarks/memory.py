"""Memory of ResNet-18, dense and with pruned channels: what is planned against what a process really takes.

    python -m benchmarks.memory [--size 224] [--ratios 0.35,0.5] [--network resnet18] [--json FILE]

Each network runs in a process of its own, which compiles it and calls it once. Then it makes the parameters anew,
calls again, and reports how far its peak rose meanwhile: parameters, temporaries and results, and whatever else the
call took. Beside that, what `f.memory_analysis(...)` plans for the same call. With indexes of their own shortcut and
main path have unions: the plan has room for the largest that there may be, `in use` is what this call needed of it.
Linux only: /proc/self has the figures.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine_facts

#: How far the process may be from the plan.
TOLERANCE = 0.10

#: Pages go back when arrays are freed, so that what is measured next is what is allocated next.
_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0", "SPARSEC_NUM_THREADS": "1"}


def measure(network: str, size: int, ratio: float, shared: bool) -> dict[str, int]:
    """In the process itself: bytes planned, and by how much its peak rose. A ratio of 0 is the dense network."""
    import sparsec
    from examples import networks
    from examples.resnet import NETWORKS

    make, forward = NETWORKS[network]
    params = make()
    params = networks.arguments(networks.prune(params, ratio, shared) if ratio else params)
    image = np.random.default_rng(1).normal(size=(1, 3, size, size)).astype(np.float32)
    function = sparsec.jit(forward)
    plan = function.memory_analysis(image, params)
    compiled = function.trace(image, params).compile()
    compiled(image, params)
    before = _settled()
    mine = copy.deepcopy((image, params))  # arrays that are shared stay shared
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    compiled(*mine)
    return {
        "measured": _status("VmHWM") - before, "total": plan.total, "peak": plan.peak, "used": plan.used,
        "parameters": plan.parameters, "weight_temporaries": plan.weight_temporaries,
    }


def _settled() -> int:
    """Bytes in memory once everything that is free has been given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return _status("VmRSS")


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {key}")


def in_a_process(network: str, size: int, ratio: float, shared: bool) -> dict[str, int]:
    """`measure` in a new process."""
    command = [sys.executable, "-m", "benchmarks.memory", "--child", network, str(size), str(ratio), str(int(shared))]
    done = subprocess.run(command, env={**os.environ, **_ENVIRONMENT}, capture_output=True, text=True, check=True)
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    """0 if every process took what was planned."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet18", choices=("resnet18", "mobilenet"))
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--ratios", default="0.35,0.5")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        network, size, ratio, shared = args.child
        print(json.dumps(measure(network, int(size), float(ratio), shared == "1")))
        return 0
    ratios = [float(r) for r in args.ratios.split(",")]
    cases = [(0.0, True), *((r, s) for r in ratios for s in (True, False))]
    print(f"{args.network} at {args.size} x {args.size}, MB\n")
    print("pruned  indexes  temporaries  in use  parameters    plan  of dense  weights copied  process  of plan")
    rows: list[dict[str, Any]] = []
    for ratio, shared in cases:
        found = in_a_process(args.network, args.size, ratio, shared)
        rows.append({"ratio": ratio, "indexes": "shared" if shared else "own", **found})
        print(
            f"{ratio:>6.0%} {(rows[-1]['indexes'] if ratio else '-'):>8} {found['peak'] / 1e6:>12.2f} "
            f"{found['used'] / 1e6:>7.2f} {found['parameters'] / 1e6:>11.2f} {found['total'] / 1e6:>7.2f} "
            f"{found['total'] / rows[0]['total']:>9.2f} {found['weight_temporaries']:>15} "
            f"{found['measured'] / 1e6:>8.2f} {found['measured'] / found['total']:>8.2f}", flush=True,
        )  # fmt: skip
    if args.json:
        Path(args.json).write_text(json.dumps({"machine": machine_facts(), "rows": rows}, indent=1) + "\n")
    return 0 if all(abs(r["measured"] / r["total"] - 1) <= TOLERANCE for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
