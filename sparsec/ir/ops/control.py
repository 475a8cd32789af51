"""Control flow: ops with regions. Their regions see the values around them.

    %r = for %start, %stop, %step, %a (%i: i64, %c: T) { … yield %next } : T     for i in range(…): c = next
    %r = while %a (%c: T) { … yield %go } (%d: T) { … yield %next } : T          while go(c): c = next(d)
    %r = if %cond () { … yield %a } () { … yield %b } : T
    %r = fused () { … yield %a } : T                                             one kernel

A carried value whose type names a storage (`f32[8] @x`) is a version of it: the loop writes in place. One
whose type names none is a new array each time around.
"""

from __future__ import annotations

from collections.abc import Sequence

from sparsec.errors import Loc
from sparsec.ir.graph import Attrs, Op, Region, Value
from sparsec.ir.ops.record import Kind, OpRecord, register
from sparsec.ir.types import TensorType

#: How many leading operands of an op are not carried, and how many regions it has.
FIXED_OPERANDS = {"for": 3, "while": 0, "if": 1, "fused": 0}
REGIONS = {"for": 1, "while": 2, "if": 2, "fused": 1}
#: Ops whose regions run again and again.
LOOPS = ("for", "while")


def _from_regions(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    raise TypeError("the results of this op come from its regions: use control.control_op")


def _carried(fixed: int):  # type: ignore[no-untyped-def]
    return lambda types, attrs: list(types[fixed:])


register(OpRecord(
    name="for", kind=Kind.CONTROL, arity=(3, -1), infer=_carried(3),
    doc="Runs its region for %i from start to stop by step (i64, as Python's range); each turn yields the "
        "next carried values.",
))

register(OpRecord(
    name="while", kind=Kind.CONTROL, arity=(0, -1), infer=_carried(0),
    doc="While the first region yields True for the carried values, the second yields the next ones.",
))

register(OpRecord(
    name="if", kind=Kind.CONTROL, arity=1, infer=_from_regions,
    doc="Yields what its first region does if the bool operand is True, else what its second does.",
))

register(OpRecord(
    name="fused", kind=Kind.CONTROL, arity=0, infer=_from_regions,
    doc="The ops of its region in one kernel; it yields what is visible outside.",
))


def carried_types(name: str, regions: Sequence[Region]) -> tuple[TensorType, ...]:
    """Result types as the regions tell them: the block arguments of a loop, else what is yielded."""
    if name in LOOPS:
        return tuple(p.type for p in regions[0].params[1 if name == "for" else 0 :])
    return tuple(map(_merged, *(r.yields for r in regions)))


def _merged(*yields: Value) -> TensorType:
    """One storage on all paths stays that storage; different ones become a new array."""
    first = yields[0]
    if all(y.ref == first.ref for y in yields[1:]) and any(y.type.ref is not None for y in yields):
        return first.type.with_ref(first.ref)
    return first.type.fresh()


def control_op(
    name: str,
    operands: Sequence[Value],
    regions: Sequence[Region],
    names: Sequence[str],
    loc: Loc | None = None,
) -> Op:
    """A control op whose results, called `names`, have the types that its regions give them."""
    results = tuple(map(Value, names, carried_types(name, regions)))
    return Op(name, tuple(operands), results, {}, tuple(regions), loc)
