"""Memory of large results: what NumPy frees is kept for the next one, within bounds.

    ptr result_memory.handler()     the capsule that NumPy takes as an array's memory handler; null: none
    ptr result_memory.alloc(context, size), … free(context, place, size)    what it holds

Fresh memory from the system costs more than most kernels that fill it: each page is cleared when it is first
touched. An array of such memory is NumPy's own in every way (it owns its data, and may be resized); when it goes,
its block stays here for a result of up to that size, and at most a quarter smaller. No more than `KEPT_BYTES` in
`_PLACES` blocks are kept; the oldest goes first. From `_HUGE` on memory is asked for in huge pages, as NumPy does.

The GIL is held whenever these functions run, so plain loads and stores will do.
"""

from __future__ import annotations

from sparsec.codegen.llfunc import Function

__all__ = ["HANDLER", "KEPT_BYTES", "result_memory"]

#: How much is kept, in how many blocks.
KEPT_BYTES, _PLACES = 64 << 20, 16

HANDLER = "result_memory.handler"

_HUGE, _PAGE, _ADVICE = 4 << 20, 2 << 20, 14  # Linux's MADV_HUGEPAGE

# A block begins with its number of bytes, and its data behind that.
_HEAD = 64


def result_memory(*, huge_pages: bool) -> tuple[tuple[str, ...], tuple[Function, ...]]:
    """Globals and functions of a module. huge_pages: the system has Linux's `madvise`."""
    functions = (_take(), _alloc(huge_pages), _calloc(), _realloc(), _free(), _handler())
    names = ", ".join(f"ptr @result_memory.{name}" for name in ("alloc", "calloc", "realloc", "free"))
    title = "sparsec" + "\\00" * (127 - len("sparsec"))
    return (
        f"@kept = internal global [{_PLACES} x ptr] zeroinitializer",  # oldest first
        "@kept.count = internal global i64 0",
        "@kept.bytes = internal global i64 0",
        "@handler = internal global { [127 x i8], i8, ptr, ptr, ptr, ptr, ptr } "
        f'{{ [127 x i8] c"{title}", i8 1, ptr null, {names} }}, align 64',
        '@handler.kind = internal constant [12 x i8] c"mem_handler\\00"',
        "@handler.capsule = internal global ptr null",
    ), functions


def _take() -> Function:
    """void take(number): removes a block from the table."""
    f = Function("void", "result_memory.take", [("i64", "number")])
    last = f.sub(f.load("i64", "@kept.count"), 1)
    size = f.load("i64", f.load("ptr", f.row("@kept", "%number", 1)))
    f.store("i64", f.sub(f.load("i64", "@kept.bytes"), size), "@kept.bytes")
    with f.loop(f.sub(last, "%number")) as k:
        place = f.row("@kept", f.add("%number", k), 1)
        f.store("ptr", f.load("ptr", f.at(place, 8)), place)
    f.store("i64", last, "@kept.count")
    f.ret()
    return f


def _alloc(huge_pages: bool) -> Function:
    f = Function("ptr", "result_memory.alloc", [("ptr", "context"), ("i64", "size")])
    count = f.load("i64", "@kept.count")
    most = f.add("%size", f.op("lshr i64 %size, 2"))
    with f.loop(count) as k:
        number = f.sub(f.sub(count, 1), k)  # the newest first: it may still be in the cache
        block = f.load("ptr", f.row("@kept", number, 1))
        have = f.load("i64", block)
        with f.when(f.both(f.compare("uge", "i64", have, "%size"), f.compare("ule", "i64", have, most))):
            f.call("void", "result_memory.take", ("i64", number))
            f.ret(f.at(block, _HEAD))
    total = f.add("%size", _HEAD)
    with f.when(f.compare("ult", "i64", total, "%size")):
        f.ret("null")
    place = f.variable("ptr", "null")
    huge = f.compare("uge", "i64", "%size", _HUGE)
    align = f.op(f"select i1 {huge}, i64 {_PAGE if huge_pages else _HEAD}, i64 {_HEAD}")
    status = f.call("i32", "sparsec_posix_memalign", ("ptr", place.place), ("i64", align), ("i64", total))
    with f.unless(f.compare("eq", "i32", status, 0)):
        f.ret("null")
    block = place.get()
    if huge_pages:
        with f.when(huge):
            f.call("i32", "sparsec_madvise", ("ptr", block), ("i64", total), ("i32", _ADVICE))
    f.store("i64", "%size", block)
    f.ret(f.at(block, _HEAD))
    return f


def _calloc() -> Function:
    f = Function("ptr", "result_memory.calloc", [("ptr", "context"), ("i64", "count"), ("i64", "each")])
    pair = f.op("call { i64, i1 } @llvm.umul.with.overflow.i64(i64 %count, i64 %each)")
    f.declared["llvm.umul.with.overflow.i64"] = "declare { i64, i1 } @llvm.umul.with.overflow.i64(i64, i64)"
    with f.when(f.op(f"extractvalue {{ i64, i1 }} {pair}, 1")):
        f.ret("null")
    size = f.op(f"extractvalue {{ i64, i1 }} {pair}, 0")
    made = f.call("ptr", "result_memory.alloc", ("ptr", "null"), ("i64", size))
    with f.unless(f.is_null(made)):
        f.call("void", "llvm.memset.p0.i64", ("ptr", made), ("i8", 0), ("i64", size), ("i1", "false"))
    f.ret(made)
    return f


def _realloc() -> Function:
    f = Function("ptr", "result_memory.realloc", [("ptr", "context"), ("ptr", "place"), ("i64", "size")])
    made = f.call("ptr", "result_memory.alloc", ("ptr", "null"), ("i64", "%size"))
    with f.when(f.either(f.is_null(made), f.is_null("%place"))):
        f.ret(made)
    have = f.load("i64", f.at("%place", -_HEAD))
    least = f.op(f"select i1 {f.compare('ult', 'i64', have, '%size')}, i64 {have}, i64 %size")
    f.call("void", "llvm.memcpy.p0.p0.i64", ("ptr", made), ("ptr", "%place"), ("i64", least), ("i1", "false"))
    f.call("void", "result_memory.free", ("ptr", "null"), ("ptr", "%place"), ("i64", 0))
    f.ret(made)
    return f


def _free() -> Function:
    f = Function("void", "result_memory.free", [("ptr", "context"), ("ptr", "place"), ("i64", "size")])
    with f.when(f.is_null("%place")):
        f.ret()
    block = f.at("%place", -_HEAD)
    size = f.load("i64", block)
    with f.when(f.compare("ugt", "i64", size, KEPT_BYTES)):
        f.call("void", "sparsec_free", ("ptr", block))
        f.ret()
    with f.forever() as enough:
        count, held = f.load("i64", "@kept.count"), f.load("i64", "@kept.bytes")
        full = f.either(f.compare("eq", "i64", count, _PLACES),
                        f.compare("ugt", "i64", f.add(held, size), KEPT_BYTES))
        more = f.label()
        f.branch(full, more, enough)
        f.begin(more)
        oldest = f.load("ptr", "@kept")
        f.call("void", "result_memory.take", ("i64", 0))
        f.call("void", "sparsec_free", ("ptr", oldest))
    count = f.load("i64", "@kept.count")
    f.store("ptr", block, f.row("@kept", count, 1))
    f.store("i64", f.add(count, 1), "@kept.count")
    f.store("i64", f.add(f.load("i64", "@kept.bytes"), size), "@kept.bytes")
    f.ret()
    return f


def _handler() -> Function:
    f = Function("ptr", HANDLER, [])
    with f.when(f.is_null(f.load("ptr", "@handler.capsule"))):
        made = f.call("ptr", "sparsec_PyCapsule_New", ("ptr", "@handler"), ("ptr", "@handler.kind"), ("ptr", "null"))
        f.store("ptr", made, "@handler.capsule")
    f.ret(f.load("ptr", "@handler.capsule"))
    return f
