"""The thread pool, as an LLVM module of its own: it is compiled once and serves every program of the process.

    i32 sparsec_share(ptr task, ptr context, i64 turns, i64 grain, i64 work, i32 threads)

runs `i32 task(context, begin, end)` over chunks that make up 0..turns, on the calling thread and on up to
`threads - 1` others, and returns when all are done: 0, or the status of the first chunk, in their order, that
gave another one (then chunks behind it may be left out). Chunks are multiples of `grain`, but for the last. `work`
says about how many picoseconds it is: where helpers would have to be woken for little, the caller does it alone.

The pool does one job at a time. Who finds it taken (by another thread of Python) runs the job alone, so nobody
ever waits for a stranger. Threads start when a job first wants them, and stay. A job is found through three words:

    epoch   grows with every job; workers without work watch it, first spinning, then asleep
    gate    how many workers are inside a job, and whether it is open
    next    for each participant, the next chunk of its own share; who has finished helps the others

    workers where each one is: its thread, and the processor on which it fell asleep

A worker that comes late finds the gate closed, and touches nothing: the job's context is on a stack that may be
gone. So a caller waits only for those that have begun, never for one that the system has not woken.

Nothing here is Python's, no GIL is needed, and a job must not share out work itself.
"""

from __future__ import annotations

from sparsec.codegen.llfunc import module_text
from sparsec.codegen.pool.jobs import SHARE, counts, join, reset, setup, share, work
from sparsec.codegen.pool.placement import cpu, narrow, place, put_back, step_aside
from sparsec.codegen.pool.processor import modes, pause, set_modes
from sparsec.codegen.pool.state import GLOBALS, MAX_THREADS
from sparsec.codegen.pool.workers import grow, leave, sleep, wake, worker

__all__ = ["MAX_THREADS", "SHARE", "pool_text"]


def pool_text(triple: str) -> str:
    """The module for a machine. Functions of the system have the prefix `sparsec_`."""
    parts = [write(triple) for write in (pause, modes, set_modes, cpu, place, narrow, put_back, step_aside)]
    parts += [write() for write in (setup, reset, counts, work, sleep, leave, worker, grow, wake, join, share)]
    return module_text([GLOBALS], parts)
