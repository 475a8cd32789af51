"""The loop interpreter: what each statement and scalar function means, and which misuse it catches."""

import math

import numpy as np
import pytest

from sparsec.errors import InterpreterError
from sparsec.ir.block import Block
from sparsec.ir.loop_interp import _FUNCTIONS, apply_scalar, run
from sparsec.ir.loop_text import parse_program
from sparsec.ir.loops import Apply, Const
from sparsec.ir.scalar import FNS
from sparsec.ir.types import DTYPES, I64


def program(body, slots="", host="launch @k(%x, %y)", params="%x: global f32[4] r, %y: global f32[4] rw"):
    slots = slots or "slot %x: global f32[4] r = param 0 slot %y: global f32[4] rw = result 0"
    failures = 'failure index "a" failure value "b"'
    return parse_program(
        f"program @p {{ arena 64 {slots} {failures} kernel @k({params}) {{ {body} }} host {{ {host} }} }}"
    )


def result_of(body, x=(1, 2, 3, 4), **options):
    x, y = np.array(x, np.float32), np.zeros(4, np.float32)
    status, flags = run(program(body), [x.view(np.uint8), y.view(np.uint8)], **options)
    return y.tolist(), status, flags


def test_loops_cells_and_branches():
    body = """
    mut s = 0.0:f32
    for i in 3..-1 step -1 {
      s = s + %x[i]
      if s < 8.0:f32 { %y[i] = s } else { %y[i] = -s_neg }
    }
    """.replace("-s_neg", "neg(s)")
    assert result_of(body) == ([-10.0, -9.0, 7.0, 4.0], 0, 0)
    assert result_of("mut n = 0 while n < 3 { %y[n] = 1.0:f32 n = n + 2 }")[0] == [1, 0, 1, 0]


def test_fail_stops_the_program_and_note_does_not():
    body = "note 2 note 4 for i in 0..4 { if i == 2 { fail 2 } %y[i] = 5.0:f32 } %y[3] = 9.0:f32"
    assert result_of(body) == ([5.0, 5.0, 0.0, 0.0], 2, 6)
    p = program("fail 1", host="launch @k(%x, %y) launch @k(%x, %y)")
    assert run(p, [np.zeros(16, np.uint8), np.zeros(16, np.uint8)]) == (1, 0)


def test_memory_is_bytes_seen_as_any_dtype_at_any_alignment():
    x = np.arange(17, dtype=np.uint8)[1:]  # not aligned
    y = np.zeros(4, np.float32)
    assert run(program("%y[1] = bitcast:f32(%x:i32[1])"), [x, y.view(np.uint8)]) == (0, 0)
    assert y.view(np.uint8)[4:8].tolist() == [5, 6, 7, 8]
    nan = np.array([0x7F800001, 0xFFC12345, 0, 0], np.uint32)  # signalling, payload
    run(program("for i in 0..2 { let a = %x[i] %y[i] = a }"), [nan.view(np.uint8), y.view(np.uint8)])
    assert y.view(np.uint32)[:2].tolist() == [0x7F800001, 0xFFC12345]


def test_arena_and_constants():
    slots = """slot %y: global i32[4] w = result 0 slot %c: global i32[1] r = const 0 "2a000000"
               slot %t: global i32[4] rw = arena 16"""
    p = program(
        "for i in 0..4 { %t[i] = cast:i32(i) } for i in 0..4 { %y[i] = %t[i] + %c[0] }", slots,
        "launch @k(%y, %c, %t)", "%y: global i32[4] w, %c: global i32[1] r, %t: global i32[4] rw",
    )
    y = np.zeros(4, np.int32)
    assert run(p, [y.view(np.uint8)]) == (0, 0)
    assert y.tolist() == [42, 43, 44, 45]


def test_memory_that_the_program_reserves():
    slots = """slot %n: global i64[3] r = param 0 slot %y: global f32[?] w = made 0
               slot %t: global f32[?] rw = heap 0"""
    fill = "for i in 0..n { %t[i] = cast:f32(i) } for i in 0..n { %y[i] = %t[n - 1 - i] }"
    p = program(
        fill, slots, """for k in 0..3 {
          reserve %t, 4 * %n[k] else fail 1
          reserve %y, 4 * %n[k] else fail 2
          launch @k(%y, %t; %n[k])
        }""", "%y: global f32[?] w, %t: global f32[?] rw; n",
    )

    def made(*n):
        block = Block()
        status, _ = run(p, [np.array(n).view(np.uint8), block.words.view(np.uint8)])
        return status, block.array(np.dtype(np.float32)).tolist()

    assert made(1, 3, 2) == (0, [1.0, 0.0, 0.0])  # it grew to three elements and stayed
    assert made(0, 0, 0) == (0, [])
    assert made(1, 1 << 60, 2)[0] == 1
    with pytest.raises(InterpreterError, match="out of bounds"):
        run(program(fill, slots, "launch @k(%y, %t; 1)", "%y: global f32[?] w, %t: global f32[?] rw; n"),
            [np.array([1, 1, 1]).view(np.uint8), Block().words.view(np.uint8)])


def test_a_false_promise_of_independence_shows():
    body = "for i in 1..4 bind({}) {{ %y[i] = %y[i - 1] + %x[i] }}"
    forward = result_of(body.format("parallel"))
    assert result_of(body.format("seq"), order="reverse") == forward
    assert result_of(body.format("parallel"), order="reverse") != forward
    assert result_of(body.format("parallel"), order="shuffle") != forward


def test_barrier_makes_work_items_wait():
    body = """
    for g in 0..1 bind(group) {
      alloc %t: local f32[4] rw
      for i in 0..2 bind(local) {
        for j in 0..2 bind(local) {
          %t[i * 2 + j] = %x[i * 2 + j]
          barrier
          %y[i * 2 + j] = %t[3 - (i * 2 + j)]
        }
      }
    }
    """
    for order in ("forward", "reverse", "shuffle"):
        assert result_of(body, order=order) == ([4.0, 3.0, 2.0, 1.0], 0, 0)
    with pytest.raises(InterpreterError, match="read before"):
        result_of(body.replace("barrier", ""))
    with pytest.raises(InterpreterError, match="not all work-items"):
        result_of("for i in 0..2 bind(local) { if i == 0 { barrier } }")


@pytest.mark.parametrize(("body", "message"), [
    ("%y[4] = 1.0:f32", "element 4 of %y is out of bounds"),
    ("%y[-1] = 1.0:f32", "element -1 of %y is out of bounds"),
    ("let a = %x:f64[2]", "element 2 of %x is out of bounds: it has 2 elements of f64"),
    ("let a = select:f32(true, 1.0:f32, %x[9])", "element 9 of %x"),
    ("alloc %t: private f32[2] rw let a = %t[1]", "read before it is written"),
    ("alloc %t: private f32[2] rw %t[0] = 1:i8 let a = %t[0]", "read before it is written"),
    ("let a = quo(1, 0)", "i64 division of 1 by 0"),
    ("let a = rem(-128:i8, -1:i8)", "i8 division"),
    ("let a = shl(1:u8, 8:u8)", "u8 shifted by 8"),
    ("let a = shr(1, -1)", "i64 shifted by -1"),
    ("let a = cast:i8(128.0)", "cast of 128.0 to i8"),
    ("let a = cast:u8(-1.0)", "cast of -1.0"),
    ("let a = cast:i64(9223372036854775808.0)", "cast of"),
    ("let a = cast:i32(nan)", "cast of nan"),
])  # fmt: skip
def test_what_is_undefined_is_an_error(body, message):
    with pytest.raises(InterpreterError, match=message):
        result_of(body)


def test_an_error_names_statement_and_kernel():
    with pytest.raises(InterpreterError) as caught:
        result_of("for i in 0..9 { %y[i] = %x[i] }")
    assert "@k" in str(caught.value) and "in `%y[i] = %x" in str(caught.value)


def test_uninitialised_arena_can_be_allowed():
    slots = "slot %y: global i32[1] w = result 0 slot %t: global i32[4] rw = arena 16"
    params = "%y: global i32[1] w, %t: global i32[4] rw"
    p = program("%y[0] = %t[0]", slots, "launch @k(%y, %t)", params)
    with pytest.raises(InterpreterError, match="read before"):
        run(p, [np.zeros(4, np.uint8)])
    assert run(p, [np.zeros(4, np.uint8)], uninitialised=True) == (0, 0)


def test_pointers_are_checked():
    with pytest.raises(InterpreterError, match="takes 2 pointers, got 1"):
        run(program(""), [np.zeros(16, np.uint8)])
    with pytest.raises(InterpreterError, match="%y needs 16 bytes"):
        run(program(""), [np.zeros(16, np.uint8), np.zeros(15, np.uint8)])


@pytest.mark.parametrize("dtype", ["f32", "f64", "c64", "c128"])
def test_gemm_takes_any_strides(dtype):
    kind, rng = DTYPES[dtype], np.random.default_rng(1)
    a, b, c = (rng.integers(-4, 5, n).astype(kind) for n in (12, 12, 6))
    if kind.kind == "c":
        a, b = a + 1j * a[::-1], b - 2j * b
        a, b = a.astype(kind), b.astype(kind)
    slots = " ".join(
        f"slot %{n}: global {dtype}[{len(v)}] {w} = param {k}"
        for k, (n, v, w) in enumerate([("a", a, "r"), ("b", b, "r"), ("c", c, "rw")])
    )
    # A = a[1:][:8].reshape(2, 4).T reversed rows; B = b.reshape(4, 3)[::-1]; C in Fortran order.
    host = f"extern gemm:{dtype}(%c[0], %a[1], %b[9]; 2, 3, 4, 1, 2, 4, 1, -3, 1)"
    p = program("", slots, host, "")
    want = a[1:9].reshape(2, 4) @ b.reshape(4, 3)[::-1]
    assert run(p, [v.view(np.uint8) for v in (a, b, c)]) == (0, 0)
    assert np.array_equal(c.reshape(3, 2).T, want)


# --- scalar functions ------------------------------------------------------------------------------------


def call(fn, dtype, *args):
    with np.errstate(all="ignore"):
        return apply_scalar(Apply(fn, tuple(Const(0, I64) for _ in args), DTYPES[dtype]), args)


def test_every_function_of_the_table_has_a_meaning():
    assert set(_FUNCTIONS) == set(FNS)


@pytest.mark.parametrize(("fn", "dtype", "args", "want"), [
    ("add", "i8", (np.int8(127), np.int8(1)), -128),
    ("mul", "u64", (np.uint64(2**63), np.uint64(2)), 0),
    ("sub", "u8", (np.uint8(0), np.uint8(1)), 255),
    ("neg", "i32", (np.int32(-(2**31)),), -(2**31)),
    ("abs", "i16", (np.int16(-32768),), -32768),
    ("quo", "i8", (np.int8(-7), np.int8(2)), -3),
    ("rem", "i8", (np.int8(-7), np.int8(2)), -1),
    ("quo", "u64", (np.uint64(2**64 - 1), np.uint64(2)), 2**63 - 1),
    ("shr", "i8", (np.int8(-128), np.int8(7)), -1),
    ("shl", "u8", (np.uint8(255), np.uint8(7)), 128),
    ("not", "bool", (np.bool_(True),), False),
    ("not", "u8", (np.uint8(1),), 254),
    ("xor", "bool", (np.bool_(True), np.bool_(True)), False),
    ("cast", "i8", (np.int32(300),), 44),
    ("cast", "i32", (np.float64(-2.9),), -2),
    ("cast", "u8", (np.float32(-0.5),), 0),
    ("cast", "bool", (np.float32(math.nan),), True),
    ("cast", "bool", (np.complex64(1j),), True),
    ("cast", "f32", (np.complex128(2 + 5j),), 2.0),
    ("cast", "f32", (np.float64(1e300),), math.inf),
    ("bitcast", "u32", (np.float32(-0.0),), 1 << 31),
    ("rint", "f64", (np.float64(2.5),), 2.0),
    ("fmod", "f64", (np.float64(-5.5), np.float64(2.0)), -1.5),
    ("div", "f32", (np.float32(1), np.float32(-0.0)), -math.inf),
    ("eq", "bool", (np.float64(math.nan), np.float64(math.nan)), False),
    ("ne", "bool", (np.complex128(complex(1, math.nan)), np.complex128(complex(1, math.nan))), True),
    ("mul", "c64", (np.complex64(1 + 2j), np.complex64(3 - 1j)), 5 + 5j),
    ("imag", "f64", (np.complex128(3 - 1j),), -1.0),
    ("min", "u8", (np.uint8(3), np.uint8(200)), 3),
])  # fmt: skip
def test_scalar_functions(fn, dtype, args, want):
    got = call(fn, dtype, *args)
    assert got.dtype == DTYPES[dtype] and got == want


def test_complex_parts_keep_their_bits():
    z = call("complex", "c64", np.float32(-0.0), np.float32(math.nan))
    assert np.signbit(call("real", "f32", z)) and np.isnan(call("imag", "f32", z))
    product = call("mul", "c128", np.complex128(complex(math.inf, 0)), np.complex128(1j))
    assert math.isnan(product.real) and product.imag == math.inf  # the plain formula: inf * 0 - 0 * 1
