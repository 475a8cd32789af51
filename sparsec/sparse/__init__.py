"""Channel sparsity: feature maps and weights that store their live channels only.

    x = sparsec.sparse.from_dense(features, keep=[0, 3, 5])      # 3 of 8 channels are stored
    y = net(x)                                                    # compiled; y may be a ChannelSparse too
    y.to_dense()

docs/sparsity.md has the rules by which channels pass through functions.
"""

from __future__ import annotations

from sparsec.sparse.channel import ChannelSparse, from_dense
from sparsec.sparse.pruning import prune
from sparsec.sparse.weights import BlockWeight, ColumnWeight, PatternGroups, PatternWeight, TapWeight

__all__ = [
    "BlockWeight", "ChannelSparse", "ColumnWeight", "PatternGroups", "PatternWeight", "TapWeight", "from_dense",
    "prune",
]  # fmt: skip
