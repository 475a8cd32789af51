"""The parts of a report. Bytes are exact unless `exact` says otherwise; then they are upper bounds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sparsec.ir.graph import Func
from sparsec.passes.plan_memory import MemoryReport

__all__ = ["ChannelReport", "Explanation", "Fact", "KernelReport", "LineReport", "StorageReport", "Traffic"]


@dataclass(frozen=True, slots=True)
class Fact:
    """A sentence with its topic: `not fused`, `copied`, `not in place`, `not vectorised`, `in memory`, …"""

    topic: str
    text: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that move. `least`: what no program could do without, of `moved`."""

    moved: int = 0
    least: int = 0
    exact: bool = True

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.moved + other.moved, self.least + other.least, self.exact and other.exact)


@dataclass(frozen=True, slots=True)
class LineReport:
    """A line of the user's source that the trace has ops of. `kernels`: numbers of those that run a part of it."""

    file: str
    line: int
    text: str
    kernels: tuple[int, ...]
    traffic: Traffic
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class KernelReport:
    """One kernel. `turns`: how often a call runs it; None where values decide. Its traffic is that of one turn.

    `loops`: its loop nests, outermost first. `vector`: the vectors that it mostly computes with, "" for none or
    where that is not known.
    """

    number: int
    name: str
    lines: tuple[tuple[str, int], ...]
    ops: tuple[str, ...]
    loops: tuple[str, ...]
    turns: int | None
    reads: Mapping[str, int]
    writes: Mapping[str, int]
    traffic: Traffic
    vector: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class StorageReport:
    """Where a storage lies. `space`: param, result, const, arena, or scratch, which each call makes.

    `nbytes` is None where only the call knows. `first`, `last`: the steps of the program that it is alive in;
    (0, 0) for what is not the function's own.
    """

    name: str
    label: str
    space: str
    offset: int
    nbytes: int | None
    first: int
    last: int
    line: int | None
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class ChannelReport:
    """A value of which some channels are stored, an index, or a value that had to be made whole.

    channels: `at most 4 of 8 @w_index`; for an index `at most 6`, for a whole value "". index: which one the value
    has, or is. parents: the values of this report that it is made of. whole: why all channels are needed, "" where
    they are not. `line` is 0 for what no line of the user's makes.
    """

    name: str
    op: str
    file: str
    line: int
    channels: str
    index: str
    parents: tuple[str, ...]
    whole: str = ""


@dataclass(frozen=True)
class Explanation:
    """The report of one function for one kind of arguments. `str()` of it is text for people.

    Turns of loops that values decide count once in `traffic`. `file`: where the function stands.
    """

    name: str
    file: str
    signature: str
    backend: str
    traffic: Traffic
    lines: tuple[LineReport, ...]
    kernels: tuple[KernelReport, ...]
    storages: tuple[StorageReport, ...]
    memory: MemoryReport
    notes: tuple[str, ...] = ()
    channels: tuple[ChannelReport, ...] = ()
    #: The traced function, and the kernel of each value that one computes: what the pictures show.
    func: Func | None = field(default=None, repr=False, compare=False)
    kernel_of: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)

    def __str__(self) -> str:
        from sparsec.report.text import to_text

        return to_text(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pictures, as plain dicts, lists, numbers and strings."""
        return {
            "name": self.name, "file": self.file, "signature": self.signature, "backend": self.backend,
            "traffic": asdict(self.traffic), "lines": [asdict(line) for line in self.lines],
            "kernels": [asdict(kernel) for kernel in self.kernels],
            "storages": [asdict(storage) for storage in self.storages],
            "memory": asdict(self.memory), "notes": list(self.notes),
            "channels": [asdict(each) for each in self.channels],
        }

    def json(self) -> str:
        """The same as text."""
        return json.dumps(self.to_dict(), indent=1)

    def html(self) -> str:
        """A page of its own: the source with its facts, the kernels, and pictures of the graph and of memory."""
        from sparsec.report.page import to_html

        return to_html(self)

    def picture(self) -> str:
        """The channel flow as SVG: which values have which index, and where all channels are needed."""
        from sparsec.report.channels import channels_svg

        return channels_svg(self)

    def dot(self) -> str:
        """The traced function as a Graphviz picture: versions, views and dependencies, coloured by kernel."""
        from sparsec.report.picture import to_dot

        return to_dot(self)
