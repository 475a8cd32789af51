"""A lock that does not outlive its holder when a process forks."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

__all__ = ["ForkLock"]


class ForkLock:
    """A reentrant lock. In the child of a fork it is free, unless the thread that forked holds it: whoever
    else held it does not exist there, and would never give it back."""

    def __init__(self) -> None:
        self._lock: Any = threading.RLock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def _after_fork(self) -> None:
        if not self._lock._is_owned():
            self._lock = threading.RLock()


_locks: weakref.WeakSet[ForkLock] = weakref.WeakSet()


def _after_fork() -> None:
    for lock in list(_locks):
        lock._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
