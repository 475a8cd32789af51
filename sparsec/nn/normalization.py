"""Normalization over a batch, over features, and over a distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsec.nn.program import as_array, on_channels_of, wrong

__all__ = ["batch_norm", "group_norm", "layer_norm", "log_softmax", "softmax"]


def batch_norm(
    input: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, training: bool = False,
    momentum: float = 0.1, eps: float = 1e-5, *, keep_beta: bool = False,
) -> Any:
    """(x - mean) / sqrt(var + eps) * weight + bias, for each channel (axis 1).

    training: with the mean and (biased) variance of this batch; the running ones are then updated in place by
        `momentum` (the variance by its unbiased estimate), where they are given.
    keep_beta: a channel that is absent from x would become bias - weight * mean / sqrt(var + eps). By default it
        stays absent, because a pruned channel is not there to be normalized; with `keep_beta` it gets that value and
        the result is dense.
    """
    x = as_array(input)
    if x.ndim < 2:
        raise wrong(f"batch_norm takes [N, C, ...], not an array of shape {tuple(x.shape)}")
    shape = (1, -1, *(1,) * (x.ndim - 2))
    if training:
        x, var = _centred(x, shape, running_mean, running_var, momentum)
    elif running_mean is None or running_var is None:
        raise wrong("batch_norm needs running statistics, or training=True")
    else:
        var = as_array(running_var)
    scale = 1 / np.sqrt(var + eps)
    if weight is not None:
        scale = scale * as_array(weight)
    shift = None if training else -as_array(running_mean) * scale
    if bias is not None:
        shift = as_array(bias) if shift is None else shift + as_array(bias)
    y = x * scale.reshape(shape)
    if shift is not None:
        y = y + shift.reshape(shape)
    return y if keep_beta else on_channels_of(y, input)


def _centred(
    x: Any, shape: tuple[int, ...], running_mean: Any, running_var: Any, momentum: float
) -> tuple[Any, Any]:
    """x less the mean of its channel, and the biased variance of each; the running ones move towards this batch's.

    x is centred before it is scaled: of a channel that hardly varies, scale * x and scale * mean are large and nearly
    equal, and their difference would be made of their rounding.
    """
    axes = (0, *range(2, x.ndim))
    count = math.prod(int(x.shape[a]) for a in axes)
    mean = np.mean(x, axis=axes)
    centred = x - mean.reshape(shape)
    var = np.mean(centred * centred, axis=axes)
    if running_mean is not None:
        running_mean[...] = running_mean * (1 - momentum) + mean * momentum
    if running_var is not None:
        running_var[...] = running_var * (1 - momentum) + var * (momentum * count / max(count - 1, 1))
    return centred, var


def layer_norm(
    input: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axes, whose lengths are `normalized_shape`."""
    x = as_array(input)
    wanted = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not wanted or tuple(x.shape[-len(wanted) :]) != wanted:
        raise wrong(f"layer_norm over {wanted} does not fit an array of shape {tuple(x.shape)}")
    y = _standardized(x, tuple(range(x.ndim - len(wanted), x.ndim)), eps)
    if weight is not None:
        y = y * as_array(weight)
    return y if bias is None else y + as_array(bias)


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """layer_norm over groups of neighbouring channels (axis 1) and all that lies behind them."""
    x = as_array(input)
    if x.ndim < 2 or num_groups < 1 or x.shape[1] % num_groups:
        raise wrong(f"group_norm: {num_groups} groups do not fit an array of shape {tuple(x.shape)}")
    grouped = x.reshape((x.shape[0], num_groups, math.prod(x.shape[1:]) // num_groups))
    y = _standardized(grouped, (2,), eps).reshape(x.shape)
    shape = (1, -1, *(1,) * (x.ndim - 2))
    if weight is not None:
        y = y * as_array(weight).reshape(shape)
    return y if bias is None else y + as_array(bias).reshape(shape)


def _standardized(x: Any, axes: tuple[int, ...], eps: float) -> Any:
    centred = x - np.mean(x, axis=axes, keepdims=True)
    return centred / np.sqrt(np.mean(centred * centred, axis=axes, keepdims=True) + eps)


def softmax(input: Any, dim: int = -1) -> Any:
    """exp(x) over its sum along an axis."""
    e = np.exp(_below_zero(as_array(input), dim))
    return e / np.sum(e, axis=dim, keepdims=True)


def log_softmax(input: Any, dim: int = -1) -> Any:
    """The logarithm of softmax."""
    x = _below_zero(as_array(input), dim)
    return x - np.log(np.sum(np.exp(x), axis=dim, keepdims=True))


def _below_zero(x: Any, dim: int) -> Any:
    """x less its largest element, so that exp cannot overflow."""
    if not -x.ndim <= dim < x.ndim:
        raise wrong(f"softmax along axis {dim} of an array of shape {tuple(x.shape)}")
    return x - np.max(x, axis=dim, keepdims=True)
