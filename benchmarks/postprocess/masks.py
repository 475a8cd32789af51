"""Instance masks: pasting fixed-size predictions into the image."""

from __future__ import annotations

import numpy as np

from .case import Case

__all__ = ["CASES", "mask_paste"]


def mask_paste(image, boxes, masks, threshold=0.5):
    """Merge every mask, stretched to its box (nearest cell), into a boolean image."""
    height, width = image.shape
    rows, cols = masks.shape[1:]
    for index in range(boxes.shape[0]):
        x0, y0 = max(int(boxes[index, 0]), 0), max(int(boxes[index, 1]), 0)
        x1, y1 = min(int(boxes[index, 2]), width), min(int(boxes[index, 3]), height)
        if x1 <= x0 or y1 <= y0:
            continue
        ys = np.arange(y1 - y0) * rows // (y1 - y0)
        xs = np.arange(x1 - x0) * cols // (x1 - x0)
        image[y0:y1, x0:x1] |= masks[index][ys[:, None], xs] >= threshold
    return image


def _make_paste(size, seed):
    height, width, count, cells = {
        "tiny": (10, 12, 4, 3),
        "small": (40, 40, 6, 7),
        "large": (1000, 1000, 32, 28),
    }[size]
    rng = np.random.default_rng(seed)
    boxes = np.empty((count, 4), dtype=np.int64)
    boxes[:, 0] = rng.integers(-2, width - 2, count)
    boxes[:, 1] = rng.integers(-2, height - 2, count)
    boxes[:, 2] = boxes[:, 0] + rng.integers(1, width // 3, count)
    boxes[:, 3] = boxes[:, 1] + rng.integers(1, height // 3, count)
    boxes[0] = width, 0, width + 5, 5  # beside the image
    boxes[1] = 1, 1, 6, 5
    masks = rng.uniform(0.2, 1.0, (count, cells, cells)).astype(np.float32)
    return np.zeros((height, width), dtype=bool), boxes, masks


CASES = (
    Case(
        "mask_paste",
        mask_paste,
        _make_paste,
        static_argnames=("threshold",),
        mutates=("image",),
        data_dependent=True,
    ),
)
