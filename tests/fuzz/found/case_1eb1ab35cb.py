"""error: ShapeError: [SP024] operands could not be broadcast together with remapped shapes [origina..."""

import numpy as np

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('f8', (1.0, 1.0, 1.0)),
        ),
        args=(
            View(0, 0, (3,), (1,)),
        ),
    ),
)
INEXACT = False


def f(a0):
    v1 = np.zeros_like(a0)
    v1[:-1,] = v1[:1,]
    v2 = v1
    v2[np.isnan(v2)] = 0
