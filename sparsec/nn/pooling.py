"""Pooling: windows of an image, channel by channel."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsec.nn.program import constant, image, op, pair, wrong

__all__ = ["adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d", "max_pool2d"]

Pair = tuple[int, int]


def max_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Any:
    """The largest element of each window; what lies around the image is left out."""
    x = image(input, "max_pool2d")
    kernel, steps, before = _sizes("max_pool2d", kernel_size, stride, padding)
    spread = pair(dilation, "dilation")
    size = _counts("max_pool2d", x, kernel, steps, before, spread, ceil_mode)
    return op("max_pool2d", x, kernel=kernel, stride=steps, before=before, dilation=spread, size=size)


def avg_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Any:
    """The mean of each window. The zeros around the image count as elements, or with count_include_pad=False not."""
    x = image(input, "avg_pool2d")
    kernel, steps, before = _sizes("avg_pool2d", kernel_size, stride, padding)
    size = _counts("avg_pool2d", x, kernel, steps, before, (1, 1), ceil_mode)
    total = op("sum_pool2d", x, kernel=kernel, stride=steps, before=before, dilation=(1, 1), size=size)
    if divisor_override is not None:
        if not divisor_override:
            raise wrong("avg_pool2d: the divisor must not be zero")
        return total / divisor_override
    counts = [
        _elements(int(x.shape[2 + a]), size[a], kernel[a], steps[a], before[a], count_include_pad) for a in (0, 1)
    ]
    if all((c == c[0]).all() for c in counts):
        return total / float(counts[0][0] * counts[1][0])
    return total / constant(total, np.outer(*counts).astype(total.dtype))


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """The means of `output_size` windows that divide the image as evenly as whole elements allow; None: as many as
    there are elements."""
    x, size = _shares("adaptive_avg_pool2d", input, output_size)
    if size == (1, 1):
        return np.mean(x, axis=(2, 3), keepdims=True)
    total = op("adaptive_sum_pool2d", x, size=size)
    counts = [
        np.array([-(-(k + 1) * int(e) // n) - k * int(e) // n for k in range(n)])
        for e, n in zip(x.shape[2:], size, strict=True)
    ]
    if all((c == c[0]).all() for c in counts):
        return total / float(counts[0][0] * counts[1][0])
    return total / constant(total, np.outer(*counts).astype(total.dtype))


def adaptive_max_pool2d(input: Any, output_size: Any) -> Any:
    """The largest elements of the windows of `adaptive_avg_pool2d`."""
    x, size = _shares("adaptive_max_pool2d", input, output_size)
    return np.max(x, axis=(2, 3), keepdims=True) if size == (1, 1) else op("adaptive_max_pool2d", x, size=size)


def _shares(name: str, input: Any, output_size: Any) -> tuple[Any, Pair]:
    """The image, and into how many windows it is divided along each axis."""
    x = image(input, name)
    given = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,) * 2
    extent = tuple(int(d) for d in x.shape[2:])
    size = pair(tuple(e if g is None else g for g, e in zip(given, extent, strict=True)), "output_size")
    if min(size) < 1 or min(extent) < 1:
        raise wrong(f"{name}: {size} windows over an image of {extent}")
    return x, size


def _sizes(name: str, kernel_size: Any, stride: Any, padding: Any) -> tuple[Pair, Pair, Pair]:
    kernel = pair(kernel_size, "kernel_size")
    steps = kernel if stride is None else pair(stride, "stride")
    before = pair(padding, "padding")
    if min(*kernel, *steps) < 1 or any(b < 0 or b > k // 2 for b, k in zip(before, kernel, strict=True)):
        raise wrong(f"{name}: kernel {kernel} and stride {steps} are positive, padding {before} at most half of it")
    return kernel, steps, before


def _counts(
    name: str, x: Any, kernel: Pair, stride: Pair, before: Pair, dilation: Pair, ceil_mode: bool
) -> Pair:
    """How many windows there are along each axis."""
    found = []
    for a in (0, 1):
        extent = int(x.shape[2 + a])
        room = extent + 2 * before[a] - dilation[a] * (kernel[a] - 1) - 1
        count = (-(-room // stride[a]) if ceil_mode else room // stride[a]) + 1
        if ceil_mode and (count - 1) * stride[a] >= extent + before[a]:
            count -= 1  # a window begins inside the image or its left border; with ceil_mode it may be larger
        if count < 1:
            raise wrong(f"{name}: a window of {kernel} does not fit into an image of {tuple(x.shape[2:])}")
        found.append(count)
    return found[0], found[1]


def _elements(extent: int, windows: int, kernel: int, stride: int, before: int, include_pad: bool) -> Any:
    """How many elements the mean of each window is over."""
    first = np.arange(windows) * stride - before
    last = np.minimum(first + kernel, extent + before)
    return last - first if include_pad else np.minimum(last, extent) - np.maximum(first, 0)
