"""What a function holds in memory: its plan beside what one call uses of it, and beside the dense plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sparsec.ir.graph import Func, walk
from sparsec.ir.ops.record import Kind, record
from sparsec.passes.accesses import is_kernel
from sparsec.passes.plan_memory import lifetimes, memory_report, storage_types
from sparsec.report.counts import Sizes

__all__ = ["MemoryAnalysis", "memory_analysis"]


@dataclass(frozen=True, slots=True)
class MemoryAnalysis:
    """Bytes. Temporaries: `peak` is what the plan reserves for as many channels as the types allow, `lower_bound` the
    most that is alive at once, `naive` a place of its own for each; `used` is the most that is alive at once with
    the live channels of this call.

    Parameters, as passed: `weights` (second operands of products), `indexes`, and all `others`. `results` are new
    arrays. weight_temporaries: what of the plan is computed from weights alone, a copy or a repacked form of them;
    index_temporaries: what of it holds indexes. packed_weights: second copies of constant weights, which are kept
    from call to call (`sparsec.constant`). scratch: what the largest kernel keeps on the stack of each thread, which
    is not planned: sums, and weights that are being multiplied. `dense`: the same of the function with every channel
    stored.
    """

    name: str
    peak: int
    lower_bound: int
    naive: int
    used: int
    results: int
    weights: int
    indexes: int
    others: int
    weight_temporaries: int
    index_temporaries: int
    dense: MemoryAnalysis | None = None
    packed_weights: int = 0
    scratch: int = 0

    @property
    def parameters(self) -> int:
        return self.weights + self.indexes + self.others

    @property
    def total(self) -> int:
        """Planned temporaries, parameters and their packed copies, and results."""
        return self.peak + self.parameters + self.packed_weights + self.results

    def to_dict(self) -> dict[str, Any]:
        """Everything, in plain types."""
        return {**asdict(self), "parameters": self.parameters, "total": self.total}

    def __str__(self) -> str:
        columns = [self] if self.dense is None else [self, self.dense]
        rows = [
            ("temporaries, planned", "peak"), ("  alive at once, at most", "lower_bound"),
            ("  alive at once, in this call", "used"), ("  a place for each", "naive"),
            ("  made of weights alone", "weight_temporaries"), ("  indexes", "index_temporaries"),
            ("parameters", "parameters"), ("  weights", "weights"), ("  indexes", "indexes"),
            ("packed weights", "packed_weights"), ("results", "results"),
            ("planned temporaries + parameters + results", "total"), ("scratch of each thread", "scratch"),
        ]  # fmt: skip
        unit, name = (1e6, "MB") if self.total >= 1e6 else (1e3, "kB")
        lines = [f"{self.name}, {name}".ljust(44) + "".join(f"{h:>10}" for h in ("", "dense")[: len(columns)])]
        for label, field in rows:
            lines.append(f"{label:<44}" + "".join(f"{getattr(c, field) / unit:>10.3f}" for c in columns))
        if self.dense is not None and self.dense.total:
            lines.append(f"{self.total / self.dense.total:.2f} of the dense plan")
        return "\n".join(lines)


def memory_analysis(
    planned: Func, sizes: Mapping[str, int], dense: MemoryAnalysis | None = None, packed_weights: int = 0,
    scratch: int = 0,
) -> MemoryAnalysis:
    """The analysis of a PLANNED function. sizes: what is known of its symbols in the call that is asked about.
    packed_weights: bytes of packed copies. scratch: bytes of a thread's stack."""
    report, now = memory_report(planned), Sizes(planned, sizes)
    types = storage_types(planned)
    arena = {p.storage: int(p.nbytes) for p in planned.plan if p.space == "arena" and isinstance(p.nbytes, int)}
    roles = _roles(planned)
    params = {p.storage: now.elements(p.type.shape) * p.type.dtype.itemsize for p in planned.params}
    used = {s: now.elements(types[s].shape) * types[s].dtype.itemsize for s in arena}
    return MemoryAnalysis(
        planned.name, report.peak, report.lower_bound, report.naive, _most_alive(planned, used), report.results,
        sum(n for s, n in params.items() if s in roles.weights),
        sum(n for s, n in params.items() if s in roles.indexes),
        sum(n for s, n in params.items() if s not in roles.weights | roles.indexes),
        sum(n for s, n in arena.items() if s in roles.copies), sum(n for s, n in arena.items() if s in roles.indexes),
        dense, packed_weights, scratch,
    )


@dataclass(frozen=True, slots=True)
class _Roles:
    """Storages by what they are for. `weights`: parameters that products take as weights, as they are or through
    `copies`, temporaries that are computed from them alone."""

    weights: set[str]
    copies: set[str]
    indexes: set[str]


def _roles(planned: Func) -> _Roles:
    """Follows data through products by their first operands: what reaches none of these, but a second one, is a
    weight."""
    sources: dict[str, set[str]] = {p.storage: {p.storage} for p in planned.params if p.type.dtype.kind in "fc"}
    data: set[str] = set()
    weights: set[str] = set()
    indexes: set[str] = set()
    for kernel in (op for op in walk(planned.ops) if is_kernel(op)):
        found: set[str] = set()
        for op in kernel.regions[0].ops:
            reads = [v.storage for v in op.operands if record(op.name).kind is not Kind.VIEW]
            if record(op.name).work is not None:
                data |= sources.get(reads[0], set())
                weights.update(*(sources.get(s, ()) for s in reads[1:]))
                indexes.update(v.storage for v in op.operands[1:] if v.type.dtype.kind == "i")
                reads = reads[:1]
            if record(op.name).kind is Kind.INDEX:
                indexes.update(v.storage for v in (*op.operands, *kernel.results) if v.type.rank)
            found.update(*(sources.get(s, ()) for s in reads))
        for result in kernel.results:
            sources[result.storage] = sources.get(result.storage, set()) | found
    weights -= data
    params = {p.storage for p in planned.params}
    copies = {s for s, from_ in sources.items() if s not in params and from_ and from_ <= weights}
    return _Roles(weights, copies, indexes)


def _most_alive(planned: Func, nbytes: Mapping[str, int]) -> int:
    """The most bytes that are alive at once. Of storages that share a place, one takes over from the other."""
    alive = lifetimes(planned)
    spans = [
        (*alive[p.storage], p.offset, nbytes[p.storage]) for p in planned.plan
        if p.storage in alive and p.storage in nbytes
    ]  # fmt: skip
    most = 0
    for step in {step for first, last, *_ in spans for step in (first, last)}:
        places: dict[int, int] = {}
        for first, last, offset, size in spans:
            if first <= step <= last:
                places[offset] = max(size, places.get(offset, 0))
        most = max(most, sum(places.values()))
    return most
