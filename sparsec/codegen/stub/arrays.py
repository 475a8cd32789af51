"""New arrays, views of what others own, and sizes that only the call knows."""

from __future__ import annotations

from sparsec.codegen.llfunc import Function
from sparsec.codegen.result_memory import HANDLER
from sparsec.codegen.stub.phrases import hold, release
from sparsec.ir.call_record import AMOUNT_WORDS, CONTIGUOUS, MAX_RANK, TERM_WORDS, WRITEABLE, Layout

__all__ = ["amount", "fresh", "large", "sized", "view"]


def amount() -> Function:
    """i64 amount(row, pointers): the value of an amount."""
    f = Function("i64", "amount", [("ptr", "row"), ("ptr", "pointers")])
    total, terms = f.variable("i64", 0), f.word("%row", 1, "ptr")
    with f.loop(f.word("%row", 0)) as k:
        term = f.row(terms, k, TERM_WORDS)
        value = f.variable("i64", f.word(term, 0))
        with f.loop(f.word(term, 1)) as j:
            number = f.item(f.at(term, 16), j, "i64")
            signs = f.op(f"ashr i64 {number}, 63")  # all ones for ~number
            place = f.item("%pointers", f.op(f"xor i64 {number}, {signs}"))
            found = f.load("i64", place)
            from_zero = f.both(f.compare("ne", "i64", signs, 0), f.compare("slt", "i64", found, 0))
            factor = f.op(f"select i1 {from_zero}, i64 0, i64 {found}")
            value.set(f.op(f"mul i64 {value.get()}, {factor}"))
        total.set(f.add(total.get(), value.get()))
    f.ret(total.get())
    return f


def fresh() -> Function:
    """ptr fresh(descr, rank, dims): an array with memory of its own, or null with an exception set."""
    f = Function("ptr", "fresh", [("ptr", "descr"), ("i64", "rank"), ("ptr", "dims")])
    hold(f, "%descr")
    f.ret(f.call("ptr", "sparsec_PyArray_NewFromDescr", ("ptr", "@sparsec_array_type"), ("ptr", "%descr"),
                 ("i32", f.op("trunc i64 %rank to i32")), ("ptr", "%dims"), ("ptr", "null"), ("ptr", "null"),
                 ("i32", 0), ("ptr", "null")))
    return f


def large() -> Function:
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
    release(f, before)
    release(f, ours)
    f.ret(made)
    return f


def view(layout: Layout) -> Function:
    """ptr view(descr, rank, dims, strides, data, flags, owner): an array over `owner`'s memory. What has no elements
    is an array of its own."""
    f = Function("ptr", "view", [("ptr", "descr"), ("i64", "rank"), ("ptr", "dims"), ("ptr", "strides"),
                                 ("ptr", "data"), ("i64", "flags"), ("ptr", "owner")])
    with f.when(f.compare("eq", "i64", _elements(f, "%rank", "%dims"), 0)):
        empty = f.call("ptr", "fresh", ("ptr", "%descr"), ("i64", "%rank"), ("ptr", "%dims"))
        with f.unless(f.either(f.is_null(empty), f.compare("ne", "i64", "%flags", 0))):
            now = f.load("i32", empty, layout.flags)
            f.store("i32", f.op(f"and i32 {now}, {~WRITEABLE}"), empty, layout.flags)
        f.ret(empty)
    hold(f, "%descr")
    made = f.call("ptr", "sparsec_PyArray_NewFromDescr", ("ptr", "@sparsec_array_type"), ("ptr", "%descr"),
                  ("i32", f.op("trunc i64 %rank to i32")), ("ptr", "%dims"), ("ptr", "%strides"), ("ptr", "%data"),
                  ("i32", f.op("trunc i64 %flags to i32")), ("ptr", "null"))
    with f.when(f.is_null(made)):
        f.ret("null")
    hold(f, "%owner")
    status = f.call("i32", "sparsec_PyArray_SetBaseObject", ("ptr", made), ("ptr", "%owner"))
    with f.when(f.compare("ne", "i32", status, 0)):
        release(f, made)
        f.ret("null")
    f.ret(made)
    return f


def sized(layout: Layout) -> Function:
    """ptr sized(row, owner, base, pointers): the array of a `Step.SIZED` row.

    A result's memory was for the largest size; one that needs less than half of it should not keep it all.
    """
    f = Function("ptr", "sized", [("ptr", "row"), ("ptr", "owner"), ("ptr", "base"), ("ptr", "pointers")])
    amounts, rank = f.word("%row", 4, "ptr"), f.word("%row", 6)
    dims, strides = f.array("i64", MAX_RANK), f.array("i64", MAX_RANK)

    def amount(number: str) -> str:
        return f.call("i64", "amount", ("ptr", f.row(amounts, number, AMOUNT_WORDS)), ("ptr", "%pointers"))

    with f.loop(rank) as k:
        f.set_item(amount(f.add(k, 1)), dims, k, "i64")
        f.set_item(amount(f.add(f.add(k, 1), rank)), strides, k, "i64")
    made = f.call("ptr", "view", ("ptr", f.word("%row", 5, "ptr")), ("i64", rank), ("ptr", dims), ("ptr", strides),
                  ("ptr", f.at("%base", amount("0"))), ("i64", f.word("%row", 7)), ("ptr", "%owner"))
    size, whole_size = f.word("%row", 8), f.word("%row", 9)
    with f.when(f.either(f.is_null(made), f.compare("eq", "i64", whole_size, 0))):
        f.ret(made)
    flags = f.op(f"and i32 {f.load('i32', made, layout.flags)}, {CONTIGUOUS}")
    with f.when(f.compare("eq", "i32", flags, 0)):
        f.ret(made)
    whole_rank = f.op(f"sext i32 {f.load('i32', '%owner', layout.rank)} to i64")
    whole = f.op(f"mul i64 {_elements(f, whole_rank, f.load('ptr', '%owner', layout.dims))}, {whole_size}")
    twice = f.op(f"shl i64 {f.op(f'mul i64 {_elements(f, rank, dims)}, {size}')}, 1")
    with f.when(f.compare("sge", "i64", twice, whole)):
        f.ret(made)
    copied = f.call("ptr", "sparsec_PyArray_NewCopy", ("ptr", made), ("i32", 0))
    release(f, made)
    f.ret(copied)
    return f


def _elements(f: Function, rank: str, dims: str) -> str:
    total = f.variable("i64", 1)
    with f.loop(rank) as k:
        total.set(f.op(f"mul i64 {total.get()}, {f.item(dims, k, 'i64')}"))
    return total.get()
