"""Text of the graph IR: random functions round-trip; broken text is a ParseError with a place, quickly."""

import contextlib
import math
import random
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsec.errors import Loc, ParseError, VerifyError
from sparsec.ir.dims import Poly, substitute, sym
from sparsec.ir.graph import Func, Op, Placement, Region, Value
from sparsec.ir.tensorref import TensorRef
from sparsec.ir.text import attr_text, op_text, parse, parse_all, parse_types, to_text, type_to_text
from sparsec.ir.types import DTYPES, F32, F64, I32, I64, Channels, TensorType, tensor
from sparsec.ir.verify import verify

SOURCES = [p.read_text().partition("// ----\n")[0] for p in sorted(Path("tests/filetests").rglob("*.sir"))]


def roundtrip_attr(value):
    return parse(f"func @f() {{ op {{a={attr_text(value)}}} return }}").ops[0].attrs["a"]


# --- attributes, bit for bit ------------------------------------------------------------------------------


@given(st.floats())
def test_floats_keep_their_bits(value):
    assert struct.pack("<d", roundtrip_attr(value)) == struct.pack("<d", value)


@given(st.integers(0, 2**64 - 1))
def test_any_bit_pattern_survives(bits):
    (value,) = struct.unpack("<d", struct.pack("<Q", bits))
    assert struct.pack("<d", roundtrip_attr(value)) == struct.pack("<Q", bits)


@given(st.floats(width=32))
def test_numbers_of_f32_are_short_and_exact(value):
    text = attr_text(value)
    assert len(text) <= 20 or math.isnan(value)
    assert struct.pack("<d", roundtrip_attr(value)) == struct.pack("<d", value)


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**100), 2**100), st.floats(allow_nan=False), st.text(),
    st.complex_numbers(allow_nan=False), st.sampled_from(list(DTYPES.values())),
)


@given(st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=20))
def test_attributes_keep_value_and_type(value):
    back = roundtrip_attr(value)
    assert back == value
    assert repr(back) == repr(value)  # 1 and 1.0 and True are equal, but not the same


@pytest.mark.parametrize("value", [np.float32(0.1), np.int64(3), np.bool_(True), np.complex64(1 + 2j)])
def test_numpy_scalars_become_python_ones(value):
    assert roundtrip_attr(value) == value.item()


@pytest.mark.parametrize("value", [b"bytes", {1}, object()])
def test_other_attributes_are_refused(value):
    with pytest.raises(TypeError, match="an attribute cannot be"):
        attr_text(value)


# --- dims and types ---------------------------------------------------------------------------------------

NAMES = st.one_of(
    st.sampled_from(["n", "m", "%i", "%0", "of", "f32", "none", "nan", "true", "a b", 'x"y', "α", "%a b"]),
    st.text(min_size=1, max_size=4),
)


SYMBOLS = st.sampled_from(["n", "m", "%i", "of", "f32", "a b"])


@st.composite
def dims(draw):
    total = draw(st.integers(-100, 100))
    for _ in range(draw(st.integers(0, 3))):
        term = draw(st.integers(-5, 5))
        for _ in range(draw(st.integers(1, 3))):
            term = term * sym(draw(SYMBOLS))
        total = total + term
    return total


@st.composite
def types(draw):
    shape = tuple(draw(st.lists(dims(), max_size=3)))
    ref = None
    if draw(st.booleans()):
        ref = TensorRef(draw(NAMES), draw(dims()), tuple(draw(dims()) for _ in shape))
    channels = None
    if shape and draw(st.booleans()):
        axis = draw(st.integers(0, len(shape) - 1))
        channels = Channels(axis, draw(st.integers(0, 99)), "%" + draw(NAMES))
    return TensorType(draw(st.sampled_from(list(DTYPES.values()))), shape, ref, channels)


@given(types())
def test_types_round_trip(t):
    assert parse_types(type_to_text(t)) == (t,)


def test_ordinary_types_print_as_their_str():
    for t in (
        tensor(F32), tensor(F32, 4, sym("n", 9)), tensor(F64, sym("n") * 2 + 1),
        TensorType(F32, (2, 3), TensorRef("x", sym("%i") * 6 - 6, (3, 1))),
        TensorType(F32, (2,), TensorRef("x", -2, (-1,))),
        TensorType(F32, (1, sym("k", 32), 7), None, Channels(1, 64, "%hi")),
    ):
        assert type_to_text(t) == str(t)


def test_lists_of_types():
    expected = tensor(F32, 1000, 4), tensor(I64), tensor(F64, sym("n", 5))
    assert parse_types("f32[1000,4], i64,f64[n<=5]") == expected
    assert parse_types("  ") == ()


# --- functions --------------------------------------------------------------------------------------------


@st.composite
def funcs(draw):
    """Functions of any structure, valid or not: unknown ops, nested regions, symbols with bounds."""
    bounds = {name: (draw(st.integers(-1, 50)), draw(st.integers(-2, 2))) for name in ("n", "m", "%i")}

    def bound(item):
        if isinstance(item, Poly):
            return substitute(item, {name: sym(name, *limits) for name, limits in bounds.items()})
        if isinstance(item, tuple):
            return tuple(map(bound, item))
        return item

    def a_type():
        t = draw(types())
        ref = t.ref and TensorRef(t.ref.storage, bound(t.ref.offset), bound(t.ref.strides))
        return TensorType(t.dtype, bound(t.shape), ref, t.channels)

    count = 0

    def value():
        nonlocal count
        count += 1
        return Value(draw(st.sampled_from(["x", "", "a b.", "y.1"])) + str(count), a_type())

    def some(visible):
        return tuple(draw(st.lists(st.sampled_from(visible), max_size=3))) if visible else ()

    def ops(visible, depth):
        out = []
        for _ in range(draw(st.integers(0, 3))):
            attrs = draw(st.dictionaries(NAMES, SCALARS, max_size=2))
            if draw(st.booleans()):
                attrs["d"] = (bound(draw(dims())),)
            regions = []
            for _ in range(draw(st.integers(0, 2)) if depth else 0):
                params = tuple(value() for _ in range(draw(st.integers(0, 2))))
                inner = [*visible, *params]
                body = ops(inner, depth - 1)
                regions.append(Region(params, body, some(inner)))
            results = tuple(value() for _ in range(draw(st.integers(0, 2))))
            name = draw(st.sampled_from(["add", "yield", "return", "storage", "func", "odd name"]))
            out.append(Op(name, some(visible), results, attrs, tuple(regions)))
            visible.extend(results)
        return tuple(out)

    params = tuple(value() for _ in range(draw(st.integers(0, 3))))
    visible = list(params)
    body = ops(visible, 2)
    plan = tuple(Placement(draw(NAMES), "arena", 64 * k, 8) for k in range(draw(st.integers(0, 2))))
    return Func(draw(NAMES), params, body, some(visible), some(visible), plan)


@settings(max_examples=60)
@given(funcs())
def test_any_function_round_trips(func):
    text = to_text(func)
    assert parse(text) == func
    assert to_text(parse(text)) == text


def test_several_functions():
    text = "func @f(%x: f32[n<=5]) {\n  return\n}\nfunc @g(%x: f32[n<=6]) {\n  return\n}\n"
    f, g = parse_all(text)
    assert (f.name, g.name) == ("f", "g")
    assert g.params[0].type.shape == (sym("n", 6),)
    assert to_text(f) + to_text(g) == text


def test_lines_are_kept_and_can_be_left_out():
    x = Value("x", tensor(F32))
    func = Func("f", (x,), (Op("neg", (x,), (Value("y", tensor(F32)),), {}, (), Loc('odd\n".py', 7)),), ())
    back = parse(to_text(func))
    assert (back.ops[0].loc.file, back.ops[0].loc.line) == ('odd\n".py', 7)
    assert "//" not in to_text(func, locs=False)


def test_messages_show_an_op_on_one_line():
    x = Value("x", tensor(I32))
    op = Op("many", (x,), (x,), {"value": tuple(range(1000))}, (Region((), (), ()),))
    assert len(op_text(op)) < 400
    assert "\n" not in op_text(op)


def test_nan_attributes_compare_by_text():
    func = Func("f", (), (Op("op", (), (), {"a": math.nan}),), ())
    assert to_text(parse(to_text(func))) == to_text(func)


# --- broken text ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "func @f() { op {a=" + "[" * 100_000,
    "func @f() { " + "fused () { " * 100_000,
    "func @f(%x: f32[" + "n*" * 100_000,
    "func @f(%x: f32[" + "n+" * 100_000,
    "func @f(%x: f32[" + "9" * 100_000,
    "func @f(%x: f32[" + "1," * 100_000,
    "func @f(%x: f32[" + ",".join(["a+b+c+d"] * 60) + "] @x) { return }",
    "func @f(%x: f32[" + ",".join(["9" * 60] * 64) + "] @x) { retur }",
    "func @f(%x: f32[n<=" + "9" * 100_000,
    "func @f(%x: f32[" + "-" * 100_000,
    "func @f() { op " + "%x, " * 100_000,
    "(" * 100_000, '"' * 100_001, "%" * 100_000, "// " * 100_000,
    "func @f() { op {a=nan(" + "9" * 100_000,
    "\ud800 func", "func @\x00",
], ids=lambda t: t[:24].encode("ascii", "replace").decode() + f"…{len(t)}")
def test_hostile_text_is_a_parse_error_in_no_time(text):
    started = time.process_time()
    with pytest.raises(ParseError) as caught:
        parse(text)
    assert time.process_time() - started < 2  # half of that where nothing else runs
    assert caught.value.loc.line >= 1
    assert str(caught.value)


@pytest.mark.slow
def test_reading_needs_little_memory():
    tracemalloc.start()
    with pytest.raises(ParseError):
        parse("func @f() { " + "fused () { " * 100_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200e6


WORDS = (" of ", "<=", " nan(0x1) ", "yield", "return", " where ", "storage @x: a+0, 0 bytes", "func @")


def mutate(rng, text):
    """A few random edits: characters, pieces of the text moved about, tokens put in."""
    for _ in range(rng.randint(1, 4)):
        at, to = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        match rng.randrange(5):
            case 0:
                text = text[:at] + text[at + 1 :]
            case 1:
                text = text[:at] + rng.choice('%@{}()[]:,=+-*<>#"\\/.\n 019azn\x00é') + text[at:]
            case 2:
                text = text[:at] + text[to:]
            case 3:
                text = text[:to] + text[at : at + rng.randint(1, 40)] + text[to:]
            case 4:
                text = text[:at] + rng.choice(WORDS) + text[at:]
    return text


def check_mutants(count, seed):
    rng = random.Random(seed)
    parsed = 0
    for _ in range(count):
        text = mutate(rng, rng.choice(SOURCES))
        try:
            func = parse(text)
        except ParseError as error:
            assert error.loc is not None
            assert error.loc.line >= 1
            assert error.loc.col >= 0
            continue
        parsed += 1
        printed = to_text(func)
        assert to_text(parse(printed)) == printed, text
        with contextlib.suppress(VerifyError):
            verify(func)
    return parsed


def test_mutated_texts_parse_or_are_parse_errors():
    assert check_mutants(1500, seed=1) > 50


@pytest.mark.long
def test_a_million_mutated_texts():
    assert check_mutants(1_000_000, seed=2) > 10_000
