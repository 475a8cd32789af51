"""refused: `and` of values of several kinds as a condition"""

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('f8', (3.0, -1.0, 4.0, 1.0)),
        ),
        args=(
            View(0, 0, (4,), (1,)),
        ),
    ),
)
INEXACT = False
STAGED = True


def f(a0):
    k1 = 0
    for i2 in range(4):
        if i2 and a0[i2] and not (k1 or a0[i2] > 3):
            k1 += i2
        elif a0[i2] > 0 or k1:
            a0[i2] -= 1
    return k1
