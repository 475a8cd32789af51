"""A loop over all elements of a row is cut to fit loops over every second (third, …) element of it.

    %t1 = update %t, %t, %a : f32[9,8] @t             %t1 = …  a[:, 0::2] into t[:, 0::2]    domain f32[9,4]
    %v  = view %t1 {…} : f32[9,4] @t:(8,2)       ->   %t2 = …  a[:, 1::2] into t[:, 1::2]
    %b  = sin %v : f32[9,4]                           %v  = view %t2 {…}
    %t2 = update %t1, %v, %b                          …

All of them are one loop then, and what is written is not read back. `step` at most: `most`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from sparsec.ir.dims import Dim, Poly
from sparsec.ir.forms import Form
from sparsec.ir.graph import Op
from sparsec.passes.accesses import Access, accesses, domain, ordered
from sparsec.passes.split_domain import Box, Component, components, cut
from sparsec.passes.view_reads import ListPass, Reads

__all__ = ["Interleave"]

#: Pairs of accesses that are looked at for one storage: enough for code that people write.
_MOST_PAIRS = 2048


@dataclass(frozen=True)
class Interleave(ListPass):
    """`most`: the widest step."""

    name: ClassVar[str] = "interleave"
    requires: ClassVar[Form] = Form.VIEWS_RESOLVED
    most: int = 4

    def rewrite(self, reads: Reads) -> tuple[Op, ...]:
        found = components(reads)
        chosen: dict[int, tuple[Component, int]] = {}
        for number, step in _fits(reads, self.most):
            component = found.get(number)
            if component is not None:
                # Two wishes for one component: the wider step serves the narrower one too, if it is a multiple.
                _, known = chosen.get(id(component), (component, 1))
                if step % known == 0:
                    chosen[id(component)] = component, step
        if not chosen:
            return reads.ops
        return cut(reads, [(component, _boxes(component.shape, step)) for component, step in chosen.values()])


def _boxes(shape: tuple[Dim, ...], step: int) -> list[Box]:
    sizes = tuple(int(d) for d in shape)  # type: ignore[arg-type]
    ahead = (0,) * (len(sizes) - 1)
    size, steps = (*sizes[:-1], sizes[-1] // step), (*(1 for _ in ahead), step)
    return [Box((*ahead, first), size, (), steps) for first in range(step)]


def _fits(reads: Reads, most: int) -> Iterator[tuple[int, int]]:
    """Ops that would fit another op's loop if they were cut, and into how many steps."""
    touched: dict[tuple[str, tuple[Dim, ...]], list[tuple[int, Access]]] = {}
    for number, op in enumerate(reads.ops):
        shape = domain(op)
        if not shape or not all(isinstance(d, int) for d in shape):
            continue
        for access in accesses(op):
            if access.pointwise and isinstance(access.ref.offset, int):
                touched.setdefault((access.storage, shape[:-1]), []).append((number, access))
    for group in touched.values():
        if len(group) ** 2 > _MOST_PAIRS or len({a.shape for _, a in group}) == 1:
            continue
        for a, wide in group:
            for b, narrow in group:
                step = _step(wide, narrow)
                if a != b and 1 < step <= most and ordered(wide, narrow):
                    yield a, step


def _step(wide: Access, narrow: Access) -> int:
    """Into how many steps the one is to be cut for the other; 1: not at all."""
    numbers = (wide.ref.strides[-1], narrow.ref.strides[-1], narrow.ref.offset - wide.ref.offset)
    if any(isinstance(n, Poly) for n in numbers) or wide.ref.strides[:-1] != narrow.ref.strides[:-1]:
        return 1
    last, stride, distance = (int(n) for n in numbers)  # type: ignore[arg-type]
    size, n = int(wide.shape[-1]), int(narrow.shape[-1])  # type: ignore[arg-type]
    if n < 2 or size % n or last <= 0:
        return 1
    step = size // n
    return step if stride == step * last and 0 <= distance < stride else 1
