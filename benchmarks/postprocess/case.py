"""What one benchmark case is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Case", "boxes_in_image"]


@dataclass(frozen=True)
class Case:
    """One NumPy function with makers for its arguments.

    ``make(size, seed)`` builds fresh positional arguments every time it is called. Every case
    knows the sizes ``"tiny"`` (for oracles written as Python loops) and those in ``sizes`` (timed);
    ``reference`` names further sizes that are checked but not timed. ``cached`` names one that has as long rows as
    "large", but so few of them that all of it stays in a second-level cache.
    """

    name: str
    fn: Callable[..., Any]
    make: Callable[[str, int], tuple[Any, ...]]
    sizes: tuple[str, ...] = ("small", "large")
    reference: tuple[str, ...] = ()
    cached: str = ""
    static_argnames: tuple[str, ...] = ()  # Python values fixed at compile time
    mutates: tuple[str, ...] = ()  # array arguments that the call writes
    data_dependent: bool = False  # control flow or result shape depends on values
    rtol: float = 0.0  # 0 and 0: equal bit by bit; else exp, log, sin or cos is inside
    atol: float = 0.0

    @property
    def all_sizes(self) -> tuple[str, ...]:
        return ("tiny", *self.sizes, *self.reference)


def boxes_in_image(rng: np.random.Generator, count: int, height: float, width: float) -> np.ndarray:
    """Random (x1, y1, x2, y2) boxes, float32, with x1 < x2 and y1 < y2, inside the image."""
    boxes = np.empty((count, 4), dtype=np.float32)
    boxes[:, 0] = rng.uniform(0.0, 0.8 * width, count)
    boxes[:, 1] = rng.uniform(0.0, 0.8 * height, count)
    boxes[:, 2] = boxes[:, 0] + rng.uniform(0.02, 0.2, count) * width
    boxes[:, 3] = boxes[:, 1] + rng.uniform(0.02, 0.2, count) * height
    return boxes
