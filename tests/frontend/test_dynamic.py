"""`dynamic=`: one compilation serves all sizes, and means what NumPy means for each of them."""

import numpy as np
import pytest

import sparsec
from sparsec.errors import ArgumentError, IndexOutOfRange, ShapeError
from sparsec.frontend.dynamic import Dynamic
from tests.programs.harness import check_calls

BACKENDS = ("interp", "loops", "cpu", pytest.param("opencl", marks=pytest.mark.slow))
SIZES = (5, 3, 17, 2, 64)


def numbers(*shape):
    return np.random.default_rng(sum(shape)).integers(-9, 10, shape).astype("f8")


def elementwise(x):
    return np.maximum(x * 2 + 1, 0)


def reduction(x):
    return x.sum(), x.max(), x.argmax()


def in_place(x):
    x[1:] += x[:-1]
    x[::-1] *= 2


def views(x):
    y = x[1:-1]
    y[...] = -y
    return x[::2], x[::-1]


def shifted(x):
    y = np.zeros(x.shape[0] + 1)
    y[1:] = x
    return y[:-1] - x


def recurrence(x):
    for i in range(1, x.shape[0]):
        x[i] += 0.5 * x[i - 1]
    return x[-1]


def triangular(x):
    total = 0.0
    for i in range(x.shape[0]):
        total += x[:i].sum()
    return total


def halving(x):
    n = len(x)
    while n > 1:
        x[: n // 2] += x[n // 2 : 2 * (n // 2)]
        n = n // 2
    return x[0]


def temporaries(x):
    y = np.cumsum(x)
    z = np.cumsum(y[::-1])
    return y - z


def clipped_slice(x):
    return x[:10] * 2, x[3:]


def branch(x):
    if x[0] > 0:
        y = x + 1
    else:
        y = x - 1
    return y


ONE_AXIS = (elementwise, reduction, in_place, views, shifted, recurrence, triangular, halving, temporaries,
            clipped_slice, branch)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fn", ONE_AXIS, ids=lambda f: f.__name__)
def test_one_axis(fn, backend):
    calls = [lambda n=n: (numbers(n),) for n in SIZES]
    f = check_calls(fn, calls, backend, dynamic=("x",))
    assert f.specialisations == 1


def row_sums(x):
    return x.sum(axis=1), x.sum(axis=0), x.T + 1


def outer_product(x):
    return x[:, None, :] * x[None, :, :]


def gauss(x):
    for k in range(x.shape[0] - 1):
        x[k + 1 :] -= x[k] * 0.125
    return x[:, 0]


def columns(x):
    out = np.empty((x.shape[0], 2))
    out[:, 0] = x[:, 0] + x[:, -1]
    out[:, 1] = x[:, 0] - x[:, -1]
    return out


def flat(x):
    return x.reshape(-1) + 1, x.ravel()[::2]


def product(x):
    return x @ x.T


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fn", (row_sums, outer_product, gauss, columns, flat, product), ids=lambda f: f.__name__)
def test_two_axes(fn, backend):
    shapes = ((3, 4), (5, 2), (2, 9), (7, 7))
    f = check_calls(fn, [lambda s=s: (numbers(*s),) for s in shapes], backend, dynamic=("x",))
    assert f.specialisations == 1


@pytest.mark.parametrize("backend", ("loops", "cpu"))
def test_lengths_0_and_1_have_a_meaning_of_their_own(backend):
    def f(x, y):
        return x + y, x.sum()

    calls = [lambda n=n: (numbers(n), numbers(4)) for n in (4, 1, 4)] + [lambda: (numbers(1), numbers(0))]
    check_calls(f, calls, backend, dynamic=("x", "y"))


@pytest.mark.parametrize("backend", BACKENDS)
def test_layouts(backend):
    def f(x):
        x += 1
        return x.sum(axis=0), x[1:]

    def fortran(n):
        return (np.asfortranarray(numbers(n, 3)),)

    compiled = check_calls(f, [lambda n=n: fortran(n) for n in SIZES], backend, dynamic=("x",))
    assert compiled.specialisations == 1
    check_calls(f, [lambda n=n: (numbers(n)[::-1],) for n in SIZES], backend, dynamic=("x",), compiled=compiled)
    check_calls(f, [lambda n=n: (numbers(2 * n)[::2],) for n in SIZES], backend, dynamic=("x",), compiled=compiled)
    assert compiled.specialisations == 3  # contiguous, backwards, every other element


@pytest.mark.parametrize("backend", ("loops", "cpu"))
def test_arguments_that_overlap_are_exact(backend):
    def f(x, y):
        x[:] = y
        return x

    def overlapping(n):
        base = numbers(n + 1)
        return base[1:], base[:-1]

    compiled = check_calls(f, [lambda n=n: overlapping(n) for n in (4, 5)], backend, dynamic={"x": (0,), "y": (0,)})
    assert compiled.specialisations == 2


def dot(x, y):
    return (x * y).sum(), x + y


NAMED = {"x": {0: "n"}, "y": {0: "n"}}


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_name_is_one_size(backend):
    f = check_calls(dot, [lambda n=n: (numbers(n), numbers(n)) for n in SIZES], backend, dynamic=NAMED)
    assert f.specialisations == 1
    with pytest.raises(ShapeError, match="the dim 'n' is 4, but 5 at axis 0 of `y`"):
        f(numbers(4), numbers(5))


@pytest.mark.parametrize("backend", BACKENDS)
def test_sizes_without_a_name_are_compared_when_the_program_runs(backend):
    f = sparsec.jit(dot, backend=backend, dynamic=("x", "y"))
    np.testing.assert_array_equal(f(numbers(4), numbers(4))[1], 2 * numbers(4))
    with pytest.raises(ShapeError, match="could not be broadcast"):
        f(numbers(4), numbers(5))


def masked(x):
    return x[x > 0], np.flatnonzero(x > 2)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dynamic", [("x",), {"x": {0: ("n", 100)}}], ids=["unbounded", "bounded"])
def test_lengths_that_depend_on_data_too(dynamic, backend):
    f = check_calls(masked, [lambda n=n: (numbers(n),) for n in SIZES], backend, dynamic=dynamic)
    assert f.specialisations == 1


def test_bounds_are_checked_and_plan_memory():
    f = sparsec.jit(temporaries, dynamic={"x": {0: ("n", 32)}})
    np.testing.assert_array_equal(f(numbers(32)), temporaries(numbers(32)))
    with pytest.raises(ShapeError, match="axis 0 of `x` is 33 long; dynamic= says that 'n' is at most 32"):
        f(numbers(33))
    plan = {p.space for p in f.trace(numbers(5)).compilation.planned.plan}
    assert "arena" in plan and "scratch" not in plan


def test_without_a_bound_the_call_makes_the_memory():
    plan = sparsec.jit(temporaries, dynamic=("x",)).trace(numbers(5)).compilation.planned.plan
    assert {str(p.nbytes) for p in plan if p.space == "scratch"} == {"8*%x.0"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_python_ints(backend):
    def power(x, n):
        for _ in range(n):
            x = x * 2
        return x[n], np.zeros(n) + x[0], n * 2

    compiled = check_calls(power, [lambda n=n: (numbers(9), n) for n in (3, 5, 2)], backend, dynamic=("n",))
    assert compiled.specialisations == 1
    with pytest.raises(IndexOutOfRange):
        compiled(numbers(9), 9)
    with pytest.raises(ShapeError, match="negative dimensions"):
        compiled(numbers(9), -1)


def test_other_axes_stay_in_the_key():
    f = sparsec.jit(elementwise, dynamic={"x": (0,)})
    for shape in ((3, 4), (5, 4), (5, 6)):
        np.testing.assert_array_equal(f(numbers(*shape)), elementwise(numbers(*shape)))
    assert f.specialisations == 2


def test_a_negative_axis_counts_from_the_end():
    f = sparsec.jit(elementwise, dynamic={"x": (-1,)})
    for shape in ((3, 4), (3, 5), (4, 5)):
        f(numbers(*shape))
    assert f.specialisations == 2


def test_lists_of_arrays():
    def f(xs):
        return [x.sum() for x in xs]

    compiled = sparsec.jit(f, dynamic=("xs",))
    for a, b in ((3, 4), (6, 5)):
        assert compiled([numbers(a), numbers(b)]) == f([numbers(a), numbers(b)])
    assert compiled.specialisations == 1


OUTSIDE = np.arange(4.0)


def test_captured_arrays_are_exact():
    def f(x):
        return x.sum() + OUTSIDE

    compiled = sparsec.jit(f, dynamic=("x",))
    for n in (3, 9, 6):
        np.testing.assert_array_equal(compiled(numbers(n)), f(numbers(n)))
    assert compiled.specialisations == 1


def test_a_parameter_that_is_called_like_a_size():
    def f(n, x):
        return x * n

    compiled = sparsec.jit(f, dynamic={"x": {0: "n"}})
    for size in (3, 4):
        np.testing.assert_array_equal(compiled(2.0, numbers(size)), 2 * numbers(size))
    assert compiled.specialisations == 1


@pytest.mark.parametrize(("dynamic", "words"), [
    (("y",), "no parameter 'y'"),
    ({"x": 0}, "a tuple of ints"),
    ({"x": ("n",)}, "no axis or size"),
    ({"x": {0: "a b"}}, "no name for an axis"),
    ({"x": {0: ("n", "many")}}, "no axis or size"),
    ({"x": {0: ("n", 1)}}, "at least 2"),
])
def test_what_cannot_be_meant(dynamic, words):
    with pytest.raises(ArgumentError, match=words):
        sparsec.jit(elementwise, dynamic=dynamic)


def test_an_axis_that_the_array_has_not():
    with pytest.raises(ShapeError, match="`x` has 1 axes, and no axis 1"):
        sparsec.jit(elementwise, dynamic={"x": (1,)})(numbers(3))


def test_nothing_dynamic_is_nothing():
    assert not Dynamic((), ("x",), False)


def test_a_compiled_stage_takes_other_sizes():
    compiled = sparsec.jit(elementwise, dynamic=("x",)).lower(numbers(4)).compile()
    np.testing.assert_array_equal(compiled(numbers(7)), elementwise(numbers(7)))
