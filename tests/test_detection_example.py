"""The stages of the detection example against the benchmark functions, and what its report says."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.postprocess import CASES
from examples import detection as det


@pytest.fixture(scope="module")
def data():
    return det.head_outputs()


@pytest.fixture(scope="module")
def anchors(data):
    return det.grid_anchors(det.base_anchors(data["ratios"], data["scales"]))


def test_the_head_is_that_of_an_800x1333_image():
    assert det.LEVELS == ((100, 168), (50, 84), (25, 42), (13, 21), (7, 11))
    assert det.TOTAL == 201_600


def test_anchors_and_flags(data, anchors):
    flags = det.valid_flags()
    for (start, stop), (height, width), stride in zip(det.level_spans(), det.LEVELS, det.STRIDES):
        base = CASES["gen_base_anchors"].fn(data["ratios"], data["scales"], stride)
        np.testing.assert_allclose(
            anchors[start:stop], CASES["grid_anchors"].fn(base, height, width, stride), rtol=1e-6, atol=1e-4
        )
        valid_h, valid_w = -(-det.IMAGE[0] // stride), -(-det.IMAGE[1] // stride)
        want = CASES["valid_flags"].fn(height, width, valid_h, valid_w, det.PER_CELL)
        assert np.array_equal(flags[start:stop], want)
    assert 0 < (~flags).sum() < flags.size


def test_boxes_and_overlaps(data, anchors):
    boxes = det.decode(anchors, data["deltas"])
    assert (boxes < 0).any()
    det.clip(boxes)
    want = CASES["delta2bbox"].fn(anchors, data["deltas"], *det.IMAGE, stds=(1.0, 1.0, 1.0, 1.0))
    np.testing.assert_allclose(boxes, want, rtol=1e-6, atol=1e-3)
    overlap, best = det.iou(boxes, data["truth"])
    start, stop = det.level_spans()[det.IOU_LEVEL]
    np.testing.assert_allclose(
        overlap, CASES["bbox_overlaps"].fn(boxes[start:stop], data["truth"]), rtol=1e-6
    )
    assert best.max() > 0.5


def test_scores(data):
    scores, flags = data["scores"].copy(), det.valid_flags()
    left = det.threshold(scores, flags)
    kept = flags & (data["scores"] >= 0.3)
    assert np.array_equal(scores, np.where(kept, data["scores"], 0))
    assert left.sum() == kept.sum() > 0


def test_report_names_what_differs():
    same = np.arange(4, dtype=np.float32)
    near = np.nextafter(same, np.float32(9))
    assert det.difference([same], [same.copy()], 0.0) == (True, "all equal")
    assert det.difference([near], [same], 1e-3)[0]
    assert not det.difference([near], [same], 0.0)[0]
    assert not det.difference([same + 1], [same], 1e-3)[0]
    assert not det.difference([same > 1], [same > 2], 1.0)[0]
    assert not det.difference([same[:2]], [same], 1.0)[0]
    assert not det.difference([], [same], 1.0)[0]
    assert not det.difference([np.full(4, np.nan, np.float32)], [same], 1.0)[0]


def test_without_backends(capsys):
    assert det.main(["--backends", ""]) == 0
    table = capsys.readouterr().out
    for stage in ("base_anchors", "grid_anchors", "valid_flags", "decode", "clip", "threshold", "iou"):
        assert stage in table
