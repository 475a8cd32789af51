"""Moving pixels: space to depth, letter boxes, resizing."""

from __future__ import annotations

import numpy as np

from .case import Case

__all__ = ["CASES", "bilinear_resize", "focus", "letterbox"]


def focus(x):
    """Every second pixel in both directions becomes a channel: (n, c, h, w) to (n, 4c, h/2, w/2)."""
    batch, channels, height, width = x.shape
    out = np.empty((batch, 4 * channels, height // 2, width // 2), dtype=x.dtype)
    out[:, :channels] = x[..., ::2, ::2]
    out[:, channels : 2 * channels] = x[..., 1::2, ::2]
    out[:, 2 * channels : 3 * channels] = x[..., ::2, 1::2]
    out[:, 3 * channels :] = x[..., 1::2, 1::2]
    return out


def letterbox(
    image,
    out_h,
    out_w,
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
    fill=114,
):
    """Centre a BGR byte image on a canvas; return it as normalised RGB planes."""
    height, width = image.shape[:2]
    top, left = (out_h - height) // 2, (out_w - width) // 2
    canvas = np.full((out_h, out_w, 3), fill, dtype=image.dtype)
    canvas[top : top + height, left : left + width] = image
    planes = np.empty((3, out_h, out_w), dtype=np.float32)
    planes[:] = canvas[:, :, ::-1].transpose(2, 0, 1)
    planes -= np.array(mean, dtype=np.float32)[:, None, None]
    planes /= np.array(std, dtype=np.float32)[:, None, None]
    return planes


def bilinear_resize(image, out_h, out_w):
    """Resize (channels, height, width) planes; pixel centres are aligned, borders are repeated."""
    _, height, width = image.shape
    y = (np.arange(out_h, dtype=np.float32) + 0.5) * (height / out_h) - 0.5
    x = (np.arange(out_w, dtype=np.float32) + 0.5) * (width / out_w) - 0.5
    np.clip(y, 0, height - 1, out=y)
    np.clip(x, 0, width - 1, out=x)
    y0 = y.astype(np.int64)
    x0 = x.astype(np.int64)
    y1 = np.minimum(y0 + 1, height - 1)
    x1 = np.minimum(x0 + 1, width - 1)
    y -= y0
    x -= x0

    rows = image[:, y0] * (1 - y)[:, None]
    rows += image[:, y1] * y[:, None]
    out = rows[:, :, x0]
    out *= 1 - x
    out += rows[:, :, x1] * x
    return out


def _make_focus(size, seed):
    shape = {
        "tiny": (2, 2, 4, 6),
        "small": (1, 3, 20, 20),
        "large": (1, 3, 640, 640),
        "cached": (1, 3, 32, 640),
    }[size]
    return (np.random.default_rng(seed).normal(size=shape).astype(np.float32),)


def _make_letterbox(size, seed):
    height, width, out_h, out_w = {
        "tiny": (3, 4, 6, 5),
        "small": (24, 32, 32, 32),
        "large": (480, 640, 640, 640),
        "cached": (24, 640, 32, 640),
    }[size]
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8), out_h, out_w


def _make_resize(size, seed):
    shape, out_h, out_w = {
        "tiny": ((2, 3, 4), 5, 3),
        "small": ((3, 10, 12), 20, 18),
        "large": ((3, 400, 500), 640, 640),
        "ref0": ((3, 64, 48), 17, 23),
    }[size]
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32), out_h, out_w


CASES = (
    Case("focus", focus, _make_focus, cached="cached"),
    Case(
        "letterbox",
        letterbox,
        _make_letterbox,
        cached="cached",
        static_argnames=("out_h", "out_w", "mean", "std", "fill"),
    ),
    Case(
        "bilinear_resize",
        bilinear_resize,
        _make_resize,
        reference=("ref0",),
        static_argnames=("out_h", "out_w"),
    ),
)
