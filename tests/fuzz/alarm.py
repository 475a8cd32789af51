"""An end for programs that do not end by themselves: a broken compiler, or shrinking, may leave a loop no way out."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Processor seconds; what a program takes at most, its compilation included, is a small part of it.
LIMIT = 30.0


class DoesNotEnd(BaseException):
    """No Exception: what a program raises on one path only is the compiler's to handle, and this is not."""


@contextmanager
def ends_within(seconds: float = LIMIT) -> Iterator[None]:
    """Raises DoesNotEnd in what runs longer. Native code is not interrupted before it returns to Python.

    The clock is the process's own, so that a busy machine changes nothing. Signals reach the main thread
    only; on others, and where there is no such clock, nothing is watched.
    """
    if not hasattr(signal, "ITIMER_VIRTUAL") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGVTALRM, _too_long)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _too_long(number: int, frame: Any) -> None:
    raise DoesNotEnd("the program does not end")
