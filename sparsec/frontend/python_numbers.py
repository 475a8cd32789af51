"""Traced Python numbers: what Python's operators give for them, where NumPy's functions would give scalars.

`2.0 * x` of two Python floats is a Python float, so the next array's dtype still wins (NEP 50); integers have
no width and division by zero raises. A traced Python int is 64 bits wide and checked: it never wraps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.convert import PYTHON_NUMBERS, as_traced, cast, python_dtype
from sparsec.frontend.trace import Trace
from sparsec.frontend.ufuncs import apply_ufunc
from sparsec.ir.dims import Dim, lower_bound, upper_bound
from sparsec.ir.graph import Value
from sparsec.ir.types import BOOL, I64


def operate(ufunc: np.ufunc, *operands: Any) -> Any:
    """A Python operator on a traced operand."""
    weak = _result_class(ufunc, operands)
    if weak is None:
        return apply_ufunc(ufunc, operands)
    if ufunc in (np.true_divide, np.floor_divide, np.remainder, np.divmod):
        _check_divisor(operands[1])
    results = apply_ufunc(ufunc, operands)
    for result in results if isinstance(results, tuple) else (results,):
        result.weak = weak if result.dtype != BOOL else bool
        if result.weak is int:
            result.dim = index_arithmetic(ufunc, operands, result)
    return results


def _check_divisor(x: Any) -> None:
    if isinstance(x, Traced):
        zero = x.trace.const(0, x.dtype)
        x.trace.ops("check", x.trace.op("not_equal", x.value, zero), kind="zero-division", message="division by zero")
    elif x == 0:
        raise ZeroDivisionError("division by zero")


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


_INDEX_ARITHMETIC: dict[Any, Callable[[Any, Any], Dim]] = {
    np.add: lambda a, b: a + b,
    np.subtract: lambda a, b: a - b,
    np.multiply: lambda a, b: a * b,
}


def index_arithmetic(ufunc: np.ufunc, operands: Sequence[Any], result: Traced) -> Dim | None:
    """What is known of an integer computed from loop variables: `i - 1` stays a dim, and so a static offset.

    Other Python integers have no width in Python: one that outgrows 64 bits stops the program.
    """
    rule = _INDEX_ARITHMETIC.get(ufunc)
    if rule is None:
        return None
    dims = [x if type(x) is int else x.dim if isinstance(x, Traced) else None for x in operands]
    known = None if any(d is None for d in dims) else rule(*dims)
    if known is None or upper_bound(known) is None or lower_bound(known) is None:
        _check_overflow(result.trace, ufunc, [as_traced(x).read() for x in operands], result.value)
    return known


def _check_overflow(trace: Trace, ufunc: np.ufunc, operands: Sequence[Value], result: Value) -> None:
    """Checks that an i64 sum, difference or product is the true one."""
    a, b = (cast(trace, v, I64) for v in operands)
    zero = trace.const(0, I64)
    if ufunc is np.multiply:
        # Division undoes a product that did not wrap; -1 times the least integer is the one that it cannot tell.
        least = trace.op("equal", a, trace.const(-(1 << 63), I64))
        back = trace.op("equal", trace.op("floor_div", result, b), a)
        minus = trace.op("equal", b, trace.const(-1, I64))
        good = trace.op("logical_or", trace.op("equal", b, zero),
                        trace.op("logical_and", back, trace.op("logical_not", trace.op("logical_and", least, minus))))
    else:
        # The sum wrapped where its sign differs from that of both terms (the second one negated to subtract).
        other = b if ufunc is np.add else trace.op("bit_not", b)
        flips = trace.op("bit_and", trace.op("bit_xor", a, result), trace.op("bit_xor", other, result))
        good = trace.op("greater_equal", flips, zero)
    trace.ops("check", good, kind="overflow", message="a Python integer outgrows 64 bits")


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
