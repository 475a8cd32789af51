"""What the threads of the pool share: its variables, the words of a worker and of a job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sparsec.codegen.llfunc import Function

__all__ = ["CALLER", "CHUNK", "CONTEXT", "CPU", "GLOBALS", "MASK", "MASK_WORDS", "MAX_THREADS", "MODES", "MOVED",
           "OPEN", "TASK", "THREAD", "THREADS", "TURNS", "job", "least", "locked", "share_row", "worker_row"]

#: More threads than this never take part.
MAX_THREADS = 256

#: Set in the gate while a job may be entered.
OPEN = 1 << 30

# The words of a worker: its thread, its processor (-1: it is awake), whether its own mask of processors, which
# follows, is to be restored. Masks have room for 1024 processors, as the C library's have.
THREAD, CPU, MOVED, MASK = 0, 8, 16, 64
MASK_WORDS = 16
WORKER_WORDS = 32

# The words of a job. All but the first three are written before it opens, and stay until it is closed.
TASK, CONTEXT, TURNS, CHUNK, THREADS, MODES, CALLER = range(0, 56, 8)

#: Bytes of a cache line, of which two threads should not write one.
_LINE = 64

GLOBALS = f"""\
@pool.epoch = internal global i32 1, align {_LINE}
@pool.gate = internal global i32 0, align {_LINE}
@pool.busy = internal global i32 0, align {_LINE}
@pool.sleeping = internal global i32 0, align {_LINE}
@pool.waiting = internal global i32 0, align {_LINE}
@pool.failed = internal global i64 0, align {_LINE}
@pool.job = internal global [8 x i64] zeroinitializer, align {_LINE}
@pool.next = internal global [{MAX_THREADS} x [{_LINE // 8} x i64]] zeroinitializer, align {_LINE}
@pool.workers = internal global [{MAX_THREADS} x [{WORKER_WORDS} x i64]] zeroinitializer, align {_LINE}
@pool.spin = internal global i32 0, align {_LINE}
@pool.cpus = internal global i32 1
@pool.patience = internal global i32 0
@pool.set_mask = internal global i32 0
@pool.team = internal global i32 0
@pool.refused = internal global i32 0
@pool.jobs = internal global i64 0
@pool.declined = internal global i64 0
@pool.helped = internal global i64 0
@pool.lock = internal global [16 x i64] zeroinitializer, align {_LINE}
@pool.wake = internal global [16 x i64] zeroinitializer, align {_LINE}
@pool.done = internal global [16 x i64] zeroinitializer, align {_LINE}"""


def worker_row(f: Function, number: str) -> str:
    """The words of a worker."""
    return f.row("@pool.workers", number, WORKER_WORDS)


def job(f: Function, field: int, type: str = "i64") -> str:
    """A word of the job."""
    return f.load(type, "@pool.job", field)


def share_row(f: Function, slot: str) -> str:
    """The words of a participant: its next chunk, and the end of its share."""
    return f.row("@pool.next", slot, _LINE // 8)


@contextmanager
def locked(f: Function) -> Iterator[None]:
    """While the pool's lock is held."""
    f.call("i32", "sparsec_pthread_mutex_lock", ("ptr", "@pool.lock"))
    yield
    f.call("i32", "sparsec_pthread_mutex_unlock", ("ptr", "@pool.lock"))


def least(f: Function, a: str, b: str | int) -> str:
    """The smaller of two i64."""
    return f.op(f"select i1 {f.compare('slt', 'i64', a, b)}, i64 {a}, i64 {b}")
