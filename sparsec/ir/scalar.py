"""The scalar functions of the loop IR, and the builder that ops' lowerings are written with.

The table is the contract between lowerings and backends: a backend implements exactly these, on exactly the
kinds listed, with no NumPy rule of its own. What C leaves undefined (integer division by zero, a shift by
the width, an out-of-range float-to-int cast) is undefined here too: the lowerings guard it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsec.ir.loops import Apply, Const, Expr, Var
from sparsec.ir.types import BOOL, I64, DType


@dataclass(frozen=True, slots=True)
class ScalarFn:
    """`kinds`: NumPy kind letters of the operands (b bool, i/u integers, f floats, c complex).

    `result`: "same" as the first operand, "bool", "real" (the parts of a complex), or "given" by the Apply.
    """

    name: str
    arity: int
    kinds: str
    result: str
    doc: str


def _table(*rows: tuple[str, int, str, str, str]) -> dict[str, ScalarFn]:
    return {row[0]: ScalarFn(*row) for row in rows}


FNS: dict[str, ScalarFn] = _table(
    ("add", 2, "iufc", "same", "wraps on integers"),
    ("sub", 2, "iufc", "same", "wraps on integers"),
    ("mul", 2, "iufc", "same", "wraps on integers"),
    ("div", 2, "f", "same", "IEEE division"),
    ("quo", 2, "iu", "same", "toward zero; divisor not 0, not INT_MIN / -1"),
    ("rem", 2, "iu", "same", "sign of the dividend; operands as for quo"),
    ("fmod", 2, "f", "same", "C fmod, exact"),
    ("neg", 1, "ifc", "same", "wraps on integers, flips the sign bit of floats"),
    ("abs", 1, "if", "same", "wraps on integers, clears the sign bit of floats"),
    ("min", 2, "iu", "same", ""),
    ("max", 2, "iu", "same", ""),
    ("and", 2, "biu", "same", "bitwise; logical on bool"),
    ("or", 2, "biu", "same", "bitwise; logical on bool"),
    ("xor", 2, "biu", "same", "bitwise; logical on bool"),
    ("not", 1, "biu", "same", "bitwise; logical on bool"),
    ("shl", 2, "iu", "same", "0 <= amount < width"),
    ("shr", 2, "iu", "same", "arithmetic on signed; 0 <= amount < width"),
    ("eq", 2, "biufc", "bool", "false with NaN"),
    ("ne", 2, "biufc", "bool", "true with NaN"),
    ("lt", 2, "biuf", "bool", "false with NaN"),
    ("le", 2, "biuf", "bool", "false with NaN"),
    ("gt", 2, "biuf", "bool", "false with NaN"),
    ("ge", 2, "biuf", "bool", "false with NaN"),
    ("select", 3, "biufc", "given", "select(cond, a, b): both are evaluated"),
    ("cast", 1, "biufc", "given", "numeric conversion; float to int only in range; x != 0 for bool"),
    ("bitcast", 1, "iuf", "given", "same bits, another dtype of the same width"),
    ("sqrt", 1, "f", "same", "correctly rounded"),
    ("floor", 1, "f", "same", ""),
    ("ceil", 1, "f", "same", ""),
    ("trunc", 1, "f", "same", ""),
    ("rint", 1, "f", "same", "to nearest, ties to even"),
    ("copysign", 2, "f", "same", ""),
    *((name, 1, "f", "same", "as C's, within 2 ULP") for name in (
        "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan",
        "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "cbrt")),
    ("fma", 3, "f", "same", "x * y + z, rounded once"),
    ("pow", 2, "f", "same", "C pow"),
    ("atan2", 2, "f", "same", "C atan2"),
    ("hypot", 2, "f", "same", "C hypot"),
    ("nextafter", 2, "f", "same", "C nextafter"),
    ("complex", 2, "f", "given", "complex(re, im)"),
    ("real", 1, "c", "real", ""),
    ("imag", 1, "c", "real", ""),
)


def result_dtype(name: str, args: Sequence[DType]) -> DType | None:
    """The dtype that a function has on operands of these dtypes; None where only the Apply can say."""
    fn = FNS.get(name)
    if fn is None or not args:
        return None
    match fn.result:
        case "same":
            return args[0]
        case "bool":
            return BOOL
        case "real":
            return np.dtype("f4" if args[0].itemsize == 8 else "f8")
    return None


class ScalarBuilder:
    """Builds loop-IR expressions. `s.add(x, y)` for every function of the table; helpers below.

    Only identities that hold for every value are folded (index arithmetic, and what is exact of literals: parts,
    comparisons, truth); sums and products of floats never are.
    """

    def __getattr__(self, name: str):  # type: ignore[no-untyped-def]
        if name not in FNS:
            raise AttributeError(name)

        def build(*args: Expr) -> Expr:
            return apply(name, *args)

        return build

    def const(self, value: bool | int | float | complex, dtype: DType) -> Const:
        return const(value, dtype)

    def cast(self, x: Expr, dtype: DType) -> Expr:
        if isinstance(x, Const) and _casts_exactly(x, np.dtype(dtype)):
            return const(x.value, dtype)
        return x if x.dtype == dtype else Apply("cast", (x,), np.dtype(dtype))

    def bitcast(self, x: Expr, dtype: DType) -> Expr:
        return Apply("bitcast", (x,), np.dtype(dtype))

    def select(self, cond: Expr, a: Expr, b: Expr) -> Expr:
        if isinstance(cond, Const):
            return a if cond.value else b
        return Apply("select", (cond, a, b), a.dtype)

    def complex(self, re: Expr, im: Expr) -> Expr:
        return Apply("complex", (re, im), np.dtype("c8" if re.dtype.itemsize == 4 else "c16"))

    def logical_and(self, a: Expr, b: Expr) -> Expr:
        """`and`, `or`, `not` are keywords in Python, so the table's names need these spellings."""
        return apply("and", a, b)

    def logical_or(self, a: Expr, b: Expr) -> Expr:
        return apply("or", a, b)

    def logical_not(self, x: Expr) -> Expr:
        return apply("not", x)

    def isnan(self, x: Expr) -> Expr:
        """NaN is the only value that differs from itself (either part, for complex)."""
        return apply("ne", x, x)


def const(value: bool | int | float | complex, dtype: DType) -> Const:
    """A literal of `dtype`; integers wrap into range, floats round to it."""
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        bits = 8 * dtype.itemsize
        value = int(value) & ((1 << bits) - 1)  # type: ignore[arg-type]
        if dtype.kind == "i" and value >> (bits - 1):
            value -= 1 << bits
        return Const(value, dtype)
    with np.errstate(all="ignore"):
        return Const(dtype.type(value).item(), dtype)


def index(value: int) -> Const:
    """An i64 literal for index arithmetic."""
    return Const(int(value), I64)


def apply(name: str, *args: Expr) -> Expr:
    """An application of a table function, type-checked; integer constants fold."""
    fn = FNS[name]
    if len(args) != fn.arity:
        raise TypeError(f"{name} takes {fn.arity} arguments, got {len(args)}")
    first = args[0].dtype
    if first.kind not in fn.kinds or any(a.dtype != first for a in args[1:] if name != "select"):
        raise TypeError(f"{name} does not take ({', '.join(str(a.dtype) for a in args)})")
    if first == I64:
        folded = _fold_index(name, args)
        if folded is not None:
            return folded
    dtype = result_dtype(name, [first])
    if dtype is None:
        raise TypeError(f"{name} needs a result dtype: use its own builder method")
    return _fold_exact(name, args, dtype) or Apply(name, args, dtype)


#: What is exact of literals.
_EXACT: dict[str, Callable[..., Any]] = {
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
    "and": np.bitwise_and, "or": np.bitwise_or, "not": np.invert, "real": np.real, "imag": np.imag, "abs": np.abs,
    "trunc": np.trunc,
}  # fmt: skip


def _fold_exact(name: str, args: tuple[Expr, ...], dtype: DType) -> Expr | None:
    """What an exact function gives for literals; `and` and `or` where one side decides or says nothing."""
    literals = [a for a in args if isinstance(a, Const)]
    if name in _EXACT and len(literals) == len(args):
        with np.errstate(all="ignore"):
            return const(np.asarray(_EXACT[name](*(a.dtype.type(a.value) for a in literals))).item(), dtype)
    if name in ("and", "or") and dtype == BOOL and literals:
        other = next(a for a in args if a is not literals[0])
        return other if bool(literals[0].value) == (name == "and") else literals[0]
    return None


def _casts_exactly(x: Const, dtype: DType) -> bool:
    """Whether a literal converts without a rule of its own: whole numbers that fit, and truth."""
    value = x.value
    if isinstance(value, complex) or dtype.kind not in "iuf" or (isinstance(value, float) and value % 1 != 0):
        return False
    if dtype.kind == "f":
        return abs(value) <= 1 << 10
    limits = np.iinfo(dtype)
    return limits.min <= value <= limits.max


def _fold_index(name: str, args: tuple[Expr, ...]) -> Expr | None:
    """Constant folding and the unit laws of wrapping i64 arithmetic."""
    if name not in ("add", "sub", "mul"):
        return None
    x, y = args
    a, b = (arg.value if isinstance(arg, Const) else None for arg in args)
    if a is not None and b is not None:
        return const({"add": a + b, "sub": a - b, "mul": a * b}[name], I64)  # type: ignore[operator]
    if name == "mul" and (a == 0 or b == 0):
        return index(0)
    unit = 1 if name == "mul" else 0
    if b == unit:
        return x
    if a == unit and name != "sub":
        return y
    return None


S = ScalarBuilder()


def var(name: str, dtype: DType = I64) -> Var:
    """A variable by name; i64, as loop variables are, unless told otherwise."""
    return Var(name, np.dtype(dtype))
