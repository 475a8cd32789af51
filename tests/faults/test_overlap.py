"""Faults 1-20: overlap and aliasing, between views, operands and arguments."""

from __future__ import annotations

import numpy as np
import pytest

from tests.programs.harness import Difference, backends, check, check_calls, check_refused, jit

each_backend = pytest.mark.parametrize("backend", backends())

as_strided = np.lib.stride_tricks.as_strided


def vector():
    return (np.arange(1.0, 10.0),)


def long_vector():
    """Long enough for several vector lanes, blocks and threads."""
    return (np.random.default_rng(0).normal(size=20_000),)


def matrix():
    return (np.random.default_rng(1).normal(size=(37, 37)),)


def both(fn, backend):
    check_calls(fn, [vector, long_vector], backend)


@each_backend
def test_f01_copy_up(backend):
    def f(a):
        a[1:] = a[:-1]

    both(f, backend)


@each_backend
def test_f01_copy_down_and_rows(backend):
    def down(a):
        a[:-1] = a[1:]

    def rows(a):
        a[2:] = a[:-2]

    def cols(a):
        a[:, 1:] = a[:, :-1]

    both(down, backend)
    check(rows, matrix, backend)
    check(cols, matrix, backend)


@each_backend
def test_f02_add_from_below(backend):
    def f(a):
        a[1:] += a[:-1]

    both(f, backend)


@each_backend
def test_f03_add_from_above(backend):
    def f(a):
        a[:-1] += a[1:]

    both(f, backend)


@each_backend
def test_f04_reverse_into_itself(backend):
    def f(a):
        a[::-1] = a

    both(f, backend)


@each_backend
def test_f04_other_steps(backend):
    def f(a):
        a[::2] = a[4::-1]
        a[1:7:3] -= a[6:2:-2]
        a[-3:] = a[-1:-4:-1]

    check(f, vector, backend)


@each_backend
def test_f05_transpose_into_itself(backend):
    def f(m):
        m[:] = m.T

    check(f, matrix, backend)


@each_backend
def test_f06_add_own_transpose(backend):
    def f(m):
        m += m.T

    check(f, matrix, backend)


@each_backend
def test_f07_overlapping_arguments_both_written(backend):
    def f(x, y):
        x *= 2.0
        y += x
        x[0] = y[0]
        return x - y

    def overlapping(make):
        (a,) = make()
        return a[:-1], a[1:]

    check_calls(f, [lambda: overlapping(vector), lambda: overlapping(long_vector)], backend)


@each_backend
def test_f07_overlap_through_different_strides(backend):
    def f(x, y):
        x[:] = y
        y += 1.0

    def args():
        a = np.arange(12.0)
        return a[::2], a[5::-1]

    check(f, args, backend)


@each_backend
def test_f07_interleaved_but_disjoint(backend):
    def f(x, y):
        x += y
        y[:] = -1.0

    def args():
        a = np.arange(12.0)
        return a[::2], a[1::2]

    check(f, args, backend)


@each_backend
def test_f08_same_argument_twice(backend):
    def f(x, y):
        x += 1.0
        y *= x
        return x - y

    def args():
        a = np.arange(9.0)
        return a, a

    check(f, args, backend)


@each_backend
def test_f08_same_argument_as_input_and_out(backend):
    def f(x, out):
        np.multiply(x[::-1], 2.0, out=out)
        return x + 1.0

    def args():
        a = np.arange(9.0)
        return a, a

    check(f, args, backend)


@each_backend
def test_f09_views_of_different_dtype(backend):
    def f(x, y):
        x += 1.0
        y[0] = 7
        return x * 2.0

    def args():
        a = np.arange(1.0, 9.0)
        return a, a.view(np.int64)

    check(f, args, backend, may_refuse=("AliasError",))


@each_backend
def test_f10_view_taken_base_written_view_read(backend):
    def f(a):
        v = a[2:6]
        w = v[::-2]
        a[3:] = 5.0
        first = w + 1.0
        a[:] *= 2.0
        return first, w + 1.0, v

    check(f, vector, backend)


@each_backend
def test_f10_through_method_views(backend):
    def f(m):
        flat = m.reshape(-1)
        turned = m.T
        m[1] = 3.0
        flat[:2] = -1.0
        turned[5, :] += 0.5
        return flat * 1.0, turned.ravel()

    check(f, matrix, backend)


@each_backend
def test_f11_copies_do_not_alias(backend):
    def f(a):
        c = a.copy()
        a[:] = 0.0
        d = np.array(a)
        a += 1.0
        e = a[2:5].copy()
        e[0] = 9.0
        return c, d, e, a + 0.0

    check(f, vector, backend)


@each_backend
def test_f11_reshape_that_copies(backend):
    def f(m):
        flat = m.T.reshape(-1)
        m[0] = 0.0
        flat[1] = 4.0
        return flat

    check(f, matrix, backend)


@each_backend
@pytest.mark.parametrize(
    "view",
    [
        lambda a: a,
        lambda a: a[1:],
        lambda a: a[::-2],
        lambda a: a[3:3],
        lambda a: a[None, 2:7, None],
        lambda a: a.reshape(3, 3).T,
        lambda a: a.reshape(3, 3)[:, 1],
        lambda a: a.reshape(3, 3).diagonal(),
        lambda a: np.broadcast_to(a, (2, 9)),
        lambda a: a + 0.0,
        lambda a: a[[0, 1]],
    ],
    ids=lambda view: None,
)
def test_f12_returned_views(view, backend):
    def f(a):
        a[0] = 8.0
        return view(a)

    check(f, vector, backend)


@each_backend
def test_f12_written_after_the_call(backend):
    def f(a):
        return a[2:]

    compiled = jit(f, backend)
    (a,) = vector()
    view = compiled(a)
    view[0] = -5.0
    assert a[2] == -5.0
    a[3] = -6.0
    assert view[1] == -6.0


@each_backend
def test_f13_returned_twice(backend):
    def f(a):
        b = a * 2.0
        return b, b, b[:]

    compiled = check(f, vector, backend)
    first, second, third = compiled(*vector())
    assert first is second
    assert first is not third


@each_backend
def test_f13_argument_returned(backend):
    def f(a):
        a += 1.0
        return a, [a]

    compiled = check(f, vector, backend)
    (a,) = vector()
    first, second = compiled(a)
    assert first is a
    assert second[0] is a


@each_backend
def test_f14_out_overlaps_operand(backend):
    def shifted(a):
        np.add(a[:-1], a[1:], out=a[1:])

    def reversed_(a):
        return np.subtract(a, 1.0, out=a[::-1])

    def transposed(m):
        np.multiply(m, 2.0, out=m.T)

    def returned(a):
        r = np.exp2(a[:3], out=a[1:4])
        r += 1.0
        return r

    both(shifted, backend)
    both(reversed_, backend)
    check(transposed, matrix, backend)
    check(returned, lambda: (np.arange(9.0),), backend, ulp=2)


@each_backend
def test_f14_reduction_into_its_operand(backend):
    def f(m):
        np.sum(m, axis=0, out=m[3])
        np.cumsum(m[0, :-1], out=m[0, 1:])

    check(f, matrix, backend, rtol=1e-12, atol=1e-12)


@each_backend
def test_f15_broadcast_argument_written(backend):
    def f(x):
        x[1] = 4.0

    def g(x):
        x += 1.0

    def args():
        return (np.broadcast_to(np.arange(3.0), (4, 3)),)

    check(f, args, backend)
    check(g, args, backend)


@each_backend
def test_f15_broadcast_inside_written(backend):
    def f(a):
        b = np.broadcast_to(a, (2, 9))
        b[0] = 1.0

    def readable(a):
        b = np.broadcast_to(a, (2, 9))
        a[0] = 5.0
        return b + 1.0

    check(f, vector, backend)
    check(readable, vector, backend)


@each_backend
def test_f15_broadcast_argument_read(backend):
    def f(x, y):
        return x * 2.0 + y

    def args():
        return np.broadcast_to(np.float64(3.0), (4, 3)), np.broadcast_to(np.arange(4.0)[:, None], (4, 3))

    check(f, args, backend)


@each_backend
def test_f16_argument_overlapping_itself(backend):
    def f(x, y):
        x[:] = y

    def args():
        base = np.zeros(6)
        return as_strided(base, (4, 3), (8, 8)), np.arange(12.0).reshape(4, 3)

    check(f, args, backend, may_refuse=True)


@each_backend
def test_f16_last_in_c_order_wins(backend):
    """NumPy walks memory where that differs from C order, and promises neither."""

    def f(x, y):
        x[:] = y

    base = np.zeros(8)
    x, y = as_strided(base, (4, 3), (8, 16)), np.arange(12.0).reshape(4, 3)
    if backend == "numpy":
        return
    jit(f, backend)(x, y)
    last = {int(at): value for at, value in zip(sum(np.ogrid[0:4, 0:6:2]).ravel(), y.ravel())}
    assert base.tolist() == [last[k] for k in range(8)], "not written in C order"


@each_backend
def test_f17_repeated_index_in_update(backend):
    def f(a):
        a[[0, 0, 1]] += 1.0

    def by_argument(a, index):
        a[index] *= 2.0

    check(f, vector, backend)
    check(by_argument, lambda: (*vector(), np.array([3, -1, 3, 8])), backend)


@each_backend
def test_f18_repeated_index_last_wins(backend):
    def f(a, index, values):
        a[index] = values

    def args():
        rng = np.random.default_rng(2)
        return np.zeros(50), rng.integers(-50, 50, 4000), rng.normal(size=4000)

    check(f, args, backend)


@each_backend
def test_f19_mask_write(backend):
    def f(a):
        a[a > 0] = 0.0

    def twice(a):
        a[a > 5] -= 10.0
        a[~(a >= 2)] = -1.0

    def rows(m):
        m[m[:, 0] > 0] = 7.0

    both(f, backend)
    both(twice, backend)
    check(rows, matrix, backend)


@each_backend
def test_f19_mask_that_views_its_target(backend):
    def f(a):
        flags = a != 0
        flags[flags] = False
        return flags

    check(f, vector, backend)


@each_backend
def test_f20_guard_sees_new_aliasing(backend):
    def f(x, y):
        x[:] = y * 2.0
        return x + y

    def apart():
        return np.arange(8.0), np.arange(8.0) + 1.0

    def same():
        a = np.arange(8.0)
        return a, a

    def shifted():
        a = np.arange(9.0)
        return a[1:], a[:-1]

    def shifted_back():
        a = np.arange(9.0)
        return a[:-1], a[1:]

    def same_allocation():
        a = np.arange(16.0)
        return a[:8], a[8:]

    makers = [apart, same, shifted, apart, shifted_back, same_allocation, shifted, same, apart]
    check_calls(f, makers, backend)


@each_backend
def test_f20_read_only_operands_may_overlap(backend):
    def f(x, y):
        return x + y

    def overlapping():
        a = np.arange(9.0)
        return a[1:], a[:-1]

    check_calls(f, [lambda: (np.ones(8), np.ones(8)), overlapping], backend)


def test_copying_compiler_is_seen():
    """What these tests must notice at least: a compiler that works on copies."""

    def f(a):
        a[1:] += a[:-1]

    with pytest.raises(Difference):
        check(f, vector, "numpy", compiled=lambda a: f(a.copy()))
    assert check_refused(f, vector, "numpy") is None
