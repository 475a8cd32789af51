"""What computes the elements of a ufunc: an op, or a short program over ops.

Which op it is stands in the op records. What is listed here are the ufuncs that no single op computes on all their
dtypes: a rule takes the operands, already of the dtypes of NumPy's loop, and gives the results. float16 operands
arrive as float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparsec.errors import UnsupportedError
from sparsec.frontend.convert import cast
from sparsec.frontend.locate import user_loc
from sparsec.frontend.trace import Trace
from sparsec.ir.graph import Value
from sparsec.ir.ops.record import REGISTRY, Kind
from sparsec.ir.types import BOOL, F16, F32, I32, DType

#: ufunc name -> op name, from the records (`np.add` is computed by the op that says so).
OP_OF_UFUNC = {
    name: rec.name
    for rec in REGISTRY.values()
    if rec.kind is Kind.ELEMENTWISE
    for name in rec.numpy
    if isinstance(getattr(np, name, None), np.ufunc)
}

Values = list[Value]
Composite = Callable[[Trace, Values, list[DType]], Sequence[Value]]
COMPOSITE: dict[str, Composite] = {}


def composite(*names: str) -> Callable[[Composite], Composite]:
    """Registers how ufuncs that no single op computes are built (operands, result dtypes) -> results."""

    def add(rule: Composite) -> Composite:
        COMPOSITE.update(dict.fromkeys(names, rule))
        return rule

    return add


# --- one call's elements ---------------------------------------------------------------------------------

COMPARISONS = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}
#: Ufuncs whose float16 results float32 arithmetic does not give.
_BITS_OF_HALF = {"nextafter", "spacing"}
_EXTREMA = ("maximum", "minimum", "fmax", "fmin")


def compute(trace: Trace, ufunc: np.ufunc, values: Values, dtypes: list[DType]) -> Sequence[Value]:
    """The op or composite of a ufunc on values of its loop's dtypes; float16 loops run in float32."""
    name = ufunc.__name__
    if any(v.type.dtype == F16 for v in values):
        return _compute_half(trace, ufunc, values, dtypes)
    if name in COMPARISONS and values[0].type.dtype != values[1].type.dtype:
        return [_compare_signs(trace, name, *values)]
    if name in COMPOSITE:
        return COMPOSITE[name](trace, values, dtypes)
    if name in OP_OF_UFUNC:
        return [trace.op(OP_OF_UFUNC[name], *values)]
    raise UnsupportedError(f"np.{name} is not supported yet", loc=user_loc())


def _compute_half(trace: Trace, ufunc: np.ufunc, values: Values, dtypes: list[DType]) -> Sequence[Value]:
    name = ufunc.__name__
    if name in _BITS_OF_HALF:
        raise UnsupportedError(
            f"np.{name} of float16 is not supported", loc=user_loc(),
            hint="cast to float32 where that is what you mean",
        )
    wide = [cast(trace, v, F32) if v.type.dtype == F16 else v for v in values]
    if name in _EXTREMA:
        return [cast(trace, _first_extremum(trace, name, *wide), F16)]
    if name == "clip":
        x, low, high = wide
        held = _first_extremum(trace, "minimum", _first_extremum(trace, "maximum", x, low), high)
        return [cast(trace, held, F16)]
    results = compute(trace, ufunc, wide, [F32 if d == F16 else d for d in dtypes])
    return [cast(trace, r, d) for r, d in zip(results, dtypes, strict=True)]


def _first_extremum(trace: Trace, name: str, x: Value, y: Value) -> Value:
    """Of equal numbers (0.0 and -0.0) the first, as float16 loops have it and float32 loops do not."""
    before = trace.op("greater_equal" if name in ("maximum", "fmax") else "less_equal", x, y)
    alone = trace.op("isnan", y if name in ("fmax", "fmin") else x)
    return trace.op("where", trace.op("logical_or", before, alone), x, y)


def _compare_signs(trace: Trace, name: str, a: Value, b: Value) -> Value:
    """int64 with uint64: a negative number is less than all; others compare as uint64."""
    signed, first = (a, True) if a.type.dtype.kind == "i" else (b, False)
    unsigned = [cast(trace, v, np.dtype("u8")) for v in (a, b)]
    plain = trace.op(OP_OF_UFUNC[name], *unsigned)
    negative = trace.op("less", signed, trace.const(0, signed.type.dtype))
    answer = name == "not_equal" or (name.startswith("less") if first else name.startswith("greater"))
    return trace.op("where", negative, trace.const(answer, BOOL), plain)


# --- the rules -------------------------------------------------------------------------------------------


@composite("positive")
def _positive(trace: Trace, values: Values, dtypes: list[DType]) -> Values:
    return [trace.op("copy", *values)]  # an operand itself would be an alias of its array


# --- logic: NumPy's loops take any dtype -----------------------------------------------------------------


def _logical(name: str) -> None:
    @composite(name)
    def rule(trace: Trace, values: Values, dtypes: list[DType]) -> Values:
        return [trace.op(name, *(cast(trace, v, BOOL) for v in values))]


for _name in ("logical_and", "logical_or", "logical_xor", "logical_not"):
    _logical(_name)


# --- integer division: a warning instead of a trap ---------------------------------------------------------


def known(trace: Trace, value: Value) -> np.ndarray[Any, Any] | None:
    """The elements of a value that is a literal."""
    _, op = trace.static.get(value.name, (0, None))
    return np.asarray(op.attrs["value"]) if op is not None and op.name == "const" else None


def _note(trace: Trace, met: Value, flag: str) -> None:
    """A warning where `met` is true, if the caller's error state wants it and the function does not ignore it."""
    if 0 not in met.type.shape and flag not in trace.ignored:
        trace.ops("note", met, flag=flag)


def note_division(trace: Trace, x: Value, y: Value, *, overflow: bool) -> None:
    """The notes of x // y: the divisor is 0 or, for `overflow`, the quotient does not fit."""
    if x.type.dtype.kind not in "iu" or 0 in x.type.shape or 0 in y.type.shape:
        return
    dtype = x.type.dtype
    divisors = known(trace, y)
    if divisors is None or (divisors == 0).any():
        _note(trace, trace.op("equal", y, trace.const(0, dtype)), "divide")
    if overflow and dtype.kind == "i" and (divisors is None or (divisors == -1).any()):
        lowest = trace.op("equal", x, trace.const(int(np.iinfo(dtype).min), dtype))
        minus_one = trace.op("equal", y, trace.const(-1, dtype))
        _note(trace, trace.op("logical_and", lowest, minus_one), "over")


@composite("floor_divide")
def _floor_divide(trace: Trace, values: Values, dtypes: list[DType]) -> Values:
    note_division(trace, *values, overflow=True)
    return [trace.op("floor_div", *values)]


@composite("remainder")
def _remainder(trace: Trace, values: Values, dtypes: list[DType]) -> Values:
    note_division(trace, *values, overflow=False)
    return [trace.op("mod", *values)]


@composite("fmod")
def _fmod(trace: Trace, values: Values, dtypes: list[DType]) -> Values:
    note_division(trace, *values, overflow=False)
    return [trace.op("fmod", *values)]


@composite("divmod")
def _divmod(trace: Trace, values: Values, dtypes: list[DType]) -> Values:
    note_division(trace, *values, overflow=True)
    return [trace.op("floor_div", *values), trace.op("mod", *values)]


@composite("reciprocal")
def _reciprocal(trace: Trace, values: Values, dtypes: list[DType]) -> Values:
    (x,) = values
    if x.type.dtype.kind in "iu":
        _note(trace, trace.op("equal", x, trace.const(0, x.type.dtype)), "divide")
    return [trace.op("reciprocal", x)]


@composite("gcd")
def _gcd(trace: Trace, values: Values, dtypes: list[DType]) -> Values:
    return [trace.op("gcd", *values)]


@composite("lcm")
def _lcm(trace: Trace, values: Values, dtypes: list[DType]) -> Values:
    return [trace.op("lcm", *values)]


@composite("power")
def _power(trace: Trace, values: Values, dtypes: list[DType]) -> Values:
    x, y = values
    if x.type.dtype.kind not in "iu":
        return [trace.op("pow", x, y)]
    if y.type.dtype.kind == "i" and 0 not in x.type.shape and 0 not in y.type.shape:
        exponents = known(trace, y)
        if exponents is None or (exponents < 0).any():
            trace.ops(
                "check",
                trace.op("greater_equal", y, trace.const(0, y.type.dtype)),
                kind="value",
                message="Integers to negative integer powers are not allowed.",
            )
    return [trace.op("ipow", x, y)]


@composite("clip")
def _clip(trace: Trace, values: Values, dtypes: list[DType]) -> Values:
    x, low, high = values
    between = trace.op("minimum", trace.op("maximum", x, low), high)
    if x.type.dtype.kind != "f" or low.type.rank or high.type.rank:
        return [between]
    # Between two numbers NumPy has a loop of its own: of equal zeros it keeps the element, and a NaN stays one.
    raised = trace.op("where", trace.op("less", x, low), low, x)
    clipped = trace.op("where", trace.op("greater", raised, high), high, raised)
    bounds = known(trace, low), known(trace, high)
    if all(bound is not None and not np.isnan(bound).any() for bound in bounds):
        return [clipped]
    usual = trace.op("logical_and", trace.op("equal", low, low), trace.op("equal", high, high))
    return [trace.op("where", usual, clipped, between)]


# --- angles ------------------------------------------------------------------------------------------------


def _scaled(*names: str, of: float, by: float) -> None:
    @composite(*names)
    def rule(trace: Trace, values: Values, dtypes: list[DType]) -> Values:
        (x,) = values
        kind = x.type.dtype.type
        # The quotient in the loop's own precision, as NumPy's C code has it.
        factor = kind(kind(of) / kind(by))
        return [trace.op("mul", x, trace.const(float(factor), x.type.dtype))]


_scaled("degrees", "rad2deg", of=180.0, by=math.pi)
_scaled("radians", "deg2rad", of=math.pi, by=180.0)


# --- the parts of a float ----------------------------------------------------------------------------------


@composite("modf")
def _modf(trace: Trace, values: Values, dtypes: list[DType]) -> Values:
    (x,) = values
    whole = trace.op("trunc", x)
    rest = trace.op("where", trace.op("isinf", x), trace.const(0, x.type.dtype), trace.op("sub", x, whole))
    return [trace.op("copysign", rest, x), whole]


@composite("frexp")
def _frexp(trace: Trace, values: Values, dtypes: list[DType]) -> Values:
    """The exponent field, after a denormal was scaled up; 0, infinities and NaN are their own mantissa."""
    (x,) = values
    dtype = x.type.dtype
    info = np.finfo(dtype)
    bits_dtype = np.dtype(f"i{dtype.itemsize}")

    def bits_const(value: int) -> Value:
        return trace.const(value, bits_dtype)

    mantissa_bits = int(info.nmant)
    small = trace.op("less", trace.op("abs", x), trace.const(float(info.smallest_normal), dtype))
    scale = trace.op("where", small, trace.const(2.0 ** (mantissa_bits + 2), dtype), trace.const(1.0, dtype))
    bits = trace.op("bitcast", trace.op("mul", x, scale), dtype=bits_dtype)
    field = (1 << (8 * dtype.itemsize - 1 - mantissa_bits)) - 1
    exponent = trace.op(
        "bit_and", trace.op("shift_right", bits, bits_const(mantissa_bits)), bits_const(field)
    )
    bias = field // 2 - 1
    down = trace.op("where", small, bits_const(bias + mantissa_bits + 2), bits_const(bias))
    exponent = trace.op("sub", exponent, down)
    keep = trace.op("bit_and", bits, bits_const(~(field << mantissa_bits)))
    half = trace.op("bitcast", trace.op("bit_or", keep, bits_const(bias << mantissa_bits)), dtype=dtype)
    plain = trace.op("logical_and", trace.op("isfinite", x), trace.op("not_equal", x, trace.const(0, dtype)))
    mantissa = trace.op("where", plain, half, x)
    exponent = trace.op("where", plain, cast(trace, exponent, I32), trace.const(0, I32))
    return [mantissa, exponent]


@composite("spacing")
def _spacing(trace: Trace, values: Values, dtypes: list[DType]) -> Values:
    """To the next float away from zero; of -0.0 as of 0.0."""
    (x,) = values
    dtype = x.type.dtype
    x = trace.op("add", x, trace.const(0, dtype))  # -0.0 becomes 0.0
    away = trace.op("nextafter", x, trace.op("copysign", trace.const(float("inf"), dtype), x))
    step = trace.op("sub", away, x)
    return [trace.op("where", trace.op("isinf", x), trace.const(float("nan"), dtype), step)]
