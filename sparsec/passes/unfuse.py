"""Dissolves `fused` ops, so that the pipeline may begin with text that has been through it before.

    %y, %x1 = fused () {                                %y = exp %v : f32[4]
      %a = exp %v : f32[4]                              %x1 = update %x, %v, %y : f32[8] @x
      %w = update %x, %v, %a : f32[8] @x        ->
      yield %a, %w
    } : f32[4], f32[8] @x

What was yielded takes the name that it has outside. Kernels by hand may hold anything: only fusion's own are
known to fit one loop nest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from sparsec.ir.forms import Form
from sparsec.ir.graph import Func, Op, Region, Value, walk
from sparsec.passes.accesses import is_kernel
from sparsec.passes.base import Pass
from sparsec.passes.facts import used_symbols
from sparsec.passes.rebuild import retyped, swap, with_regions

__all__ = ["Unfuse"]


@dataclass(frozen=True)
class Unfuse(Pass):
    """One walk; a function without kernels is left alone."""

    name: ClassVar[str] = "unfuse"
    requires: ClassVar[Form] = Form.TRACED

    def run(self, func: Func) -> Func:
        if not any(is_kernel(op) for op in walk(func.ops)):
            return func
        work = _Dissolver(used_symbols(func))
        ops = work.op_list(func.ops)
        results, writes = swap(func.results, work.same), swap(func.writes, work.same)
        return replace(func, ops=ops, results=results, writes=writes, plan=())


class _Dissolver:
    """`same`: what a value is called now."""

    def __init__(self, symbols: set[str]) -> None:
        self.same: dict[str, Value] = {}
        self._symbols = symbols

    def op_list(self, ops: Sequence[Op]) -> tuple[Op, ...]:
        out: list[Op] = []
        for op in ops:
            if is_kernel(op):
                out += self._dissolved(op)
                continue
            new = retyped(op, swap(op.operands, self.same))
            self.same.update((r.name, n) for r, n in zip(op.results, new.results) if r != n)
            out.append(with_regions(new, self._region))
        return tuple(out)

    def _region(self, region: Region) -> Region:
        ops = self.op_list(region.ops)
        return replace(region, ops=ops, yields=swap(region.yields, self.same))

    def _dissolved(self, kernel: Op) -> list[Op]:
        region = kernel.regions[0]
        names = self._outside_names(kernel)
        out: list[Op] = []
        for op in region.ops:
            for new in self.op_list((op,)):
                results = tuple(Value(names.get(r.name, r.name), r.type) for r in new.results)
                self.same.update((r.name, n) for r, n in zip(new.results, results) if r != n)
                out.append(replace(new, results=results))
        for inside, outside in zip(region.yields, kernel.results):
            (value,) = swap((inside,), self.same)
            if value.name == outside.name:
                continue
            if outside.type.ref is None:
                out.append(Op("copy", (value,), (outside,), {}, (), kernel.loc))
            else:
                self.same[outside.name] = value  # a version or a view: the same place under another name
        return out

    def _outside_names(self, kernel: Op) -> dict[str, str]:
        """Name inside -> name outside, for what the kernel defines; a symbol keeps the name that dims mention."""
        region = kernel.regions[0]
        made = {r.name for op in region.ops if not is_kernel(op) for r in op.results} - self._symbols
        names: dict[str, str] = {}
        for inside, outside in zip(region.yields, kernel.results):
            if inside.name in made:
                names.setdefault(inside.name, outside.name)
        return names
