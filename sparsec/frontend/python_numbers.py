"""Traced Python numbers: what Python's operators give for them, where NumPy's functions would give scalars.

`2.0 * x` of two Python floats is a Python float, so the next array's dtype still wins (NEP 50); integers have
no width and division by zero raises. A traced Python int is 64 bits wide and checked: it never wraps.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.convert import PYTHON_NUMBERS, as_traced, cast, python_dtype
from sparsec.frontend.mixed import PYTHON, Mixed, Typing, any_mixed, decide, each, is_number, settle_operands
from sparsec.frontend.symbolic import at_least
from sparsec.frontend.trace import Trace
from sparsec.frontend.ufuncs import apply_ufunc, resolve, typing_of
from sparsec.ir.dims import Dim, lower_bound, upper_bound
from sparsec.ir.graph import Value
from sparsec.ir.types import BOOL, F64, I64


def operate(ufunc: np.ufunc, *operands: Any) -> Any:
    """A Python operator on a traced operand."""
    if (mixed := any_mixed(operands)) is not None:
        return _on_mixed(ufunc, operands, mixed)
    operands = _as_python_sees(operands)
    weak = _result_class(ufunc, operands)
    if weak is None:
        return apply_ufunc(ufunc, operands)
    if ufunc not in _ON_BOOLS:
        operands = tuple(_as_int(x) for x in operands)
    if ufunc in (np.true_divide, np.floor_divide, np.remainder, np.divmod):
        _check_divisor(operands[1])
    if ufunc in (np.left_shift, np.right_shift):
        _check_amount(operands[1])
    results = apply_ufunc(ufunc, operands)
    for result in results if isinstance(results, tuple) else (results,):
        result.weak = weak if result.dtype != BOOL else bool
        if result.weak is int:
            result.dim = index_arithmetic(ufunc, operands, result)
    return results


def _as_python_sees(operands: tuple[Any, ...]) -> tuple[Any, ...]:
    """`1j * x`: Python's complex numbers know float64 scalars, which are Python floats, and are asked first."""
    if len(operands) == 2 and (type(operands[0]) is complex or getattr(operands[0], "weak", None) is complex):
        other = operands[1]
        if isinstance(other, Traced) and other.is_scalar and other.weak is None and other.dtype == F64:
            return operands[0], Traced.scalar(other.trace, other.value, float)
    return operands


def _on_mixed(ufunc: np.ufunc, operands: Sequence[Any], mixed: Mixed) -> Any:
    """An operator on scalars that are Python's or NumPy's, as the run decides."""
    one = settle_operands(operands, lambda choice: _typing(ufunc, choice))
    if one is not None:
        return operate(ufunc, *one)

    def on(part: Any) -> Any:
        known = tuple(part if x is mixed else x for x in operands)
        plain = all(type(x) in PYTHON_NUMBERS or isinstance(x, np.generic) for x in known)
        return PYTHON[ufunc](*known) if plain else operate(ufunc, *known)

    return each(mixed, on) if all(is_number(x) for x in operands) else decide(mixed, on)


def _typing(ufunc: np.ufunc, operands: Sequence[Any]) -> Typing | None:
    """The class and the dtypes of an operator's result and operands."""
    weak = _result_class(ufunc, operands)
    if weak is None:
        return typing_of(ufunc, operands)
    if ufunc not in _ON_BOOLS:
        operands = [int(x) if type(x) is bool else _int_like(x) for x in operands]
    return weak, tuple(resolve(ufunc, operands, [None] * ufunc.nout, None, "same_kind"))


def _int_like(x: Any) -> Any:
    return 0 if isinstance(x, Traced) and x.weak is bool else x


#: What Python's bools have of their own; to the rest of arithmetic they are integers.
_ON_BOOLS = (np.bitwise_and, np.bitwise_or, np.bitwise_xor)


def _as_int(x: Any) -> Any:
    if isinstance(x, Traced) and x.weak is bool:
        return Traced.scalar(x.trace, cast(x.trace, x.value, I64), int)
    return x


def _check_divisor(x: Any) -> None:
    if isinstance(x, Traced):
        zero = x.trace.const(0, x.dtype)
        x.trace.ops("check", x.trace.op("not_equal", x.value, zero), kind="zero-division", message="division by zero")
    elif x == 0:
        raise ZeroDivisionError("division by zero")


def _check_amount(x: Any) -> None:
    if isinstance(x, Traced):
        if x.dim is None or not at_least(x.dim, 0):
            good = x.trace.op("greater_equal", cast(x.trace, x.value, I64), x.trace.const(0, I64))
            x.trace.ops("check", good, kind="value", message="negative shift count")
    elif x < 0:
        raise ValueError("negative shift count")


def _result_class(ufunc: np.ufunc, operands: Sequence[Any]) -> type | None:
    """The class of Python number that an operator on Python numbers gives; None if one is NumPy's."""
    kinds: list[Any] = [type(x) if type(x) in PYTHON_NUMBERS else getattr(x, "weak", None) for x in operands]
    if any(k is None for k in kinds):
        return None
    order = [bool, int, float, complex]
    widest = order[max(order.index(k) for k in kinds)]
    return (
        float if ufunc is np.true_divide and widest is not complex else widest if widest is not bool else int
    )


_INDEX_ARITHMETIC: dict[Any, Callable[..., Dim]] = {
    np.add: lambda a, b: a + b,
    np.subtract: lambda a, b: a - b,
    np.multiply: lambda a, b: a * b,
    np.negative: lambda a: -1 * a,
}


def index_arithmetic(ufunc: np.ufunc, operands: Sequence[Any], result: Traced) -> Dim | None:
    """What is known of an integer computed from loop variables: `i - 1` stays a dim, and so a static offset.

    Other Python integers have no width in Python: one that outgrows 64 bits stops the program.
    """
    rule = _INDEX_ARITHMETIC.get(ufunc)
    dims = [x if type(x) is int else x.dim if isinstance(x, Traced) else None for x in operands]
    if not _surely_fits(ufunc, dims):
        values = [cast(result.trace, as_traced(x).read(), I64) for x in operands]
        known = ufunc is np.power and type(operands[1]) is int and operands[1] > 0
        good = (_power_fits(result.trace, values[0], operands[1]) if known
                else _fits(result.trace, ufunc, values, result.value))
        if good is not None:
            result.trace.ops("check", good, kind="overflow", message="a Python integer outgrows 64 bits")
    return None if rule is None or any(d is None for d in dims) else rule(*dims)


_LEAST, _MOST = -(1 << 63), (1 << 63) - 1

_PYTHON: dict[Any, Callable[..., int]] = {
    np.add: operator.add, np.subtract: operator.sub, np.multiply: operator.mul, np.negative: operator.neg,
    np.absolute: abs, np.left_shift: operator.lshift, np.power: operator.pow,
}


def _surely_fits(ufunc: np.ufunc, dims: Sequence[Dim | None]) -> bool:
    """Whether what is known of integers proves that an operation on them gives 64 bits."""
    ends = [(None, None) if d is None else (lower_bound(d), upper_bound(d)) for d in dims]
    if ufunc in (np.floor_divide, np.divmod):  # only the least integer by -1 is too large
        least = _LEAST if ends[0][0] is None else ends[0][0]
        return (isinstance(dims[1], int) and dims[1] != -1) or least > _LEAST
    if ufunc not in _PYTHON:
        return True  # no larger than the operands
    known = [(low, high) for low, high in ends if low is not None and high is not None]
    if len(known) < len(ends) or (ufunc in (np.left_shift, np.power) and not 0 <= known[1][0] <= known[1][1] < 64):
        return False
    # Each is monotonous in each operand, or (abs, power) largest at an end.
    return all(_LEAST <= _PYTHON[ufunc](*corner) <= _MOST for corner in product(*known))


def _fits(trace: Trace, ufunc: np.ufunc, operands: Sequence[Value], result: Value) -> Value | None:
    """Whether the i64 result of an integer operation is the true one; None where it always is."""
    a, b = (*operands, operands[0])[:2]
    zero, least = trace.const(0, I64), trace.const(-(1 << 63), I64)

    def minus_one(x: Value) -> Value:
        return trace.op("equal", x, trace.const(-1, I64))

    def not_both(x: Value, y: Value) -> Value:
        return trace.op("logical_not", trace.op("logical_and", x, y))

    match ufunc.__name__:
        case "multiply":
            # Division undoes a product that did not wrap; -1 times the least is the one that it cannot tell.
            back = trace.op("equal", trace.op("floor_div", result, b), a)
            back = trace.op("logical_and", back, not_both(trace.op("equal", a, least), minus_one(b)))
            return trace.op("logical_or", trace.op("equal", b, zero), back)
        case "add" | "subtract":
            # The sum wrapped where its sign differs from that of both terms (the second one negated to subtract).
            other = b if ufunc is np.add else trace.op("bit_not", b)
            flips = trace.op("bit_and", trace.op("bit_xor", a, result), trace.op("bit_xor", other, result))
            return trace.op("greater_equal", flips, zero)
        case "negative" | "absolute":
            return trace.op("not_equal", a, least)
        case "floor_divide" | "divmod":
            return not_both(trace.op("equal", a, least), minus_one(b))
        case "left_shift":
            back = trace.op("equal", trace.op("shift_right", result, b), a)
            return trace.op("logical_and", back, trace.op("logical_or", trace.op("equal", a, zero), trace.op(
                "less", b, trace.const(64, I64))))
        case "power":
            # Of floats, whose rounding may refuse the very last numbers below the limit, and lets none pass.
            size = trace.op("pow", *(cast(trace, trace.op("abs", v), F64) for v in (a, b)))
            return trace.op("less", size, trace.const(float(1 << 63), F64))
    return None


def _power_fits(trace: Trace, base: Value, exponent: int) -> Value:
    """As `_fits`, for an exponent that is known: the base may be as large as the root of the limit."""
    root = int(_MOST ** (1 / exponent)) + 1
    while root**exponent > _MOST:
        root -= 1
    low = trace.op("greater_equal", base, trace.const(-root, I64))
    return trace.op("logical_and", low, trace.op("less_equal", base, trace.const(root, I64)))


def as_python_number(x: Traced) -> Traced:
    """The only element of an array, or a scalar, as a traced Python number."""
    if x.type.size != 1:
        raise ValueError("can only convert an array of size 1 to a Python scalar")
    kind: type[Any] = {"b": bool, "i": int, "u": int, "f": float, "c": complex}[x.dtype.kind]
    value = x.as_scalar().value
    if kind is int and x.dtype == np.dtype("u8"):
        # A Python int of ours has 64 bits and a sign.
        fits = x.trace.op("less", value, x.trace.const(1 << 63, x.dtype))
        x.trace.ops("check", fits, kind="overflow", message="a Python integer outgrows 64 bits")
    return Traced.scalar(x.trace, cast(x.trace, value, python_dtype(kind(0))), kind)
