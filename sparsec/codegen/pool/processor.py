"""What differs between processors: waiting, and how a thread rounds."""

from __future__ import annotations

from sparsec.codegen.llfunc import Function

__all__ = ["modes", "pause", "set_modes"]


def _family(triple: str) -> str:
    name = triple.split("-", 1)[0]
    if name in ("x86_64", "amd64") or (name.startswith("i") and name.endswith("86")):
        return "x86"
    return "arm" if name in ("aarch64", "arm64", "arm64e") else ""


def pause(triple: str) -> Function:
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


def modes(triple: str) -> Function:
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


def set_modes(triple: str) -> Function:
    """void set_modes(modes): makes this thread round as another one does."""
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
