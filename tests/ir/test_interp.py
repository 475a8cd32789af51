"""The graph interpreter against NumPy: programs of random views and writes, and what it refuses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsec.errors import ArgumentError, IndexOutOfRange, Loc, ShapeError, VerifyError
from sparsec.ir.builder import Builder
from sparsec.ir.graph import Func, Op, Region, Value
from sparsec.ir.interp import interpret
from sparsec.ir.ops.control import control_op
from sparsec.ir.tensorref import TensorRef
from sparsec.ir.text import parse
from sparsec.ir.types import F64, I64, TensorType, tensor
from sparsec.ir.verify import verify


class Twin:
    """One random program twice: NumPy arrays, and the values of a builder that follow them."""

    def __init__(self, shape):
        self.builder = Builder()
        self.base = np.arange(float(np.prod(shape, dtype=int))).reshape(shape)
        self.version = self.builder.param(TensorType(F64, shape, TensorRef("x", 0, strides(self.base))), "x")
        self.views = [(self.base, self.version)]

    def add(self, array, source, op, **attrs):
        self.views.append((array, self.builder.op(op, source, **attrs)))

    def read(self, place):
        """The view at `place` of the newest version: a view is always read from there."""
        ref, shape = place.ref, place.type.shape
        return self.builder.op("view", self.version, offset=ref.offset, shape=shape, strides=ref.strides)


def strides(array):
    return tuple(s // array.itemsize for s in array.strides)


@st.composite
def twins(draw):
    twin = Twin(tuple(draw(st.lists(st.integers(0, 5), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(1, 6))):
        array, value = draw(st.sampled_from(twin.views))
        match draw(st.sampled_from(["slice", "transpose", "write", "shift"])):
            case "slice":
                index, start, size, step = [], [], [], []
                for dim in array.shape:
                    k = draw(st.sampled_from([1, 2, -1, -3]))
                    s = slice(draw(st.integers(-6, 6)), draw(st.integers(-6, 6)), k)
                    first, stop, k = s.indices(dim)
                    count = len(range(first, stop, k))
                    index.append(s)
                    start.append(first if count else 0)
                    size.append(count)
                    step.append(k)
                attrs = {"start": tuple(start), "size": tuple(size), "step": tuple(step)}
                twin.add(array[tuple(index)], value, "slice", **attrs)
            case "transpose":
                perm = tuple(draw(st.permutations(range(array.ndim))))
                twin.add(array.transpose(perm), value, "transpose", perm=perm)
            case "write":
                doubled = twin.builder.op("add", twin.read(value), twin.read(value))
                twin.version = twin.builder.op("update", twin.version, value, doubled)
                array[...] = array + array
            case "shift" if array.shape[0] > 1:
                size, rest = (array.shape[0] - 1, *array.shape[1:]), (0,) * (array.ndim - 1)
                attrs = {"size": size, "step": (1,) * array.ndim}
                parts = [twin.builder.op("slice", value, start=(at, *rest), **attrs) for at in (0, 1)]
                twin.version = twin.builder.op("update", twin.version, parts[1], twin.read(parts[0]))
                array[1:] = array[:-1]
    return twin


@settings(max_examples=150)
@given(twins())
def test_views_and_writes_are_numpys(twin):
    start = np.arange(float(twin.base.size))
    results = tuple(twin.read(value) for _, value in twin.views)
    func = twin.builder.func("f", results, (twin.version,))
    verify(func)
    found, (written,) = interpret(func, [start])
    np.testing.assert_array_equal(written, twin.base.reshape(-1))
    for (array, _), result in zip(twin.views, found):
        np.testing.assert_array_equal(result, array, strict=True)
        if array.size:
            assert np.shares_memory(result, written)
            assert strides(result) == strides(array)
    np.testing.assert_array_equal(start, np.arange(float(twin.base.size)))


def test_results_are_storages_of_their_own():
    x = Value("x", tensor(F64, 3))
    y = Value("y", tensor(F64, 3))
    func = Func("f", (x,), (Op("copy", (x,), (y,)),), (x, y))
    (a, b), _ = interpret(func, [np.ones(3)])
    assert not np.shares_memory(a, b)


def test_control_ops_can_be_built():
    b = Builder()
    n, x = b.param(tensor(I64), "n"), b.param(TensorType(F64, (2,), TensorRef("x", 0, (1,))), "x")
    zero, one = b.const(0, tensor(I64)), b.const(1, tensor(I64))
    inner = Builder(b.names)
    i, s = Value("i", tensor(I64)), Value("s", x.type)
    t = inner.op("update", s, s, inner.op("add", s, s))
    loop = control_op("for", (zero, n, one, x), (Region((i, s), tuple(inner.ops), (t,)),), ("r",))
    func = Func("f", (n, x), (*b.ops, loop), (), loop.results)
    verify(func)
    assert loop.result.type == x.type
    _, (w,) = interpret(func, [3, np.array([1.0, 2.0])])
    assert list(w) == [8, 16]


ZERO_STEP = """
func @f(%a: i64) {
  for %a, %a, %a (%i: i64) {  // f.py:3
    yield
  }
  return
}
"""


def test_errors_have_the_users_line():
    with pytest.raises(ShapeError, match="must not be zero") as caught:
        interpret(parse(ZERO_STEP), [0])
    assert caught.value.loc == Loc("f.py", 3)


def test_a_check_that_fails_is_the_error_of_its_kind():
    func = parse("""
    func @f(%ok: bool[2]) {
      %r = fused () {
        check %ok {kind="index", message="index 9 is out of bounds"}  // f.py:3
        yield %ok
      } : bool[2]
      return
    }""")
    interpret(func, [np.array([True, True])])
    with pytest.raises(IndexOutOfRange, match="index 9") as caught:
        interpret(func, [np.array([True, False])])
    assert caught.value.loc == Loc("f.py", 3)


@pytest.mark.parametrize(("params", "args", "error", "message"), [
    ("%x: f64[2]", [], ArgumentError, "1 parameters, 0 arguments"),
    ("%x: f64[2]", [np.zeros(2, "f4")], ArgumentError, "%x is float32"),
    ("%x: f64[2]", [np.zeros(3)], ShapeError, "has shape"),
    ("%x: f64[2,2]", [np.zeros(3)], VerifyError, "leaves @x"),
    ("%x: f64[n], %y: f64[n]", [np.zeros(2), np.zeros(3)], ShapeError, "has shape"),
    ("%x: f64[n<=2]", [np.zeros(3)], VerifyError, "n is 3, not from 0 to 2"),
])
def test_arguments_that_do_not_fit(params, args, error, message):
    with pytest.raises(error, match=message):
        interpret(parse(f"func @f({params}) {{ return %x }}"), args)


@pytest.mark.parametrize(("shape", "symbols"), [((3, 7), {"n": 3}), ((0, 1), {"n": 0})])
def test_dims_are_solved_for(shape, symbols):
    func = parse("func @f(%x: f64[n,2*n+1]) { return %x }")
    (result,), _ = interpret(func, [np.zeros(shape)])
    assert result.shape == shape
    (result,), _ = interpret(func, [np.zeros(np.prod(shape))], symbols)
    assert result.shape == shape


def test_a_reference_that_breaks_its_type_is_found():
    func = parse("func @f(%x: f64[2]) { %y = neg %x : f32[2] return %y }")
    with pytest.raises(VerifyError, match="its type says f32") as caught:
        interpret(func, [np.zeros(2)])
    assert "in: %y = neg" in str(caught.value)
