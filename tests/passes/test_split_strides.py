"""Strided convolutions read phases of their input; what they compute stays the same."""

import numpy as np
import pytest

from sparsec.ir.builder import Builder
from sparsec.ir.dims import sym
from sparsec.ir.graph import walk
from sparsec.ir.types import F32, I64, TensorType, tensor
from sparsec.passes.base import run_pipeline
from sparsec.passes.resolve_views import ResolveViews
from sparsec.passes.split_strides import SplitStrides
from tests.passes.compiled import check_everywhere


def convolution(image, weight, **attrs):
    b = Builder()
    made = b.op("conv2d", b.param(tensor(F32, *image), "x"), b.param(tensor(F32, *weight), "w"), **attrs)
    return b.func("f", (made,))


def split(func):
    return run_pipeline(func, (ResolveViews(), SplitStrides()), verify=True)


CASES = {
    "3x3": ((1, 2, 8, 6), (3, 2, 3, 3), {"stride": (2, 2), "padding": ((1, 1), (1, 1))}, (2, 2)),
    "7x7, odd": ((1, 1, 9, 7), (2, 1, 7, 7), {"stride": (2, 2), "padding": ((3, 3), (3, 3))}, (2, 2)),
    "1x1 reads one phase": ((1, 2, 5, 6), (3, 2, 1, 1), {"stride": (2, 2)}, (1, 1)),
    "no padding": ((2, 1, 7, 8), (2, 1, 3, 2), {"stride": (3, 2)}, (3, 2)),
    "one stride, dilated": ((1, 1, 7, 9), (2, 1, 2, 3), {"stride": (1, 2), "dilation": (2, 2)}, (1, 1)),
    "depthwise": ((1, 3, 6, 6), (3, 1, 3, 3), {"stride": (2, 2), "padding": ((1, 1), (1, 1)), "groups": 3}, (2, 2)),
}


@pytest.mark.parametrize("name", CASES)
def test_phases_are_what_the_taps_read(name):
    image, weight, attrs, taken = CASES[name]
    func = convolution(image, weight, **attrs)
    (apart,) = [op for op in split(func).ops if op.name == "phases"]
    assert apart.attrs["taken"] == taken
    check(func, image, weight)


def check(func, *shapes):
    rng = np.random.default_rng(1)
    args = [rng.uniform(-1, 1, shape).astype(np.float32) for shape in shapes]
    check_everywhere(func, args, compare=lambda a, b: np.testing.assert_allclose(a, b, 1e-5, 1e-5))


COLUMNS = {
    "small image, many outputs": ((1, 1, 3, 2), (240, 1, 3, 3), {"padding": ((1, 1), (1, 1))}, (1, 3)),
    "dilated, uneven margins": (
        (1, 1, 4, 3), (400, 1, 2, 3), {"padding": ((0, 2), (3, 1)), "dilation": (3, 2)}, (1, 3)
    ),
    "strides": ((1, 1, 4, 4), (240, 1, 3, 3), {"padding": ((1, 1), (1, 1)), "stride": (2, 2)}, (2, 3)),
    "no more to write than phases": (
        (1, 2, 5, 6), (3, 2, 1, 1), {"stride": (2, 2), "padding": ((1, 0), (0, 0))}, (1, 1)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_are_what_the_taps_read(name):
    image, weight, attrs, taken = COLUMNS[name]
    func = convolution(image, weight, **attrs)
    (apart, made) = split(func).ops
    assert (apart.name, apart.result.type.shape[2:4], made.attrs["columns"]) == ("tap_columns", taken, True)
    check(func, image, weight)


def test_columns_that_no_cache_holds_are_not_made():
    func = convolution((1, 2000, 7, 7), (256, 2000, 3, 3), padding=((1, 1), (1, 1)))
    assert [op.name for op in split(func).ops] == ["conv2d"]


def test_without_strides_nothing_happens():
    func = convolution((1, 2, 5, 5), (3, 2, 3, 3))
    assert split(func).ops == func.ops


def test_channels_that_only_the_call_counts():
    b = Builder()
    count = b.param(TensorType(I64, ()), "k")
    x = b.param(tensor(F32, 1, sym(f"%{count.name}", 4), 6, 6), "x")
    lists = b.param(tensor(np.dtype("i4"), sym(f"%{count.name}", 4)), "at")
    w = b.param(tensor(F32, 2, 4, 3, 3), "w")
    made = b.op("conv2d", x, w, lists, extras=("inputs",), in_channels=4, stride=(2, 2))
    (apart,) = [op for op in walk(split(b.func("f", (made,))).ops) if op.name == "phases"]
    assert apart.result.type.shape == (1, sym(f"%{count.name}", 4), 2, 2, 3, 3)
