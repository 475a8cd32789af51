"""Layers of neural networks as functions of arrays, for use inside any compiled NumPy-style function.

    @sparsec.jit
    def block(x, w, gamma, beta, mean, var):
        y = nn.conv2d(x, w, padding=1)
        return nn.relu(nn.batch_norm(y, mean, var, gamma, beta) + x)

Names, order of arguments and layouts are those of `torch.nn.functional`: images [N, C, H, W], convolution weights
[O, I, R, S], linear weights [out, in]. Operands may be arrays or `ChannelSparse`; docs/sparsity.md says which layers
keep channels apart. Outside a compiled function the same names compute with NumPy: that is their meaning.
"""

from __future__ import annotations

from sparsec.nn.activations import (
    celu,
    elu,
    gelu,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    logsigmoid,
    mish,
    prelu,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    softplus,
    softsign,
    tanh,
)
from sparsec.nn.layers import conv2d, linear
from sparsec.nn.normalization import batch_norm, group_norm, layer_norm, log_softmax, softmax
from sparsec.nn.pooling import adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, max_pool2d
from sparsec.nn.shapes import cat, dropout, flatten, interpolate, pad

__all__ = [
    "adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d", "batch_norm", "cat", "celu", "conv2d", "dropout",
    "elu", "flatten", "gelu", "group_norm", "hardsigmoid", "hardswish", "hardtanh", "interpolate", "layer_norm",
    "leaky_relu", "linear", "log_softmax", "logsigmoid", "max_pool2d", "mish", "pad", "prelu", "relu", "relu6",
    "selu", "sigmoid", "silu", "softmax", "softplus", "softsign", "tanh",
]
