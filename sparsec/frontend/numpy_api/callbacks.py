"""Functions that call a function of the user's: for each row, each element, or the elements that are selected."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparsec.errors import UnsupportedError
from sparsec.frontend.array import Traced
from sparsec.frontend.convert import PYTHON_NUMBERS
from sparsec.frontend.dispatch import implements
from sparsec.frontend.locate import user_loc
from sparsec.frontend.mixed import Mixed
from sparsec.frontend.numpy_api.shapes import broadcast_to
from sparsec.frontend.numpy_api.support import axis_index, axis_last, common_shape, permuted, reshaped, strong
from sparsec.frontend.programs import loop, staged

# --- rows ------------------------------------------------------------------------------------------------


@staged
def _each_row(func: Any, x: Any, first: Any, args: Any, kwargs: Any) -> Any:
    """What `func` gives for every row of the last axis; `first` is what it gave for the first one."""
    lead = x.shape[:-1]
    count = math.prod(lead)
    made = np.zeros((count, *first.shape), first.dtype)
    made[0] = first
    for k in loop(1, count):
        made[k] = func(x[np.unravel_index(k, lead)], *args, **kwargs)
    return made


@implements(np.apply_along_axis)
def apply_along_axis(func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any) -> Traced:
    """One loop over the rows; the function must give what has the same shape for each."""
    x = strong(arr)
    at = axis_index(axis, x.ndim)
    rows = axis_last(x, at)
    lead = rows.shape[:-1]
    if 0 in lead:
        raise ValueError("Cannot apply_along_axis when any iteration dimensions are 0")
    first = strong(_fixed("np.apply_along_axis", func1d(rows[(0,) * len(lead)], *args, **kwargs)))
    if not all(isinstance(d, int) for d in (*lead, *first.type.shape)):
        raise UnsupportedError("np.apply_along_axis with lengths that are known only at run time is not supported",
                               loc=user_loc(), hint="write a loop over the rows")
    made = _each_row(func1d, rows, first, args, kwargs)
    whole = reshaped(made, (*lead, *first.shape))
    axes, own = list(range(whole.ndim)), whole.ndim - first.ndim
    return permuted(whole, (*axes[:at], *axes[own:], *axes[at:own]))


def _fixed(name: str, found: Any) -> Any:
    """A result whose dtype is known while tracing."""
    if isinstance(found, Mixed) or not (isinstance(found, (Traced, np.generic, np.ndarray, list))
                                        or type(found) in PYTHON_NUMBERS):
        what = f"{name} of a function that gives no array or number of one type is not supported"
        raise UnsupportedError(what, loc=user_loc(), hint="let it give the same type on all paths: `0.0`, not `0`")
    return found


# --- elements --------------------------------------------------------------------------------------------


@staged
def _each_element(func: Any, arrays: Any, dtype: Any) -> Any:
    """What `func` gives for the elements, which it gets as Python's numbers."""
    made = np.zeros(arrays[0].shape, dtype)
    for k in loop(0, arrays[0].shape[0]):
        made[k] = func(*[x[k].item() for x in arrays])
    return made


def vectorized(func: Callable[..., Any], declared: Any, args: Sequence[Any], kwargs: Any) -> Traced:
    """A call of `np.vectorize(func)`, which `declared` is: one loop over the elements."""
    name = "np.vectorize"
    if declared.signature or declared.excluded or kwargs:
        raise UnsupportedError(f"{name} with signature=, excluded= or keywords is not supported", loc=user_loc(),
                               hint="write a loop")
    operands = [strong(a) for a in args]
    shape = common_shape(*(x.type.shape for x in operands))
    if not all(isinstance(d, int) and d for d in shape):
        raise UnsupportedError(f"{name} of arrays without elements, or of a length known only at run time,"
                               " is not supported", loc=user_loc(), hint="write a loop")
    rows = [reshaped(broadcast_to(x, shape), (math.prod(shape),)) for x in operands]
    if declared.otypes is not None:
        dtype = np.dtype(declared.otypes[0])
    else:  # that of what it gives for the first element, which is NumPy's scalar there
        dtype = strong(_fixed(name, func(*(x[0] for x in rows)))).dtype
    return reshaped(_each_element(func, rows, dtype), shape)


# --- selections ------------------------------------------------------------------------------------------


@staged
def _selected(y: Any, x: Any, where: Any, func: Any, args: Any, kwargs: Any) -> None:
    values = x[where]
    if values.size > 0:
        y[where] = func(values, *args, **kwargs)


@implements(np.piecewise)
def piecewise(x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> Traced:
    """Functions are called with the elements that their condition selects, if there are any."""
    array = strong(x)
    single = not isinstance(condlist, (list, tuple)) or (
        array.ndim != 0 and not isinstance(condlist[0], (list, np.ndarray, Traced)))
    conditions = [strong(c).astype(bool) for c in ([condlist] if single else condlist)]
    if len(conditions) == len(funclist) - 1:
        conditions.append(~np.any(np.stack(conditions), axis=0))  # type: ignore[call-overload]
    if len(conditions) != len(funclist):
        n = len(conditions)
        raise ValueError(f"with {n} condition(s), either {n} or {n + 1} functions are expected")
    y: Traced = np.zeros_like(array)  # type: ignore[call-overload, assignment]
    for where, func in zip(conditions, funclist):
        if callable(func) and not isinstance(func, Traced):
            _selected(y, array, where, func, args, kw)
        else:
            y[where] = func
    return y
