"""The harness must see each of these wrong compilers."""

from __future__ import annotations

import numpy as np
import pytest

from tests.programs import harness
from tests.programs.harness import Difference, check, check_calls
from tests.programs.twelve import TWELVE


def copying(fn):
    """Writes never reach the caller, results never share memory with arguments."""
    return lambda *args: fn(*(np.array(arg) if isinstance(arg, np.ndarray) else arg for arg in args))


def after(fn, change):
    """Spoils the result."""

    def wrong(*args):
        return change(fn(*args))

    return wrong


def seeded(fn, calls, wrong, **options):
    """`wrong` differs from `fn`, and `fn` itself does not."""
    check_calls(fn, calls, "numpy", **options)
    with pytest.raises(Difference) as caught:
        check_calls(fn, calls, "numpy", compiled=wrong, **options)
    return str(caught.value)


def vector():
    return (np.array([0.0, 1.0, -2.0, 4.0]),)


@pytest.mark.parametrize("name", ["P1", "P2", "P3", "P4", "P7", "P9", "P10", "P11", "P12"])
def test_views_made_copies(name):
    program = TWELVE[name]
    seeded(program.fn, program.calls, copying(program.fn))


def test_fault_only_in_aliased_call():
    program = TWELVE["P10"]
    message = seeded(program.fn, program.calls, lambda x, y: program.fn(x, y.copy()))
    assert "call 1" in message


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.astype(np.float32),
        lambda r: r[:-1],
        lambda r: r.reshape(1, -1),
        lambda r: r + 1e-15,
        lambda r: r + 0.0,  # -0.0 becomes 0.0
        lambda r: [r],
        lambda r: (r, r),
        lambda r: None,
        lambda r: r.tolist(),
        lambda r: np.broadcast_to(r, r.shape),  # read-only
    ],
)
def test_spoilt_result(change):
    def f(a):
        return a * -1.0

    seeded(f, [vector], after(f, change))


@pytest.mark.parametrize("change", [np.asarray, float, np.float32, lambda r: np.array([r])])
def test_scalar_types(change):
    def f(a):
        return a.sum()

    seeded(f, [vector], after(f, change))


def test_nan_is_equal_to_nan():
    def f(a):
        return a / a

    seeded(f, [vector], after(f, lambda r: np.nan_to_num(r)))
    assert harness.same_values(np.array([np.nan]), np.array([np.nan]), harness.Tolerance()).all()


def test_results_that_should_share():
    def f(a):
        b = a + 1
        return b, b[1:]

    seeded(f, [vector], after(f, lambda r: (r[0], r[1].copy())))


def test_results_that_should_not_share():
    def f(a):
        b = a + 1
        return b, b.copy()

    seeded(f, [vector], after(f, lambda r: (r[0], r[0])))


def test_view_at_another_offset():
    def zeros():
        return (np.zeros(6),)

    def f(a):
        return a[1:4]

    assert "offset" in seeded(f, [zeros], lambda a: a[2:5])


def test_write_beside_the_view():
    def view():
        return (np.zeros(6)[2:4],)

    def f(a):
        a[:] = 1

    def wrong(a):
        a.base[:] = 1

    assert "base of argument" in seeded(f, [view], wrong)


def test_missing_and_other_errors():
    def f(a):
        return a[9]

    def other(a):
        raise ValueError

    def half_done(a):
        a[0] = 5
        raise IndexError

    seeded(f, [vector], lambda a: a[3])
    seeded(f, [vector], other)
    seeded(f, [vector], half_done)


def test_untouched_is_right_where_an_error_comes_early():
    def f(a):
        a[0] = 5
        return a[9]

    def early(a):
        raise IndexError

    check(f, vector, "numpy", compiled=early)


def test_error_that_numpy_does_not_raise():
    def f(a):
        return a + 1

    def wrong(a):
        raise ValueError

    seeded(f, [vector], wrong)


def test_warnings():
    def f(a):
        return 1.0 / a

    def silent(a):
        with np.errstate(all="ignore"):
            return 1.0 / a

    assert "RuntimeWarning" in seeded(f, [vector], silent)
    check(f, vector, "numpy", compiled=silent, check_warnings=False)


def test_tolerances():
    def f(a):
        return np.exp(a)

    def near(a):
        return np.nextafter(np.exp(a), np.inf)

    seeded(f, [vector], near)
    check(f, vector, "numpy", compiled=near, ulp=1)
    check(f, vector, "numpy", compiled=near, rtol=1e-12)
    seeded(f, [vector], after(near, lambda r: r * 1.001), ulp=2)
    seeded(f, [vector], after(f, lambda r: r * np.inf), rtol=1.0)


def test_required_classes():
    with pytest.raises(Exception) as caught:
        np.zeros(3).sum(axis=4)
    assert set(harness.required_classes(caught.value)) == {ValueError, IndexError}
    with pytest.raises(Exception) as caught:
        np.linalg.inv(np.zeros((2, 2)))
    assert harness.required_classes(caught.value) == (ValueError,)
