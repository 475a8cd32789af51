"""Fault 74: float constants survive the text form bit for bit."""

import struct

import numpy as np
import pytest

from sparsec.ir.builder import Builder
from sparsec.ir.loops import Const
from sparsec.ir.text import parse, to_text
from sparsec.ir.types import tensor

VALUES = [float("nan"), float("inf"), float("-inf"), -0.0, 0.0, 1e-310, 5e-324, 0.1, 1 / 3, 1.7976931348623157e308,
          struct.unpack("<d", struct.pack("<Q", 0x7FF8DEADBEEF0001))[0]]


def bits(value, dtype):
    return np.array(value, dtype).tobytes()


@pytest.mark.parametrize("value", VALUES, ids=lambda v: struct.pack(">d", v).hex())
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_f74_float_constants_keep_their_bits(value, dtype):
    value = np.array(value, dtype).item() if dtype == "f4" and value == value else value
    b = Builder()
    func = b.func("f", (b.const(value, tensor(dtype)),))
    again = parse(to_text(func))
    (op,) = again.ops
    assert bits(op.attrs["value"], dtype) == bits(value, dtype)
    assert to_text(again) == to_text(func)


def test_f74_constants_that_differ_in_bits_only_are_not_equal():
    f8 = np.dtype("f8")
    assert Const(0.0, f8) != Const(-0.0, f8)
    assert Const(float("nan"), f8) == Const(float("nan"), f8)
