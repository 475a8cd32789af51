"""The native half of a call: checks a call against the records of a function's specialisations and runs the one
that fits, without a line of Python (`ir.call_record` says what a record is).

    PyObject *sparsec_call(self, args, nargsf, kwnames)      the vectorcall of a jitted function

What it does not know (another kind of argument, no memory, a check that failed) it leaves to the object's own
`__call__`, which starts from the beginning: nothing has been written by then. It serves every specialisation, so a
program pays for it once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sparsec.codegen.llfunc import Function, Variable, module_text
from sparsec.codegen.result_memory import HANDLER, result_memory
from sparsec.ir.call_record import (
    ANY,
    MAX_LEAVES,
    MAX_POINTERS,
    MAX_RANK,
    MAX_VALUES,
    SCRATCH_BYTES,
    WORDS,
    Check,
    Guard,
    Pair,
    Param,
    Record,
    Result,
    Step,
)

__all__ = ["CALL", "Layout", "stub_text"]

#: The exported function.
CALL = "sparsec_call"

#: Set in `nargsf` when the caller lends the word before the arguments.
_LENT = 1 << 63

#: Memory for temporaries is kept between calls up to this size.
_KEPT_BYTES = 256 << 20

_EQ = 2  # Py_EQ


@dataclass(frozen=True, slots=True)
class Layout:
    """Byte offsets of the fields that are read: of any object, of NumPy's arrays, of numbers, tuples and cells,
    and of the table in a jitted function."""

    type: int
    data: int
    rank: int
    dims: int
    strides: int
    descr: int
    flags: int
    number: int
    size: int
    items: int
    cell: int
    table: int


def stub_text(layout: Layout, *, huge_pages: bool = False) -> str:
    """The module, for any machine. Functions of Python and NumPy have the prefix `sparsec_`. huge_pages: the system
    has Linux's `madvise`."""
    memory, functions = result_memory(huge_pages=huge_pages)
    parts = [_names(layout), _guards(layout), _checks(layout), _pairs(layout), _arena(), _give_back(), _amount(),
             _fresh(), *functions, _large(), _view(layout), _sized(layout), _owned_memory(), _free_memory(),
             _blocks(layout), _drop_blocks(), _attempt(layout), _call(layout)]
    return module_text(
        [*memory, "@arena.busy = internal global i64 0", "@arena.place = internal global ptr null",
         "@arena.size = internal global i64 0", "@sparsec_array_type = external global i8",
         "@sparsec_call_name = external global i8"], parts)


#: NPY_ARRAY_…
_CONTIGUOUS, _WRITEABLE = 0x0001, 0x0400


def _names(layout: Layout) -> Function:
    """i1 names(record, names): whether the call has the record's keywords, in its order. Both are interned."""
    f = Function("i1", "names", [("ptr", "record"), ("ptr", "names")])
    count = f.variable("i64", 0)
    with f.unless(f.is_null("%names")):
        count.set(f.load("i64", "%names", layout.size))
    with f.unless(f.compare("eq", "i64", count.get(), f.word("%record", Record.NAME_COUNT))):
        f.ret("false")
    wanted = f.word("%record", Record.NAMES, "ptr")
    with f.loop(count.get()) as k:
        name = f.load("ptr", f.row(f.at("%names", layout.items), k, 1))
        with f.unless(f.compare("eq", "ptr", name, f.word(f.row(wanted, k, 1), 0, "ptr"))):
            f.ret("false")
    f.ret("true")
    return f


def _guards(layout: Layout) -> Function:
    """i1 guards(record): whether everything that was read from outside is still the same object."""
    f = Function("i1", "guards", [("ptr", "record")])
    table = f.word("%record", Record.GUARDS, "ptr")
    miss = f.label("miss")
    with f.loop(f.word("%record", Record.GUARD_COUNT)) as k:
        row = f.row(table, k, WORDS["guard"])
        owner, name = f.word(row, 1, "ptr"), f.word(row, 2, "ptr")
        found = f.variable("ptr", "null")
        cases = {kind: f.label() for kind in Guard}
        borrowed, owned, after = f.label(), f.label(), f.label()
        f.switch(f.word(row, 0), [(int(k), v) for k, v in cases.items()], miss)
        f.begin(cases[Guard.ENTRY])
        found.set(f.call("ptr", "sparsec_PyDict_GetItemWithError", ("ptr", owner), ("ptr", name)))
        f.jump(borrowed)
        f.begin(cases[Guard.CELL])
        found.set(f.load("ptr", owner, layout.cell))
        f.jump(borrowed)
        f.begin(cases[Guard.ATTRIBUTE])
        found.set(f.call("ptr", "sparsec_PyObject_GetAttr", ("ptr", owner), ("ptr", name)))
        f.jump(owned)
        f.begin(cases[Guard.ITEM])
        found.set(f.call("ptr", "sparsec_PyObject_GetItem", ("ptr", owner), ("ptr", name)))
        f.jump(owned)
        f.begin(cases[Guard.CONTEXT])
        f.call("i32", "sparsec_PyContextVar_Get", ("ptr", owner), ("ptr", "null"), ("ptr", found.place))
        f.jump(owned)
        f.begin(owned)
        # Only the object's identity is asked from here on; whoever it came from still holds it, or it differs.
        with f.unless(f.is_null(found.get())):
            f.call("void", "sparsec_Py_DecRef", ("ptr", found.get()))
        f.begin(borrowed)
        same = f.label()
        f.branch(f.compare("eq", "ptr", found.get(), f.word(row, 3, "ptr")), after, same)
        f.begin(same)
        f.jump(miss)
        f.begin(after)
    f.ret("true")
    f.begin(miss)
    f.call("void", "sparsec_PyErr_Clear")
    f.ret("false")
    return f


def _checks(layout: Layout) -> Function:
    """i1 checks(record, values, taken): whether every value is what the specialisation was made for.

    What is found in containers and objects goes behind the values that there are; a reference to each is held, since
    somebody else may empty a list while the function runs. `taken` counts all values so far.
    """
    f = Function("i1", "checks", [("ptr", "record"), ("ptr", "values"), ("ptr", "taken")])
    table = f.word("%record", Record.CHECKS, "ptr")
    miss = f.label("miss")

    def must(condition: str) -> None:
        after = f.label()
        f.branch(condition, after, miss)
        f.begin(after)

    with f.loop(f.word("%record", Record.CHECK_COUNT)) as k:
        row = f.row(table, k, WORDS["check"])
        value = f.word(f.row("%values", f.word(row, 1), 1), 0, "ptr")
        kind = f.word(row, 0)
        done = f.label("done")
        for number, write in ((Check.ARRAY, _check_array), (Check.NUMBER, _check_number), (Check.SAME, _check_same),
                              (Check.EQUAL, _check_equal), (Check.TUPLE, _check_tuple), (Check.LIST, _check_list),
                              (Check.DICT, _check_dict), (Check.OBJECT, _check_object), (Check.INDEX, _check_index)):
            with f.when(f.compare("eq", "i64", kind, int(number))):
                write(f, layout, row, value, must)
                f.jump(done)
        f.jump(miss)
        f.begin(done)
    f.ret("true")
    f.begin(miss)
    f.ret("false")
    return f


Must = Callable[[str], None]


def _type_is(f: Function, layout: Layout, row: str, value: str) -> str:
    return f.compare("eq", "ptr", f.load("ptr", value, layout.type), f.word(row, 2, "ptr"))


def _check_same(f: Function, layout: Layout, row: str, value: str, must: Must) -> None:
    must(f.compare("eq", "ptr", value, f.word(row, 2, "ptr")))


def _check_equal(f: Function, layout: Layout, row: str, value: str, must: Must) -> None:
    must(_type_is(f, layout, row, value))
    wanted = f.word(row, 3, "ptr")
    with f.unless(f.compare("eq", "ptr", value, wanted)):
        equal = f.call("i32", "sparsec_PyObject_RichCompareBool", ("ptr", value), ("ptr", wanted), ("i32", _EQ))
        must(f.compare("eq", "i32", equal, 1))


def _check_number(f: Function, layout: Layout, row: str, value: str, must: Must) -> None:
    must(_type_is(f, layout, row, value))


def _take(f: Function, item: str, *, owned: bool = False) -> None:
    """One more value."""
    if not owned:
        f.call("void", "sparsec_Py_IncRef", ("ptr", item))
    count = f.load("i64", "%taken")
    f.store("ptr", item, f.row("%values", count, 1))
    f.store("i64", f.add(count, 1), "%taken")


def _check_tuple(f: Function, layout: Layout, row: str, value: str, must: Must) -> None:
    must(_type_is(f, layout, row, value))
    count = f.word(row, 3)
    must(f.compare("eq", "i64", f.load("i64", value, layout.size), count))
    with f.loop(count) as k:
        _take(f, f.load("ptr", f.row(f.at(value, layout.items), k, 1)))


def _check_list(f: Function, layout: Layout, row: str, value: str, must: Must) -> None:
    must(_type_is(f, layout, row, value))
    count = f.word(row, 3)
    must(f.compare("eq", "i64", f.call("i64", "sparsec_PyList_Size", ("ptr", value)), count))
    with f.loop(count) as k:
        _take(f, f.call("ptr", "sparsec_PyList_GetItem", ("ptr", value), ("i64", k)))


def _check_dict(f: Function, layout: Layout, row: str, value: str, must: Must) -> None:
    must(_type_is(f, layout, row, value))
    count, keys = f.word(row, 3), f.word(row, 5, "ptr")
    must(f.compare("eq", "i64", f.call("i64", "sparsec_PyDict_Size", ("ptr", value)), count))
    at, key, item = f.variable("i64", 0), f.variable("ptr", "null"), f.variable("ptr", "null")
    with f.loop(count) as k:
        more = f.call("i32", "sparsec_PyDict_Next", ("ptr", value), ("ptr", at.place), ("ptr", key.place),
                      ("ptr", item.place))
        must(f.compare("ne", "i32", more, 0))
        wanted, found = f.word(f.row(keys, k, 1), 0, "ptr"), key.get()
        with f.unless(f.compare("eq", "ptr", found, wanted)):  # equal numbers and texts: no code of others runs
            must(f.compare("eq", "ptr", f.load("ptr", found, layout.type), f.load("ptr", wanted, layout.type)))
            equal = f.call("i32", "sparsec_PyObject_RichCompareBool", ("ptr", found), ("ptr", wanted), ("i32", _EQ))
            must(f.compare("eq", "i32", equal, 1))
        _take(f, item.get())


def _check_object(f: Function, layout: Layout, row: str, value: str, must: Must) -> None:
    must(_type_is(f, layout, row, value))
    names = f.word(row, 5, "ptr")
    with f.loop(f.word(row, 3)) as k:
        name = f.word(f.row(names, k, 1), 0, "ptr")
        found = f.call("ptr", "sparsec_PyObject_GetAttr", ("ptr", value), ("ptr", name))
        with f.when(f.is_null(found)):
            f.call("void", "sparsec_PyErr_Clear")
            must("false")
        _take(f, found, owned=True)


def _check_index(f: Function, layout: Layout, row: str, value: str, must: Must) -> None:
    def length(array: str, axis: str | int = 0) -> str:
        return f.word(f.row(f.load("ptr", array, layout.dims), axis, 1), 0)

    def other(word: int) -> str:
        return f.word(f.row("%values", f.word(row, word), 1), 0, "ptr")

    live = length(value)
    must(f.compare("sgt", "i64", live, 0))
    must(f.compare("sle", "i64", live, f.word(row, 4)))
    must(f.compare("eq", "i64", live, length(other(2), f.word(row, 3))))
    must(f.compare("eq", "i64", live, length(other(6))))
    numbers, before = f.load("ptr", value, layout.data), f.variable("i32", -1)
    with f.loop(live) as k:
        number = f.load("i32", f.op(f"getelementptr i32, ptr {numbers}, i64 {k}"))
        must(f.compare("sgt", "i32", number, before.get()))
        before.set(number)
    last = f.op(f"sext i32 {before.get()} to i64")
    must(f.compare("slt", "i64", last, f.word(row, 5)))


def _check_array(f: Function, layout: Layout, row: str, value: str, must: Must) -> None:
    must(_type_is(f, layout, row, value))
    rank = f.word(row, 4)
    now = f.op(f"sext i32 {f.load('i32', value, layout.rank)} to i64")
    flags = f.op(f"sext i32 {f.load('i32', value, layout.flags)} to i64")
    flags = f.op(f"and i64 {flags}, {f.word(row, 5)}")
    low = f.op(f"and i64 {f.load('i64', value, layout.data)}, {f.word(row, 7)}")
    good = f.both(f.compare("eq", "ptr", f.load("ptr", value, layout.descr), f.word(row, 3, "ptr")),
                  f.compare("eq", "i64", now, rank))
    good = f.both(good, f.compare("eq", "i64", flags, f.word(row, 6)))
    must(f.both(good, f.compare("eq", "i64", low, 0)))
    dims, strides = f.load("ptr", value, layout.dims), f.load("ptr", value, layout.strides)
    wanted = f.word(row, 8, "ptr")
    with f.loop(rank) as k:
        pair = f.row(wanted, k, 2)
        stride = f.word(pair, 1)
        fits = f.either(f.compare("eq", "i64", f.word(f.row(strides, k, 1), 0), stride),
                        f.compare("eq", "i64", stride, ANY))
        size = f.word(pair, 0)
        long = f.either(f.compare("eq", "i64", f.word(f.row(dims, k, 1), 0), size), f.compare("eq", "i64", size, ANY))
        must(f.both(fits, long))


def _pairs(layout: Layout) -> Function:
    """i1 pairs(record, values): whether the arrays lie to each other as the specialisation assumes."""
    f = Function("i1", "pairs", [("ptr", "record"), ("ptr", "values")])
    table = f.word("%record", Record.PAIRS, "ptr")
    miss = f.label("miss")

    def data(row: str, word: int) -> str:
        return f.load("i64", f.word(f.row("%values", f.word(row, word), 1), 0, "ptr"), layout.data)

    with f.loop(f.word("%record", Record.PAIR_COUNT)) as k:
        row = f.row(table, k, WORDS["pair"])
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


def _arena() -> Function:
    """ptr arena(size): memory for temporaries, the one that is kept if nobody has it. Null: there is none.

    The GIL is held here and in `give_back`, so plain loads and stores will do.
    """
    f = Function("ptr", "arena", [("i64", "size")])
    mine = f.label()
    busy = f.load("i64", "@arena.busy")
    big = f.compare("ugt", "i64", "%size", _KEPT_BYTES)
    with f.unless(f.compare("eq", "i64", f.op(f"select i1 {big}, i64 1, i64 {busy}"), 0)):
        f.ret(f.call("ptr", "sparsec_malloc", ("i64", "%size")))
    place = f.load("ptr", "@arena.place")
    have = f.load("i64", "@arena.size")
    grow = f.label()
    f.branch(f.compare("uge", "i64", have, "%size"), mine, grow)
    f.begin(grow)
    f.call("void", "sparsec_free", ("ptr", place))
    fresh = f.call("ptr", "sparsec_malloc", ("i64", "%size"))
    f.store("ptr", fresh, "@arena.place")
    failed = f.is_null(fresh)
    f.store("i64", f.op(f"select i1 {failed}, i64 0, i64 %size"), "@arena.size")
    with f.when(failed):
        f.ret("null")
    f.begin(mine)
    f.store("i64", 1, "@arena.busy")
    f.ret(f.load("ptr", "@arena.place"))
    return f


def _give_back() -> Function:
    """void give_back(place): ends what `arena` began."""
    f = Function("void", "give_back", [("ptr", "place")])
    kept = f.both(f.compare("eq", "ptr", "%place", f.load("ptr", "@arena.place")),
                  f.compare("ne", "ptr", "%place", "null"))
    with f.when(kept):
        f.store("i64", 0, "@arena.busy")
        f.ret()
    f.call("void", "sparsec_free", ("ptr", "%place"))
    f.ret()
    return f


def _amount() -> Function:
    """i64 amount(row, pointers): the value of an amount."""
    f = Function("i64", "amount", [("ptr", "row"), ("ptr", "pointers")])
    total, terms = f.variable("i64", 0), f.word("%row", 1, "ptr")
    with f.loop(f.word("%row", 0)) as k:
        term = f.row(terms, k, WORDS["term"])
        value = f.variable("i64", f.word(term, 0))
        with f.loop(f.word(term, 1)) as j:
            number = f.load("i64", f.row(f.at(term, 16), j, 1))
            signs = f.op(f"ashr i64 {number}, 63")  # all ones for ~number
            place = f.load("ptr", f.row("%pointers", f.op(f"xor i64 {number}, {signs}"), 1))
            found = f.load("i64", place)
            from_zero = f.both(f.compare("ne", "i64", signs, 0), f.compare("slt", "i64", found, 0))
            factor = f.op(f"select i1 {from_zero}, i64 0, i64 {found}")
            value.set(f.op(f"mul i64 {value.get()}, {factor}"))
        total.set(f.add(total.get(), value.get()))
    f.ret(total.get())
    return f


def _fresh() -> Function:
    """ptr fresh(descr, rank, dims): an array with memory of its own, or null with an exception set."""
    f = Function("ptr", "fresh", [("ptr", "descr"), ("i64", "rank"), ("ptr", "dims")])
    f.call("void", "sparsec_Py_IncRef", ("ptr", "%descr"))
    f.ret(f.call("ptr", "sparsec_PyArray_NewFromDescr", ("ptr", "@sparsec_array_type"), ("ptr", "%descr"),
                 ("i32", f.op("trunc i64 %rank to i32")), ("ptr", "%dims"), ("ptr", "null"), ("ptr", "null"),
                 ("i32", 0), ("ptr", "null")))
    return f


def _large() -> Function:
    """ptr large(descr, rank, dims): as `fresh`, with memory that large results have had before."""
    f = Function("ptr", "large", [("ptr", "descr"), ("i64", "rank"), ("ptr", "dims")])
    handler = f.call("ptr", HANDLER)
    with f.when(f.is_null(handler)):
        f.ret("null")
    before = f.call("ptr", "sparsec_PyDataMem_SetHandler", ("ptr", handler))
    with f.when(f.is_null(before)):
        f.ret("null")
    made = f.call("ptr", "fresh", ("ptr", "%descr"), ("i64", "%rank"), ("ptr", "%dims"))
    ours = f.call("ptr", "sparsec_PyDataMem_SetHandler", ("ptr", before))
    f.call("void", "sparsec_Py_DecRef", ("ptr", before))
    f.call("void", "sparsec_Py_DecRef", ("ptr", ours))
    f.ret(made)
    return f


def _elements(f: Function, rank: str, dims: str) -> str:
    total = f.variable("i64", 1)
    with f.loop(rank) as k:
        total.set(f.op(f"mul i64 {total.get()}, {f.load('i64', f.row(dims, k, 1))}"))
    return total.get()


def _view(layout: Layout) -> Function:
    """ptr view(descr, rank, dims, strides, data, flags, owner): an array over `owner`'s memory. What has no elements
    is an array of its own."""
    f = Function("ptr", "view", [("ptr", "descr"), ("i64", "rank"), ("ptr", "dims"), ("ptr", "strides"),
                                 ("ptr", "data"), ("i64", "flags"), ("ptr", "owner")])
    with f.when(f.compare("eq", "i64", _elements(f, "%rank", "%dims"), 0)):
        empty = f.call("ptr", "fresh", ("ptr", "%descr"), ("i64", "%rank"), ("ptr", "%dims"))
        with f.unless(f.either(f.is_null(empty), f.compare("ne", "i64", "%flags", 0))):
            now = f.load("i32", empty, layout.flags)
            f.store("i32", f.op(f"and i32 {now}, {~_WRITEABLE}"), empty, layout.flags)
        f.ret(empty)
    f.call("void", "sparsec_Py_IncRef", ("ptr", "%descr"))
    made = f.call("ptr", "sparsec_PyArray_NewFromDescr", ("ptr", "@sparsec_array_type"), ("ptr", "%descr"),
                  ("i32", f.op("trunc i64 %rank to i32")), ("ptr", "%dims"), ("ptr", "%strides"), ("ptr", "%data"),
                  ("i32", f.op("trunc i64 %flags to i32")), ("ptr", "null"))
    with f.when(f.is_null(made)):
        f.ret("null")
    f.call("void", "sparsec_Py_IncRef", ("ptr", "%owner"))
    status = f.call("i32", "sparsec_PyArray_SetBaseObject", ("ptr", made), ("ptr", "%owner"))
    with f.when(f.compare("ne", "i32", status, 0)):
        f.call("void", "sparsec_Py_DecRef", ("ptr", made))
        f.ret("null")
    f.ret(made)
    return f


def _sized(layout: Layout) -> Function:
    """ptr sized(row, owner, base, pointers): the array of a `Step.SIZED` row.

    A result's memory was for the largest size; one that needs less than half of it should not keep it all.
    """
    f = Function("ptr", "sized", [("ptr", "row"), ("ptr", "owner"), ("ptr", "base"), ("ptr", "pointers")])
    amounts, rank = f.word("%row", 4, "ptr"), f.word("%row", 6)
    dims, strides = f.array("i64", MAX_RANK), f.array("i64", MAX_RANK)

    def amount(number: str) -> str:
        return f.call("i64", "amount", ("ptr", f.row(amounts, number, WORDS["amount"])), ("ptr", "%pointers"))

    with f.loop(rank) as k:
        f.store("i64", amount(f.add(k, 1)), f.row(dims, k, 1))
        f.store("i64", amount(f.add(f.add(k, 1), rank)), f.row(strides, k, 1))
    made = f.call("ptr", "view", ("ptr", f.word("%row", 5, "ptr")), ("i64", rank), ("ptr", dims), ("ptr", strides),
                  ("ptr", f.at("%base", amount("0"))), ("i64", f.word("%row", 7)), ("ptr", "%owner"))
    size, whole_size = f.word("%row", 8), f.word("%row", 9)
    with f.when(f.either(f.is_null(made), f.compare("eq", "i64", whole_size, 0))):
        f.ret(made)
    flags = f.op(f"and i32 {f.load('i32', made, layout.flags)}, {_CONTIGUOUS}")
    with f.when(f.compare("eq", "i32", flags, 0)):
        f.ret(made)
    whole_rank = f.op(f"sext i32 {f.load('i32', '%owner', layout.rank)} to i64")
    whole = f.op(f"mul i64 {_elements(f, whole_rank, f.load('ptr', '%owner', layout.dims))}, {whole_size}")
    twice = f.op(f"shl i64 {f.op(f'mul i64 {_elements(f, rank, dims)}, {size}')}, 1")
    with f.when(f.compare("sge", "i64", twice, whole)):
        f.ret(made)
    copied = f.call("ptr", "sparsec_PyArray_NewCopy", ("ptr", made), ("i32", 0))
    f.call("void", "sparsec_Py_DecRef", ("ptr", made))
    f.ret(copied)
    return f


def _free_memory() -> Function:
    """void free_memory(capsule): the end of what `owned_memory` made."""
    f = Function("void", "free_memory", [("ptr", "capsule")])
    f.call("void", "sparsec_free", ("ptr", f.call("ptr", "sparsec_PyCapsule_GetPointer", ("ptr", "%capsule"),
                                                  ("ptr", "null"))))
    f.ret()
    return f


def _owned_memory() -> Function:
    """ptr owned_memory(descr, size, words): the memory of a block, two words, as a flat array of elements of so many
    bytes that keeps it. The words are the array's then, and null. On failure the block is as it was."""
    f = Function("ptr", "owned_memory", [("ptr", "descr"), ("i64", "size"), ("ptr", "words")])
    place, dims = f.load("ptr", "%words"), f.array("i64", 1)
    f.store("i64", 0, dims)
    with f.when(f.is_null(place)):
        f.ret(f.call("ptr", "fresh", ("ptr", "%descr"), ("i64", 1), ("ptr", dims)))
    f.store("i64", f.op(f"udiv i64 {f.word('%words', 1)}, %size"), dims)
    capsule = f.call("ptr", "sparsec_PyCapsule_New", ("ptr", place), ("ptr", "null"), ("ptr", "@free_memory"))
    with f.when(f.is_null(capsule)):
        f.ret("null")
    f.store("ptr", "null", "%words")
    strides = f.array("i64", 1)
    f.store("i64", "%size", strides)
    made = f.call("ptr", "view", ("ptr", "%descr"), ("i64", 1), ("ptr", dims), ("ptr", strides), ("ptr", place),
                  ("i64", _WRITEABLE), ("ptr", capsule))
    f.call("void", "sparsec_Py_DecRef", ("ptr", capsule))  # it is the array's, or nobody's
    f.ret(made)
    return f


def _blocks(layout: Layout) -> Function:
    """i1 blocks(record, behind, arrays): makes arrays of the blocks that the compiled function has filled."""
    f = Function("i1", "blocks", [("ptr", "record"), ("ptr", "behind"), ("ptr", "arrays")])
    table = f.word("%record", Record.RESULTS, "ptr")
    with f.loop(f.word("%record", Record.RESULT_COUNT)) as k:
        row = f.row(table, k, WORDS["result"])
        with f.when(f.compare("eq", "i64", f.word(row, 0), int(Result.BLOCK))):
            place = f.row("%behind", k, 1)
            made = f.call("ptr", "owned_memory", ("ptr", f.word(row, 1, "ptr")), ("i64", f.word(row, 2)),
                          ("ptr", f.load("ptr", place)))
            with f.when(f.is_null(made)):
                f.ret("false")
            f.store("ptr", made, f.row("%arrays", k, 1))
            f.store("ptr", f.load("ptr", made, layout.data), place)
    f.ret("true")
    return f


def _drop_blocks() -> Function:
    """void drop_blocks(record, behind, arrays, count): gives back the memory of blocks that no array has."""
    f = Function("void", "drop_blocks", [("ptr", "record"), ("ptr", "behind"), ("ptr", "arrays"), ("i64", "count")])
    table = f.word("%record", Record.RESULTS, "ptr")
    with f.loop("%count") as k:
        kind = f.word(f.row(table, k, WORDS["result"]), 0)
        mine = f.is_null(f.load("ptr", f.row("%arrays", k, 1)))
        with f.when(f.both(f.compare("eq", "i64", kind, int(Result.BLOCK)), mine)):
            f.call("void", "sparsec_free", ("ptr", f.load("ptr", f.load("ptr", f.row("%behind", k, 1)))))
    f.ret()
    return f


def _attempt(layout: Layout) -> Function:
    """i1 attempt(record, args, positional, names, out): whether the record fitted; `out` is then the result, or
    null with an exception set."""
    f = Function("i1", "attempt", [("ptr", "record"), ("ptr", "args"), ("i64", "positional"), ("ptr", "names"),
                                   ("ptr", "out")])
    miss, undo, failed, finish = f.label("miss"), f.label("undo"), f.label("failed"), f.label("finish")

    def must(condition: str) -> None:
        after = f.label()
        f.branch(condition, after, miss)
        f.begin(after)

    count = f.add("%positional", f.word("%record", Record.NAME_COUNT))
    given = f.add(count, f.word("%record", Record.CAPTURE_COUNT))
    taken, held = f.variable("i64", given), f.variable("ptr", "%args")
    must(f.compare("eq", "i64", "%positional", f.word("%record", Record.ARGUMENTS)))
    must(f.call("i1", "names", ("ptr", "%record"), ("ptr", "%names")))
    must(f.call("i1", "guards", ("ptr", "%record")))
    values = _values(f, count, held)
    must(f.call("i1", "checks", ("ptr", "%record"), ("ptr", values), ("ptr", taken.place)))
    must(f.call("i1", "pairs", ("ptr", "%record"), ("ptr", values)))
    pointers = f.array("ptr", MAX_POINTERS)
    arrays = f.array("ptr", MAX_POINTERS)  # of results; null for scratch
    scratch = f.array(f"[{SCRATCH_BYTES} x i8]", MAX_POINTERS)
    stack = f.array("ptr", MAX_LEAVES)
    results = f.variable("i64", 0)  # how many of `arrays` are made
    depth = f.variable("i64", 0)
    _params(f, layout, values, pointers)
    behind = f.row(pointers, f.word("%record", Record.PARAM_COUNT), 1)  # those of results
    _results(f, layout, pointers, behind, arrays, scratch, results, undo)
    with f.unless(f.is_null(f.word("%record", Record.ENTRY, "ptr"))):
        _run(f, pointers, behind, arrays, undo, failed)
    _steps(f, values, pointers, arrays, stack, depth, failed)
    f.store("ptr", f.load("ptr", stack), "%out")
    f.jump(finish)
    f.begin(finish)
    _drop(f, arrays, results)
    _let_go(f, held, given, taken)
    f.ret("true")
    # A Python exception is set: that is the call's outcome.
    f.begin(failed)
    f.store("ptr", "null", "%out")
    _drop(f, stack, depth)
    f.call("void", "drop_blocks", ("ptr", "%record"), ("ptr", behind), ("ptr", arrays), ("i64", results.get()))
    f.jump(finish)
    # Nothing has been written: the slow path begins again.
    f.begin(undo)
    f.call("void", "sparsec_PyErr_Clear")
    f.call("void", "drop_blocks", ("ptr", "%record"), ("ptr", behind), ("ptr", arrays), ("i64", results.get()))
    _drop(f, arrays, results)
    f.jump(miss)
    f.begin(miss)
    _let_go(f, held, given, taken)
    f.ret("false")
    return f


def _let_go(f: Function, values: Variable, given: str, taken: Variable) -> None:
    """Gives up the references to what was found in containers."""
    with f.loop(f.sub(taken.get(), given)) as k:
        f.call("void", "sparsec_Py_DecRef", ("ptr", f.load("ptr", f.row(values.get(), f.add(given, k), 1))))


def _values(f: Function, count: str, values: Variable) -> str:
    """The arguments themselves, or a copy of them with captured arrays and room for what is in containers behind."""
    local = f.array("ptr", MAX_VALUES)
    with f.unless(f.compare("eq", "i64", count, f.word("%record", Record.VALUES))):
        values.set(local)
        with f.loop(count) as k:
            f.store("ptr", f.load("ptr", f.row("%args", k, 1)), f.row(local, k, 1))
        captures = f.word("%record", Record.CAPTURES, "ptr")
        behind = f.row(local, count, 1)
        with f.loop(f.word("%record", Record.CAPTURE_COUNT)) as k:
            f.store("ptr", f.load("ptr", f.row(captures, k, 1)), f.row(behind, k, 1))
    return values.get()


def _params(f: Function, layout: Layout, values: str, pointers: str) -> None:
    table = f.word("%record", Record.PARAMS, "ptr")
    sizes = f.array("i64", MAX_POINTERS)
    with f.loop(f.word("%record", Record.PARAM_COUNT)) as k:
        row = f.row(table, k, WORDS["param"])
        value = f.load("ptr", f.row(values, f.word(row, 0), 1))
        place, after = f.variable("ptr"), f.label()
        cases = {kind: f.label() for kind in Param}
        f.switch(f.word(row, 1), [(int(kind), label) for kind, label in cases.items()], after)
        f.begin(cases[Param.ARRAY])
        place.set(f.at(f.load("ptr", value, layout.data), f.word(row, 2)))
        f.jump(after)
        f.begin(cases[Param.NUMBER])
        place.set(f.at(value, layout.number))
        f.jump(after)
        f.begin(cases[Param.SIZE])
        size = f.row(sizes, k, 1)
        f.store("i64", f.word(f.row(f.load("ptr", value, layout.dims), f.word(row, 2), 1), 0), size)
        place.set(size)
        f.begin(after)
        f.store("ptr", place.get(), f.row(pointers, k, 1))


def _results(
    f: Function, layout: Layout, pointers: str, behind: str, arrays: str, scratch: str, results: Variable, undo: str
) -> None:
    table, computed = f.word("%record", Record.RESULTS, "ptr"), f.array("i64", MAX_RANK)
    with f.loop(f.word("%record", Record.RESULT_COUNT)) as k:
        row = f.row(table, k, WORDS["result"])
        small, block, large, plain, sized, after = (f.label() for _ in range(6))
        array = f.variable("ptr", "null")
        rank, dims = f.word(row, 2), f.variable("ptr", f.word(row, 3, "ptr"))
        f.switch(f.word(row, 0), [(int(Result.SCRATCH), small), (int(Result.BLOCK), block),
                                  (int(Result.SIZED), sized), (int(Result.LARGE), large)], plain)
        f.begin(block)
        words = f.at(scratch, f.op(f"mul i64 {k}, {SCRATCH_BYTES}"))
        f.store("i64", 0, words)
        f.store("i64", 0, words, 8)
        f.jump(small)
        f.begin(small)
        f.store("ptr", "null", f.row(arrays, k, 1))
        f.store("ptr", f.at(scratch, f.op(f"mul i64 {k}, {SCRATCH_BYTES}")), f.row(behind, k, 1))
        f.jump(after)
        f.begin(sized)
        with f.loop(rank) as j:
            amount = f.row(dims.get(), j, WORDS["amount"])
            size = f.call("i64", "amount", ("ptr", amount), ("ptr", pointers))
            none = f.compare("slt", "i64", size, 0)
            f.store("i64", f.op(f"select i1 {none}, i64 0, i64 {size}"), f.row(computed, j, 1))
        dims.set(computed)
        f.jump(plain)
        made_now, good = f.label(), f.label()
        for label, name in ((large, "large"), (plain, "fresh")):
            f.begin(label)
            array.set(f.call("ptr", name, ("ptr", f.word(row, 1, "ptr")), ("i64", rank), ("ptr", dims.get())))
            f.jump(made_now)
        f.begin(made_now)
        made = array.get()
        f.branch(f.is_null(made), undo, good)
        f.begin(good)
        f.store("ptr", made, f.row(arrays, k, 1))
        f.store("ptr", f.load("ptr", made, layout.data), f.row(behind, k, 1))
        f.begin(after)
        results.set(f.add(k, 1))


def _run(f: Function, pointers: str, behind: str, arrays: str, undo: str, failed: str) -> None:
    """Memory for temporaries, the compiled function, and what it has to say."""
    size = f.word("%record", Record.ARENA)
    place, start = f.variable("ptr", "null"), f.variable("ptr", "null")
    with f.unless(f.compare("eq", "i64", size, 0)):
        have = f.call("ptr", "arena", ("i64", f.add(size, 64)))
        good = f.label()
        f.branch(f.is_null(have), undo, good)
        f.begin(good)
        place.set(have)
        aligned = f.op(f"and i64 {f.add(f.address(have), 63)}, -64")
        start.set(f.op(f"inttoptr i64 {aligned} to ptr"))
    flags = f.array("i32", 2)
    f.store("i32", 0, flags)
    f.store("i32", f.op(f"trunc i64 {f.word('%record', Record.THREADS)} to i32"), flags, 4)
    released = f.compare("ne", "i64", f.word("%record", Record.RELEASE), 0)
    state = f.variable("ptr", "null")
    with f.when(released):
        state.set(f.call("ptr", "sparsec_PyEval_SaveThread"))
    status = f.call_at("i32", f.word("%record", Record.ENTRY, "ptr"), ("ptr", pointers), ("ptr", start.get()),
                       ("ptr", flags))
    with f.when(released):
        f.call("void", "sparsec_PyEval_RestoreThread", ("ptr", state.get()))
    with f.unless(f.is_null(place.get())):
        f.call("void", "give_back", ("ptr", place.get()))
    good = f.label()
    f.branch(f.compare("eq", "i32", status, 0), good, undo)
    f.begin(good)
    owned = f.label()
    f.branch(f.call("i1", "blocks", ("ptr", "%record"), ("ptr", behind), ("ptr", arrays)), owned, failed)
    f.begin(owned)
    noted = f.load("i32", flags)
    with f.unless(f.compare("eq", "i32", noted, 0)):
        word = f.call("ptr", "sparsec_PyLong_FromLongLong", ("i64", f.op(f"zext i32 {noted} to i64")))
        _or_fail(f, word, failed)
        told = f.call("ptr", "sparsec_PyObject_CallOneArg", ("ptr", f.word("%record", Record.NOTIFY, "ptr")),
                      ("ptr", word))
        f.call("void", "sparsec_Py_DecRef", ("ptr", word))
        _or_fail(f, told, failed)
        f.call("void", "sparsec_Py_DecRef", ("ptr", told))


def _or_fail(f: Function, made: str, failed: str) -> None:
    good = f.label()
    f.branch(f.is_null(made), failed, good)
    f.begin(good)


def _drop(f: Function, objects: str, count: Variable) -> None:
    """Gives up references, some of them null."""
    with f.loop(count.get()) as k:
        f.call("void", "sparsec_Py_DecRef", ("ptr", f.load("ptr", f.row(objects, k, 1))))


def _steps(
    f: Function, values: str, pointers: str, arrays: str, stack: str, depth: Variable, failed: str
) -> None:
    """The stack machine. `leaves` remembers what a leaf was, also when a container has taken it."""
    table = f.word("%record", Record.STEPS, "ptr")
    behind = f.row(pointers, f.word("%record", Record.PARAM_COUNT), 1)
    leaves, leaf = f.array("ptr", MAX_LEAVES), f.variable("i64", 0)
    with f.loop(f.word("%record", Record.STEP_COUNT)) as k:
        row = f.row(table, k, WORDS["step"])
        first = f.word(row, 1)
        made = f.variable("ptr", "null")
        borrowed, owned, container, push = f.label(), f.label(), f.label(), f.label()
        cases = {kind: f.label() for kind in Step}
        f.switch(f.word(row, 0), [(int(k), v) for k, v in cases.items()], failed)

        def scratch(type: str, offset: int = 0) -> str:
            return f.load(type, f.load("ptr", f.row(behind, first, 1)), offset)

        f.begin(cases[Step.CONSTANT])
        made.set(f.word(row, 1, "ptr"))
        f.jump(borrowed)
        for kind, source in ((Step.VALUE, values), (Step.AGAIN, leaves), (Step.ROOT, arrays)):
            f.begin(cases[kind])
            made.set(f.load("ptr", f.row(source, first, 1)))
            f.jump(borrowed)
        f.begin(cases[Step.FLOAT])
        made.set(f.call("ptr", "sparsec_PyFloat_FromDouble", ("double", scratch("double"))))
        f.jump(owned)
        f.begin(cases[Step.INT])
        made.set(f.call("ptr", "sparsec_PyLong_FromLongLong", ("i64", scratch("i64"))))
        f.jump(owned)
        f.begin(cases[Step.BOOL])
        truth = f.op(f"and i64 {scratch('i64')}, 255")
        made.set(f.call("ptr", "sparsec_PyBool_FromLong", ("i64", truth)))
        f.jump(owned)
        f.begin(cases[Step.COMPLEX])
        made.set(f.call("ptr", "sparsec_PyComplex_FromDoubles", ("double", scratch("double")),
                        ("double", scratch("double", 8))))
        f.jump(owned)
        f.begin(cases[Step.SCALAR])
        made.set(f.call("ptr", "sparsec_PyArray_Scalar", ("ptr", f.load("ptr", f.row(behind, first, 1))),
                        ("ptr", f.word(row, 2, "ptr")), ("ptr", "null")))
        f.jump(owned)
        for kind in (Step.VIEW, Step.SIZED):
            f.begin(cases[kind])
            source = f.op(f"select i1 {f.compare('ne', 'i64', first, 0)}, ptr {values}, ptr {arrays}")
            owner = f.load("ptr", f.row(source, f.word(row, 2), 1))
            base = f.load("ptr", f.row(pointers, f.word(row, 3), 1))
            if kind is Step.VIEW:
                made.set(f.call("ptr", "view", ("ptr", f.word(row, 5, "ptr")), ("i64", f.word(row, 6)),
                                ("ptr", f.word(row, 7, "ptr")), ("ptr", f.word(row, 8, "ptr")),
                                ("ptr", f.at(base, f.word(row, 4))), ("i64", f.word(row, 9)), ("ptr", owner)))
            else:
                made.set(f.call("ptr", "sized", ("ptr", row), ("ptr", owner), ("ptr", base), ("ptr", pointers)))
            f.jump(owned)
        _containers(f, cases, row, stack, depth, made, container, failed)
        f.begin(borrowed)
        f.call("void", "sparsec_Py_IncRef", ("ptr", made.get()))
        f.begin(owned)
        f.store("ptr", made.get(), f.row(leaves, leaf.get(), 1))
        leaf.set(f.add(leaf.get(), 1))
        f.begin(container)
        _or_fail(f, made.get(), failed)
        f.begin(push)
        f.store("ptr", made.get(), f.row(stack, depth.get(), 1))
        depth.set(f.add(depth.get(), 1))


def _containers(
    f: Function, cases: dict[Step, str], row: str, stack: str, depth: Variable, made: Variable, done: str,
    failed: str,
) -> None:
    for kind, new, put in ((Step.TUPLE, "sparsec_PyTuple_New", "sparsec_PyTuple_SetItem"),
                           (Step.LIST, "sparsec_PyList_New", "sparsec_PyList_SetItem")):
        f.begin(cases[kind])
        count = f.word(row, 1)
        made.set(f.call("ptr", new, ("i64", count)))
        _or_fail(f, made.get(), failed)
        depth.set(f.sub(depth.get(), count))
        parts = f.row(stack, depth.get(), 1)
        with f.loop(count) as k:
            f.call("i32", put, ("ptr", made.get()), ("i64", k), ("ptr", f.load("ptr", f.row(parts, k, 1))))
        f.jump(done)
    f.begin(cases[Step.DICT])
    count, keys = f.word(row, 1), f.word(row, 2, "ptr")
    made.set(f.call("ptr", "sparsec_PyDict_New"))
    _or_fail(f, made.get(), failed)
    depth.set(f.sub(depth.get(), count))
    parts = f.row(stack, depth.get(), 1)
    with f.loop(count) as k:
        item = f.load("ptr", f.row(parts, k, 1))
        f.call("i32", "sparsec_PyDict_SetItem", ("ptr", made.get()), ("ptr", f.load("ptr", f.row(keys, k, 1))),
               ("ptr", item))
        f.call("void", "sparsec_Py_DecRef", ("ptr", item))
    f.jump(done)


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
    ready = f.label()
    f.branch(f.compare("ne", "ptr", table, "null"), ready, slow)
    f.begin(ready)
    f.call("void", "sparsec_Py_IncRef", ("ptr", table))
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
            f.call("void", "sparsec_Py_DecRef", ("ptr", table))
            f.ret(out.get())
    f.call("void", "sparsec_Py_DecRef", ("ptr", table))
    f.jump(slow)
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
        f.store("ptr", f.load("ptr", f.row("%args", k, 1)), f.row(behind, k, 1))
    result = f.call("ptr", "sparsec_PyObject_VectorcallMethod", ("ptr", "@sparsec_call_name"), ("ptr", memory),
                    ("i64", f.add(count, 1)), ("ptr", "%names"))
    f.call("void", "sparsec_free", ("ptr", memory))
    return result
