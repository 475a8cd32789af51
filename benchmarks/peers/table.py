"""The measured rows as Markdown tables, and what the README shows of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.peers.contenders import NAMES

__all__ = ["markdown", "speedups", "summary"]

Row = Mapping[str, Any]


def speedups(rows: Sequence[Row], name: str) -> list[float]:
    """How many times faster than NumPy a contender is, for the rows that it can do."""
    return [r["results"]["numpy"]["min"] / r["results"][name]["min"] for r in rows if _ok(r, name)]


def _ok(row: Row, name: str) -> bool:
    return "min" in row["results"].get(name, {}) and "min" in row["results"].get("numpy", {})


def _present(rows: Sequence[Row]) -> list[str]:
    return [name for name in NAMES if any(name in r["results"] for r in rows)]


def markdown(data: Mapping[str, Any]) -> str:
    """Everything: one table for each number of threads and size."""
    count = len({r["name"] for r in data["rows"]})
    title = f"# {count} detection and vision functions, by every tool at hand"
    out = [title, "", _about(data) + _disturbed(data["rows"]), "", *_summary(data), ""]
    for threads, size, rows in _groups(data):
        names = _present(rows)
        ratios = ["times NumPy", "times best peer", "of copy bandwidth"]
        ratios += ["computing alone, of copy time"] * any(row.get("alone") for row in rows)
        out += [f"## {size.capitalize()}, {threads} thread{'s' * (threads != 1)}", "",
                "| function | " + " | ".join([*names, *ratios]) + " |", "|---" * (len(names) + len(ratios) + 1) + "|"]
        out += [_line(row, names, len(ratios)) for row in rows]
        means = [_mean(speedups(rows, name), len(rows)) for name in names]
        out += ["| **geometric mean over NumPy** | " + " | ".join(means) + " |" * (len(ratios) + 1), ""]
    out += [_NOTES, ""]
    return "\n".join(out)


def summary(data: Mapping[str, Any]) -> str:
    """The table of the README."""
    return "\n".join([_about(data), "", *_summary(data), "", _SHORT_NOTES + _disturbed(data["rows"])])


_SHORT_NOTES = (
    "Times NumPy: the geometric mean over the functions that a tool compiles and gets right, at their minima. "
    "Every function, slower ones too: [benchmarks/results/peers.md](benchmarks/results/peers.md)."
)

_NOTES = (
    "Minima over interleaved batches that other processes left alone, in microseconds per call, the Python call "
    "included; the JSON beside this file has medians as well. `FAIL`: it does not compile; `!`: wrong values; `e`: "
    "a part of it ran eager; `~`: there were too few such batches, so the figure is too large. Numba gets the NumPy "
    "function as it is (but `out=` by position and `np.bool_` for `bool`); torch gets versions with tensors, slices "
    "and `out=`; JAX gets rewrites without writes. Best peer: the fastest other tool with the right values. Of copy "
    "bandwidth: the time in which NumPy copies as many bytes as the function must move, over the function's time. "
    "The copy takes turns with the others, in batches of as many calls as sparsec's (the first call of a batch "
    "finds its data in memory, the others in the last cache what it left there), and goes where earlier copies "
    "went, as sparsec's results are put where earlier ones were. Computing alone, of copy time: what sparsec's code "
    "would take for all elements if they were in a second-level cache, by what it takes for fewer rows that are, "
    "over the time of the copy. From 100% on, computing binds the function; below, memory does."
)


def _disturbed(rows: Sequence[Row]) -> str:
    """A warning, where the machine was too busy."""
    found = [r["mark"] for row in rows for r in row["results"].values() if "min" in r]
    count = sum("~" in mark for mark in found)
    return f" The machine was busy: {count} of {len(found)} figures are too large (`~` there)." if count else ""


def _about(data: Mapping[str, Any]) -> str:
    facts = data["machine"]
    tools = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    return (f"{facts['date']}, {facts['cpu']} ({facts['llvm_cpu']}, {facts['usable_cpus']} usable CPUs), "
            f"Python {facts['python']}; {tools}.")


def _groups(data: Mapping[str, Any]) -> Iterator[tuple[int, str, list[Row]]]:
    for threads in sorted({r["threads"] for r in data["rows"]}):
        for size in dict.fromkeys(r["size"] for r in data["rows"]):
            rows = [r for r in data["rows"] if r["threads"] == threads and r["size"] == size]
            if rows:
                yield threads, size, rows


def _summary(data: Mapping[str, Any]) -> Iterator[str]:
    groups = list(_groups(data))
    heads = [f"{size}, {threads} thread{'s' * (threads != 1)}" for threads, size, _ in groups]
    yield "| times NumPy | " + " | ".join(heads) + " | median first call |"
    yield "|---" * (len(heads) + 2) + "|"
    for name in _present(data["rows"]):
        means = [_mean(speedups(rows, name), len(rows)) for _, _, rows in groups]
        first = [r["results"][name]["first"] for r in data["rows"] if "first" in r["results"].get(name, {})]
        shown = "" if name in ("numpy", "torch") or not first else f"{statistics.median(first):.2f} s"
        bold = "**" if name == "sparsec" else ""
        yield f"| {bold}{name}{bold} | " + " | ".join(f"{bold}{m}{bold}" for m in means) + f" | {shown} |"


def _mean(ratios: Sequence[float], total: int) -> str:
    if not ratios:
        return "-"
    mean = math.exp(statistics.fmean(map(math.log, ratios)))
    return f"{mean:.2f}" + ("" if len(ratios) == total else f" ({len(ratios)} of {total})")


def _line(row: Row, names: Sequence[str], ratios: int) -> str:
    cells = [_cell(row["results"].get(name, {})) for name in names]
    ours, numpy = row["results"].get("sparsec", {}).get("min"), row["results"].get("numpy", {}).get("min")
    others = [row["results"][n]["min"] for n in names if n not in ("numpy", "sparsec") and _ok(row, n)]
    over = [f"{numpy / ours:.2f}" if ours and numpy else "", f"{min(others) / ours:.2f}" if ours and others else "",
            f"{row['copy'] / ours:.0%}" if ours and row["copy"] and row["threads"] == 1 else "",
            f"{row['alone'] / row['copy']:.0%}" if row.get("alone") and row["copy"] else ""]
    return f"| {row['name']} | " + " | ".join([*cells, *over[:ratios]]) + " |"


def _cell(result: Mapping[str, Any]) -> str:
    if "min" not in result:
        return str(result.get("problem", ""))
    value = result["min"]
    return (f"{value:.1f}" if value < 1000 else f"{value:.0f}") + result.get("mark", "")
