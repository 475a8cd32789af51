"""value: buffer 0, 1 of 2 differ, first at [1]: np.float64(1.0), NumPy's np.float64(0.0)"""

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('f8', (1.0, 1.0)),
        ),
        args=(
            View(0, 0, (2,), (1,)),
        ),
    ),
)
INEXACT = False
STAGED = True


def f(a0):
    v4 = a0
    v7 = v4
    for i9, _x8 in enumerate(v7):
        if v7[i9] <= 0:
            v7 = v4 * v7
        else:
            v4[1] = i9
