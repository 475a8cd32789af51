"""ResNet-18 and MobileNetV1 in plain Python over `sparsec.nn`, and a pruner of their channels.

    params = resnet18(seed=0)                          # random weights, dense
    logits = forward_resnet18(image, params)           # NumPy, or inside a jitted function
    pruned = prune(params, ratio=0.5)                  # half of the channels of every layer live

A parameter tree is made of lists and dicts. A convolution is `{"weight": [O, I, R, S], "stream": name}` beside
`bn`, the four vectors of its batch norm. Convolutions whose outputs are added have one stream: their channels
are pruned together, so that a residual add keeps its index. `prune(..., shared=False)` prunes each convolution
by itself; an add then has the union of both indexes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sparsec import nn, sparse

Params = dict[str, Any]

#: Channels and first stride of the four stages of ResNet-18.
_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))

#: Streams of ResNet-18 to which shortcut and main path both add.
_RESIDUAL = ("stage0", "stage1", "stage2", "stage3")

#: Output channels and stride of MobileNetV1's separable convolutions.
_SEPARABLE = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1),
)  # fmt: skip


# --- the networks ----------------------------------------------------------------------------------------


def forward_resnet18(x, params):
    """Logits [N, classes] of images [N, 3, H, W]."""
    x = nn.max_pool2d(nn.relu(_conv_bn(x, params["stem"], stride=2, padding=3)), 3, stride=2, padding=1)
    for stage, (_, stride) in zip(params["stages"], _STAGES):
        for number, block in enumerate(stage):
            x = _basic_block(x, block, stride if number == 0 else 1)
    x = nn.flatten(nn.adaptive_avg_pool2d(x, 1), 1)
    return nn.linear(x, params["fc"]["weight"], params["fc"]["bias"])


def forward_mobilenet(x, params):
    """Logits [N, classes] of images [N, 3, H, W]."""
    x = nn.relu(_conv_bn(x, params["stem"], stride=2, padding=1))
    for block, (_, stride) in zip(params["blocks"], _SEPARABLE):
        x = nn.relu(_conv_bn(x, block["depthwise"], stride=stride, padding=1, groups=x.shape[1]))
        x = nn.relu(_conv_bn(x, block["pointwise"]))
    x = nn.flatten(nn.adaptive_avg_pool2d(x, 1), 1)
    return nn.linear(x, params["fc"]["weight"], params["fc"]["bias"])


def _basic_block(x, block, stride):
    y = nn.relu(_conv_bn(x, block["first"], stride=stride, padding=1))
    y = _conv_bn(y, block["second"], padding=1)
    if "shortcut" in block:
        x = _conv_bn(x, block["shortcut"], stride=stride)
    return nn.relu(y + x)


def _conv_bn(x, layer, stride=1, padding=0, groups=1):
    y = nn.conv2d(x, layer["weight"], stride=stride, padding=padding, groups=groups)
    bn = layer["bn"]
    return nn.batch_norm(y, bn["mean"], bn["var"], bn["gamma"], bn["beta"])


# --- random parameters -----------------------------------------------------------------------------------


def resnet18(seed: int = 0, classes: int = 1000) -> Params:
    """Random float32 parameters of ResNet-18, 11.7 million of them."""
    rng = np.random.default_rng(seed)
    stages, inputs = [], 64
    for number, (width, stride) in enumerate(_STAGES):
        blocks = []
        for position in range(2):
            block = {
                "first": _conv(rng, width, inputs, 3, f"inner{number}.{position}"),
                "second": _conv(rng, width, width, 3, f"stage{number}"),
            }
            if position == 0 and (stride != 1 or inputs != width):
                block["shortcut"] = _conv(rng, width, inputs, 1, f"stage{number}")
            blocks.append(block)
            inputs = width
        stages.append(blocks)
    # The first stage has no convolution on its shortcut: what enters it is the stem's output.
    return {"stem": _conv(rng, 64, 3, 7, "stage0"), "stages": stages, "fc": _linear(rng, classes, inputs)}


def mobilenet(seed: int = 0, classes: int = 1000) -> Params:
    """Random float32 parameters of MobileNetV1 (width 1), 4.2 million of them."""
    rng = np.random.default_rng(seed)
    blocks, inputs = [], 32
    for number, (width, _) in enumerate(_SEPARABLE):
        stream = "stem" if number == 0 else f"block{number - 1}"  # a channel of a depthwise layer is its input's
        blocks.append({
            "depthwise": _conv(rng, inputs, 1, 3, stream),
            "pointwise": _conv(rng, width, inputs, 1, f"block{number}"),
        })
        inputs = width
    return {"stem": _conv(rng, 32, 3, 3, "stem"), "blocks": blocks, "fc": _linear(rng, classes, inputs)}


def _conv(rng: np.random.Generator, outputs: int, inputs: int, size: int, stream: str) -> Params:
    """He-normal weights; statistics and parameters of a batch norm that has seen some data."""
    weight = rng.normal(0.0, math.sqrt(2.0 / (inputs * size * size)), (outputs, inputs, size, size))
    bn = {
        "mean": rng.normal(0.0, 0.1, outputs), "var": rng.uniform(0.5, 1.5, outputs),
        "gamma": rng.uniform(0.5, 1.5, outputs), "beta": rng.normal(0.0, 0.1, outputs),
    }  # fmt: skip
    return {
        "weight": weight.astype(np.float32), "stream": stream,
        "bn": {name: values.astype(np.float32) for name, values in bn.items()},
    }  # fmt: skip


def _linear(rng: np.random.Generator, outputs: int, inputs: int) -> Params:
    weight = rng.normal(0.0, 1.0 / math.sqrt(inputs), (outputs, inputs)).astype(np.float32)
    return {"weight": weight, "bias": np.zeros(outputs, np.float32)}


# --- pruning ---------------------------------------------------------------------------------------------


def prune(params: Params, ratio: float, shared: bool = True) -> Params:
    """The same tree with the weakest output channels of every convolution removed (structured, by L2 norm).

    ratio: the part of the channels that goes; `ceil(channels * (1 - ratio))` stay.
    shared: convolutions of one stream keep the same channels, as the index that they share; otherwise those of the
        residual streams each keep their own strongest ones.
    """
    layers = list(_layers(params))
    keys = {name: layer["stream"] if shared or layer["stream"] not in _RESIDUAL else name for name, layer in layers}
    norms: dict[str, np.ndarray] = {}
    for name, layer in layers:
        key = keys[name]
        norms[key] = norms.get(key, 0.0) + np.sum(layer["weight"].astype(np.float64) ** 2, axis=(1, 2, 3))
    keep = {key: _strongest(norm, ratio) for key, norm in norms.items()}
    return _replaced(params, {
        name: {**layer, "weight": _kept(layer["weight"], keep[keys[name]], ratio)}
        for name, layer in layers
    })


def _kept(weight: np.ndarray, index: np.ndarray, ratio: float) -> sparse.ChannelSparse:
    cap = _left(len(weight), ratio)
    return sparse.ChannelSparse(np.ascontiguousarray(weight[index]), index, len(weight), 0, cap=cap)


def masked(params: Params) -> Params:
    """The same network with dense weights and parameters: pruned channels are zeros throughout."""
    return _replaced(params, {name: _masked(layer) for name, layer in _layers(params)})


def _masked(layer: Params) -> Params:
    weight = layer["weight"]
    live = np.zeros(weight.full, np.float32)
    live[weight.index] = 1
    bn = {**layer["bn"], "gamma": layer["bn"]["gamma"] * live, "beta": layer["bn"]["beta"] * live}
    return {**layer, "weight": weight.to_dense(), "bn": {**bn, "mean": layer["bn"]["mean"] * live}}


def arguments(params: Params) -> Params:
    """The tree without what is only a name: what a compiled function takes."""
    match params:
        case dict():
            return {key: arguments(value) for key, value in params.items() if key != "stream"}
        case list():
            return [arguments(value) for value in params]
    return params


def _strongest(norm: np.ndarray, ratio: float) -> np.ndarray:
    return np.sort(np.argsort(-norm, kind="stable")[: _left(len(norm), ratio)]).astype(np.int32)


def _left(channels: int, ratio: float) -> int:
    return max(1, math.ceil(channels * (1.0 - ratio)))


def _layers(params: Any, path: str = "") -> Any:
    """Every convolution of a tree with a name of its own."""
    if isinstance(params, dict) and "stream" in params:
        yield path, params
    elif isinstance(params, dict | list):
        for key, value in params.items() if isinstance(params, dict) else enumerate(params):
            yield from _layers(value, f"{path}/{key}")


def _replaced(params: Any, layers: Params, path: str = "") -> Any:
    """The tree with other convolutions."""
    if path in layers:
        return layers[path]
    if isinstance(params, dict):
        return {key: _replaced(value, layers, f"{path}/{key}") for key, value in params.items()}
    if isinstance(params, list):
        return [_replaced(value, layers, f"{path}/{key}") for key, value in enumerate(params)]
    return params
