"""The rules of the loop IR, each with a text that breaks it."""

import pytest

from sparsec.errors import VerifyError
from sparsec.ir.loop_text import parse_kernel, parse_program
from sparsec.ir.loop_verify import verify_kernel, verify_program
from sparsec.ir.loops import Apply, Buffer, Const, Kernel, Let, Load
from sparsec.ir.scalar import S, const, index, var
from sparsec.ir.types import BOOL, F32, I32

GOOD = """
mut s = 0.0:f32
for i in 0..n bind(parallel) {
  mut t = %x[i]
  alloc %p: private i32[2] rw
  %p[0] = cast:i32(i)
  t = t * 2.0:f32
  if t < 1.0:f32 { fail 1 } else { note 1 }
  let a = select:f32(t != t, t, 0.5:f32)
  %y[i] = a
}
for i in 0..n { let a = complex:c64(%x[i], 1.0:f32) s = s + real(a) }
while s > 0.0:f32 { s = s - 1.0:f32 barrier }
extern gemm:f32(%y[0], %x[1], %x[2]; 1, 1, 1, 1, 1, 1, 1, 1, 1)
let bits = bitcast:i32(s)
"""


def kernel(body):
    return parse_kernel(f"kernel @k(%x: global f32[8] r, %y: global f32[8] w; n) {{ {body} }}")


def test_good_kernel():
    verify_kernel(kernel(GOOD))


@pytest.mark.parametrize(("body", "message"), [
    ("let a = n let a = n", "a is already defined"),
    ("let n = 1", "n is already defined"),
    ("let a = q:i64", "q is not defined"),
    ("if true { let a = 1 } let b = a:i64", "a is not defined"),
    ("for i in 0..4 { } let b = i:i64", "i is not defined"),
    ("let a = n:i32", "n is int64, used as int32"),
    ("let a: f32 = 1", "a is float32, its value int64"),
    ("let a = 1 a = 2", "a is not a `mut`"),
    ("n = 2", "n is not a `mut`"),
    ("mut a = 1 a = 2.0", "its value float64"),
    ("mut a = 1 for i in 0..4 bind(parallel) { a = i }", "independent"),
    ("mut a = 1 for i in 0..4 bind(local) { for j in 0..2 { a = i } }", "independent"),
    ("for i in 0..4 step 0 { }", "step is 0"),
    ("for i in 0..4 bind(thread) { }", "no binding"),
    ("for i in 0..4:i32 { }", "int32, not i64"),
    ("for i: i32 in 0..4 { }", "loop variable is int32"),
    ("for n in 0..4 { }", "n is already defined"),
    ("while 1 { }", "not bool"),
    ("if 1.0 { }", "not bool"),
    ("let a = %y[0]", "%y is read"),
    ("%x[0] = 1.0:f32", "%x is written"),
    ("let a = %z:f32[0]", "%z is not declared"),
    ("%z[0] = 1", "%z is not declared"),
    ("%y[0:i32] = 1.0:f32", "not i64"),
    ("let a = %x[1.0]", "not i64"),
    ("let a = add:i64(1)", "add does not take (int64) to int64"),
    ("let a = add(1, 1.0)", "add does not take"),
    ("let a = add:f32(1, 2)", "to float32"),
    ("let a = div(1, 2)", "div does not take"),
    ("let a = lt(c64(1.0, 1.0), c64(1.0, 1.0))", "lt does not take"),
    ("let a = select:f32(1, 1.0:f32, 1.0:f32)", "select does not take"),
    ("let a = select:f32(true, 1.0:f32, 1.0)", "select does not take"),
    ("let a = bitcast:i64(1.0:f32)", "bitcast does not take"),
    ("let a = bitcast:bool(1:i8)", "bitcast does not take"),
    ("let a = complex:c128(1.0:f32, 1.0:f32)", "complex does not take"),
    ("let a = foo:f32(1)", "no scalar function"),
    ("alloc %x: private f32[2] rw", "already declared"),
    ("alloc %t: global f32[2] rw", "local or private"),
    ("alloc %t: private f32[?] rw", "its size is known"),
    ("alloc %t: shared f32[2] rw", "impossible space"),
    ("alloc %t: local f32[2] rw align 3", "impossible alignment"),
    ("fail 0", "no failure"),
    ("note 0", "not a flag"),
    ("extern foo:f32(%y[0])", "no library function"),
    ("extern gemm:f32(%y[0]; 1)", "takes 3 buffers and 9 scalars"),
    ("extern gemm:i32(%y[0], %x[0], %x[0]; 1, 1, 1, 1, 1, 1, 1, 1, 1)", "takes f32, f64, c64, c128"),
    ("extern gemm:f32(%x[0], %x[0], %x[0]; 1, 1, 1, 1, 1, 1, 1, 1, 1)", "%x is written"),
    ("launch @k()", "no kernel @k"),
])  # fmt: skip
def test_broken_kernels(body, message):
    with pytest.raises(VerifyError) as caught:
        verify_kernel(kernel(body))
    assert message in str(caught.value) and "kernel @k" in str(caught.value)


def test_the_error_shows_the_statement():
    with pytest.raises(VerifyError, match=r"%y\[n\] = q"):
        verify_kernel(kernel("for i in 0..4 { %y[n] = q:f32 }"))


@pytest.mark.parametrize("value", [Const(0.1, F32), Const(1, BOOL), Const(1, F32), Const(1 << 40, I32)])
def test_constants_are_held_as_their_dtype_would(value):
    with pytest.raises(VerifyError, match="not held exactly"):
        verify_kernel(Kernel("k", (), (), (Let(var("a", value.dtype), value),)))


def test_parameters():
    with pytest.raises(VerifyError, match="declared twice"):
        verify_kernel(Kernel("k", (Buffer("x", F32, 1), Buffer("x", F32, 1)), (), ()))
    with pytest.raises(VerifyError, match="cannot be private"):
        verify_kernel(Kernel("k", (Buffer("x", F32, 1, "private"),), (), ()))
    with pytest.raises(VerifyError, match="not i64"):
        verify_kernel(Kernel("k", (), (var("n", I32),), ()))


def test_deep_expressions_must_be_bound():
    deep = var("n")
    for _ in range(300):
        deep = Apply("neg", (deep,), deep.dtype)
    for expr in (deep, Load("x", deep, F32)):
        with pytest.raises(VerifyError, match="too deep an expression"):
            body = (Let(var("a", expr.dtype), expr),)
            verify_kernel(Kernel("k", (Buffer("x", F32, 8),), (var("n"),), body))


def test_shared_parts_are_checked_once():
    shared = S.add(var("n"), index(1))
    for _ in range(60):  # 2**60 nodes as a tree
        shared = S.add(shared, shared)
    verify_kernel(Kernel("k", (), (var("n"),), (Let(var("a"), shared),)))
    assert const(1, F32) == const(1.0, F32)


PROGRAM = """
program @p {
  arena 64
  slot %x: global f32[4] r align 4 = param 0
  slot %y: global f32[4] rw = result 0
  slot %t: global f32[4] rw align 16 = arena 16
  slot %u: global f32[4] rw = arena 32
  slot %c: global i32[1] r = const 0 "2a000000"
  slot %h: global f32[?] rw align 4 = heap 0
  failure index "bad"
  kernel @k(%x: global f32[4] r align 4, %y: global f32[4] w; n) { fail 1 }
  host { launch @k(%x, %y; 3) launch @k(%t, %u; 3) for i in 0..2 { launch @k(%x, %t; i) } reserve %h, 8 else fail 1 }
}
"""


def test_a_read_buffer_may_not_overlap_an_earlier_written_one():
    params = "%x: global f32[4] r align 4, %y: global f32[4] w"
    text = PROGRAM.replace(params, "%y: global f32[4] w, %x: global f32[4] r")
    for read, ok in (("%x", True), ("%t", True), ("%y", False)):
        program = parse_program(text.split("host")[0] + f"host {{ launch @k(%y, {read}; 1) }} }}")
        if ok:
            verify_program(program)
        else:
            with pytest.raises(VerifyError, match="would overlap"):
                verify_program(program)


def test_good_program():
    verify_program(parse_program(PROGRAM))


@pytest.mark.parametrize(("old", "new", "message"), [
    ("launch @k(%x, %y; 3)", "launch @q(%x, %y; 3)", "no kernel @q"),
    ("launch @k(%x, %y; 3)", "launch @k(%x; 3)", "takes 2 buffers and 1 scalars"),
    ("launch @k(%x, %y; 3)", "launch @k(%x, %y)", "takes 2 buffers and 1 scalars"),
    ("launch @k(%x, %y; 3)", "launch @k(%x, %y; 3.0)", "not i64"),
    ("launch @k(%x, %y; 3)", "launch @k(%x, %q; 3)", "%q is not declared"),
    ("launch @k(%x, %y; 3)", "launch @k(%y, %x; 3)", "aligned to 1"),
    ("launch @k(%x, %y; 3)", "launch @k(%x, %x; 3)", "%x is r"),
    ("launch @k(%x, %y; 3)", "launch @k(%t, %t; 3)", "would overlap"),
    ("launch @k(%x, %y; 3)", "launch @k(%x, %c; 3)", "%c is r"),
    ("launch @k(%x, %y; 3)", "barrier", "barrier outside"),
    ("= arena 32", "= arena 28", "would overlap"),
    ("= arena 32", "= arena 56", "outside the arena"),
    ("= arena 16", "= arena 8", "not aligned to 16"),
    ('"2a000000"', '"2a"', "4 bytes of data"),
    ("i32[1] r = const", "i32[1] rw = const", "read-only"),
    ("= result 0", "= output 0", "no 'output' 0"),
    ("slot %u", "slot %t", "slot t is declared twice"),
    ("{ fail 1", "{ fail 2", "no failure has the code 2"),
    ("%h, 8 else fail 1", "%h, 8 else fail 2", "no failure has the code 2"),
    ("%h, 8", "%h, 8.0", "not i64"),
    ("reserve %h", "reserve %t", "%t is not memory that can be reserved"),
    ("{ fail 1", "{ reserve %x, 8 else fail 1", "%x is not memory that can be reserved"),
    ("f32[?] rw align 4 = heap", "f32[8] rw align 4 = heap", "only the program can tell the size"),
    ("%y: global f32[4] w;", "%y: global f32[5] w;", "smaller than"),
    ("host {", "kernel @k() { } host {", "kernel k is declared twice"),
])  # fmt: skip
def test_broken_programs(old, new, message):
    with pytest.raises(VerifyError) as caught:
        verify_program(parse_program(PROGRAM.replace(old, new, 1)))
    assert message in str(caught.value)
