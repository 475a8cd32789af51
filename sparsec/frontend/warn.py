"""What becomes of the warning word of a call: integer division by zero and its kin, as `np.errstate` asks."""

from __future__ import annotations

import warnings

import numpy as np

from sparsec.ir.flags import BITS, MESSAGES, names

__all__ = ["warn"]


def warn(flags: int, name: str, level: int) -> None:
    """Warns, raises or calls the user's handler. `level`: where the user's line is, as `warnings.warn` counts."""
    modes = np.geterr()
    for flag in names(flags):
        mode = modes[flag]  # type: ignore[literal-required]
        message = f"{MESSAGES[flag]} in `{name}`"
        if mode == "raise":
            raise FloatingPointError(message)
        if mode == "warn":
            warnings.warn(message, RuntimeWarning, stacklevel=level)
        elif mode == "call":
            handler = np.geterrcall()
            if callable(handler):
                handler(flag, BITS[flag])
