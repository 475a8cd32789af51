"""What cannot be one region is a typed error of the user's, wherever it is found."""

import numpy as np
import pytest

import sparsec
from sparsec.errors import ConcretizationError


def returns_of_different_structure(x):
    for i in range(4):
        if x[i] > 1:
            return x, i
        x = x + 1
    return x


def different_dicts(x):
    found = {}
    for i in range(4):
        if x[i] > 1:
            break
        found = {i: x}
    return found


def left_by_break_with_other_kinds(x):
    label = "none"
    for i in range(3):
        if x[i] > 1:
            label = "some"
            break
    return label


def counter_of_no_turn(x):
    for i in range(x[0].astype(int)):
        if x[i] > 1:
            break
    return x, i


def set_on_one_path(x):
    if x[0] > 1:
        y = x + 1
    return [y, x]


CASES = (returns_of_different_structure, different_dicts, left_by_break_with_other_kinds, counter_of_no_turn,
         set_on_one_path)


@pytest.mark.parametrize("fn", CASES, ids=lambda f: f.__name__)
def test_it_is_a_typed_error_with_the_line(fn):
    with pytest.raises(ConcretizationError) as caught:
        sparsec.jit(fn, backend="interp")(np.arange(4.0))
    assert caught.value.loc is not None and caught.value.loc.file == __file__
