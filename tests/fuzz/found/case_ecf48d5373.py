"""result: a NumPy scalar stored into a smaller integer has to fit"""

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('i1', (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)),
            Buffer('i8', (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 300)),
        ),
        args=(
            View(0, 0, (20,), (1,)),
            View(1, 0, (20,), (1,)),
        ),
    ),
)
INEXACT = False


def f(a0, a1):
    for k in range(20):
        a0[k] = a1[k]
