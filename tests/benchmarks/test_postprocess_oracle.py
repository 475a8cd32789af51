"""Every benchmark function against an oracle: plain Python loops over Python numbers, no arrays.

The oracles are written from the definitions, element by element, and share nothing with the functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks.postprocess import CASES

ORACLES: dict[str, Callable[..., Any]] = {}


def oracle(fn):
    ORACLES[fn.__name__] = fn
    return fn


def clamp(value, low, high):
    return min(max(value, low), high)


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def iou_of(a, b, eps=0.0):
    w = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    h = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h
    return w * h / max(union, eps)


@oracle
def valid_flags(feat_h, feat_w, valid_h, valid_w, num_anchors):
    return [
        y < valid_h and x < valid_w for y in range(feat_h) for x in range(feat_w) for _ in range(num_anchors)
    ]


@oracle
def gen_base_anchors(ratios, scales, base_size):
    rows = []
    for ratio in ratios:
        for scale in scales:
            width = base_size * scale / math.sqrt(ratio)
            height = base_size * scale * math.sqrt(ratio)
            rows.append([-width / 2, -height / 2, width / 2, height / 2])
    return rows


@oracle
def grid_anchors(base, feat_h, feat_w, stride):
    rows = []
    for y in range(feat_h):
        for x in range(feat_w):
            for x1, y1, x2, y2 in base:
                rows.append([x1 + x * stride, y1 + y * stride, x2 + x * stride, y2 + y * stride])
    return rows


@oracle
def delta2bbox(rois, deltas, img_h, img_w):
    rows = []
    for (x1, y1, x2, y2), offsets in zip(rois, deltas):
        row = []
        for k in range(0, len(offsets), 4):
            dx, dy, dw, dh = (
                offsets[k] * 0.1,
                offsets[k + 1] * 0.1,
                offsets[k + 2] * 0.2,
                offsets[k + 3] * 0.2,
            )
            limit = -math.log(0.016)
            w = (x2 - x1) * math.exp(clamp(dw, -limit, limit))
            h = (y2 - y1) * math.exp(clamp(dh, -limit, limit))
            cx = (x1 + x2) / 2 + dx * (x2 - x1)
            cy = (y1 + y2) / 2 + dy * (y2 - y1)
            row += [clamp(cx - w / 2, 0, img_w), clamp(cy - h / 2, 0, img_h)]
            row += [clamp(cx + w / 2, 0, img_w), clamp(cy + h / 2, 0, img_h)]
        rows.append(row)
    return rows


@oracle
def tblr2bbox(priors, tblr, img_h, img_w):
    rows = []
    for (x1, y1, x2, y2), (top, bottom, left, right) in zip(priors, tblr):
        w, h, cx, cy = x2 - x1, y2 - y1, (x1 + x2) / 2, (y1 + y2) / 2
        rows.append(
            [
                clamp(cx - 4 * left * w, 0, img_w),
                clamp(cy - 4 * top * h, 0, img_h),
                clamp(cx + 4 * right * w, 0, img_w),
                clamp(cy + 4 * bottom * h, 0, img_h),
            ]
        )
    return rows


@oracle
def distance2bbox(points, distance, out, img_h, img_w):
    for i, ((x, y), (left, top, right, bottom)) in enumerate(zip(points, distance)):
        out[i] = [
            clamp(x - left, 0, img_w),
            clamp(y - top, 0, img_h),
            clamp(x + right, 0, img_w),
            clamp(y + bottom, 0, img_h),
        ]
    return out


@oracle
def bbox2delta(proposals, gt):
    rows = []
    for (px1, py1, px2, py2), (gx1, gy1, gx2, gy2) in zip(proposals, gt):
        pw, ph, gw, gh = px2 - px1, py2 - py1, gx2 - gx1, gy2 - gy1
        rows.append(
            [
                ((gx1 + gx2) / 2 - (px1 + px2) / 2) / pw / 0.1,
                ((gy1 + gy2) / 2 - (py1 + py2) / 2) / ph / 0.1,
                math.log(gw / pw) / 0.2,
                math.log(gh / ph) / 0.2,
            ]
        )
    return rows


@oracle
def bbox_overlaps(boxes1, boxes2):
    return [[iou_of(a, b, 1e-6) for b in boxes2] for a in boxes1]


@oracle
def bbox_flip(boxes, img_h, img_w, direction):
    rows = []
    for x1, y1, x2, y2 in boxes:
        if direction != "vertical":
            x1, x2 = img_w - x2, img_w - x1
        if direction != "horizontal":
            y1, y2 = img_h - y2, img_h - y1
        rows.append([x1, y1, x2, y2])
    return rows


@oracle
def yolo_decode(pred, anchors, stride):
    out = []
    for y, line in enumerate(pred):
        out.append([])
        for x, cell in enumerate(line):
            out[-1].append([])
            for (tx, ty, tw, th, *conf), (aw, ah) in zip(cell, anchors):
                cx, cy = (sigmoid(tx) + x) * stride, (sigmoid(ty) + y) * stride
                w, h = aw * math.exp(tw), ah * math.exp(th)
                box = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
                out[-1][-1].append(box + [sigmoid(value) for value in conf])
    return out


@oracle
def draw_gaussian(heatmap, centers, radii):
    for (cx, cy), radius in zip(centers, radii):
        sigma = (2 * radius + 1) / 6
        for y in range(len(heatmap)):
            for x in range(len(heatmap[0])):
                if abs(x - cx) <= radius and abs(y - cy) <= radius:
                    value = math.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
                    heatmap[y][x] = max(heatmap[y][x], value if value >= 1e-4 else 0.0)
    return heatmap


@oracle
def heat_nms(heat):
    maps, height, width = len(heat), len(heat[0]), len(heat[0][0])
    out = [[[0.0] * width for _ in range(height)] for _ in range(maps)]
    for m in range(maps):
        for y in range(height):
            for x in range(width):
                near = [
                    heat[m][v][u]
                    for v in range(max(y - 1, 0), min(y + 2, height))
                    for u in range(max(x - 1, 0), min(x + 2, width))
                ]
                if heat[m][y][x] == max(near):
                    out[m][y][x] = heat[m][y][x]
    return out


@oracle
def nms(boxes, scores):
    left = sorted(range(len(scores)), key=lambda i: -scores[i])
    kept = []
    while left:
        best, *left = left
        kept.append(best)
        left = [i for i in left if iou_of(boxes[best], boxes[i]) <= 0.5]
    return kept


@oracle
def soft_nms(boxes, scores):
    left = [[*box, score] for box, score in zip(boxes, scores)]
    kept = []
    while left:
        best = max(left, key=lambda det: det[4])
        if best[4] < 0.05:
            break
        left.remove(best)
        kept.append(best)
        for det in left:
            det[4] *= math.exp(-(iou_of(best, det) ** 2) / 0.5)
    return kept


@oracle
def mask_paste(image, boxes, masks):
    rows, cols = len(masks[0]), len(masks[0][0])
    for (bx0, by0, bx1, by1), mask in zip(boxes, masks):
        x0, y0, x1, y1 = max(bx0, 0), max(by0, 0), min(bx1, len(image[0])), min(by1, len(image))
        for y in range(y0, y1):
            for x in range(x0, x1):
                cell = mask[(y - y0) * rows // (y1 - y0)][(x - x0) * cols // (x1 - x0)]
                image[y][x] = image[y][x] or cell >= 0.5
    return image


@oracle
def sine_pos(padding, num_feats):
    batch, height, width = len(padding), len(padding[0]), len(padding[0][0])
    out = [[[[0.0] * width for _ in range(height)] for _ in range(2 * num_feats)] for _ in range(batch)]
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                above = sum(not padding[b][v][x] for v in range(y + 1))
                before = sum(not padding[b][y][u] for u in range(x + 1))
                tall = sum(not padding[b][v][x] for v in range(height))
                wide = sum(not padding[b][y][u] for u in range(width))
                for half, part in enumerate((above / (tall + 1e-6), before / (wide + 1e-6))):
                    for feat in range(num_feats):
                        angle = part * 2 * math.pi / 10000.0 ** (2 * (feat // 2) / num_feats)
                        value = math.cos(angle) if feat % 2 else math.sin(angle)
                        out[b][half * num_feats + feat][y][x] = value
    return out


@oracle
def swin_mask(height, width, window, shift):
    def region(y, x):
        def band(at, size):
            return 0 if at < size - window else 1 if at < size - shift else 2

        return band(y, height), band(x, width)

    out = []
    for top in range(0, height, window):
        for left in range(0, width, window):
            pixels = [(top + i, left + j) for i in range(window) for j in range(window)]
            out.append([[0.0 if region(*p) == region(*q) else -100.0 for q in pixels] for p in pixels])
    return out


@oracle
def swin_partition(x, window, shift):
    height, width = len(x[0]), len(x[0][0])
    return [
        [
            [image[(top + i + shift) % height][(left + j + shift) % width] for j in range(window)]
            for i in range(window)
        ]
        for image in x
        for top in range(0, height, window)
        for left in range(0, width, window)
    ]


@oracle
def focus(x):
    return [
        [
            [
                [plane[2 * i + dy][2 * j + dx] for j in range(len(plane[0]) // 2)]
                for i in range(len(plane) // 2)
            ]
            for dy, dx in ((0, 0), (1, 0), (0, 1), (1, 1))
            for plane in image
        ]
        for image in x
    ]


@oracle
def letterbox(image, out_h, out_w):
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    top, left = (out_h - len(image)) // 2, (out_w - len(image[0])) // 2
    planes = [[[0.0] * out_w for _ in range(out_h)] for _ in range(3)]
    for c in range(3):
        for y in range(out_h):
            for x in range(out_w):
                inside = 0 <= y - top < len(image) and 0 <= x - left < len(image[0])
                value = image[y - top][x - left][2 - c] if inside else 114
                planes[c][y][x] = (value - mean[c]) / std[c]
    return planes


@oracle
def bilinear_resize(image, out_h, out_w):
    height, width = len(image[0]), len(image[0][0])
    out = [[[0.0] * out_w for _ in range(out_h)] for _ in image]
    for c, plane in enumerate(image):
        for i in range(out_h):
            for j in range(out_w):
                y = clamp((i + 0.5) * height / out_h - 0.5, 0, height - 1)
                x = clamp((j + 0.5) * width / out_w - 0.5, 0, width - 1)
                total = 0.0
                for v in range(height):
                    for u in range(width):
                        total += plane[v][u] * max(1 - abs(y - v), 0) * max(1 - abs(x - u), 0)
                out[c][i][j] = total
    return out


def as_python(value):
    return value.tolist() if isinstance(value, np.ndarray) else value


def assert_close(got: np.ndarray, want: Any) -> None:
    want = np.array(want).reshape(got.shape)
    if got.dtype.kind in "biu":
        assert (got == want).all()
    else:
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5 * max(np.abs(want).max(initial=0), 1))


def test_every_case_has_an_oracle():
    assert len(CASES) == 21
    assert set(CASES) == set(ORACLES)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", CASES)
def test_oracle(name, seed):
    case = CASES[name]
    args = case.make("tiny", seed)
    plain = [as_python(arg) for arg in args]
    want = ORACLES[name](*plain)
    names = case.fn.__code__.co_varnames[: len(args)]
    before = [np.copy(arg) for arg in args]
    assert_close(case.fn(*args), want)
    for name, arg, now, was in zip(names, plain, args, before):
        if name in case.mutates:  # the oracle wrote its list
            assert_close(now, arg)
            assert not np.array_equal(now, was)
        else:
            assert np.array_equal(now, was)


def test_known_grid():
    """Stride 16, base size 9, on a 2x2 grid."""
    base = np.array([[-4.5, -4.5, 4.5, 4.5]], dtype=np.float32)
    want = [
        [-4.5, -4.5, 4.5, 4.5],
        [11.5, -4.5, 20.5, 4.5],
        [-4.5, 11.5, 4.5, 20.5],
        [11.5, 11.5, 20.5, 20.5],
    ]
    assert np.array_equal(CASES["grid_anchors"].fn(base, 2, 2, 16), want)
    assert np.array_equal(grid_anchors(base, 2, 2, 16), want)


@pytest.mark.parametrize("name", CASES)
def test_arguments_are_fresh_and_repeatable(name):
    case = CASES[name]
    first, second, other = case.make("tiny", 1), case.make("tiny", 1), case.make("tiny", 2)
    static = set(case.static_argnames)
    assert static | set(case.mutates) <= set(case.fn.__code__.co_varnames[: case.fn.__code__.co_argcount])
    differs = not any(isinstance(arg, np.ndarray) for arg in first) or name in ("sine_pos",)
    for one, two, three in zip(first, second, other):
        if isinstance(one, np.ndarray):
            assert np.array_equal(one, two) and not np.shares_memory(one, two)
            differs |= not np.array_equal(one, three)
        else:
            assert one == two == three
    assert differs
