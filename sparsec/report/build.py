"""Puts a report together: from what the passes noted when they decided (`ir/remarks.py`), what they left, and the
code that came out. Nothing is decided again here."""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sparsec.compiler import Compilation
from sparsec.errors import Loc
from sparsec.ir.dims import Dim, evaluate, symbols
from sparsec.ir.graph import Func, Op, walk
from sparsec.ir.late import may_fail_late
from sparsec.ir.loops import Kernel
from sparsec.ir.ops.control import FIXED_OPERANDS
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.remarks import Remark, Topic, collect_remarks
from sparsec.ir.text import type_to_text
from sparsec.passes.accesses import is_kernel
from sparsec.passes.facts import is_identity
from sparsec.passes.plan_memory import lifetimes, memory_report
from sparsec.passes.traffic import KernelTraffic, kernel_traffic
from sparsec.report.channels import channel_flow
from sparsec.report.model import Explanation, Fact, KernelReport, LineReport, StorageReport, Traffic
from sparsec.report.vectors import NativeCode, loop_lines, native_code, obstacles

__all__ = ["explain"]

_METADATA = (Kind.VIEW, Kind.CONST, Kind.CREATE)
_FULL_WIDTH = 128  # bits: of narrower vectors it is said what is in the way

Place = tuple[str, int]  # file and line


def explain(
    compilation: Compilation, traced: Sequence[Remark] = (), sizes: Mapping[str, int] | None = None, file: str = ""
) -> Explanation:
    """The report of a function. Runs every stage, the disk cache aside; nothing of the user's is run.

    traced: remarks that were made when the function was traced. sizes: values of its symbols, by name. file: where
    the function stands.
    """
    with collect_remarks() as found:
        program = compilation.program
    remarks = [*traced, *found]
    builder = _Builder(compilation, remarks, sizes or {}, file)
    assert len(builder.kernels) == len(program.kernels)
    return builder.build()


@dataclass
class _Line:
    """A line under construction."""

    kernels: dict[int, None] = field(default_factory=dict)
    traffic: Traffic = field(default_factory=Traffic)
    facts: dict[Fact, None] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)  # as traced


class _Builder:
    """`kernels`: pairs of a `fused` op and the kernel that it became, in program order."""

    def __init__(
        self, compilation: Compilation, remarks: Sequence[Remark], sizes: Mapping[str, int], file: str
    ) -> None:
        self.compilation, self.remarks, self.sizes, self.file = compilation, remarks, sizes, file
        self.func, self.planned = compilation.func, compilation.planned
        by_name = {kernel.name: kernel for kernel in compilation.program.kernels}
        self.kernels: list[tuple[Op, Kernel]] = [
            (r.op, by_name[r.subject]) for r in remarks if r.topic is Topic.KERNEL and r.op is not None
        ]
        self.kernel_of = {name: n for n, (op, _) in enumerate(self.kernels) for name in _names(op)}
        self.makers = {r.name: op for op in walk(self.planned.ops) for r in op.results}
        self.lines: dict[Place, _Line] = {}

    def build(self) -> Explanation:
        self._trace_lines()
        kernels = tuple(self._kernel_reports())
        self._copies()
        self._fusion()
        self._loops()
        storages = tuple(self._storages())
        self._weights()
        self._without_kernel()
        self._made_whole()
        total = Traffic()
        for kernel in kernels:
            total = total + _times(kernel.traffic, kernel.turns)
        return Explanation(
            self.func.name, self.file, _signature(self.func), self.compilation.backend, total,
            tuple(self._line_report(place, line) for place, line in self.lines.items()), kernels, storages,
            memory_report(self.planned), tuple(self._notes()), channel_flow(self.func, self.remarks), self.func,
            self.kernel_of,
        )

    # --- lines ---

    def _trace_lines(self) -> None:
        """The lines that the trace has ops of, those of the function's own file first, in order."""
        found: dict[Place, _Line] = {}
        for op in walk(self.func.ops):
            if op.loc is not None:
                found.setdefault(_place(op.loc), _Line()).ops.append(op)
        self.lines = dict(sorted(found.items(), key=lambda item: (item[0][0] != self.file, item[0])))

    def _line(self, loc: Loc | None) -> _Line:
        return self.lines.setdefault(_place(loc), _Line()) if loc is not None else _Line()

    def _line_report(self, place: Place, line: _Line) -> LineReport:
        file, number = place
        text = next((op.loc.source for op in line.ops if op.loc is not None and op.loc.source), "")
        return LineReport(
            file, number, (text or linecache.getline(file, number)).strip(), tuple(sorted(line.kernels)),
            line.traffic, tuple(line.facts),
        )

    def _note(self, loc: Loc | None, topic: str, text: str) -> None:
        self._line(loc).facts.setdefault(Fact(topic, self._readable(text)))

    # --- kernels ---

    def _kernel_reports(self) -> Iterator[KernelReport]:
        traffic = {id(k.op): k for k in kernel_traffic(self.planned, self.sizes)}
        native = self._native()
        for number, (op, kernel) in enumerate(self.kernels):
            body = op.regions[0].ops
            work = [inner for inner in body if record(inner.name).kind not in _METADATA]
            for inner in work:
                self._line(inner.loc).kernels[number] = None
            moved = traffic.get(id(op), KernelTraffic(op, None, ()))
            reads, writes, total = self._traffic(moved)
            code = native.get(number)
            yield KernelReport(
                number, kernel.name, tuple(sorted({_place(i.loc) for i in work if i.loc is not None})),
                tuple(inner.name for inner in work), loop_lines(kernel), moved.turns, reads, writes, total,
                code.vector if code is not None else "", tuple(self._kernel_facts(number, kernel, code)),
            )

    def _traffic(self, kernel: KernelTraffic) -> tuple[dict[str, int], dict[str, int], Traffic]:
        """What a kernel reads and writes, by storage; also added up for the lines."""
        reads: dict[str, int] = {}
        writes: dict[str, int] = {}
        total = Traffic()
        for item in kernel.items:
            side = writes if item.write else reads
            if item.nbytes:
                label = self._label(item.storage)
                side[label] = side.get(label, 0) + item.nbytes
            moved = Traffic(item.nbytes, item.least, item.exact)
            total = total + moved
            line = self._line(item.op.loc)
            line.traffic = line.traffic + _times(moved, kernel.turns)
        return reads, writes, total

    def _native(self) -> dict[int, NativeCode]:
        if self.compilation.backend != "cpu":
            return {}
        from sparsec.runtime.cpu import optimised_text

        return native_code("\n".join(map(optimised_text, self.compilation.llvm)))

    def _kernel_facts(self, number: int, kernel: Kernel, code: NativeCode | None) -> Iterator[Fact]:
        for found in self.remarks:
            if found.topic is Topic.FUSION and self.kernel_of.get(found.value) == number:
                yield Fact(found.topic.value, self._apart(number, found))
        if not kernel.locs:
            yield Fact("control flow", "hands values to a loop or a branch, or on from it")
        if code is None:
            return
        if code.calls:
            yield Fact("calls", ", ".join(code.calls))
        if code.gathers or code.scatters:
            words = " and ".join(w for w, used in (("gathers", code.gathers), ("scatters", code.scatters)) if used)
            yield Fact(words, "its vectors are put together from elements that are no neighbours")
        if code.bits < _FULL_WIDTH and not (code.block_copy and not code.vector):
            for reason in obstacles(kernel):
                yield Fact("narrow vectors" if code.vector else "not vectorised", self._readable(reason))
        elif code.block_copy and not code.vector:
            yield Fact("vectorised", "whole blocks are copied or filled")

    # --- decisions ---

    def _fusion(self) -> None:
        for found in self.remarks:
            number = self.kernel_of.get(found.value)
            if found.topic is Topic.FUSION and number is not None:
                self._note(found.loc, found.topic.value, self._apart(number, found))

    def _apart(self, number: int, found: Remark) -> str:
        against = self.kernel_of.get(found.subject)
        other = "an earlier kernel" if against is None or against == number else f"kernel {against}"
        return f"kernel {number} is not part of {other}: {self._readable(found.text)}"

    def _copies(self) -> None:
        """Copies that are left, with memory of their own, and why they were made."""
        by_value = {r.value: r for r in self.remarks if r.topic in (Topic.COPY, Topic.WRITE)}
        by_line = {_place(r.loc): r for r in by_value.values() if r.loc is not None}
        for op, _ in self.kernels:
            shown = {inner.name: outer for inner, outer in zip(op.regions[0].yields, op.results)}
            for inner in op.regions[0].ops:
                if not is_identity(inner) or inner.result.name not in shown:
                    continue
                outer = shown[inner.result.name]
                found = by_value.get(outer.name)
                if found is None and inner.loc is not None:
                    found = by_line.get(_place(inner.loc))
                topic = found.topic if found is not None else Topic.COPY
                text = found.text if found is not None else "the program asks for a copy"
                self._note(inner.loc, topic.value, text)

    def _loops(self) -> None:
        for op in walk(self.planned.ops):
            if record(op.name).kind is Kind.CONTROL and not is_kernel(op):
                branch = FIXED_OPERANDS[op.name] == 1
                self._note(op.loc, "control flow", "a branch at run time" if branch else "a native loop")

    def _made_whole(self) -> None:
        """Where all channels of a value are needed of which some are stored."""
        for found in self.remarks:
            if found.topic is Topic.WHOLE and found.op is not None:
                self._note(found.loc, found.topic.value, f"%{found.subject}, for {found.op.name}: {found.text}")

    def _weights(self) -> None:
        """Which constants are kept in a second order, and which are not; alike ones in one line."""
        alike: dict[tuple[Loc | None, str, str], list[str]] = {}
        for found in self.compilation.packings:
            topic = "repacked" if found.block else "not repacked"
            alike.setdefault((found.loc, topic, found.text), []).append(found.name)
        for (loc, topic, text), names in alike.items():
            self._note(loc, topic, f"{', '.join(names)}: {text}")

    def _without_kernel(self) -> None:
        """Why a line has no code."""
        gone: dict[str, Remark] = {}
        for found in self.remarks:
            if found.topic in (Topic.GONE, Topic.MOVED):
                known = gone.get(found.value)
                if known is None or known.text == _NOBODY:
                    gone[found.value] = found
        for line in self.lines.values():
            work = [op for op in line.ops if record(op.name).kind not in _METADATA]
            if line.kernels or any(record(op.name).kind is Kind.CONTROL for op in work):
                continue
            if not work:
                line.facts.setdefault(Fact(Topic.GONE.value, "views, literals and fresh memory: nothing runs"))
            reasons = [gone[r.name] for op in work for r in op.results if r.name in gone]
            telling = [r for r in reasons if r.text != _NOBODY] or reasons
            for found in telling:
                line.facts.setdefault(Fact(found.topic.value, self._readable(found.text)))

    def _notes(self) -> Iterator[str]:
        if not may_fail_late(self.func):
            return
        safe = self.compilation.safe
        how = ("are written in copies, which reach the caller at the end" if safe is None else
               "are kept, and put back where a check fails" if safe.restores else
               "are written behind all checks, which run first")
        yield f"arguments {how}: a check may fail after the first write"

    # --- memory ---

    def _storages(self) -> Iterator[StorageReport]:
        alive = lifetimes(self.planned)
        facts: dict[str, dict[Fact, None]] = {}
        for found in self.remarks:
            if found.topic in (Topic.MEMORY, Topic.PLACE) and found.subject:
                text = self._readable(found.text)
                facts.setdefault(found.subject, {}).setdefault(Fact(found.topic.value, text))
        for place in self.planned.plan:
            made = self.makers.get(place.storage)
            first, last = alive.get(place.storage, (0, 0))
            own = tuple(facts.get(place.storage, ())) if place.space in ("arena", "scratch") else ()
            yield StorageReport(
                place.storage, self._label(place.storage), place.space, place.offset, self._bytes(place.nbytes),
                first, last, made.loc.line if made is not None and made.loc is not None else None, own,
            )
            if made is not None:
                for fact in own:
                    if fact.topic == Topic.MEMORY.value:
                        self._note(made.loc, fact.topic, f"{self._label(place.storage)}: {fact.text}")

    def _bytes(self, size: Dim) -> int | None:
        known = all(s.name in self.sizes for s in symbols(size))
        return evaluate(size, self.sizes) if known else None

    # --- words ---

    def _label(self, storage: str) -> str:
        """A storage by a name that says something: an argument's own, or the line that makes it."""
        if any(p.storage == storage for p in self.planned.params):
            return storage
        made = self.makers.get(storage)
        where = f" (line {made.loc.line})" if made is not None and made.loc is not None else ""
        results = {v.storage: n for n, v in enumerate(self.planned.results)}
        if storage in results:
            return f"result {results[storage]}" if len(results) > 1 else "the result"
        return f"%{storage}{where}"

    def _readable(self, text: str) -> str:
        """A remark with its storages (`@t`) by their labels."""
        return re.sub(r"@([\w.$-]*[\w$])", lambda found: self._label(found[1]), text)


_NOBODY = "nobody needs its result"


def _times(traffic: Traffic, turns: int | None) -> Traffic:
    """The traffic of all turns; `least` already is. Unknown turns count as one."""
    return replace(traffic, moved=traffic.moved * (1 if turns is None else turns),
                   exact=traffic.exact and turns is not None)


def _names(op: Op) -> Iterator[str]:
    """Every value that a `fused` op makes, under its name inside and outside."""
    yield from (r.name for r in op.results)
    yield from (r.name for inner in op.regions[0].ops if record(inner.name).kind not in _METADATA
                for r in inner.results)


def _place(loc: Loc) -> Place:
    return loc.file, loc.line


def _signature(func: Func) -> str:
    def items(values: Iterable[str]) -> str:
        return ", ".join(values)

    params = items(f"{p.name}: {type_to_text(p.type)}" for p in func.params)
    results = items(type_to_text(v.type.fresh()) for v in func.results)
    return f"{func.name}({params})" + (f" -> {results}" if results else "")
