"""Random networks over sparse and dense images, and the masked dense computation that each must equal.

A network is a list of steps over a growing list of values: chains, residual sums, products, joins, grouped and
depthwise convolutions, pooling, in-place writes. The reference runs the same steps on whole arrays and keeps, by
rules of its own, a mask of the channels that are there; so values and indexes are both checked.

    python -m tests.sparse.networks --count 2000 --seed 0
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import sparsec
from sparsec import nn
from sparsec.sparse import ChannelSparse, from_dense

BACKENDS = ("interp", "cpu", "opencl")


# --- networks ----------------------------------------------------------------------------------------------


@dataclass
class Network:
    """steps: (name, positions of operands, options). inputs: shape, cap and whether static, and which of them share
    an index; weights: dense arrays, or sparse ones."""

    seed: int
    steps: list[tuple[str, tuple[int, ...], dict[str, Any]]] = field(default_factory=list)
    inputs: list[Source] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)
    results: list[int] = field(default_factory=list)

    def run(self, values: list[Any], weights: list[Any], step: Any) -> list[Any]:
        values = list(values)
        for name, operands, options in self.steps:
            values.append(step(name, [values[k] for k in operands], weights, options))
        return [values[k] for k in self.results]

    def __str__(self) -> str:
        lines = [f"seed {self.seed}; inputs: " + "; ".join(map(str, self.inputs))]
        first = len(self.inputs)
        lines += [f"  %{first + k} = {name} {operands} {options}"
                  for k, (name, operands, options) in enumerate(self.steps)]
        return "\n".join([*lines, f"  return {self.results}"])


@dataclass
class Source:
    """An input: `mode` is dense, static or dynamic. same: the input whose index it shares, or -1."""

    shape: tuple[int, ...]
    mode: str
    cap: int = 0
    same: int = -1

    def __str__(self) -> str:
        return f"{self.mode}{list(self.shape)} cap {self.cap}" + (f" as {self.same}" if self.same >= 0 else "")


#: Steps that keep the shape, with the steps that are chosen more often listed twice.
_SAME = ("relu", "relu", "leaky_relu", "silu", "gelu", "tanh", "scale", "divide", "shift", "batch_norm",
         "batch_norm", "depthwise", "in_place", "sigmoid", "clip")
_OTHER = ("conv", "conv", "conv", "grouped", "add", "add", "add", "sub", "mul", "mul", "maximum", "cat", "cat",
          "slice", "pool", "average", "pad", "upsample", "rows")


def network(seed: int) -> Network:
    """The network of a seed."""
    rng = np.random.default_rng(seed)
    net = Network(seed)
    batch, size = int(rng.integers(1, 3)), int(rng.integers(3, 7))
    channels = int(rng.choice([1, 2, 4, 6, 8]))
    for k in range(int(rng.integers(1, 4))):
        shape = (batch, channels, size, size)
        mode = str(rng.choice(["static", "dynamic", "dynamic", "dense"] if k else ["static", "dynamic"]))
        sharing = [j for j, s in enumerate(net.inputs) if s.mode == mode == "dynamic" and s.same < 0]
        if sharing and rng.random() < 0.3:
            net.inputs.append(Source(shape, mode, net.inputs[sharing[0]].cap, sharing[0]))
        else:
            net.inputs.append(Source(shape, mode, int(rng.integers(1, channels + 1))))
    shapes: list[tuple[int, ...]] = [s.shape for s in net.inputs]
    for _ in range(int(rng.integers(2, 9))):
        _grow(net, shapes, rng)
    used = {k for _, operands, _ in net.steps for k in operands}
    loose = [k for k in range(len(net.inputs), len(shapes)) if k not in used]
    net.results = [*loose[-2:], *([int(rng.integers(0, len(shapes)))] if rng.random() < 0.3 else [])]
    last = loose[-1] if loose else len(shapes) - 1
    if rng.random() < 0.4 and len(shapes[last]) == 4:
        _head(net, shapes, last, rng)
    net.results = net.results or [len(shapes) - 1]
    return net


def _grow(net: Network, shapes: list[tuple[int, ...]], rng: np.random.Generator) -> None:
    at = int(rng.integers(max(0, len(shapes) - 3), len(shapes)))
    n, c, h, w = shapes[at]
    name = str(rng.choice(_SAME if rng.random() < 0.5 else _OTHER))
    options: dict[str, Any] = {}
    operands: tuple[int, ...] = (at,)
    shape = shapes[at]
    match name:
        case "scale" | "divide" | "shift":
            options["weight"] = _weight(net, rng.uniform(0.5, 2, c))
        case "batch_norm":
            options["weights"] = [_weight(net, rng.uniform(0.5, 2, c)) for _ in range(4)]
        case "depthwise":
            options["weight"] = _filter(net, rng, (c, 1, 3, 3))
            options["groups"] = c
        case "conv" | "grouped":
            groups = 2 if name == "grouped" and c % 2 == 0 else 1
            made = int(rng.choice([2, 4, 6]))
            options = {"weight": _filter(net, rng, (made, c // groups, 3, 3)), "groups": groups}
            if rng.random() < 0.4:
                options["bias"] = _weight(net, rng.standard_normal(made))
            if rng.random() < 0.3 and h > 2:
                options["stride"] = 2
                h, w = (h - 1) // 2 + 1, (w - 1) // 2 + 1
            shape = (n, made, h, w)
        case "add" | "sub" | "mul" | "maximum":
            like = [k for k, s in enumerate(shapes) if s == shape]
            operands = (at, int(rng.choice(like)))
        case "cat":
            like = [k for k, s in enumerate(shapes) if (s[0], *s[2:]) == (n, h, w)]
            operands = (at, *(int(k) for k in rng.choice(like, int(rng.integers(1, 3)))))
            shape = (n, sum(shapes[k][1] for k in operands), h, w)
        case "slice":
            start, step = int(rng.integers(0, c)), int(rng.integers(1, 3))
            options = {"start": start, "step": step}
            shape = (n, len(range(start, c, step)), h, w)
        case "rows":
            options = {"start": int(rng.integers(0, h)), "step": int(rng.choice([1, 2, -1]))}
            rows = len(range(*slice(options["start"], None, options["step"]).indices(h)))
            shape = (n, c, rows, w)
        case "pool" | "average":
            if h < 2 or w < 2:
                return
            shape = (n, c, (h - 2) // 2 + 1, (w - 2) // 2 + 1)
        case "pad":
            shape = (n, c, h + 1, w + 2)
        case "upsample":
            if h * w > 40:
                return
            shape = (n, c, 2 * h, 2 * w)
    if shape[1] > 24:
        return
    net.steps.append((name, operands, options))
    shapes.append(shape)


def _head(net: Network, shapes: list[tuple[int, ...]], at: int, rng: np.random.Generator) -> None:
    """What ends a classifier: features, and a dense layer."""
    n, c, h, w = shapes[at]
    flat = rng.random() < 0.5
    net.steps.append(("flatten" if flat else "mean", (at,), {}))
    features = c * h * w if flat else c
    shapes.append((n, features))
    net.steps.append(("linear", (len(shapes) - 1,), {"weight": _filter(net, rng, (5, features))}))
    shapes.append((n, 5))
    net.results += [len(shapes) - 2, len(shapes) - 1]


def _weight(net: Network, array: np.ndarray) -> int:
    net.weights.append(array.astype("f4"))
    return len(net.weights) - 1


def _filter(net: Network, rng: np.random.Generator, shape: tuple[int, ...]) -> int:
    """Weights: dense, or pruned on the output side."""
    array = rng.standard_normal(shape).astype("f4") / np.float32(np.sqrt(np.prod(shape[1:])))
    if rng.random() < 0.4:
        net.weights.append(array)
    else:
        net.weights.append(from_dense(array, keep=_keep(rng, shape[0], shape[0]), axis=0, static=rng.random() < 0.5))
    return len(net.weights) - 1


def _keep(rng: np.random.Generator, full: int, cap: int) -> np.ndarray:
    """Some channels, at most `cap`: now and then none, or as many as may be."""
    count = int(rng.choice([0, cap, int(rng.integers(0, cap + 1))], p=[0.1, 0.2, 0.7]))
    return np.sort(rng.choice(full, count, replace=False))


def arguments(net: Network, rng: np.random.Generator) -> list[Any]:
    """Operands for one call."""
    made: list[Any] = []
    for source in net.inputs:
        x = rng.standard_normal(source.shape).astype("f4")
        if source.mode == "dense":
            made.append(x)
        elif source.same >= 0:
            other = made[source.same]
            data = np.ascontiguousarray(x[:, other.index])
            made.append(ChannelSparse(data, other.index, other.full, cap=other.cap))
        else:
            kept = from_dense(x, keep=_keep(rng, source.shape[1], source.cap))
            made.append(ChannelSparse(kept.data, kept.index, kept.full, cap=source.cap,
                                      static=source.mode == "static"))
    return made


# --- what steps mean ---------------------------------------------------------------------------------------


def compute(name: str, xs: list[Any], weights: list[Any], options: dict[str, Any]) -> Any:
    """A step on arrays: traced ones, or whole NumPy ones."""
    x = xs[0]
    weight = weights[options["weight"]] if "weight" in options else None
    if name in ("relu", "leaky_relu", "silu", "gelu", "tanh", "sigmoid"):
        return getattr(nn, name)(x)
    if name == "scale":
        return x * weight[:, None, None]
    if name == "divide":
        return x / weight[:, None, None]
    if name == "shift":
        return x + weight[:, None, None]
    if name == "clip":
        return np.clip(x, -0.5, 1.5)
    if name == "batch_norm":
        return nn.batch_norm(x, *[weights[k] for k in options["weights"]])
    if name in ("conv", "grouped", "depthwise"):
        bias = weights[options["bias"]] if "bias" in options else None
        return nn.conv2d(x, weight, bias, stride=options.get("stride", 1), padding=1, groups=options["groups"])
    if name == "in_place":
        y = x * 0.5
        y += x
        y[:, :, 1:] *= 2
        return y
    if name == "add":
        return x + xs[1]
    if name == "sub":
        return x - xs[1]
    if name == "mul":
        return x * xs[1]
    if name == "maximum":
        return np.maximum(x, xs[1])
    if name == "cat":
        return nn.cat(xs, 1)
    if name == "slice":
        return x[:, options["start"] :: options["step"]]
    if name == "rows":
        return x[:, :, options["start"] :: options["step"]]
    if name == "pool":
        return nn.max_pool2d(x, 2)
    if name == "average":
        return nn.avg_pool2d(x, 2)
    if name == "pad":
        return nn.pad(x, (1, 1, 0, 1))
    if name == "upsample":
        return nn.interpolate(x, scale_factor=2)
    if name == "flatten":
        return nn.flatten(x, 1)
    if name == "mean":
        return x.mean(axis=(2, 3))
    if name == "linear":
        return nn.linear(x, weight)
    raise AssertionError(name)


@dataclass
class Masked:
    """A whole array and the channels of it that are there; None: all, and known to be all."""

    array: np.ndarray
    mask: np.ndarray | None


def masked(x: Any) -> Masked:
    if not isinstance(x, ChannelSparse):
        return Masked(x, None)
    mask = np.zeros(x.full, bool)
    mask[x.index] = True
    return Masked(x.to_dense(), mask)


def reference(name: str, xs: list[Masked], weights: list[Any], options: dict[str, Any]) -> Masked:
    """A step on whole arrays: absent channels of the result are 0."""
    dense = [w.to_dense() if isinstance(w, ChannelSparse) else w for w in weights]
    array = compute(name, [x.array for x in xs], dense, options)
    mask = _mask(name, xs, weights, options)
    if mask is not None:
        axis = array.ndim - 1 if name == "linear" else 1
        array = array * mask.reshape([-1 if k == axis else 1 for k in range(array.ndim)])
    return Masked(array, mask)


def _mask(name: str, xs: list[Masked], weights: list[Any], options: dict[str, Any]) -> np.ndarray | None:
    masks = [x.mask for x in xs]
    mask = masks[0]
    match name:
        case "shift" | "sigmoid":
            return None
        case "add" | "sub" | "maximum":
            return None if any(m is None for m in masks) else masks[0] | masks[1]
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
        case "conv" | "grouped" | "depthwise" | "linear":
            weight = masked(weights[options["weight"]]).mask
            groups = options.get("groups", 1)
            if mask is None or groups != len(mask) or groups == 1:
                return weight
            fed = np.repeat(mask, len(masked(weights[options["weight"]]).array) // groups)
            return fed if weight is None else fed & weight
        case "flatten":
            return None if mask is None else np.repeat(mask, int(np.prod(xs[0].array.shape[2:])))
    return mask


# --- the comparison ----------------------------------------------------------------------------------------


class Mismatch(AssertionError):
    """A compiled network that differs from the masked dense computation."""


def check(net: Network, backends: tuple[str, ...] = BACKENDS, calls: int = 3) -> None:
    """Compiles a network and calls it with several sets of live channels. Raises Mismatch."""

    def forward(inputs: Any, weights: Any) -> Any:
        return tuple(net.run(inputs, weights, compute))

    rng = np.random.default_rng(net.seed)
    compiled = {backend: sparsec.jit(forward, backend=backend) for backend in backends}
    fixed = any(s.mode == "static" for s in net.inputs)
    for _ in range(1 if fixed else calls):
        inputs = arguments(net, rng)
        wanted = net.run([masked(x) for x in inputs], net.weights, reference)
        for backend, function in compiled.items():
            try:
                found = function(tuple(inputs), tuple(net.weights))
            except Exception as error:
                raise Mismatch(f"{backend}: {type(error).__name__}: {error}\n{net}") from error
            for k, (got, want) in enumerate(zip(found, wanted, strict=True)):
                if problem := _difference(got, want):
                    raise Mismatch(f"{backend}, result {k}: {problem}\n{net}")
    if any(f.specialisations != 1 for f in compiled.values()):
        raise Mismatch(f"compiled again for other channels\n{net}")


def _difference(got: Any, want: Masked) -> str:
    if isinstance(got, ChannelSparse):
        listed = np.flatnonzero(want.mask) if want.mask is not None else got.index  # known to be 0 elsewhere
        if got.index.tolist() != listed.tolist():
            return f"live channels are {got.index.tolist()}, not {listed.tolist()}"
    elif want.mask is not None and not want.mask.all():
        return f"it is dense, but only {np.flatnonzero(want.mask).tolist()} are live"
    array = np.asarray(got)
    if array.shape != want.array.shape or array.dtype != np.float32:
        return f"it is {array.dtype}{array.shape}, not float32{want.array.shape}"
    limit = 1e-5 * (np.abs(want.array) + np.max(np.abs(want.array), initial=0)) + 2e-6
    wrong = np.argwhere(~(np.abs(array - want.array) <= limit))
    return f"element {wrong[0]} is {array[tuple(wrong[0])]}, not {want.array[tuple(wrong[0])]}" if len(wrong) else ""


def main() -> int:
    parser = argparse.ArgumentParser(description="Random sparse networks against masked dense ones.")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first")
    parser.add_argument("--backends", default=",".join(BACKENDS))
    args = parser.parse_args()
    failed, started = 0, time.monotonic()
    for seed in range(args.seed, args.seed + args.count):
        try:
            check(network(seed), tuple(args.backends.split(",")))
        except Mismatch as error:
            failed += 1
            print(f"--- {error}", flush=True)
        if (seed + 1 - args.seed) % 100 == 0:
            print(f"{seed + 1 - args.seed} networks, {failed} wrong, {time.monotonic() - started:.0f} s", flush=True)
    print(f"{args.count} networks, {failed} wrong")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
