"""The names of `np.linalg`, said explicitly; see `sparsec.numpy`."""

from __future__ import annotations

from typing import Any

import numpy as _np

from sparsec.frontend.explicit import explicit


def __getattr__(name: str) -> Any:
    return explicit(_np.linalg, name, globals())


def __dir__() -> list[str]:
    return sorted(_np.linalg.__all__)
