"""Reductions: folds of some axes in C order.

float16 is refused: the frontend folds in float32, as NumPy does for sums, and casts back.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Const, Expr
from sparsec.ir.ops import rules
from sparsec.ir.ops.declare import reduction
from sparsec.ir.ops.record import Fold
from sparsec.ir.scalar import S, ScalarBuilder, const
from sparsec.ir.types import I64, DType


def _starts_at(value: int) -> Callable[[DType, Attrs], tuple[Expr, ...]]:
    return lambda dtype, attrs: (const(value, dtype),)


def _combining(
    init: Callable[[DType, Attrs], tuple[Expr, ...]], combine: Callable[[Expr, Expr], Expr], merges: str,
    pairwise: bool = False,
) -> Fold:
    """A fold with one accumulator that takes elements and partial results alike."""
    return Fold(
        init, lambda s, accs, x, i: (combine(accs[0], x),), pairwise=pairwise,
        merge=lambda s, accs, others: (combine(accs[0], others[0]),), merges=merges,
    )


def _extreme(ufunc: np.ufunc, start: Callable[[DType], Const]) -> Callable[..., np.ndarray]:
    """The reference of a maximum or minimum. One of no elements is the fold's first value; NumPy's refusal is
    the frontend's matter, which knows whether there is an initial value."""

    def ref(x: np.ndarray, axis: tuple[int, ...]) -> np.ndarray:
        if all(x.shape[k] for k in axis):
            return ufunc.reduce(x, axis=axis)  # type: ignore[no-any-return]
        kept = tuple(d for k, d in enumerate(x.shape) if k not in axis)
        return np.full(kept, start(x.dtype).value, x.dtype)

    return ref


reduction(
    "sum", "The sum; float sums are pairwise.", lambda x, axis: np.add.reduce(x, axis=axis, dtype=x.dtype),
    _combining(_starts_at(0), S.add, "iu", pairwise=True),
    kinds="iufc", ulp={"f": 4, "c": 4},
)
reduction(
    "prod", "The product, in order.", lambda x, axis: np.multiply.reduce(x, axis=axis, dtype=x.dtype),
    _combining(_starts_at(1), S.mul, "iu"),
    kinds="iufc", ulp={"f": 16, "c": 64},
)
reduction(
    "max", "The largest element; NaN if one is. Of none: the least value there is.",
    _extreme(np.maximum, rules.lowest),
    _combining(lambda dtype, attrs: (rules.lowest(dtype),), rules.larger, "biuf"),
    kinds="biufc", numpy=("max", "amax"),
)
reduction(
    "min", "The smallest element; NaN if one is. Of none: the largest value there is.",
    _extreme(np.minimum, rules.highest),
    _combining(lambda dtype, attrs: (rules.highest(dtype),), rules.smaller, "biuf"),
    kinds="biufc", numpy=("min", "amin"),
)
reduction(
    "any", "Whether an element is True.", lambda x, axis: np.logical_or.reduce(x, axis=axis),
    _combining(_starts_at(0), S.logical_or, "b"),
    kinds="b",
)
reduction(
    "all", "Whether every element is True.", lambda x, axis: np.logical_and.reduce(x, axis=axis),
    _combining(_starts_at(1), S.logical_and, "b"),
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


def _earlier_best(order: str) -> Callable[..., tuple[Expr, ...]]:
    """Of two first bests, the better one; of equals, the earlier."""

    def merge(s: ScalarBuilder, accs: tuple[Expr, ...], others: tuple[Expr, ...]) -> tuple[Expr, ...]:
        (best, at), (other, where) = accs, others
        ahead = s.logical_and(s.logical_not(rules.better(order, best, other)), s.lt(where, at))
        wins = s.logical_or(rules.better(order, other, best), ahead)
        return s.select(wins, other, best), s.select(wins, where, at)

    return merge


def _folded_last(x: np.ndarray, axis: tuple[int, ...]) -> np.ndarray:
    """`x` with the reduced axes as one, in order, behind all others."""
    kept = [k for k in range(x.ndim) if k not in axis]
    folded = math.prod(x.shape[k] for k in axis)  # -1 would not do for arrays without elements
    return x.transpose(*kept, *axis).reshape(*(x.shape[k] for k in kept), folded)


def _position_of(extreme: Callable[[np.ndarray], np.ndarray]) -> Callable[..., np.ndarray]:
    """`extreme` of NumPy, which takes one axis, over several."""
    return lambda x, axis: np.asarray(extreme(_folded_last(x, axis), axis=-1), I64)  # type: ignore[call-arg]



def _first(order: str, start: Callable[[DType], Const], finish: Callable[..., Expr]) -> Fold:
    """The fold that knows the first best element and its position, and ends as one of them."""
    return Fold(
        init=lambda dtype, attrs: (start(dtype), const(0, I64)),
        step=_first_best(order), finish=finish, merge=_earlier_best(order), merges="biuf",
    )


def _element_at(position: Callable[..., np.ndarray], empty: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """The elements at the positions that an `argmax` gives; what `empty` gives of none."""

    def ref(x: np.ndarray, axis: tuple[int, ...]) -> np.ndarray:
        if not x.size:
            return empty(x, axis)
        at = np.expand_dims(position(x, axis), -1)
        return np.take_along_axis(_folded_last(x, axis), at, -1)[..., 0]  # type: ignore[no-any-return]

    return ref


reduction(
    "argmax", "Position of the first largest element, or of the first NaN, flat over the axes.",
    _position_of(np.argmax), _first("gt", rules.lowest, lambda s, accs: accs[1]),
    kinds="biufc", result=I64, empty=False,
)
reduction(
    "argmin", "Position of the first smallest element, or of the first NaN, flat over the axes.",
    _position_of(np.argmin), _first("lt", rules.highest, lambda s, accs: accs[1]),
    kinds="biufc", result=I64, empty=False,
)
reduction(
    "first_max", "`max` of floats; of zeros of both signs the first, as NumPy's float16 has it.",
    _element_at(_position_of(np.argmax), _extreme(np.maximum, rules.lowest)),
    _first("gt", rules.lowest, lambda s, accs: accs[0]),
    kinds="f", numpy=(),
)
reduction(
    "first_min", "`min` of floats; of zeros of both signs the first, as NumPy's float16 has it.",
    _element_at(_position_of(np.argmin), _extreme(np.minimum, rules.highest)),
    _first("lt", rules.highest, lambda s, accs: accs[0]),
    kinds="f", numpy=(),
)
