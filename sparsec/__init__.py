"""sparsec: NumPy-style Python, views and in-place writes included, compiled for CPUs and GPUs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from sparsec.config import get_num_threads, set_num_threads
    from sparsec.frontend.constant import constant
    from sparsec.frontend.jit import Jitted, jit
    from sparsec.frontend.stages import Compiled, Stages

__all__ = ["Compiled", "Jitted", "Stages", "__version__", "constant", "errors", "get_num_threads", "jit",
           "set_num_threads"]

_HOMES = {"jit": "sparsec.frontend.jit", "Jitted": "sparsec.frontend.jit", "Stages": "sparsec.frontend.stages",
          "Compiled": "sparsec.frontend.stages", "constant": "sparsec.frontend.constant",
          "get_num_threads": "sparsec.config", "set_num_threads": "sparsec.config"}


def __getattr__(name: str) -> Any:
    """Public names are imported when first used: `sparsec doctor` must work where LLVM does not."""
    if name in ("errors", "nn", "sparse"):
        return import_module(f"sparsec.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'sparsec' has no attribute {name!r}")
