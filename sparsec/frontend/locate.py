"""Which line of the user's source is running: the innermost frame outside sparsec and NumPy."""

from __future__ import annotations

import contextlib
import functools
import sys
from functools import lru_cache
from pathlib import Path
from types import CodeType

import numpy as np

from sparsec.errors import Loc

#: Where frames are ours, not the user's.
OWN = tuple(str(p) + "/" for p in (Path(__file__).resolve().parents[1], Path(np.__file__).resolve().parent))

#: Frames that may stand between the user's and ours.
_BETWEEN = (*OWN, contextlib.__file__, functools.__file__, "<frozen")


def user_loc() -> Loc | None:
    """The user's expression that is being evaluated, or None outside any user frame."""
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if not code.co_filename.startswith(_BETWEEN):
            return position(code, frame.f_lasti)
        frame = frame.f_back  # type: ignore[assignment]
    return None


def position(code: CodeType, instruction: int) -> Loc:
    """The source span of a bytecode instruction."""
    positions = _positions(_Identity(code))
    if not 0 <= instruction // 2 < len(positions):
        return Loc(code.co_filename, code.co_firstlineno)
    line, end_line, col, end_col = positions[instruction // 2]
    return Loc(
        code.co_filename,
        line or code.co_firstlineno,
        -1 if col is None else col,
        end_col if line == end_line and end_col is not None else -1,
    )


class _Identity:
    """A code object as a key: its own hash goes over all of its instructions."""

    def __init__(self, code: CodeType) -> None:
        self.code = code

    def __hash__(self) -> int:
        return id(self.code)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.code is other.code


@lru_cache(maxsize=256)
def _positions(key: _Identity) -> list[tuple[int | None, int | None, int | None, int | None]]:
    return list(key.code.co_positions())
