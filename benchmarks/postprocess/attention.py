"""What vision transformers put around attention: position encodings, windows, masks."""

from __future__ import annotations

import math

import numpy as np

from .case import Case

__all__ = ["CASES", "sine_pos", "swin_mask", "swin_partition"]


def sine_pos(padding, num_feats, temperature=10000.0, scale=2 * math.pi, eps=1e-6):
    """Sine position encoding of the unpadded pixels, (batch, 2 * num_feats, height, width)."""
    batch, height, width = padding.shape
    inside = ~padding
    y = inside.cumsum(axis=1, dtype=np.float32)
    x = inside.cumsum(axis=2, dtype=np.float32)
    y /= y[:, -1:, :] + eps
    x /= x[:, :, -1:] + eps
    y *= scale
    x *= scale
    powers = np.arange(num_feats) // 2 * 2 / num_feats
    period = (temperature**powers).astype(np.float32)

    pos = np.empty((batch, height, width, 2 * num_feats), dtype=np.float32)
    first, second = pos[..., :num_feats], pos[..., num_feats:]
    np.divide(y[..., None], period, out=first)
    np.divide(x[..., None], period, out=second)
    for half in (first, second):
        even, odd = half[..., 0::2], half[..., 1::2]
        np.sin(even, out=even)
        np.cos(odd, out=odd)
    return pos.transpose(0, 3, 1, 2)


def swin_mask(height, width, window, shift):
    """The mask of attention within shifted windows: -100 between pixels of different regions."""
    regions = np.zeros((height, width), dtype=np.float32)
    parts = (slice(0, -window), slice(-window, -shift), slice(-shift, None))
    label = 0
    for rows in parts:
        for cols in parts:
            regions[rows, cols] = label
            label += 1
    tiles = regions.reshape(height // window, window, width // window, window)
    flat = tiles.transpose(0, 2, 1, 3).reshape(-1, window * window)
    mask = flat[:, None, :] - flat[:, :, None]
    mask[mask != 0] = -100.0
    return mask


def swin_partition(x, window, shift):
    """Shift a (batch, height, width, channels) map and cut it into windows."""
    batch, height, width, channels = x.shape
    x = np.roll(x, (-shift, -shift), axis=(1, 2))
    x = x.reshape(batch, height // window, window, width // window, window, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(-1, window, window, channels)


def _make_sine(size, seed):
    batch, height, width, num_feats = {
        "tiny": (2, 3, 4, 4),
        "small": (1, 8, 8, 8),
        "large": (1, 64, 64, 128),
        "cached": (1, 6, 64, 128),
    }[size]
    padding = np.zeros((batch, height, width), dtype=bool)
    padding[:, :, width - width // 4 :] = True
    padding[-1, height - 1 :] = True
    return padding, num_feats


def _make_mask(size, seed):
    return {
        "tiny": (4, 6, 2, 1),
        "small": (14, 14, 7, 3),
        "large": (112, 112, 7, 3),
        "cached": (14, 112, 7, 3),
    }[size]


def _make_windows(size, seed):
    shape, window, shift = {
        "tiny": ((2, 4, 6, 3), 2, 1),
        "small": ((1, 14, 14, 6), 7, 3),
        "large": ((1, 112, 112, 96), 7, 3),
        "cached": ((1, 7, 112, 96), 7, 3),
    }[size]
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32), window, shift


CASES = (
    Case(
        "sine_pos",
        sine_pos,
        _make_sine,
        cached="cached",
        static_argnames=("num_feats", "temperature", "scale", "eps"),
        rtol=2e-6,
        atol=1e-6,
    ),
    Case(
        "swin_mask",
        swin_mask,
        _make_mask,
        cached="cached",
        static_argnames=("height", "width", "window", "shift"),
    ),
    Case("swin_partition", swin_partition, _make_windows, cached="cached", static_argnames=("window", "shift")),
)
