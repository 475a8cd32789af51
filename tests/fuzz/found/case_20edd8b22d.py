"""identity: v1[...] was v1"""

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('i4', (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)),
        ),
        args=(
            View(0, 0, (4, 4), (4, 1)),
        ),
    ),
)
INEXACT = False


def f(a0):
    v1 = a0 + 1
    return v1, v1[...]
