"""The twenty-one functions rewritten for JAX: values instead of writes (`.at[...]`, `where`), loops as `lax` loops.

Arrays that NumPy would write to are returned. What has a size that only values decide is masked, and cut to size
outside the compiled part (`nms`, `soft_nms`), which is part of the measured call.
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

__all__ = ["FUNCTIONS"]

#: The largest radius that `draw_gaussian` is asked for: JAX wants a window of fixed size.
_RADIUS = 24


def _static(*names):
    return partial(jax.jit, static_argnames=names)


@_static("feat_h", "feat_w", "valid_h", "valid_w", "num_anchors")
def valid_flags(feat_h, feat_w, valid_h, valid_w, num_anchors):
    valid_x = jnp.zeros(feat_w, dtype=bool).at[:valid_w].set(True)
    valid_y = jnp.zeros(feat_h, dtype=bool).at[:valid_h].set(True)
    flags = jnp.broadcast_to(valid_x[None, :, None] & valid_y[:, None, None], (feat_h, feat_w, num_anchors))
    return flags.reshape(-1)


@_static("base_size")
def gen_base_anchors(ratios, scales, base_size):
    root = jnp.sqrt(ratios)
    sides = jnp.broadcast_to(scales[None, :] * (0.5 * base_size), (ratios.size, scales.size))
    sides = jnp.stack((sides / root[:, None], sides * root[:, None]), axis=-1)
    return jnp.concatenate((-sides, sides), axis=-1).reshape(-1, 4)


@_static("feat_h", "feat_w", "stride")
def grid_anchors(base, feat_h, feat_w, stride):
    shift_x = jnp.arange(feat_w, dtype=base.dtype) * stride
    shift_y = jnp.arange(feat_h, dtype=base.dtype) * stride
    anchors = jnp.broadcast_to(base, (feat_h, feat_w, *base.shape))
    anchors = anchors.at[..., 0::2].add(shift_x[None, :, None, None])
    anchors = anchors.at[..., 1::2].add(shift_y[:, None, None, None])
    return anchors.reshape(-1, 4)


@_static("img_h", "img_w", "means", "stds", "wh_ratio_clip")
def delta2bbox(
    rois, deltas, img_h, img_w, means=(0.0, 0.0, 0.0, 0.0), stds=(0.1, 0.1, 0.2, 0.2), wh_ratio_clip=16 / 1000
):
    dx = deltas[:, 0::4] * stds[0] + means[0]
    dy = deltas[:, 1::4] * stds[1] + means[1]
    limit = abs(math.log(wh_ratio_clip))
    dw = jnp.clip(deltas[:, 2::4] * stds[2] + means[2], -limit, limit)
    dh = jnp.clip(deltas[:, 3::4] * stds[3] + means[3], -limit, limit)
    width = (rois[:, 2] - rois[:, 0])[:, None]
    height = (rois[:, 3] - rois[:, 1])[:, None]
    cx = dx * width + (rois[:, 0] + rois[:, 2])[:, None] * 0.5
    cy = dy * height + (rois[:, 1] + rois[:, 3])[:, None] * 0.5
    half_w = width * jnp.exp(dw) * 0.5
    half_h = height * jnp.exp(dh) * 0.5
    boxes = jnp.stack((
        jnp.clip(cx - half_w, 0, img_w), jnp.clip(cy - half_h, 0, img_h),
        jnp.clip(cx + half_w, 0, img_w), jnp.clip(cy + half_h, 0, img_h),
    ), axis=-1)
    return boxes.reshape(deltas.shape)


@_static("img_h", "img_w", "normalizer")
def tblr2bbox(priors, tblr, img_h, img_w, normalizer=4.0):
    dist = tblr * normalizer
    centre = (priors[:, :2] + priors[:, 2:]) * 0.5
    sides = priors[:, 2:] - priors[:, :2]
    up_down = dist[:, :2] * sides[:, 1:]
    left_right = dist[:, 2:] * sides[:, :1]
    return jnp.stack((
        jnp.clip(centre[:, 0] - left_right[:, 0], 0, img_w), jnp.clip(centre[:, 1] - up_down[:, 0], 0, img_h),
        jnp.clip(centre[:, 0] + left_right[:, 1], 0, img_w), jnp.clip(centre[:, 1] + up_down[:, 1], 0, img_h),
    ), axis=-1)


@_static("img_h", "img_w")
def distance2bbox(points, distance, out, img_h, img_w):
    limit = jnp.array((img_w, img_h), points.dtype)
    low = jnp.clip(points - distance[:, :2], 0, limit)
    high = jnp.clip(points + distance[:, 2:], 0, limit)
    return jnp.concatenate((low, high), axis=1)


@_static("means", "stds")
def bbox2delta(proposals, gt, means=(0.0, 0.0, 0.0, 0.0), stds=(0.1, 0.1, 0.2, 0.2)):
    p_side = proposals[:, 2:] - proposals[:, :2]
    g_side = gt[:, 2:] - gt[:, :2]
    p_mid = (proposals[:, :2] + proposals[:, 2:]) * 0.5
    g_mid = (gt[:, :2] + gt[:, 2:]) * 0.5
    deltas = jnp.concatenate(((g_mid - p_mid) / p_side, jnp.log(g_side / p_side)), axis=1)
    return (deltas - jnp.array(means, deltas.dtype)) / jnp.array(stds, deltas.dtype)


@_static("eps")
def bbox_overlaps(boxes1, boxes2, eps=1e-6):
    area1 = (boxes1[:, 2] - boxes1[:, 0]) * (boxes1[:, 3] - boxes1[:, 1])
    area2 = (boxes2[:, 2] - boxes2[:, 0]) * (boxes2[:, 3] - boxes2[:, 1])
    wh = jnp.minimum(boxes1[:, None, 2:], boxes2[None, :, 2:])
    wh = jnp.maximum(wh - jnp.maximum(boxes1[:, None, :2], boxes2[None, :, :2]), 0)
    overlap = wh[..., 0] * wh[..., 1]
    return overlap / jnp.maximum(area1[:, None] + area2[None, :] - overlap, eps)


@_static("img_h", "img_w", "direction")
def bbox_flip(boxes, img_h, img_w, direction="horizontal"):
    flipped = boxes
    if direction in ("horizontal", "diagonal"):
        flipped = flipped.at[..., 0::4].set(img_w - boxes[..., 2::4])
        flipped = flipped.at[..., 2::4].set(img_w - boxes[..., 0::4])
    if direction in ("vertical", "diagonal"):
        flipped = flipped.at[..., 1::4].set(img_h - boxes[..., 3::4])
        flipped = flipped.at[..., 3::4].set(img_h - boxes[..., 1::4])
    return flipped


@_static("stride")
def yolo_decode(pred, anchors, stride):
    feat_h, feat_w = pred.shape[:2]
    x = jnp.arange(feat_w, dtype=pred.dtype)[None, :, None]
    y = jnp.arange(feat_h, dtype=pred.dtype)[:, None, None]
    centre = jax.nn.sigmoid(pred[..., 0:2])
    xy = jnp.stack((centre[..., 0] + x, centre[..., 1] + y), axis=-1) * stride
    wh = jnp.exp(pred[..., 2:4]) * anchors
    xy = xy - wh * 0.5
    return jnp.concatenate((xy, wh + xy, jax.nn.sigmoid(pred[..., 4:])), axis=-1)


@_static("eps")
def draw_gaussian(heatmap, centers, radii, eps=1e-4):
    size = 2 * _RADIUS + 1
    line = jnp.arange(-_RADIUS, _RADIUS + 1)
    squares = (line * line).astype(heatmap.dtype)
    padded = jnp.pad(heatmap, _RADIUS)

    def draw(index, padded):
        x, y = centers[index, 0], centers[index, 1]
        radius = radii[index]
        sigma = (2 * radius + 1) / 6
        bump = jnp.exp(-(squares[:, None] + squares) / (2 * sigma * sigma))
        inside = jnp.abs(line) <= radius
        bump = jnp.where(inside[:, None] & inside & (bump >= eps), bump, 0)
        region = lax.dynamic_slice(padded, (y, x), (size, size))
        region = jnp.where(inside[:, None] & inside, jnp.maximum(region, bump), region)
        return lax.dynamic_update_slice(padded, region, (y, x))

    padded = lax.fori_loop(0, centers.shape[0], draw, padded)
    return padded[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS]


@jax.jit
def heat_nms(heat):
    _, height, width = heat.shape
    padded = jnp.pad(heat, ((0, 0), (1, 1), (1, 1)), constant_values=-jnp.inf)
    peak = padded[:, :height, :width]
    for dy in range(3):
        for dx in range(3):
            peak = jnp.maximum(peak, padded[:, dy : dy + height, dx : dx + width])
    return jnp.where(heat < peak, 0, heat)


@_static("iou_threshold")
def _nms(boxes, scores, iou_threshold):
    order = jnp.argsort(-scores)
    ranked = boxes[order]
    x1, y1, x2, y2 = ranked[:, 0], ranked[:, 1], ranked[:, 2], ranked[:, 3]
    area = (x2 - x1) * (y2 - y1)
    count = scores.shape[0]
    positions = jnp.arange(count)

    def turn(state):
        left, kept = state
        i = jnp.argmax(left)
        w = jnp.maximum(jnp.minimum(x2[i], x2) - jnp.maximum(x1[i], x1), 0)
        h = jnp.maximum(jnp.minimum(y2[i], y2) - jnp.maximum(y1[i], y1), 0)
        inter = w * h
        hit = inter > iou_threshold * (area[i] + area - inter)
        return left & ~hit & (positions > i), kept.at[i].set(True)

    everything = jnp.ones(count, dtype=bool)
    return order, lax.while_loop(lambda state: state[0].any(), turn, (everything, ~everything))[1]


def nms(boxes, scores, iou_threshold=0.5):
    order, kept = _nms(boxes, scores, iou_threshold)
    return order[kept]


@_static("sigma", "min_score")
def _soft_nms(boxes, scores, sigma, min_score):
    count = scores.shape[0]
    positions = jnp.arange(count)

    def best(i, dets):
        return jnp.argmax(jnp.where(positions >= i, dets[:, 4], -jnp.inf))

    def go_on(state):
        i, dets = state
        return (i < count) & (dets[best(i, dets), 4] >= min_score)

    def turn(state):
        i, dets = state
        k = best(i, dets)
        one, other = dets[i], dets[k]
        dets = dets.at[k].set(one).at[i].set(other)
        box = dets[i, :4]
        wh = jnp.minimum(box[2:], dets[:, 2:4]) - jnp.maximum(box[:2], dets[:, :2])
        wh = jnp.maximum(wh, 0)
        inter = wh[:, 0] * wh[:, 1]
        area = (dets[:, 2] - dets[:, 0]) * (dets[:, 3] - dets[:, 1])
        iou = inter / ((box[2] - box[0]) * (box[3] - box[1]) + area - inter)
        decay = jnp.where(positions > i, jnp.exp(iou * iou / -sigma), 1)
        return i + 1, dets.at[:, 4].multiply(decay)

    kept, dets = lax.while_loop(go_on, turn, (0, jnp.concatenate((boxes, scores[:, None]), axis=1)))
    return kept, dets


def soft_nms(boxes, scores, sigma=0.5, min_score=0.05):
    kept, dets = _soft_nms(boxes, scores, sigma, min_score)
    return dets[: int(kept)]


@_static("threshold")
def mask_paste(image, boxes, masks, threshold=0.5):
    height, width = image.shape
    rows, cols = masks.shape[1:]
    y, x = jnp.arange(height), jnp.arange(width)

    def paste(index, image):
        x0, y0 = jnp.maximum(boxes[index, 0], 0), jnp.maximum(boxes[index, 1], 0)
        x1, y1 = jnp.minimum(boxes[index, 2], width), jnp.minimum(boxes[index, 3], height)
        ys = (y - y0) * rows // jnp.maximum(y1 - y0, 1)
        xs = (x - x0) * cols // jnp.maximum(x1 - x0, 1)
        inside = ((y >= y0) & (y < y1))[:, None] & ((x >= x0) & (x < x1))
        cells = masks[index][jnp.clip(ys, 0, rows - 1)[:, None], jnp.clip(xs, 0, cols - 1)]
        return image | (inside & (cells >= threshold))

    return lax.fori_loop(0, boxes.shape[0], paste, image)


@_static("num_feats", "temperature", "scale", "eps")
def sine_pos(padding, num_feats, temperature=10000.0, scale=2 * math.pi, eps=1e-6):
    inside = (~padding).astype(jnp.float32)
    y = jnp.cumsum(inside, axis=1)
    x = jnp.cumsum(inside, axis=2)
    y = y / (y[:, -1:, :] + eps) * scale
    x = x / (x[:, :, -1:] + eps) * scale
    period = (temperature ** (np.arange(num_feats) // 2 * 2 / num_feats)).astype(np.float32)
    halves = []
    for grid in (y, x):
        angle = grid[..., None] / period
        pair = jnp.stack((jnp.sin(angle[..., 0::2]), jnp.cos(angle[..., 1::2])), axis=-1)
        halves.append(pair.reshape(angle.shape))
    return jnp.concatenate(halves, axis=-1).transpose(0, 3, 1, 2)


@_static("height", "width", "window", "shift")
def swin_mask(height, width, window, shift):
    regions = jnp.zeros((height, width), dtype=jnp.float32)
    parts = (slice(0, -window), slice(-window, -shift), slice(-shift, None))
    label = 0
    for rows in parts:
        for cols in parts:
            regions = regions.at[rows, cols].set(label)
            label += 1
    tiles = regions.reshape(height // window, window, width // window, window)
    tiles = tiles.transpose(0, 2, 1, 3).reshape(-1, window * window)
    return jnp.where(tiles[:, None, :] != tiles[:, :, None], jnp.float32(-100), jnp.float32(0))


@_static("window", "shift")
def swin_partition(x, window, shift):
    batch, height, width, channels = x.shape
    x = jnp.roll(x, (-shift, -shift), axis=(1, 2))
    x = x.reshape(batch, height // window, window, width // window, window, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(-1, window, window, channels)


@jax.jit
def focus(x):
    return jnp.concatenate((x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]), axis=1)


@_static("out_h", "out_w", "mean", "std", "fill")
def letterbox(image, out_h, out_w, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), fill=114):
    height, width = image.shape[:2]
    top, left = (out_h - height) // 2, (out_w - width) // 2
    canvas = jnp.full((out_h, out_w, 3), fill, dtype=image.dtype)
    canvas = canvas.at[top : top + height, left : left + width].set(image)
    planes = canvas[:, :, ::-1].transpose(2, 0, 1).astype(jnp.float32)
    planes = planes - jnp.array(mean, jnp.float32)[:, None, None]
    return planes / jnp.array(std, jnp.float32)[:, None, None]


@_static("out_h", "out_w")
def bilinear_resize(image, out_h, out_w):
    _, height, width = image.shape
    y = jnp.clip((jnp.arange(out_h, dtype=jnp.float32) + 0.5) * (height / out_h) - 0.5, 0, height - 1)
    x = jnp.clip((jnp.arange(out_w, dtype=jnp.float32) + 0.5) * (width / out_w) - 0.5, 0, width - 1)
    y0, x0 = y.astype(jnp.int32), x.astype(jnp.int32)
    y1, x1 = jnp.minimum(y0 + 1, height - 1), jnp.minimum(x0 + 1, width - 1)
    y, x = y - y0, x - x0
    rows = image[:, y0] * (1 - y)[:, None] + image[:, y1] * y[:, None]
    return rows[:, :, x0] * (1 - x) + rows[:, :, x1] * x


FUNCTIONS = {f.__name__: f for f in (
    valid_flags, gen_base_anchors, grid_anchors, delta2bbox, tblr2bbox, distance2bbox, bbox2delta, bbox_overlaps,
    bbox_flip, yolo_decode, draw_gaussian, heat_nms, nms, soft_nms, mask_paste, sine_pos, swin_mask, swin_partition,
    focus, letterbox, bilinear_resize,
)}
