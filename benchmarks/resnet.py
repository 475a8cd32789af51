"""ResNet-18, one image of 224 x 224, half of the channels of every layer pruned: ours and other tools in one run.

    python -m benchmarks.resnet [--json FILE] [--rounds 20] [--threads 1,2] [--size 224]

| run | what it computes with |
|---|---|
| sparsec dense | all channels; pruned ones are zeros |
| sparsec sparse | live channels, by indexes known at run time; weights untouched |
| sparsec sparse, packed | the same with constant weights, which may be kept in a second order |
| torch dense | all channels |
| torch gather | live channels: rows and columns of the weights are gathered at each call |
| onnxruntime dense | all channels |
| onnxruntime compact | a network of which the channels have been removed when it was built |

torch and ONNX Runtime take part where they are installed. Logits are compared first. Shown are the least milliseconds
of rounds in which all take turns of a few calls, and for sparsec's dense and sparse run how they compare with their
rivals.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import sparsec
from examples import networks

__all__ = ["main", "measure", "runs"]

Run = Callable[[], Any]

#: How far logits may be apart, in parts of the largest.
TOLERANCE = 1e-4

EPSILON = 1e-5  # of batch norms

#: Calls of one tool in a row; before them a rest, in seconds, for threads of the last one to fall asleep.
_TURN, _REST = 3, 0.25


# --- the network, for tools that have other names for its layers ---------------------------------------------


def _walk(tool: Any, x: Any, params: Any) -> Any:
    """The logits: what `forward_resnet18` computes, by a tool's convolution with batch norm, pooling and so on."""
    x = tool.max_pool(tool.relu(tool.conv_bn(x, params["stem"], 2, 3)))
    for number, stage in enumerate(params["stages"]):
        for position, block in enumerate(stage):
            stride = 2 if number and not position else 1
            y = tool.relu(tool.conv_bn(x, block["first"], stride, 1))
            y = tool.conv_bn(y, block["second"], 1, 1)
            if "shortcut" in block:
                x = tool.conv_bn(x, block["shortcut"], stride, 0)
            x = tool.relu(tool.add(y, x))
    return tool.head(x, params["fc"])


class _Torch:
    """Values are tensors with the index of their channels; None: all of them."""

    def __init__(self, torch: Any) -> None:
        self.torch, self.f = torch, torch.nn.functional

    def ready(self, tree: Any) -> Any:
        """Parameters as tensors; pruned weights as their rows and index."""
        if isinstance(tree, dict):
            return {key: self.ready(value) for key, value in tree.items()}
        if isinstance(tree, list):
            return [self.ready(value) for value in tree]
        if isinstance(tree, sparsec.sparse.ChannelSparse):
            return self.torch.from_numpy(tree.data), self.torch.from_numpy(tree.index.astype(np.int64))
        return self.torch.from_numpy(tree)

    def conv_bn(self, value: Any, layer: Any, stride: int, padding: int) -> Any:
        x, live = value
        weight, rows = layer["weight"] if isinstance(layer["weight"], tuple) else (layer["weight"], None)
        if live is not None:
            weight = weight.index_select(1, live)
        bn = [layer["bn"][name] for name in ("mean", "var", "gamma", "beta")]
        if rows is not None:
            bn = [vector.index_select(0, rows) for vector in bn]
        y = self.f.conv2d(x, weight, stride=stride, padding=padding)
        return self.f.batch_norm(y, *bn, eps=EPSILON), rows

    def relu(self, value: Any) -> Any:
        return self.torch.relu_(value[0]), value[1]

    def add(self, a: Any, b: Any) -> Any:
        return a[0].add_(b[0]), a[1]

    def max_pool(self, value: Any) -> Any:
        return self.f.max_pool2d(value[0], 3, 2, 1), value[1]

    def head(self, value: Any, fc: Any) -> Any:
        x, live = value
        weight = fc["weight"] if live is None else fc["weight"].index_select(1, live)
        return self.f.linear(x.mean((2, 3)), weight, fc["bias"])


class _Onnx:
    """Writes nodes; values are names with the index of their channels. Pruned channels are left out."""

    def __init__(self, onnx: Any) -> None:
        self.onnx, self.count = onnx, 0
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, *inputs: str, **attrs: Any) -> str:
        self.count += 1
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), [f"v{self.count}"], **attrs))
        return f"v{self.count}"

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def conv_bn(self, value: Any, layer: Any, stride: int, padding: int) -> Any:
        x, live = value
        weight: Any = layer["weight"]
        rows: Any = slice(None)
        if isinstance(weight, sparsec.sparse.ChannelSparse):
            weight, rows = weight.data, weight.index
        y = self.node("Conv", x, self.constant(weight[:, live]), strides=[stride] * 2, pads=[padding] * 4)
        bn = [self.constant(layer["bn"][name][rows]) for name in ("gamma", "beta", "mean", "var")]
        return self.node("BatchNormalization", y, *bn, epsilon=EPSILON), rows

    def relu(self, value: Any) -> Any:
        return self.node("Relu", value[0]), value[1]

    def add(self, a: Any, b: Any) -> Any:
        return self.node("Add", a[0], b[0]), a[1]

    def max_pool(self, value: Any) -> Any:
        made = self.node("MaxPool", value[0], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        return made, value[1]

    def head(self, value: Any, fc: Any) -> Any:
        x, live = value
        flat = self.node("Flatten", self.node("GlobalAveragePool", x))
        return self.node("Gemm", flat, self.constant(fc["weight"][:, live]), self.constant(fc["bias"]), transB=1)


# --- runs ----------------------------------------------------------------------------------------------------


def runs(image: np.ndarray, threads: int) -> dict[str, Run]:
    """The network by every tool that is here, each on so many threads."""
    pruned = networks.prune(networks.resnet18(), 0.5)
    sparse, dense = networks.arguments(pruned), networks.arguments(networks.masked(pruned))
    sparsec.set_num_threads(threads)
    forward = sparsec.jit(networks.forward_resnet18)
    packed = sparsec.constant(sparse)
    found: dict[str, Run] = {
        "sparsec dense": lambda: forward(image, dense), "sparsec sparse": lambda: forward(image, sparse),
        "sparsec sparse, packed": lambda: forward(image, packed),
    }
    for make in (_torch_runs, _onnx_runs):
        try:
            found |= make(image, dense, sparse, threads)
        except ImportError:
            continue
    return found


def _torch_runs(image: np.ndarray, dense: Any, sparse: Any, threads: int) -> dict[str, Run]:
    import torch

    torch.set_num_threads(threads)
    tool, x = _Torch(torch), torch.from_numpy(image)

    def run(params: Any) -> Run:
        @torch.no_grad()
        def call() -> np.ndarray:
            return _walk(tool, (x, None), params).numpy()  # type: ignore[no-any-return]

        return call

    return {"torch dense": run(tool.ready(dense)), "torch gather": run(tool.ready(sparse))}


def _onnx_runs(image: np.ndarray, dense: Any, sparse: Any, threads: int) -> dict[str, Run]:
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1

    def run(params: Any) -> Run:
        tool = _Onnx(onnx)
        made = _walk(tool, ("x", slice(None)), params)
        info = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            tool.nodes, "resnet18", [info("x", 1, image.shape)], [info(made, 1, None)], tool.constants
        )
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return lambda: session.run(None, {"x": image})[0]

    return {"onnxruntime dense": run(dense), "onnxruntime compact": run(sparse)}


def measure(found: dict[str, Run], rounds: int) -> dict[str, float]:
    """Milliseconds of each run. Raises AssertionError where logits differ."""
    want = found["sparsec dense"]()
    for name, run in found.items():
        for _ in range(3):  # the third call of a jitted function is native
            error = float(np.abs(run() - want).max() / np.abs(want).max())
            assert error <= TOLERANCE, f"{name}: {error:.1e}"
    best = dict.fromkeys(found, float("inf"))
    for _ in range(rounds):
        for name, run in found.items():
            time.sleep(_REST)
            for _ in range(_TURN):
                start = time.perf_counter()
                run()
                best[name] = min(best[name], 1e3 * (time.perf_counter() - start))
    return best


#: Ratios that are asked for: name, slower, faster, and at least (or, with "<=", at most) how much.
GOALS = (
    ("sparse against dense", "sparsec dense", "sparsec sparse", ">= 3"),
    ("torch gather against sparse", "torch gather", "sparsec sparse", ">= 2.5"),
    ("packed against sparse", "sparsec sparse", "sparsec sparse, packed", ">= 1"),
    ("sparse against onnxruntime compact", "sparsec sparse", "onnxruntime compact", "<= 1.2"),
    ("dense against onnxruntime dense", "sparsec dense", "onnxruntime dense", "<= 1.1"),
)


def report(times: dict[int, dict[str, float]]) -> str:
    """Markdown: milliseconds by threads, then the ratios that are asked for."""
    threads = list(times)
    names = list(dict.fromkeys(name for found in times.values() for name in found))
    lines = ["| run | " + " | ".join(f"{t} threads, ms" for t in threads) + " |", "|---" * (1 + len(threads)) + "|"]
    lines += [f"| {name} | " + " | ".join(f"{times[t][name]:.2f}" for t in threads) + " |" for name in names]
    lines += ["", "| ratio | goal | " + " | ".join(f"{t} threads" for t in threads) + " |",
              "|---" * (2 + len(threads)) + "|"]
    for name, slower, faster, goal in GOALS:
        if slower in names and faster in names:
            found = " | ".join(f"{times[t][slower] / times[t][faster]:.2f}" for t in threads)
            lines.append(f"| {name} | {goal} | {found} |")
    if len(threads) == 2:
        one, two = threads
        for name in ("sparsec dense", "sparsec sparse"):
            ratio = f"{times[one][name] / times[two][name]:.2f}"
            lines.append(f"| {name}: {two} threads against {one} | >= 1.7 | {'| ' * (len(threads) - 1)}{ratio} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the tables; writes JSON where asked."""
    parser = argparse.ArgumentParser(prog="benchmarks.resnet", description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", default="1,2", help="numbers of threads, one after the other")
    parser.add_argument("--size", type=int, default=224)
    options = parser.parse_args(argv)
    image = np.random.default_rng(1).normal(size=(1, 3, options.size, options.size)).astype(np.float32)
    times = {t: measure(runs(image, t), options.rounds) for t in map(int, options.threads.split(","))}
    print(report(times))
    if options.json:
        options.json.write_text(json.dumps(times, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
