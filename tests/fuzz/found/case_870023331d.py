"""value: the memory of an integer was used again while the length of a view still needed it"""

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('f8', (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)),
            Buffer('i8', (3, 4, 5)),
        ),
        args=(
            View(0, 0, (9,), (1,)),
            View(1, 0, (3,), (1,)),
        ),
    ),
)
INEXACT = False


def f(a0, a1):
    v1 = a0[a0 > 1]
    v2 = v1[1:]
    v3 = (a1 + v1.sum().astype(int)).sum()
    v4 = (a1 * v3).sum()
    v5 = (a1 - v4).max() + v3
    v6 = v2[::2]
    v7 = v5 * v4
    return v6 * 2.0, v7
