"""The truth of a condition: known while tracing, or a traced scalar."""

from __future__ import annotations

from typing import Any

from sparsec.errors import ShapeError
from sparsec.frontend.array import Traced
from sparsec.frontend.concrete import concrete_value
from sparsec.frontend.convert import as_bool
from sparsec.frontend.locate import user_loc
from sparsec.frontend.mixed import Mixed, truth_of
from sparsec.frontend.trace import Trace
from sparsec.ir.graph import Value
from sparsec.ir.types import BOOL

__all__ = ["test_value", "truth"]


def truth(x: Any) -> bool | Traced:
    """A Python bool where the value is known, else a traced scalar. Raises ShapeError for whole arrays."""
    if not isinstance(x, Traced):
        return bool(x)
    if isinstance(x, Mixed):
        return truth(Traced.scalar(x.trace, truth_of(x), bool))
    if x.type.size != 1:
        raise ShapeError(
            "The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()",
            loc=user_loc(),
        )
    known = concrete_value(x)
    return x.as_scalar() if known is None else bool(known.reshape(())[()])


def test_value(trace: Trace, x: Any) -> Value:
    """The truth of a condition's result as a value of the IR."""
    if isinstance(x, Mixed):
        return truth_of(x)
    if isinstance(x, Traced):
        return as_bool(trace, x.as_scalar().value)
    return trace.const(bool(x), BOOL)
