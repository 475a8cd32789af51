"""value: result[0]: np.float64(3.0), NumPy's np.float64(0.0): two variables of one array, both rebo..."""

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
    v1 = a0 + 0
    v2 = v1
    s3 = 0.0
    for i4 in range(4):
        v1[0] = i4
        s3 = s3 + v2[0]
        v1 = v1 + 1
        v2 = v2 * 2
    return (s3, v1, v2)
