"""Random networks over sparse and dense images, and the masked dense computation that each must equal.

A network is a list of steps over a growing list of values: chains, residual sums, products, joins, grouped and
depthwise convolutions, pooling, in-place writes. The reference runs the same steps on whole arrays and keeps, by
rules of its own, a mask of the channels that are there; so values and indexes are both checked.

    python -m tests.sparse.networks --count 2000 --seed 0
    python -m tests.sparse.networks --count 2000 --backends passes      # what the passes leave, interpreted
    python -m tests.sparse.networks --count 2000 --jobs 16 --backends opencl --steps 3     # less to compile
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np

import sparsec
from sparsec import compiler
from sparsec.ir.graph import Func
from sparsec.passes.base import run_pipeline
from sparsec.passes.pipeline import DEFAULT
from sparsec.sparse import ChannelSparse, from_dense
from tests.sparse.steps import FILLED, KEPT, Masked, compute, live, masked

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
    dtype: str = "f4"

    def run(self, values: list[Any], weights: list[Any], step: Any) -> list[Any]:
        values = list(values)
        for name, operands, options in self.steps:
            values.append(step(name, [values[k] for k in operands], weights, options))
        return [values[k] for k in self.results]

    def __str__(self) -> str:
        lines = [f"seed {self.seed}, {self.dtype}; inputs: " + "; ".join(map(str, self.inputs))]
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


#: Steps by what they do with channels, and how often: keep them, fill them all, anything else.
_KINDS: tuple[tuple[float, tuple[str, ...]], ...] = (
    (0.4, (*KEPT, "relu", "relu", "scale", "divide", "dropout", "excite", "batch_norm", "batch_norm",
           "batch_norm_trained", "depthwise", "depthwise")),
    (0.07, (*FILLED, "shift", "batch_norm_all")),
    (0.53, ("conv", "conv", "conv", "conv", "grouped", "grouped", "depthwise", "add", "add", "add", "add", "sub",
            "sub", "mul", "mul", "mul", "maximum", "cat", "cat", "cat", "stack", "slice", "listed", "part", "rows",
            "pool", "average", "adaptive", "adaptive_max", "pad", "upsample")),
)


def network(seed: int, steps: int = 8) -> Network:
    """The network of a seed, with at most so many steps before its head."""
    rng = np.random.default_rng(seed)
    net = Network(seed, dtype="f8" if rng.random() < 0.1 else "f4")
    batch, size = int(rng.integers(1, 3)), int(rng.integers(3, 7))
    channels = int(rng.choice([1, 2, 4, 6, 6, 8, 8]))
    if rng.random() < 0.15:  # as large as vectors of outputs ask for
        batch, size, channels = 1, int(rng.integers(6, 10)), int(rng.choice([8, 16, 20, 32, 40]))
    for k in range(int(rng.integers(1, 4))):
        shape = (batch, channels, size, size)
        mode = str(rng.choice(["static", "dynamic", "dynamic", "dynamic", "dense"] if k else ["static", "dynamic"]))
        sharing = [j for j, s in enumerate(net.inputs) if s.mode == mode == "dynamic" and s.same < 0]
        if sharing and rng.random() < 0.3:
            net.inputs.append(Source(shape, mode, net.inputs[sharing[0]].cap, sharing[0]))
        else:
            least = channels // 2 if rng.random() < 0.7 else 0
            net.inputs.append(Source(shape, mode, int(rng.integers(least, channels)) + 1))
    shapes: list[tuple[int, ...]] = [s.shape for s in net.inputs]
    for _ in range(int(rng.integers(2, steps + 1))):
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
    """One more step, if there is room for it."""
    at = int(rng.integers(max(0, len(shapes) - 3), len(shapes)))
    n, c, h, w = shapes[at]
    kind = int(rng.choice(len(_KINDS), p=[share for share, _ in _KINDS]))
    name = str(rng.choice(_KINDS[kind][1]))
    options: dict[str, Any] = {}
    operands: tuple[int, ...] = (at,)
    shape: tuple[int, ...] | None = shapes[at]
    match name:
        case "scale" | "divide" | "shift":
            options["weight"] = _weight(net, rng.uniform(0.5, 2, c))
        case "dropout":
            options["weight"] = _weight(net, rng.random((n, c, h, w)) < 0.7)
        case "excite":
            options["weight"] = _filter(net, rng, (c, c))
        case "batch_norm" | "batch_norm_all" | "batch_norm_trained":
            options["weights"] = [_weight(net, rng.uniform(0.5, 2, c)) for _ in range(4)]
        case "depthwise" | "conv" | "grouped":
            options, shape = _convolution(net, rng, name, shapes[at])
        case "add" | "sub" | "mul" | "maximum":
            others = [k for k, s in enumerate(shapes) if s == shape and k != at]
            operands = (at, int(rng.choice(others)) if others and rng.random() < 0.9 else at)
        case "cat":
            like = [k for k, s in enumerate(shapes) if (s[0], *s[2:]) == (n, h, w)]
            operands = (at, *(int(k) for k in rng.choice(like, int(rng.integers(1, 3)))))
            shape = (n, sum(shapes[k][1] for k in operands), h, w)
        case "stack":
            like = [k for k, s in enumerate(shapes) if (*s[:2], s[3]) == (n, c, w)]
            operands = (at, int(rng.choice(like)))
            shape = (n, c, sum(shapes[k][2] for k in operands), w)
        case "slice":
            options = {"start": int(rng.integers(0, c)), "step": int(rng.integers(1, 3))}
            shape = (n, len(range(options["start"], c, options["step"])), h, w)
        case "listed":
            options["listed"] = sorted(int(k) for k in rng.choice(c, int(rng.integers(1, c + 1)), replace=False))
            shape = (n, len(options["listed"]), h, w)
        case "part":
            options = {"start": int(rng.integers(0, c)), "value": int(rng.integers(0, 2))}
        case "rows":
            options = {"start": int(rng.integers(0, h)), "step": int(rng.choice([1, 2, -1]))}
            shape = (n, c, len(range(*slice(options["start"], None, options["step"]).indices(h))), w)
        case "pool" | "average":
            options = {"stride": int(rng.integers(1, 3)), "padding": int(rng.integers(0, 2))}
            extent = [(d + 2 * options["padding"] - 2) // options["stride"] + 1 for d in (h, w)]
            shape = (n, c, *extent) if min(extent) > 0 else None
        case "adaptive" | "adaptive_max":
            options["size"] = tuple(int(rng.integers(1, d + 1)) for d in (h, w))
            shape = (n, c, *options["size"])
        case "pad":
            options["mode"] = str(rng.choice(["constant", "constant", "replicate", "reflect", "circular"]))
            shape = (n, c, h + 1, w + 2) if min(h, w) > 1 else None
        case "upsample":
            options["mode"] = str(rng.choice(["nearest", "bilinear"]))
            shape = (n, c, 2 * h, 2 * w) if h * w <= 40 else None
    if shape is None or shape[1] > 24 or shape[2] * shape[3] > 160:
        return
    net.steps.append((name, operands, options))
    shapes.append(shape)


def _convolution(
    net: Network, rng: np.random.Generator, name: str, shape: tuple[int, ...]
) -> tuple[dict[str, Any], tuple[int, ...] | None]:
    """The options of a convolution and the shape of its result; None where the window does not fit."""
    n, c, h, w = shape
    groups = c if name == "depthwise" else 2 if name == "grouped" and c % 2 == 0 else 1
    outputs = [2, 4, 6, 16, c, c] if c > 8 else [2, 4, 6, c, c]
    made = c * int(rng.choice([1, 1, 2])) if name == "depthwise" else int(rng.choice(outputs))
    made += made % groups
    size = int(rng.choice([1, 3, 3]))
    options: dict[str, Any] = {
        "stride": 1 if rng.random() < 0.8 else 2, "padding": int(rng.choice([size // 2] * 4 + [0, 2])),
        "dilation": 1 if rng.random() < 0.8 else 2, "groups": groups,
    }
    reach = options["dilation"] * (size - 1)
    extent = [(d + 2 * options["padding"] - reach - 1) // options["stride"] + 1 for d in (h, w)]
    if min(extent) < 1:
        return {}, None
    options["weight"] = _filter(net, rng, (made, c // groups, size, size))
    if rng.random() < 0.4:
        options["bias"] = _weight(net, rng.standard_normal(made))
    return options, (n, made, *extent)


def _head(net: Network, shapes: list[tuple[int, ...]], at: int, rng: np.random.Generator) -> None:
    """What ends a classifier: features, and a dense layer."""
    n, c, h, w = shapes[at]
    flat = rng.random() < 0.5
    net.steps.append(("flatten" if flat else "mean", (at,), {}))
    features = c * h * w if flat else c
    shapes.append((n, features))
    options = {"weight": _filter(net, rng, (5, features))}
    if rng.random() < 0.5:
        options["bias"] = _weight(net, rng.standard_normal(5))
    net.steps.append(("linear", (len(shapes) - 1,), options))
    shapes.append((n, 5))
    net.results += [len(shapes) - 2, len(shapes) - 1]


def _weight(net: Network, array: np.ndarray) -> int:
    net.weights.append(array if array.dtype == np.bool_ else array.astype(net.dtype))
    return len(net.weights) - 1


def _filter(net: Network, rng: np.random.Generator, shape: tuple[int, ...]) -> int:
    """Weights: dense, or pruned on the output side, now and then on the input side."""
    array = (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(net.dtype)
    if rng.random() < 0.4:
        net.weights.append(array)
    else:
        axis = 1 if rng.random() < 0.15 else 0
        keep = _keep(rng, shape[axis], shape[axis])
        net.weights.append(from_dense(array, keep=keep, axis=axis, static=rng.random() < 0.5))
    return len(net.weights) - 1


def _keep(rng: np.random.Generator, full: int, cap: int) -> np.ndarray:
    """Some channels, at most `cap`: now and then none, one, or as many as may be."""
    some = int(rng.integers((cap + 1) // 2, cap + 1))
    count = int(rng.choice([0, min(1, cap), cap, some], p=[0.05, 0.08, 0.2, 0.67]))
    return np.sort(rng.choice(full, count, replace=False))


def arguments(net: Network, rng: np.random.Generator) -> list[Any]:
    """Operands for one call."""
    made: list[Any] = []
    for source in net.inputs:
        x = rng.standard_normal(source.shape).astype(net.dtype)
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


def _again(weight: Any, rng: np.random.Generator) -> Any:
    """A weight for one call: of those with a run-time index some of the rows."""
    if not isinstance(weight, ChannelSparse) or weight.static or rng.random() < 0.5:
        return weight
    stored = np.flatnonzero(rng.random(len(weight.index)) < 0.7)
    data = np.ascontiguousarray(np.take(weight.data, stored, weight.axis))
    return ChannelSparse(data, weight.index[stored], weight.full, weight.axis, cap=weight.cap)


def reference(name: str, xs: list[Masked], weights: list[Any], options: dict[str, Any]) -> Masked:
    """A step on whole arrays: absent channels of the result are 0."""
    dense = [w.to_dense() if isinstance(w, ChannelSparse) else w for w in weights]
    array = compute(name, [x.array for x in xs], dense, options)
    mask = live(name, xs, weights, options)
    if mask is not None:
        axis = array.ndim - 1 if name == "linear" else 1
        array = array * mask.reshape([-1 if k == axis else 1 for k in range(array.ndim)])
    return Masked(array, mask)


# --- the comparison ----------------------------------------------------------------------------------------


@contextmanager
def after_passes() -> Iterator[None]:
    """Inside, the backend interp interprets what the passes that know of channels leave of a function: their check
    without compilation."""
    plain, channels = compiler.GraphRunner, DEFAULT[: [p.name for p in DEFAULT].index("resolve-views")]

    def runner(func: Func, made: frozenset[int] = frozenset()) -> compiler.GraphRunner:
        return plain(run_pipeline(func, channels), made)

    compiler.GraphRunner = runner  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        compiler.GraphRunner = plain  # type: ignore[misc]


class Mismatch(AssertionError):
    """A compiled network that differs from the masked dense computation."""


def check(
    net: Network, backends: tuple[str, ...] = BACKENDS, calls: int = 3, tally: Tally | None = None
) -> None:
    """Compiles a network and calls it with several sets of live channels. Raises Mismatch."""
    plan = replace(net, inputs=[], weights=[])  # what a function holds counts as read: no arrays

    def forward(inputs: Any, weights: Any) -> Any:
        return tuple(plan.run(inputs, weights, compute))

    rng = np.random.default_rng(net.seed)
    compiled = {backend: sparsec.jit(forward, backend=backend) for backend in backends}
    fixed = any(s.mode == "static" for s in net.inputs)
    for _ in range(1 if fixed else calls):
        inputs, weights = arguments(net, rng), [_again(w, rng) for w in net.weights]
        step = reference if tally is None else tally.counted
        wanted = net.run([masked(x) for x in inputs], weights, step)
        for backend, function in compiled.items():
            try:
                found = function(tuple(inputs), tuple(weights))
            except Exception as error:
                raise Mismatch(f"{backend}: {type(error).__name__}: {error}\n{net}") from error
            if any(map(_difference, found, wanted)):
                bounds = exact(net, inputs, weights)
                for k, (got, (want, unsure)) in enumerate(zip(found, bounds, strict=True)):
                    if problem := _difference(got, want, unsure):
                        raise Mismatch(f"{backend}, result {k}: {problem}\n{net}")
    if any(f.specialisations != 1 for f in compiled.values()):
        raise Mismatch(f"compiled again for other channels\n{net}")


def exact(net: Network, inputs: list[Any], weights: list[Any], samples: int = 4) -> list[tuple[Masked, float]]:
    """What the results would be if all steps were computed in float64, and how far each may be off for no other
    reason than that every step rounds: by how much it moves when what each step reads is off by two units in the
    last place. A channel that hardly varies, for one, is divided by its small deviation, and with it its rounding."""
    rng = np.random.default_rng(net.seed)

    def run(units: float) -> list[Masked]:
        def moved(x: Masked) -> Masked:
            off = units * float(np.finfo(net.dtype).eps)
            return replace(x, array=x.array * (1 + off * rng.uniform(-1, 1, x.array.shape)))

        def step(*args: Any) -> Masked:
            return moved(reference(*args))

        return net.run([moved(masked(_wide(x))) for x in inputs], [_wide(w) for w in weights], step)

    sure = run(0)
    unsure = [0.0] * len(sure)
    for _ in range(samples):
        unsure = [max(u, float(np.max(np.abs(x.array - y.array), initial=0)))
                  for u, x, y in zip(unsure, run(2), sure, strict=True)]
    return [(replace(s, array=s.array.astype(net.dtype)), u) for s, u in zip(sure, unsure, strict=True)]


def _wide(x: Any) -> Any:
    """x in float64; masks stay as they are."""
    if isinstance(x, ChannelSparse):
        return ChannelSparse(_wide(x.data), x.index, x.full, x.axis, cap=x.cap, static=x.static)
    return x if x.dtype == np.bool_ else x.astype(np.float64)


def _difference(got: Any, want: Masked, unsure: float = 0) -> str:
    """What is wrong with a result, or nothing. unsure: how far rounding alone may move its elements."""
    if isinstance(got, ChannelSparse):
        listed = np.flatnonzero(want.mask) if want.mask is not None else got.index  # known to be 0 elsewhere
        if got.index.tolist() != listed.tolist():
            return f"live channels are {got.index.tolist()}, not {listed.tolist()}"
    elif want.mask is not None and not want.mask.all():
        return f"it is dense, but only {np.flatnonzero(want.mask).tolist()} are live"
    array = np.asarray(got)
    if array.shape != want.array.shape or array.dtype != want.array.dtype:
        return f"it is {array.dtype}{array.shape}, not {want.array.dtype}{want.array.shape}"
    limit = 1e-5 * (np.abs(want.array) + np.max(np.abs(want.array), initial=0)) + 2e-6 + unsure
    wrong = np.argwhere(~(np.abs(array - want.array) <= limit))
    return f"element {wrong[0]} is {array[tuple(wrong[0])]}, not {want.array[tuple(wrong[0])]}" if len(wrong) else ""


class Tally(Counter[tuple[str, str]]):
    """How often networks had what: (feature, form of it) of every step that the reference ran."""

    def counted(self, name: str, xs: list[Masked], weights: list[Any], options: dict[str, Any]) -> Masked:
        """`reference`, counted."""
        self["step", name] += 1
        self.update(("live channels", _amount(x.mask)) for x in xs)
        if name in ("add", "sub", "mul", "maximum", "stack"):
            self[f"overlap of {name}", _overlap(*(x.mask for x in xs))] += 1
        if "weight" in options and name in ("conv", "grouped", "depthwise", "linear", "excite"):
            self[f"weights of {name}", _pruned(weights[options["weight"]])] += 1
        found = reference(name, xs, weights, options)
        if name == "mul" and found.mask is not None and not found.mask.any():
            self["overlap of mul", "result without channels"] += 1
        return found

    def inputs(self, net: Network) -> None:
        """Counts what a network takes."""
        self.update(("input", "index of another" if s.same >= 0 else s.mode) for s in net.inputs)
        self["dtype", net.dtype] += 1

    def __str__(self) -> str:
        rows: dict[str, list[str]] = {}
        for (feature, form), count in sorted(self.items()):
            rows.setdefault(feature, []).append(f"{form} {count}")
        return "\n".join(f"{feature}: {', '.join(forms)}" for feature, forms in rows.items())


def _amount(mask: np.ndarray | None) -> str:
    if mask is None:
        return "dense"
    count = int(mask.sum())
    return "none" if not count else "all" if count == len(mask) else "one" if count == 1 else "some"


def _overlap(a: np.ndarray | None, b: np.ndarray | None) -> str:
    if a is None or b is None:
        return "two dense" if a is b else "with dense"
    if not a.any() or not b.any():
        return "one is empty"
    if (a == b).all():
        return "equal"
    return "disjoint" if not (a & b).any() else "nested" if not (a & ~b).any() or not (b & ~a).any() else "partial"


def _pruned(weight: Any) -> str:
    if not isinstance(weight, ChannelSparse):
        return "dense"
    return f"{'static' if weight.static else 'run-time'} {'outputs' if weight.axis == 0 else 'inputs'}"


def portion(seeds: range, steps: int, backends: tuple[str, ...]) -> tuple[list[str], Tally]:
    """Checks the networks of some seeds: what is wrong, and what they had. The backend "passes" is interp after
    passes."""
    wrong, tally = [], Tally()
    for seed in seeds:
        net = network(seed, steps)
        tally.inputs(net)
        for backend in backends:
            try:
                with after_passes() if backend == "passes" else nullcontext():
                    check(net, ("interp" if backend == "passes" else backend,), tally=tally)
            except Mismatch as error:
                wrong.append(str(error))
    return wrong, tally


def main() -> int:
    parser = argparse.ArgumentParser(description="Random sparse networks against masked dense ones.")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first")
    parser.add_argument("--steps", type=int, default=8, help="of a network, at most")
    parser.add_argument("--backends", default=",".join(BACKENDS))
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    args = parser.parse_args()
    seeds = range(args.seed, args.seed + args.count)
    portions = [seeds[k : k + 10] for k in range(0, args.count, 10)]
    done, failed, started, tally = 0, 0, time.monotonic(), Tally()
    work = partial(portion, steps=args.steps, backends=tuple(args.backends.split(",")))
    with get_context("spawn").Pool(args.jobs) if args.jobs > 1 else nullcontext() as pool:
        found = pool.imap_unordered(work, portions) if pool is not None else map(work, portions)
        for wrong, counted in found:
            done, failed = min(done + 10, args.count), failed + len(wrong)
            tally.update(counted)
            print(*(f"--- {each}\n" for each in wrong), end="", sep="")
            if done % 100 == 0:
                print(f"{done} networks, {failed} wrong, {time.monotonic() - started:.0f} s", flush=True)
    print(tally)
    print(f"{args.count} networks, {failed} wrong")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
