"""A report as text: every line of the source with what became of it, then the kernels, then the memory.

      4  boxes[:, 2:] -= 0.5 * size
           kernel 0; moves 8,000 B, all of it needed
           not in place: the write overwrites elements of boxes that it reads at other indexes
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from sparsec.ir.remarks import Topic
from sparsec.report.model import Explanation, KernelReport, LineReport, StorageReport, Traffic

__all__ = [
    "amount", "channel_lines", "head_lines", "kernel_facts", "line_facts", "memory_lines", "moved", "short_path",
    "to_text",
]

_SHOWN_OPS = 12


def to_text(found: Explanation) -> str:
    """The whole report."""
    parts = (head_lines(found), [""], _lines(found), ["kernels"], _kernels(found), ["memory"], memory_lines(found),
             channel_lines(found))
    return "\n".join(line for part in parts for line in part)


def amount(nbytes: int | None) -> str:
    """Bytes for people: exact up to five digits, then with a unit."""
    if nbytes is None:
        return "a size that the call decides"
    if nbytes < 100_000:
        return f"{nbytes:,} B"
    value, unit = nbytes / 1e3, "kB"
    for larger in ("MB", "GB", "TB"):
        if value >= 1e3:
            value, unit = value / 1e3, larger
    return f"{value:.4g} {unit}"


def moved(traffic: Traffic) -> str:
    """`moves 8,000 B, 4,000 B of it needed`."""
    about = "" if traffic.exact else "at most "
    if not traffic.moved:
        return "moves nothing"
    needed = "all of it needed" if traffic.least == traffic.moved else (
        "none of it needed" if not traffic.least else f"{amount(traffic.least)} of it needed")
    return f"moves {about}{amount(traffic.moved)}, {needed}"


def short_path(file: str) -> str:
    """The path from here, where that is shorter."""
    try:
        near = os.path.relpath(file)
    except ValueError:  # another drive
        return file
    return near if len(near) < len(file) and not file.startswith("<") else file


def head_lines(found: Explanation) -> Iterator[str]:
    """The signature, and how much moves."""
    yield f"{found.signature}  for {found.backend}"
    count = len(found.kernels)
    total = found.traffic
    about = "" if total.exact else "at most " if all(k.turns is not None for k in found.kernels) else "(one turn) "
    words = f"{count} kernel{'s' * (count != 1)}; {about}{amount(total.moved)} to and from memory"
    if total.least and total.moved != total.least:
        words += f", where {amount(total.least)} would do ({total.moved / total.least:.1f} times)"
    elif total.moved:
        words += ", which is the least possible"
    yield words
    yield from found.notes


def _lines(found: Explanation) -> Iterator[str]:
    file = None
    width = len(str(max((line.line for line in found.lines), default=0)))
    for line in found.lines:
        if line.file != file:
            file = line.file
            yield short_path(file)
        yield f"  {line.line:>{width}}  {line.text}"
        yield from (f"  {'':{width}}    {text}" for text in line_facts(line))
    yield ""


def line_facts(line: LineReport) -> Iterator[str]:
    """What is said of a line, a sentence each."""
    if line.kernels:
        numbers = ", ".join(map(str, line.kernels))
        yield f"kernel{'s' * (len(line.kernels) != 1)} {numbers}; {moved(line.traffic)}"
    for fact in line.facts:
        yield f"{fact.topic}: {fact.text}"


def _kernels(found: Explanation) -> Iterator[str]:
    for kernel in found.kernels:
        places = (("" if file == found.file else f"{short_path(file)}:", line) for file, line in kernel.lines)
        lines = ", ".join(f"{where}{line}" for where, line in places)
        yield f"  {kernel.number}  " + (f"line{'s' * (len(kernel.lines) != 1)} {lines}" if lines else "no line")
        yield from (f"       {text}" for text in kernel_facts(kernel))
    yield ""


def kernel_facts(kernel: KernelReport) -> Iterator[str]:
    """What is said of a kernel, a sentence each."""
    ops = [*kernel.ops[:_SHOWN_OPS], *([f"and {len(kernel.ops) - _SHOWN_OPS} more"]
                                       if len(kernel.ops) > _SHOWN_OPS else [])]
    yield f"{', '.join(ops)}"
    loops = "; ".join(kernel.loops) or "none"
    yield f"loops: {loops}" + (f"; computes with vectors of {kernel.vector}" if kernel.vector else "")
    both = (("reads", kernel.reads), ("writes", kernel.writes))
    sides = [f"{verb} {_amounts(side)}" for verb, side in both if side]
    if sides:
        yield "; ".join(sides)
    if kernel.turns != 1:
        yield "runs as often as values say" if kernel.turns is None else f"runs {kernel.turns:,} times"
    for fact in kernel.facts:
        if fact.topic != Topic.FUSION.value:  # its line says so
            yield f"{fact.topic}: {fact.text}"


def _amounts(side: Mapping[str, int]) -> str:
    return ", ".join(f"{label} {amount(nbytes)}" for label, nbytes in side.items())


def memory_lines(found: Explanation) -> Iterator[str]:
    """The memory plan, a sentence each."""
    memory = found.memory
    given = sum(s.nbytes or 0 for s in found.storages if s.space == "param")
    yield f"  arguments {amount(given)}, results {amount(memory.results)}"
    if not memory.naive:
        yield "  no temporaries"
    else:
        yield (f"  temporaries {amount(memory.peak)} at the peak; no plan needs less than "
               f"{amount(memory.lower_bound)}; {amount(memory.naive)} without sharing")
    for storage in found.storages:
        if storage.space in ("arena", "scratch"):
            yield f"    {storage_line(storage)}"
            yield from (f"      {fact.topic}: {fact.text}" for fact in storage.facts)
    yield ""


def channel_lines(found: Explanation) -> Iterator[str]:
    """The channel flow: each index and each value of which some channels are stored, in order."""
    if not found.channels:
        return
    yield "channels"
    for each in found.channels:
        where = f"line {each.line}" if each.line else "arguments"
        if each.file not in ("", found.file):
            where = f"{short_path(each.file)}:{each.line}"
        of = f" of {', '.join(each.parents)}" if each.parents else ""
        what = f"made whole: {each.whole}" if each.whole else each.channels
        yield f"  {where:<12} {each.name} = {each.op}{of}: {what}"
    yield ""


def storage_line(storage: StorageReport) -> str:
    """`%16 (line 7): 16,000 B at 0, steps 3 to 5`."""
    place = f"{amount(storage.nbytes)} at {storage.offset:,}" if storage.space == "arena" else "made at each call"
    return f"{storage.label}: {place}, alive from step {storage.first} to {storage.last}"
