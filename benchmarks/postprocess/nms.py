"""Suppression of boxes that overlap a better one."""

from __future__ import annotations

import numpy as np

from .case import Case

__all__ = ["CASES", "nms", "soft_nms"]


def nms(boxes, scores, iou_threshold=0.5):
    """Indexes of the boxes that are kept, best first."""
    order = np.argsort(-scores, kind="stable")
    ranked = boxes[order]
    x1, y1, x2, y2 = ranked[:, 0], ranked[:, 1], ranked[:, 2], ranked[:, 3]
    area = (x2 - x1) * (y2 - y1)
    count = scores.shape[0]
    gone = np.zeros(count, dtype=bool)
    for i in range(count):
        if gone[i]:
            continue
        w = np.minimum(x2[i], x2[i + 1 :]) - np.maximum(x1[i], x1[i + 1 :])
        h = np.minimum(y2[i], y2[i + 1 :]) - np.maximum(y1[i], y1[i + 1 :])
        w[w < 0] = 0
        h[h < 0] = 0
        w *= h
        gone[i + 1 :] |= w > iou_threshold * (area[i] + area[i + 1 :] - w)
    return order[~gone]


def soft_nms(boxes, scores, sigma=0.5, min_score=0.05):
    """Boxes with scores that decay by overlap with better ones; stops below ``min_score``."""
    count = scores.shape[0]
    dets = np.empty((count, 5), dtype=boxes.dtype)
    dets[:, :4] = boxes
    dets[:, 4] = scores
    kept = 0
    for i in range(count):
        best = i + np.argmax(dets[i:, 4])
        row = dets[i].copy()
        dets[i] = dets[best]
        dets[best] = row
        if dets[i, 4] < min_score:
            break
        kept += 1

        box, rest = dets[i, :4], dets[i + 1 :]
        wh = np.minimum(box[2:], rest[:, 2:4]) - np.maximum(box[:2], rest[:, :2])
        np.maximum(wh, 0, out=wh)
        inter = wh[:, 0] * wh[:, 1]
        area = (rest[:, 2] - rest[:, 0]) * (rest[:, 3] - rest[:, 1])
        iou = inter / ((box[2] - box[0]) * (box[3] - box[1]) + area - inter)
        iou *= iou
        rest[:, 4] *= np.exp(iou / -sigma)
    return dets[:kept]


def _clustered(count, clusters, seed):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0.0, 600.0, (clusters, 2))[rng.integers(0, clusters, count)]
    boxes = np.empty((count, 4), dtype=np.float32)
    boxes[:, :2] = corner + rng.normal(0.0, 3.0, (count, 2))
    boxes[:, 2:] = boxes[:, :2] + 60.0 + rng.normal(0.0, 3.0, (count, 2))
    scores = rng.permutation(np.linspace(0.01, 0.99, count, dtype=np.float32))
    return boxes, scores


def _make_nms(size, seed):
    return _clustered(*{"tiny": (12, 3), "small": (1000, 20), "large": (10_000, 60)}[size], seed)


def _make_soft(size, seed):
    return _clustered(*{"tiny": (9, 2), "small": (64, 8), "large": (1000, 30)}[size], seed)


CASES = (
    Case("nms", nms, _make_nms, static_argnames=("iou_threshold",), data_dependent=True),
    Case(
        "soft_nms",
        soft_nms,
        _make_soft,
        static_argnames=("sigma", "min_score"),
        data_dependent=True,
        rtol=2e-5,
        atol=1e-6,
    ),
)
