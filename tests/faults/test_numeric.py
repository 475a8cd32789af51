"""Faults 36-51: integers at their limits, NaN, signed zero, denormals, sums, casts, promotion."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from tests.programs.harness import backends, check, check_calls, jit

each_backend = pytest.mark.parametrize("backend", backends())

SIGNED = ["i1", "i2", "i4", "i8"]
INTEGERS = [*SIGNED, "u1", "u2", "u4", "u8"]
FLOATS = ["f4", "f8"]

ODD = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-310, -1e-45, 5e-324, 1e38, -3.5, 0.1]


def odd(dtype, count=67):
    """Awkward floats, in an order in which every neighbour pair occurs sooner or later."""
    picked = np.random.default_rng(4).integers(0, len(ODD), count)
    with np.errstate(all="ignore"):
        return np.array(ODD)[picked].astype(dtype)


def limits(dtype):
    info = np.iinfo(dtype)
    near = [info.min, info.min + 1, info.max, info.max - 1, 0, 1, 2, 7, info.max // 2]
    return np.array(near + [-1, -7] * (info.min < 0), dtype=dtype)


def limit_pairs(dtype):
    values = limits(dtype)
    return np.repeat(values, values.size), np.tile(values, values.size)


@each_backend
@pytest.mark.parametrize("dtype", INTEGERS)
def test_f36_integer_division_by_zero(dtype, backend):
    def f(x, y):
        return x // y, x % y

    def args():
        return np.array([7, 0, 5, 100, 3], dtype), np.array([0, 0, 2, 0, 7], dtype)

    def no_zero():
        return np.array([7, 0, 5], dtype), np.array([1, 2, 3], dtype)

    check_calls(f, [args, no_zero, args], backend)


@each_backend
def test_f36_by_scalar_and_in_place(backend):
    def f(x, y):
        q, r = np.divmod(x, 0)
        x //= y
        return q, r, x % 0

    check(f, lambda: (np.arange(5), np.array([0, 1, 0, 2, 0])), backend)


@each_backend
@pytest.mark.parametrize("dtype", SIGNED)
def test_f37_minimum_by_minus_one(dtype, backend):
    def f(x, y):
        return x // y, x % y, np.divmod(x, y), np.fmod(x, y)

    def args():
        low = np.iinfo(dtype).min
        return np.array([low, low, 5, -7], dtype), np.array([-1, -1, -1, 2], dtype)

    check(f, args, backend)


@each_backend
@pytest.mark.parametrize("dtype", INTEGERS)
def test_f37_floor_division_of_all_signs(dtype, backend):
    def f(x, y):
        return x // y, x % y

    check(f, lambda: limit_pairs(dtype), backend)


@each_backend
@pytest.mark.parametrize("dtype", SIGNED)
def test_f38_abs_and_negative_of_minimum(dtype, backend):
    def f(x):
        return np.abs(x), -x, np.negative(x), abs(x), np.sign(x)

    check(f, lambda: (limits(dtype),), backend)


@each_backend
@pytest.mark.parametrize("dtype", INTEGERS)
def test_f39_overflow_wraps(dtype, backend):
    def f(x, y):
        return x + y, x - y, x * y, x * x * x, (x + 1) > x, (x - 1) < x

    check(f, lambda: limit_pairs(dtype), backend)


@each_backend
def test_f39_sums_wrap(backend):
    def f(x):
        return x.sum(dtype=np.int32), x.cumsum(dtype=np.int32), x.prod(dtype=np.int32)

    check(f, lambda: (np.full(9, 2**30 + 1, np.int32),), backend)


@each_backend
@pytest.mark.parametrize("dtype", INTEGERS)
def test_f40_shifts(dtype, backend):
    bits = np.dtype(dtype).itemsize * 8
    amounts = [0, 1, bits - 1, bits, bits + 1, 2 * bits, 127] + [-1, -bits] * (dtype[0] == "i")

    def f(x, n):
        return x << n, x >> n

    def args():
        values = limits(dtype)
        return np.repeat(values, len(amounts)), np.tile(np.array(amounts, dtype), values.size)

    check(f, args, backend)


@each_backend
def test_f40_shift_by_scalar(backend):
    def f(x):
        return x << 40, x >> 63, x << 64, x >> 64, x >> 200

    check(f, lambda: (limits("i8"),), backend)


@each_backend
@pytest.mark.parametrize("dtype", FLOATS)
def test_f41_maximum_and_minimum_of_nan(dtype, backend):
    def f(x, y):
        return np.maximum(x, y), np.minimum(x, y), np.fmax(x, y), np.fmin(x, y), np.clip(x, -2, y)

    def reduced(x):
        return x.max(), x.min(), x[:5].max(), np.nanmax(x), np.nanmin(x), x.reshape(-1, 1).max(axis=0)

    def args():
        return odd(dtype), odd(dtype)[::-1].copy()

    # Which zero the maximum of 0.0 and -0.0 gives is not part of NumPy's meaning.
    def no_zeros():
        return tuple(np.where(x == 0, x.dtype.type(2), x) for x in args())

    check(f, no_zeros, backend, check_warnings=False)
    check(reduced, lambda: no_zeros()[:1], backend, check_warnings=False)


@each_backend
@pytest.mark.parametrize("at", [0, 1, 40, 66])
def test_f41_one_nan_anywhere(at, backend):
    def f(x):
        return x.max(), x.min(), x.max(axis=0, keepdims=True)

    def args():
        x = np.arange(67.0)
        x[at] = np.nan
        return (x,)

    check(f, args, backend, check_warnings=False)


@each_backend
@pytest.mark.parametrize("dtype", FLOATS)
def test_f42_argmax_with_nan(dtype, backend):
    def f(x):
        return x.argmax(), x.argmin(), x[:40].argmax(), np.argmax(x.reshape(1, -1), axis=1)

    def with_nans(*places):
        x = np.random.default_rng(5).normal(size=67).astype(dtype)
        x[list(places)] = np.nan
        return (x,)

    for places in ((), (0,), (66,), (50, 20, 30), (0, 66)):
        check(f, lambda places=places: with_nans(*places), backend)


@each_backend
def test_f42_argmax_of_equals_is_first(backend):
    def f(x):
        return x.argmax(), x.argmin(), x.reshape(8, -1).argmax(axis=0), x.reshape(8, -1).argmin(axis=1)

    check(f, lambda: (np.random.default_rng(6).integers(0, 3, 64).astype(float),), backend)


@each_backend
@pytest.mark.parametrize("dtype", FLOATS)
def test_f43_negative_zero(dtype, backend):
    def f(x, y):
        return (
            -x,
            x * -1,
            x * 0,
            x + 0,
            x - 0,
            0 - x,
            x + -0.0,
            np.where(x == 0, x, y),
            np.copysign(1, x),
            np.signbit(x),
            np.abs(x),
            np.floor(x),
            np.trunc(x),
            np.rint(x),
            np.sqrt(x),
            x / np.inf,
        )

    def args():
        return np.array([0.0, -0.0, 1.0, -1.0, -0.25], dtype), np.array([-0.0] * 5, dtype)

    check(f, args, backend, check_warnings=False)


@each_backend
def test_f43_sum_of_negative_zeros(backend):
    def f(x):
        return x.sum(), x.sum(axis=0), x[:1].sum(), x[:0].sum(), x.prod(), np.add.reduce(x)

    check(f, lambda: (np.full(20, -0.0),), backend)


@each_backend
@pytest.mark.parametrize("dtype", FLOATS)
def test_f44_denormals(dtype, backend):
    tiny = np.finfo(dtype).smallest_subnormal
    small = np.finfo(dtype).smallest_normal

    def f(x, y):
        return x + y, x * 3, x / 2, x - y, x == 0, x > 0, np.sqrt(np.abs(x)), x.sum()

    def args():
        x = np.array([tiny, 5 * tiny, small, small / 2, -tiny], dtype)
        return x, np.array([tiny, -tiny, -small, small / 4, tiny], dtype)

    if backend == "opencl" and dtype == "f4":
        check(f, args, backend, check_warnings=False, may_refuse=("DeviceError",))
    else:
        check(f, args, backend, check_warnings=False)


def control_word() -> int:
    """The control bits of MXCSR: rounding, exception masks, flush-to-zero, denormals-are-zero."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(
        f"""
        target triple = "{llvm.get_process_triple()}"
        declare void @llvm.x86.sse.stmxcsr(ptr)
        define i32 @read() {{
          %p = alloca i32
          call void @llvm.x86.sse.stmxcsr(ptr %p)
          %v = load i32, ptr %p
          ret i32 %v
        }}
        """
    )
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    read = ctypes.CFUNCTYPE(ctypes.c_uint32)(engine.get_function_address("read"))
    return read() & ~0x3F  # the low bits are the sticky flags


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="MXCSR is a register of x86")
@each_backend
def test_f44_control_word_is_left_alone(backend):
    def f(x):
        return np.exp(x) / x.size

    before = control_word()
    jit(f, backend)(np.linspace(-700.0, 700.0, 20_000))
    assert control_word() == before
    assert not before & 0x8040, "denormals are flushed"
    tiny = np.array([5e-324, 1e-310])
    assert (tiny * 1.0 > 0).all()


@each_backend
@pytest.mark.parametrize("dtype", FLOATS)
def test_f45_no_unsafe_folding(dtype, backend):
    def f(x):
        return (
            x - x,
            x / x,
            x * 0,
            0 * x,
            x + x - x,
            (x + 1) - 1,
            x == x,
            x != x,
            x <= x,
            x * 2 / 2,
            1 / (1 / x),
            np.isnan(x),
            np.isfinite(x),
            x**2 / x,
        )

    check(f, lambda: (odd(dtype),), backend, check_warnings=False)


@each_backend
def test_f45_no_reassociation_or_contraction(backend):
    def f(x, y, z):
        return x + y + z, x + (y + z), x * y + z, x * y - x * y, x * z + y * z, x / z, x * 0.1 * 10.0

    def args():
        rng = np.random.default_rng(7)
        return tuple(rng.normal(size=300) * 10.0 ** rng.integers(-8, 8, 300) for _ in range(3))

    check(f, args, backend)
    check(f, lambda: tuple(x.astype(np.float32) for x in args()), backend)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the rule is that of x86")
@each_backend
@pytest.mark.parametrize("source", FLOATS)
@pytest.mark.parametrize("target", ["i4", "i8"])
def test_f46_nan_and_infinity_to_integer(source, target, backend):
    """Out of range gives the smallest integer, in the vector part and in the rest of the array alike."""

    def f(x):
        return x.astype(target)

    def args():
        return (np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 2.9, -2.9, 0.0] * 5 + [np.nan], source),)

    check(f, args, backend, check_warnings=False)


@each_backend
def test_f46_result_is_the_same_every_time(backend):
    def f(x):
        return x.astype(np.uint8), x.astype(np.int16), x.astype(bool)

    compiled = jit(f, backend)
    x = np.array([np.nan, np.inf, -np.inf, 300.5, -1.5, 7.9] * 7)
    with np.errstate(all="ignore"):
        first, second = compiled(x.copy()), compiled(x.copy())
        expected = f(x)
    for one, other, numpys in zip(first, second, expected):
        assert one.dtype == numpys.dtype
        assert np.array_equal(one, other)
        assert np.array_equal(one[5::6], numpys[5::6])
    assert np.array_equal(first[2], expected[2])


@each_backend
@pytest.mark.parametrize("dtype", FLOATS)
def test_f47_sums(dtype, backend):
    """Close to the exact sum, closer than adding one by one would be guaranteed to be."""

    def f(x, m):
        return x.sum(), x.mean(), m.sum(axis=0), m.sum(axis=1), m.sum(), x[::3].sum(), m.T.sum(axis=0)

    def args():
        rng = np.random.default_rng(8)
        return rng.uniform(0, 1, 100_003).astype(dtype), rng.uniform(0, 1, (311, 257)).astype(dtype)

    rtol = 1e-5 if dtype == "f4" else 1e-13
    compiled = check(f, args, backend, rtol=rtol)
    once, again = compiled(*args()), compiled(*args())
    for one, other in zip(once, again):
        assert one.tobytes() == other.tobytes()


@each_backend
@pytest.mark.parametrize("dtype", FLOATS)
def test_f47_rows_are_summed_in_numpys_order(dtype, backend):
    """What lies together is summed pairwise, as NumPy does it: the same bits."""

    def f(x, m):
        return x.sum(), x.mean(), m.sum(axis=1), m.sum(), x[::3].sum(), x[:9].sum(), x[:200].sum()

    def args():
        rng = np.random.default_rng(9)
        return rng.uniform(0, 1, 100_003).astype(dtype), rng.uniform(0, 1, (31, 257)).astype(dtype)

    check(f, args, backend)


THREADED = """
import sys
import numpy as np
import tests.faults.plant
from tests.programs.harness import jit

def f(x):
    return x.sum(), np.exp(x).sum(axis=0), (x * x).mean(axis=1), x.cumsum(axis=0)[-1]

x = np.random.default_rng(9).normal(size=(700, 300)).astype(np.float32)
for part in jit(f, sys.argv[1])(x):
    print(part.tobytes().hex())
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", backends("cpu"))
def test_f47_sums_do_not_depend_on_threads(backend, tmp_path):
    program = tmp_path / "program.py"  # a file, so that its function has a source
    program.write_text(THREADED, encoding="utf-8")
    root = Path(__file__).parents[2]
    outputs = set()
    for threads in ("1", "2"):
        env = {**os.environ, "SPARSEC_NUM_THREADS": threads, "PYTHONPATH": str(root)}
        command = [sys.executable, str(program), backend]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        outputs.add(done.stdout)
    assert len(outputs) == 1


@each_backend
def test_f48_negative_integer_power(backend):
    def constant(x):
        return x**-1

    def by_argument(x, y):
        return x**y

    def in_place(x, y):
        x **= y

    def powers():
        return np.array([2, -3, 0, 5]), np.array([3, 2, 0, 30])

    def negative():
        return np.array([2, 3, 1, 5]), np.array([1, 2, -1, 0])

    check(constant, lambda: (np.array([1, 2]),), backend)
    check_calls(by_argument, [powers, negative, powers], backend)
    check_calls(in_place, [negative, powers], backend)


@each_backend
def test_f48_what_powers_are_fine(backend):
    def f(x, y):
        return x**2, x**0, x**5, y**-2, y**0.5, 2**x, y**2, y**3

    check(f, lambda: (np.array([2, 3, 0]), np.array([2.0, 4.0, 0.25])), backend, ulp=2)


@each_backend
def test_f49_python_integer_out_of_bounds(backend):
    def add(x):
        return x + 300

    def compare(x):
        return x < 300, x == -1, x > -5

    def assign(x):
        x[1] = 256

    def negative(x):
        x += -1

    def full():
        return np.full(3, 1000, dtype=np.uint8)

    def args():
        return (np.array([1, 2, 250], dtype=np.uint8),)

    for fn in (add, compare, assign, negative):
        check(fn, args, backend)
    check(full, lambda: (), backend)


@each_backend
def test_f49_python_scalars_are_weak(backend):
    def f(b, h, i, x, c):
        return (
            b + 1,
            b * 2.0,
            h - 1,
            i / 2,
            i * True,
            x + 1,
            x * 2.5,
            x + np.float64(1),
            i + np.int64(1),
            b & 3,
            x * 1j,
            c * 2,
            x / 3,
            np.where(x > 1, x, 0),
            np.where(b > 1, 1.5, b),
            np.maximum(b, 7),
        )

    def args():
        return (
            np.array([1, 2, 3], np.uint8),
            np.array([1, 2, 3], np.int16),
            np.array([1, 2, 3], np.int32),
            np.array([1, 2, 3], np.float32),
            np.array([1, 2j], np.complex64),
        )

    check(f, args, backend)


@each_backend
def test_f49_arrays_promote(backend):
    def f(x, y):
        return x + y, x * y, np.maximum(x, y), x == y

    kinds = ["?", "i1", "u1", "i4", "u4", "i8", "u8", "f4", "f8"]
    if backend == "opencl":  # promotion is the frontend's, and a device takes long to build each pair
        kinds = kinds[::3]

    def pair(one, other):
        return lambda: (np.array([1, 0, 1], one), np.array([1, 1, 0], other))

    check_calls(f, [pair(one, other) for one in kinds for other in kinds[::2]], backend)


@each_backend
def test_f49_in_place_casts(backend):
    def f(x, y):
        x += y

    def args(one, other):
        return lambda: (np.ones(3, one), np.ones(3, other))

    allowed = [args("f4", "f8"), args("i4", "i8"), args("f8", "i4"), args("i8", "?")]
    refused = [args("i4", "f8"), args("u1", "i4"), args("?", "i8"), args("f8", "c16")]
    check_calls(f, [*allowed, *refused], backend)


@each_backend
def test_f50_bool_arithmetic(backend):
    def f(p, q):
        return (
            p + q,
            p * q,
            p & q,
            p | q,
            p ^ q,
            ~p,
            p.sum(),
            p.prod(),
            p.mean(),
            p > q,
            p == q,
            p + 1,
            p / q.sum(),
        )

    def args():
        return np.array([True, True, False, False]), np.array([True, False, True, False])

    check(f, args, backend)


@each_backend
def test_f50_bool_refusals(backend):
    def negative(p):
        return -p

    def minus(p):
        return p - p

    def minus_in_place(p):
        p -= p

    def unary_plus(p):
        return +p

    for fn in (negative, minus, minus_in_place, unary_plus):
        check(fn, lambda: (np.array([True, False]),), backend)


@each_backend
def test_f51_errstate_of_the_caller(backend):
    """Integer division follows it, on the first call, in Python, and on later ones, which are native."""

    def f(x, y):
        return x // y

    compiled = jit(f, backend)
    x, y = np.array([6, 5, 4]), np.array([2, 0, 1])
    heard = []
    for _ in range(4):
        with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
            compiled(x, y)
        with np.errstate(divide="ignore"), warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.array_equal(compiled(x, y), [3, 0, 4])
        with np.errstate(divide="warn"), pytest.warns(RuntimeWarning, match="divide by zero"):
            compiled(x, y)
        with np.errstate(divide="call", call=lambda *what: heard.append(what[0])):
            compiled(x, y)
    assert len(heard) == 4 and all("divide" in word for word in heard)


@each_backend
def test_f51_float_warnings_are_never_raised(backend):
    """docs/semantics.md: what np.errstate says of floats is ignored."""

    def f(x):
        return 1.0 / x

    compiled = jit(f, backend)
    with np.errstate(divide="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        if backend != "numpy":
            assert np.array_equal(compiled(np.array([1.0, 0.0, 2.0])), [1.0, np.inf, 0.5])


@each_backend
def test_f51_errstate_inside(backend):
    def f(x):
        with np.errstate(divide="ignore", invalid="ignore"):
            y = 1.0 / x
        y[x == 0] = 0.0
        return y

    check(f, lambda: (np.array([1.0, 0.0, 2.0]),), backend, check_warnings=False)
