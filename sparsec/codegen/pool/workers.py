"""The threads of the pool: how they start, wait, are woken, and what they do."""

from __future__ import annotations

from sparsec.codegen.llfunc import Function
from sparsec.codegen.pool.placement import only
from sparsec.codegen.pool.state import (
    CALLER,
    CPU,
    MASK_WORDS,
    MODES,
    MOVED,
    OPEN,
    THREAD,
    THREADS,
    job,
    least,
    locked,
    worker_row,
)

__all__ = ["grow", "leave", "sleep", "spin", "wake", "worker"]

#: Bytes of a worker's stack: kernels keep scratch memory there.
_STACK = 8 << 20


def worker() -> Function:
    """ptr worker(number): what a thread of the pool does until the process ends."""
    f = Function("ptr", "worker", [("ptr", "number")])
    number = f.address("%number")
    itself = worker_row(f, number)
    last = f.variable("i32", 0)
    f.call("void", "sleep", ("ptr", itself), ("i32", 0))  # no epoch is 0 yet: only until it has its place
    with f.forever():
        called, again = f.label(), f.label()
        seen = last.get()
        spin(f, called, "@pool.epoch", "ne", seen)
        f.call("void", "sleep", ("ptr", itself), ("i32", seen))
        f.begin(called)
        last.set(f.peek("i32", "@pool.epoch"))
        # A job of fewer threads is no business of this one.
        f.jump_unless(f.compare("slt", "i64", f.add(number, 1), f.peek("i64", f.at("@pool.job", THREADS))), again)
        gate = f.fetch("add", "i32", "@pool.gate", 1)
        with f.when(f.compare("uge", "i32", gate, OPEN)):
            slot = f.add(number, 1)  # once more: it may be another job by now
            with f.when(f.compare("slt", "i64", slot, job(f, THREADS))):
                with f.when(f.compare("eq", "i64", f.call("i64", "cpu"), job(f, CALLER))):
                    f.call("void", "step_aside", ("ptr", itself))
                f.call("void", "set_modes", ("i64", job(f, MODES)))
                f.fetch("add", "i64", "@pool.helped", f.call("i64", "work", ("i64", slot)))
        f.call("void", "leave")
        f.begin(again)
    return f


def sleep() -> Function:
    """void sleep(worker, last): until there is another epoch."""
    f = Function("void", "sleep", [("ptr", "worker"), ("i32", "last")])
    with locked(f):
        # First this, then a look at the epoch; a caller does it the other way round. One of the two sees the other.
        f.fetch("add", "i32", "@pool.sleeping", 1)
        f.store("i64", f.call("i64", "cpu"), "%worker", CPU)
        with f.forever() as woken:
            f.jump_unless(f.compare("eq", "i32", f.peek("i32", "@pool.epoch"), "%last"), woken)
            f.call("i32", "sparsec_pthread_cond_wait", ("ptr", "@pool.wake"), ("ptr", "@pool.lock"))
        f.fetch("sub", "i32", "@pool.sleeping", 1)
        f.call("void", "put_back", ("ptr", "%worker"))
    f.ret()
    return f


def spin(f: Function, enough: str, place: str, how: str, value: str | int) -> None:
    """Looks at a word again and again, but not for long. Goes to `enough` when it has (`eq`) or no longer has
    (`ne`) the value, else behind itself."""
    with f.loop(f.op(f"zext i32 {f.peek('i32', '@pool.spin')} to i64")):
        f.jump_if(f.compare(how, "i32", f.peek("i32", place), value), enough)
        f.call("void", "sparsec_pool_pause", ("i64", 1))


def leave() -> Function:
    """void leave(): out of the job; the last one wakes a caller that waits for it."""
    f = Function("void", "leave", [])
    before = f.fetch("sub", "i32", "@pool.gate", 1)
    nobody = f.label()
    f.jump_unless(f.compare("eq", "i32", before, 1), nobody)
    with f.unless(f.compare("eq", "i32", f.peek("i32", "@pool.waiting"), 0)), locked(f):
        f.call("i32", "sparsec_pthread_cond_broadcast", ("ptr", "@pool.done"))
    f.begin(nobody)
    f.ret()
    return f


def grow() -> Function:
    """void grow(wanted): starts threads until there are so many, or the system gives no more."""
    f = Function("void", "grow", [("i32", "wanted")])
    every, before, attributes, taken = (f.array("i64", 16) for _ in range(4))
    with locked(f):
        here = f.call("i64", "cpu")
        with f.forever() as enough:
            team, refused = f.load("i32", "@pool.team"), f.load("i32", "@pool.refused")
            wanted = f.both(f.compare("slt", "i32", team, "%wanted"), f.compare("eq", "i32", refused, 0))
            f.jump_unless(wanted, enough)
            mask = f.load("i32", "@pool.set_mask")
            # Signals are for Python's own threads.
            f.call("i32", "sparsec_sigfillset", ("ptr", every))
            f.call("i32", "sparsec_pthread_sigmask", ("i32", mask), ("ptr", every), ("ptr", before))
            f.call("i32", "sparsec_pthread_attr_init", ("ptr", attributes))
            f.call("i32", "sparsec_pthread_attr_setstacksize", ("ptr", attributes), ("i64", _STACK))
            number = f.op(f"zext i32 {team} to i64")
            row = worker_row(f, number)
            status = f.call("i32", "sparsec_pthread_create", ("ptr", row), ("ptr", attributes), ("ptr", "@worker"),
                            ("ptr", f.op(f"inttoptr i64 {number} to ptr")))
            f.call("i32", "sparsec_pthread_attr_destroy", ("ptr", attributes))
            f.call("i32", "sparsec_pthread_sigmask", ("i32", mask), ("ptr", before), ("ptr", "null"))
            failed, after = f.label(), f.label()
            f.jump_unless(f.compare("eq", "i32", status, 0), failed)
            f.call("i32", "sparsec_pthread_detach", ("i64", f.load("i64", row, THREAD)))
            f.store("i64", 0, row, MOVED)
            f.store("i64", here, row, CPU)  # a thread begins where it was made, as far as anybody knows
            only(f, taken, here)
            f.call("void", "place", ("ptr", row), ("ptr", taken))
            f.store("i32", f.op(f"add i32 {team}, 1"), "@pool.team")
            f.jump(after)
            f.begin(failed)
            f.store("i32", 1, "@pool.refused")
            f.begin(after)
    f.ret()
    return f


def wake() -> Function:
    """void wake(workers): wakes those who sleep, each on a processor of its own as far as there are any."""
    f = Function("void", "wake", [("i64", "workers")])
    taken = f.array("i64", MASK_WORDS)
    with locked(f):
        only(f, taken, f.call("i64", "cpu"))
        team = f.op(f"zext i32 {f.load('i32', '@pool.team')} to i64")
        with f.loop(least(f, "%workers", team)) as k:
            f.call("void", "place", ("ptr", worker_row(f, k)), ("ptr", taken))
        f.call("i32", "sparsec_pthread_cond_broadcast", ("ptr", "@pool.wake"))
    f.ret()
    return f
