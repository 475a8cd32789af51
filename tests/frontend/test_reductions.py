"""Reductions, running results and averages against NumPy: dtypes, axes, memory order, out, where, errors."""

from __future__ import annotations

import numpy as np
import pytest

import sparsec
from tests.programs.harness import check

DTYPES = ["?", "i1", "i4", "i8", "u1", "u8", "f2", "f4", "f8", "c8", "c16"]
FOLDS = [
    "sum",
    "prod",
    "max",
    "min",
    "any",
    "all",
    "mean",
    "var",
    "std",
    "argmax",
    "argmin",
    "ptp",
    "count_nonzero",
    "median",
    "cumsum",
    "cumprod",
    "average",
    "nansum",
    "nanprod",
    "nanmax",
    "nanmin",
    "nanmean",
    "nanvar",
    "nanstd",
    "nancumsum",
    "nanargmax",
    "nanargmin",
]
POSITIONAL = {"argmax", "argmin", "cumsum", "cumprod", "nancumsum", "nanargmax", "nanargmin"}
AXES = [None, 0, 1, -1, (0, 2), (), (2, 1, 0)]

LAYOUTS = {
    "c": lambda x: x.copy(),
    "f": lambda x: np.asfortranarray(x),
    "permuted": lambda x: np.ascontiguousarray(x.transpose(1, 2, 0)).transpose(2, 0, 1),
    "strided": lambda x: np.repeat(x, 2, axis=2)[:, ::-1, ::2],
}


def sample(dtype: str) -> np.ndarray:
    """Small numbers in an order that no axis is sorted in; ties and a zero among them."""
    values = (np.arange(24) * 7 % 11 - (3 if np.dtype(dtype).kind in "ifc" else 0)) / (
        2 if np.dtype(dtype).kind in "fc" else 1
    )
    if np.dtype(dtype).kind == "c":
        values = values + 1j * values[::-1]
    with np.errstate(all="ignore"):
        return values.reshape(2, 3, 4).astype(dtype)


def tolerance(dtype: str) -> dict[str, float]:
    return {
        "rtol": {"f2": 4e-3, "f4": 1e-5, "c8": 1e-5}.get(dtype, 1e-12),
        "atol": 1e-6 if dtype[0] in "fc" else 0,
    }


def options(name: str, axis, keepdims: bool) -> dict | None:
    """Keyword arguments for a function, or None where it does not take them."""
    if name in POSITIONAL and isinstance(axis, tuple):
        return None
    if not keepdims:
        return {"axis": axis}
    return None if "cum" in name else {"axis": axis, "keepdims": True}


def supported(name: str, dtype: str) -> bool:
    """float16 has no running sums; NumPy itself refuses ptp of bools."""
    return not (dtype == "f2" and "cum" in name and name != "count_nonzero")


@pytest.mark.parametrize("name", FOLDS)
def test_dtypes(name):
    function = getattr(np, name)
    for dtype in DTYPES:
        if supported(name, dtype):

            def f(x, function=function):
                return function(x), function(x, axis=1), function(x.T, axis=0)

            check(f, lambda dtype=dtype: (sample(dtype),), "interp", check_warnings=False, **tolerance(dtype))


@pytest.mark.parametrize("name", FOLDS)
def test_axes_and_layouts(name):
    function = getattr(np, name)
    for axis in AXES:
        for keepdims in (False, True):
            kwargs = options(name, axis, keepdims)
            if kwargs is None:
                continue

            def f(*xs, function=function, kwargs=kwargs):
                made = [function(x, **kwargs) for x in xs]
                return made, [np.ravel(m, "K") for m in made]

            check(
                f,
                lambda: tuple(make(sample("f8")) for make in LAYOUTS.values()),
                "interp",
                rtol=1e-12,
                atol=1e-15,
                check_warnings=False,
            )


@pytest.mark.parametrize("name", FOLDS)
def test_on_cpu(name):
    function = getattr(np, name)

    def f(x, y, function=function):
        return function(x), function(x, axis=1), function(x.T, axis=0), function(y, axis=-1)

    for dtype in ("f8", "i4"):
        check(f, lambda dtype=dtype: (sample(dtype), sample("i1")), "cpu", rtol=1e-12, check_warnings=False)


@pytest.mark.parametrize("backend", ["interp", "cpu"])
def test_methods(backend):
    def f(x):
        return (
            x.sum(),
            x.prod(1),
            x.max(axis=0),
            x.min(),
            x.any(),
            x.all(1),
            x.mean(0),
            x.var(ddof=1),
            x.std(2),
            x.argmax(1),
            x.argmin(),
            x.cumsum(),
            x.cumprod(2),
            x.sum((0, 1)),
            x.trace(),
        )

    check(f, lambda: (sample("f8"),), backend, rtol=1e-12)


@pytest.mark.parametrize("backend", ["interp", "cpu"])
def test_dtype_out_initial_where(backend):
    def f(x, out, mask):
        np.sum(x, axis=1, out=out)
        np.max(x, axis=1, out=out[::-1], initial=2, where=mask)
        return (
            x.sum(dtype="f4"),
            x.sum(axis=0, dtype=np.int8),
            x.prod(initial=2),
            x.sum(where=mask, initial=1.5),
            x.max(where=mask, initial=-100, axis=2),
            np.mean(x, where=mask, axis=1),
            np.std(x, where=mask),
            x.any(where=mask),
            np.cumsum(x, axis=1, dtype="f4"),
            np.min(x, initial=-50),
            x.mean(dtype="f4"),
            x.mean(axis=0, keepdims=True, where=mask),
            np.add.reduce(x, where=mask[0], axis=(0, 2)),
        )

    def args():
        x = sample("f8")
        return x, np.zeros((2, 4)), x > 0

    check(f, args, backend, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("shape, axis", [((0, 3), 0), ((0, 3), 1), ((0,), None), ((3, 0, 2), 1), ((0, 0), 0)])
@pytest.mark.parametrize("name", FOLDS)
def test_nothing_to_fold(name, shape, axis):
    function = getattr(np, name)

    def f(x):
        return function(x, axis=axis)

    check(f, lambda: (np.zeros(shape),), "interp", check_warnings=False)


@pytest.mark.parametrize("name", FOLDS)
def test_scalars_and_0d(name):
    function = getattr(np, name)

    def f(x, y):
        return function(x), function(y)

    check(f, lambda: (np.array(3.0), np.float64(2.0)), "interp")


@pytest.mark.parametrize("name", FOLDS)
def test_wrong_axes(name):
    function = getattr(np, name)
    for axis in (2, -3, *(() if name in POSITIONAL else ((0, 0),))):

        def f(x, axis=axis):
            x[0] = 1
            return function(x, axis=axis)

        check(f, lambda: (np.arange(6.0).reshape(2, 3),), "interp")


@pytest.mark.parametrize("backend", ["interp", "cpu"])
def test_nan(backend):
    def f(x):
        return (
            np.nansum(x, axis=1),
            np.nanmax(x, axis=0),
            np.nanmin(x),
            np.nanmean(x, axis=1, keepdims=True),
            np.nanstd(x, ddof=1),
            np.nanvar(x, axis=1),
            np.nancumsum(x),
            np.nanprod(x),
            x.max(),
            np.median(x, 1),
            np.nanargmax(x, axis=0),
        )

    x = np.array([[1, np.nan, 3, -4.0], [np.nan, 2, np.nan, 7], [5, 6, 7, 8]])
    check(f, lambda: (x.copy(),), backend, rtol=1e-12)

    def none_left(x):
        return np.nanmax(x, axis=1), np.nanmean(x, axis=1), np.nansum(x, axis=1)

    check(none_left, lambda: (np.array([[np.nan, np.nan], [1, 2]]),), backend)
    check(lambda x: np.nanargmin(x, axis=1), lambda: (np.array([[np.nan, np.nan], [1, 2]]),), backend)


@pytest.mark.parametrize("backend", ["interp", "cpu"])
def test_average(backend):
    def f(x, w):
        return (
            np.average(x, weights=x * 0 + 2),
            np.average(x, axis=1, weights=w, returned=True),
            np.average(x, axis=0, returned=True),
            np.average(x, axis=(0, 1), weights=x[..., 0], keepdims=True),
        )

    check(f, lambda: (sample("f8"), np.array([1.0, 2, 3])), backend, rtol=1e-12)
    with pytest.raises(sparsec.errors.SparsecError):
        sparsec.jit(lambda x: np.average(x, weights=x), backend=backend)(np.zeros(3))


@pytest.mark.parametrize("backend", ["interp", "cpu"])
def test_cumulative(backend):
    def f(x):
        return (
            np.cumulative_sum(x, axis=1),
            np.cumulative_prod(x[0, 0]),
            np.cumulative_sum(x, axis=-1, include_initial=True),
            np.cumsum(x.T, axis=0).ravel("K"),
        )

    check(f, lambda: (sample("i4"),), backend)
    check(lambda x: np.cumulative_sum(x), lambda: (sample("i4"),), backend)


@pytest.mark.parametrize("backend", ["interp", "cpu"])
def test_results_are_new_arrays(backend):
    def f(x):
        a, b, c = x.sum(axis=()), np.max(x, axis=()), x.cumsum(axis=0)
        a += 1
        x[0] = 9
        b[1] = 7
        return a, b, c

    check(f, lambda: (sample("f8"),), backend)
