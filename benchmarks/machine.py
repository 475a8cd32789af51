"""What a benchmark says of the machine that it ran on: its processor and versions, and nothing that names it."""

from __future__ import annotations

import os
import platform
from datetime import date
from pathlib import Path

__all__ = ["machine_facts"]


def machine_facts() -> dict[str, str]:
    """Date, processor, usable CPUs, system, and the versions of Python and LLVM's name for the processor."""
    import llvmlite.binding as llvm

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "date": date.today().isoformat(), "cpu": _model(), "llvm_cpu": llvm.get_host_cpu_name(),
        "usable_cpus": str(usable), "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
