"""An NPBench checkout as a list of kernels: their NumPy versions, unmodified, and their own initialisation.

The suite is github.com/spcl/npbench; nothing of it is in this repository. What is read of a checkout: the
JSON descriptions under `bench_info/`, and for each one its module with `initialize` and its NumPy version.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Kernel:
    """One kernel. `arguments(preset)` makes fresh input values, in the order of the kernel's parameters."""

    name: str
    function: Callable[..., Any]
    info: dict[str, Any]
    home: str

    def arguments(self, preset: str = "S", scale: float = 1.0) -> list[Any]:
        """Inputs for a preset; with `scale`, sizes are that fraction of the preset's (at least 4)."""
        values: dict[str, Any] = dict(self.info["parameters"][preset])
        if scale != 1.0:
            values = {k: _scaled(v, scale) for k, v in values.items()}
        init = self.info.get("init")
        if init and init.get("func_name"):
            module = importlib.import_module(self.home)
            np.random.seed(42)
            made = getattr(module, init["func_name"])(*(values[a] for a in init["input_args"]))
            names = init["output_args"]
            values.update(zip(names, made if len(names) > 1 else (made,), strict=True))
        return [values[a] for a in self.info["input_args"]]


def _scaled(value: Any, scale: float) -> Any:
    return max(4, int(value * scale)) if isinstance(value, int) and not isinstance(value, bool) else value


def load(checkout: Path) -> list[Kernel]:
    """All kernels of a checkout, by name. Raises FileNotFoundError if it is not one."""
    if not (checkout / "bench_info").is_dir():
        raise FileNotFoundError(f"{checkout} is not an NPBench checkout: it has no bench_info/")
    sys.path.insert(0, str(checkout))
    kernels = []
    for description in sorted((checkout / "bench_info").glob("*.json")):
        info = json.loads(description.read_text())["benchmark"]
        home = ".".join(("npbench.benchmarks", *info["relative_path"].split("/"), info["module_name"]))
        module = importlib.import_module(f"{home}_numpy")
        kernels.append(Kernel(info["short_name"], getattr(module, info["func_name"]), info, home))
    return kernels
