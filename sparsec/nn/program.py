"""How a layer is made: NumPy where NumPy can say it, an op of the IR where it cannot."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsec.errors import ShapeError
from sparsec.frontend.array import Traced
from sparsec.frontend.convert import as_traced
from sparsec.frontend.locate import user_loc
from sparsec.frontend.numpy_api.creation import literal
from sparsec.frontend.trace import current_trace
from sparsec.ir.ops.record import record
from sparsec.ir.types import tensor
from sparsec.sparse.channel import ChannelSparse

__all__ = ["as_array", "constant", "image", "on_channels_of", "op", "pair", "wrong"]


def op(name: str, *operands: Any, **attrs: Any) -> Any:
    """One op: built while tracing, else computed by its NumPy reference. Raises ShapeError, DTypeError."""
    rec = record(name)
    if not any(isinstance(x, Traced) for x in operands):
        arrays = [np.asarray(x) for x in operands]
        rec.infer([tensor(a.dtype, *a.shape) for a in arrays], {**rec.defaults, **attrs})
        assert rec.ref is not None
        return rec.ref(*arrays, **{**rec.defaults, **attrs})
    traced = [as_traced(x) for x in operands]
    trace = traced[0].trace
    return Traced.fresh(trace, trace.op(name, *(x.as_array().read() for x in traced), **attrs))


def as_array(x: Any) -> Any:
    """A traced array as it is; anything else as a NumPy array."""
    if isinstance(x, Traced):
        return x
    return as_traced(x) if type(x) in (np.ndarray, ChannelSparse) and current_trace() is not None else np.asarray(x)


def constant(like: Any, array: np.ndarray[Any, Any]) -> Any:
    """An array of numbers that the layer itself knows: a literal of the program that `like` belongs to."""
    return literal(like.trace, array) if isinstance(like, Traced) else array


def image(x: Any, name: str) -> Any:
    """An operand that must be [N, C, H, W]."""
    x = as_array(x)
    if x.ndim != 4:
        raise wrong(f"{name} takes [N, C, H, W], not an array of shape {tuple(x.shape)}")
    return x


def pair(value: Any, what: str) -> tuple[int, int]:
    """A number for both axes, or one for each."""
    found = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(found) != 2 or not all(isinstance(v, (int, np.integer)) for v in found):
        raise wrong(f"{what} is an integer or a pair of them, not {value!r}")
    return int(found[0]), int(found[1])


def wrong(message: str) -> ShapeError:
    """The error for operands that a layer cannot take, at the user's line."""
    return ShapeError(message, loc=user_loc() if current_trace() is not None else None)


def on_channels_of(y: Any, x: Any) -> Any:
    """`y` on the live channels of `x`, and 0 in the others; `y` itself where `x` has all its channels."""
    if type(x) is ChannelSparse:
        gone = np.ones(x.full, bool)
        gone[x.index] = False
        y[(slice(None),) * x.axis + (gone,)] = 0
        return y
    if not isinstance(x, Traced) or x.trace.live_channels is None:
        return y
    channels = x.trace.live_channels.of(x.read())
    if channels is None:
        return y
    taken = x.trace.op("take_channels", y.read(), channels.index, axis=channels.axis, fill=None)
    whole = x.trace.op("spread", taken, channels.index, axis=channels.axis, full=channels.full)
    return Traced.fresh(x.trace, whole)

