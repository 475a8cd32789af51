"""Faults 21-35: ranks, sizes, strides, alignment and dtypes of what comes in."""

from __future__ import annotations

import datetime
import re
import sys

import numpy as np
import pytest

from tests.programs.harness import backends, check, check_calls, check_refused, ir_text, is_sparsec_error, jit

each_backend = pytest.mark.parametrize("backend", backends())


def touch(x):
    """Reads, writes, reduces."""
    y = x * 2 + 1
    x += 3
    return y, x - y, x.sum()


def rng():
    return np.random.default_rng(3)


@each_backend
def test_f21_zero_dimensional(backend):
    def f(x):
        y = x + 1.0
        x += 2.0
        x[()] = x * 3.0
        return y, x, x.reshape(1), x[None], x.sum(), x[()]

    def pair(x, y):
        return x + y, y[0] * x, np.maximum(x, y)

    check(f, lambda: (np.array(2.5),), backend)
    check(pair, lambda: (np.array(2.5), np.arange(3.0)), backend)
    check(pair, lambda: (np.float64(2.5), np.arange(3.0)), backend)


@each_backend
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 4)])
def test_f22_no_elements(shape, backend):
    def f(x):
        x += 1.0
        return x * 2.0, x.sum(), x.prod(), x.sum(axis=0), x.all(), x.any(), x.T

    check(f, lambda: (np.zeros(shape),), backend)


@each_backend
@pytest.mark.parametrize("reduce", [np.max, np.min, np.argmax])
def test_f22_extremum_of_nothing(reduce, backend):
    def f(x):
        return reduce(x)

    def empty_axis(x):
        return reduce(x, axis=1)

    check(f, lambda: (np.zeros((0, 3)),), backend)
    check(empty_axis, lambda: (np.zeros((3, 0)),), backend)
    check(empty_axis, lambda: (np.zeros((0, 3)),), backend)


@each_backend
def test_f23_empty_slices(backend):
    def f(a):
        a[5:2] = 7.0
        a[3:3] += 1.0
        a[20:] = 4.0
        return a[5:2], a[8:1:2].sum(), a[-1:-1], a[2:5:-1] + a[9:4]

    check(f, lambda: (np.arange(8.0),), backend)


@each_backend
@pytest.mark.parametrize(
    "order",
    [
        lambda a: a[::-1],
        lambda a: a[:, ::-1],
        lambda a: a[::-1, ::-2],
        lambda a: a[::-1].T,
        lambda a: a[4:1:-1, 2],
    ],
    ids=lambda order: None,
)
def test_f24_negative_strides(order, backend):
    check(touch, lambda: (order(rng().normal(size=(6, 7))),), backend, rtol=1e-12)


@each_backend
def test_f25_fortran_order(backend):
    def f(x):
        x[1] = 5.0
        return x.reshape(-1), x.ravel(), x.T.reshape(-1), x.sum(axis=0), x + 1.0

    check(f, lambda: (np.asfortranarray(rng().normal(size=(5, 6))),), backend, rtol=1e-12)
    check(f, lambda: (rng().normal(size=(3, 4, 5)).transpose(2, 0, 1),), backend, rtol=1e-12)


@each_backend
@pytest.mark.parametrize(
    "part",
    [
        lambda a: a[::3, 1::2],
        lambda a: a[:, 2:5],
        lambda a: a[2],
        lambda a: a[:, 3],
        lambda a: a.T[1::2],
        lambda a: a[::2].reshape(2, 2, 8).swapaxes(0, 2),
    ],
    ids=lambda part: None,
)
def test_f26_not_contiguous(part, backend):
    check(touch, lambda: (part(rng().normal(size=(8, 8))),), backend, rtol=1e-12)


@pytest.mark.parametrize("backend", backends("cpu"))
def test_f27_no_more_alignment_is_assumed_than_there_is(backend):
    """Wrong code would mostly work: x86 complains of some instructions only, and the code has them in some loops."""

    def f(x):
        x *= 2.0

    def claims(x):
        text = ir_text(f, x, stage="llvm", backend=backend)
        return {int(n) for n in re.findall(r"ptr noalias[^,]* align (\d+) %b", text)} | {
            int(n) for n in re.findall(r"(?:load|store) double.*, align (\d+)", text)}

    raw = np.zeros(81, dtype=np.uint8)
    assert max(claims(raw[1:].view(np.float64))) == 1, "assumes alignment of an array that has none"
    assert max(claims(raw[:80].view(np.float64))) == 8, "assumes more than the element's alignment"


@each_backend
@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "i8", "c16"])
@pytest.mark.parametrize("shift", [1, 3])
def test_f27_not_aligned(dtype, shift, backend):
    size = np.dtype(dtype).itemsize

    def args():
        raw = np.zeros(40 * size + 8, dtype=np.uint8)
        x = np.ndarray((40,), dtype=dtype, buffer=raw, offset=shift)
        x[:] = np.arange(40)
        assert not x.flags.aligned
        return (x,)

    def plain():
        return (np.arange(40).astype(dtype),)

    check_calls(touch, [plain, args, plain], backend, rtol=1e-6)


@each_backend
def test_f27_aligned_to_its_element_only(backend):
    def args():
        return (np.arange(70, dtype=np.float32)[1:68],)

    check(touch, args, backend, rtol=1e-5)


@each_backend
@pytest.mark.parametrize("dtype", [">f8", ">i4", ">u2"])
def test_f28_other_byte_order(dtype, backend):
    if sys.byteorder == "big":
        dtype = dtype.replace(">", "<")

    def args():
        return (np.arange(6).astype(dtype),)

    check(touch, args, backend, may_refuse=("UnsupportedDtype", "ArgumentError"))


@each_backend
def test_f29_read_only(backend):
    def make(part):
        a = np.arange(6.0)
        a.flags.writeable = False
        return (part(a),)

    def assign(a):
        a[2] = 1.0

    def update(a):
        a += 1.0

    def through_view(a):
        v = a[::2]
        v[0] = 3.0

    def by_out(a):
        np.sqrt(a, out=a)

    def by_method(a):
        a.fill(0.0)

    def read(a):
        return a * 2.0, a[1:]

    for fn in (assign, update, through_view, by_out, by_method, read):
        check(fn, lambda: make(lambda a: a), backend)
        check(fn, lambda: make(lambda a: a[::-1]), backend)

    def writable():
        return (np.arange(6.0),)

    check_calls(assign, [writable, lambda: make(lambda a: a), writable], backend)


@each_backend
@pytest.mark.parametrize(
    "make",
    [
        lambda: np.array([1, "x", None], dtype=object),
        lambda: np.array(["a", "b"]),
        lambda: np.array([b"a", b"b"]),
        lambda: np.array([datetime.datetime(2020, 1, 1)], dtype="M8[s]"),
        lambda: np.array([1, 2], dtype="m8[s]"),
        lambda: np.zeros(3, dtype=[("x", "f8"), ("y", "i4")]),
        lambda: np.zeros(3, dtype="V5"),
        lambda: np.array(["a"], dtype=np.dtypes.StringDType()),
    ],
    ids=["object", "str", "bytes", "datetime", "timedelta", "structured", "void", "string"],
)
def test_f30_not_numbers(make, backend):
    def f(x):
        return x[1:]

    check_refused(f, lambda: (make(),), backend, "UnsupportedDtype", base=TypeError)


@each_backend
def test_f30_next_call_works(backend):
    def f(x):
        return x[1:]

    compiled = jit(f, backend)
    if backend != "numpy":
        with pytest.raises(TypeError):
            compiled(np.array([None, 1]))
    assert np.array_equal(compiled(np.arange(3)), [1, 2])


@each_backend
def test_f30_made_inside(backend):
    def f(x):
        return np.array([None, "a"]), x + 1

    check_refused(f, lambda: (np.arange(3),), backend)


@each_backend
@pytest.mark.parametrize("dtype", ["f2", "g", "c8", "c16", "G"])
def test_f31_rarer_numbers(dtype, backend):
    def args():
        return (np.arange(1, 9).astype(dtype),)

    rtol = {"f2": 2e-3, "c8": 1e-6}.get(dtype, 1e-14)
    check(touch, args, backend, rtol=rtol, may_refuse=("UnsupportedDtype", "DeviceError"))


@each_backend
def test_f31_longdouble_is_not_narrowed(backend):
    def f(x):
        return x + np.longdouble(1)

    def args():
        return (np.array([2**60, 1], dtype=np.longdouble) / 3,)

    check(f, args, backend, may_refuse=("UnsupportedDtype",))


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@each_backend
def test_f32_matrix(backend):
    def f(x):
        return x * x

    check(f, lambda: (np.matrix([[1.0, 2.0], [3.0, 4.0]]),), backend, may_refuse=True)


@each_backend
def test_f32_masked_array(backend):
    def f(x):
        return x + 1.0

    def args():
        return (np.ma.masked_array([1.0, 2.0, 3.0], mask=[False, True, False]),)

    if backend == "numpy":
        assert isinstance(f(*args()), np.ma.MaskedArray)
    else:
        check_refused(f, args, backend, base=TypeError)


@each_backend
def test_f32_own_subclass(backend):
    class Metres(np.ndarray):
        pass

    def f(x):
        return x + 1.0

    check(f, lambda: (np.arange(3.0).view(Metres),), backend, may_refuse=True)


@each_backend
@pytest.mark.parametrize("rank", [33, 64])
def test_f33_high_rank(rank, backend):
    def f(x):
        return x + 1.0

    check(f, lambda: (np.arange(2.0).reshape((2,) + (1,) * (rank - 1)),), backend, may_refuse=True)


@each_backend
def test_f33_rank_65(backend):
    def reshape(x):
        return x.reshape((1,) * 65)

    def newaxis(x):
        for _ in range(64):
            x = x[None]
        return x

    check(reshape, lambda: (np.ones(1),), backend)
    check(newaxis, lambda: (np.ones(1),), backend)


@pytest.mark.parametrize("backend", backends("cpu"))
def test_f34_offsets_beyond_32_bits(backend):
    """Three elements, more than 4 GiB apart: only their pages are ever touched."""

    def f(x):
        x *= 2.0
        return x[::-1] + 1.0

    step = 2**32 + 4096
    try:
        raw = np.zeros(2 * step // 8 + 1)
    except MemoryError:
        pytest.skip("the system does not give out that much address space")
    x = np.lib.stride_tricks.as_strided(raw, (3,), (step,))
    x[:] = [1.0, 2.0, 3.0]
    result = jit(f, backend)(x)
    assert result.tolist() == [7.0, 5.0, 3.0]
    assert [raw[0], raw[step // 8], raw[2 * step // 8]] == [2.0, 4.0, 6.0]


@pytest.mark.parametrize("backend", backends("interp", "cpu"))
def test_f34_more_elements_than_32_bits(backend):
    def f(x):
        return x[2**31 + 5], x[-3:] * 2, x[:: 2**31]

    def args():
        return (np.broadcast_to(np.uint8(5), (2**31 + 16,)),)

    compiled = jit(f, backend)
    one, few, strided = compiled(*args())
    assert one == 5
    assert few.tolist() == [10, 10, 10]
    assert strided.tolist() == [5, 5]


@pytest.mark.parametrize("backend", backends("cpu"))
def test_f34_element_beyond_31_bits(backend):
    """A real array of more than 2**31 elements: zeros, of which only the pages that are touched take memory."""

    def f(x):
        x[5] += x[2**31 + 5]
        x[-1] = x[2**31 + 4 : 2**31 + 7].sum()

    try:
        x = np.zeros(2**31 + 16, np.uint8)
    except MemoryError:
        pytest.skip("the system does not give out that much address space")
    x[[5, 2**31 + 5]] = 3, 40
    jit(f, backend)(x)
    assert [x[5], x[2**31 + 5], x[-1]] == [43, 40, 40]


@each_backend
@pytest.mark.parametrize("shape", [(2**31, 2**29), (2**31, 2**31), (2**40, 2**40), (2**62,)])
def test_f34_more_than_any_memory(shape, backend):
    def f(x):
        return x + np.zeros(shape)[0]

    def from_arguments(x, y):
        return x + y

    error = check_refused(f, lambda: (np.ones(1),), backend)
    assert isinstance(error, (MemoryError, ValueError))
    if len(shape) == 2:
        outer = [
            np.broadcast_to(np.float64(1.0), (shape[0], 1)),
            np.broadcast_to(np.float64(1.0), (1, shape[1])),
        ]
        compiled = jit(from_arguments, backend)
        with pytest.raises((MemoryError, ValueError)) as caught:
            compiled(*outer)
        assert backend == "numpy" or is_sparsec_error(caught.value)
        assert compiled(np.ones(2), np.ones(2)).tolist() == [2.0, 2.0]


@each_backend
def test_f35_new_dtypes_shapes_and_ranks(backend):
    def f(x, y):
        x[...] += y
        return x * y, x.sum()

    def pair(shape, dtype, other=None):
        return lambda: (np.ones(shape, dtype), np.full(other or shape, 3, dtype))

    makers = [
        pair((3,), "f8"),
        pair((3,), "f4"),
        pair((4,), "f8"),
        pair((2, 3), "f8"),
        pair((2, 3), "f8", (3,)),
        pair((2, 3), "i4"),
        pair((0,), "f8"),
        pair((), "f8"),
        pair((3,), "u1"),
        pair((3,), "f8"),
        pair((3,), "i8"),
        pair((3, 2), "f8"),
        lambda: (np.ones((4, 3)).T, np.ones((3, 4))),
        lambda: (np.ones(3), np.float64(2.0)),
        lambda: (np.ones(3), 2.0),
        lambda: (np.ones(3, "f4"), 2),
        lambda: (np.ones(3, "i8"), True),
    ]
    check_calls(f, makers, backend)


@each_backend
def test_f35_scalars_of_different_type(backend):
    def f(x, s):
        return x * s

    ones = np.ones(3, np.float32)
    makers = [lambda s=s: (ones.copy(), s) for s in (2, 2.0, True, np.float64(2), np.int8(2), 2j, 3, 0.5)]
    flags = np.ones(3, bool)
    makers += [lambda s=s: (flags.copy(), s) for s in (1, True, 1)]
    check_calls(f, makers, backend)
