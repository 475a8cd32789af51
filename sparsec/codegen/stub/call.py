"""The module, and the vectorcall of a jitted function."""

from __future__ import annotations

from sparsec.codegen.llfunc import Function, module_text
from sparsec.codegen.result_memory import result_memory
from sparsec.codegen.stub.arena import ARENA, arena, give_back
from sparsec.codegen.stub.arrays import amount, fresh, large, sized, view
from sparsec.codegen.stub.attempt import attempt
from sparsec.codegen.stub.blocks import blocks, drop_blocks, free_memory, owned_memory
from sparsec.codegen.stub.checks import checks
from sparsec.codegen.stub.fits import guards, names, pairs
from sparsec.codegen.stub.phrases import hold, release
from sparsec.ir.call_record import Layout

__all__ = ["CALL", "stub_text"]

#: The exported function.
CALL = "sparsec_call"

#: Set in `nargsf` when the caller lends the word before the arguments.
_LENT = 1 << 63


def stub_text(layout: Layout, *, huge_pages: bool = False) -> str:
    """The module, for any machine. Functions of Python and NumPy have the prefix `sparsec_`. huge_pages: the system
    has Linux's `madvise`."""
    memory, functions = result_memory(huge_pages=huge_pages)
    parts = [names(layout), guards(layout), checks(layout), pairs(layout), arena(), give_back(), amount(),
             fresh(), *functions, large(), view(layout), sized(layout), owned_memory(), free_memory(),
             blocks(layout), drop_blocks(), attempt(layout), _call(layout)]
    outside = [f"@sparsec_{name} = external global i8" for name in ("array_type", "call_name")]
    return module_text([*memory, *ARENA, *outside], parts)


def _call(layout: Layout) -> Function:
    """The vectorcall: tries the records in the table, then `__call__`.

    The table is a tuple whose first item is an array: the number of records, then their addresses. The tuple
    keeps the records; it is held for the time of the call, since another thread may put a new one in its place.
    """
    f = Function("ptr", CALL, [("ptr", "self"), ("ptr", "args"), ("i64", "nargsf"), ("ptr", "names")], internal=False)
    count = f.op(f"and i64 %nargsf, {_LENT - 1}")
    slow = f.label("slow")
    table = f.load("ptr", "%self", layout.table)
    out = f.variable("ptr", "null")
    f.jump_if(f.is_null(table), slow)
    hold(f, table)
    words = f.load("ptr", f.load("ptr", table, layout.items), layout.data)
    records = f.at(words, 8)
    with f.loop(f.load("i64", words)) as k:
        place = f.row(records, k, 1)
        record = f.load("ptr", place)
        with f.when(f.call("i1", "attempt", ("ptr", record), ("ptr", "%args"), ("i64", count), ("ptr", "%names"),
                           ("ptr", out.place))):
            # One place nearer to the front: the record in use is soon the first.
            with f.unless(f.compare("eq", "i64", k, 0)):
                before = f.row(records, f.sub(k, 1), 1)
                moved = f.load("ptr", place)
                f.store("ptr", f.load("ptr", before), place)
                f.store("ptr", moved, before)
            release(f, table)
            f.ret(out.get())
    release(f, table)
    f.begin(slow)
    f.ret(_slow(f, count))
    return f


def _slow(f: Function, count: str) -> str:
    """`self.__call__(...)` in Python, with the arguments as they came."""
    named = f.variable("i64", 0)
    with f.unless(f.is_null("%names")):
        named.set(f.call("i64", "sparsec_PyTuple_Size", ("ptr", "%names")))
    total = f.add(count, named.get())
    memory = f.call("ptr", "sparsec_malloc", ("i64", f.op(f"mul i64 {f.add(total, 1)}, 8")))
    with f.when(f.is_null(memory)):
        f.ret(f.call("ptr", "sparsec_PyErr_NoMemory"))
    f.store("ptr", "%self", memory)
    behind = f.at(memory, 8)
    with f.loop(total) as k:
        f.set_item(f.item("%args", k), behind, k)
    result = f.call("ptr", "sparsec_PyObject_VectorcallMethod", ("ptr", "@sparsec_call_name"), ("ptr", memory),
                    ("i64", f.add(count, 1)), ("ptr", "%names"))
    f.call("void", "sparsec_free", ("ptr", memory))
    return result
