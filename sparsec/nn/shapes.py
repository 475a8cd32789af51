"""Layers that move elements: joining, flattening, padding, resizing; and dropout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsec.nn.program import as_array, constant, image, op, pair, wrong

__all__ = ["cat", "dropout", "flatten", "interpolate", "pad"]


def cat(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Arrays laid one behind the other along an axis."""
    return np.concatenate([as_array(t) for t in tensors], axis=dim)


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Neighbouring axes made one. Channel c becomes as many features in a row as it had elements."""
    x = as_array(input)
    first, last = (d + x.ndim if d < 0 else d for d in (start_dim, end_dim))
    if not 0 <= first <= last < max(x.ndim, 1):
        raise wrong(f"flatten: axes {start_dim} to {end_dim} of an array of shape {tuple(x.shape)}")
    return x.reshape((*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :]))


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Any:
    """Elements around an array: `pad` is (left, right) of the last axis, then of the one before it, and so on.
    Negative numbers cut off. mode: "constant", or "reflect", "replicate", "circular" as torch has them."""
    x = as_array(input)
    if len(pad) % 2 or len(pad) > 2 * x.ndim:
        raise wrong(f"pad: {len(pad)} numbers for an array of rank {x.ndim}")
    widths = [(0, 0)] * x.ndim
    for k in range(len(pad) // 2):
        widths[x.ndim - 1 - k] = (int(pad[2 * k]), int(pad[2 * k + 1]))
    cut = tuple(slice(max(-a, 0), d - max(-b, 0)) for (a, b), d in zip(widths, x.shape, strict=True))
    grown = [(max(a, 0), max(b, 0)) for a, b in widths]
    x = x[cut] if any(a < 0 or b < 0 for a, b in widths) else x
    names = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    if mode not in names:
        raise wrong(f"pad: mode is one of {', '.join(names)}, not {mode!r}")
    if mode == "constant":
        return np.pad(x, grown, mode="constant", constant_values=value)
    return np.pad(x, grown, mode=names[mode])  # type: ignore[call-overload]


def dropout(input: Any, p: float = 0.5, training: bool = False, *, mask: Any = None) -> Any:
    """x as it is; in training x * mask / (1 - p), for a mask of the elements that stay.

    Random numbers drawn while a function is traced would be the same at every call: the caller draws the mask,
    `rng.random(x.shape) >= p`, and passes it as an argument.
    """
    x = as_array(input)
    if not 0 <= p < 1:
        raise wrong(f"dropout: the probability {p} is not from 0 to 1")
    if not training:
        return x
    if mask is None:
        raise wrong("dropout in training needs mask=, a bool array of the elements that stay")
    return x * as_array(mask) * (1 / (1 - p))


def interpolate(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Any:
    """Images of another height and width, by the nearest element or bilinearly."""
    x = image(input, "interpolate")
    extent = tuple(int(d) for d in x.shape[2:])
    if (size is None) == (scale_factor is None):
        raise wrong("interpolate needs size or scale_factor, not both")
    factors = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor, scale_factor)
    target = pair(size, "size") if size is not None else (int(extent[0] * factors[0]), int(extent[1] * factors[1]))
    scales = [e / t if size is not None else 1 / f for e, t, f in zip(extent, target, factors, strict=True)]
    if min(*target, *extent) < 1:
        raise wrong(f"interpolate: from {extent} to {target}")
    if mode == "nearest":
        if align_corners is not None:
            raise wrong("interpolate: align_corners is for bilinear")
        rows, columns = (
            np.minimum(np.floor(np.arange(t) * s).astype(np.int64), e - 1)
            for t, s, e in zip(target, scales, extent, strict=True)
        )
        return _picked(_picked(x, rows, 2), columns, 3)
    if mode != "bilinear":
        raise wrong(f"interpolate: mode is 'nearest' or 'bilinear', not {mode!r}")
    for axis in (0, 1):
        x = _between(x, axis + 2, target[axis], scales[axis], bool(align_corners))
    return x


def _between(x: Any, axis: int, count: int, scale: float, align_corners: bool) -> Any:
    """Linear interpolation along an axis."""
    extent = int(x.shape[axis])
    if align_corners:
        at = np.arange(count) * ((extent - 1) / (count - 1) if count > 1 else 0.0)
    else:
        at = np.maximum((np.arange(count) + 0.5) * scale - 0.5, 0)
    low = np.minimum(np.floor(at).astype(np.int64), extent - 1)
    high = np.minimum(low + 1, extent - 1)
    weight = constant(x, (at - low).astype(x.dtype).reshape((-1, 1) if axis == 2 else (-1,)))
    return _picked(x, low, axis) * (1 - weight) + _picked(x, high, axis) * weight


def _picked(x: Any, at: Any, axis: int) -> Any:
    """Elements of a static list along an axis."""
    return op("take_channels", x, constant(x, at.astype(np.int32)), axis=axis, fill=None)
