"""value: a constant was followed through a reversed write"""

import numpy as np

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('f8', (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)),
        ),
        args=(
            View(0, 0, (9,), (1,)),
        ),
    ),
)
INEXACT = False


def f(a0):
    v1 = np.zeros(3, np.int64)
    v1[::-1] = np.array([1, 2, 3])
    return a0[:v1[0]], a0[:3][v1 == 3]
