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

Linux likes to wake a thread where it slept, which may be where its caller now runs, and in a virtual machine it
may leave both there for many milliseconds while other processors idle. So who wakes a worker forbids it, until it
runs, the processors that are taken.

Nothing here is Python's, no GIL is needed, and a job must not share out work itself.
"""

from __future__ import annotations

from sparsec.codegen.llfunc import Function, module_text

__all__ = ["MAX_THREADS", "SHARE", "pool_text"]

#: The function that programs call.
SHARE = "sparsec_share"

#: More threads than this never take part.
MAX_THREADS = 256

#: Each thread's share is cut into so many chunks, as far as the grain allows: who is held up loses only one.
_CHUNKS = 8

#: For less work than this, in picoseconds, nobody is woken (it costs the caller 10 to 30 us), but for every so many
#: jobs of that kind: where one follows the other, helpers then stay awake.
_WORTH_WAKING, _EVERY = 64_000_000, 8

#: Bytes of a worker's stack: kernels keep scratch memory there.
_STACK = 8 << 20

_OPEN = 1 << 30

# The words of a worker: its thread, its processor (-1: it is awake), whether its own mask of processors, which
# follows, is to be restored. Masks have room for 1024 processors, as the C library's have.
_THREAD, _CPU, _MOVED, _MASK = 0, 8, 16, 64
_MASK_WORDS = 16
_WORKER_WORDS = 32

# The words of a job. All but the first three are written before it opens, and stay until it is closed.
_TASK, _CONTEXT, _TURNS, _CHUNK, _THREADS, _MODES, _CALLER = range(0, 56, 8)

#: Bytes of a cache line, of which two threads should not write one.
_LINE = 64

_GLOBALS = f"""\
@pool.epoch = internal global i32 1, align {_LINE}
@pool.gate = internal global i32 0, align {_LINE}
@pool.busy = internal global i32 0, align {_LINE}
@pool.sleeping = internal global i32 0, align {_LINE}
@pool.waiting = internal global i32 0, align {_LINE}
@pool.failed = internal global i64 0, align {_LINE}
@pool.job = internal global [8 x i64] zeroinitializer, align {_LINE}
@pool.next = internal global [{MAX_THREADS} x [{_LINE // 8} x i64]] zeroinitializer, align {_LINE}
@pool.workers = internal global [{MAX_THREADS} x [{_WORKER_WORDS} x i64]] zeroinitializer, align {_LINE}
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


def pool_text(triple: str) -> str:
    """The module for a machine. Functions of the system have the prefix `sparsec_`."""
    parts = [write(triple) for write in (_pause, _modes, _set_modes, _cpu, _place, _narrow, _put_back, _step_aside)]
    system = (_setup, _reset, _counts, _work, _sleep, _leave, _worker, _grow, _wake, _join, _share)
    parts += [write() for write in system]
    return module_text([_GLOBALS], parts)


# --- what differs between processors -------------------------------------------------------------------------


def _family(triple: str) -> str:
    name = triple.split("-", 1)[0]
    if name in ("x86_64", "amd64") or (name.startswith("i") and name.endswith("86")):
        return "x86"
    return "arm" if name in ("aarch64", "arm64", "arm64e") else ""


def _pause(triple: str) -> Function:
    """void pause(count): so many moments of waiting, in which the other half of a core may work."""
    f = Function("void", "sparsec_pool_pause", [("i64", "count")], internal=False)
    with f.loop("%count"):
        _moment(f, triple)
    f.ret()
    return f


def _moment(f: Function, triple: str) -> None:
    match _family(triple):
        case "x86":
            f.call("void", "llvm.x86.sse2.pause")
        case "arm":
            f.call("void", "llvm.aarch64.hint", ("i32", 1))  # yield
        case _:
            f.peek("i32", "@pool.epoch")


def _modes(triple: str) -> Function:
    """i64 modes(): how this thread rounds, and what it does with denormal numbers."""
    f = Function("i64", "modes", [])
    match _family(triple):
        case "x86":
            word = f.array("i32", 1)
            f.call("void", "llvm.x86.sse.stmxcsr", ("ptr", word))
            f.ret(f.op(f"zext i32 {f.load('i32', word)} to i64"))
        case "arm":
            f.ret(f.call("i64", "llvm.aarch64.get.fpcr"))
        case _:
            f.ret(0)
    return f


def _set_modes(triple: str) -> Function:
    f = Function("void", "set_modes", [("i64", "modes")])
    match _family(triple):
        case "x86":
            word = f.array("i32", 1)
            f.store("i32", f.op("trunc i64 %modes to i32"), word)
            f.call("void", "llvm.x86.sse.ldmxcsr", ("ptr", word))
        case "arm":
            f.call("void", "llvm.aarch64.set.fpcr", ("i64", "%modes"))
    f.ret()
    return f


# --- where threads run ---------------------------------------------------------------------------------------


def _cpu(triple: str) -> Function:
    """i64 cpu(): the processor that this thread runs on; -1 where the system does not tell."""
    f = Function("i64", "cpu", [])
    if "linux" in triple:
        f.ret(f.op(f"sext i32 {f.call('i32', 'sparsec_sched_getcpu')} to i64"))
    else:
        f.ret(-1)
    return f


def _place(triple: str) -> Function:
    """void place(worker, taken): keeps a sleeping worker away from processors that are taken, until it runs, and
    adds its own to them. `taken` is a mask of processors. The lock is held."""
    f = Function("void", "place", [("ptr", "worker"), ("ptr", "taken")])
    if "linux" not in triple:
        f.ret()
        return f
    cpu, out, asleep = f.load("i64", "%worker", _CPU), f.label(), f.label()
    f.branch(f.compare("ult", "i64", cpu, 64 * _MASK_WORDS), asleep, out)
    f.begin(asleep)
    with f.when(f.compare("eq", "i64", f.load("i64", "%worker", _MOVED), 0)):
        f.call("void", "narrow", ("ptr", "%worker"), ("ptr", "%taken"))
    word = f.row("%taken", f.op(f"lshr i64 {cpu}, 6"), 1)
    bit = f.op(f"shl i64 1, {f.op(f'and i64 {cpu}, 63')}")
    f.store("i64", f.op(f"or i64 {f.load('i64', word)}, {bit}"), word)
    f.begin(out)
    f.ret()
    return f


def _narrow(triple: str) -> Function:
    """void narrow(worker, taken): takes processors from a worker, if that leaves it any."""
    f = Function("void", "narrow", [("ptr", "worker"), ("ptr", "taken")])
    if "linux" not in triple:
        f.ret()
        return f
    thread, mask, narrow = f.load("i64", "%worker", _THREAD), f.at("%worker", _MASK), f.array("i64", _MASK_WORDS)
    size, left = ("i64", 8 * _MASK_WORDS), f.variable("i64", 0)
    known, some, moved, out = (f.label() for _ in range(4))
    status = f.call("i32", "sparsec_pthread_getaffinity_np", ("i64", thread), size, ("ptr", mask))
    f.branch(f.compare("eq", "i32", status, 0), known, out)
    f.begin(known)
    with f.loop(_MASK_WORDS) as k:
        others = f.op(f"xor i64 {f.load('i64', f.row('%taken', k, 1))}, -1")
        free = f.op(f"and i64 {f.load('i64', f.row(mask, k, 1))}, {others}")
        f.store("i64", free, f.row(narrow, k, 1))
        left.set(f.op(f"or i64 {left.get()}, {free}"))
    f.branch(f.compare("eq", "i64", left.get(), 0), out, some)
    f.begin(some)
    status = f.call("i32", "sparsec_pthread_setaffinity_np", ("i64", thread), size, ("ptr", narrow))
    f.branch(f.compare("eq", "i32", status, 0), moved, out)
    f.begin(moved)
    f.store("i64", 1, "%worker", _MOVED)
    f.begin(out)
    f.ret()
    return f


def _put_back(triple: str) -> Function:
    """void put_back(worker): lets a worker that was moved run where it might before. The lock is held."""
    f = Function("void", "put_back", [("ptr", "worker")])
    f.store("i64", -1, "%worker", _CPU)
    if "linux" in triple:
        with f.unless(f.compare("eq", "i64", f.load("i64", "%worker", _MOVED), 0)):
            f.store("i64", 0, "%worker", _MOVED)
            f.call("i32", "sparsec_pthread_setaffinity_np", ("i64", f.load("i64", "%worker", _THREAD)),
                   ("i64", 8 * _MASK_WORDS), ("ptr", f.at("%worker", _MASK)))
    f.ret()
    return f


def _row(f: Function, number: str) -> str:
    """The words of a worker."""
    return f.row("@pool.workers", number, _WORKER_WORDS)


# --- for the process -----------------------------------------------------------------------------------------


def _setup() -> Function:
    """void setup(cpus, patience, set_mask): processors there are, moments that one spins before it sleeps, and
    the system's SIG_SETMASK."""
    names = ("cpus", "patience", "set_mask")
    f = Function("void", "sparsec_pool_setup", [("i32", name) for name in names], internal=False)
    for name in names:
        f.store("i32", f"%{name}", f"@pool.{name}")
    f.call("void", "sparsec_pool_reset")
    f.ret()
    return f


def _reset() -> Function:
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


def _counts() -> Function:
    """void counts(ptr): writes how many jobs were shared out, how many chunks of them others than the caller did, how
    many threads there are beside callers, and how many of them sleep."""
    f = Function("void", "sparsec_pool_counts", [("ptr", "out")], internal=False)
    f.store("i64", f.load("i64", "@pool.jobs"), "%out")
    f.store("i64", f.peek("i64", "@pool.helped"), "%out", 8)
    f.store("i64", f.op(f"zext i32 {f.load('i32', '@pool.team')} to i64"), "%out", 16)
    f.store("i64", f.op(f"zext i32 {f.peek('i32', '@pool.sleeping')} to i64"), "%out", 24)
    f.ret()
    return f


# --- work ----------------------------------------------------------------------------------------------------


def _job(f: Function, field: int, type: str = "i64") -> str:
    return f.load(type, "@pool.job", field)


def _next(f: Function, slot: str) -> str:
    """The words of a participant: its next chunk, and the end of its share."""
    return f.row("@pool.next", slot, _LINE // 8)


def _work() -> Function:
    """i64 work(slot): chunks of the job, first those of one's own share, until there are none; how many it were."""
    f = Function("i64", "work", [("i64", "slot")])
    done = f.variable("i64", 0)
    task, context = _job(f, _TASK, "ptr"), _job(f, _CONTEXT, "ptr")
    turns, size, threads = _job(f, _TURNS), _job(f, _CHUNK), _job(f, _THREADS)
    with f.loop(threads) as k:
        whose = _next(f, f.op(f"urem i64 {f.add('%slot', k)}, {threads}"))
        end = f.word(whose, 1)
        with f.forever() as finished:
            mine = f.label()
            chunk = f.fetch("add", "i64", whose, 1)
            f.branch(f.compare("slt", "i64", chunk, end), mine, finished)
            f.begin(mine)
            done.set(f.add(done.get(), 1))
            # Of a failed job, what comes before the failure is still done: it may have failed first.
            place = f.op(f"shl i64 {chunk}, 32")
            with f.when(f.compare("ult", "i64", place, f.peek("i64", "@pool.failed"))):
                begin = f.op(f"mul i64 {chunk}, {size}")
                until = f.add(begin, size)
                status = f.call_at("i32", task, ("ptr", context), ("i64", begin), ("i64", _least(f, until, turns)))
                with f.unless(f.compare("eq", "i32", status, 0)):
                    found = f.op(f"or i64 {place}, {f.op(f'zext i32 {status} to i64')}")
                    f.fetch("umin", "i64", "@pool.failed", found)
    f.ret(done.get())
    return f


def _sleep() -> Function:
    """void sleep(worker, last): until there is another epoch."""
    f = Function("void", "sleep", [("ptr", "worker"), ("i32", "last")])
    f.call("i32", "sparsec_pthread_mutex_lock", ("ptr", "@pool.lock"))
    # First this, then a look at the epoch; a caller does it the other way round. One of the two sees the other.
    f.fetch("add", "i32", "@pool.sleeping", 1)
    f.store("i64", f.call("i64", "cpu"), "%worker", _CPU)
    with f.forever() as woken:
        more = f.label()
        f.branch(f.compare("eq", "i32", f.peek("i32", "@pool.epoch"), "%last"), more, woken)
        f.begin(more)
        f.call("i32", "sparsec_pthread_cond_wait", ("ptr", "@pool.wake"), ("ptr", "@pool.lock"))
    f.fetch("sub", "i32", "@pool.sleeping", 1)
    f.call("void", "put_back", ("ptr", "%worker"))
    f.call("i32", "sparsec_pthread_mutex_unlock", ("ptr", "@pool.lock"))
    f.ret()
    return f


def _spin(f: Function, enough: str, place: str, how: str, value: str | int) -> None:
    """Looks at a word again and again, but not for long. Goes to `enough` when it has (`eq`) or no longer has
    (`ne`) the value, else behind itself."""
    with f.loop(f.op(f"zext i32 {f.peek('i32', '@pool.spin')} to i64")):
        again = f.label()
        f.branch(f.compare(how, "i32", f.peek("i32", place), value), enough, again)
        f.begin(again)
        f.call("void", "sparsec_pool_pause", ("i64", 1))


def _worker() -> Function:
    """ptr worker(number): what a thread of the pool does until the process ends."""
    f = Function("ptr", "worker", [("ptr", "number")])
    number = f.address("%number")
    itself = _row(f, number)
    last = f.variable("i32", 0)
    f.call("void", "sleep", ("ptr", itself), ("i32", 0))  # no epoch is 0 yet: only until it has its place
    with f.forever():
        called, inside, again = f.label(), f.label(), f.label()
        seen = last.get()
        _spin(f, called, "@pool.epoch", "ne", seen)
        f.call("void", "sleep", ("ptr", itself), ("i32", seen))
        f.begin(called)
        last.set(f.peek("i32", "@pool.epoch"))
        # A job of fewer threads is no business of this one.
        f.branch(f.compare("slt", "i64", f.add(number, 1), f.peek("i64", f.at("@pool.job", _THREADS))), inside, again)
        f.begin(inside)
        gate = f.fetch("add", "i32", "@pool.gate", 1)
        with f.when(f.compare("uge", "i32", gate, _OPEN)):
            slot = f.add(number, 1)  # once more: it may be another job by now
            with f.when(f.compare("slt", "i64", slot, _job(f, _THREADS))):
                with f.when(f.compare("eq", "i64", f.call("i64", "cpu"), _job(f, _CALLER))):
                    f.call("void", "step_aside", ("ptr", itself))
                f.call("void", "set_modes", ("i64", _job(f, _MODES)))
                f.fetch("add", "i64", "@pool.helped", f.call("i64", "work", ("i64", slot)))
        f.call("void", "leave")
        f.begin(again)
    return f


def _step_aside(triple: str) -> Function:
    """void step_aside(worker): away from the processor that the caller needs."""
    f = Function("void", "step_aside", [("ptr", "worker")])
    if "linux" in triple:
        taken, here = f.array("i64", _MASK_WORDS), f.call("i64", "cpu")
        _take(f, taken, here)
        f.call("i32", "sparsec_pthread_mutex_lock", ("ptr", "@pool.lock"))
        f.store("i64", here, "%worker", _CPU)
        f.call("void", "place", ("ptr", "%worker"), ("ptr", taken))
        f.call("void", "put_back", ("ptr", "%worker"))
        f.call("i32", "sparsec_pthread_mutex_unlock", ("ptr", "@pool.lock"))
    f.ret()
    return f


def _leave() -> Function:
    """void leave(): out of the job; the last one wakes a caller that waits for it."""
    f = Function("void", "leave", [])
    before = f.fetch("sub", "i32", "@pool.gate", 1)
    last, waited, nobody = f.compare("eq", "i32", before, 1), f.label(), f.label()
    f.branch(last, waited, nobody)
    f.begin(waited)
    with f.unless(f.compare("eq", "i32", f.peek("i32", "@pool.waiting"), 0)):
        f.call("i32", "sparsec_pthread_mutex_lock", ("ptr", "@pool.lock"))
        f.call("i32", "sparsec_pthread_cond_broadcast", ("ptr", "@pool.done"))
        f.call("i32", "sparsec_pthread_mutex_unlock", ("ptr", "@pool.lock"))
    f.begin(nobody)
    f.ret()
    return f


def _grow() -> Function:
    """void grow(wanted): starts threads until there are so many, or the system gives no more."""
    f = Function("void", "grow", [("i32", "wanted")])
    every, before, attributes, taken = (f.array("i64", 16) for _ in range(4))
    f.call("i32", "sparsec_pthread_mutex_lock", ("ptr", "@pool.lock"))
    here = f.call("i64", "cpu")
    with f.forever() as enough:
        team, refused, more = f.load("i32", "@pool.team"), f.load("i32", "@pool.refused"), f.label()
        wanted = f.both(f.compare("slt", "i32", team, "%wanted"), f.compare("eq", "i32", refused, 0))
        f.branch(wanted, more, enough)
        f.begin(more)
        mask = f.load("i32", "@pool.set_mask")
        # Signals are for Python's own threads.
        f.call("i32", "sparsec_sigfillset", ("ptr", every))
        f.call("i32", "sparsec_pthread_sigmask", ("i32", mask), ("ptr", every), ("ptr", before))
        f.call("i32", "sparsec_pthread_attr_init", ("ptr", attributes))
        f.call("i32", "sparsec_pthread_attr_setstacksize", ("ptr", attributes), ("i64", _STACK))
        number = f.op(f"zext i32 {team} to i64")
        row = _row(f, number)
        status = f.call("i32", "sparsec_pthread_create", ("ptr", row), ("ptr", attributes), ("ptr", "@worker"),
                        ("ptr", f.op(f"inttoptr i64 {number} to ptr")))
        f.call("i32", "sparsec_pthread_attr_destroy", ("ptr", attributes))
        f.call("i32", "sparsec_pthread_sigmask", ("i32", mask), ("ptr", before), ("ptr", "null"))
        made, failed, after = f.label(), f.label(), f.label()
        f.branch(f.compare("eq", "i32", status, 0), made, failed)
        f.begin(made)
        f.call("i32", "sparsec_pthread_detach", ("i64", f.load("i64", row, _THREAD)))
        f.store("i64", 0, row, _MOVED)
        f.store("i64", here, row, _CPU)  # a thread begins where it was made, as far as anybody knows
        _take(f, taken, here)
        f.call("void", "place", ("ptr", row), ("ptr", taken))
        f.store("i32", f.op(f"add i32 {team}, 1"), "@pool.team")
        f.jump(after)
        f.begin(failed)
        f.store("i32", 1, "@pool.refused")
        f.begin(after)
    f.call("i32", "sparsec_pthread_mutex_unlock", ("ptr", "@pool.lock"))
    f.ret()
    return f


def _take(f: Function, taken: str, cpu: str) -> None:
    """Makes `taken` the mask of one processor, or of none."""
    with f.loop(_MASK_WORDS) as k:
        place = f.op(f"sub i64 {cpu}, {f.op(f'shl i64 {k}, 6')}")
        bit = f.op(f"shl i64 1, {f.op(f'and i64 {place}, 63')}")
        f.store("i64", f.op(f"select i1 {f.compare('ult', 'i64', place, 64)}, i64 {bit}, i64 0"), f.row(taken, k, 1))


def _wake() -> Function:
    """void wake(workers): wakes those who sleep, each on a processor of its own as far as there are any."""
    f = Function("void", "wake", [("i64", "workers")])
    taken = f.array("i64", _MASK_WORDS)
    f.call("i32", "sparsec_pthread_mutex_lock", ("ptr", "@pool.lock"))
    _take(f, taken, f.call("i64", "cpu"))
    team = f.op(f"zext i32 {f.load('i32', '@pool.team')} to i64")
    with f.loop(_least(f, "%workers", team)) as k:
        f.call("void", "place", ("ptr", _row(f, k)), ("ptr", taken))
    f.call("i32", "sparsec_pthread_cond_broadcast", ("ptr", "@pool.wake"))
    f.call("i32", "sparsec_pthread_mutex_unlock", ("ptr", "@pool.lock"))
    f.ret()
    return f


def _least(f: Function, a: str, b: str | int) -> str:
    return f.op(f"select i1 {f.compare('slt', 'i64', a, b)}, i64 {a}, i64 {b}")


def _join() -> Function:
    """void join(): until nobody is inside the job that has just been closed."""
    f = Function("void", "join", [])
    alone = f.label()
    _spin(f, alone, "@pool.gate", "eq", 0)
    f.call("i32", "sparsec_pthread_mutex_lock", ("ptr", "@pool.lock"))
    f.poke("i32", 1, "@pool.waiting")
    with f.forever() as left:
        more = f.label()
        f.branch(f.compare("eq", "i32", f.peek("i32", "@pool.gate"), 0), left, more)
        f.begin(more)
        f.call("i32", "sparsec_pthread_cond_wait", ("ptr", "@pool.done"), ("ptr", "@pool.lock"))
    f.poke("i32", 0, "@pool.waiting")
    f.call("i32", "sparsec_pthread_mutex_unlock", ("ptr", "@pool.lock"))
    f.begin(alone)
    f.ret()
    return f


def _share() -> Function:
    f = Function("i32", SHARE, [("ptr", "task"), ("ptr", "context"), ("i64", "turns"), ("i64", "grain"),
                                ("i64", "work"), ("i32", "wanted")], internal=False)

    def parts(whole: str, size: str) -> str:
        return f.op(f"udiv i64 {f.sub(f.add(whole, size), 1)}, {size}")

    some, alone = f.label(), f.label()
    f.branch(f.compare("sgt", "i64", "%turns", "%grain"), some, alone)
    f.begin(some)
    threads = _least(f, f.op("zext i32 %wanted to i64"), MAX_THREADS)
    grains = parts("%turns", "%grain")
    several = f.op(f"mul i64 {threads}, {_CHUNKS}")
    size = f.op(f"mul i64 %grain, {parts(grains, several)}")
    chunks = parts("%turns", size)
    threads = _least(f, threads, chunks)
    several_, mine = f.label(), f.label()
    f.branch(f.compare("sgt", "i64", threads, 1), several_, alone)
    f.begin(several_)
    awake = f.op(f"sub i32 {f.load('i32', '@pool.team')}, {f.peek('i32', '@pool.sleeping')}")
    to_wake = f.compare("slt", "i64", f.add(f.op(f"sext i32 {awake} to i64"), 1), threads)
    with f.when(f.both(to_wake, f.compare("slt", "i64", "%work", _WORTH_WAKING))):
        turn = f.op(f"urem i64 {f.fetch('add', 'i64', '@pool.declined', 1)}, {_EVERY}")
        due = f.label()
        f.branch(f.compare("eq", "i64", turn, _EVERY - 1), due, alone)
        f.begin(due)
    f.branch(f.replaced("i32", "@pool.busy", 0, 1), mine, alone)
    f.begin(mine)
    f.call("void", "grow", ("i32", f.op(f"trunc i64 {f.sub(threads, 1)} to i32")))
    # With more threads than processors, who spins takes time from who works.
    room = f.compare("sle", "i64", threads, f.op(f"zext i32 {f.load('i32', '@pool.cpus')} to i64"))
    f.poke("i32", f.op(f"select i1 {room}, i32 {f.load('i32', '@pool.patience')}, i32 0"), "@pool.spin")
    modes = f.call("i64", "modes")
    for field, type, value in ((_TASK, "ptr", "%task"), (_CONTEXT, "ptr", "%context"), (_TURNS, "i64", "%turns"),
                               (_CHUNK, "i64", size), (_MODES, "i64", modes), (_CALLER, "i64", f.call("i64", "cpu"))):
        f.store(type, value, "@pool.job", field)
    f.poke("i64", threads, f.at("@pool.job", _THREADS))
    f.poke("i64", -1, "@pool.failed")
    with f.loop(threads) as k:
        row = _next(f, k)
        f.poke("i64", f.op(f"udiv i64 {f.op(f'mul i64 {k}, {chunks}')}, {threads}"), row)
        f.store("i64", f.op(f"udiv i64 {f.op(f'mul i64 {f.add(k, 1)}, {chunks}')}, {threads}"), row, 8)
    f.fetch("or", "i32", "@pool.gate", _OPEN)
    f.fetch("add", "i32", "@pool.epoch", 1)
    with f.unless(f.compare("eq", "i32", f.peek("i32", "@pool.sleeping"), 0)):
        f.call("void", "wake", ("i64", f.sub(threads, 1)))
    f.call("i64", "work", ("i64", 0))
    f.fetch("and", "i32", "@pool.gate", _OPEN - 1)
    f.call("void", "join")
    failed = f.peek("i64", "@pool.failed")
    f.store("i64", f.add(f.load("i64", "@pool.jobs"), 1), "@pool.jobs")
    f.poke("i32", 0, "@pool.busy")
    status = f.op(f"trunc i64 {failed} to i32")
    f.ret(f.op(f"select i1 {f.compare('eq', 'i64', failed, -1)}, i32 0, i32 {status}"))
    f.begin(alone)
    f.ret(f.call_at("i32", "%task", ("ptr", "%context"), ("i64", 0), ("i64", "%turns")))
    return f
