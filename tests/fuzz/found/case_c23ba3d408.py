"""error: the smallest of a part that is empty in some turn, with an initial value"""

import numpy as np

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('f8', (3.0, -1.0, 4.0, 1.0)),
        ),
        args=(
            View(0, 0, (4,), (1,)),
        ),
    ),
)
INEXACT = False
STAGED = True


def f(a0):
    s1 = np.float64(0)
    for i2 in range(1, 5):
        s1 += a0[i2:].min(initial=2) + a0[:i2].max(initial=9)
    return s1
