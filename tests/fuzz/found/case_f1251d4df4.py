"""error: VerifyError: [SP011] after pass skip-copies: %b0: i32[3,3] @1 cannot be given %1.r: i32[3,..."""

import numpy as np

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('i4', (-3, 1, 4, 3, 1, 3, 6, 5, -4, 4, -3, 0)),
            Buffer('i4', (-2, 6, -3, -1, -1, 5, -1, 4, 0)),
        ),
        args=(
            View(0, 1, (3, 3), (1, 3)),
            View(1, 8, (3, 3), (-3, -1)),
        ),
    ),
)
INEXACT = False


def helper0(x):
    s5 = 0
    return (x, s5)


def f(a0, a1):
    v2 = np.copy(a0)
    for i3 in range(a0[2, 2], 0):
        v2[:, 2 - i3] = v2[i3]
    v10, v11 = helper0(a1)
    np.sign(v11 + 100, out=v2[2:0:-1, -3])
    return v2
