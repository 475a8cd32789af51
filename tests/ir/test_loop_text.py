"""Text of the loop IR: what is printed parses to the same bits; broken text is a ParseError with a place."""

import math
import random
import re
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsec.errors import Loc, ParseError
from sparsec.ir import loops
from sparsec.ir.lexer import Lexer, constant_text, nan_from_bits, number_text
from sparsec.ir.loop_text import expr_text, kernel_text, parse_kernel, parse_program, program_text, stmt_text
from sparsec.ir.loops import Apply, Const, For, Kernel, Let, Load, Store, Var
from sparsec.ir.scalar import FNS, S, const, index, var
from sparsec.ir.types import BOOL, DTYPES, F32, F64, I32, I64

EXAMPLE = """\
program @f {
  arena 128
  slot %x: global f32[32] r align 4 = param 0
  slot %y: global f32[?] w = result 1
  slot %c: global i32[1] r = const 0 "2a000000"
  slot %h: global f32[?] rw align 4 = heap 0
  failure index "index 9 is out of \\"bounds\\"" at "f.py":3:4:9
  failure value "empty"
  kernel @f_0(%x: global f32[32] r, %y: global f32[8] rw; n, k: i32) {  // f.py:3, f.py:4
    alloc %t: private c64[4] rw align 16
    mut s = 0.1:f32
    for i in 0..n bind(parallel) {
      let a = %x[i * 4 + 1]
      if a < 0.5:f32 {
        fail 1
      } else {
        %y[i] = exp(a) * (a - s)
      }
      s = s + a
    }
    for j in n..0 step -1 { }
    for i8v: i8 in 0:i8..7:i8 {
      note 1
    }
    while s >= 0.0:f32 {
      s = select:f32(lt(k, 3:i32), cast:f32(k), -1e-45:f32)
      barrier
    }
    let bits = %x:u8[n - (1 - k)]
    %t[0] = c64(1.5, nan)
    extern gemm:f32(%y[0], %x[n]; 1, 2)
  }
  host {
    reserve %h, cast:i64(%c[0]) * 4 else fail 2
    launch @f_0(%x, %y; 8, 9)
  }
}
"""


def test_example_prints_as_it_was_written():
    text = EXAMPLE.replace("lt(k, 3:i32)", "k < 3:i32")
    program = parse_program(EXAMPLE)
    assert program_text(program) == text.replace("  // f.py:3, f.py:4", "")
    assert parse_program(text) == program
    assert program.slots[2].data == b"\x2a\0\0\0" and program.slots[1].buffer.size == -1
    assert program.failures[0].loc == Loc("f.py", 3, 4, 9)


# --- literals --------------------------------------------------------------------------------------------


def bits_of(value):
    return struct.pack("<d", value) if isinstance(value, float) else value


@pytest.mark.parametrize("name", ["f16", "f32", "f64"])
def test_every_kind_of_float_survives_bit_exact(name):
    dtype, rng = DTYPES[name], random.Random(1)
    width = 8 * dtype.itemsize
    top = np.array([np.inf, -np.inf, -0.0, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max], dtype)
    patterns = [int.from_bytes(x.tobytes(), "little") for x in top]
    patterns += [rng.getrandbits(width) for _ in range(2000)]
    nan_first = int.from_bytes(np.array(np.inf, dtype).tobytes(), "little") + 1
    patterns += [nan_first, nan_first | 1 << (width - 1), (1 << width) - 1]  # signalling, negative, all ones
    for pattern in patterns:
        x = np.frombuffer(pattern.to_bytes(dtype.itemsize, "little"), dtype)[0]
        value = nan_from_bits(pattern, dtype) if np.isnan(x) else float(x)
        again, its_dtype = Lexer(constant_text(value, dtype)).constant()
        assert its_dtype == dtype and bits_of(again) == bits_of(value), hex(pattern)
        assert Lexer(number_text(value, dtype)).number(dtype) == value or math.isnan(value)


def test_readable_literals():
    shown = [constant_text(v, d) for v, d in [
        (0.1, F64), (float(np.float32(0.1)), F32), (1e-310, F64), (3, I64), (-3, I32), (True, BOOL),
        (math.nan, F32), (nan_from_bits(0x7FC00001, F32), F32), (-math.inf, F64),
        (complex(1, -0.0), DTYPES["c64"]),
    ]]
    assert shown == [
        "0.1", "0.1:f32", "1e-310", "3", "-3:i32", "true", "nan:f32", "nan(0x7fc00001):f32", "-inf",
        "c64(1.0, -0.0)",
    ]
    assert Lexer("0x1.8p+1").constant() == (3.0, F64)


@pytest.mark.parametrize("text", [
    "300:u8", "-1:u64", "1.5:i32", "1e400", "1e39:f32", "nan(0):f32", "nan(0x7f800000):f32", "nan(-1)",
    "true:f32", "-true", "9" * 5000, "c64(1.0)", "0x", "12ab", "1.5:q", "-", "nan:i32", "0x1p99999",
])
def test_bad_literals(text):
    with pytest.raises(ParseError) as caught:
        lex = Lexer(text)
        lex.constant()
        lex.expect_end()
    assert caught.value.loc.line == 1


def test_constants_are_equal_by_bits():
    assert const(math.nan, F32) == const(math.nan, F32)
    assert const(0.0, F32) != const(-0.0, F32)
    assert Const(1, I64) != Const(True, I64)
    assert len({const(math.nan, F64), const(math.nan, F64), const(1.0, F64)}) == 2


# --- random kernels --------------------------------------------------------------------------------------

dtypes = st.sampled_from(list(DTYPES.values()))
names = st.sampled_from(
    ["a", "b", "i", "x.1", "let", "nan", "exp", 'odd "name"\n', "Größe", "0", "", "c64", "cast"]
)
sizes = st.integers(-1, 5)


@st.composite
def constants(draw):
    dtype = draw(dtypes)
    raw = draw(st.binary(min_size=dtype.itemsize, max_size=dtype.itemsize))
    if dtype.kind == "b":
        return Const(raw[0] > 127, dtype)
    if dtype.kind in "iu":
        return const(int.from_bytes(raw, "little"), dtype)
    half = len(raw) // 2
    if dtype.kind == "c":
        part = DTYPES["f32" if half == 4 else "f64"]
        return Const(complex(as_float(raw[:half], part), as_float(raw[half:], part)), dtype)
    return Const(as_float(raw, dtype), dtype)


def as_float(raw, dtype):
    x = np.frombuffer(raw, dtype)[0]
    return nan_from_bits(int.from_bytes(raw, "little"), dtype) if np.isnan(x) else float(x)


variables = st.builds(Var, names, dtypes)
functions = st.sampled_from([*FNS, "unknown"])
expressions = st.recursive(
    constants() | variables,
    lambda inner: st.builds(Load, names, inner, dtypes)
    | st.builds(Apply, functions, st.lists(inner, max_size=3).map(tuple), dtypes)
    | st.builds(lambda fn, a, b: Apply(fn, (a, b), BOOL if fn in ("lt", "eq") else a.dtype),
                st.sampled_from(["add", "sub", "mul", "lt", "eq"]), inner, inner),
    max_leaves=8,
)
buffers = st.builds(
    loops.Buffer, names, dtypes, sizes, st.sampled_from(["global", "private", "let"]),
    st.sampled_from(["r", "rw"]), st.integers(1, 64),
)
places = st.lists(st.tuples(names, expressions), max_size=2).map(tuple)
scalars = st.lists(expressions, max_size=2).map(tuple)
simple = st.one_of(
    st.builds(Let, variables, expressions), st.builds(loops.Mut, variables, expressions),
    st.builds(loops.Assign, variables, expressions), st.builds(Store, names, expressions, expressions),
    st.builds(loops.Alloc, buffers), st.just(loops.Barrier()), st.builds(loops.Fail, st.integers(1, 9)),
    st.builds(loops.Note, st.integers(1, 9)), st.builds(loops.Extern, names, places, scalars, dtypes),
    st.builds(loops.Launch, names, st.lists(names, max_size=2).map(tuple), scalars),
    st.builds(loops.Prefetch, names, expressions),
)  # fmt: skip


def bodies(inner):
    return st.lists(inner, max_size=3).map(tuple)


statements = st.recursive(
    simple,
    lambda inner: st.builds(For, variables, expressions, expressions, st.sampled_from([1, -1, 3]),
                            bodies(inner), st.sampled_from(loops.BINDINGS))
    | st.builds(loops.While, expressions, bodies(inner))
    | st.builds(loops.If, expressions, bodies(inner), bodies(inner)),
    max_leaves=6,
)
kernels = st.builds(
    Kernel, names, st.lists(buffers, max_size=3).map(tuple),
    st.lists(variables, max_size=2).map(tuple), bodies(statements),
    st.just((Loc("f.py", 3), Loc("odd\nname", 4))),
)
slots = st.builds(
    loops.Slot, buffers, st.sampled_from(["param", "const"]), st.integers(0, 9), st.binary(max_size=3)
)
failures = st.builds(loops.Failure, names, st.text(max_size=5), st.none() | st.just(Loc("a b.py", 7, 1, 5)))
programs = st.builds(
    loops.Program, names, st.lists(slots, max_size=2).map(tuple), st.lists(kernels, max_size=2).map(tuple),
    bodies(statements), st.integers(0, 100), st.lists(failures, max_size=2).map(tuple),
)


@settings(max_examples=300)
@given(kernels)
def test_any_kernel_round_trips(kernel):
    assert parse_kernel(kernel_text(kernel)) == kernel


@settings(max_examples=150)
@given(programs)
def test_any_program_round_trips(program):
    assert parse_program(program_text(program)) == program


@given(statements)
def test_a_statement_alone_can_be_shown(stmt):
    assert stmt_text(stmt)


def test_operators_keep_their_shape():
    a, b, c = (var(n) for n in "abc")
    for expr, text in [
        (S.add(S.mul(a, b), c), "a * b + c"), (S.mul(a, S.add(b, c)), "a * (b + c)"),
        (S.sub(S.sub(a, b), c), "a - b - c"), (S.sub(a, S.sub(b, c)), "a - (b - c)"),
        (S.sub(a, index(-1)), "a - -1"), (S.eq(S.lt(a, b), S.lt(b, c)), "(a < b) == (b < c)"),
        (Apply("add", (a, b), I32), "add:i32(a, b)"),
    ]:
        kernel = Kernel("k", (), (a, b, c), (Let(Var("r", expr.dtype), expr),))
        assert f"let r = {text}\n" in kernel_text(kernel)
        assert parse_kernel(kernel_text(kernel)) == kernel
    assert expr_text(Load("x", a, F32)) == "%x[a]"


# --- broken texts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new", "line", "message"), [
    ("%x[i * 4", "%z[i * 4", 13, "unknown buffer %z"),
    ("s = s + a", "s = s + q", 19, "unknown variable `q`"),
    ("fail 1", "fail x", 15, "expected an integer"),
    ("in 0..n", "in 0.n", 12, "expected `..`"),
    ("[32] r align", "[32 r align", 3, "expected `]`"),
    ('"2a000000"', '"2a0"', 5, "hexadecimal"),
    ('"2a000000"', '"2a0', 5, "unterminated string"),
    ("barrier", "barrier )", 27, "expected a statement"),
    ("exp(a)", "foo(a)", 17, "needs a dtype"),
    ("host {", "hose {", 33, "expected `host`"),
])  # fmt: skip
def test_an_error_shows_its_line(old, new, line, message):
    with pytest.raises(ParseError, match=re.escape(message)) as caught:
        parse_program(EXAMPLE.replace(old, new, 1), "some.sir")
    assert caught.value.loc.line == line and caught.value.loc.col >= 0
    assert EXAMPLE.replace(old, new, 1).splitlines()[line - 1].strip() in str(caught.value)


def nested(depth):
    yield "kernel @k() {" + "if true {" * depth
    yield "kernel @k() { let a = " + "(" * depth + "1"
    yield "kernel @k() { let a = " + "neg(" * depth + "1" + ")" * depth + "}"
    yield "kernel @k() { let a = 1" + " + 1" * depth + " }"
    yield "kernel @k() { let a = " + "%x:i64[" * depth
    yield "kernel @k() { let a = " + "1 < (1 + 1 * (" * depth


@pytest.mark.parametrize("text", list(nested(100_000)), ids=range(6))
def test_too_deep_a_text_is_a_parse_error(text):
    with pytest.raises(ParseError, match="nested deeper"):
        parse_kernel(text)


def test_the_deepest_legal_text_parses_and_prints():
    for text in (
        "kernel @k() { " + "if true { " * 190 + "} " * 191,
        "kernel @k() { let a = " + "neg(" * 190 + "1" + ")" * 190 + " }",
        "kernel @k() { let a = 1" + " + 1" * 190 + " }",
        "kernel @k() { let a = " + "(1 + " * 95 + "1" + ")" * 95 + " }",
    ):
        kernel = parse_kernel(text)
        assert parse_kernel(kernel_text(kernel)) == kernel


def mutate(rng, text):
    copied = text[rng.randrange(len(text)) :][: rng.randrange(9)]
    pieces = [copied, chr(rng.randrange(0x250)), "", "(", "%", '"', "\ud800"]
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(text))
        text = text[:at] + rng.choice(pieces) + text[at + rng.randrange(4) :]
    return text


def check_mutations(count):
    rng = random.Random(5)
    for _ in range(count):
        try:
            program = parse_program(mutate(rng, EXAMPLE))
        except ParseError as error:
            assert error.loc.line >= 1 and error.loc.col >= 0 and str(error)
        else:
            assert parse_program(program_text(program)) == program


def test_mutated_texts_give_parse_errors():
    check_mutations(300)


@pytest.mark.long
def test_a_million_mutated_texts():
    check_mutations(1_000_000)


def test_reading_is_linear():
    line = "let a = %x[i * 4 + 1]\n"
    kernel = parse_kernel("kernel @k(%x: global f32[4] r; i) {" + line * 5000 + "}")
    assert len(kernel.body) == 5000
    with pytest.raises(ParseError):
        parse_kernel('"' * 200_001)
    with pytest.raises(ParseError):
        parse_kernel("0" * 200_000 + "x" + "." * 100)
