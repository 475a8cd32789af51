"""Which line of the user's source is running, or failed: the innermost frame outside sparsec and NumPy."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import CodeType, TracebackType

import numpy as np

from sparsec.errors import Loc

#: Where frames are ours, not the user's.
OWN = tuple(str(p) + "/" for p in (Path(__file__).resolve().parents[1], Path(np.__file__).resolve().parent))

#: Frames that may stand between the user's and ours.
_BETWEEN = (*OWN, contextlib.__file__, functools.__file__, "<frozen")

#: What calls a traced function.
_TRACING = str(Path(__file__).with_name("tracing.py"))

#: Where ours do what Python does for a line of the user's: what is raised there is that line's own error.
_FOR_THE_USER = tuple(str(Path(__file__).with_name(name)) for name in ("staged.py", "outside.py"))


def user_loc() -> Loc | None:
    """The user's expression that is being evaluated, or None outside any user frame."""
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if not code.co_filename.startswith(_BETWEEN):
            return position(code, frame.f_lasti)
        frame = frame.f_back  # type: ignore[assignment]
    return None


def raised_at(error: BaseException) -> Loc | None:
    """The user's innermost line in a traceback."""
    theirs = [tb for tb in tracebacks(error) if not tb.tb_frame.f_code.co_filename.startswith(OWN)]
    return position(theirs[-1].tb_frame.f_code, theirs[-1].tb_lasti) if theirs else None


def users_own(error: BaseException) -> bool:
    """Whether an exception is that of a traced function: raised by a line of it, or on its behalf, not by NumPy or
    sparsec."""
    files = [tb.tb_frame.f_code.co_filename for tb in tracebacks(error)]
    theirs = [k for k, file in enumerate(files) if not file.startswith(OWN)]
    last = theirs[-1] if theirs else 0
    return _TRACING in files[:last] and all(file in _FOR_THE_USER for file in files[last + 1 :])


def users_frames(error: BaseException) -> TracebackType | None:
    """The traceback of an exception without the frames that are not the user's."""
    found: TracebackType | None = None
    for tb in reversed(list(tracebacks(error))):
        if not tb.tb_frame.f_code.co_filename.startswith(_BETWEEN):
            found = TracebackType(found, tb.tb_frame, tb.tb_lasti, tb.tb_lineno)
    return found


def tracebacks(error: BaseException) -> Iterator[TracebackType]:
    """The links of a traceback, outermost first."""
    tb = error.__traceback__
    while tb is not None:
        yield tb
        tb = tb.tb_next


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
