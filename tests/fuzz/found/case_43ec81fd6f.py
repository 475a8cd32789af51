"""result: None, NumPy raises TypeError: Cannot cast scalar from dtype('float64') to dtype('int64') ..."""

import numpy as np

from tests.fuzz.recipe import Buffer, Recipe, View

CALLS = (
    Recipe(
        buffers=(
            Buffer('i8', (1,)),
        ),
        args=(
            View(0, 0, (), ()),
        ),
    ),
)
INEXACT = False


def f(a1):
    np.copyto(a1, 2.5)
