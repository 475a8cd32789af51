"""Writes and reads of single columns share a kernel with those of several: the few columns become ops each.

    %v  = view %t {…} : f32[8,2] @t:(4,2)        %v0 = view %t {…} : f32[8] @t:(4)
    %a  = maximum %v, %c : f32[8,2]         ->   %a0 = maximum %v0, %c : f32[8]
    %t1 = update %t, %v, %a                      …                                       once for each column

This is `t[:, 0::2].clip(0, out=t[:, 0::2])` where other statements write `t[:, 0]` and `t[:, 1]`: over rows, all of
them are one loop that touches memory once. A last axis of at most `most` elements is cut where another op, whose
domain is the rows, touches the same elements.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
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
#: Fewer rows than this are not worth the longer code.
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
        groups, cut_before = _touched(reads, self.most), -1
        while len(chosen) > cut_before:  # what is cut may clash with what is not
            cut_before = len(chosen)
            cut_now = {number for component in chosen.values() for number in component.positions}
            for number in _to_cut(groups, cut_now):
                component = found.get(number)
                if component is not None and _columns(component.shape, self.most):
                    chosen[id(component)] = component
        if not chosen:
            return reads.ops
        return cut(reads, [(component, _boxes(component.shape)) for component in chosen.values()])


def _columns(shape: tuple[Dim, ...], most: int) -> bool:
    if len(shape) < 2 or not all(isinstance(d, int) for d in shape):
        return False
    return shape[-1] <= most and math.prod(shape[:-1]) >= _FEWEST_ROWS  # type: ignore[operator,arg-type]


def _boxes(shape: tuple[Dim, ...]) -> list[Box]:
    rows = tuple(int(d) for d in shape[:-1])  # type: ignore[arg-type]
    last = len(rows)
    return [Box((0,) * last + (column,), (*rows, 1), (last,)) for column in range(int(shape[-1]))]  # type: ignore[arg-type]


def _apart(access: Access, most: int) -> bool:
    """Whether rows are long enough to make vectors of a column, or hold so much else that nothing else would."""
    step = access.ref.strides[-2]
    return access.shape[-2] >= _FEWEST_ROWS or (isinstance(step, int) and abs(step) > most)  # type: ignore[operator]


@dataclass(frozen=True, slots=True)
class _Touch:
    """What an op touches, row by row. cut: its last axis are columns, which a row has several of."""

    number: int
    access: Access
    cut: bool

    @property
    def strides(self) -> tuple[Dim, ...]:
        """From row to row."""
        return self.access.ref.strides[: len(self.access.shape) - self.cut]


def _touched(reads: Reads, most: int) -> list[list[_Touch]]:
    """What ops touch, in groups of one storage and equal rows: those in which columns may be cut."""
    touched: dict[tuple[str, tuple[Dim, ...]], list[_Touch]] = {}
    for number, op in enumerate(reads.ops):
        shape = domain(op)
        if shape is None or shape == () or record(op.name).kind is Kind.REDUCE:
            continue
        for access in accesses(op):
            if access.pointwise:
                touched.setdefault((access.storage, shape), []).append(_Touch(number, access, False))
                if _columns(shape, most) and _apart(access, most):
                    touched.setdefault((access.storage, shape[:-1]), []).append(_Touch(number, access, True))
    return [group for group in touched.values()
            if len(group) ** 2 <= _MOST_PAIRS and any(touch.cut for touch in group)]


def _to_cut(groups: Iterable[Sequence[_Touch]], cut: set[int]) -> Iterator[int]:
    """Ops that would share a kernel with another if their columns were ops of their own, as those of `cut` are."""
    for group in groups:
        for later, b in enumerate(group):
            for a in group[:later]:
                if a.number == b.number or not (a.cut or b.cut) or not _same_rows(a, b):
                    continue
                alike = element_for_element(a.access, b.access) and (a.number in cut) == (b.number in cut)
                if not alike and ordered(a.access, b.access):
                    yield from (touch.number for touch in (a, b) if touch.cut)


def _same_rows(a: _Touch, b: _Touch) -> bool:
    """Whether row i is the same row in both, if they are different columns of one table."""
    if a.strides != b.strides or a.access.itemsize != b.access.itemsize:
        return False
    distance = a.access.ref.offset - b.access.ref.offset
    widths = [abs(int(s)) for s in a.strides if isinstance(s, int) and s != 0]
    return isinstance(distance, int) and abs(distance) < min(widths, default=1)
