"""What a call must have beside the right values: its keywords, what was read from outside, arrays that lie to each
other as the specialisation assumes."""

from __future__ import annotations

from sparsec.codegen.llfunc import Function
from sparsec.codegen.stub.phrases import cases, each_row, release
from sparsec.ir.call_record import Guard, Layout, Pair, Record

__all__ = ["guards", "names", "pairs"]


def names(layout: Layout) -> Function:
    """i1 names(record, names): whether the call has the record's keywords, in its order. Both are interned."""
    f = Function("i1", "names", [("ptr", "record"), ("ptr", "names")])
    count = f.variable("i64", 0)
    with f.unless(f.is_null("%names")):
        count.set(f.load("i64", "%names", layout.size))
    with f.unless(f.compare("eq", "i64", count.get(), f.word("%record", Record.NAME_COUNT))):
        f.ret("false")
    wanted = f.word("%record", Record.NAMES, "ptr")
    with f.loop(count.get()) as k:
        name = f.item(f.at("%names", layout.items), k)
        with f.unless(f.compare("eq", "ptr", name, f.item(wanted, k))):
            f.ret("false")
    f.ret("true")
    return f


def guards(layout: Layout) -> Function:
    """i1 guards(record): whether everything that was read from outside is still the same object."""
    f = Function("i1", "guards", [("ptr", "record")])
    miss = f.label("miss")
    with each_row(f, Record.GUARDS) as (_, row):
        owner, name = f.word(row, 1, "ptr"), f.word(row, 2, "ptr")
        found = f.variable("ptr", "null")
        borrowed, owned = f.label(), f.label()
        kinds = cases(f, f.word(row, 0), Guard, miss)
        f.begin(kinds[Guard.ENTRY])
        found.set(f.call("ptr", "sparsec_PyDict_GetItemWithError", ("ptr", owner), ("ptr", name)))
        f.jump(borrowed)
        f.begin(kinds[Guard.CELL])
        found.set(f.load("ptr", owner, layout.cell))
        f.jump(borrowed)
        f.begin(kinds[Guard.ATTRIBUTE])
        found.set(f.call("ptr", "sparsec_PyObject_GetAttr", ("ptr", owner), ("ptr", name)))
        f.jump(owned)
        f.begin(kinds[Guard.ITEM])
        found.set(f.call("ptr", "sparsec_PyObject_GetItem", ("ptr", owner), ("ptr", name)))
        f.jump(owned)
        f.begin(kinds[Guard.CONTEXT])
        f.call("i32", "sparsec_PyContextVar_Get", ("ptr", owner), ("ptr", "null"), ("ptr", found.place))
        f.jump(owned)
        f.begin(owned)
        # Only the object's identity is asked from here on; whoever it came from still holds it, or it differs.
        with f.unless(f.is_null(found.get())):
            release(f, found.get())
        f.begin(borrowed)
        f.jump_unless(f.compare("eq", "ptr", found.get(), f.word(row, 3, "ptr")), miss)
    f.ret("true")
    f.begin(miss)
    f.call("void", "sparsec_PyErr_Clear")
    f.ret("false")
    return f


def pairs(layout: Layout) -> Function:
    """i1 pairs(record, values): whether the arrays lie to each other as the specialisation assumes."""
    f = Function("i1", "pairs", [("ptr", "record"), ("ptr", "values")])
    miss = f.label("miss")

    def data(row: str, word: int) -> str:
        return f.load("i64", f.item("%values", f.word(row, word)), layout.data)

    with each_row(f, Record.PAIRS) as (_, row):
        first, second = data(row, 1), data(row, 2)
        apart, distance, done = f.label(), f.label(), f.label()
        f.branch(f.compare("eq", "i64", f.word(row, 0), int(Pair.APART)), apart, distance)
        f.begin(apart)
        before = f.compare("ule", "i64", f.add(first, f.word(row, 4)), f.add(second, f.word(row, 5)))
        behind = f.compare("ule", "i64", f.add(second, f.word(row, 6)), f.add(first, f.word(row, 3)))
        f.branch(f.either(before, behind), done, miss)
        f.begin(distance)
        f.branch(f.compare("eq", "i64", f.sub(second, first), f.word(row, 3)), done, miss)
        f.begin(done)
    f.ret("true")
    f.begin(miss)
    f.ret("false")
    return f
