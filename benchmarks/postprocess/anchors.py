"""Anchor generation: base anchors, their copies on a feature grid, and which of them are valid."""

from __future__ import annotations

import numpy as np

from .case import Case

__all__ = ["CASES", "gen_base_anchors", "grid_anchors", "valid_flags"]


def gen_base_anchors(ratios, scales, base_size):
    """Anchors of every ratio and scale around the origin, ratio-major, as (x1, y1, x2, y2)."""
    num_ratios, num_scales = ratios.size, scales.size
    root = np.sqrt(ratios)
    anchors = np.empty((num_ratios * num_scales, 4), dtype=ratios.dtype)
    table = anchors.reshape(num_ratios, num_scales, 4)
    sides = table[..., 2:]
    sides[...] = scales[:, None]
    sides *= 0.5 * base_size
    sides[..., 0] /= root[:, None]
    sides[..., 1] *= root[:, None]
    np.negative(sides, out=table[..., :2])
    return anchors


def grid_anchors(base, feat_h, feat_w, stride):
    """The base anchors shifted to every cell of a feature map, cell by cell."""
    num_base = base.shape[0]
    shift_x = np.arange(feat_w, dtype=base.dtype) * stride
    shift_y = np.arange(feat_h, dtype=base.dtype) * stride
    anchors = np.empty((feat_h, feat_w, num_base, 4), dtype=base.dtype)
    anchors[...] = base
    anchors[..., 0::2] += shift_x[None, :, None, None]
    anchors[..., 1::2] += shift_y[:, None, None, None]
    return anchors.reshape(-1, 4)


def valid_flags(feat_h, feat_w, valid_h, valid_w, num_anchors):
    """True for the anchors whose cell lies in the part of the map that the image covers."""
    valid_x = np.zeros(feat_w, dtype=bool)
    valid_y = np.zeros(feat_h, dtype=bool)
    valid_x[:valid_w] = True
    valid_y[:valid_h] = True
    flags = np.empty((feat_h, feat_w, num_anchors), dtype=bool)
    flags[:] = valid_x[None, :, None]
    flags &= valid_y[:, None, None]
    return flags.reshape(-1)


_BASE = {  # base size, scales, ratios
    "tiny": (9, 2, 3),
    "small": (8, 6, 5),
    "large": (16, 64, 64),
    "ref0": (4, 3, 1),
    "ref1": (8, 6, 2),
    "ref2": (16, 12, 4),
}


def _make_base(size, seed):
    base_size, num_scales, num_ratios = _BASE[size]
    rng = np.random.default_rng(seed)
    ratios = rng.uniform(0.25, 4.0, num_ratios).astype(np.float32)
    scales = rng.uniform(0.5, 8.0, num_scales).astype(np.float32)
    return ratios, scales, base_size


_GRID = {  # feature height, width, stride, base anchors
    "tiny": (3, 2, 16, 2),
    "small": (18, 19, 16, 3),
    "large": (152, 200, 8, 9),
    "cached": (15, 200, 8, 9),
    "ref0": (160, 120, 8, 3),
    "ref1": (320, 240, 4, 6),
    "ref2": (480, 360, 4, 9),
}


def _make_grid(size, seed):
    feat_h, feat_w, stride, num_base = _GRID[size]
    rng = np.random.default_rng(seed)
    base = rng.uniform(1.0, 64.0, (num_base, 4)).astype(np.float32)
    base[:, :2] *= -1
    return base, feat_h, feat_w, stride


_FLAGS = {  # feature height, width, valid height, width, anchors per cell
    "tiny": (4, 3, 3, 2, 2),
    "small": (18, 19, 17, 15, 3),
    "large": (400, 320, 380, 300, 9),
    "cached": (80, 320, 76, 300, 9),
    "ref0": (160, 120, 160, 120, 3),
    "ref1": (320, 240, 320, 240, 6),
    "ref2": (480, 360, 480, 360, 9),
    "ref3": (160, 120, 100, 75, 3),
    "ref4": (320, 240, 0, 240, 6),
}


def _make_flags(size, seed):
    return _FLAGS[size]


CASES = (
    Case(
        "valid_flags",
        valid_flags,
        _make_flags,
        reference=("ref0", "ref1", "ref2", "ref3", "ref4"),
        cached="cached",
        static_argnames=("feat_h", "feat_w", "valid_h", "valid_w", "num_anchors"),
    ),
    Case(
        "gen_base_anchors",
        gen_base_anchors,
        _make_base,
        reference=("ref0", "ref1", "ref2"),
        cached="large",
        static_argnames=("base_size",),
    ),
    Case(
        "grid_anchors",
        grid_anchors,
        _make_grid,
        reference=("ref0", "ref1", "ref2"),
        cached="cached",
        static_argnames=("feat_h", "feat_w", "stride"),
    ),
)
