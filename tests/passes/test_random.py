"""Random programs mean the same after every pass, and as loops in any order."""

import numpy as np
import pytest

from tests.passes.compiled import check_everywhere
from tests.passes.programs import random_program

CHUNK = 25


def close(have, want):
    # Small integers: the sums are exact but where products have grown.
    np.testing.assert_allclose(have, want, rtol=1e-5 if have.dtype.itemsize == 4 else 1e-12)


def check(seeds):
    for seed in seeds:
        func, args = random_program(seed)
        try:
            check_everywhere(func, args, orders=("reverse", "shuffle"), compare=close)
        except Exception as error:
            raise AssertionError(f"random_program({seed})") from error


@pytest.mark.parametrize("first", range(0, 100, CHUNK))
def test_same_meaning(first):
    check(range(first, first + CHUNK))


@pytest.mark.long
@pytest.mark.parametrize("first", range(1000, 2000, 100))
def test_same_meaning_of_more(first):
    check(range(first, first + 100))
