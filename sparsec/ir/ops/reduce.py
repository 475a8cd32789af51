"""Reductions."""

from __future__ import annotations

import numpy as np

from sparsec.ir.ops.declare import reduction
from sparsec.ir.ops.record import Fold
from sparsec.ir.scalar import const

reduction(
    "sum", "The sum; float sums are pairwise.", lambda x, axis: np.add.reduce(x, axis=axis, dtype=x.dtype),
    Fold(init=lambda dtype, a: (const(0, dtype),), step=lambda s, accs, x, i: (s.add(accs[0], x),), pairwise=True),
    kinds="iufc", ulp=4,
)
