"""result: None, NumPy raises OverflowError: Python integer -65524 out of bounds for int16"""

import numpy as np

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('i2', (1,)),
            Buffer('f8', (10.0, -32767.0, -32767.0)),
        ),
        args=(
            View(0, 0, (1,), (1,)),
            View(1, 0, (3,), (1,)),
        ),
    ),
)
INEXACT = False


def f(a0, a1):
    v1 = np.sum(a1)
    a0[:,] = v1
