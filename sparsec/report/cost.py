"""What a call costs: multiply-adds, bytes that move, and an estimate of the energy, line by line.

energy = 3 * multiply-adds + 200 * words from memory + 6 * words from caches + 1 * words in registers, in the energy
of an addition of small integers (the ratios are those of structured-pruning work on mobile chips). Words are 4
bytes. Memory is what kernels read and write if caches hold nothing between them; of the two factors of a
multiply-add one comes from a cache; three registers serve each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sparsec.ir.graph import Func, Op
from sparsec.ir.ops.record import Kind, record
from sparsec.passes.traffic import kernel_traffic
from sparsec.report.counts import Sizes

__all__ = ["CostAnalysis", "OpCost", "cost_analysis"]

E_MAC, E_MEMORY, E_CACHE, E_REGISTER = 3, 200, 6, 1
_WORD = 4


@dataclass(frozen=True, slots=True)
class OpCost:
    """One kernel. macs: multiply-adds in this call; most_macs: with as many live channels as the types allow.

    nbytes: what it moves from and to memory. line: of the user's source, 0 where it has none.
    """

    line: int
    ops: tuple[str, ...]
    macs: int
    most_macs: int
    nbytes: int

    @property
    def energy(self) -> float:
        """In units of an integer addition; see the module."""
        words = self.nbytes / _WORD
        return E_MAC * self.macs + E_MEMORY * words + E_CACHE * (self.macs + words) + E_REGISTER * 3 * self.macs


@dataclass(frozen=True, slots=True)
class CostAnalysis:
    """The kernels of a function, in order, and their sums. `str()` is a table."""

    name: str
    kernels: tuple[OpCost, ...]

    @property
    def macs(self) -> int:
        return sum(k.macs for k in self.kernels)

    @property
    def most_macs(self) -> int:
        return sum(k.most_macs for k in self.kernels)

    @property
    def nbytes(self) -> int:
        return sum(k.nbytes for k in self.kernels)

    @property
    def energy(self) -> float:
        return sum(k.energy for k in self.kernels)

    def to_dict(self) -> dict[str, Any]:
        """Everything, in plain types."""
        rows = [{**asdict(k), "energy": k.energy} for k in self.kernels]
        total = {"macs": self.macs, "most_macs": self.most_macs, "nbytes": self.nbytes, "energy": self.energy}
        return {"name": self.name, **total, "kernels": rows}

    def __str__(self) -> str:
        lines = [f"{self.name}: {_millions(self.macs)} multiply-adds (at most {_millions(self.most_macs)}), "
                 f"{self.nbytes / 1e6:.2f} MB moved, energy {self.energy / 1e6:.1f}",
                 f"{'line':>6}  {'M macs':>10}  {'at most':>10}  {'MB':>9}  {'energy':>9}  ops"]
        for k in self.kernels:
            lines.append(f"{k.line or '':>6}  {k.macs / 1e6:>10.3f}  {k.most_macs / 1e6:>10.3f}  "
                         f"{k.nbytes / 1e6:>9.3f}  {k.energy / 1e6:>9.2f}  {', '.join(dict.fromkeys(k.ops))}")
        return "\n".join(lines)


def cost_analysis(planned: Func, sizes: Mapping[str, int]) -> CostAnalysis:
    """The costs of a PLANNED function. sizes: what is known of its symbols in the call that is asked about."""
    now, most = Sizes(planned, sizes), Sizes(planned, {})
    found = []
    for kernel in kernel_traffic(planned, dict(sizes)):
        work = [op for op in kernel.op.regions[0].ops if record(op.name).kind not in (Kind.VIEW, Kind.CONST)]
        turns = 1 if kernel.turns is None else kernel.turns
        line = next((op.loc.line for op in work if op.loc is not None), 0)
        found.append(OpCost(
            line, tuple(op.name for op in work), turns * sum(_macs(op, now) for op in work),
            turns * sum(_macs(op, most) for op in work), turns * sum(item.nbytes for item in kernel.items),
        ))
    return CostAnalysis(planned.name, tuple(found))


def _macs(op: Op, sizes: Sizes) -> int:
    work = record(op.name).work
    return sizes(work([v.type for v in op.operands], op.attrs)) if work is not None else 0


def _millions(count: int) -> str:
    return f"{count / 1e6:.3f} M"
