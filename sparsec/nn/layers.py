"""Layers with weights: convolution and the dense layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsec.errors import ArgumentError, UnsupportedError
from sparsec.nn.program import as_array, image, on_channels_of, op, pair, wrong
from sparsec.nn.pruned import pruned_conv2d, pruned_linear
from sparsec.sparse.weights import SparseWeight

__all__ = ["conv2d", "linear"]

Pads = tuple[tuple[int, int], tuple[int, int]]


def conv2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
    *, algorithm: str = "direct",
) -> Any:
    """The cross-correlation of images [N, C, H, W] with weights [O, C/groups, R, S], plus a bias [O].

    padding: zeros on each side, for both axes or one each; "same" (stride 1 only) or "valid". With a bias an absent
    channel of the result would hold it: it stays absent (see docs/sparsity.md). A pruned weight
    (`sparsec.sparse.prune`) is computed with as it is stored. algorithm: only "direct", which reads weights and
    channels where they lie; "winograd", "im2col" and "fft" would copy them, and raise UnsupportedError.
    """
    if algorithm != "direct":
        raise _other_algorithm(algorithm)
    x = image(input, "conv2d")
    w = weight if isinstance(weight, SparseWeight) else image(weight, "the weights of conv2d")
    strides, dilations = pair(stride, "stride"), pair(dilation, "dilation")
    window = {
        "stride": strides, "padding": _pads(padding, strides, dilations, tuple(w.shape[2:])), "dilation": dilations,
    }  # fmt: skip
    if isinstance(w, SparseWeight):
        y = pruned_conv2d(x, w, groups=groups, **window)
    else:
        y = op("conv2d", x, w, groups=groups, **window)
    return y if bias is None else with_bias(y, bias, (-1, 1, 1))


def _other_algorithm(name: Any) -> UnsupportedError | ArgumentError:
    if name not in ("winograd", "im2col", "fft"):
        return ArgumentError(f"conv2d: no algorithm is called {name!r}", hint='algorithm="direct"')
    return UnsupportedError(
        f"conv2d: {name} needs transformed copies of weights or images, in which absent channels cannot be skipped",
        hint='leave algorithm at "direct"',
    )


def _pads(padding: Any, stride: tuple[int, int], dilation: tuple[int, int], kernel: tuple[int, ...]) -> Pads:
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        if stride != (1, 1):
            raise wrong("conv2d: padding 'same' needs stride 1")
        reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return (reach[0] // 2, reach[0] - reach[0] // 2), (reach[1] // 2, reach[1] - reach[1] // 2)
    above, left = pair(padding, "padding")
    return (above, above), (left, left)


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """x @ weight.T + bias, for x [..., in] and a weight [out, in], which may be pruned."""
    x = as_array(input)
    if isinstance(weight, SparseWeight):
        y = pruned_linear(x, weight)
        return y if bias is None else with_bias(y, bias, (-1,))
    w = as_array(weight)
    if w.ndim != 2 or not x.ndim or x.shape[-1] != w.shape[1]:
        raise wrong(f"linear takes x [..., in] and a weight [out, in], not {tuple(x.shape)} and {tuple(w.shape)}")
    y = np.matmul(x, w.T)
    return y if bias is None else with_bias(y, bias, (-1,))


def with_bias(y: Any, bias: Any, shape: tuple[int, ...]) -> Any:
    """`y` plus one number for each of its channels, where it has any."""
    return on_channels_of(y + as_array(bias).reshape(shape), y)
