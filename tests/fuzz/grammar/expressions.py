"""Expressions as text: operands of a wanted shape, views, elementwise functions, reductions and the rest."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.fuzz.grammar import keys
from tests.fuzz.grammar.scope import (
    Rejected,
    Scope,
    exact_product,
    exact_sum,
    fits_cast,
    one_zero,
    tied_zeros,
)

DTYPE_NAMES = ("np.float64", "np.float32", "np.int64", "np.int32", "np.uint8", "np.int8", "np.bool_",
               "np.int16", "np.uint16", "np.uint64", "np.complex128", "float", "int", "'f4'")

FLOAT_UNARY = ("np.sqrt", "np.floor", "np.ceil", "np.trunc", "np.rint", "np.isnan", "np.isinf", "np.isfinite",
               "np.signbit", "np.spacing", "np.reciprocal")
ANY_UNARY = ("-", "+", "abs", "np.abs", "np.negative", "np.square", "np.sign", "np.logical_not",
             "np.positive", "np.conjugate", "np.isnan", "np.real", "np.imag")
INEXACT_UNARY = ("np.exp", "np.log", "np.sin", "np.cos", "np.tanh", "np.arctan", "np.log1p", "np.expm1",
                 "np.exp2", "np.cbrt", "np.sinh", "np.log2")
ARITHMETIC = ("+", "-", "*", "+", "-", "*", "/", "//", "%")
COMPARE = ("<", "<=", ">", ">=", "==", "!=")
BITS = ("&", "|", "^", "<<", ">>")
EXTREMA = ("np.maximum", "np.minimum", "np.maximum", "np.minimum", "np.fmax", "np.fmin")
BINARY_FUNCTIONS = ("np.logical_and", "np.logical_or", "np.logical_xor", "np.copysign", "np.fmod",
                    "np.nextafter", "np.heaviside", "np.floor_divide", "np.remainder", "np.gcd", "np.lcm",
                    "np.subtract", "np.ldexp")


def kind(x: Any) -> str:
    return np.asarray(x).dtype.kind


def number(scope: Scope, dtype: np.dtype[Any] | None = None) -> str:
    """A Python number that (mostly) fits the dtype."""
    rng = scope.rng
    of = dtype.kind if dtype is not None else "f"
    if rng.random() < 0.02:
        return rng.choice(("300", "-1", "2.5", "True", "1j", "1 << 40"))
    if of == "b":
        return rng.choice(("True", "False"))
    if of == "u":
        return rng.choice(("0", "1", "2", "3", "7", "100"))
    if of == "i":
        return rng.choice(("0", "1", "-1", "2", "3", "-7", "100", "5"))
    return rng.choice(("0", "1", "-1", "2", "0.5", "-0.0", "3.0", "-2.5", "10", "7", "np.nan", "np.inf",
                       "-np.inf"))


def broadcasts(have: tuple[int, ...], want: tuple[int, ...]) -> bool:
    return len(have) <= len(want) and all(h in (w, 1) for h, w in zip(reversed(have), reversed(want)))


def operand(scope: Scope, shape: tuple[int, ...], dtype: np.dtype[Any] | None = None) -> str:
    """Something that broadcasts to `shape`: a number, a variable, or a view of one."""
    rng = scope.rng
    style = rng.random()
    if style < 0.2:
        return number(scope, dtype)
    if style < 0.5:
        return scope.pick(lambda x: broadcasts(np.shape(x), shape))
    if style < 0.93:
        wanted = shape if rng.random() < 0.8 else tuple(1 if rng.random() < 0.4 else d for d in shape)
        name = scope.pick_array(lambda x: x.ndim >= len(wanted) and x.size > 0)
        return f"{name}[{keys.key_of_shape(rng, scope.space[name].shape, wanted)}]"
    name = scope.pick_array(lambda x: x.shape == shape[::-1])
    return f"{name}.T"


# --- views ------------------------------------------------------------------------------------------------


def view(scope: Scope, name: str) -> str:
    """A view (or what may be one) of an array."""
    rng, x = scope.rng, scope.space[name]
    style = rng.random()
    if style < 0.5:
        return f"{name}[{keys.basic_key(rng, x.shape)}]"
    if style < 0.6:
        return rng.choice((f"{name}.T", f"np.transpose({name})"))
    if style < 0.72:
        return _reshape(scope, name, x)
    return _named_view(scope, name, x)


def _reshape(scope: Scope, name: str, x: np.ndarray) -> str:
    rng = scope.rng
    style = rng.random()
    if style < 0.3:
        return name + rng.choice((".reshape(-1)", ".ravel()", ".reshape((-1,))", ".flatten()"))
    dims: list[int] = []
    left = x.size
    while left > 1 and len(dims) < 3:
        factor = rng.choice([f for f in range(1, left + 1) if left % f == 0])
        dims.append(factor)
        left //= factor
    if left != 1 or not dims:
        dims.append(left)
    text = ", ".join(map(str, dims))
    if style < 0.5 and x.size:
        at = rng.randrange(len(dims))
        text = ", ".join("-1" if k == at else str(d) for k, d in enumerate(dims))
    if style > 0.93:
        return f"{name}.reshape(({text},), order='F')"
    return rng.choice((f"{name}.reshape({text})", f"np.reshape({name}, ({text},))"))


def _named_view(scope: Scope, name: str, x: np.ndarray) -> str:
    rng = scope.rng
    style = rng.randrange(12)
    if style == 0:
        return f"{name}.{rng.choice(('real', 'imag'))}"
    if style == 1:
        lead = rng.choice(((), (2,), (3, 1)))
        shape = (*lead, *(rng.choice((2, 3)) if d == 1 else d for d in x.shape))
        return f"np.broadcast_to({name}, {shape})"
    if style == 2:
        return f"np.squeeze({name})"
    if style == 3:
        return f"np.expand_dims({name}, {rng.randint(0, x.ndim)})"
    if style == 4:
        function = rng.choice(("np.atleast_1d", "np.atleast_2d", "np.asarray", "np.ravel"))
        return f"{function}({name})"
    if x.ndim == 0:
        raise Rejected
    axis = rng.randint(-x.ndim, x.ndim - 1)
    if style == 5:
        return rng.choice((f"np.flip({name})", f"np.flip({name}, {axis})", f"np.flipud({name})"))
    if x.ndim < 2:
        raise Rejected
    other = rng.randrange(x.ndim)
    if style == 6:
        return f"np.swapaxes({name}, {axis}, {other})"
    if style == 7:
        return f"np.moveaxis({name}, {axis}, {other})"
    if style in (8, 9):
        perm = list(range(x.ndim))
        rng.shuffle(perm)
        return f"{name}.transpose({', '.join(map(str, perm))})"
    if style == 10:
        return rng.choice((f"np.diagonal({name}, {rng.randint(-1, 1)})", f"{name}.diagonal()"))
    return f"np.rot90({name}, {rng.randint(-1, 3)})"


# --- new values -------------------------------------------------------------------------------------------


def elementwise(scope: Scope) -> str:
    rng = scope.rng
    return rng.choice((binary, binary, binary, unary, choice, compare, cast, extremum, extremum))(scope)


def binary(scope: Scope) -> str:
    rng = scope.rng
    name = scope.pick()
    x = scope.space[name]
    style = rng.random()
    other = operand(scope, np.shape(x), getattr(x, "dtype", None))
    if other == name:  # x + x shows little
        other = operand(scope, np.shape(x), getattr(x, "dtype", None))
    left, right = (name, other) if rng.random() < 0.8 else (other, name)
    y = scope.value(other)
    kinds = kind(x) + kind(y)
    if style < 0.42:
        op = rng.choice(ARITHMETIC)
        if "c" in kinds and op not in "+-" and inexact_product(scope, op, x, y):
            raise Rejected
        return f"{left} {op} {right}"
    if style < 0.75:
        if (scope.twice and "f" in kinds) or "c" in kinds or tied_zeros(x, y):
            raise Rejected
        return f"{rng.choice(EXTREMA)}({left}, {right})"
    if style < 0.87 and not set(kinds) & set("fc"):
        return f"{left} {rng.choice(BITS)} {right}"
    if style < 0.9:
        if kinds[0] in "fc" and not (kinds[0] == "f" and exact_sum(x) and not scope.twice):
            raise Rejected
        return f"{name} ** {rng.choice(('2', '3', '1', '0'))}" if kinds[0] in "iub" else f"{name} ** 2"
    if "c" in kinds:
        raise Rejected
    function = rng.choice(BINARY_FUNCTIONS)
    if function == "np.copysign" and not (signs_known(scope, x) and signs_known(scope, y)):
        raise Rejected
    return f"{function}({left}, {right})"


def signs_known(scope: Scope, x: Any) -> bool:
    """Whether there is no NaN, whose sign is nobody's business."""
    return kind(x) not in "fc" or not (scope.twice or np.isnan(x).any())


def extremum(scope: Scope) -> str:
    """The larger or smaller of a variable and what is likely another: its reverse, or a number."""
    rng = scope.rng
    name = scope.pick_array(lambda x: x.ndim > 0 and x.dtype.kind != "c")
    other = rng.choice((f"{name}[::-1]", f"{name}[..., ::-1]", number(scope, scope.space[name].dtype)))
    if scope.twice or tied_zeros(scope.space[name], scope.value(other)):
        raise Rejected
    return f"{rng.choice(EXTREMA)}({name}, {other})"


def inexact_product(scope: Scope, op: str, x: Any, y: Any) -> bool:
    """Whether a complex product may be rounded: NumPy's loops do not agree among themselves then."""
    return op != "*" or scope.twice or not (exact_sum(x) and exact_sum(y))


def unary(scope: Scope) -> str:
    rng = scope.rng
    name = scope.pick()
    x = scope.space[name]
    function = rng.choice(FLOAT_UNARY if kind(x) == "f" and rng.random() < 0.6 else ANY_UNARY)
    if kind(x) == "c" and (function in ("abs", "np.abs", "np.sign", "np.sqrt") or
                           (function == "np.square" and (scope.twice or not exact_sum(x)))):
        raise Rejected
    if function == "np.signbit" and not signs_known(scope, x):
        raise Rejected
    if (kind(x) in "ub" and rng.random() < 0.3) or (kind(x) == "i" and rng.random() < 0.15):
        function = rng.choice(("~", "np.invert", "np.bitwise_count"))
    return f"{function}{name}" if function in "-+~" else f"{function}({name})"


def choice(scope: Scope) -> str:
    rng = scope.rng
    name = scope.pick_array()
    shape, dtype = scope.space[name].shape, scope.space[name].dtype
    if rng.random() < 0.15:
        if dtype.kind in "fc" and (scope.twice or not one_zero(scope.space[name], 0.0)):
            raise Rejected
        return f"np.clip({name}, {rng.choice(('-1', '0', '0.5', '2'))}, {rng.choice(('2', '3', '5'))})"
    return f"np.where({condition(scope, name)}, {name}, {operand(scope, shape, dtype)})"


def condition(scope: Scope, name: str) -> str:
    """A boolean expression of the shape of a variable."""
    rng, x = scope.rng, scope.space[name]
    if rng.random() < 0.15:
        return scope.pick_array(lambda m: m.dtype == bool and m.shape == x.shape)
    if kind(x) == "f" and rng.random() < 0.25:
        tests = [f"np.isnan({name})", f"~np.isfinite({name})"]
        return rng.choice([*tests, f"np.signbit({name})"] if signs_known(scope, x) else tests)
    if kind(x) == "c":
        return f"{name} {rng.choice(('==', '!='))} {rng.choice(('0', '1', '2'))}"
    text = f"{name} {rng.choice(COMPARE)} {rng.choice(('0', '1', '2', '3'))}"
    if rng.random() < 0.12:
        return f"({text}) {rng.choice('&|^')} ({name} {rng.choice(COMPARE)} 1)"
    return text


def compare(scope: Scope) -> str:
    rng = scope.rng
    name = scope.pick()
    x = scope.space[name]
    return f"{name} {rng.choice(COMPARE)} {operand(scope, np.shape(x), getattr(x, 'dtype', None))}"


def cast(scope: Scope) -> str:
    rng = scope.rng
    name = scope.pick_array()
    dtype = rng.choice(DTYPE_NAMES)
    if scope.twice and kind(scope.space[name]) in "fc":
        dtype = rng.choice(("np.float64", "np.float32", "bool"))
    target = scope.value(dtype) if dtype.startswith("np.") else np.dtype(dtype.strip("'"))
    if kind(scope.space[name]) == "c" and np.dtype(target).kind != "c":
        raise Rejected  # a warning of NumPy's, no other meaning
    if not fits_cast(scope.space[name], target):
        raise Rejected
    return f"{name}.astype({dtype})"


# --- reductions, scans, order -----------------------------------------------------------------------------


def _axis(scope: Scope, ndim: int) -> str:
    rng = scope.rng
    style = rng.random()
    if ndim == 0 or style < 0.3:
        return ""
    if style < 0.85 or ndim < 2:
        return f"axis={rng.randint(-ndim, ndim - 1)}"
    axes = rng.sample(range(ndim), rng.randint(1, ndim))
    return f"axis={tuple(axes)}"


def reduction(scope: Scope) -> str:
    rng = scope.rng
    name = scope.pick_array()
    x = scope.space[name]
    function = rng.choice(("sum", "sum", "max", "min", "prod", "any", "all", "mean", "argmax", "argmin"))
    _check_reduction(scope, function, x)
    axis = _axis(scope, x.ndim)
    if function in ("argmax", "argmin") and "(" in axis:
        axis = ""
    options = [axis] if axis else []
    if rng.random() < 0.25:
        options.append("keepdims=True")
    if function in ("sum", "prod") and rng.random() < 0.08 and x.dtype.kind in "iub":
        options.append(f"dtype={rng.choice(('np.int64', 'np.float64', 'np.int16'))}")
    if rng.random() < 0.5:
        return f"{name}.{function}({', '.join(options)})"
    return f"np.{function}({', '.join([name, *options])})"


def _check_reduction(scope: Scope, function: str, x: np.ndarray) -> None:
    if function == "mean" and x.dtype.kind in "iu" and (scope.twice or not exact_sum(x.astype(float))):
        raise Rejected  # NumPy adds float64s
    if x.dtype.kind in "fc":
        good = {"sum": exact_sum, "mean": exact_sum, "prod": exact_product}.get(function)
        if good is not None and (scope.twice or not good(x)):
            raise Rejected
        if function in ("max", "min") and (scope.twice or not one_zero(x)):
            raise Rejected
        if x.dtype.kind == "c" and function in ("max", "min", "argmax", "argmin", "mean"):
            raise Rejected


def scan(scope: Scope) -> str:
    rng = scope.rng
    name = scope.pick_array()
    x = scope.space[name]
    function = rng.choice(("cumsum", "cumprod", "cumsum"))
    if x.dtype.kind == "c" and not (function == "cumsum" and exact_sum(x) and not scope.twice):
        raise Rejected
    axis = f"axis={rng.randint(-x.ndim, x.ndim - 1)}" if x.ndim and rng.random() < 0.7 else ""
    if rng.random() < 0.5:
        return f"{name}.{function}({axis})"
    return f"np.{function}({', '.join(filter(None, [name, axis]))})"


def ordering(scope: Scope) -> str:
    rng = scope.rng
    name = scope.pick_array(lambda x: x.dtype.kind != "c")
    x = scope.space[name]
    options = ["kind='stable'"] if scope.twice or not one_zero(x) or rng.random() < 0.6 else []
    if x.ndim and rng.random() < 0.5:
        options.insert(0, f"axis={rng.randint(-x.ndim, x.ndim - 1)}")
    function = "sort"
    if options and "kind" in options[-1] and rng.random() < 0.4:
        function = "argsort"
    return f"np.{function}({', '.join([name, *options])})"


# --- rearranging ------------------------------------------------------------------------------------------


def rearranged(scope: Scope) -> str:
    rng = scope.rng
    name = scope.pick_array()
    x = scope.space[name]
    style = rng.randrange(12)
    if style == 0:
        return rng.choice(("{}.copy()", "np.copy({})", "np.array({})", "{}.copy(order='F')")).format(name)
    if style in (1, 2):
        axis = rng.randint(0, max(x.ndim - 1, 0))
        same = [n for n in scope.names if isinstance(scope.space[n], np.ndarray)
                and scope.space[n].ndim == x.ndim and not scope.is_inexact(n)]
        parts = [name, *rng.choices(same, k=rng.choice((1, 1, 2)))]
        if style == 1:
            return f"np.concatenate(({', '.join(parts)}), axis={axis})"
        return f"np.{rng.choice((f'stack(({{}}), axis={axis})', 'hstack(({}))', 'vstack(({}))'))}".format(
            ", ".join(parts))
    if style in (3, 4, 5):
        return f"{name}[{keys.fancy_key(rng, x.shape)}]"
    if x.ndim == 0:
        raise Rejected
    axis = rng.randrange(x.ndim)
    if style == 6:
        return f"np.roll({name}, {rng.randint(-3, 3)}, axis={axis})"
    if style == 7:
        return f"np.take({name}, {keys.integers(rng, x.shape[axis], rng.randint(1, 4))}, axis={axis})"
    if style == 8:
        return f"np.repeat({name}, {rng.randint(0, 3)}, axis={axis})"
    if style == 9:
        return f"np.tile({name}, {rng.choice(('2', '(2, 1)', '1'))})"
    if style == 10:
        return f"np.diff({name}, axis={axis})"
    return f"np.take_along_axis({name}, np.argsort({name}, axis={axis}, kind='stable'), axis={axis})"


def gather(scope: Scope) -> str:
    """A read at positions that are computed at run time."""
    rng = scope.rng
    name = scope.pick_array(lambda x: x.ndim > 0 and x.shape[0] > 0)
    index = scope.pick_array(lambda i: i.dtype.kind in "iu" and i.size > 0)
    length = scope.space[name].shape[0]
    if rng.random() < 0.05:
        return f"{name}[{index}]"
    return f"{name}[{index} % {length}]"


def product(scope: Scope) -> str:
    rng = scope.rng
    name = scope.pick_array(lambda x: x.ndim > 0)
    x = scope.space[name]
    depth = x.shape[-1]
    other = scope.pick_array(lambda y: y.ndim > 0 and y.shape[max(y.ndim - 2, 0)] == depth)
    y = scope.space[other]
    for z in (x, y):
        if z.dtype.kind == "c" or (z.dtype.kind == "f" and (
                scope.twice or not exact_sum(z) or not np.isfinite(z).all() or np.signbit(z[z == 0]).any())):
            raise Rejected
    text = f"{name} @ {other}"
    if rng.random() < 0.3:
        text = f"np.{rng.choice(('dot', 'matmul'))}({name}, {other})"
    return text


def creation(scope: Scope) -> str:
    rng = scope.rng
    name = scope.pick_array(exact=False)
    shape = scope.space[name].shape
    dtype = rng.choice(DTYPE_NAMES[:6])
    style = rng.randrange(8)
    if style == 0:
        return f"np.{rng.choice(('zeros', 'ones'))}({shape}, {dtype})"
    if style == 1:
        return f"np.full({shape}, {number(scope)})"
    if style == 2:
        return f"np.{rng.choice(('zeros_like', 'ones_like'))}({name})"
    if style == 3:
        return f"np.full_like({name}, {number(scope, scope.space[name].dtype)})"
    if style == 4 and math.prod(shape):
        return f"np.arange({math.prod(shape)}).reshape({shape})"
    if style == 5:
        return f"np.arange({rng.randint(0, 3)}, {rng.randint(3, 9)}, {rng.randint(1, 3)})"
    if style == 6:
        return f"np.zeros({name}.shape, {name}.dtype)"
    return rng.choice(("np.eye(3)", "np.array([1.0, np.nan, -0.0])", "np.arange(4.0)",
                       "np.array([[1, 2], [3, 4]])"))
