"""result: None, NumPy raises ValueError: cannot convert float NaN to integer"""

from math import nan

from tests.fuzz.recipe import Buffer, Recipe, Scalar, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('i8', (1,)),
        ),
        args=(
            View(0, 0, (1,), (1,)),
            Scalar('f8', nan),
        ),
    ),
)
INEXACT = False


def f(a0, a2):
    a0[0] = a2
