"""Whether the values of a call are those that a specialisation was made for, each by the row of its check."""

from __future__ import annotations

from sparsec.codegen.llfunc import Function
from sparsec.codegen.stub.phrases import each_row, hold
from sparsec.ir.call_record import ANY, Check, Layout, Record

__all__ = ["checks"]

_EQ = 2  # Py_EQ


def checks(layout: Layout) -> Function:
    """i1 checks(record, values, taken): whether every value is what the specialisation was made for.

    What is found in containers and objects goes behind the values that there are; a reference to each is held, since
    somebody else may empty a list while the function runs. `taken` counts all values so far.
    """
    f = Function("i1", "checks", [("ptr", "record"), ("ptr", "values"), ("ptr", "taken")])
    miss = f.label("miss")
    with each_row(f, Record.CHECKS) as (_, row):
        value = f.item("%values", f.word(row, 1))
        kind = f.word(row, 0)
        done = f.label("done")
        for number, write in _WRITERS.items():
            with f.when(f.compare("eq", "i64", kind, int(number))):
                write(f, layout, row, value, miss)
                f.jump(done)
        f.jump(miss)
        f.begin(done)
    f.ret("true")
    f.begin(miss)
    f.ret("false")
    return f


def _check_same(f: Function, layout: Layout, row: str, value: str, miss: str) -> None:
    f.jump_unless(f.compare("eq", "ptr", value, f.word(row, 2, "ptr")), miss)


def _check_type(f: Function, layout: Layout, row: str, value: str, miss: str) -> None:
    f.jump_unless(f.compare("eq", "ptr", f.load("ptr", value, layout.type), f.word(row, 2, "ptr")), miss)


def _check_equal(f: Function, layout: Layout, row: str, value: str, miss: str) -> None:
    _check_type(f, layout, row, value, miss)
    wanted = f.word(row, 3, "ptr")
    with f.unless(f.compare("eq", "ptr", value, wanted)):
        equal = f.call("i32", "sparsec_PyObject_RichCompareBool", ("ptr", value), ("ptr", wanted), ("i32", _EQ))
        f.jump_unless(f.compare("eq", "i32", equal, 1), miss)


def _take(f: Function, item: str) -> None:
    """One more value, to which a reference is held."""
    count = f.load("i64", "%taken")
    f.set_item(item, "%values", count)
    f.store("i64", f.add(count, 1), "%taken")


def _take_borrowed(f: Function, item: str) -> None:
    hold(f, item)
    _take(f, item)


def _check_tuple(f: Function, layout: Layout, row: str, value: str, miss: str) -> None:
    _check_type(f, layout, row, value, miss)
    count = f.word(row, 3)
    f.jump_unless(f.compare("eq", "i64", f.load("i64", value, layout.size), count), miss)
    with f.loop(count) as k:
        _take_borrowed(f, f.item(f.at(value, layout.items), k))


def _check_list(f: Function, layout: Layout, row: str, value: str, miss: str) -> None:
    _check_type(f, layout, row, value, miss)
    count = f.word(row, 3)
    f.jump_unless(f.compare("eq", "i64", f.call("i64", "sparsec_PyList_Size", ("ptr", value)), count), miss)
    with f.loop(count) as k:
        _take_borrowed(f, f.call("ptr", "sparsec_PyList_GetItem", ("ptr", value), ("i64", k)))


def _check_dict(f: Function, layout: Layout, row: str, value: str, miss: str) -> None:
    _check_type(f, layout, row, value, miss)
    count, keys = f.word(row, 3), f.word(row, 5, "ptr")
    f.jump_unless(f.compare("eq", "i64", f.call("i64", "sparsec_PyDict_Size", ("ptr", value)), count), miss)
    at, key, item = f.variable("i64", 0), f.variable("ptr", "null"), f.variable("ptr", "null")
    with f.loop(count) as k:
        more = f.call("i32", "sparsec_PyDict_Next", ("ptr", value), ("ptr", at.place), ("ptr", key.place),
                      ("ptr", item.place))
        f.jump_unless(f.compare("ne", "i32", more, 0), miss)
        wanted, found = f.item(keys, k), key.get()
        with f.unless(f.compare("eq", "ptr", found, wanted)):  # equal numbers and texts: no code of others runs
            kinds = f.load("ptr", found, layout.type), f.load("ptr", wanted, layout.type)
            f.jump_unless(f.compare("eq", "ptr", *kinds), miss)
            equal = f.call("i32", "sparsec_PyObject_RichCompareBool", ("ptr", found), ("ptr", wanted), ("i32", _EQ))
            f.jump_unless(f.compare("eq", "i32", equal, 1), miss)
        _take_borrowed(f, item.get())


def _check_object(f: Function, layout: Layout, row: str, value: str, miss: str) -> None:
    _check_type(f, layout, row, value, miss)
    names = f.word(row, 5, "ptr")
    with f.loop(f.word(row, 3)) as k:
        name = f.item(names, k)
        found = f.call("ptr", "sparsec_PyObject_GetAttr", ("ptr", value), ("ptr", name))
        with f.when(f.is_null(found)):
            f.call("void", "sparsec_PyErr_Clear")
            f.jump(miss)
        _take(f, found)


def _check_index(f: Function, layout: Layout, row: str, value: str, miss: str) -> None:
    def length(array: str, axis: str | int = 0) -> str:
        return f.item(f.load("ptr", array, layout.dims), axis, "i64")

    def other(word: int) -> str:
        return f.item("%values", f.word(row, word))

    live = length(value)
    f.jump_unless(f.compare("sgt", "i64", live, 0), miss)
    f.jump_unless(f.compare("sle", "i64", live, f.word(row, 4)), miss)
    f.jump_unless(f.compare("eq", "i64", live, length(other(2), f.word(row, 3))), miss)
    f.jump_unless(f.compare("eq", "i64", live, length(other(6))), miss)
    numbers, before = f.load("ptr", value, layout.data), f.variable("i32", -1)
    with f.loop(live) as k:
        number = f.load("i32", f.op(f"getelementptr i32, ptr {numbers}, i64 {k}"))
        f.jump_unless(f.compare("sgt", "i32", number, before.get()), miss)
        before.set(number)
    last = f.op(f"sext i32 {before.get()} to i64")
    f.jump_unless(f.compare("slt", "i64", last, f.word(row, 5)), miss)


def _check_array(f: Function, layout: Layout, row: str, value: str, miss: str) -> None:
    _check_type(f, layout, row, value, miss)
    rank = f.word(row, 4)
    now = f.op(f"sext i32 {f.load('i32', value, layout.rank)} to i64")
    flags = f.op(f"sext i32 {f.load('i32', value, layout.flags)} to i64")
    flags = f.op(f"and i64 {flags}, {f.word(row, 5)}")
    low = f.op(f"and i64 {f.load('i64', value, layout.data)}, {f.word(row, 7)}")
    good = f.both(f.compare("eq", "ptr", f.load("ptr", value, layout.descr), f.word(row, 3, "ptr")),
                  f.compare("eq", "i64", now, rank))
    good = f.both(good, f.compare("eq", "i64", flags, f.word(row, 6)))
    f.jump_unless(f.both(good, f.compare("eq", "i64", low, 0)), miss)
    dims, strides = f.load("ptr", value, layout.dims), f.load("ptr", value, layout.strides)
    wanted = f.word(row, 8, "ptr")
    with f.loop(rank) as k:
        pair = f.row(wanted, k, 2)
        stride = f.word(pair, 1)
        fits = f.either(f.compare("eq", "i64", f.item(strides, k, "i64"), stride),
                        f.compare("eq", "i64", stride, ANY))
        size = f.word(pair, 0)
        long = f.either(f.compare("eq", "i64", f.item(dims, k, "i64"), size), f.compare("eq", "i64", size, ANY))
        f.jump_unless(f.both(fits, long), miss)


#: The most frequent first.
_WRITERS = {
    Check.ARRAY: _check_array,
    Check.NUMBER: _check_type,
    Check.SAME: _check_same,
    Check.EQUAL: _check_equal,
    Check.TUPLE: _check_tuple,
    Check.LIST: _check_list,
    Check.DICT: _check_dict,
    Check.OBJECT: _check_object,
    Check.INDEX: _check_index,
}
