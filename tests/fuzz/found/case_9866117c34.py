"""error: VerifyError: [SP011] after pass plan-memory: %1 is used before it is defined, NumPy return..."""

import numpy as np

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('i8', (1,)),
            Buffer('i8', (1,)),
        ),
        args=(
            View(1, 0, (1, 0), (1, 1)),
            View(0, 0, (0,), (1,)),
        ),
    ),
)
INEXACT = False


def f(a0, a1):
    v1 = np.heaviside(a0, a1)
    v3 = v1
    return v3
