"""Are two arrays equal, or nearly? Answers about whole arrays are values of the compiled program."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.convert import PYTHON_NUMBERS, as_traced
from sparsec.frontend.dispatch import implements
from sparsec.frontend.trace import require_trace


@implements(np.isclose)
def isclose(a: Any, b: Any, rtol: Any = 1.0e-5, atol: Any = 1.0e-8, equal_nan: bool = False) -> Any:
    """abs(a - b) <= atol + rtol * abs(b), and equal infinities."""
    x = a if isinstance(a, PYTHON_NUMBERS) else as_traced(a)
    y: Any = b if isinstance(b, PYTHON_NUMBERS) else as_traced(b)
    if isinstance(y, Traced) and y.dtype.kind not in "fc":
        y = y.astype(np.result_type(y.dtype, 1.0))
    elif type(y) in (int, bool):
        y = float(y)
    near = np.less_equal(np.abs(np.subtract(x, y)), np.add(atol, np.multiply(rtol, np.abs(y))))
    result = np.logical_or(np.logical_and(near, np.isfinite(y)), np.equal(x, y))
    if equal_nan:
        result = np.logical_or(result, np.logical_and(np.isnan(x), np.isnan(y)))
    return result


@implements(np.allclose)
def allclose(a: Any, b: Any, rtol: Any = 1.0e-5, atol: Any = 1.0e-8, equal_nan: bool = False) -> Any:
    """Whether all elements are close, as a Python bool."""
    return _truth(np.all(isclose(a, b, rtol, atol, equal_nan)))


@implements(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    """Whether shapes and elements are equal, as a Python bool."""
    x, y = as_traced(a1), as_traced(a2)
    if x.shape != y.shape:
        return False
    equal = np.equal(x, y)
    if equal_nan:
        equal = np.logical_or(equal, np.logical_and(np.isnan(x), np.isnan(y)))
    return _truth(np.all(equal))


@implements(np.array_equiv)
def array_equiv(a1: Any, a2: Any) -> Any:
    """Whether the arrays broadcast to equal ones, as a Python bool."""
    x, y = as_traced(a1), as_traced(a2)
    try:
        np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return False
    return _truth(np.all(np.equal(x, y)))


def _truth(answer: Any) -> Any:
    """NumPy gives these answers as Python's bool."""
    require_trace("np.allclose")
    answer.weak = bool
    return answer
