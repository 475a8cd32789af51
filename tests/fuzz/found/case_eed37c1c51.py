"""error: np.where refused a Python number that does not fit"""

import numpy as np

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('u1', (0, 1, 2, 255)),
        ),
        args=(
            View(0, 0, (4,), (1,)),
        ),
    ),
)
INEXACT = False


def f(a0):
    return np.where(a0 > 1, a0, 300), np.where(a0 > 1, -1, a0), np.where(a0 > 1, True, a0)
