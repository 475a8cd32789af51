"""layout: an array that a loop replaces lost its memory order"""

import numpy as np

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('f8', (3.0, -1.0, 4.0, 1.0)),
        ),
        args=(
            View(0, 0, (2, 2), (1, 2)),
            View(0, 0, (2, 2), (2, 1)),
        ),
    ),
)
INEXACT = False
STAGED = True


def f(a0, a1):
    v1 = a0 + 1
    for _ in range(3):
        v1 = v1 * 2
    if a0[0, 0] > 0:
        v2 = np.zeros_like(a0)
    else:
        v2 = -a0
    return v1, v2
