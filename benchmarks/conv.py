"""Convolution layer by layer: what part of the machine's multiply-add peak they reach, dense and on live channels.

    python -m benchmarks.conv [--json FILE] [--rounds 40] [--layers 3x3]

One image, float32, one thread. "dense" is all channels; "live" is half of the input channels and half of the output
channels, listed at run time, with the weights of all channels where they are; its share of the peak counts useful
work only. The peak is measured in the same process, between the layers. Values are checked first. Shown are minima
of the thread's processor time over interleaved rounds. torch and ONNX Runtime take part where they are installed, on
the dense layer and on one whose channels are physically removed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import sparsec
from sparsec.codegen.llvm import LlvmTarget, llvm_text
from sparsec.compiler import Compilation
from sparsec.ir.builder import Builder
from sparsec.ir.dims import sym
from sparsec.ir.loop_text import parse_program
from sparsec.ir.ops.record import record
from sparsec.ir.types import F32, I32, I64, tensor
from sparsec.runtime.cpu import CpuExecutable, compile_object, host_cpu
from sparsec.runtime.runners import Runner

__all__ = ["LAYERS", "Layer", "Row", "main", "measure", "peak_run"]

Run = Callable[[], None]


@dataclass(frozen=True)
class Layer:
    """`goal`: the part of the peak that it must reach, dense and live; 0: none."""

    inputs: int
    outputs: int
    size: int
    kernel: int
    stride: int = 1
    groups: int = 1
    goal: float = 0

    @property
    def name(self) -> str:
        wide = f"{self.inputs}" if self.inputs == self.outputs else f"{self.inputs}-{self.outputs}"
        depth = " depthwise" if self.groups > 1 else ""
        stride = f" stride {self.stride}" if self.stride > 1 else ""
        return f"{self.kernel}x{self.kernel}{depth} {wide}@{self.size}{stride}"


LAYERS = (
    Layer(64, 64, 56, 3, goal=0.65), Layer(128, 128, 28, 3, goal=0.65), Layer(256, 256, 14, 3, goal=0.65),
    Layer(512, 512, 7, 3, goal=0.55), Layer(128, 128, 56, 1, goal=0.6), Layer(512, 512, 14, 1, goal=0.6),
    Layer(64, 128, 56, 3, 2), Layer(64, 128, 56, 1, 2), Layer(3, 64, 224, 7, 2), Layer(256, 256, 14, 3, groups=256),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """Milliseconds and parts of the peak of one layer; peers by name, in milliseconds."""

    layer: str
    dense_ms: float
    live_ms: float
    dense_part: float
    live_part: float
    peers: dict[str, float]


# --- what runs -------------------------------------------------------------------------------------------


def peak_run() -> tuple[Run, int]:
    """Independent multiply-adds in registers, and how many floating-point operations a run makes."""
    host = host_cpu()
    lanes, turns = 14 * host.vector_bytes // 4, 200_000
    program = parse_program(f"""program @peak {{ arena 0
        slot %x: global f32[{lanes}] r = param 0 slot %y: global f32[{lanes}] w = param 1
        kernel @k(%x: global f32[{lanes}] r, %y: global f32[{lanes}] w) {{ for i in 0..{lanes} bind(vector) {{
          mut s = %x[i] let a = %x[0] let b = %x[1]
          for k in 0..{turns} {{ s = fma(s, a, b) }} %y[i] = s }} }}
        host {{ launch @k(%x, %y) }} }}""")
    target = LlvmTarget(
        host.triple, host.data_layout, host.cpu, host.features, host.vector_bits, host.vector_bytes
    )
    code = CpuExecutable([compile_object(llvm_text(program, target))])
    memory = [np.full(lanes, 0.5, np.float32) for _ in range(2)]

    def run() -> None:
        code.run([m.ctypes.data for m in memory])

    return run, 2 * lanes * turns


class _Call:
    """A compiled function with the arrays that it runs on."""

    def __init__(self, runner: Runner, memory: list[np.ndarray], result: np.ndarray) -> None:
        self._runner, self._alive = runner, (memory, result)
        self._given, self._made = [a.ctypes.data for a in memory], [result.ctypes.data]
        self._sizes = [a.nbytes for a in (*memory, result)]

    def __call__(self) -> None:
        self._runner.run(self._given, self._made, self._sizes)


def layer_run(layer: Layer, live: float) -> tuple[Run, float]:
    """One layer on the CPU with this part of its channels live, and its useful floating-point operations. Raises
    AssertionError where values are wrong."""
    rng = np.random.default_rng(0)
    counts = [max(int(c * live), 1) for c in (layer.inputs, layer.outputs)]
    if layer.inputs < 8:  # an image's colours are never pruned
        counts[0] = layer.inputs
    pad = (layer.kernel // 2, layer.kernel // 2)
    attrs: dict[str, Any] = {"padding": (pad, pad), "stride": (layer.stride, layer.stride), "groups": layer.groups}
    shape = (layer.outputs, layer.inputs // layer.groups, layer.kernel, layer.kernel)
    x = rng.uniform(-1, 1, (1, counts[0], layer.size, layer.size)).astype(np.float32)
    w = rng.uniform(-1, 1, shape).astype(np.float32)
    b = Builder()
    args: list[np.ndarray] = [x, w]
    if live == 1:
        operands = [b.param(tensor(F32, *a.shape)) for a in args]
    else:
        full = layer.inputs, layer.outputs
        some, made = (sym(f"%{b.param(tensor(I64), name).name}", most) for name, most in zip("km", full))
        lists = [np.sort(rng.permutation(c)[:n]).astype(np.int32) for c, n in zip(full, counts)]
        if layer.groups > 1:
            lists[1] = lists[0]  # the channels that are there
        operands = [
            b.param(tensor(F32, 1, some, layer.size, layer.size)), b.param(tensor(F32, *shape)),
            b.param(tensor(I32, some)), b.param(tensor(I32, made)),
        ]
        args += lists
        attrs |= {"extras": ("inputs", "rows"), "in_channels": layer.inputs, "out_channels": layer.outputs}
    func = b.func("layer", (b.op("conv2d", *operands, **attrs),))
    conv2d = record("conv2d")
    assert conv2d.ref is not None
    want = conv2d.ref(*args, **{**conv2d.defaults, **attrs})
    result = np.zeros((layer.outputs, *want.shape[2:]), np.float32)
    memory = args if live == 1 else [*(np.array(c) for c in counts), *args]
    run = _Call(Compilation(func, "cpu").runner, memory, result)
    run()
    np.testing.assert_allclose(result.reshape(-1)[: want.size], want.reshape(-1), 1e-4, 1e-4 * np.abs(want).max())
    depth = 1 if layer.groups > 1 else counts[0]
    return run, 2.0 * want.size * depth * layer.kernel**2


def peer_runs(layer: Layer) -> dict[str, Run]:
    """The layer, and one of half its channels, by the tools that are here."""
    found: dict[str, Run] = {}
    for part, name in ((1.0, "dense"), (0.5, "compact")):
        if part < 1 and (layer.groups > 1 or layer.inputs < 8):
            continue
        inputs, outputs = int(layer.inputs * part), int(layer.outputs * part)
        x = np.ones((1, inputs, layer.size, layer.size), np.float32)
        w = np.ones((outputs, inputs // layer.groups, layer.kernel, layer.kernel), np.float32)
        for tool, make in (("torch", _torch), ("onnxruntime", _onnxruntime)):
            run = make(x, w, layer)
            if run is not None:
                found[f"{tool} {name}"] = run
    return found


def _torch(x: np.ndarray, w: np.ndarray, layer: Layer) -> Run | None:
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    operands = torch.from_numpy(x), torch.from_numpy(w)

    def run() -> None:
        with torch.no_grad():
            torch.nn.functional.conv2d(
                *operands, stride=layer.stride, padding=layer.kernel // 2, groups=layer.groups
            )

    return run


def _onnxruntime(x: np.ndarray, w: np.ndarray, layer: Layer) -> Run | None:
    try:
        import onnx
        import onnxruntime
    except ImportError:
        return None
    helper, pad = onnx.helper, layer.kernel // 2
    node = helper.make_node(
        "Conv", ["x", "w"], ["y"], strides=[layer.stride] * 2, pads=[pad] * 4, group=layer.groups
    )
    graph = helper.make_graph(
        [node], "layer", [helper.make_tensor_value_info("x", 1, x.shape)],
        [helper.make_tensor_value_info("y", 1, None)], [onnx.numpy_helper.from_array(w, "w")],
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})


# --- measuring -------------------------------------------------------------------------------------------


def _seconds(run: Run) -> float:
    start = time.thread_time()
    run()
    return time.thread_time() - start


def measure(layers: tuple[Layer, ...], rounds: int) -> tuple[float, list[Row]]:
    """The peak in FLOP/s, and a row for each layer."""
    sparsec.set_num_threads(1)
    peak, operations = peak_run()
    fastest, rows = float("inf"), []
    for layer in layers:
        (dense, dense_work), (live, live_work) = layer_run(layer, 1), layer_run(layer, 0.5)
        runs = {"dense": dense, "live": live, **peer_runs(layer)}
        best = dict.fromkeys(runs, float("inf"))
        for _ in range(rounds):
            fastest = min(fastest, _seconds(peak))
            for name, run in runs.items():
                best[name] = min(best[name], _seconds(run))
        rows.append((layer, best, dense_work, live_work))
    flops = operations / fastest
    return flops, [
        Row(
            layer.name, best["dense"] * 1e3, best["live"] * 1e3, dense_work / best["dense"] / flops,
            live_work / best["live"] / flops, {k: t * 1e3 for k, t in best.items() if k not in ("dense", "live")},
        )
        for layer, best, dense_work, live_work in rows
    ]  # fmt: skip


def table(peak: float, rows: list[Row]) -> str:
    """Markdown."""
    peers = list(dict.fromkeys(name for row in rows for name in row.peers))
    goals = {layer.name: layer.goal for layer in LAYERS}
    lines = [
        f"Peak: {peak / 1e9:.1f} GFLOP/s.\n",
        "| " + " | ".join(("layer", "dense ms", "of peak", "live ms", "of peak", "goal", *peers)) + " |",
        "|---" * (6 + len(peers)) + "|",
    ]
    for row in rows:
        goal = f"{goals.get(row.layer, 0):.0%}" if goals.get(row.layer) else ""
        cells = [
            row.layer, f"{row.dense_ms:.3f}", f"{row.dense_part:.0%}", f"{row.live_ms:.3f}", f"{row.live_part:.0%}",
            goal,
            *(f"{row.peers[name]:.3f}" if name in row.peers else "" for name in peers),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Prints the table; writes JSON where asked."""
    parser = argparse.ArgumentParser(prog="benchmarks.conv", description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--layers", default="", help="only those whose name contains this")
    options = parser.parse_args(argv)
    chosen = tuple(layer for layer in LAYERS if options.layers in layer.name)
    peak, rows = measure(chosen, options.rounds)
    print(table(peak, rows))
    if options.json:
        options.json.write_text(json.dumps({"peak": peak, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
