"""Every ufunc of NumPy on every dtype: values, dtypes, memory order and errors are NumPy's, or it says no."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import sparsec
from sparsec.errors import SparsecError, UnsupportedError
from tests.programs.harness import check, ulp_distance

UFUNCS = sorted({f.__name__: f for f in vars(np).values() if isinstance(f, np.ufunc)}.items())
ELEMENTWISE = [(name, f) for name, f in UFUNCS if f.signature is None]
DTYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"]
EDGES = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, -0.75, 3.25, -7.0, 100.0, 1e-3, np.inf, -np.inf, np.nan]

#: Distance from NumPy that is allowed: NumPy's own loops differ between machines by as much.
ULP = {"f": 4, "c": 256}
#: Of which argument the sample is made harmless, so that the exact result is defined.
SMALL = {"power", "left_shift", "right_shift", "ldexp", "lcm", "gcd"}


def samples(dtype: str, name: str) -> np.ndarray:
    """Awkward values of a dtype."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return np.array([True, False, True])
    if kind in "iu":
        info = np.iinfo(dtype)
        if name in SMALL:
            return np.array([0, 1, 2, 3, 5, 7, 12], dtype)
        return np.array(
            [0, 1, 2, 3, 7, 100, info.max, info.min, info.max // 2] + [-1, -7] * (kind == "i"), dtype
        )
    with np.errstate(all="ignore"):
        values = np.array(EDGES, "f8")
        if kind == "c":
            # Which infinity or NaN a complex function gives beside another is not part of NumPy's meaning.
            finite = values[np.isfinite(values)]
            return (finite[:, None] + 1j * finite[None, ::3]).ravel().astype(dtype)
        return values.astype(dtype)


def close(got: np.ndarray, want: np.ndarray) -> bool:
    """Equal, or off by the units in the last place that the kind allows."""
    if want.dtype.kind == "c":
        size = np.maximum(np.abs(want), np.finfo(want.dtype).tiny)
        with np.errstate(all="ignore"):
            near = np.abs(got - want) <= 64 * np.finfo(want.dtype).eps * size
        return bool(np.all(near | (got == want) | ~np.isfinite(want)))
    if want.dtype.kind != "f":
        return bool(np.array_equal(got, want))
    with np.errstate(all="ignore"):
        same = (got == want) | (np.isnan(got) & np.isnan(want))
        near = np.isfinite(got) & np.isfinite(want) & (ulp_distance(got, want) <= ULP["f"])
    return bool(np.all(same | near))


def compare_call(ufunc, args, backend: str, **kwargs) -> None:
    """One call on the arguments, against NumPy."""

    def f(*xs):
        return ufunc(*xs, **kwargs)

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            want = ufunc(*args, **kwargs)
        except (TypeError, ValueError) as error:
            with pytest.raises(TypeError if isinstance(error, TypeError) else ValueError):
                sparsec.jit(f, backend=backend)(*args)
            return
        try:
            got = sparsec.jit(f, backend=backend)(*args)
        except UnsupportedError as error:
            assert ufunc.__name__ in str(error), error
            return
    wants = want if isinstance(want, tuple) else (want,)
    gots = got if isinstance(got, tuple) else (got,)
    assert len(gots) == len(wants)
    for g, w in zip(gots, wants):
        assert type(g) is type(w) and g.dtype == w.dtype and g.shape == w.shape, (g, w)
        assert close(np.asarray(g), np.asarray(w)), (ufunc.__name__, args, g, w)


def arguments(ufunc: np.ufunc, dtype: str) -> tuple[np.ndarray, ...]:
    """All pairs of samples for binary ufuncs, the samples for unary ones."""
    x = samples(dtype, ufunc.__name__)
    if ufunc.nin == 1:
        return (x,)
    if ufunc.__name__ == "ldexp":
        return np.repeat(x, 4), np.tile(np.array([0, 1, -3, 40], "i4"), x.size)
    return np.repeat(x, x.size), np.tile(x, x.size)


@pytest.mark.parametrize("name, ufunc", ELEMENTWISE, ids=[n for n, _ in ELEMENTWISE])
def test_all_dtypes_on_interp(name, ufunc):
    for dtype in DTYPES:
        compare_call(ufunc, arguments(ufunc, dtype), "interp")


@pytest.mark.parametrize("name, ufunc", ELEMENTWISE, ids=[n for n, _ in ELEMENTWISE])
def test_a_sample_on_cpu(name, ufunc):
    for dtype in ("i4", "f4"):
        compare_call(ufunc, arguments(ufunc, dtype), "cpu")


@pytest.mark.parametrize("name, ufunc", ELEMENTWISE, ids=[n for n, _ in ELEMENTWISE])
def test_scalars_zero_size_and_0d(name, ufunc):
    for dtype in ("i4", "f8"):
        x = samples(dtype, name)
        for one in (x[1], np.array(x[1]), np.zeros((0, 3), dtype)):
            other = np.int32(1) if name == "ldexp" else one
            compare_call(ufunc, (one, other)[: ufunc.nin], "interp")


LAYOUTS = {
    "c": lambda: np.arange(1.0, 13).reshape(3, 4),
    "f": lambda: np.arange(1.0, 13).reshape(4, 3).T,
    "strided": lambda: np.arange(1.0, 49).reshape(6, 8)[::2, ::2],
    "reversed": lambda: np.arange(1.0, 13).reshape(3, 4)[::-1, ::-1],
    "three": lambda: np.arange(1.0, 25).reshape(2, 3, 4).transpose(2, 0, 1)[:3, :, :1],
}


@pytest.mark.parametrize("backend", ["interp", "cpu"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_order_of_results(layout, backend):
    def f(x, row):
        y, z = x + row, np.negative(x)
        w = np.add(x, 1, order="F")
        # The memory order of a result is seen in what a ravel in memory order gives.
        return y, z, w, y.ravel("K"), z.ravel("K"), w.ravel("K"), np.multiply(x, x, order="C").ravel("K")

    check(f, lambda: (LAYOUTS[layout](), LAYOUTS[layout]()[..., :1]), backend)


@pytest.mark.parametrize("backend", ["interp", "cpu"])
def test_out_and_where(backend):
    def f(x, y, mask, out):
        np.add(x, y, out=out)
        np.multiply(x, 2, out=x, where=mask)
        z = np.subtract(x, y, out=out[::-1])
        np.divmod(x, 2, out=(x, y))
        filled = np.zeros_like(out)
        np.sqrt(np.abs(x), where=mask, out=filled)
        return z, filled, np.add(x, out[0, 0], out=...)

    def args():
        x = np.arange(12.0).reshape(3, 4)
        return x, x[::-1].copy(), x % 3 == 0, np.zeros((3, 4))

    check(f, args, backend)


@pytest.mark.parametrize("backend", ["interp", "cpu"])
def test_where_keeps_notes_and_checks_away(backend):
    def f(x, y):
        q = np.floor_divide(x, y, where=y != 0, out=np.full_like(x, -1))
        return q, np.power(x, y - 1, where=y > 0, out=np.zeros_like(x))

    check(f, lambda: (np.arange(6), np.array([0, 1, 0, 2, 0, 3])), backend)


@pytest.mark.parametrize("backend", ["interp", "cpu"])
def test_negative_integer_power(backend):
    def by_array(x, y):
        x[0] = 5
        return x**y

    def by_number(x):
        return x**-2

    check(by_array, lambda: (np.arange(3), np.array([1, -1, 0])), backend)
    check(by_number, lambda: (np.arange(3),), backend)


NUMBERS = [True, 3, -3, 300, 2.5, 1j]
SCALARS = [np.int8(3), np.uint64(3), np.float32(2.5), np.complex64(1j), np.bool_(True), np.int64(300)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_promotion_with_numbers_and_scalars(dtype):
    x = np.array([0, 1, 1], dtype)
    for ufunc in (np.add, np.multiply, np.maximum, np.less, np.true_divide):
        for other in (*NUMBERS, *SCALARS):

            def f(x, ufunc=ufunc, other=other):
                return ufunc(x, other), ufunc(other, x)

            check(f, lambda: (x.copy(),), "interp", rtol=1e-6, check_warnings=False)


@pytest.mark.parametrize("one", DTYPES)
def test_promotion_of_two_dtypes(one):
    for other in DTYPES:

        def f(x, y):
            return (
                x + y,
                np.minimum(x, y),
                np.arctan2(x, y) if x.dtype.kind + y.dtype.kind == "ff" else x == y,
            )

        check(
            f, lambda other=other: (np.array([0, 1, 1], one), np.array([1, 0, 1], other)), "interp", rtol=1e-6
        )


METHOD_ARRAYS = {
    "float": lambda: np.array([[3.0, -1, 2, 5], [0.5, 4, -2, 1], [7, 1, 1, 0]]),
    "fortran": lambda: np.array([[3.0, -1, 2], [0.5, 4, -2], [7, 1, 1]], order="F"),
    "int": lambda: np.array([[6, 4, 2], [8, 3, 9]], np.int16),
    "bool": lambda: np.array([[True, False, True], [True, True, True]]),
}


@pytest.mark.parametrize("backend", ["interp", "cpu"])
@pytest.mark.parametrize("array", METHOD_ARRAYS)
def test_reduce_and_accumulate(array, backend):
    sample = METHOD_ARRAYS[array]()
    names = ["add", "multiply", "maximum", "minimum", "logical_and", "logical_or", "logical_xor", "fmax"]
    names += {
        "f": ["subtract", "true_divide", "hypot"],
        "i": ["bitwise_or", "bitwise_and", "gcd", "subtract"],
        "b": ["bitwise_xor", "bitwise_and"],
    }[sample.dtype.kind]
    for name in names:
        ufunc = getattr(np, name)

        def f(x, ufunc=ufunc):
            return (
                ufunc.reduce(x),
                ufunc.reduce(x, axis=1, keepdims=True),
                ufunc.reduce(x, axis=-1),
                ufunc.accumulate(x),
                ufunc.accumulate(x, axis=1).ravel("K"),
            )

        check(f, lambda: (METHOD_ARRAYS[array](),), backend, rtol=1e-12, check_warnings=False)


@pytest.mark.parametrize("backend", ["interp", "cpu"])
def test_outer_and_at(backend):
    def f(x, y, k, v):
        product = np.multiply.outer(x, y)
        np.add.at(x, k, v)
        np.subtract.at(y, k, 2)
        np.maximum.at(x, [0, 1, 0], y[:3])
        np.add.at(x, slice(0, 2), 1)
        np.negative.at(y, 1)
        return product, np.less.outer(y, x[:2])

    def args():
        return np.arange(6.0), np.arange(4) * 3, np.array([0, 2, 0, -1]), np.array([1.5, 2, 3, 4])

    check(f, args, backend)


def test_refused():
    x = np.arange(200.0)
    for f in (
        lambda x: np.subtract.reduce(x),
        lambda x: np.hypot.at(x, [0], 1.0),
        lambda x: np.nextafter(x.astype("f2"), np.float16(1)),
    ):
        with pytest.raises(UnsupportedError):
            sparsec.jit(f, backend="interp")(x)


def test_wrong_calls_are_typed_errors():
    def no_such_loop(x):
        return np.negative(x)

    def out_of_bounds(x):
        return np.add(x.astype("u1"), 300)

    with pytest.raises(SparsecError):
        sparsec.jit(no_such_loop, backend="interp")(np.array([True]))
    with pytest.raises(OverflowError):
        sparsec.jit(out_of_bounds, backend="interp")(np.arange(3))


@pytest.mark.parametrize("backend", ["interp", "cpu"])
@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod", "divmod", "reciprocal"])
def test_integer_warnings(name, backend):
    ufunc = getattr(np, name)
    low = np.iinfo("i4").min
    for pair in ((5, 0), (low, -1), (7, 2)):

        def f(x, y, ufunc=ufunc):
            return ufunc(*(x, y)[-ufunc.nin :])

        check(f, lambda pair=pair: (np.array(pair[:1], "i4"), np.array(pair[1:], "i4")), backend)


def shifted_by_itself(x):
    x[x >= 0] = -1
    x >>= x


def test_what_no_range_of_sizes_has_is_computed_when_it_runs():
    check(shifted_by_itself, lambda: (np.ones(2, np.int64),), "cpu")


def extrema(x, y):
    return np.maximum(x, y), np.minimum(x, y), np.fmax(x, y), np.fmin(x, y), np.clip(x, y, 0.0), np.clip(x, 0, y)


def folded_extrema(x, y):
    both = np.stack([x, y, y, x], axis=1)
    return (
        both.max(), both.min(axis=0), both.T.max(axis=1), both[::-1].min(), both.max(axis=1, initial=-0.0),
        np.fmax.reduce(both, axis=1), np.nanmin(both, axis=1),
        np.maximum.accumulate(both, axis=1), np.minimum.accumulate(both.T, axis=1),
    )


@pytest.mark.parametrize("of", (extrema, folded_extrema))
@pytest.mark.parametrize("backend", ("interp", "cpu"))
def test_of_equal_halves_the_first_is_kept(of, backend):
    x, y = np.array([0.0, -0.0, 1.0, np.nan], "f2"), np.array([-0.0, 0.0, np.nan, 1.0], "f2")
    for args in ((x, y), (x[:2], y[:2]), (y[:2], x[:2])):
        for got, want in zip(sparsec.jit(of, backend=backend)(*args), of(*args), strict=True):
            np.testing.assert_array_equal(got, want)
            numbers = ~np.isnan(want)
            np.testing.assert_array_equal(np.signbit(got[numbers]), np.signbit(want[numbers]))
