"""The larger and the smaller of two values, with NumPy's rules for NaN."""

from __future__ import annotations

import numpy as np

from sparsec.ir.ops import rules
from sparsec.ir.ops.declare import elementwise
from sparsec.ir.ops.record import Sparse
from sparsec.ir.types import tensor


def _choose(b, g, first):  # type: ignore[no-untyped-def]
    """The gradient goes to the operand that was chosen; on a tie to the second."""
    zero = b.const(0, tensor(g.type.dtype))
    return b.op("where", first, g, zero), b.op("where", first, zero, g)


elementwise(
    "maximum", "The larger of x and y; NaN if one is.", np.maximum, lambda s, x, y: rules.larger(x, y),
    kinds="biufc", arity=2, sparse=Sparse.UNION,
    grad=lambda b, op, g: _choose(b, g, b.op("greater", *op.operands)),
)
elementwise(
    "minimum", "The smaller of x and y; NaN if one is.", np.minimum, lambda s, x, y: rules.smaller(x, y),
    kinds="biufc", arity=2, sparse=Sparse.UNION,
    grad=lambda b, op, g: _choose(b, g, b.op("less", *op.operands)),
)
elementwise(
    "fmax", "The larger of x and y; the other one where one is NaN.", np.fmax,
    lambda s, x, y: rules.larger_number(x, y), kinds="biufc", arity=2, sparse=Sparse.UNION,
)
elementwise(
    "fmin", "The smaller of x and y; the other one where one is NaN.", np.fmin,
    lambda s, x, y: rules.smaller_number(x, y), kinds="biufc", arity=2, sparse=Sparse.UNION,
)
