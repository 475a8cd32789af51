"""error: VerifyError: [SP011] after pass plan-memory: %0.r is a view of the view %0, NumPy returns ..."""

import numpy as np

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('f8', (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)),
        ),
        args=(
            View(0, 0, (2, 1, 2), (1, 4, 4)),
        ),
    ),
)
INEXACT = False


def f(a1):
    v1 = np.maximum(a1, a1)
    for _x4, _y5 in zip(a1, v1):
        if a1.all():
            a1[a1 < np.nan] = 0
        else:
            break
