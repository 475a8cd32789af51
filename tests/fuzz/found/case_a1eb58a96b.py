"""error: VerifyError: [SP011] %11 begins before its storage, NumPy returns None"""

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('f8', (1.0,)),
        ),
        args=(
            View(0, 0, (0,), (1,)),
        ),
    ),
)
INEXACT = False


def f(a0):
    for i9 in range(17):
        a0[:i9] = a0[:i9:-1]
