"""What became of a function, line by line: what `f.explain(...)` gives and `sparsec explain` prints."""

from sparsec.report.build import explain
from sparsec.report.cost import CostAnalysis, OpCost, cost_analysis
from sparsec.report.counts import index_sizes
from sparsec.report.memory import MemoryAnalysis, memory_analysis
from sparsec.report.model import (
    ChannelReport,
    Explanation,
    Fact,
    KernelReport,
    LineReport,
    StorageReport,
    Traffic,
)

__all__ = [
    "ChannelReport", "CostAnalysis", "Explanation", "Fact", "KernelReport", "LineReport", "MemoryAnalysis", "OpCost",
    "StorageReport", "Traffic", "cost_analysis", "explain", "index_sizes", "memory_analysis",
]  # fmt: skip
