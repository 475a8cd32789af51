"""Which elements of which storages an op touches, and which two accesses must keep their order.

Fusion, view resolution and planning ask these questions and no others about memory. An access is *pointwise*
if iteration i of the op's domain touches exactly element i of the access's own view; a scalar that all
iterations read, or a gather, is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from sparsec.ir.dims import Dim
from sparsec.ir.graph import Op, Value, symbol_uses, value_symbols
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.tensorref import TensorRef, regions_overlap, self_overlaps
from sparsec.ir.types import DType

Shape = tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class Access:
    """A view that an op reads or writes, element for element with its domain or not."""

    ref: TensorRef
    shape: Shape
    dtype: DType
    write: bool
    pointwise: bool

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def storage(self) -> str:
        return self.ref.storage


def is_kernel(op: Op) -> bool:
    """Whether the op is a group that runs as one kernel: the one name that passes know, as they make it."""
    return op.name == "fused"


def domain(op: Op) -> Shape | None:
    """The shape that the op iterates over; None for an op that brings its own loops."""
    rec = record(op.name)
    match rec.kind:
        case Kind.ELEMENTWISE | Kind.MAP:
            return op.results[0].type.shape
        case Kind.REDUCE | Kind.CHECK:
            return op.operands[0].type.shape
        case Kind.UPDATE if rec.region:
            return op.operands[1].type.shape
    return None


def accesses(op: Op) -> tuple[Access, ...]:
    """Everything that the op reads and writes, the storages of its results included."""
    return tuple(_accesses(op))


def _accesses(op: Op) -> Iterator[Access]:
    rec = record(op.name)
    over = domain(op)
    if rec.kind in (Kind.VIEW, Kind.CONST, Kind.CREATE):
        return
    for position, value in enumerate(op.operands):
        if rec.kind is Kind.UPDATE and position == 0:
            continue  # the version only says what is written
        if rec.kind is Kind.UPDATE and position == 1:
            yield access(value, write=True, pointwise=rec.region)
            continue
        yield access(value, write=False, pointwise=over is not None and value.type.shape == over
                     and (rec.kind is not Kind.MAP or position in rec.pointwise))
    for result in op.results[1 if rec.kind is Kind.UPDATE else 0 :]:
        yield access(result, write=True, pointwise=rec.kind in (Kind.ELEMENTWISE, Kind.MAP) or rec.once)


def access(value: Value, *, write: bool, pointwise: bool) -> Access:
    """The access to all elements of a value."""
    return Access(value.ref, value.type.shape, value.type.dtype, write, pointwise)


def overlap(a: Access, b: Access) -> bool:
    """Whether two accesses share an element, as far as can be told."""
    return regions_overlap(a.ref, a.shape, a.itemsize, b.ref, b.shape, b.itemsize)


def same_mapping(a: Access, b: Access) -> bool:
    """Whether element i is the same in both: at one place, of one dtype, and in no other element of either."""
    return (
        a.dtype == b.dtype and a.shape == b.shape and same_place(a.ref, b.ref, a.shape)
        and not self_overlaps(a.ref, a.shape)
    )


def same_place(a: TensorRef, b: TensorRef, shape: Shape) -> bool:
    """Whether two refs of one shape name the same elements in the same order."""
    return a.storage == b.storage and a.offset == b.offset and all(
        s == t for s, t, d in zip(a.strides, b.strides, shape, strict=True) if d != 1
    )


def ordered(a: Access, b: Access) -> bool:
    """Whether two accesses may not change places (RAW, WAR or WAW on an element)."""
    return (a.write or b.write) and a.storage == b.storage and overlap(a, b)


def element_for_element(a: Access, b: Access) -> bool:
    """Whether ordered accesses keep their order when both ops run iteration by iteration."""
    return a.pointwise and b.pointwise and same_mapping(a, b)


def last_pointwise_reads(op: Op, result: Value) -> set[str]:
    """Storages that the kernel only reads, and each element of them where it writes the one of `result`: at one
    index, and as far from the beginning of both."""
    inner = op.regions[0].ops
    if any(record(o.name).kind is Kind.REDUCE for o in inner):
        return set()
    found = [a for o in inner for a in accesses(o)]
    places = [access(result, write=True, pointwise=True)]
    if result.type.ref is not None:  # a write to a part, perhaps, of what was made before
        places = [a for a in found if a.write and a.storage == result.storage]
    if not all(_alike(a, places[0]) for a in places):
        return set()
    good = {a.storage for a in found if not a.write and _alike(a, places[0])}
    return good - {a.storage for a in found if a.write or not _alike(a, places[0])}


def _alike(a: Access, b: Access) -> bool:
    """Whether iteration i touches the same place in both storages."""
    return a.pointwise and b.pointwise and same_mapping(replace(a, ref=replace(a.ref, storage=b.storage)), b)


def symbol_reads(op: Op, values: Mapping[str, Value], views: Mapping[str, Op]) -> list[Access]:
    """The SSA integers that dims of the op, and of what it reads, depend on. values, views: those of the function."""
    names = dict.fromkeys((*symbol_uses(op), *value_symbols(*with_views(op.operands, views))))
    return [access(values[n], write=False, pointwise=False) for n in names if n in values]


def with_views(values: Iterable[Value], views: Mapping[str, Op]) -> Iterator[Value]:
    """Values, and the views that they are views of: they are written down with them."""
    for value in values:
        yield value
        while value.name in views and (value := views[value.name].operands[0]).name in views:
            yield value
