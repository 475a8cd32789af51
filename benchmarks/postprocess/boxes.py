"""Coding, decoding, flipping and comparing boxes given as (x1, y1, x2, y2)."""

from __future__ import annotations

import math

import numpy as np

from .case import Case, boxes_in_image

__all__ = [
    "CASES",
    "bbox2delta",
    "bbox_flip",
    "bbox_overlaps",
    "delta2bbox",
    "distance2bbox",
    "tblr2bbox",
    "yolo_decode",
]


def delta2bbox(
    rois,
    deltas,
    img_h,
    img_w,
    means=(0.0, 0.0, 0.0, 0.0),
    stds=(0.1, 0.1, 0.2, 0.2),
    wh_ratio_clip=16 / 1000,
):
    """Boxes from regions and class-wise (dx, dy, dw, dh) offsets, clipped to the image."""
    dx = deltas[:, 0::4] * stds[0] + means[0]
    dy = deltas[:, 1::4] * stds[1] + means[1]
    dw = deltas[:, 2::4] * stds[2] + means[2]
    dh = deltas[:, 3::4] * stds[3] + means[3]
    limit = abs(math.log(wh_ratio_clip))
    np.clip(dw, -limit, limit, out=dw)
    np.clip(dh, -limit, limit, out=dh)

    width = (rois[:, 2] - rois[:, 0])[:, None]
    height = (rois[:, 3] - rois[:, 1])[:, None]
    cx = (rois[:, 0] + rois[:, 2])[:, None] * 0.5
    cy = (rois[:, 1] + rois[:, 3])[:, None] * 0.5
    dx *= width
    dy *= height
    dx += cx
    dy += cy
    half_w = width * np.exp(dw) * 0.5
    half_h = height * np.exp(dh) * 0.5

    boxes = np.empty_like(deltas)
    boxes[:, 0::4] = dx - half_w
    boxes[:, 1::4] = dy - half_h
    boxes[:, 2::4] = dx + half_w
    boxes[:, 3::4] = dy + half_h
    xs = boxes[:, 0::2]
    ys = boxes[:, 1::2]
    np.clip(xs, 0, img_w, out=xs)
    np.clip(ys, 0, img_h, out=ys)
    return boxes


def tblr2bbox(priors, tblr, img_h, img_w, normalizer=4.0):
    """Boxes from distances to the top, bottom, left and right, in units of the prior's sides."""
    dist = tblr * normalizer
    centre = (priors[:, :2] + priors[:, 2:]) * 0.5
    sides = priors[:, 2:] - priors[:, :2]
    dist[:, :2] *= sides[:, 1:]
    dist[:, 2:] *= sides[:, :1]
    boxes = np.empty_like(priors)
    boxes[:, 0] = centre[:, 0] - dist[:, 2]
    boxes[:, 1] = centre[:, 1] - dist[:, 0]
    boxes[:, 2] = centre[:, 0] + dist[:, 3]
    boxes[:, 3] = centre[:, 1] + dist[:, 1]
    boxes[:, 0::2].clip(0, img_w, out=boxes[:, 0::2])
    boxes[:, 1::2].clip(0, img_h, out=boxes[:, 1::2])
    return boxes


def distance2bbox(points, distance, out, img_h, img_w):
    """Boxes from points and their distances to the four sides, written into ``out``."""
    np.subtract(points, distance[:, :2], out=out[:, :2])
    np.add(points, distance[:, 2:], out=out[:, 2:])
    xs, ys = out[:, ::2], out[:, 1::2]
    np.maximum(xs, 0, out=xs)
    np.minimum(xs, img_w, out=xs)
    np.maximum(ys, 0, out=ys)
    np.minimum(ys, img_h, out=ys)
    return out


def bbox2delta(proposals, gt, means=(0.0, 0.0, 0.0, 0.0), stds=(0.1, 0.1, 0.2, 0.2)):
    """The offsets that lead from proposals to ground-truth boxes, normalised."""
    p_side = proposals[:, 2:] - proposals[:, :2]
    g_side = gt[:, 2:] - gt[:, :2]
    p_mid = (proposals[:, :2] + proposals[:, 2:]) * 0.5
    g_mid = (gt[:, :2] + gt[:, 2:]) * 0.5
    deltas = np.empty_like(proposals)
    shift, scale = deltas[:, :2], deltas[:, 2:]
    np.subtract(g_mid, p_mid, out=shift)
    shift /= p_side
    np.divide(g_side, p_side, out=scale)
    np.log(scale, out=scale)
    for column in range(4):
        deltas[:, column] -= means[column]
        deltas[:, column] /= stds[column]
    return deltas


def bbox_overlaps(boxes1, boxes2, eps=1e-6):
    """The matrix of intersection over union of two sets of boxes."""
    area1 = (boxes1[:, 2] - boxes1[:, 0]) * (boxes1[:, 3] - boxes1[:, 1])
    area2 = (boxes2[:, 2] - boxes2[:, 0]) * (boxes2[:, 3] - boxes2[:, 1])
    wh = np.minimum(boxes1[:, None, 2:], boxes2[None, :, 2:])
    wh -= np.maximum(boxes1[:, None, :2], boxes2[None, :, :2])
    wh[wh < 0] = 0
    overlap = wh[..., 0] * wh[..., 1]
    union = area1[:, None] + area2[None, :]
    union -= overlap
    union[union < eps] = eps
    overlap /= union
    return overlap


def bbox_flip(boxes, img_h, img_w, direction="horizontal"):
    """Boxes of the mirrored image."""
    flipped = boxes.copy()
    if direction in ("horizontal", "diagonal"):
        flipped[..., 0::4] = img_w - boxes[..., 2::4]
        flipped[..., 2::4] = img_w - boxes[..., 0::4]
    if direction in ("vertical", "diagonal"):
        flipped[..., 1::4] = img_h - boxes[..., 3::4]
        flipped[..., 3::4] = img_h - boxes[..., 1::4]
    return flipped


def yolo_decode(pred, anchors, stride):
    """Corner boxes, objectness and class scores from a raw grid prediction.

    ``pred`` is (height, width, anchors, 5 + classes), ``anchors`` holds widths and heights.
    """
    feat_h, feat_w = pred.shape[:2]
    out = pred.copy()
    xy, wh, conf = out[..., 0:2], out[..., 2:4], out[..., 4:]
    xy[...] = 1.0 / (1.0 + np.exp(-xy))
    xy[..., 0] += np.arange(feat_w, dtype=pred.dtype)[None, :, None]
    xy[..., 1] += np.arange(feat_h, dtype=pred.dtype)[:, None, None]
    xy *= stride
    np.exp(wh, out=wh)
    wh *= anchors
    xy -= wh * 0.5
    wh += xy
    np.negative(conf, out=conf)
    np.exp(conf, out=conf)
    conf += 1.0
    np.divide(1.0, conf, out=conf)
    return out


_IMAGE = (800, 1333)


def _make_delta(size, seed):
    rows, classes = {
        "tiny": (5, 2),
        "small": (1000, 1),
        "large": (250_000, 1),
        "cached": (5000, 1),
        "ref0": (1000, 4),
        "ref1": (2000, 4),
        "ref2": (3000, 80),
        "offset0": (4000, 1),
        "offset1": (5000, 1),
        "offset2": (6000, 1),
    }[size]
    rng = np.random.default_rng(seed)
    rois = boxes_in_image(rng, rows, *_IMAGE)
    deltas = rng.normal(0.0, 2.0, (rows, 4 * classes)).astype(np.float32)
    deltas[::7, 2] = 40.0  # beyond the limit
    return rois, deltas, *_IMAGE


def _make_tblr(size, seed):
    rows = {
        "tiny": 6,
        "small": 1000,
        "large": 250_000,
        "cached": 5000,
        "ref0": 3000,
        "ref1": 4000,
        "ref2": 5000,
    }[size]
    rng = np.random.default_rng(seed)
    priors = boxes_in_image(rng, rows, *_IMAGE)
    return priors, rng.uniform(0.0, 0.5, (rows, 4)).astype(np.float32), *_IMAGE


def _make_distance(size, seed):
    rows = {"tiny": 6, "small": 1000, "large": 250_000, "cached": 5000}[size]
    rng = np.random.default_rng(seed)
    points = rng.uniform(0.0, 1.0, (rows, 2)).astype(np.float32)
    points *= np.array([_IMAGE[1], _IMAGE[0]], dtype=np.float32)
    distance = rng.uniform(0.0, 200.0, (rows, 4)).astype(np.float32)
    return points, distance, np.full((rows, 4), -1.0, dtype=np.float32), *_IMAGE


def _make_pairs(size, seed):
    rows = {"tiny": 5, "small": 1000, "large": 250_000, "cached": 5000}[size]
    rng = np.random.default_rng(seed)
    return boxes_in_image(rng, rows, *_IMAGE), boxes_in_image(rng, rows, *_IMAGE)


def _make_overlaps(size, seed):
    rows, cols = {"tiny": (5, 4), "small": (1000, 10), "large": (8000, 128), "cached": (800, 128)}[size]
    rng = np.random.default_rng(seed)
    boxes1, boxes2 = boxes_in_image(rng, rows, 100, 100), boxes_in_image(rng, cols, 100, 100)
    boxes1[0] = boxes2[0]
    boxes1[1], boxes2[1] = 7.0, 7.0  # no area at all
    return boxes1, boxes2


def _make_flip(size, seed):
    rows, direction = {
        "tiny": (3, "diagonal"),
        "small": (1000, "horizontal"),
        "large": (250_000, "horizontal"),
        "cached": (5000, "horizontal"),
        "ref0": (1000, "vertical"),
        "ref1": (1000, "diagonal"),
    }[size]
    return boxes_in_image(np.random.default_rng(seed), rows, *_IMAGE), *_IMAGE, direction


def _make_yolo(size, seed):
    height, width, classes = {
        "tiny": (3, 4, 2),
        "small": (18, 19, 1),
        "large": (64, 65, 80),
        "cached": (4, 65, 80),
    }[size]
    rng = np.random.default_rng(seed)
    pred = rng.normal(0.0, 1.5, (height, width, 3, 5 + classes)).astype(np.float32)
    return pred, np.array([[10, 13], [16, 30], [33, 23]], dtype=np.float32), 8


CASES = (
    Case(
        "delta2bbox",
        delta2bbox,
        _make_delta,
        reference=("ref0", "ref1", "ref2", "offset0", "offset1", "offset2"),
        cached="cached",
        static_argnames=("img_h", "img_w", "means", "stds", "wh_ratio_clip"),
        rtol=2e-6,
        atol=1e-3,
    ),
    Case(
        "tblr2bbox",
        tblr2bbox,
        _make_tblr,
        reference=("ref0", "ref1", "ref2"),
        cached="cached",
        static_argnames=("img_h", "img_w", "normalizer"),
    ),
    Case(
        "distance2bbox",
        distance2bbox,
        _make_distance,
        cached="cached",
        static_argnames=("img_h", "img_w"),
        mutates=("out",),
    ),
    Case(
        "bbox2delta",
        bbox2delta,
        _make_pairs,
        cached="cached",
        static_argnames=("means", "stds"),
        rtol=2e-6,
        atol=1e-6,
    ),
    Case("bbox_overlaps", bbox_overlaps, _make_overlaps, cached="cached", static_argnames=("eps",)),
    Case(
        "bbox_flip",
        bbox_flip,
        _make_flip,
        reference=("ref0", "ref1"),
        cached="cached",
        static_argnames=("img_h", "img_w", "direction"),
    ),
    Case(
        "yolo_decode",
        yolo_decode,
        _make_yolo,
        cached="cached",
        static_argnames=("stride",),
        rtol=2e-6,
        atol=1e-3,
    ),
)
