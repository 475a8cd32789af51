"""The thread pool of this process: loaded once, when a program first asks for it (`codegen.pool` is its code).

    pool = load_pool(pool_text, compiled)
    pool.symbols                             what programs call
    pool.jobs, pool.helped, pool.workers     how often it shared work out, chunks that others did, its threads

Threads start with the first job that wants them. The child of a fork has none, and starts its own.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from sparsec.config import usable_cpus
from sparsec.errors import CompileError
from sparsec.runtime.locks import ForkLock

__all__ = ["Pool", "has_threads", "load_pool"]

#: How long one who waits looks before it sleeps, in seconds. To wake a thread costs the caller some 5 us and
#: takes it some 50 us; between the kernels of one call, and between calls in a loop, it should not come to that.
_PATIENCE = 60e-6

_SYSTEM = (
    "pthread_attr_destroy", "pthread_attr_init", "pthread_attr_setstacksize", "pthread_cond_broadcast",
    "pthread_cond_init", "pthread_cond_wait", "pthread_create", "pthread_detach", "pthread_mutex_init",
    "pthread_mutex_lock", "pthread_mutex_unlock", "pthread_sigmask", "sigfillset",
)  # fmt: skip


#: Where a thread runs, and may run.
_PLACES = ("pthread_getaffinity_np", "pthread_setaffinity_np", "sched_getcpu")


@lru_cache(maxsize=1)
def _system() -> dict[str, int]:
    """Addresses of the system's functions; empty where there are no POSIX threads."""
    if os.name != "posix":
        return {}
    library = ctypes.CDLL(None)
    try:
        return {f"sparsec_{name}": ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
                for name in (*_SYSTEM, *(_PLACES if sys.platform == "linux" else ()))}
    except AttributeError:
        return {}


def has_threads() -> bool:
    """Whether there can be a pool on this system."""
    return bool(_system())


class Pool:
    """The loaded pool."""

    def __init__(self, executable: Any, share: str) -> None:
        self._executable = executable
        self.symbols: dict[str, int] = {share: executable.address}
        setup = self._function("sparsec_pool_setup", ctypes.c_int32, ctypes.c_int32, ctypes.c_int32)
        self._counts = self._function("sparsec_pool_counts", ctypes.c_void_p)
        self.reset = self._function("sparsec_pool_reset")
        cpus = usable_cpus()
        setup(cpus, 0 if cpus == 1 else self._moments(_PATIENCE), signal.SIG_SETMASK)
        os.register_at_fork(after_in_child=self.reset)

    def _function(self, name: str, *arguments: Any) -> Callable[..., None]:
        # With the GIL held: these are shorter than it takes to give it away.
        return ctypes.PYFUNCTYPE(None, *arguments)(self._executable.address_of(name))

    def _moments(self, seconds: float) -> int:
        """How many of the processor's pauses take so long: they differ tenfold between processors."""
        pause, count, best = self._function("sparsec_pool_pause", ctypes.c_int64), 300, 1.0
        for _ in range(5):
            start = time.perf_counter()
            pause(count)
            best = min(best, time.perf_counter() - start)
        return max(1, int(seconds * count / best))

    @property
    def jobs(self) -> int:
        """How many loops were shared out so far."""
        return self._read()[0]

    @property
    def helped(self) -> int:
        """How many chunks of them were not done by the thread that called."""
        return self._read()[1]

    @property
    def workers(self) -> int:
        """Threads that were started, beside those that call."""
        return self._read()[2]

    @property
    def asleep(self) -> int:
        """How many of them sleep."""
        return self._read()[3]

    def _read(self) -> list[int]:
        found = (ctypes.c_int64 * 4)()
        self._counts(ctypes.addressof(found))
        return list(found)


_lock = ForkLock()
_pool: list[Pool] = []


def load_pool(make_text: Callable[[str], str], share: str, compiled: Callable[[str], bytes]) -> Pool:
    """The pool of this process.

    make_text: its LLVM text for a machine, in which `share` is the function that programs call. compiled: the
    object code of a text, from a cache if it has it. Raises CompileError where there are no threads.
    """
    with _lock:
        if not _pool:
            _pool.append(_load(make_text, share, compiled))
        return _pool[0]


def _load(make_text: Callable[[str], str], share: str, compiled: Callable[[str], bytes]) -> Pool:
    from sparsec.runtime.cpu import CpuExecutable, host_cpu

    names = _system()
    if not names:
        raise CompileError("this system has no POSIX threads")
    text = make_text(host_cpu().triple)
    executable = CpuExecutable([compiled(text)], names, entry=share)
    # Its threads run in this code until the process ends: it must outlive everything.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(executable))
    return Pool(executable, share)
