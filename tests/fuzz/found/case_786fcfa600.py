"""value: result, 1 of 5 differ, first at [2]: np.int64(2), NumPy's np.int64(3)"""

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('i8', (1, 2, 3, 4, 5)),
        ),
        args=(
            View(0, 0, (5,), (1,)),
        ),
    ),
)
INEXACT = False
STAGED = True


def f(a0):
    v3 = a0 + 0
    for _x4, y5 in zip(v3, v3):
        v3[y5 % 5] = y5
        v3 = v3 + 0
    return v3
