"""What follows a convolution element for element is done in its loops, and nothing else is."""

import numpy as np

import sparsec
from sparsec import nn
from sparsec.compiler import Compilation
from sparsec.ir.builder import Builder
from sparsec.ir.interp import interpret
from sparsec.ir.types import F32, tensor
from sparsec.passes.base import run_pipeline
from sparsec.passes.fuse import fuse_with_decisions
from sparsec.passes.lower import lower_program
from sparsec.passes.pipeline import DEFAULT
from tests.passes.compiled import check_everywhere

SHAPE = (1, 3, 4, 5)
PAD = {"padding": ((1, 1), (1, 1))}


def close(got, want):
    np.testing.assert_allclose(got, want, 2e-5, 2e-6)


def arrays(func, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.uniform(0.5, 1.5, p.type.static_shape).astype(np.float32) for p in func.params]


def convolved(b, x=None):
    x = x or b.param(tensor(F32, *SHAPE), "x")
    return x, b.op("conv2d", x, b.param(tensor(F32, 3, 3, 3, 3), "w"), **PAD)


def spread(b, value):
    """A number for each channel, as a view of the result's shape."""
    return b.op("view", value, offset=0, shape=SHAPE, strides=(0, 1, 0, 0))


def zero(b):
    return b.const(0.0, tensor(F32))


def kernels(func):
    return lower_program(run_pipeline(func, DEFAULT)).kernels


def everywhere(func):
    args = arrays(func)
    check_everywhere(func, args, compare=close)
    (want,), _ = interpret(func, args)
    for backend in ("cpu", "opencl"):
        memory = [a.copy() for a in args]
        got = np.full(want.shape, np.nan, np.float32)
        Compilation(func, backend).runner.run([a.ctypes.data for a in memory], [got.ctypes.data])
        close(got, want)


def test_bias_norm_residual_and_relu_are_one_kernel_with_the_convolution():
    b = Builder()
    x, y = convolved(b)
    y = b.op("add", y, spread(b, b.param(tensor(F32, 3), "bias")))
    scale = b.op("sqrt", b.param(tensor(F32, 3), "var"))  # computed behind the convolution, needed in it
    y = b.op("add", b.op("mul", y, spread(b, scale)), b.param(tensor(F32, *SHAPE), "rest"))
    func = b.func("f", (b.op("maximum", y, zero(b)),))
    assert len(kernels(func)) == 2
    everywhere(func)


def test_two_convolutions_and_their_sum():
    b = Builder()
    x, one = convolved(b)
    _, other = convolved(b, x)
    func = b.func("f", (b.op("maximum", b.op("add", one, other), zero(b)),))
    assert len(kernels(func)) == 2
    everywhere(func)


def test_the_convolution_itself_may_be_a_result_too():
    b = Builder()
    _, y = convolved(b)
    func = b.func("f", (y, b.op("neg", y)))
    assert len(kernels(func)) == 1
    args = arrays(func)
    check_everywhere(func, args, compare=close)


def test_neighbours_are_read_by_another_kernel():
    b = Builder()
    _, y = convolved(b)
    turned = b.op("view", y, offset=4, shape=SHAPE, strides=(60, 20, 5, -1))
    func = b.func("f", (b.op("add", y, turned),))
    assert len(kernels(func)) == 2
    everywhere(func)


def test_sums_and_strangers_stay_outside():
    b = Builder()
    _, y = convolved(b)
    stranger = b.op("exp", b.param(tensor(F32, *SHAPE), "other"))
    func = b.func("f", (b.op("sum", y, axes=(2, 3)), stranger))
    assert len(kernels(func)) == 2
    _, decisions = fuse_with_decisions(run_pipeline(func, DEFAULT[: [p.name for p in DEFAULT].index("fuse")]))
    assert any("made for what is computed" in d.reason for d in decisions)


def test_a_convolution_into_its_own_input_reads_it_first():
    b = Builder()
    x, y = convolved(b)
    whole = b.op("slice", x, start=(0, 0, 0, 0), size=SHAPE, step=(1, 1, 1, 1))
    new = b.op("update", x, whole, b.op("maximum", y, zero(b)))
    func = b.func("f", (), (new,))
    check_everywhere(func, arrays(func), compare=close)


def test_rows_that_are_computed_twice_are_finished_once():
    """23 rows in blocks of fewer: the last block begins inside of the one before it, on what that has written."""

    def add(x, w, y):
        y[...] = nn.relu(nn.conv2d(x, w, padding=1) + y)

    rng = np.random.default_rng(0)
    x, w, y = (rng.normal(size=size).astype(np.float32) for size in ((1, 2, 9, 9), (23, 2, 3, 3), (1, 23, 9, 9)))
    made, want = y.copy(), y.copy()
    compiled = sparsec.jit(add)
    compiled(x, w, made)
    add(x, w, want)
    close(made, want)
    assert "if min(" in compiled.trace(x, w, y).as_text("scheduled")
