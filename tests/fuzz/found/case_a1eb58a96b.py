"""error: VerifyError: [SP011] %11 begins before its storage, NumPy returns None"""

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('f8', (1.0, 2.0, 3.0)),
        ),
        args=(
            View(0, 0, (3,), (1,)),
        ),
    ),
)
INEXACT = False


def f(a0):
    v1 = a0[:0]
    v2 = a0[None, ::-1]
    for i9 in range(17):
        v1[:i9] = v1[:i9:-1]
        v2[1:i9, :] = 0
        v1[:] = a0[:0][i9:][::-1]
