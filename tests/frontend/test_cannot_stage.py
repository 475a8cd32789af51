"""What cannot be one region is a typed error of the user's, wherever it is found."""

import inspect

import numpy as np
import pytest

import sparsec
from sparsec.errors import ConcretizationError, SparsecError


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


def grows(x, n):
    out = []
    for i in range(n):  # <-
        out.append(x[i])
    return out


def is_added_to(x, n):
    out = []
    for i in range(n):  # <-
        out += [x[i]]
    return out


def loses_an_item(x, n):
    items = [x, x + 1]
    for _ in range(n):  # <-
        del items[0]
    return items


def object_changes(x, n):
    holder = Holder()
    for i in range(n):  # <-
        holder.value = x[i]
    return holder.value


class Holder:
    value = 0


def comprehension(x, n):
    return [x[i] for i in range(n)]  # <-


def generator(x, n):
    return sum(x[i] for i in range(n))  # <-


def forgets_a_variable(x, n):
    for i in range(n):  # <-
        y = x[i]
        del y
    return x


def deletes_elements(x, n):
    del x[0]  # <-


def matches(x, n):
    match n:
        case 1:  # <-
            return x
        case _:
            return x + 1


def written_out(x, n):
    return f"{x[0]}"  # <-


def chosen_from_a_list(x, n):
    return [1, 2, 3][n]  # <-


def key(x, n):
    return {n: x}  # <-


def global_variable(x, n):
    global Holder  # <-
    Holder = None


#: What is said of them, and what to write instead.
REFUSED = {
    grows: ("changes `out`, a Python list", "fill an array"),
    is_added_to: ("`out` has another structure", "fill an array"),
    loses_an_item: ("changes `items`, a Python list", "fill an array"),
    object_changes: ("changes `holder`, a Python Holder", "variables of the function"),
    comprehension: ("how many turns", "in a `for` statement"),
    generator: ("how many turns", "in a `for` statement"),
    forgets_a_variable: ("how many turns", "without `del x`"),
    deletes_elements: ("cannot delete array elements", "np.delete"),
    matches: ("Python branch", "`if`"),
    written_out: ("formatted string", "return the value"),
    chosen_from_a_list: ("Python index", "np.stack"),
    key: ("keys of a dict", "use a list"),
    global_variable: ("`global`", "return the value"),
}


@pytest.mark.parametrize("fn", REFUSED, ids=lambda f: f.__name__)
def test_what_python_does_at_once_names_the_line_and_a_way_out(fn):
    message, hint = REFUSED[fn]
    with pytest.raises(SparsecError) as caught:
        sparsec.jit(fn, backend="interp")(np.arange(4.0), np.int64(2))
    lines, first = inspect.getsourcelines(fn)
    assert caught.value.loc.line == first + next(k for k, line in enumerate(lines) if "# <-" in line)
    assert message in caught.value.message and hint in caught.value.hint
