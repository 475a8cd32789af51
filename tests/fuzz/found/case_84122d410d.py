"""error: VerifyError: [SP011] symbol 9 has no value in -%9+2: a slice in the condition of a loop"""

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('i4', (1, 2, 3)),
            Buffer('i4', (1, 2, 3)),
        ),
        args=(
            View(0, 0, (3,), (1,)),
            View(1, 0, (3,), (1,)),
        ),
    ),
)
INEXACT = False
STAGED = True


def f(a0, a1):
    for i1, x2 in enumerate(a0):
        n3 = 0
        while (a1[1:i1] >= 0).all() and n3 < 3:
            n3 += 1
            if n3:
                a1[n3 - 1] *= x2
                break
            else:
                a1[n3 - 1] += 1
