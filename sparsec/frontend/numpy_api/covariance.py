"""np.cov and np.corrcoef, step by step as NumPy computes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.convert import as_traced, np_dtype
from sparsec.frontend.dispatch import implements
from sparsec.frontend.numpy_api.averages import warn_where
from sparsec.frontend.numpy_api.creation import array
from sparsec.frontend.numpy_api.joining import concatenate
from sparsec.frontend.numpy_api.support import unsupported_argument
from sparsec.frontend.ufunc_reduce import NO_VALUE


@implements(np.cov)
def cov(
    m: Any,
    y: Any = None,
    rowvar: Any = True,
    bias: Any = False,
    ddof: Any = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Any:
    """Each row is a variable: products of its distances from its mean, over the count less `ddof`."""
    if fweights is not None or aweights is not None:
        raise unsupported_argument("np.cov", "weights")
    x = _variables(m, rowvar)
    if dtype is None:
        dtype = np.result_type(x.dtype, np.float64, *(() if y is None else (as_traced(y).dtype,)))
    x = array(x, ndmin=2, dtype=np_dtype(dtype))
    if y is not None:
        x = concatenate((x, array(_variables(y, rowvar), ndmin=2, dtype=x.dtype)), axis=0)
    if ddof is None:
        ddof = 0 if bias else 1
    if ddof != int(ddof):
        raise ValueError("ddof must be integer")
    count = x.shape[1] - ddof
    warn_where(count <= 0)
    factor = np.maximum(count, 0.0) if isinstance(count, Traced) else max(count, 0.0)
    x -= np.mean(x, axis=1)[:, None]
    c = np.dot(x, x.T.conj())
    c *= np.true_divide(1, factor)
    return c.squeeze() if min(c.shape) != 1 else c.squeeze().copy()


def _variables(m: Any, rowvar: Any) -> Traced:
    x = as_traced(m)
    if x.ndim > 2:
        raise ValueError("m has more than 2 dimensions")
    return x.T if not rowvar and x.ndim == 2 else x


@implements(np.corrcoef)
def corrcoef(x: Any, y: Any = None, rowvar: Any = True, bias: Any = NO_VALUE, ddof: Any = NO_VALUE, *,
             dtype: Any = None) -> Any:
    """The covariances over both standard deviations, cut to -1 … 1."""
    c = cov(x, y, rowvar, dtype=dtype)
    if c.ndim == 0:
        return c / c
    deviation = np.sqrt(np.diag(c).real)
    c /= deviation[:, None]
    c /= deviation[None, :]
    np.clip(c.real, -1, 1, out=c.real)
    if c.dtype.kind == "c":
        np.clip(c.imag, -1, 1, out=c.imag)
    return c
