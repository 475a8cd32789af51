"""Integers behind dims are read wherever a value with the dim is touched."""

import pytest

from sparsec.errors import VerifyError
from sparsec.ir.forms import Form, check_form
from sparsec.ir.text import parse
from tests.passes.compiled import check_everywhere
from tests.passes.symbolic_programs import random_symbolic_program


def check(seeds):
    for seed in seeds:
        func, args = random_symbolic_program(seed)
        try:
            check_everywhere(func, args, orders=("shuffle",))
        except Exception as error:
            raise AssertionError(f"random_symbolic_program({seed})") from error


@pytest.mark.parametrize("first", range(0, 100, 25))
def test_same_meaning(first):
    check(range(first, first + 25))


@pytest.mark.long
@pytest.mark.parametrize("first", range(1000, 3000, 100))
def test_same_meaning_of_more(first):
    check(range(first, first + 100))


def test_a_plan_may_not_reuse_the_place_of_a_length_that_is_needed():
    func = parse("""
func @f(%x: f64[8], %k: i64) {
  storage @n: arena+0, 8 bytes
  storage @s: arena+0, 8 bytes
  %n = add %k, %k : i64
  %v = view %x {offset=0, shape=[%n], strides=[1]} : f64[%n<=8] @x
  %s = sum %v {axes=[0]} : f64
  %t = sum %v {axes=[0]} : f64
  return %s, %t
}
""")
    with pytest.raises(VerifyError, match="share memory while both are alive"):
        check_form(func, Form.PLANNED)
