"""Rounding to whole numbers, and the parts of a float."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sparsec.ir.loops import Expr
from sparsec.ir.ops import rules
from sparsec.ir.ops.declare import elementwise
from sparsec.ir.ops.record import Sparse
from sparsec.ir.scalar import ScalarBuilder


def _rounding(fn: str) -> Callable[[ScalarBuilder, Expr], Expr]:
    """Integers are whole already; so are bools."""
    return lambda s, x: getattr(s, fn)(x) if x.dtype.kind == "f" else x


def _to_nearest(s: ScalarBuilder, x: Expr) -> Expr:
    if x.dtype.kind == "c":
        return s.complex(*(s.rint(part) for part in rules.parts(x)))
    return s.rint(x)  # type: ignore[no-any-return]


elementwise(
    "floor", "The largest whole number <= x.", np.floor, _rounding("floor"), kinds="biuf", sparse=Sparse.KEEP,
)
elementwise(
    "ceil", "The smallest whole number >= x.", np.ceil, _rounding("ceil"), kinds="biuf", sparse=Sparse.KEEP,
)
elementwise(
    "trunc", "x without its fraction.", np.trunc, _rounding("trunc"), kinds="biuf", sparse=Sparse.KEEP,
)
elementwise(
    "rint", "The nearest whole number, the even one of two; on both parts of a complex number.", np.rint,
    _to_nearest, kinds="fc", sparse=Sparse.KEEP,
)
