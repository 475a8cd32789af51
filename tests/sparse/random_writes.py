"""Random writes and reads of a sparse array through views and by lists, beside what NumPy does with the whole one.

    python -m tests.sparse.random_writes --count 1000 [--backend cpu]

The backend "passes" interprets what the passes that know of channels leave of a program.
"""

from __future__ import annotations

import argparse
import linecache
import sys
from contextlib import nullcontext
from typing import Any

import numpy as np

import sparsec
from sparsec.sparse import ChannelSparse, from_dense
from tests.sparse.networks import after_passes

Shape = tuple[int, ...]

_STARTS = ("x * 2", "x.copy()", "np.abs(x)", "np.zeros_like(x)", "x - z")


def program(seed: int) -> tuple[str, Shape]:
    """The text of a function of x and z, sparse, and d, dense; and their shape."""
    rng = np.random.default_rng(seed)
    n, c, h, w = shape = tuple(int(rng.choice(sizes)) for sizes in ((1, 2), (1, 2, 4, 5), (1, 2, 3), (1, 2, 3)))
    views = (
        ("y", shape), ("y", shape), ("y", shape), ("y.transpose(0, 2, 3, 1)", (n, h, w, c)),
        (f"y.reshape({n}, {c}, {h * w})", (n, c, h * w)), ("y[-1]", (c, h, w)),
    )
    lines = ["def f(x, z, d):", f"    y = {rng.choice(_STARTS)}"]
    for _ in range(int(rng.integers(1, 5))):
        view, seen = views[rng.integers(len(views))]
        key = _key(rng, seen)
        sign = rng.choice(["=", "=", "=", "+=", "*="])
        lines.append(f"    {view}[{_text(key)}] {sign} {_value(rng, shape, np.empty(seen)[key].shape)}")
    ends = (
        "y", "y", f"y[{_text(_key(rng, shape))}], y", f"y.reshape({n * c}, {h * w}) * 2, y + x",
        "np.concatenate([y, x], 1), np.concatenate([x, y], 2)", "y @ y.transpose(0, 1, 3, 2), y.sum(axis=1)",
    )
    lines.append(f"    return {ends[rng.integers(len(ends))]}")
    return "\n".join([*lines, ""]), shape


def _value(rng: np.random.Generator, shape: Shape, wanted: Shape) -> str:
    """What is written to a region: a part of some array that fits, or a number."""
    for _ in range(20):
        name, key = rng.choice(["x", "y", "z", "d"]), _key(rng, shape)
        found = np.empty(shape)[key].shape
        if found == wanted or (0 not in found and rng.random() < 0.3 and _fits(found, wanted)):
            return f"{name}[{_text(key)}]{rng.choice(['', ' * 2', ' - 1'], p=[0.45, 0.45, 0.1])}"
    return str(rng.choice(["0", "1", "0.5"]))


def _fits(shape: Shape, wanted: Shape) -> bool:
    try:
        return np.broadcast_shapes(shape, wanted) == wanted
    except ValueError:
        return False


def _key(rng: np.random.Generator, shape: Shape) -> tuple[Any, ...]:
    """An index for some of the axes, one list among them at most."""
    found: list[Any] = []
    for size in shape[: int(rng.integers(1, len(shape) + 1))]:
        listed = any(isinstance(k, list) for k in found)
        found.append(_entry(rng, size, int(rng.integers(5 if listed else 7))))
    return tuple(found)


def _entry(rng: np.random.Generator, size: int, kind: int) -> Any:
    match kind:
        case 0:
            return int(rng.integers(-size, size))
        case 1:
            first, last = sorted(int(k) for k in rng.integers(0, size + 1, 2))
            return slice(first, last, int(rng.integers(1, 3)))
        case 2:
            return slice(None, None, -1) if rng.random() < 0.3 else slice(int(rng.integers(size)), None)
        case 5:
            return sorted(int(k) for k in rng.choice(size, int(rng.integers(1, size + 1)), replace=False))
        case 6:
            return [int(k) for k in rng.integers(0, size, int(rng.integers(1, 4)))]
    return slice(None)


def _text(key: tuple[Any, ...]) -> str:
    return "".join(f"{k!r}, " for k in key)


def check(seed: int, backend: str = "passes") -> str:
    """What is wrong with a program, "" for nothing. It is called with two sets of live channels."""
    text, shape = program(seed)
    name = f"<writes {seed}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    names: dict[str, Any] = {"np": np}
    exec(compile(text, name, "exec"), names)
    rng = np.random.default_rng(seed)
    static = bool(rng.random() < 0.3)
    with after_passes() if backend == "passes" else nullcontext():
        compiled = sparsec.jit(names["f"], backend="interp" if backend == "passes" else backend)
        for _ in range(2):
            x, z = (_sparse(rng, shape, static) for _ in range(2))
            d = rng.standard_normal(shape).astype("f4")
            wanted, found = names["f"](x.to_dense(), z.to_dense(), d), compiled(x, z, d)
            for got, want in zip(*(v if isinstance(v, tuple) else (v,) for v in (found, wanted)), strict=True):
                array = np.asarray(got)
                if array.shape != want.shape or not np.allclose(array, want, rtol=1e-5, atol=1e-5):
                    return f"{name}, {backend}, x {x.index.tolist()}, z {z.index.tolist()}\n{text}"
    return ""


def _sparse(rng: np.random.Generator, shape: Shape, static: bool) -> ChannelSparse:
    keep = np.flatnonzero(rng.random(shape[1]) < 0.5)
    return from_dense(rng.standard_normal(shape).astype("f4"), keep=keep, static=static)


def main() -> int:
    parser = argparse.ArgumentParser(description="Random writes and reads of sparse arrays.")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first")
    parser.add_argument("--backend", default="passes")
    args = parser.parse_args()
    wrong = [found for seed in range(args.seed, args.seed + args.count) if (found := check(seed, args.backend))]
    print(*wrong, f"{args.count} programs, {len(wrong)} wrong", sep="\n")
    return min(len(wrong), 1)


if __name__ == "__main__":
    sys.exit(main())
