"""The object that a call returns: a stack machine, whose program is the record's table of steps."""

from __future__ import annotations

from sparsec.codegen.llfunc import Function, Variable
from sparsec.codegen.stub.frame import Frame
from sparsec.codegen.stub.phrases import cases, each_row, hold, release
from sparsec.ir.call_record import MAX_LEAVES, Record, Step

__all__ = ["steps"]


def steps(f: Function, frame: Frame) -> None:
    """Leaves the returned object at the bottom of the stack."""
    leaves, leaf = f.array("ptr", MAX_LEAVES), f.variable("i64", 0)  # also those that a container has taken
    with each_row(f, Record.STEPS) as (_, row):
        made = f.variable("ptr", "null")
        borrowed, owned, container = f.label(), f.label(), f.label()
        kinds = cases(f, f.word(row, 0), Step, frame.failed)
        _known(f, frame, kinds, row, leaves, made, borrowed)
        _numbers(f, frame, kinds, row, made, owned)
        _views(f, frame, kinds, row, made, owned)
        _sequences(f, frame, kinds, row, made, container)
        _dict(f, frame, kinds, row, made, container)
        f.begin(borrowed)
        hold(f, made.get())
        f.begin(owned)
        f.set_item(made.get(), leaves, leaf.get())
        leaf.set(f.add(leaf.get(), 1))
        f.begin(container)
        f.jump_if(f.is_null(made.get()), frame.failed)
        f.set_item(made.get(), frame.stack, frame.depth.get())
        frame.depth.set(f.add(frame.depth.get(), 1))


def _known(
    f: Function, frame: Frame, kinds: dict[Step, str], row: str, leaves: str, made: Variable, done: str
) -> None:
    """Objects that are there already."""
    f.begin(kinds[Step.CONSTANT])
    made.set(f.word(row, 1, "ptr"))
    f.jump(done)
    for kind, source in ((Step.VALUE, frame.values), (Step.AGAIN, leaves), (Step.ROOT, frame.arrays)):
        f.begin(kinds[kind])
        made.set(f.item(source, f.word(row, 1)))
        f.jump(done)


def _numbers(f: Function, frame: Frame, kinds: dict[Step, str], row: str, made: Variable, done: str) -> None:
    def scratch() -> str:
        return f.item(frame.behind, f.word(row, 1))

    f.begin(kinds[Step.FLOAT])
    made.set(f.call("ptr", "sparsec_PyFloat_FromDouble", ("double", f.load("double", scratch()))))
    f.jump(done)
    f.begin(kinds[Step.INT])
    made.set(f.call("ptr", "sparsec_PyLong_FromLongLong", ("i64", f.load("i64", scratch()))))
    f.jump(done)
    f.begin(kinds[Step.BOOL])
    truth = f.op(f"and i64 {f.load('i64', scratch())}, 255")
    made.set(f.call("ptr", "sparsec_PyBool_FromLong", ("i64", truth)))
    f.jump(done)
    f.begin(kinds[Step.COMPLEX])
    parts = scratch()
    made.set(f.call("ptr", "sparsec_PyComplex_FromDoubles", ("double", f.load("double", parts)),
                    ("double", f.load("double", parts, 8))))
    f.jump(done)
    f.begin(kinds[Step.SCALAR])
    made.set(f.call("ptr", "sparsec_PyArray_Scalar", ("ptr", scratch()), ("ptr", f.word(row, 2, "ptr")),
                    ("ptr", "null")))
    f.jump(done)


def _views(f: Function, frame: Frame, kinds: dict[Step, str], row: str, made: Variable, done: str) -> None:
    for kind in (Step.VIEW, Step.SIZED):
        f.begin(kinds[kind])
        of_value = f.compare("ne", "i64", f.word(row, 1), 0)
        owner = f.item(f.op(f"select i1 {of_value}, ptr {frame.values}, ptr {frame.arrays}"), f.word(row, 2))
        base = f.item(frame.pointers, f.word(row, 3))
        if kind is Step.VIEW:
            made.set(f.call("ptr", "view", ("ptr", f.word(row, 5, "ptr")), ("i64", f.word(row, 6)),
                            ("ptr", f.word(row, 7, "ptr")), ("ptr", f.word(row, 8, "ptr")),
                            ("ptr", f.at(base, f.word(row, 4))), ("i64", f.word(row, 9)), ("ptr", owner)))
        else:
            made.set(f.call("ptr", "sized", ("ptr", row), ("ptr", owner), ("ptr", base), ("ptr", frame.pointers)))
        f.jump(done)


def _sequences(f: Function, frame: Frame, kinds: dict[Step, str], row: str, made: Variable, done: str) -> None:
    for kind, new, put in ((Step.TUPLE, "sparsec_PyTuple_New", "sparsec_PyTuple_SetItem"),
                           (Step.LIST, "sparsec_PyList_New", "sparsec_PyList_SetItem")):
        f.begin(kinds[kind])
        count = f.word(row, 1)
        made.set(f.call("ptr", new, ("i64", count)))
        f.jump_if(f.is_null(made.get()), frame.failed)
        parts = _pop(f, frame, count)
        with f.loop(count) as k:  # each takes the stack's reference
            f.call("i32", put, ("ptr", made.get()), ("i64", k), ("ptr", f.item(parts, k)))
        f.jump(done)


def _dict(f: Function, frame: Frame, kinds: dict[Step, str], row: str, made: Variable, done: str) -> None:
    f.begin(kinds[Step.DICT])
    count, keys = f.word(row, 1), f.word(row, 2, "ptr")
    made.set(f.call("ptr", "sparsec_PyDict_New"))
    f.jump_if(f.is_null(made.get()), frame.failed)
    parts = _pop(f, frame, count)
    with f.loop(count) as k:
        part = f.item(parts, k)
        f.call("i32", "sparsec_PyDict_SetItem", ("ptr", made.get()), ("ptr", f.item(keys, k)), ("ptr", part))
        release(f, part)
    f.jump(done)


def _pop(f: Function, frame: Frame, count: str) -> str:
    """Takes so many objects from the stack; where they are."""
    frame.depth.set(f.sub(frame.depth.get(), count))
    return f.row(frame.stack, frame.depth.get(), 1)
