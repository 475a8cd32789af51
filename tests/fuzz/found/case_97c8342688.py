"""error: ValueOverflow: Python integer -1 out of bounds for uint8, NumPy returns: where no turn comes"""

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('u1', (1, 2)),
            Buffer('i8', (1, 2)),
        ),
        args=(
            View(0, 0, (2,), (1,)),
            View(1, 0, (2,), (1,)),
        ),
    ),
)
INEXACT = False
STAGED = True


def f(a0, a1):
    for i2 in range(-1, 1):
        if a1[0] > 2:
            a0[0] = i2
    for i3 in range(a1[0] % 1):
        a0[a1.size] = i3
    while a1[1] < 0:
        a0[()] = a0[:, 0]
    return a0
