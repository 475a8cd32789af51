"""The pairwise sum: NumPy's own order, so NumPy's own bits; the order depends on nothing but the count."""

import math

import numpy as np
import pytest

from sparsec.ir.loop_interp import run
from sparsec.ir.loops import Buffer, Kernel, Launch, Load, Program, Slot, Store
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops.summation import pairwise_sum
from sparsec.ir.scalar import index

SIZES = (0, 1, 2, 3, 7, 8, 9, 15, 16, 63, 64, 65, 127, 128, 129, 130, 136, 255, 257, 511, 1000, 1025, 3000)


def sum_of(x):
    dtype = x.dtype
    nest = NestBuilder()
    total = pairwise_sum(nest, index(len(x)), lambda i: nest.let(Load("x", i, dtype)), dtype)
    nest.emit(Store("y", index(0), total))
    buffers = (Buffer("x", dtype, max(len(x), 1), access="r"), Buffer("y", dtype, 1, access="w"))
    slots = tuple(Slot(b, role, 0) for b, role in zip(buffers, ("param", "result")))
    program = Program("p", slots, (Kernel("k", buffers, (), nest.done()),), (Launch("k", ("x", "y")),))
    y = np.zeros(1, dtype)
    operand = np.resize(x, max(len(x), 1)).astype(dtype)
    assert run(program, [operand.view(np.uint8), y.view(np.uint8)]) == (0, 0)
    return y[0]


def numbers(size, dtype, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=size) * 10.0 ** rng.integers(-6, 6, size)
    return (x + 1j * x[::-1] if np.dtype(dtype).kind == "c" else x).astype(dtype)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
def test_a_row_sums_to_numpys_bits(size, dtype):
    x = numbers(size, dtype)
    assert sum_of(x).tobytes() == np.add.reduce(x).tobytes()


def test_zeros_sum_to_positive_zero():
    assert math.copysign(1, sum_of(np.full(20, -0.0))) == 1


def test_special_values():
    x = np.ones(300)
    x[[7, 200]] = np.inf
    assert sum_of(x) == np.inf
    x[250] = -np.inf
    assert np.isnan(sum_of(x))


def test_error_stays_small():
    x = numbers(3000, "f4", seed=3)
    error = abs(float(sum_of(x)) - math.fsum(map(float, x)))
    assert error <= 12 * np.finfo("f4").eps * float(np.sum(np.abs(x)))
