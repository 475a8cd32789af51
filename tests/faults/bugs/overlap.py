"""Bugs about overlap and aliasing: faults 1 to 20."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sparsec.frontend import arguments, results, spec
from sparsec.frontend.array import Traced
from sparsec.frontend.dispatch import METHODS, TABLE
from sparsec.frontend.fastcall import record
from sparsec.frontend.indexing import write
from sparsec.frontend.outcome import Outcome
from sparsec.frontend.results import Argument, SameAs
from sparsec.frontend.trace import Trace
from sparsec.ir.ops import gather
from sparsec.ir.scalar import index
from sparsec.passes import accesses, linearize, order_axes
from tests.faults.bugs import bug, change_op


@bug("a write overwrites what it still has to read", 1, 4, 5)
def _(plant):
    plant.setattr(linearize, "element_for_element", lambda a, b: True)


@bug("loops are fused although one writes what the other reads elsewhere", 1, 2, 4, 5, 6, 14)
def _(plant):
    plant.setattr(accesses, "regions_overlap", lambda *args: False)


@bug("such loops are fused, and run downwards", 3)
def _(plant):
    plant.setattr(accesses, "regions_overlap", lambda *args: False)
    turn = order_axes._turn

    def down(op: Any) -> Any:
        if turn(op) is not None or op.name != "update" or op.operands[1].type.rank != 1:
            return turn(op)
        return order_axes._Turn((0,), frozenset((0,)))

    plant.setattr(order_axes, "_turn", down)


@bug("arguments that overlap are taken for separate ones", 7, 8)
def _(plant):
    plant.setattr(spec, "_share", lambda a, b: False)


@bug("views of two dtypes are given one storage each, and may be written", 9)
def _(plant):
    describe = spec.describe

    def silent(arrays: Any) -> Any:
        return tuple(replace(s, conflict="") for s in describe(arrays))

    plant.setattr(arguments, "describe", silent)


@bug("a slice is a copy", 10, 12, shows="values differ|share memory")
def _(plant):
    view = Traced.view

    def copied(self: Traced, name: Any = None, **attrs: Any) -> Traced:
        made = view(self, name, **attrs)
        return Traced.fresh(self.trace, self.trace.op("copy", made.read())) if name == "slice" else made

    plant.setattr(Traced, "view", copied)


@bug("a copy is a view", 11, shows="values differ|shares memory")
def _(plant):
    plant.setitem(METHODS, "copy", lambda x, order="C": x)
    plant.setitem(TABLE, np.array, lambda x, *args, **kwargs: x)


@bug("a returned view is detached from its base", 12, shows="does not share memory")
def _(plant):
    leaf = results._leaf

    def copied(trace: Trace, item: Any, args: Any, found: Any) -> Any:
        if isinstance(item, Traced) and item.storage is not None and all(item is not a for a in args):
            item = Traced.fresh(trace, trace.op("copy", item.read()))
        return leaf(trace, item, args, found)

    plant.setattr(results, "_leaf", copied)


@bug("an array that is returned again is another object", 13, shows="assert .* is ")
def _(plant):
    made_object = Outcome.object

    def another(self: Outcome, leaf: Any) -> Any:
        made = made_object(self, leaf)
        return made[...] if isinstance(leaf, (SameAs, Argument)) else made

    plant.setattr(Outcome, "object", another)


@bug("nobody asks whether an array may be written", 15, 29, shows="NumPy raises ValueError")
def _(plant):
    plant.setattr(Trace, "check_writable", lambda self, array: array.storage)


@bug("a write that meets itself is turned to memory order", 16, shows="C order")
def _(plant):
    plant.setattr(order_axes, "self_overlaps", lambda ref, shape: False)


@bug("equal indexes add up", 17)
def _(plant):
    ops = Trace.ops

    def adding(self: Trace, name: str, *operands: Any, **attrs: Any) -> Any:
        if name == "scatter" and attrs["combine"] == "set":
            *place, value = operands
            version, region, *indexes = place
            old = self.op("gather", region, *indexes)
            return ops(self, name, *place, self.op("sub", value, old), combine="add")
        return ops(self, name, *operands, **attrs)

    plant.setattr(Trace, "ops", adding)


@bug("of equal indexes the first wins (interpreter)", 18)
def _(plant):
    def backwards(region: np.ndarray, indexes: tuple[np.ndarray, ...], value: np.ndarray) -> None:
        shape = np.broadcast_shapes(value.shape, *(i.shape for i in indexes))
        spread = [np.broadcast_to(i, shape) for i in indexes]
        values = np.broadcast_to(value, shape)
        for at in reversed(list(np.ndindex(shape))):
            region[tuple(int(i[at]) for i in spread)] = values[at]

    plant.setattr(gather, "_write_in_order", backwards)


@bug("of equal indexes the first wins (backends)", 18)
def _(plant):
    def backwards(nest: Any, combine: str) -> None:
        (count,) = nest.shape(2)
        with nest.loops((count,)) as (k,):
            at = nest.s.sub(nest.s.sub(count, index(1)), k)
            *where, value = (nest.read(n, at) for n in range(2, nest.operand_count()))
            buffer, position = nest.operand_place(1, *where)
            nest.store(buffer, position, value)

    change_op("scatter", lower=lambda lower: backwards)


@bug("a mask write ignores the mask", 19)
def _(plant):
    store = write.store
    plant.setattr(write, "store", lambda trace, target, value, where=True: store(trace, target, value))


@bug("> is >=", 19)
def _(plant):
    plant.setattr(Traced, "__gt__", lambda self, other: self >= other)


@bug("the key does not say which arguments overlap", 20)
def _(plant):
    describe = spec.describe

    def apart(arrays: Any) -> Any:
        return tuple(replace(s, storage=0, offset=0) for s in describe(arrays))

    made = arguments.Arguments.__init__

    def forgetful(self: Any, *args: Any) -> None:
        made(self, *args)
        tree, kinds, _ = self.key
        self.key = (tree, kinds, apart(self.arrays))

    plant.setattr(arguments.Arguments, "__init__", forgetful)


@bug("a recorded call is not asked which arguments overlap", 20)
def _(plant):
    plant.setattr(record, "pairs", lambda w: iter(()))
