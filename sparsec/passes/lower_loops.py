"""Groups over one domain as a loop nest: element-wise ops, maps, reductions, region updates and checks.

    %e = exp %x : f32[4,6]             for i in 0..4 bind(parallel) {
    %s = sum %e {axes=[1]}     ->        mut m = 0.0
    yield %s                             for j in 0..6 { m = m + exp(%x[i * 6 + j]) }
                                         %s[i] = m
                                       }

Every value of an iteration is bound to a name once. Without reductions all axes are outer loops; with them,
the kept axes are outside and the folded ones inside, in C order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sparsec.ir.graph import Op, Value
from sparsec.passes.accesses import domain
from sparsec.passes.lower_domain import Domain
from sparsec.passes.lower_elements import Elements
from sparsec.passes.lower_kernel import KernelWriter
from sparsec.passes.lower_reductions import Reductions


def lower_loops(k: KernelWriter, ops: Sequence[Op], shown: Mapping[str, Value]) -> None:
    """Writes the kernel of `ops`. shown: what the values that are visible outside are called there."""
    group = [op for op in ops if domain(op) is not None]
    over, elements = Domain(k, group), Elements(k, group, shown)
    if over.is_empty():
        return
    elements.bind_scalars()
    reductions = Reductions(over, elements)
    outer, inner = over.loops(over.kept), over.loops(over.folded)
    bind = "seq" if over.sequential() else "parallel"
    if reductions.abreast(outer):
        with over.nest(outer[:-1], bind) as at:
            reductions.across(at, outer[-1], inner, bind)
        return
    with over.nest(outer, bind) as at:
        if over.reductions:
            reductions.write(at, inner, alone=not outer)
        else:
            elements.write(at)
