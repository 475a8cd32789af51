"""One attempt: a call against one record, from its checks to the result."""

from __future__ import annotations

from sparsec.codegen.llfunc import Function, Variable
from sparsec.codegen.stub.frame import Frame
from sparsec.codegen.stub.phrases import cases, each_row, release
from sparsec.codegen.stub.steps import steps
from sparsec.ir.call_record import (
    AMOUNT_WORDS,
    MAX_POINTERS,
    MAX_RANK,
    MAX_VALUES,
    SCRATCH_BYTES,
    Layout,
    Param,
    Record,
    Result,
)

__all__ = ["attempt"]


def attempt(layout: Layout) -> Function:
    """i1 attempt(record, args, positional, names, out): whether the record fitted; `out` is then the result, or
    null with an exception set."""
    f = Function("i1", "attempt", [("ptr", "record"), ("ptr", "args"), ("i64", "positional"), ("ptr", "names"),
                                   ("ptr", "out")])
    miss, undo, failed, finish = f.label("miss"), f.label("undo"), f.label("failed"), f.label("finish")
    count = f.add("%positional", f.word("%record", Record.NAME_COUNT))
    given = f.add(count, f.word("%record", Record.CAPTURE_COUNT))
    taken, held = f.variable("i64", given), f.variable("ptr", "%args")
    f.jump_unless(f.compare("eq", "i64", "%positional", f.word("%record", Record.ARGUMENTS)), miss)
    f.jump_unless(f.call("i1", "names", ("ptr", "%record"), ("ptr", "%names")), miss)
    f.jump_unless(f.call("i1", "guards", ("ptr", "%record")), miss)
    values = _values(f, count, held)
    f.jump_unless(f.call("i1", "checks", ("ptr", "%record"), ("ptr", values), ("ptr", taken.place)), miss)
    f.jump_unless(f.call("i1", "pairs", ("ptr", "%record"), ("ptr", values)), miss)
    frame = Frame.of(f, values, undo, failed)
    _params(f, layout, frame)
    _results(f, layout, frame)
    with f.unless(f.is_null(f.word("%record", Record.ENTRY, "ptr"))):
        _run(f, frame)
    steps(f, frame)
    f.store("ptr", f.load("ptr", frame.stack), "%out")
    f.begin(finish)
    frame.release_arrays(f)
    _let_go(f, held, given, taken)
    f.ret("true")
    f.begin(failed)
    f.store("ptr", "null", "%out")
    frame.release_stack(f)
    frame.drop_blocks(f)
    f.jump(finish)
    f.begin(undo)
    f.call("void", "sparsec_PyErr_Clear")
    frame.drop_blocks(f)
    frame.release_arrays(f)
    f.begin(miss)
    _let_go(f, held, given, taken)
    f.ret("false")
    return f


def _values(f: Function, count: str, values: Variable) -> str:
    """The arguments themselves, or a copy of them with captured arrays and room for what is in containers behind."""
    local = f.array("ptr", MAX_VALUES)
    with f.unless(f.compare("eq", "i64", count, f.word("%record", Record.VALUES))):
        values.set(local)
        with f.loop(count) as k:
            f.set_item(f.item("%args", k), local, k)
        captures = f.word("%record", Record.CAPTURES, "ptr")
        behind = f.row(local, count, 1)
        with f.loop(f.word("%record", Record.CAPTURE_COUNT)) as k:
            f.set_item(f.item(captures, k), behind, k)
    return values.get()


def _let_go(f: Function, values: Variable, given: str, taken: Variable) -> None:
    """Gives up the references to what was found in containers."""
    with f.loop(f.sub(taken.get(), given)) as k:
        release(f, f.item(values.get(), f.add(given, k)))


def _params(f: Function, layout: Layout, frame: Frame) -> None:
    """Where the compiled function finds its parameters."""
    sizes = f.array("i64", MAX_POINTERS)
    with each_row(f, Record.PARAMS) as (k, row):
        value = f.item(frame.values, f.word(row, 0))
        place, after = f.variable("ptr"), f.label()
        kinds = cases(f, f.word(row, 1), Param, after)
        f.begin(kinds[Param.ARRAY])
        place.set(f.at(f.load("ptr", value, layout.data), f.word(row, 2)))
        f.jump(after)
        f.begin(kinds[Param.NUMBER])
        place.set(f.at(value, layout.number))
        f.jump(after)
        f.begin(kinds[Param.SIZE])
        size = f.row(sizes, k, 1)
        f.store("i64", f.item(f.load("ptr", value, layout.dims), f.word(row, 2), "i64"), size)
        place.set(size)
        f.begin(after)
        f.set_item(place.get(), frame.pointers, k)


def _results(f: Function, layout: Layout, frame: Frame) -> None:
    """Memory for what it fills: arrays, or words of the scratch."""
    computed = f.array("i64", MAX_RANK)
    with each_row(f, Record.RESULTS) as (k, row):
        after, created = f.label(), f.label()
        descr, rank, dims = f.word(row, 1, "ptr"), f.word(row, 2), f.variable("ptr", f.word(row, 3, "ptr"))
        words = f.op(f"getelementptr [{SCRATCH_BYTES} x i8], ptr {frame.scratch}, i64 {k}")
        kinds = cases(f, f.word(row, 0), Result, frame.undo)
        f.begin(kinds[Result.BLOCK])
        f.store("i64", 0, words)
        f.store("i64", 0, words, 8)
        f.begin(kinds[Result.SCRATCH])
        f.set_item("null", frame.arrays, k)
        f.set_item(words, frame.behind, k)
        f.jump(after)
        f.begin(kinds[Result.SIZED])
        _compute_dims(f, frame, rank, dims, computed)
        f.jump(kinds[Result.ARRAY])
        array = f.variable("ptr")
        for kind, name in ((Result.LARGE, "large"), (Result.ARRAY, "fresh")):
            f.begin(kinds[kind])
            array.set(f.call("ptr", name, ("ptr", descr), ("i64", rank), ("ptr", dims.get())))
            f.jump(created)
        f.begin(created)
        f.jump_if(f.is_null(array.get()), frame.undo)
        f.set_item(array.get(), frame.arrays, k)
        f.set_item(f.load("ptr", array.get(), layout.data), frame.behind, k)
        f.begin(after)
        frame.made.set(f.add(k, 1))


def _compute_dims(f: Function, frame: Frame, rank: str, dims: Variable, computed: str) -> None:
    """The lengths of axes, which are amounts, at least 0."""
    with f.loop(rank) as k:
        size = f.call("i64", "amount", ("ptr", f.row(dims.get(), k, AMOUNT_WORDS)), ("ptr", frame.pointers))
        none = f.compare("slt", "i64", size, 0)
        f.set_item(f.op(f"select i1 {none}, i64 0, i64 {size}"), computed, k, "i64")
    dims.set(computed)


def _run(f: Function, frame: Frame) -> None:
    """Memory for temporaries, the compiled function, and what it has to say."""
    place, start = _temporaries(f, frame.undo)
    flags = f.array("i32", 2)
    f.store("i32", 0, flags)
    f.store("i32", f.op(f"trunc i64 {f.word('%record', Record.THREADS)} to i32"), flags, 4)
    released = f.compare("ne", "i64", f.word("%record", Record.RELEASE), 0)
    state = f.variable("ptr", "null")
    with f.when(released):
        state.set(f.call("ptr", "sparsec_PyEval_SaveThread"))
    status = f.call_at("i32", f.word("%record", Record.ENTRY, "ptr"), ("ptr", frame.pointers), ("ptr", start.get()),
                       ("ptr", flags))
    with f.when(released):
        f.call("void", "sparsec_PyEval_RestoreThread", ("ptr", state.get()))
    with f.unless(f.is_null(place.get())):
        f.call("void", "give_back", ("ptr", place.get()))
    f.jump_unless(f.compare("eq", "i32", status, 0), frame.undo)
    f.jump_unless(f.call("i1", "blocks", ("ptr", "%record"), ("ptr", frame.behind), ("ptr", frame.arrays)),
                  frame.failed)
    noted = f.load("i32", flags)
    with f.unless(f.compare("eq", "i32", noted, 0)):
        _notify(f, noted, frame.failed)


def _temporaries(f: Function, undo: str) -> tuple[Variable, Variable]:
    """Memory from `arena`, or null where none is needed, and its first aligned byte."""
    size = f.word("%record", Record.ARENA)
    place, start = f.variable("ptr", "null"), f.variable("ptr", "null")
    with f.unless(f.compare("eq", "i64", size, 0)):
        have = f.call("ptr", "arena", ("i64", f.add(size, 64)))
        f.jump_if(f.is_null(have), undo)
        place.set(have)
        aligned = f.op(f"and i64 {f.add(f.address(have), 63)}, -64")
        start.set(f.op(f"inttoptr i64 {aligned} to ptr"))
    return place, start


def _notify(f: Function, noted: str, failed: str) -> None:
    """Tells Python about the warning word."""
    word = f.call("ptr", "sparsec_PyLong_FromLongLong", ("i64", f.op(f"zext i32 {noted} to i64")))
    f.jump_if(f.is_null(word), failed)
    told = f.call("ptr", "sparsec_PyObject_CallOneArg", ("ptr", f.word("%record", Record.NOTIFY, "ptr")),
                  ("ptr", word))
    release(f, word)
    f.jump_if(f.is_null(told), failed)
    release(f, told)
