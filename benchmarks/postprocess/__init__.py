"""Twenty-one functions of detection and vision code, in plain NumPy.

They are written as people write them, with views, slices on the left-hand side, ``out=`` and mask
writes: that is what makes them a benchmark for a compiler that promises NumPy's meaning. Values are
checked against oracles in ``tests/benchmarks`` before anything is timed.
"""

from __future__ import annotations

from . import anchors, attention, boxes, heatmap, layout, masks, nms
from .case import Case

__all__ = ["CASES", "Case"]

_FAMILIES = (anchors, boxes, heatmap, nms, masks, attention, layout)

CASES: dict[str, Case] = {case.name: case for family in _FAMILIES for case in family.CASES}
