"""The post-processing of a one-stage detector in plain NumPy, then compiled, then compared.

The head is that of an anchor-based detector on an 800x1333 image: five levels with strides 8 to 128,
nine anchors per location, 201,600 anchors in all. Every stage below is ordinary NumPy with views, slices
on the left-hand side and mask writes; nothing in it knows about sparsec.

    python -m examples.detection                  # NumPy, cpu and opencl
    python -m examples.detection --backends cpu
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

IMAGE = (800, 1333)
PADDED = (800, 1344)  # to a multiple of 32, as a backbone needs it
STRIDES = (8, 16, 32, 64, 128)
LEVELS = tuple((math.ceil(PADDED[0] / s), math.ceil(PADDED[1] / s)) for s in STRIDES)  # feature sizes
RATIOS = (0.5, 1.0, 2.0)
SCALES = (4.0, 4.0 * 2 ** (1 / 3), 4.0 * 2 ** (2 / 3))
PER_CELL = len(RATIOS) * len(SCALES)
TOTAL = sum(h * w * PER_CELL for h, w in LEVELS)
IOU_LEVEL = 2  # the level whose boxes are compared with the ground truth


# --- the stages: plain NumPy -------------------------------------------------------------------------


def level_spans():
    """The rows that each level owns in an array of all anchors."""
    spans, start = [], 0
    for height, width in LEVELS:
        spans.append((start, start + height * width * PER_CELL))
        start += height * width * PER_CELL
    return spans


def base_anchors(ratios, scales):
    """Anchors around the origin, (levels, ratios * scales, 4)."""
    root = np.sqrt(ratios)
    base = np.empty((len(STRIDES), PER_CELL, 4), dtype=np.float32)
    table = base.reshape(len(STRIDES), len(RATIOS), len(SCALES), 4)
    sides = table[..., 2:]
    for level, stride in enumerate(STRIDES):
        sides[level] = (scales * (0.5 * stride))[:, None]
    sides[..., 0] /= root[:, None]
    sides[..., 1] *= root[:, None]
    table[..., :2] = -sides
    return base


def grid_anchors(base):
    """The base anchors at every location of every level, (anchors, 4)."""
    anchors = np.empty((TOTAL, 4), dtype=base.dtype)
    for level, (start, stop) in enumerate(level_spans()):
        height, width = LEVELS[level]
        grid = anchors[start:stop].reshape(height, width, PER_CELL, 4)
        grid[:] = base[level]
        grid[..., 0::2] += np.arange(width, dtype=base.dtype)[None, :, None, None] * STRIDES[level]
        grid[..., 1::2] += np.arange(height, dtype=base.dtype)[:, None, None, None] * STRIDES[level]
    return anchors


def valid_flags():
    """True for the anchors whose location lies in the image, not in its padding."""
    flags = np.zeros(TOTAL, dtype=bool)
    for level, (start, stop) in enumerate(level_spans()):
        height, width = LEVELS[level]
        valid_h = min(math.ceil(IMAGE[0] / STRIDES[level]), height)
        valid_w = min(math.ceil(IMAGE[1] / STRIDES[level]), width)
        flags[start:stop].reshape(height, width, PER_CELL)[:valid_h, :valid_w] = True
    return flags


def decode(anchors, deltas):
    """Boxes (x1, y1, x2, y2) from anchors and predicted (dx, dy, dw, dh)."""
    boxes = np.empty_like(anchors)
    low, high = boxes[:, :2], boxes[:, 2:]
    sides = anchors[:, 2:] - anchors[:, :2]
    limit = math.log(1000 / 16)
    np.clip(deltas[:, 2:], -limit, limit, out=high)
    np.exp(high, out=high)
    high *= sides
    high *= 0.5
    centre = (anchors[:, :2] + anchors[:, 2:]) * 0.5
    centre += deltas[:, :2] * sides
    np.subtract(centre, high, out=low)
    high += centre
    return boxes


def clip(boxes):
    """Move corners outside of the image to its border, in place."""
    xs, ys = boxes[:, 0::2], boxes[:, 1::2]
    np.clip(xs, 0, IMAGE[1], out=xs)
    np.clip(ys, 0, IMAGE[0], out=ys)


def threshold(scores, flags, thr=0.3):
    """Zero low scores and those of invalid anchors, in place; how many are left on each level."""
    scores[~flags] = 0
    scores[scores < thr] = 0
    left = np.empty(len(LEVELS), dtype=np.int64)
    for level, (start, stop) in enumerate(level_spans()):
        left[level] = np.count_nonzero(scores[start:stop])
    return left


def iou(boxes, truth):
    """Intersection over union of one level's boxes with the ground truth; the best match of each box."""
    start, stop = level_spans()[IOU_LEVEL]
    level = boxes[start:stop]
    wh = np.minimum(level[:, None, 2:], truth[None, :, 2:])
    wh -= np.maximum(level[:, None, :2], truth[None, :, :2])
    wh[wh < 0] = 0
    overlap = wh[..., 0] * wh[..., 1]
    side, truth_side = level[:, 2:] - level[:, :2], truth[:, 2:] - truth[:, :2]
    union = (side[:, 0] * side[:, 1])[:, None] + truth_side[:, 0] * truth_side[:, 1]
    union -= overlap
    union[union < 1e-6] = 1e-6
    overlap /= union
    return overlap, overlap.max(axis=1)


def postprocess(ratios, scales, deltas, scores, truth):
    """All stages as one program."""
    boxes = decode(grid_anchors(base_anchors(ratios, scales)), deltas)
    clip(boxes)
    left = threshold(scores, valid_flags())
    overlap, best = iou(boxes, truth)
    return boxes, left, overlap, best


# --- inputs ------------------------------------------------------------------------------------------


def head_outputs(seed: int = 0) -> dict[str, np.ndarray]:
    """What the network and the annotation would give: seeded, the same on every machine."""
    rng = np.random.default_rng(seed)
    deltas = rng.normal(0.0, 0.5, (TOTAL, 4)).astype(np.float32)
    deltas[::1009, 2] = 9.0  # sizes beyond the limit
    truth = np.empty((100, 4), dtype=np.float32)
    truth[:, 0] = rng.uniform(0, 0.8 * IMAGE[1], 100)
    truth[:, 1] = rng.uniform(0, 0.8 * IMAGE[0], 100)
    truth[:, 2:] = truth[:, :2] + rng.uniform(16, 200, (100, 2))
    return {
        "ratios": np.array(RATIOS, dtype=np.float32),
        "scales": np.array(SCALES, dtype=np.float32),
        "deltas": deltas,
        "scores": rng.beta(0.5, 4.0, TOTAL).astype(np.float32),
        "truth": truth,
    }


@dataclass(frozen=True)
class Stage:
    """One function and its arguments; `pixels`: how far values behind an `exp` may be off (0: not at all)."""

    fn: Callable[..., Any]
    args: tuple[np.ndarray, ...]
    pixels: float = 0.0

    @property
    def name(self) -> str:
        return self.fn.__name__


def make_stages() -> list[Stage]:
    """Every stage with the arguments that it has in the pipeline."""
    data = head_outputs()
    base = base_anchors(data["ratios"], data["scales"])
    anchors = grid_anchors(base)
    decoded = decode(anchors, data["deltas"])
    clipped = decoded.copy()
    clip(clipped)
    whole = tuple(data[name] for name in ("ratios", "scales", "deltas", "scores", "truth"))
    return [
        Stage(base_anchors, whole[:2]),
        Stage(grid_anchors, (base,)),
        Stage(valid_flags, ()),
        Stage(decode, (anchors, data["deltas"]), pixels=1e-3),
        Stage(clip, (decoded,)),
        Stage(threshold, (data["scores"], valid_flags())),
        Stage(iou, (clipped, data["truth"])),
        Stage(postprocess, whole, pixels=1e-3),
    ]


# --- comparing, timing, reporting --------------------------------------------------------------------


def kernel_count(compiled: Any, args: tuple[np.ndarray, ...]) -> int:
    """How many kernels one call runs."""
    return len(compiled.lower(*args).kernels)


def fresh(args: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    return tuple(arg.copy() for arg in args)


def arrays_of(result: Any) -> list[np.ndarray]:
    if result is None:
        return []
    return list(result) if isinstance(result, tuple) else [result]


def ulps(got: np.ndarray, want: np.ndarray) -> int:
    """The largest distance of float32 values, in representable numbers between them."""
    ordered = []
    for array in (got, want):
        bits = np.ascontiguousarray(array).view(np.int32).astype(np.int64)
        ordered.append(np.where(bits < 0, -(bits & 0x7FFFFFFF), bits))
    return int(np.abs(ordered[0] - ordered[1]).max(initial=0))


def difference(got: list[np.ndarray], want: list[np.ndarray], pixels: float) -> tuple[bool, str]:
    """Whether the values agree, and how far apart they are."""
    if len(got) != len(want):
        return False, "NO: another number of results"
    agrees, worst, distance = True, 0.0, 0
    for one, other in zip(got, want):
        if (type(one), one.dtype, one.shape) != (type(other), other.dtype, other.shape):
            return False, f"NO: {one.dtype}{one.shape} for {other.dtype}{other.shape}"
        differs = one != other
        if not differs.any():
            continue
        if other.dtype != np.float32:
            return False, f"NO: {int(differs.sum())} {other.dtype} values"
        off = np.abs(one[differs] - other[differs])
        agrees &= bool((off <= pixels).all())  # false for NaN, which no stage gives
        worst = float(np.max([worst, off.max()]))
        distance = max(distance, ulps(one, other))
    if distance == 0:
        return True, "all equal"
    return agrees, f"{'' if agrees else 'NO: '}{worst:.1e}, {distance} ulp"


def best_ms(fn: Callable[..., Any], args: tuple[np.ndarray, ...], budget: float = 0.3) -> float:
    """The fastest of several calls, in milliseconds; what a stage writes in place, it may write again."""
    fn(*args)
    best, spent, calls = math.inf, 0.0, 0
    while calls < 3 or (spent < budget and calls < 200):
        start = time.perf_counter()
        fn(*args)
        took = time.perf_counter() - start
        best, spent, calls = min(best, took), spent + took, calls + 1
    return best * 1e3


def progress(text: str, end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)


def run_stage(stage: Stage, backends: list[str], jit: Callable[..., Any] | None) -> tuple[bool, list[str]]:
    """Whether every backend agrees with NumPy, and the stage's line of the table."""
    want_args = fresh(stage.args)
    want = [*arrays_of(stage.fn(*want_args)), *want_args]  # what the call writes counts as well
    numpy_ms = best_ms(stage.fn, want_args)
    agrees, equal, times, kernels = True, [], [f"{numpy_ms:.2f}"], ""
    for backend in backends if jit is not None else ():
        progress(f"  {backend}: compiling ...", end="")
        start = time.perf_counter()
        compiled = jit(stage.fn, backend=backend)
        args = fresh(stage.args)
        got = [*arrays_of(compiled(*args)), *args]
        progress(f" {time.perf_counter() - start:.2f} s")
        same, text = difference(got, want, stage.pixels)
        agrees &= same
        equal.append(text)
        if not kernels:
            kernels = str(kernel_count(compiled, args))
        ms = best_ms(compiled, args)
        times += [f"{ms:.2f}", f"{numpy_ms / ms:.2f}x"] if backend == "cpu" else [f"{ms:.2f}"]
    if len(set(equal)) == 1:
        equal = equal[:1]
    return agrees, [stage.name, " / ".join(equal), kernels, *times]


def show_table(header: list[str], rows: list[list[str]]) -> None:
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        cells = [
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ]
        print("  ".join(cells).rstrip())


def main(argv: list[str] | None = None) -> int:
    """Run, compare and report; 0 if every value agrees."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backends", default="cpu,opencl", help="cpu, opencl, interp; empty: NumPy alone")
    backends = [name for name in parser.parse_args(argv).backends.split(",") if name]

    jit = None
    if backends:
        import sparsec

        jit = sparsec.jit

    sizes = ", ".join(f"{h}x{w}" for h, w in LEVELS)
    print(
        f"image {IMAGE[0]}x{IMAGE[1]}, levels {sizes}, {PER_CELL} anchors each: {TOTAL} anchors\n", flush=True
    )
    stages = make_stages()
    header = ["stage", f"values ({' / '.join(backends)})", "kernels", "NumPy ms"]
    for backend in backends:
        header += [f"{backend} ms", "ratio"] if backend == "cpu" else [f"{backend} ms"]
    rows, failed = [], []
    for number, stage in enumerate(stages, 1):
        progress(f"[{number}/{len(stages)}] {stage.name}")
        agrees, row = run_stage(stage, backends, jit)
        rows.append(row)
        if not agrees:
            failed.append(stage.name)
    progress("")
    show_table(header, rows)
    if jit is None:
        return 0
    print("\nvalues: results and arguments after the call, against NumPy; behind an exp: largest difference")
    print("\nto see what a stage becomes, level by level:")
    spec = f"f32[{TOTAL},4], f32[{TOTAL},4]"
    print(f'  sparsec dump examples/detection.py:decode --spec "{spec}" --stage all')
    if failed:
        print(f"\nDIFFERENT FROM NUMPY: {', '.join(failed)}")
        return 1
    print("\nevery value agrees with NumPy")
    return 0


if __name__ == "__main__":
    sys.exit(main())
