"""Memory that the compiled function has asked for (`ir.block`): it becomes arrays, or is given back."""

from __future__ import annotations

from sparsec.codegen.llfunc import Function
from sparsec.codegen.stub.phrases import each_row, release
from sparsec.ir.call_record import WORDS, WRITEABLE, Layout, Record, Result

__all__ = ["blocks", "drop_blocks", "free_memory", "owned_memory"]


def owned_memory() -> Function:
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
                  ("i64", WRITEABLE), ("ptr", capsule))
    release(f, capsule)  # it is the array's, or nobody's
    f.ret(made)
    return f


def free_memory() -> Function:
    """void free_memory(capsule): the end of what `owned_memory` made."""
    f = Function("void", "free_memory", [("ptr", "capsule")])
    f.call("void", "sparsec_free", ("ptr", f.call("ptr", "sparsec_PyCapsule_GetPointer", ("ptr", "%capsule"),
                                                  ("ptr", "null"))))
    f.ret()
    return f


def blocks(layout: Layout) -> Function:
    """i1 blocks(record, behind, arrays): makes arrays of the blocks that the compiled function has filled."""
    f = Function("i1", "blocks", [("ptr", "record"), ("ptr", "behind"), ("ptr", "arrays")])
    with each_row(f, Record.RESULTS) as (k, row), f.when(f.compare("eq", "i64", f.word(row, 0), int(Result.BLOCK))):
        made = f.call("ptr", "owned_memory", ("ptr", f.word(row, 1, "ptr")), ("i64", f.word(row, 2)),
                      ("ptr", f.item("%behind", k)))
        with f.when(f.is_null(made)):
            f.ret("false")
        f.set_item(made, "%arrays", k)
        f.set_item(f.load("ptr", made, layout.data), "%behind", k)
    f.ret("true")
    return f


def drop_blocks() -> Function:
    """void drop_blocks(record, behind, arrays, count): gives back the memory of blocks that no array has."""
    f = Function("void", "drop_blocks", [("ptr", "record"), ("ptr", "behind"), ("ptr", "arrays"), ("i64", "count")])
    table = f.word("%record", Record.RESULTS, "ptr")
    with f.loop("%count") as k:
        kind = f.word(f.row(table, k, WORDS[Record.RESULTS]), 0)
        mine = f.is_null(f.item("%arrays", k))
        with f.when(f.both(f.compare("eq", "i64", kind, int(Result.BLOCK)), mine)):
            f.call("void", "sparsec_free", ("ptr", f.load("ptr", f.item("%behind", k))))
    f.ret()
    return f
