"""Rounding, clipping, comparing, differences and interpolation against NumPy, on all kinds of dtype."""

from __future__ import annotations

import numpy as np
import pytest

import sparsec
from sparsec.errors import UnsupportedError
from tests.programs.harness import check

PROGRAMS = {
    "round": lambda x: (np.round(x), np.round(x, 1), x.round(-1), np.around(x[0, 1]), np.fix(x.real)),
    "clip": lambda x: (
        np.clip(x, 1, 4),
        x.clip(max=3),
        np.clip(x, None, None),
        np.clip(x, x[0], 5),
        np.clip(x[1], 2, 3),
    ),
    "parts": lambda x: (
        np.real(x),
        np.imag(x),
        np.angle(x),
        np.conj(x),
        x.conj(),
        np.isreal(x),
        np.iscomplex(x),
    ),
    "nan_to_num": lambda x: (np.nan_to_num(x), np.nan_to_num(x / 0, nan=1.0, posinf=2.0)),
    "sinc": lambda x: (np.sinc(x), np.sinc(x[0, 0])),
    "close": lambda x: (np.isclose(x, x[0]), np.allclose(x, x), np.isclose(x, 2), np.array_equiv(x, x[0])),
    "equal": lambda x: (np.array_equal(x, x + 1), np.array_equal(x, x), np.array_equal(x, x[0])),
    "diff": lambda x: (
        np.diff(x),
        np.diff(x, n=2, axis=0),
        np.diff(x, 0),
        np.ediff1d(x),
        np.diff(x, prepend=0, append=1),
    ),
    "trapezoid": lambda x: (np.trapezoid(x), np.trapezoid(x, axis=0), np.trapezoid(x, dx=0.5)),
    "gradient": lambda x: (np.gradient(x), np.gradient(x, 2.0, axis=1, edge_order=2), np.gradient(x[0])),
    "convolve": lambda x: (
        np.convolve(x[0], x[1]),
        np.convolve(x[0], x[1, :2], "same"),
        np.convolve(x[0, :2], x[1], "valid"),
    ),
    "correlate": lambda x: (
        np.correlate(x[0], x[1, :3]),
        np.correlate(x[1, :3], x[0]),
        np.correlate(x[0], x[1], "full"),
    ),
}
REAL_PROGRAMS = {
    "unwrap": lambda x: (np.unwrap(x * 3.0, axis=0), np.unwrap(x, period=5)),
    "interp": lambda x: (
        np.interp(x[0], np.array([1.0, 2, 4, 7]), np.array([0, 1.0, -1, 5])),
        np.interp(2.5, x[0] * 1.0, x[1]),
        np.interp(x, np.array([3.0]), np.array([2.0]), left=-1, right=1),
    ),
    "infinities": lambda x: (np.isposinf(x), np.isneginf(x - np.inf), np.heaviside(x, 0.5)),
}
DTYPES = {"f4": 1e-5, "f8": 1e-12, "i4": 1e-12, "u1": 1e-12, "c16": 1e-12, "f2": 4e-3}


def sample(dtype: str) -> np.ndarray:
    return (np.arange(15.0).reshape(3, 5) * 1.3).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*PROGRAMS, *REAL_PROGRAMS])
def test_on_interp(name, dtype):
    if np.dtype(dtype).kind == "c" and name not in PROGRAMS:
        pytest.skip("NumPy takes real numbers only")
    program = PROGRAMS.get(name) or REAL_PROGRAMS[name]
    check(program, lambda: (sample(dtype),), "interp", rtol=DTYPES[dtype], atol=1e-14, check_warnings=False)


@pytest.mark.parametrize("name", [*PROGRAMS, *REAL_PROGRAMS])
def test_on_cpu(name):
    program = PROGRAMS.get(name) or REAL_PROGRAMS[name]
    check(program, lambda: (sample("f8"),), "cpu", rtol=1e-12, atol=1e-14, check_warnings=False)


ODD = np.array([np.nan, np.inf, -np.inf, -0.0, 0.5, 1.5, 2.5, -2.5])


@pytest.mark.parametrize("backend", ["interp", "cpu"])
def test_odd_values(backend):
    def f(x, out):
        np.clip(x, -1, 1, out=out)
        np.nan_to_num(x[:3], copy=False)
        return (
            np.round(out),
            np.isclose(x, x[::-1], equal_nan=True),
            np.array_equal(out, out, equal_nan=True),
            np.interp(x, np.array([-1.0, 0, 1]), np.array([1.0, 2, 3])),
            np.clip(x, np.nan, 1),
        )

    check(f, lambda: (ODD.copy(), ODD.copy()), backend, check_warnings=False)


def test_bounds_beyond_the_dtype():
    def f(x):
        return np.clip(x, -500, 500), np.clip(x, 3, 1000), x.clip(-300)

    check(f, lambda: (np.arange(10, dtype="u1"),), "interp")
    check(lambda x: np.clip(x, 300, 400), lambda: (np.arange(10, dtype="u1"),), "interp")


def test_refused():
    for f in (
        lambda x: np.i0(x),
        lambda x: np.real_if_close(x),
        lambda x: np.gradient(x, x),
        lambda x: np.interp(x, x, x, period=3),
    ):
        with pytest.raises(UnsupportedError):
            sparsec.jit(f, backend="interp")(np.arange(4.0))


@pytest.mark.parametrize("backend", ["interp", "cpu"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_numbers_as_bounds(dtype, backend):
    """The sign of a zero too: NumPy clips between numbers in a loop of its own, which keeps the element."""
    x = np.append(ODD, [0.0, 1.0, -1.0]).astype(dtype)
    zero, one, none = (np.dtype(dtype).type(v) for v in (0.0, 1.0, np.nan))

    def f(x, low, high, none):
        found = [np.clip(x, low, high), np.clip(x, low, none), np.clip(x, -0.0, 0.0)]
        found += [np.clip(x, 0, 1), np.clip(x[3], 0, 1)]
        for number in (0.0, -0.0, 1.0, np.inf, np.nan):
            found += [np.maximum(x, number), np.minimum(x, number), np.maximum(number, x)]
            found += [x.clip(number), x.clip(max=number)]
        return (*found, np.clip(x, np.zeros_like(x), np.ones_like(x)))

    for want, got in zip(f(x, zero, one, none), sparsec.jit(f, backend=backend)(x, zero, one, none), strict=True):
        np.testing.assert_array_equal(got, want)
        real = ~np.isnan(want)
        np.testing.assert_array_equal(np.signbit(got)[real], np.signbit(want)[real])
