"""Every scalar function on every dtype it takes, on random and extreme values, on both backends."""

from __future__ import annotations

import operator

import numpy as np
import pytest

from sparsec.codegen.scalar_protocol import ARITH, BITS, COMPARE, MATH
from sparsec.ir.scalar import FNS, S, apply
from sparsec.ir.types import BOOL, DTYPES
from tests.codegen.running import BACKENDS, run_elementwise, run_interp

INTS = [d for d in DTYPES.values() if d.kind in "iu"]
FLOATS = [DTYPES["f32"], DTYPES["f64"]]
RNG = np.random.default_rng(7)


@pytest.fixture(params=BACKENDS)
def run(request):
    return BACKENDS[request.param]


@pytest.fixture
def ulps(run):
    """How far a math function may be off: PoCL's own are worse than the C library's."""
    return 2 if run is BACKENDS["cpu"] else 4


def pairs(edges, more):
    x, y = np.meshgrid(edges, edges)
    return np.concatenate([x.ravel(), more[0]]), np.concatenate([y.ravel(), more[1]])


def int_pairs(dtype):
    info = np.iinfo(dtype)
    edges = [v for v in (info.min, info.min + 1, -2, -1, 0, 1, 2, 7, info.max - 1, info.max) if v >= info.min]
    return pairs(np.array(edges, dtype), RNG.integers(info.min, info.max, (2, 301), dtype, endpoint=True))


def float_edges(dtype):
    info = np.finfo(dtype)
    half = [0.0, 0.5, 0.75, 1.0, 1.5, 2.5, 3.0, 100.5, np.pi, 2.0**31, info.max, info.tiny,
            info.smallest_subnormal, info.tiny / 4, np.inf, np.nan]  # fmt: skip
    return np.array([*half, *(-np.array(half))], dtype)


def float_pairs(dtype):
    wide = np.ldexp(RNG.uniform(-1, 1, (2, 400)), RNG.integers(-60, 60, (2, 400)))
    near = RNG.uniform(-8, 8, (2, 601))
    return pairs(float_edges(dtype), np.concatenate([wide, near], axis=1).astype(dtype))


def same(got, want, names):
    for name, g, w in zip(names, got, want, strict=True):
        assert g.dtype == w.dtype, name
        if g.dtype.kind == "f":  # any NaN is as good as another
            assert np.array_equal(np.isnan(g), np.isnan(w)), name
            g, w = (np.nan_to_num(v, nan=1, posinf=np.inf, neginf=-np.inf) for v in (g, w))
            bits = np.dtype(f"u{g.dtype.itemsize}")
            np.testing.assert_array_equal(g.view(bits), w.view(bits), err_msg=name)
        else:
            np.testing.assert_array_equal(g, w, err_msg=name)


def truncated(x, y):
    x, y, dtype = x.astype(object), y.astype(object), x.dtype
    q, r = np.abs(x) // np.abs(y), np.abs(x) % np.abs(y)
    q = np.where((x < 0) != (y < 0), -q, q)
    r = np.where(x < 0, -r, r)
    return q.astype(dtype), r.astype(dtype)


@pytest.mark.parametrize("dtype", INTS, ids=str)
def test_integer_functions_wrap_and_divide_as_stated(run, dtype):
    x, y = int_pairs(dtype)
    divisor = np.where(y == 0, 3, y).astype(dtype)
    if dtype.kind == "i":
        divisor[(x == np.iinfo(dtype).min) & (divisor == -1)] = 5
    amount = (y.astype(object) % (8 * dtype.itemsize)).astype(dtype)
    quo, rem = truncated(x, divisor)
    table = {
        "add": x + y, "sub": x - y, "mul": x * y, "min": np.minimum(x, y), "max": np.maximum(x, y),
        "and": x & y, "or": x | y, "xor": x ^ y, "not": ~x, "quo": quo, "rem": rem,
        "shl": x << amount, "shr": x >> amount,
    }  # fmt: skip
    if dtype.kind == "i":
        table |= {"neg": -x, "abs": np.abs(x)}
    assert set(table) == {f.name for f in FNS.values() if dtype.kind in f.kinds and f.name in ARITH | BITS}
    second = {"quo": 2, "rem": 2, "shl": 3, "shr": 3}
    fns = [
        lambda *a, name=name: apply(
            name, *([a[0]] if FNS[name].arity == 1 else [a[0], a[second.get(name, 1)]])
        )
        for name in table
    ]
    got = run_elementwise(run, fns, [x, y, divisor, amount], [dtype] * len(fns))
    same(got, list(table.values()), list(table))


@pytest.mark.parametrize("dtype", [BOOL, *INTS, *FLOATS], ids=str)
def test_comparisons_and_select(run, dtype):
    if dtype == BOOL:
        x, y = pairs(np.array([False, True]), np.array([[True], [False]]))
    else:
        x, y = int_pairs(dtype) if dtype.kind in "iu" else float_pairs(dtype)
    names = sorted(COMPARE)
    fns = [lambda a, b, name=name: apply(name, a, b) for name in names]
    fns.append(lambda a, b: S.select(S.lt(a, b), b, a))
    got = run_elementwise(run, fns, [x, y], [BOOL] * len(names) + [dtype])
    want = [getattr(operator, name)(x, y) for name in names]
    same(got, [*want, np.where(x < y, y, x)], [*names, "select"])


@pytest.mark.parametrize("dtype", INTS, ids=str)
def test_overflow_is_no_licence_to_simplify(run, dtype):
    """x + 1 > x is false for the largest x, whatever C says, and so is |x| >= 0 for the least."""
    x = int_pairs(dtype)[0]
    one = S.const(1, dtype)
    fns = [
        lambda a: S.gt(S.add(a, one), a),
        lambda a: S.lt(S.sub(a, one), a),
        lambda a: S.eq(S.quo(S.mul(a, S.const(6, dtype)), S.const(3, dtype)), S.mul(a, S.const(2, dtype))),
        lambda a: S.ge(apply("abs", a) if dtype.kind == "i" else a, S.const(0, dtype)),
    ]
    info = np.iinfo(dtype)
    six = x * dtype.type(6)
    third = truncated(six, np.full_like(x, 3))[0]
    positive = x != info.min if dtype.kind == "i" else np.ones(x.shape, bool)
    want = [x != info.max, x != info.min, third == x * dtype.type(2), positive]
    same(run_elementwise(run, fns, [x], [BOOL] * 4), want, ["x+1>x", "x-1<x", "x*6/3==x*2", "|x|>=0"])


def test_logic_on_bool(run):
    x, y = pairs(np.array([False, True]), np.array([[True], [False]]))
    names = ["and", "or", "xor", "not"]
    fns = [lambda a, b, n=n: apply(n, *([a] if n == "not" else [a, b])) for n in names]
    got = run_elementwise(run, fns, [x, y], [BOOL] * 4)
    same(got, [x & y, x | y, x ^ y, ~x], names)


def test_any_nonzero_byte_loads_as_true(run):
    bytes_ = np.array([0, 1, 2, 128, 255], np.uint8)
    fns = [lambda a: S.cast(a, DTYPES["i32"]), lambda a: a]
    got = run_elementwise(run, fns, [bytes_.view(np.bool_)], [DTYPES["i32"], DTYPES["bool"]])
    assert got[0].tolist() == [0, 1, 1, 1, 1]
    assert got[1].view(np.uint8).tolist() == [0, 1, 1, 1, 1]


EXACT = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "fmod": np.fmod,
    "neg": np.negative, "abs": np.abs, "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil,
    "trunc": np.trunc, "rint": np.rint, "copysign": np.copysign, "nextafter": np.nextafter,
}  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_exact_float_functions(run, dtype):
    x, y = float_pairs(dtype)
    fns = [lambda a, b, n=n: apply(n, *([a] if FNS[n].arity == 1 else [a, b])) for n in EXACT]
    got = run_elementwise(run, fns, [x, y], [dtype] * len(fns))
    with np.errstate(all="ignore"):
        want = [f(x, y) if f.nin == 2 else f(x) for f in EXACT.values()]
    same(got, want, list(EXACT))


NUMPY_NAMES = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh",
    "atanh": "arctanh", "pow": "power", "atan2": "arctan2",
}  # fmt: skip
INEXACT = sorted(MATH - set(EXACT) - {"fma"})


def distance(got, exact, dtype):
    """Units in the last place between a result and the value in higher precision."""
    with np.errstate(all="ignore"):
        want = exact.astype(dtype)
        off = np.abs(got.astype(exact.dtype) - exact) / np.spacing(np.abs(want)).astype(exact.dtype)
    special = ~np.isfinite(want) | (want == 0)
    alike = (np.isnan(want) & np.isnan(got)) | ((want == got) & (np.signbit(want) == np.signbit(got)))
    # A result that underflows to zero may also be the smallest number there is.
    tiny = (want == 0) & (exact != 0) & (np.abs(got) <= np.finfo(dtype).smallest_subnormal)
    return np.where(special, np.where(alike | tiny, 0, np.inf), off)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_fma_rounds_once(run, dtype):
    x, y = float_pairs(dtype)
    with np.errstate(all="ignore"):
        z = np.concatenate([y[::-1][:200], -(x * y)[200:]]).astype(dtype)
    fma = lambda a, b, c: apply("fma", a, b, c)  # noqa: E731
    want = run_elementwise(run_interp, [fma], [x, y, z], [dtype])
    same(run_elementwise(run, [fma], [x, y, z], [dtype]), want, ["fma"])


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_math_functions_are_close(run, ulps, dtype):
    x, y = float_pairs(dtype)
    fns = [lambda a, b, n=n: apply(n, *([a] if FNS[n].arity == 1 else [a, b])) for n in INEXACT]
    got = run_elementwise(run, fns, [x, y], [dtype] * len(fns))
    wide = np.float64 if dtype == np.float32 else np.longdouble
    for name, values in zip(INEXACT, got):
        function = getattr(np, NUMPY_NAMES.get(name, name))
        with np.errstate(all="ignore"):
            exact = function(*(v.astype(wide) for v in (x, y)[: FNS[name].arity]))
        off = distance(values, exact, dtype)
        worst = np.nanargmax(off)
        assert off[worst] <= ulps, (name, x[worst], y[worst], values[worst], exact[worst])


def in_range(source, target):
    """Values of `source` that a cast to `target` must take."""
    if source == BOOL:
        return np.array([False, True] * 20)
    if source.kind in "iu":
        return int_pairs(source)[0]
    values = np.concatenate(
        [
            float_edges(source),
            RNG.uniform(-300, 300, 200).astype(source),
            np.ldexp(RNG.uniform(-1, 1, 400), RNG.integers(-40, 70, 400)).astype(source),
        ]
    )
    if target.kind in "iu":
        info = np.iinfo(target)
        whole = np.trunc(values.astype(np.longdouble))
        keep = np.isfinite(values) & (whole >= info.min) & (whole <= info.max)
        values = values[keep]
    return values


@pytest.mark.parametrize("source", [d for d in DTYPES.values() if d.kind != "c"], ids=str)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_casts(run, source):
    targets = [d for d in DTYPES.values() if d.kind != "c"]
    inputs = [in_range(source, target) for target in targets]
    size = min(map(len, inputs))
    inputs = [np.concatenate([x[: size // 2], x[len(x) - (size - size // 2) :]]) for x in inputs]
    fns = [lambda *a, n=n, t=t: S.cast(a[n], t) for n, t in enumerate(targets)]
    got = run_elementwise(run, fns, inputs, targets)
    same(got, [x.astype(t) for x, t in zip(inputs, targets)], list(map(str, targets)))


def test_float64_to_float16_rounds_once(run):
    """Values whose nearest float32 is a tie of two float16s."""
    f16 = DTYPES["f16"]
    ties = (1 + np.arange(64) / 1024 + 1 / 2048).astype(np.float64)
    x = np.concatenate(
        [ties, ties + 1e-12, ties - 1e-12, [65519.999, 65520.0, 2.0**-25, 2.0**-25 * (1 + 1e-9)]]
    )
    x = np.concatenate([x, -x])
    (got,) = run_elementwise(run, [lambda a: S.cast(a, f16)], [x], [f16])
    with np.errstate(over="ignore"):
        same([got], [x.astype(np.float16)], ["f16"])


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_bitcasts(run, size):
    kinds = [np.dtype(f"{k}{size}") for k in "iuf" if k != "f" or size > 2]
    x = RNG.integers(0, 256, 800 * size, np.uint8).view(f"u{size}")
    for source in kinds:
        fns = [lambda a, t=t: S.bitcast(a, t) for t in kinds]
        data = x.view(source)
        if source.kind == "f":
            data = data[~np.isnan(data)]
        got = run_elementwise(run, fns, [data], kinds)
        for t, g in zip(kinds, got):
            np.testing.assert_array_equal(g.view(f"u{size}"), data.view(f"u{size}"), err_msg=f"{source} {t}")


def test_constants_are_exact(run):
    values = [
        0.0,
        -0.0,
        1.5,
        0.1,
        1e-310,
        5e-324,
        1.7976931348623157e308,
        np.inf,
        -np.inf,
        -3.0,
        123456.0,
        1e22,
    ]
    for dtype in FLOATS:
        with np.errstate(all="ignore"):
            want = np.array(values).astype(dtype)
        fns = [lambda a, v=v, d=dtype: S.const(v, d) for v in values]
        got = run_elementwise(run, fns, [np.zeros(1, dtype)], [dtype] * len(values))
        same([np.concatenate(got)], [want], [str(dtype)])
    for dtype in INTS:
        info = np.iinfo(dtype)
        numbers = [info.min, info.min + 1, 0, 1, info.max // 2, info.max]
        fns = [lambda a, v=v, d=dtype: S.const(v, d) for v in numbers]
        got = run_elementwise(run, fns, [np.zeros(1, dtype)], [dtype] * len(numbers))
        assert np.concatenate(got).tolist() == numbers


def test_products_and_sums_are_not_contracted(run):
    """a*b + c rounds twice."""
    for dtype in FLOATS:
        a, b, c = (RNG.uniform(1, 2, 500).astype(dtype) for _ in range(3))
        (got,) = run_elementwise(run, [lambda x, y, z: S.sub(S.mul(x, y), z)], [a, b, c], [dtype])
        same([got], [a * b - c], ["fma"])


def test_float_identities_are_not_folded(run):
    x = float_edges(DTYPES["f32"])
    zero = S.const(0.0, x.dtype)
    fns = [lambda a: S.mul(a, zero), lambda a: S.sub(a, a), lambda a: S.div(a, a), lambda a: S.add(a, zero)]
    with np.errstate(all="ignore"):
        want = [x * np.float32(0), x - x, x / x, x + np.float32(0)]
    same(run_elementwise(run, fns, [x], [x.dtype] * 4), want, ["x*0", "x-x", "x/x", "x+0"])
