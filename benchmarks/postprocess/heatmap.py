"""Heat maps of keypoints and centres: drawing the targets, keeping the local maxima."""

from __future__ import annotations

import numpy as np

from .case import Case

__all__ = ["CASES", "draw_gaussian", "heat_nms"]


def draw_gaussian(heatmap, centers, radii, eps=1e-4):
    """Raise the map to a Gaussian bump around every centre; bumps are cut at the border."""
    height, width = heatmap.shape
    for index in range(centers.shape[0]):
        x, y = int(centers[index, 0]), int(centers[index, 1])
        radius = int(radii[index])
        sigma = (2 * radius + 1) / 6
        line = np.arange(-radius, radius + 1, dtype=heatmap.dtype)
        squares = line * line
        bump = np.exp(-(squares[:, None] + squares) / (2 * sigma * sigma))
        bump[bump < eps * bump.max()] = 0

        left, right = min(x, radius), min(width - x, radius + 1)
        top, bottom = min(y, radius), min(height - y, radius + 1)
        region = heatmap[y - top : y + bottom, x - left : x + right]
        part = bump[radius - top : radius + bottom, radius - left : radius + right]
        np.maximum(region, part, out=region)
    return heatmap


def heat_nms(heat):
    """Zero what is not the maximum of its 3x3 neighbourhood, map by map."""
    maps, height, width = heat.shape
    padded = np.full((maps, height + 2, width + 2), -np.inf, dtype=heat.dtype)
    padded[:, 1:-1, 1:-1] = heat
    peak = padded[:, :height, :width].copy()
    for dy in range(3):
        for dx in range(3):
            np.maximum(peak, padded[:, dy : dy + height, dx : dx + width], out=peak)
    kept = heat.copy()
    kept[heat < peak] = 0
    return kept


def _make_draw(size, seed):
    height, width, count, max_radius = {
        "tiny": (9, 8, 3, 3),
        "small": (32, 32, 6, 5),
        "large": (1000, 1000, 64, 24),
    }[size]
    rng = np.random.default_rng(seed)
    heatmap = np.zeros((height, width), dtype=np.float32)
    centers = np.empty((count, 2), dtype=np.int64)
    centers[:, 0] = rng.integers(0, width, count)
    centers[:, 1] = rng.integers(0, height, count)
    centers[0] = 0
    centers[1] = width - 1, height - 1
    return heatmap, centers, rng.integers(0, max_radius + 1, count)


def _make_heat(size, seed):
    shape = {"tiny": (2, 5, 4), "small": (1, 32, 32), "large": (80, 128, 128), "cached": (4, 128, 128)}[size]
    heat = np.random.default_rng(seed).uniform(0.0, 1.0, shape).astype(np.float32)
    heat[:, ::3] = np.float32(0.5)  # plateaus: equal neighbours are all kept
    return (heat,)


CASES = (
    Case(
        "draw_gaussian",
        draw_gaussian,
        _make_draw,
        static_argnames=("eps",),
        mutates=("heatmap",),
        data_dependent=True,
        rtol=2e-6,
        atol=1e-7,
    ),
    Case("heat_nms", heat_nms, _make_heat, cached="cached"),
)
