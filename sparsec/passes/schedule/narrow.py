"""Conditions on positions are computed in i32 where their ranges allow it: twice as many lanes to a vector, and
division by a constant, which vectors of i64 cannot multiply for.

    for i in 0..3136 {                               for i in 0..3136 {
      if quo(i, 56) + 1 < n_rows { A }      ->         if quo(cast:i32(i), 56:i32) + 1:i32 < 56:i32 { A }
    }                                                }

Only conditions: what makes an address stays as it is.
"""

from __future__ import annotations

from sparsec.ir.loop_rewrite import map_expr, nodes
from sparsec.ir.loops import Apply, Const, Expr, Var
from sparsec.ir.scalar import S, const
from sparsec.ir.types import DTYPES, I64
from sparsec.passes.schedule.decide import Ranges, range_of

__all__ = ["narrowed"]

_I32 = DTYPES["i32"]
_LIMIT = 1 << 31
_COMPARE = ("lt", "le", "gt", "ge", "eq", "ne")


def narrowed(expr: Expr, known: Ranges) -> Expr:
    """The expression with its comparisons of i64 in i32 where that is the same; `known`: ranges of names."""

    def node(expr: Expr) -> Expr:
        match expr:
            case Apply(fn, (x, y)) if fn in _COMPARE and x.dtype == I64 and any(map(_divides, (x, y))):
                if _fits(x, known) and _fits(y, known):
                    return Apply(fn, (_in_i32(x), _in_i32(y)), expr.dtype)
        return expr

    return map_expr(expr, node)


def _divides(expr: Expr) -> bool:
    return any(isinstance(node, Apply) and node.fn in ("quo", "rem") for node in nodes(expr))


def _fits(expr: Expr, known: Ranges) -> bool:
    """Whether every part is surely within i32, and made of what has a narrow form."""
    for node in nodes(expr):
        found = range_of(node, known)
        if found is None or max(map(abs, found)) >= _LIMIT:
            return False
        if isinstance(node, Apply) and node.fn not in ("add", "sub", "mul", "quo", "rem"):
            return False
    return True


def _in_i32(expr: Expr) -> Expr:
    match expr:
        case Const(value=int(value)):
            return const(value, _I32)
        case Apply("quo" | "rem" as fn, (x, y)):
            # Positions that are divided are sums of loop variables, which lanes step through: cast them as one.
            return Apply(fn, (S.cast(x, _I32), _in_i32(y)), _I32)
        case Apply(fn, args):
            return Apply(fn, tuple(_in_i32(arg) for arg in args), _I32)
        case Var():
            return S.cast(expr, _I32)  # type: ignore[no-any-return]
    raise TypeError(f"no narrow form of {type(expr).__name__}")
