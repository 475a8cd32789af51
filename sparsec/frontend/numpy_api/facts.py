"""Questions about arrays and dtypes, answered while tracing; and polynomials, which fit nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.convert import as_traced
from sparsec.frontend.dispatch import implements
from sparsec.frontend.numpy_api.support import operand_of, strong


def _described(x: Any) -> Any:
    """What NumPy's type functions take for a traced array: its dtype, or a Python number."""
    if not isinstance(x, Traced):
        return x
    return x.dtype if x.weak is None else x.weak(0)


@implements(np.result_type)
def result_type(*arrays_and_dtypes: Any) -> Any:
    return np.result_type(*map(_described, arrays_and_dtypes))


@implements(np.can_cast)
def can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    return np.can_cast(_described(from_), to, casting)


@implements(np.common_type)
def common_type(*arrays: Any) -> Any:
    return np.common_type(*(np.empty(0, as_traced(a).dtype) for a in arrays))


@implements(np.isscalar)
def isscalar(element: Any) -> bool:
    return element.is_scalar if isinstance(element, Traced) else np.isscalar(element)


@implements(np.iterable)
def iterable(y: Any) -> bool:
    return bool(as_traced(y).shape)


@implements(np.polyval)
def polyval(p: Any, x: Any) -> Any:
    """Horner's scheme, as NumPy runs it."""
    coefficients, at = strong(p), operand_of(x)
    at = as_traced(at)
    y: Any = np.zeros_like(at)
    for k in range(coefficients.shape[0]):
        y = y * at + coefficients[k]
    return y
