"""What became of a function, line by line: what `f.explain(...)` gives and `sparsec explain` prints."""

from sparsec.report.build import explain
from sparsec.report.model import Explanation, Fact, KernelReport, LineReport, StorageReport, Traffic

__all__ = ["Explanation", "Fact", "KernelReport", "LineReport", "StorageReport", "Traffic", "explain"]
