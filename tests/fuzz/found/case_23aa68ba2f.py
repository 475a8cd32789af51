"""writeable: result True, NumPy's False"""

import numpy as np

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('c16', (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)),
        ),
        args=(
            View(0, 3, (0,), (0,), False),
        ),
    ),
)
INEXACT = False


def f(a1):
    v1 = np.tile(a1, 0)
    v3 = v1
    return v3
