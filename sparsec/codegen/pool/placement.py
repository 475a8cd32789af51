"""Where threads run: who wakes a worker keeps it away from the processors that are taken, until it runs.

Linux likes to wake a thread where it slept, which may be where its caller now runs, and in a virtual machine it
may leave both there for many milliseconds while other processors idle. Other systems are left alone.
"""

from __future__ import annotations

from sparsec.codegen.llfunc import Function
from sparsec.codegen.pool.state import CPU, MASK, MASK_WORDS, MOVED, THREAD, locked

__all__ = ["cpu", "narrow", "only", "place", "put_back", "step_aside"]


def cpu(triple: str) -> Function:
    """i64 cpu(): the processor that this thread runs on; -1 where the system does not tell."""
    f = Function("i64", "cpu", [])
    if "linux" in triple:
        f.ret(f.op(f"sext i32 {f.call('i32', 'sparsec_sched_getcpu')} to i64"))
    else:
        f.ret(-1)
    return f


def place(triple: str) -> Function:
    """void place(worker, taken): keeps a sleeping worker away from processors that are taken, until it runs, and
    adds its own to them. `taken` is a mask of processors. The lock is held."""
    f = Function("void", "place", [("ptr", "worker"), ("ptr", "taken")])
    if "linux" not in triple:
        f.ret()
        return f
    cpu, out = f.load("i64", "%worker", CPU), f.label()
    f.jump_unless(f.compare("ult", "i64", cpu, 64 * MASK_WORDS), out)
    with f.when(f.compare("eq", "i64", f.load("i64", "%worker", MOVED), 0)):
        f.call("void", "narrow", ("ptr", "%worker"), ("ptr", "%taken"))
    word = f.row("%taken", f.op(f"lshr i64 {cpu}, 6"), 1)
    bit = f.op(f"shl i64 1, {f.op(f'and i64 {cpu}, 63')}")
    f.store("i64", f.op(f"or i64 {f.load('i64', word)}, {bit}"), word)
    f.begin(out)
    f.ret()
    return f


def narrow(triple: str) -> Function:
    """void narrow(worker, taken): takes processors from a worker, if that leaves it any."""
    f = Function("void", "narrow", [("ptr", "worker"), ("ptr", "taken")])
    if "linux" not in triple:
        f.ret()
        return f
    thread, mask, narrow = f.load("i64", "%worker", THREAD), f.at("%worker", MASK), f.array("i64", MASK_WORDS)
    size, left = ("i64", 8 * MASK_WORDS), f.variable("i64", 0)
    out = f.label()
    status = f.call("i32", "sparsec_pthread_getaffinity_np", ("i64", thread), size, ("ptr", mask))
    f.jump_unless(f.compare("eq", "i32", status, 0), out)
    with f.loop(MASK_WORDS) as k:
        others = f.op(f"xor i64 {f.item('%taken', k, 'i64')}, -1")
        free = f.op(f"and i64 {f.item(mask, k, 'i64')}, {others}")
        f.set_item(free, narrow, k, "i64")
        left.set(f.op(f"or i64 {left.get()}, {free}"))
    f.jump_if(f.compare("eq", "i64", left.get(), 0), out)
    status = f.call("i32", "sparsec_pthread_setaffinity_np", ("i64", thread), size, ("ptr", narrow))
    f.jump_unless(f.compare("eq", "i32", status, 0), out)
    f.store("i64", 1, "%worker", MOVED)
    f.begin(out)
    f.ret()
    return f


def put_back(triple: str) -> Function:
    """void put_back(worker): lets a worker that was moved run where it might before. The lock is held."""
    f = Function("void", "put_back", [("ptr", "worker")])
    f.store("i64", -1, "%worker", CPU)
    if "linux" in triple:
        with f.unless(f.compare("eq", "i64", f.load("i64", "%worker", MOVED), 0)):
            f.store("i64", 0, "%worker", MOVED)
            f.call("i32", "sparsec_pthread_setaffinity_np", ("i64", f.load("i64", "%worker", THREAD)),
                   ("i64", 8 * MASK_WORDS), ("ptr", f.at("%worker", MASK)))
    f.ret()
    return f


def step_aside(triple: str) -> Function:
    """void step_aside(worker): away from the processor that the caller needs."""
    f = Function("void", "step_aside", [("ptr", "worker")])
    if "linux" in triple:
        taken, here = f.array("i64", MASK_WORDS), f.call("i64", "cpu")
        only(f, taken, here)
        with locked(f):
            f.store("i64", here, "%worker", CPU)
            f.call("void", "place", ("ptr", "%worker"), ("ptr", taken))
            f.call("void", "put_back", ("ptr", "%worker"))
    f.ret()
    return f


def only(f: Function, taken: str, cpu: str) -> None:
    """Makes `taken` the mask of one processor, or of none."""
    with f.loop(MASK_WORDS) as k:
        place = f.op(f"sub i64 {cpu}, {f.op(f'shl i64 {k}, 6')}")
        bit = f.op(f"shl i64 1, {f.op(f'and i64 {place}, 63')}")
        f.set_item(f.op(f"select i1 {f.compare('ult', 'i64', place, 64)}, i64 {bit}, i64 0"), taken, k, "i64")
