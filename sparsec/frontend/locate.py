"""Which line of the user's source is running: the innermost frame outside sparsec and NumPy."""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path
from types import CodeType

import numpy as np

from sparsec.errors import Loc

#: Where frames are ours, not the user's.
OWN = tuple(str(p) + "/" for p in (Path(__file__).resolve().parents[1], Path(np.__file__).resolve().parent))


def user_loc() -> Loc | None:
    """The user's expression that is being evaluated, or None outside any user frame."""
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if not code.co_filename.startswith(OWN) and not code.co_filename.startswith("<frozen"):
            return position(code, frame.f_lasti)
        frame = frame.f_back  # type: ignore[assignment]
    return None


@lru_cache(maxsize=4096)
def position(code: CodeType, instruction: int) -> Loc:
    """The source span of a bytecode instruction."""
    for offset, (line, end_line, col, end_col) in enumerate(code.co_positions()):
        if offset * 2 == instruction:
            one_line = line == end_line
            return Loc(code.co_filename, line or code.co_firstlineno, -1 if col is None else col,
                       end_col if one_line and end_col is not None else -1)
    return Loc(code.co_filename, code.co_firstlineno)
