"""The pipelines, as literal lists, and the passes by name."""

from __future__ import annotations

from sparsec.passes.balance import Balance
from sparsec.passes.base import Pass, parse_spec
from sparsec.passes.both_products import BothProducts
from sparsec.passes.canonicalize import Canonicalize
from sparsec.passes.columns import Columns
from sparsec.passes.cse import Cse
from sparsec.passes.dce import Dce
from sparsec.passes.dissolve import Dissolve
from sparsec.passes.dots import Dots
from sparsec.passes.fold import Fold
from sparsec.passes.forward import Forward
from sparsec.passes.fuse import Fuse
from sparsec.passes.inline import Inline
from sparsec.passes.interleave import Interleave
from sparsec.passes.linearize import Linearize
from sparsec.passes.masked_writes import MaskedWrites
from sparsec.passes.order_axes import OrderAxes
from sparsec.passes.pieces import Pieces
from sparsec.passes.plan_memory import PlanMemory
from sparsec.passes.propagate import Propagate
from sparsec.passes.pruned_kernels import CompressPatterns, LayOutPlanes, ReorderFilters, ShareLoads
from sparsec.passes.resolve_views import ResolveViews
from sparsec.passes.skip_copies import SkipCopies
from sparsec.passes.split_strides import SplitStrides
from sparsec.passes.through_index import ThroughIndex
from sparsec.passes.unfuse import Unfuse
from sparsec.passes.whole_writes import WholeWrites

__all__ = ["DEFAULT", "PASSES", "UNOPTIMISED", "parse_pipeline"]

#: What a compiled function goes through.
DEFAULT: tuple[Pass, ...] = (
    Unfuse(),
    Canonicalize(),
    WholeWrites(),
    Fold(),
    Cse(),
    MaskedWrites(),
    Dce(),
    Dots(),
    Propagate(),
    ThroughIndex(),
    CompressPatterns(),
    ReorderFilters(),
    ShareLoads(),
    LayOutPlanes(),
    ResolveViews(),
    BothProducts(),
    OrderAxes(),
    WholeWrites(),
    SkipCopies(),
    Dce(),
    Dissolve(),
    Dce(),
    Inline(),
    Dce(),
    Pieces(),
    Columns(),
    Interleave(),
    Dissolve(),
    Dce(),
    Inline(),
    Cse(),
    Dce(),
    SplitStrides(),
    Balance(),
    Linearize(),
    Fuse(),
    Forward(),
    Dce(),
    PlanMemory(),
)

#: The least that still lowers: every op a kernel of its own.
UNOPTIMISED: tuple[Pass, ...] = (
    Unfuse(),
    LayOutPlanes(),
    ResolveViews(),
    Linearize(),
    Fuse(max_ops=1),
    PlanMemory(),
)

#: Every pass that a pipeline may name.
PASSES: dict[str, type[Pass]] = {step.name: type(step) for step in DEFAULT}


def parse_pipeline(text: str) -> tuple[Pass, ...]:
    """The passes that `canonicalize,fuse{max-ops=8}` names; `default` and `unoptimised` name those lists."""
    lists = {"default": DEFAULT, "unoptimised": UNOPTIMISED}
    return lists[text.strip()] if text.strip() in lists else parse_spec(text, PASSES)
