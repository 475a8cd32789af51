"""What the verifier finds in functions that no text can spell, and that its errors say where."""

import pytest

from sparsec.errors import Loc, VerifyError
from sparsec.ir.dims import sym
from sparsec.ir.forms import Form, check_form
from sparsec.ir.graph import Func, Op, Region, Value
from sparsec.ir.tensorref import TensorRef
from sparsec.ir.text import parse
from sparsec.ir.types import F32, F64, Channels, TensorType, tensor
from sparsec.ir.verify import verify

X = Value("x", tensor(F32))
Y = Value("y", tensor(F32))
Z = Value("z", tensor(F32))
NEG = Op("neg", (X,), (Y,), {}, (), Loc("f.py", 4))


def refuse(func, message, loc=None):
    with pytest.raises(VerifyError, match=message) as caught:
        verify(func)
    assert caught.value.loc == loc
    return str(caught.value)


def test_a_value_nobody_defines():
    text = refuse(Func("f", (), (NEG,), ()), "%x is used before it is defined", Loc("f.py", 4))
    assert "in: %y = neg %x : f32" in text


def test_a_result_nobody_defines():
    refuse(Func("f", (), (), (X,), loc=Loc("f.py", 1)), "%x is used before", Loc("f.py", 1))


def test_a_value_of_a_region_that_ended():
    fused = Op("fused", (), (Z,), {}, (Region((), (NEG,), (Y,)),))
    verify(Func("f", (X,), (fused,), (Z,)))
    refuse(Func("f", (X,), (fused,), (Y,)), "%y is used outside the region that defines it")


def test_a_value_with_another_type_than_its_definition():
    other = Value("x", tensor(F64))
    op = Op("neg", (other,), (Value("y", tensor(F64)),))
    refuse(Func("f", (X,), (op,), ()), "used as f64, but defined as f32")


def test_a_symbol_with_two_meanings():
    a, b = Value("a", tensor(F32, sym("n", 5))), Value("b", tensor(F32, sym("n", 6)))
    refuse(Func("f", (a, b), (), ()), "symbol n has two bounds")


def test_strides_of_another_rank():
    a = Value("a", TensorType(F32, (2, 2), TensorRef("a", 0, (1,))))
    refuse(Func("f", (a,), (), ()), "%a has 1 strides for 2 axes")


def test_channels_on_no_axis():
    a = Value("a", TensorType(F32, (2,), None, Channels(3, 8, "%i")))
    refuse(Func("f", (a,), (), ()), "%a has no axis 3")


def test_too_many_axes():
    refuse(Func("f", (Value("a", tensor(F32, *[1] * 65)),), (), ()), "has 65 axes")


def test_forms_are_in_order():
    assert list(Form) == sorted(Form)
    names = ["TRACED", "CANONICAL", "SPARSE_KNOWN", "VIEWS_RESOLVED", "FUSED", "PLANNED"]
    assert [f.name for f in Form] == names


@pytest.mark.parametrize("form", Form)
def test_a_form_includes_the_earlier_ones(form):
    func = parse("""func @f(%x: f32[4] @x) {
      %a = slice %x {start=[0], size=[4], step=[1]} : f32[4] @x
      return %a
    }""")
    if form is Form.TRACED:
        check_form(func, form)
        return
    with pytest.raises(VerifyError, match="is the same view as %x"):
        check_form(func, form)
