"""The steps of random networks: what each computes, and which channels its result has.

`compute` is one step on arrays, traced or whole; `live` is what the masked dense computation says of channels, by
rules of its own: a bool mask of those that are there, None for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsec import nn
from sparsec.sparse import ChannelSparse

__all__ = ["FILLED", "KEPT", "Masked", "compute", "live", "masked"]

Options = dict[str, Any]


def _in_place(x: Any) -> Any:
    y = x * 0.5
    y += x
    y[:, :, 1:] *= 2
    return y


def _places(x: Any) -> Any:
    """Writes and reads of rows and columns, through views and at places that integers name."""
    y = x * 0.5
    if x.shape[1] == 1:  # nothing tells axes of length 1 apart
        return y
    y[:, :, 0] = x[:, :, -1]
    y[0, ..., 0] *= 2
    y.transpose(0, 2, 3, 1)[:, 0] += 1 * y[:, :, -1].transpose(0, 2, 1)
    y[:, :, [0, -1]] = x[:, :, [-1, 0]]
    return y[:, :, list(range(x.shape[2]))[::-1]]


def _stacked(x: Any) -> Any:
    """Batches and channels as one axis, and apart again."""
    n, c, h, w = x.shape
    if c == 1:  # nothing tells axes of length 1 apart
        return x * 0.5
    return np.tanh(x.reshape(n * c, h * w)).reshape(x.shape) + x.reshape(n * c * h, w).reshape(n, c * h, w).reshape(
        x.shape)


def _attention(x: Any) -> Any:
    """Products for each channel, of channels with channels, and of those with a value again."""
    n, c, h, w = x.shape
    features = (x @ np.ones((w, w), x.dtype)).reshape(n, c, h * w)
    return ((features @ features.transpose(0, 2, 1)) @ features).reshape(x.shape) * 0.01


def _shuffle(x: Any) -> Any:
    n, c, h, w = x.shape
    groups = 2 if c % 2 == 0 else 1
    return x.reshape(n, groups, c // groups, h, w).transpose(0, 2, 1, 3, 4).reshape(n, c, h, w) + 0.25


def _branch(x: Any) -> Any:
    """A branch on a value that is known when the program runs: which one is taken depends on the channels."""
    if x.sum() > 0:
        y = x * 2
    else:
        y = nn.relu(x) - x
    return y


def _loop(x: Any) -> Any:
    """A loop whose length is known when the program runs; it carries x and a sum that begins with zeros."""
    turns = (x[:, :, 0, 0] > 0).sum() % 3 + 1
    total = np.zeros_like(x)
    for _ in range(turns):
        total += x
        x = nn.relu(x) * 0.5
    return total - x


#: Steps that keep shape and channels: 0 gives 0.
KEPT: dict[str, Callable[[Any], Any]] = {
    "relu": nn.relu, "relu6": nn.relu6, "leaky_relu": nn.leaky_relu, "elu": nn.elu, "silu": nn.silu, "gelu": nn.gelu,
    "gelu_tanh": lambda x: nn.gelu(x, approximate="tanh"), "tanh": nn.tanh, "mish": nn.mish,
    "selu": nn.selu, "celu": nn.celu, "softsign": nn.softsign, "prelu": lambda x: nn.prelu(x, np.full(1, 0.25, "f4")),
    "hardswish": nn.hardswish, "hardtanh": nn.hardtanh, "clip": lambda x: np.clip(x, -0.5, 1.5),
    "in_place": _in_place, "instance": lambda x: nn.layer_norm(x, tuple(x.shape[2:])),
    "permute": lambda x: np.tanh(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "branch": _branch, "loop": _loop, "places": _places, "stacked": _stacked, "attention": _attention,
}

#: Steps that keep the shape and fill all channels.
FILLED: dict[str, Callable[[Any], Any]] = {
    "sigmoid": nn.sigmoid, "logsigmoid": nn.logsigmoid, "hardsigmoid": nn.hardsigmoid, "softplus": nn.softplus,
    "softmax": lambda x: nn.softmax(x, 1), "log_softmax": lambda x: nn.log_softmax(x, 1),
    "rows_softmax": lambda x: nn.softmax(x * 0.5) + 1,
    "layer_norm": lambda x: nn.layer_norm(x, tuple(x.shape[1:])) + 0.25,
    "group_norm": lambda x: nn.group_norm(x, 2 if x.shape[1] % 2 == 0 else 1) + 0.25,
    "shuffle": _shuffle, "over_channels": lambda x: x - x.max(axis=1, keepdims=True) - 1,
}


def compute(name: str, xs: list[Any], weights: list[Any], options: Options) -> Any:
    """A step on arrays: traced ones, or whole NumPy ones."""
    x = xs[0]
    if name in KEPT:
        return KEPT[name](x)
    if name in FILLED:
        return FILLED[name](x)
    weight = weights[options["weight"]] if "weight" in options else None
    bias = weights[options["bias"]] if "bias" in options else None
    given = [weights[k] for k in options.get("weights", ())]
    start, step = options.get("start"), options.get("step")
    match name:
        case "scale":
            return x * weight[:, None, None]
        case "divide":
            return x / weight[:, None, None]
        case "shift":
            return x + weight[:, None, None]
        case "dropout":
            return nn.dropout(x, 0.25, training=True, mask=weight)
        case "excite":
            return x * nn.sigmoid(nn.linear(x.mean(axis=(2, 3)), weight))[:, :, None, None]
        case "batch_norm":
            return nn.batch_norm(x, *given)
        case "batch_norm_all":
            return nn.batch_norm(x, *given, keep_beta=True)
        case "batch_norm_trained":
            return nn.batch_norm(x, None, None, *given[2:], training=True)
        case "conv" | "grouped" | "depthwise":
            return nn.conv2d(x, weight, bias, **{k: options[k] for k in ("stride", "padding", "dilation", "groups")})
        case "add":
            return x + xs[1]
        case "sub":
            return x - xs[1]
        case "mul":
            return x * xs[1]
        case "maximum":
            return np.maximum(x, xs[1])
        case "cat":
            return nn.cat(xs, 1)
        case "stack":
            return nn.cat(xs, 2)
        case "slice":
            return x[:, start::step]
        case "listed":
            return x[:, options["listed"]]
        case "part":
            y = x * 1
            y[:, start : start + 2] = options["value"]
            y[:, start, 0] += 1
            return y
        case "rows":
            return x[:, :, start::step]
        case "pool":
            return nn.max_pool2d(x, 2, **options)
        case "average":
            return nn.avg_pool2d(x, 2, **options)
        case "adaptive":
            return nn.adaptive_avg_pool2d(x, options["size"])
        case "adaptive_max":
            return nn.adaptive_max_pool2d(x, options["size"])
        case "pad":
            return nn.pad(x, (1, 1, 0, 1), options["mode"])
        case "upsample":
            return nn.interpolate(x, scale_factor=2, mode=options["mode"])
        case "flatten":
            return nn.flatten(x, 1)
        case "mean":
            return x.mean(axis=(2, 3))
        case "linear":
            return nn.linear(x, weight, bias)
    raise AssertionError(name)


# --- channels ------------------------------------------------------------------------------------------------


@dataclass
class Masked:
    """A whole array and the channels of it that are there; None: all, and known to be all."""

    array: np.ndarray
    mask: np.ndarray | None


def masked(x: Any) -> Masked:
    """An argument as the reference takes it."""
    if not isinstance(x, ChannelSparse):
        return Masked(x, None)
    mask = np.zeros(x.full, bool)
    mask[x.index] = True
    return Masked(x.to_dense(), mask)


def live(name: str, xs: list[Masked], weights: list[Any], options: Options) -> np.ndarray | None:
    """The channels that the result of a step has."""
    masks = [x.mask for x in xs]
    mask = masks[0]
    match name:
        case "shift" | "batch_norm_all":
            return None
        case "add" | "sub" | "maximum" | "stack":
            return None if any(m is None for m in masks) else np.logical_or.reduce(masks)
        case "mul":
            known = [m for m in masks if m is not None]
            return np.logical_and.reduce(known) if known else None
        case "cat":
            if all(m is None for m in masks):
                return None
            parts = [np.ones(x.array.shape[1], bool) if x.mask is None else x.mask for x in xs]
            return np.concatenate(parts)
        case "slice":
            return None if mask is None else mask[options["start"] :: options["step"]]
        case "listed":
            return None if mask is None else mask[options["listed"]]
        case "part" if mask is not None:
            first, written = options["start"], 2 if options["value"] else 1  # zeros are what absent channels hold
            mask = mask.copy()
            mask[first : first + written] = True
            return mask
        case "conv" | "grouped" | "depthwise" | "linear":
            return _of_weights(mask, weights[options["weight"]], options.get("groups", 1))
        case "flatten":
            return None if mask is None else np.repeat(mask, int(np.prod(xs[0].array.shape[2:])))
    return None if name in FILLED else mask


def _of_weights(mask: np.ndarray | None, weight: Any, groups: int) -> np.ndarray | None:
    """Rows that a weight has; with one input to a group, those whose input is there. Weights that lack inputs of a
    group are dense ones."""
    if isinstance(weight, ChannelSparse) and weight.axis == 1:
        if groups == 1 or not (weight.static and weight.density == 1):
            return None
        weight = weight.to_dense()
    rows = masked(weight).mask
    if mask is None or groups != len(mask) or groups == 1:
        return rows
    fed = np.repeat(mask, weight.shape[0] // groups)
    return fed if rows is None else fed & rows
