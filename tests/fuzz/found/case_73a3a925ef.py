"""error: VerifyError: [SP011] after pass linearize: %1.copy is used outside the region that defines..."""

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('f8', (1.0, 1.0, 1.0)),
        ),
        args=(
            View(0, 0, (2,), (1,)),
            View(0, 1, (1,), (1,)),
        ),
    ),
)
INEXACT = False


def f(a0, a1):
    for x4 in a1:
        if a0.any():
            a0[0] = x4
        a0[0] = x4
