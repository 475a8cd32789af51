"""The twenty-one functions by sparsec and by every peer that is installed, side by side.

    python -m benchmarks.peers [--seconds 2] [--sizes small,large] [--threads 1,2] [--only nms,focus]
                               [--out benchmarks/results] [--readme]

For each number of threads one process, bound to as many CPUs: there, all tools check their values against NumPy's,
then run in turn, batch by batch, so that a noisy moment hits all of them. `--out` writes peers.json, peers.md and
a plot for each table; `--readme` puts the summary into the README. `pip install 'sparsec[bench]'` brings the peers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each row, compilation aside")
    parser.add_argument("--sizes", default="small,large")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--only", default="", help="comma-separated names")
    parser.add_argument("--out", type=Path, help="a folder for the results")
    parser.add_argument("--readme", action="store_true", help="put the summary into the README")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        args.worker.write_text(json.dumps(measured(args)), encoding="utf-8")
        return 0
    data: dict[str, Any] = {}
    for threads in args.threads.split(","):
        found = in_process(int(threads))
        data = {**found, "rows": [*data.get("rows", []), *found["rows"]]}
    if args.out:
        write(data, args.out)
    if args.readme:
        put_into_readme(data, ROOT / "README.md")
    return 0


def in_process(threads: int) -> dict[str, Any]:
    """The rows, from a process of its own that has never had more threads or CPUs."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "rows.json"
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS",
                 "SPARSEC_NUM_THREADS")
        env = {**os.environ, **dict.fromkeys(names, str(threads)), "JAX_PLATFORMS": "cpu",
               # First calls compile: nothing is left over from an earlier run.
               "SPARSEC_CACHE_DIR": folder, "TORCHINDUCTOR_CACHE_DIR": folder,
               "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
        command = [sys.executable, "-m", "benchmarks.peers", *sys.argv[1:], "--threads", str(threads),
                   "--worker", str(result)]
        subprocess.run(command, env=env, check=True)
        found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found


def measured(args: argparse.Namespace) -> dict[str, Any]:
    """In the worker: every row, printed as it comes."""
    threads = int(args.threads)
    usable = machine_facts_after_binding(threads)
    from benchmarks.peers.contenders import versions
    from benchmarks.peers.measure import row
    from benchmarks.postprocess import CASES

    rows = []
    for size in args.sizes.split(","):
        for name, case in CASES.items():
            if args.only and name not in args.only.split(","):
                continue
            found = {**row(case, size, args.seconds), "threads": threads}
            rows.append(found)
            shown = ", ".join(f"{n} {r.get('problem') or format(r['min'], '.1f') + r['mark']}"
                              for n, r in found["results"].items())
            print(f"{threads} {size:6} {name:17} {shown}", flush=True)
    return {"machine": usable, "versions": versions(), "rows": rows}


def machine_facts_after_binding(threads: int) -> dict[str, str]:
    """The machine as it is; then this process gets as many CPUs as threads (where the system can)."""
    from benchmarks.machine import machine_facts

    facts = machine_facts()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    return facts


def write(data: dict[str, Any], folder: Path) -> None:
    from benchmarks.peers.contenders import NAMES
    from benchmarks.peers.table import markdown
    from benchmarks.plot import dots

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "peers.json").write_text(json.dumps(rounded(data), indent=1) + "\n", encoding="utf-8")
    (folder / "peers.md").write_text(markdown(data), encoding="utf-8")
    for threads in sorted({r["threads"] for r in data["rows"]}):
        for size in dict.fromkeys(r["size"] for r in data["rows"]):
            rows = [r for r in data["rows"] if r["threads"] == threads and r["size"] == size]
            names = [n for n in NAMES[1:] if any("min" in r["results"].get(n, {}) for r in rows)]
            points = {r["name"]: {n: r["results"]["numpy"]["min"] / r["results"][n]["min"] for n in names
                                  if "min" in r["results"].get(n, {})} for r in rows}
            title = f"Times faster than NumPy: {size}, {threads} thread{'s' * (threads != 1)}"
            (folder / f"peers-{size}-{threads}.svg").write_text(dots(title, points, names), encoding="utf-8")


def rounded(value: Any) -> Any:
    """Four digits are more than a timing has."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


def put_into_readme(data: dict[str, Any], readme: Path) -> None:
    """Between the two marks."""
    from benchmarks.peers.table import summary

    start, end = "<!-- peers -->\n", "<!-- /peers -->"
    text = readme.read_text(encoding="utf-8")
    head, _, rest = text.partition(start)
    _, found, tail = rest.partition(end)
    if not found:
        raise SystemExit(f"{readme} has no {start.strip()} … {end}")
    readme.write_text(f"{head}{start}{summary(data)}\n{end}{tail}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
