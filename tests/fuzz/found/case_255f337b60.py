"""value: an index was computed once from an array of constants that the loop writes"""

import numpy as np

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('u8', (1, 6, 3)),
        ),
        args=(
            View(0, 0, (3,), (1,)),
        ),
    ),
)
INEXACT = False
STAGED = True


def f(a0):
    v1 = np.arange(7)
    for _ in range(len(a0)):
        v1[v1[0]] += 1
    return v1
