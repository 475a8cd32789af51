"""Complex functions, written with the real scalar functions."""

from __future__ import annotations

from collections.abc import Callable

from sparsec.ir.loops import Expr
from sparsec.ir.ops import rules
from sparsec.ir.scalar import ScalarBuilder

_S = ScalarBuilder()

#: Allowed distance from NumPy, relative to the size of the whole number rather than of each part.
ULP = 16

FUNCTIONS: dict[str, Callable[[Expr], Expr]] = {}
