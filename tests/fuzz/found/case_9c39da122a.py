"""sharing: result[1] and result[0] are apart, NumPy's overlap: views of one of two arrays"""

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('i8', (0, 1, 2, 3, 4, 5, 6, 7, 8)),
            Buffer('i8', (2,)),
        ),
        args=(
            View(0, 0, (9,), (1,)),
            View(1, 0, (1,), (1,)),
        ),
    ),
)
INEXACT = False


def f(a0, a1):
    v1 = a0 + 0
    v2 = a0 * 2
    v3 = v1 if a1[0] > 5 else v2
    k4 = a1[0]
    return (v3[:k4], v3[:k4 - 1], v1[0] + v2[0])
