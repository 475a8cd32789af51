"""What the cost model decides and a search may decide otherwise: options of passes, and of the machine's units.

    Choices(max_ops=16).pipeline()          the default one, with fuse{max-ops=16}

No choice changes a value. `str()` of one names what differs from the defaults, and reads back.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from sparsec.errors import ConfigError
from sparsec.passes.base import Pass
from sparsec.passes.both_products import BothProducts
from sparsec.passes.columns import Columns
from sparsec.passes.fuse import Fuse
from sparsec.passes.interleave import Interleave
from sparsec.passes.pieces import Pieces
from sparsec.passes.pipeline import DEFAULT
from sparsec.passes.plan_memory import PlanMemory
from sparsec.passes.pruned_kernels import CompressPatterns, ReorderFilters, ShareLoads
from sparsec.passes.split_strides import SplitStrides
from sparsec.passes.through_index import ThroughIndex

__all__ = ["ALTERNATIVES", "Choices"]


@dataclass(frozen=True)
class Choices:
    """max_ops: of a kernel. columns, interleave, pieces: `most` of these passes. lanes: whether reductions go
    several abreast. vector_bits, registers: what vectors and register blocks may use; 0: what the machine has.
    compress, reorder, share: whether the passes for pruned kernels do what they are for (pruned_kernels.py).
    both_products: whether that pass does. pack: whether constant weights may be kept in a second order
    (schedule/packed_weights.py). limit: the most bytes that temporaries, results and packed weights may take
    together; 0: no limit."""

    max_ops: int = Fuse.max_ops
    columns: int = Columns.most
    interleave: int = Interleave.most
    pieces: int = Pieces.most
    lanes: bool = True
    vector_bits: int = 0
    registers: int = 0
    compress: bool = True
    reorder: bool = True
    share: bool = True
    both_products: bool = True
    pack: bool = True
    limit: int = 0

    def pipeline(self, packs: bool = False, vector_bytes: int = 0) -> tuple[Pass, ...]:
        """The default pipeline with these options. packs: whether constant weights may be packed behind it.
        vector_bytes: of the target's registers, for passes that leave room for a schedule."""
        return tuple(self._step(step, packs, vector_bytes) for step in DEFAULT)

    def _step(self, step: Pass, packs: bool, vector_bytes: int) -> Pass:
        match step:
            case Fuse():
                return replace(step, max_ops=self.max_ops)
            case Columns():
                return replace(step, most=self.columns)
            case Interleave():
                return replace(step, most=self.interleave)
            case Pieces():
                return replace(step, most=self.pieces)
            case BothProducts():
                return replace(step, on=self.both_products)
            case CompressPatterns():
                return replace(step, on=self.compress)
            case ReorderFilters():
                return replace(step, on=self.reorder)
            case ShareLoads():
                return replace(step, on=self.share)
            case ThroughIndex():
                return replace(step, packs=packs and not self.limit)
            case SplitStrides():
                return replace(step, vector_bytes=vector_bytes)
            case PlanMemory():
                return replace(step, limit=self.limit)
        return step

    def __str__(self) -> str:
        named = [f"{f.name.replace('_', '-')}={int(getattr(self, f.name))}" for f in fields(self)
                 if getattr(self, f.name) != f.default]
        return ",".join(named)

    @staticmethod
    def parse(text: str) -> Choices:
        """The inverse of `str`. Raises ConfigError."""
        known = {f.name.replace("_", "-"): f for f in fields(Choices)}
        values = {}
        for part in filter(None, text.split(",")):
            key, _, number = part.partition("=")
            if key not in known or not number.isdigit():
                raise ConfigError(f"{part!r} is no choice", hint="choices: " + ", ".join(known))
            values[known[key].name] = type(known[key].default)(int(number))  # type: ignore[misc]
        return Choices(**values)


#: What a search tries for each.
ALTERNATIVES: dict[str, tuple[int, ...]] = {
    "max_ops": (8, 16, 32, 128), "columns": (0, 2, 8), "interleave": (1, 8), "pieces": (1, 27), "lanes": (False,),
    "both_products": (False,),
    "vector_bits": (128, 256, 512), "registers": (8, 16),
}
