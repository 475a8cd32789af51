"""NumPy's names, said explicitly: `import sparsec.numpy as np`.

The functions are NumPy's own outside a compiled function, and the compiler's rules while one is traced. A
function whose source can be read needs no more than `import numpy as np`; one typed at a prompt or made by
`exec` needs this package to have `np.zeros(n)` seen. Constants, dtypes and classes are NumPy's.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as _np

from sparsec.frontend.explicit import explicit


def __getattr__(name: str) -> Any:
    if name == "linalg":
        return import_module("sparsec.numpy.linalg")
    return explicit(_np, name, globals())


def __dir__() -> list[str]:
    return sorted({*_np.__all__, "linalg"})
