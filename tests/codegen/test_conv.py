"""Convolutions on every backend: against the reference, with counts of channels that the call decides."""

import numpy as np
import pytest

from sparsec.compiler import Compilation
from sparsec.errors import DTypeError, ShapeError
from sparsec.ir.builder import Builder
from sparsec.ir.dims import sym
from sparsec.ir.ops.record import record
from sparsec.ir.types import F32, I32, I64, TensorType, tensor
from tests.codegen.running import pocl

CONV = record("conv2d")


@pytest.fixture(params=["cpu", "opencl", "loops"])
def backend(request):
    if request.param == "opencl":
        pocl()
    return request.param


def operands(shapes, dtype, rng):
    """Signed numbers, so that sums cancel; index lists are taken as they are."""
    return [s if isinstance(s, np.ndarray) else rng.uniform(-1, 1, s).astype(dtype) for s in shapes]


def run(func, backend, args, results):
    """Runs on copies of `args`; fills `results`."""
    memory = [np.array(a, order="C") for a in args]
    Compilation(func, backend).runner.run([a.ctypes.data for a in memory], [r.ctypes.data for r in results])
    return results


def close(got, want):
    scale = 1e-5 * max(1.0, np.abs(want).max(initial=0))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=scale)


@pytest.mark.parametrize("number", range(len(CONV.cases)))
def test_backends_give_the_reference(backend, number):
    case = CONV.cases[number]
    args = operands(case.shapes, case.dtypes[0], np.random.default_rng(number))
    b = Builder()
    result = b.op("conv2d", *(b.param(tensor(a.dtype, *a.shape)) for a in args), **case.attrs)
    want = CONV.ref(*args, **{**CONV.defaults, **case.attrs})
    (got,) = run(b.func("f", (result,)), backend, args, [np.full(want.shape, np.nan, want.dtype)])
    close(got, want)


def counted(full_in, full_out, size, kernel, **attrs):
    """conv2d of k listed input channels to m listed rows, both counts i64 parameters."""
    b = Builder()
    k, m = (b.param(TensorType(I64, ()), name) for name in ("k", "m"))
    live, made = (sym(f"%{v.name}", bound) for v, bound in ((k, full_in), (m, full_out)))
    x = b.param(tensor(F32, 1, live, size, size), "x")
    w = b.param(tensor(F32, full_out, full_in, kernel, kernel), "w")
    lists = [b.param(tensor(I32, n)) for n in (live, made)]
    pad = (kernel // 2, kernel // 2)
    y = b.op("conv2d", x, w, *lists, extras=("inputs", "rows"), in_channels=full_in, out_channels=full_out,
             padding=(pad, pad), **attrs)
    return b.func("f", (y,)), attrs | {"padding": (pad, pad)}


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("counts", [(3, 2), (5, 7), (1, 1), (0, 4), (5, 0)])
def test_counts_of_channels_may_differ_at_every_call(backend, kernel, counts):
    rng = np.random.default_rng(5)
    func, attrs = counted(5, 7, 6, kernel)
    ins, rows = (
        np.sort(rng.choice(full, n, replace=False)).astype(np.int32) for n, full in zip(counts, (5, 7))
    )
    x, w = operands([(1, counts[0], 6, 6), (7, 5, kernel, kernel)], "f4", rng)
    want = CONV.ref(x, w, ins, rows, **{
        **CONV.defaults, **attrs, "extras": ("inputs", "rows"), "in_channels": 5, "out_channels": 7,
    })
    sizes = [np.array(n, np.int64) for n in counts]
    got = np.full((1, 7, 6, 6), np.nan, np.float32)
    memory = [*sizes, x, w, ins, rows]
    bytes_behind = [m.nbytes for m in (*memory, want)]
    compiled = Compilation(func, backend)
    compiled.runner.run([m.ctypes.data for m in memory], [got.ctypes.data], bytes_behind)
    close(got.reshape(-1)[: want.size].reshape(want.shape), want)


@pytest.mark.parametrize(("types", "attrs", "words"), [
    (((1, 3, 8, 8), (4, 2, 3, 3)), {}, "3 channels, not 2"),
    (((1, 4, 8, 8), (4, 2, 3, 3)), {"in_channels": 6}, "not for 6"),
    (((1, 4, 2, 2), (4, 4, 3, 3)), {}, "does not fit"),
    (((1, 4, 8, 8), (5, 2, 3, 3)), {"groups": 2}, "5 output channels in 2 groups"),
    (((1, 4, 8, 8), (4, 4, 3, 3)), {"stride": (0, 1)}, "positive"),
    (((4, 8, 8), (4, 4, 3, 3)), {}, "ranks 3, 4"),
])
def test_what_does_not_fit_is_said(types, attrs, words):
    b = Builder()
    with pytest.raises(ShapeError, match=words):
        b.op("conv2d", *(b.param(tensor(F32, *t)) for t in types), **attrs)


def test_other_dtypes_are_refused():
    b = Builder()
    with pytest.raises(DTypeError, match="i32"):
        b.op("conv2d", b.param(tensor(I32, 1, 1, 3, 3)), b.param(tensor(I32, 1, 1, 3, 3)))
