"""Writes and reads of single columns share a kernel with those of several: the few columns become ops each.

    %v  = view %t {…} : f32[8,2] @t:(4,2)        %v0 = view %t {…} : f32[8] @t:(4)
    %a  = maximum %v, %c : f32[8,2]         ->   %a0 = maximum %v0, %c : f32[8]
    %t1 = update %t, %v, %a                      …                                       once for each column

This is `t[:, 0::2].clip(0, out=t[:, 0::2])` where other statements write `t[:, 0]` and `t[:, 1]`: over rows, all of
them are one loop that touches memory once. A last axis of at most `most` elements is cut where another op, whose
domain is the rows, touches the same elements.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from sparsec.ir.dims import Dim
from sparsec.ir.forms import Form
from sparsec.ir.graph import Op
from sparsec.ir.ops.record import Kind, record
from sparsec.passes.accesses import Access, accesses, domain, element_for_element, ordered
from sparsec.passes.split_domain import Box, Component, components, cut
from sparsec.passes.view_reads import ListPass, Reads

__all__ = ["Columns"]

#: Pairs of accesses that are looked at for one storage: enough for code that people write.
_MOST_PAIRS = 2048
#: Fewer rows than this, or a last axis of rows that is shorter, are not worth the longer code.
_FEWEST_ROWS = 16


@dataclass(frozen=True)
class Columns(ListPass):
    """`most`: the longest last axis that is cut."""

    name: ClassVar[str] = "columns"
    requires: ClassVar[Form] = Form.VIEWS_RESOLVED
    most: int = 4

    def rewrite(self, reads: Reads) -> tuple[Op, ...]:
        found = components(reads)
        chosen: dict[int, Component] = {}
        for a, b in _clashes(reads, self.most):
            for number in (a, b):
                component = found.get(number)
                if component is not None and _columns(component.shape, self.most):
                    chosen[id(component)] = component
        if not chosen:
            return reads.ops
        return cut(reads, [(component, _boxes(component.shape)) for component in chosen.values()])


def _rows(shape: tuple[Dim, ...] | None, most: int) -> tuple[Dim, ...] | None:
    """What is left of a shape without its columns."""
    return shape[:-1] if shape and _columns(shape, most) else shape


def _columns(shape: tuple[Dim, ...], most: int) -> bool:
    if len(shape) < 2 or not all(isinstance(d, int) for d in shape):
        return False
    return shape[-1] <= most and shape[-2] >= _FEWEST_ROWS  # type: ignore[operator]


def _boxes(shape: tuple[Dim, ...]) -> list[Box]:
    rows = tuple(int(d) for d in shape[:-1])  # type: ignore[arg-type]
    last = len(rows)
    return [Box((0,) * last + (column,), (*rows, 1), (last,)) for column in range(int(shape[-1]))]  # type: ignore[arg-type]


def _clashes(reads: Reads, most: int) -> Iterator[tuple[int, int]]:
    """Pairs of ops that would share a kernel if their columns were ops of their own."""
    touched: dict[tuple[str, tuple[Dim, ...] | None], list[tuple[int, Access]]] = {}
    for number, op in enumerate(reads.ops):
        shape = domain(op)
        if shape is None or shape == () or record(op.name).kind is Kind.REDUCE:
            continue
        for access in accesses(op):
            if access.pointwise:
                touched.setdefault((access.storage, _rows(shape, most)), []).append((number, access))
    for group in touched.values():
        if len(group) ** 2 > _MOST_PAIRS or not any(_columns(a.shape, most) for _, a in group):
            continue
        for later, (b, new) in enumerate(group):
            for a, old in group[:later]:
                if a != b and _same_rows(old, new, most) and ordered(old, new) and not element_for_element(old, new):
                    yield a, b


def _same_rows(a: Access, b: Access, most: int) -> bool:
    """Whether row i is the same row in both, if they are different columns of one table."""
    rows = _row_strides(a, most)
    if rows != _row_strides(b, most) or a.itemsize != b.itemsize:
        return False
    distance = a.ref.offset - b.ref.offset
    widths = [abs(int(s)) for s in rows if isinstance(s, int) and s != 0]
    return isinstance(distance, int) and abs(distance) < min(widths, default=1)


def _row_strides(a: Access, most: int) -> tuple[Dim, ...]:
    return a.ref.strides[:-1] if _columns(a.shape, most) else a.ref.strides
