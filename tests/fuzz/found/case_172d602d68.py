"""error: a mask over a part without elements and of run-time length"""

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('f8', (3.0, -1.0, 4.0, 1.0)),
        ),
        args=(
            View(0, 0, (2, 2), (1, 2)),
        ),
    ),
)
INEXACT = False
STAGED = True


def f(a0):
    k1 = 0
    for i2 in range(4):
        v3 = a0[:0, None, i2 + 1:]
        k1 += len(v3[v3 > 0])
    return k1
