"""A job: how it is shared out, done and waited for; and the pool's beginning."""

from __future__ import annotations

from sparsec.codegen.llfunc import Function
from sparsec.codegen.pool.state import (
    CALLER,
    CHUNK,
    CONTEXT,
    MAX_THREADS,
    MODES,
    OPEN,
    TASK,
    THREADS,
    TURNS,
    job,
    least,
    locked,
    share_row,
)
from sparsec.codegen.pool.workers import spin

__all__ = ["SHARE", "counts", "join", "reset", "setup", "share", "work"]

#: The function that programs call.
SHARE = "sparsec_share"

#: Each thread's share is cut into so many chunks, as far as the grain allows: who is held up loses only one.
_CHUNKS = 8

#: For less work than this, in picoseconds, nobody is woken (it costs the caller 10 to 30 us), but for every so many
#: jobs of that kind: where one follows the other, helpers then stay awake.
_WORTH_WAKING, _EVERY = 64_000_000, 8


def setup() -> Function:
    """void setup(cpus, patience, set_mask): processors there are, moments that one spins before it sleeps, and
    the system's SIG_SETMASK."""
    names = ("cpus", "patience", "set_mask")
    f = Function("void", "sparsec_pool_setup", [("i32", name) for name in names], internal=False)
    for name in names:
        f.store("i32", f"%{name}", f"@pool.{name}")
    f.call("void", "sparsec_pool_reset")
    f.ret()
    return f


def reset() -> Function:
    """void reset(): a pool without threads, at the start and in the child of a fork, where none has come along."""
    f = Function("void", "sparsec_pool_reset", [], internal=False)
    for name in ("gate", "busy", "sleeping", "waiting"):
        f.poke("i32", 0, f"@pool.{name}")
    for name in ("team", "refused"):
        f.store("i32", 0, f"@pool.{name}")
    f.poke("i32", 1, "@pool.epoch")
    f.call("i32", "sparsec_pthread_mutex_init", ("ptr", "@pool.lock"), ("ptr", "null"))
    for name in ("wake", "done"):
        f.call("i32", "sparsec_pthread_cond_init", ("ptr", f"@pool.{name}"), ("ptr", "null"))
    f.ret()
    return f


def counts() -> Function:
    """void counts(ptr): writes how many jobs were shared out, how many chunks of them others than the caller did, how
    many threads there are beside callers, and how many of them sleep."""
    f = Function("void", "sparsec_pool_counts", [("ptr", "out")], internal=False)
    f.store("i64", f.load("i64", "@pool.jobs"), "%out")
    f.store("i64", f.peek("i64", "@pool.helped"), "%out", 8)
    f.store("i64", f.op(f"zext i32 {f.load('i32', '@pool.team')} to i64"), "%out", 16)
    f.store("i64", f.op(f"zext i32 {f.peek('i32', '@pool.sleeping')} to i64"), "%out", 24)
    f.ret()
    return f


def share() -> Function:
    """i32 share(task, context, turns, grain, work, wanted): see above, at the package."""
    f = Function("i32", SHARE, [("ptr", "task"), ("ptr", "context"), ("i64", "turns"), ("i64", "grain"),
                                ("i64", "work"), ("i32", "wanted")], internal=False)

    def parts(whole: str, size: str) -> str:
        return f.op(f"udiv i64 {f.sub(f.add(whole, size), 1)}, {size}")

    alone = f.label()
    f.jump_unless(f.compare("sgt", "i64", "%turns", "%grain"), alone)
    threads = least(f, f.op("zext i32 %wanted to i64"), MAX_THREADS)
    grains = parts("%turns", "%grain")
    several = f.op(f"mul i64 {threads}, {_CHUNKS}")
    size = f.op(f"mul i64 %grain, {parts(grains, several)}")
    chunks = parts("%turns", size)
    threads = least(f, threads, chunks)
    f.jump_unless(f.compare("sgt", "i64", threads, 1), alone)
    _decline(f, threads, alone)
    f.jump_unless(f.replaced("i32", "@pool.busy", 0, 1), alone)
    f.call("void", "grow", ("i32", f.op(f"trunc i64 {f.sub(threads, 1)} to i32")))
    # With more threads than processors, who spins takes time from who works.
    room = f.compare("sle", "i64", threads, f.op(f"zext i32 {f.load('i32', '@pool.cpus')} to i64"))
    f.poke("i32", f.op(f"select i1 {room}, i32 {f.load('i32', '@pool.patience')}, i32 0"), "@pool.spin")
    _describe(f, threads, size, chunks)
    f.fetch("or", "i32", "@pool.gate", OPEN)
    f.fetch("add", "i32", "@pool.epoch", 1)
    with f.unless(f.compare("eq", "i32", f.peek("i32", "@pool.sleeping"), 0)):
        f.call("void", "wake", ("i64", f.sub(threads, 1)))
    f.call("i64", "work", ("i64", 0))
    f.fetch("and", "i32", "@pool.gate", OPEN - 1)
    f.call("void", "join")
    failed = f.peek("i64", "@pool.failed")
    f.store("i64", f.add(f.load("i64", "@pool.jobs"), 1), "@pool.jobs")
    f.poke("i32", 0, "@pool.busy")
    status = f.op(f"trunc i64 {failed} to i32")
    f.ret(f.op(f"select i1 {f.compare('eq', 'i64', failed, -1)}, i32 0, i32 {status}"))
    f.begin(alone)
    f.ret(f.call_at("i32", "%task", ("ptr", "%context"), ("i64", 0), ("i64", "%turns")))
    return f


def _decline(f: Function, threads: str, alone: str) -> None:
    """Goes to `alone` where threads would have to be woken for little, but not every time."""
    awake = f.op(f"sub i32 {f.load('i32', '@pool.team')}, {f.peek('i32', '@pool.sleeping')}")
    to_wake = f.compare("slt", "i64", f.add(f.op(f"sext i32 {awake} to i64"), 1), threads)
    with f.when(f.both(to_wake, f.compare("slt", "i64", "%work", _WORTH_WAKING))):
        turn = f.op(f"urem i64 {f.fetch('add', 'i64', '@pool.declined', 1)}, {_EVERY}")
        f.jump_unless(f.compare("eq", "i64", turn, _EVERY - 1), alone)


def _describe(f: Function, threads: str, size: str, chunks: str) -> None:
    """Writes down the job, and the share of chunks that each thread begins with."""
    modes = f.call("i64", "modes")
    for field, type, value in ((TASK, "ptr", "%task"), (CONTEXT, "ptr", "%context"), (TURNS, "i64", "%turns"),
                               (CHUNK, "i64", size), (MODES, "i64", modes), (CALLER, "i64", f.call("i64", "cpu"))):
        f.store(type, value, "@pool.job", field)
    f.poke("i64", threads, f.at("@pool.job", THREADS))
    f.poke("i64", -1, "@pool.failed")
    with f.loop(threads) as k:
        row = share_row(f, k)
        f.poke("i64", f.op(f"udiv i64 {f.op(f'mul i64 {k}, {chunks}')}, {threads}"), row)
        f.store("i64", f.op(f"udiv i64 {f.op(f'mul i64 {f.add(k, 1)}, {chunks}')}, {threads}"), row, 8)


def work() -> Function:
    """i64 work(slot): chunks of the job, first those of one's own share, until there are none; how many it were."""
    f = Function("i64", "work", [("i64", "slot")])
    done = f.variable("i64", 0)
    task, context = job(f, TASK, "ptr"), job(f, CONTEXT, "ptr")
    turns, size, threads = job(f, TURNS), job(f, CHUNK), job(f, THREADS)
    with f.loop(threads) as k:
        whose = share_row(f, f.op(f"urem i64 {f.add('%slot', k)}, {threads}"))
        end = f.word(whose, 1)
        with f.forever() as finished:
            chunk = f.fetch("add", "i64", whose, 1)
            f.jump_unless(f.compare("slt", "i64", chunk, end), finished)
            done.set(f.add(done.get(), 1))
            # Of a failed job, what comes before the failure is still done: it may have failed first.
            place = f.op(f"shl i64 {chunk}, 32")
            with f.when(f.compare("ult", "i64", place, f.peek("i64", "@pool.failed"))):
                begin = f.op(f"mul i64 {chunk}, {size}")
                until = f.add(begin, size)
                status = f.call_at("i32", task, ("ptr", context), ("i64", begin), ("i64", least(f, until, turns)))
                with f.unless(f.compare("eq", "i32", status, 0)):
                    found = f.op(f"or i64 {place}, {f.op(f'zext i32 {status} to i64')}")
                    f.fetch("umin", "i64", "@pool.failed", found)
    f.ret(done.get())
    return f


def join() -> Function:
    """void join(): until nobody is inside the job that has just been closed."""
    f = Function("void", "join", [])
    alone = f.label()
    spin(f, alone, "@pool.gate", "eq", 0)
    with locked(f):
        f.poke("i32", 1, "@pool.waiting")
        with f.forever() as left:
            f.jump_if(f.compare("eq", "i32", f.peek("i32", "@pool.gate"), 0), left)
            f.call("i32", "sparsec_pthread_cond_wait", ("ptr", "@pool.done"), ("ptr", "@pool.lock"))
        f.poke("i32", 0, "@pool.waiting")
    f.begin(alone)
    f.ret()
    return f
