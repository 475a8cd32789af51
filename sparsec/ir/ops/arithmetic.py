"""Arithmetic: + - * / and what NumPy's rules add to them."""

from __future__ import annotations

import numpy as np

from sparsec.ir.ops.declare import elementwise
from sparsec.ir.ops.record import Sparse

elementwise(
    "add", "x + y; integers wrap.", np.add, lambda s, x, y: s.add(x, y), kinds="iufc", arity=2,
    sparse=Sparse.UNION, grad=lambda b, op, g: (g, g),
)
elementwise(
    "mul", "x * y; integers wrap.", np.multiply, lambda s, x, y: s.mul(x, y), kinds="iufc", arity=2,
    numpy=("multiply",), sparse=Sparse.INTERSECT,
    grad=lambda b, op, g: (b.op("mul", g, op.operands[1]), b.op("mul", g, op.operands[0])),
)
