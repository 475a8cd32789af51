"""The twenty-one functions as one writes them with torch: slices, in-place operators, `out=`."""

from __future__ import annotations

import math

import torch

__all__ = ["FUNCTIONS"]


def valid_flags(feat_h, feat_w, valid_h, valid_w, num_anchors):
    valid_x = torch.zeros(feat_w, dtype=torch.bool)
    valid_y = torch.zeros(feat_h, dtype=torch.bool)
    valid_x[:valid_w] = True
    valid_y[:valid_h] = True
    flags = torch.empty((feat_h, feat_w, num_anchors), dtype=torch.bool)
    flags[:] = valid_x[None, :, None]
    flags &= valid_y[:, None, None]
    return flags.reshape(-1)


def gen_base_anchors(ratios, scales, base_size):
    num_ratios, num_scales = ratios.numel(), scales.numel()
    root = torch.sqrt(ratios)
    anchors = torch.empty((num_ratios * num_scales, 4), dtype=ratios.dtype)
    table = anchors.view(num_ratios, num_scales, 4)
    sides = table[..., 2:]
    sides[...] = scales[:, None]
    sides *= 0.5 * base_size
    sides[..., 0] /= root[:, None]
    sides[..., 1] *= root[:, None]
    table[..., :2] = -sides
    return anchors


def grid_anchors(base, feat_h, feat_w, stride):
    num_base = base.shape[0]
    shift_x = torch.arange(feat_w, dtype=base.dtype) * stride
    shift_y = torch.arange(feat_h, dtype=base.dtype) * stride
    anchors = torch.empty((feat_h, feat_w, num_base, 4), dtype=base.dtype)
    anchors[...] = base
    anchors[..., 0::2] += shift_x[None, :, None, None]
    anchors[..., 1::2] += shift_y[:, None, None, None]
    return anchors.reshape(-1, 4)


def delta2bbox(
    rois, deltas, img_h, img_w, means=(0.0, 0.0, 0.0, 0.0), stds=(0.1, 0.1, 0.2, 0.2), wh_ratio_clip=16 / 1000
):
    dx = deltas[:, 0::4] * stds[0] + means[0]
    dy = deltas[:, 1::4] * stds[1] + means[1]
    dw = deltas[:, 2::4] * stds[2] + means[2]
    dh = deltas[:, 3::4] * stds[3] + means[3]
    limit = abs(math.log(wh_ratio_clip))
    dw.clamp_(-limit, limit)
    dh.clamp_(-limit, limit)
    width = (rois[:, 2] - rois[:, 0])[:, None]
    height = (rois[:, 3] - rois[:, 1])[:, None]
    cx = (rois[:, 0] + rois[:, 2])[:, None] * 0.5
    cy = (rois[:, 1] + rois[:, 3])[:, None] * 0.5
    dx *= width
    dy *= height
    dx += cx
    dy += cy
    half_w = width * torch.exp(dw) * 0.5
    half_h = height * torch.exp(dh) * 0.5
    boxes = torch.empty_like(deltas)
    boxes[:, 0::4] = dx - half_w
    boxes[:, 1::4] = dy - half_h
    boxes[:, 2::4] = dx + half_w
    boxes[:, 3::4] = dy + half_h
    boxes[:, 0::2].clamp_(0, img_w)
    boxes[:, 1::2].clamp_(0, img_h)
    return boxes


def tblr2bbox(priors, tblr, img_h, img_w, normalizer=4.0):
    dist = tblr * normalizer
    centre = (priors[:, :2] + priors[:, 2:]) * 0.5
    sides = priors[:, 2:] - priors[:, :2]
    dist[:, :2] *= sides[:, 1:]
    dist[:, 2:] *= sides[:, :1]
    boxes = torch.empty_like(priors)
    boxes[:, 0] = centre[:, 0] - dist[:, 2]
    boxes[:, 1] = centre[:, 1] - dist[:, 0]
    boxes[:, 2] = centre[:, 0] + dist[:, 3]
    boxes[:, 3] = centre[:, 1] + dist[:, 1]
    boxes[:, 0::2].clamp_(0, img_w)
    boxes[:, 1::2].clamp_(0, img_h)
    return boxes


def distance2bbox(points, distance, out, img_h, img_w):
    torch.sub(points, distance[:, :2], out=out[:, :2])
    torch.add(points, distance[:, 2:], out=out[:, 2:])
    out[:, ::2].clamp_(0, img_w)
    out[:, 1::2].clamp_(0, img_h)
    return out


def bbox2delta(proposals, gt, means=(0.0, 0.0, 0.0, 0.0), stds=(0.1, 0.1, 0.2, 0.2)):
    p_side = proposals[:, 2:] - proposals[:, :2]
    g_side = gt[:, 2:] - gt[:, :2]
    p_mid = (proposals[:, :2] + proposals[:, 2:]) * 0.5
    g_mid = (gt[:, :2] + gt[:, 2:]) * 0.5
    deltas = torch.empty_like(proposals)
    shift, scale = deltas[:, :2], deltas[:, 2:]
    shift[...] = g_mid - p_mid
    shift /= p_side
    scale[...] = g_side / p_side
    scale.log_()
    for column in range(4):
        deltas[:, column] -= means[column]
        deltas[:, column] /= stds[column]
    return deltas


def bbox_overlaps(boxes1, boxes2, eps=1e-6):
    area1 = (boxes1[:, 2] - boxes1[:, 0]) * (boxes1[:, 3] - boxes1[:, 1])
    area2 = (boxes2[:, 2] - boxes2[:, 0]) * (boxes2[:, 3] - boxes2[:, 1])
    wh = torch.minimum(boxes1[:, None, 2:], boxes2[None, :, 2:])
    wh -= torch.maximum(boxes1[:, None, :2], boxes2[None, :, :2])
    wh.clamp_(min=0)
    overlap = wh[..., 0] * wh[..., 1]
    union = area1[:, None] + area2[None, :]
    union -= overlap
    union.clamp_(min=eps)
    overlap /= union
    return overlap


def bbox_flip(boxes, img_h, img_w, direction="horizontal"):
    flipped = boxes.clone()
    if direction in ("horizontal", "diagonal"):
        flipped[..., 0::4] = img_w - boxes[..., 2::4]
        flipped[..., 2::4] = img_w - boxes[..., 0::4]
    if direction in ("vertical", "diagonal"):
        flipped[..., 1::4] = img_h - boxes[..., 3::4]
        flipped[..., 3::4] = img_h - boxes[..., 1::4]
    return flipped


def yolo_decode(pred, anchors, stride):
    feat_h, feat_w = pred.shape[:2]
    out = pred.clone()
    xy, wh, conf = out[..., 0:2], out[..., 2:4], out[..., 4:]
    xy.sigmoid_()
    xy[..., 0] += torch.arange(feat_w, dtype=pred.dtype)[None, :, None]
    xy[..., 1] += torch.arange(feat_h, dtype=pred.dtype)[:, None, None]
    xy *= stride
    wh.exp_()
    wh *= anchors
    xy -= wh * 0.5
    wh += xy
    conf.sigmoid_()
    return out


def draw_gaussian(heatmap, centers, radii, eps=1e-4):
    height, width = heatmap.shape
    for index in range(centers.shape[0]):
        x, y = int(centers[index, 0]), int(centers[index, 1])
        radius = int(radii[index])
        sigma = (2 * radius + 1) / 6
        line = torch.arange(-radius, radius + 1, dtype=heatmap.dtype)
        squares = line * line
        bump = torch.exp(-(squares[:, None] + squares) / (2 * sigma * sigma))
        bump[bump < eps * bump.max()] = 0
        left, right = min(x, radius), min(width - x, radius + 1)
        top, bottom = min(y, radius), min(height - y, radius + 1)
        region = heatmap[y - top : y + bottom, x - left : x + right]
        part = bump[radius - top : radius + bottom, radius - left : radius + right]
        torch.maximum(region, part, out=region)
    return heatmap


def heat_nms(heat):
    maps, height, width = heat.shape
    padded = torch.full((maps, height + 2, width + 2), -math.inf, dtype=heat.dtype)
    padded[:, 1:-1, 1:-1] = heat
    peak = padded[:, :height, :width].clone()
    for dy in range(3):
        for dx in range(3):
            torch.maximum(peak, padded[:, dy : dy + height, dx : dx + width], out=peak)
    kept = heat.clone()
    kept[heat < peak] = 0
    return kept


def nms(boxes, scores, iou_threshold=0.5):
    order = torch.argsort(-scores, stable=True)
    ranked = boxes[order]
    x1, y1, x2, y2 = ranked[:, 0], ranked[:, 1], ranked[:, 2], ranked[:, 3]
    area = (x2 - x1) * (y2 - y1)
    count = scores.shape[0]
    gone = torch.zeros(count, dtype=torch.bool)
    for i in range(count):
        if gone[i]:
            continue
        w = torch.minimum(x2[i], x2[i + 1 :]) - torch.maximum(x1[i], x1[i + 1 :])
        h = torch.minimum(y2[i], y2[i + 1 :]) - torch.maximum(y1[i], y1[i + 1 :])
        w.clamp_(min=0)
        h.clamp_(min=0)
        w *= h
        gone[i + 1 :] |= w > iou_threshold * (area[i] + area[i + 1 :] - w)
    return order[~gone]


def soft_nms(boxes, scores, sigma=0.5, min_score=0.05):
    count = scores.shape[0]
    dets = torch.empty((count, 5), dtype=boxes.dtype)
    dets[:, :4] = boxes
    dets[:, 4] = scores
    kept = 0
    for i in range(count):
        best = i + int(torch.argmax(dets[i:, 4]))
        row = dets[i].clone()
        dets[i] = dets[best]
        dets[best] = row
        if dets[i, 4] < min_score:
            break
        kept += 1
        box, rest = dets[i, :4], dets[i + 1 :]
        wh = torch.minimum(box[2:], rest[:, 2:4]) - torch.maximum(box[:2], rest[:, :2])
        wh.clamp_(min=0)
        inter = wh[:, 0] * wh[:, 1]
        area = (rest[:, 2] - rest[:, 0]) * (rest[:, 3] - rest[:, 1])
        iou = inter / ((box[2] - box[0]) * (box[3] - box[1]) + area - inter)
        iou *= iou
        rest[:, 4] *= torch.exp(iou / -sigma)
    return dets[:kept]


def mask_paste(image, boxes, masks, threshold=0.5):
    height, width = image.shape
    rows, cols = masks.shape[1:]
    for index in range(boxes.shape[0]):
        x0, y0 = max(int(boxes[index, 0]), 0), max(int(boxes[index, 1]), 0)
        x1, y1 = min(int(boxes[index, 2]), width), min(int(boxes[index, 3]), height)
        if x1 <= x0 or y1 <= y0:
            continue
        ys = torch.arange(y1 - y0) * rows // (y1 - y0)
        xs = torch.arange(x1 - x0) * cols // (x1 - x0)
        image[y0:y1, x0:x1] |= masks[index][ys[:, None], xs] >= threshold
    return image


def sine_pos(padding, num_feats, temperature=10000.0, scale=2 * math.pi, eps=1e-6):
    batch, height, width = padding.shape
    inside = ~padding
    y = inside.cumsum(1, dtype=torch.float32)
    x = inside.cumsum(2, dtype=torch.float32)
    y /= y[:, -1:, :] + eps
    x /= x[:, :, -1:] + eps
    y *= scale
    x *= scale
    powers = (torch.arange(num_feats) // 2 * 2).to(torch.float64) / num_feats
    period = (temperature**powers).to(torch.float32)
    pos = torch.empty((batch, height, width, 2 * num_feats), dtype=torch.float32)
    first, second = pos[..., :num_feats], pos[..., num_feats:]
    first[...] = y[..., None] / period
    second[...] = x[..., None] / period
    for half in (first, second):
        half[..., 0::2].sin_()
        half[..., 1::2].cos_()
    return pos.permute(0, 3, 1, 2)


def swin_mask(height, width, window, shift):
    regions = torch.zeros((height, width), dtype=torch.float32)
    parts = (slice(0, -window), slice(-window, -shift), slice(-shift, None))
    label = 0
    for rows in parts:
        for cols in parts:
            regions[rows, cols] = label
            label += 1
    tiles = regions.reshape(height // window, window, width // window, window)
    tiles = tiles.permute(0, 2, 1, 3).reshape(-1, window * window)
    mask = tiles[:, None, :] - tiles[:, :, None]
    return mask.masked_fill_(mask != 0, -100.0)


def swin_partition(x, window, shift):
    batch, height, width, channels = x.shape
    x = torch.roll(x, (-shift, -shift), dims=(1, 2))
    x = x.reshape(batch, height // window, window, width // window, window, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, window, window, channels)


def focus(x):
    batch, channels, height, width = x.shape
    out = torch.empty((batch, 4 * channels, height // 2, width // 2), dtype=x.dtype)
    out[:, :channels] = x[..., ::2, ::2]
    out[:, channels : 2 * channels] = x[..., 1::2, ::2]
    out[:, 2 * channels : 3 * channels] = x[..., ::2, 1::2]
    out[:, 3 * channels :] = x[..., 1::2, 1::2]
    return out


def letterbox(image, out_h, out_w, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), fill=114):
    height, width = image.shape[:2]
    top, left = (out_h - height) // 2, (out_w - width) // 2
    canvas = torch.full((out_h, out_w, 3), fill, dtype=image.dtype)
    canvas[top : top + height, left : left + width] = image
    planes = torch.empty((3, out_h, out_w), dtype=torch.float32)
    planes[:] = canvas.flip(2).permute(2, 0, 1)  # torch has no negative steps
    planes -= torch.tensor(mean, dtype=torch.float32)[:, None, None]
    planes /= torch.tensor(std, dtype=torch.float32)[:, None, None]
    return planes


def bilinear_resize(image, out_h, out_w):
    _, height, width = image.shape
    y = (torch.arange(out_h, dtype=torch.float32) + 0.5) * (height / out_h) - 0.5
    x = (torch.arange(out_w, dtype=torch.float32) + 0.5) * (width / out_w) - 0.5
    y.clamp_(0, height - 1)
    x.clamp_(0, width - 1)
    y0 = y.to(torch.int64)
    x0 = x.to(torch.int64)
    y1 = torch.clamp(y0 + 1, max=height - 1)
    x1 = torch.clamp(x0 + 1, max=width - 1)
    y -= y0
    x -= x0
    rows = image[:, y0] * (1 - y)[:, None]
    rows += image[:, y1] * y[:, None]
    out = rows[:, :, x0]
    out *= 1 - x
    out += rows[:, :, x1] * x
    return out


FUNCTIONS = {f.__name__: f for f in (
    valid_flags, gen_base_anchors, grid_anchors, delta2bbox, tblr2bbox, distance2bbox, bbox2delta, bbox_overlaps,
    bbox_flip, yolo_decode, draw_gaussian, heat_nms, nms, soft_nms, mask_paste, sine_pos, swin_mask, swin_partition,
    focus, letterbox, bilinear_resize,
)}
