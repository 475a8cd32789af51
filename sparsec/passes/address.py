"""From tensorrefs and dims to loop-IR index arithmetic.

Element (i, j) of `f32[4,2] @x+1:(12,2)` is `%x[i * 12 + j * 2 + 1]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sparsec.ir.dims import Dim, Poly, Sym
from sparsec.ir.loops import Expr
from sparsec.ir.scalar import S, index
from sparsec.ir.tensorref import TensorRef

#: What a symbol's value is called where the expression stands.
SymbolExpr = Callable[[Sym], Expr]


def dim_expr(dim: Dim, symbol: SymbolExpr) -> Expr:
    """The value of a dim, as an i64 expression."""
    if not isinstance(dim, Poly):
        return index(int(dim))
    total: Expr = index(0)
    for monomial, factor in dim.terms:
        term: Expr = index(factor)
        for each in monomial:
            term = S.mul(symbol(each), term)
        total = S.add(total, term)
    return total


def address(ref: TensorRef, at: Sequence[Expr], symbol: SymbolExpr) -> Expr:
    """The position in its storage of a view's element."""
    total: Expr = index(0)
    for position, stride in zip(at, ref.strides, strict=True):
        total = S.add(total, S.mul(position, dim_expr(stride, symbol)))
    return S.add(total, dim_expr(ref.offset, symbol))
