"""Reductions: folds of some axes in C order.

float16 is refused: the frontend folds in float32, as NumPy does for sums, and casts back.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Expr
from sparsec.ir.ops import rules
from sparsec.ir.ops.declare import reduction
from sparsec.ir.ops.record import Fold
from sparsec.ir.scalar import ScalarBuilder, const
from sparsec.ir.types import I64, DType


def _starts_at(value: int) -> Callable[[DType, Attrs], tuple[Expr, ...]]:
    return lambda dtype, attrs: (const(value, dtype),)


reduction(
    "sum", "The sum; float sums are pairwise.", lambda x, axis: np.add.reduce(x, axis=axis, dtype=x.dtype),
    Fold(init=_starts_at(0), step=lambda s, accs, x, i: (s.add(accs[0], x),), pairwise=True),
    kinds="iufc", ulp={"f": 4, "c": 4},
)
reduction(
    "prod", "The product, in order.", lambda x, axis: np.multiply.reduce(x, axis=axis, dtype=x.dtype),
    Fold(init=_starts_at(1), step=lambda s, accs, x, i: (s.mul(accs[0], x),)),
    kinds="iufc", ulp={"f": 16, "c": 64},
)
reduction(
    "max", "The largest element; NaN if one is.", lambda x, axis: np.maximum.reduce(x, axis=axis),
    Fold(
        init=lambda dtype, attrs: (rules.lowest(dtype),),
        step=lambda s, accs, x, i: (rules.larger(accs[0], x),),
    ),
    kinds="biufc", empty=False, numpy=("max", "amax"),
)
reduction(
    "min", "The smallest element; NaN if one is.", lambda x, axis: np.minimum.reduce(x, axis=axis),
    Fold(
        init=lambda dtype, attrs: (rules.highest(dtype),),
        step=lambda s, accs, x, i: (rules.smaller(accs[0], x),),
    ),
    kinds="biufc", empty=False, numpy=("min", "amin"),
)
reduction(
    "any", "Whether an element is True.", lambda x, axis: np.logical_or.reduce(x, axis=axis),
    Fold(init=_starts_at(0), step=lambda s, accs, x, i: (s.logical_or(accs[0], x),)),
    kinds="b",
)
reduction(
    "all", "Whether every element is True.", lambda x, axis: np.logical_and.reduce(x, axis=axis),
    Fold(init=_starts_at(1), step=lambda s, accs, x, i: (s.logical_and(accs[0], x),)),
    kinds="b",
)

_Choice = Callable[[ScalarBuilder, tuple[Expr, ...], Expr, Expr], tuple[Expr, ...]]


def _first_best(order: str) -> _Choice:
    """Keeps (best element, its position); a NaN beats every number, and nothing beats a NaN."""

    def step(s: ScalarBuilder, accs: tuple[Expr, ...], x: Expr, i: Expr) -> tuple[Expr, ...]:
        best, at = accs
        better = rules.better(order, x, best)
        return s.select(better, x, best), s.select(better, i, at)

    return step


def _position_of(extreme: Callable[[np.ndarray], np.ndarray]) -> Callable[..., np.ndarray]:
    """`extreme` of NumPy, which takes one axis, over several: the reduced ones are made one, in order."""

    def ref(x: np.ndarray, axis: tuple[int, ...]) -> np.ndarray:
        kept = [k for k in range(x.ndim) if k not in axis]
        folded = math.prod(x.shape[k] for k in axis)  # -1 would not do for arrays without elements
        flat = x.transpose(*kept, *axis).reshape(*(x.shape[k] for k in kept), folded)
        return np.asarray(extreme(flat, axis=-1), I64)  # type: ignore[call-arg]

    return ref


reduction(
    "argmax", "Position of the first largest element, or of the first NaN, flat over the axes.",
    _position_of(np.argmax),
    Fold(
        init=lambda dtype, attrs: (rules.lowest(dtype), const(0, I64)),
        step=_first_best("gt"), finish=lambda s, accs: accs[1],
    ),
    kinds="biufc", result=I64, empty=False,
)
reduction(
    "argmin", "Position of the first smallest element, or of the first NaN, flat over the axes.",
    _position_of(np.argmin),
    Fold(
        init=lambda dtype, attrs: (rules.highest(dtype), const(0, I64)),
        step=_first_best("lt"), finish=lambda s, accs: accs[1],
    ),
    kinds="biufc", result=I64, empty=False,
)
