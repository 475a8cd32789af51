"""value: a view at a run-time index was a copy"""

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('f8', (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)),
            Buffer('i8', (3,)),
        ),
        args=(
            View(0, 0, (2, 3), (3, 1)),
            View(1, 0, (), ()),
        ),
    ),
)
INEXACT = False


def f(a0, a1):
    v1 = a0[a1 % 2]
    a0[:] = -1
    return v1
