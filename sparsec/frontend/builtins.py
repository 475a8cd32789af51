"""Python's builtins and the functions of `math`, on traced values.

They keep Python's meaning: `max(a, b)` is `b` only if `b > a`, `int(x)` truncates to a Python integer (64 bits
wide, checked), `math.sqrt(x)` is a Python float and fails where Python does.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from types import GeneratorType
from typing import Any

import numpy as np

from sparsec.errors import ConcretizationError, UnsupportedError
from sparsec.frontend.array import Traced
from sparsec.frontend.control.expressions import choose
from sparsec.frontend.control.scope import Scope
from sparsec.frontend.control.statements import for_
from sparsec.frontend.control.truth import truth
from sparsec.frontend.convert import as_traced, cast
from sparsec.frontend.locate import user_loc
from sparsec.frontend.mixed import Mixed, as_python, decide
from sparsec.frontend.ranges import Elements, TracedRange, elements
from sparsec.frontend.symbolic import as_int, extreme
from sparsec.frontend.trace import require_trace
from sparsec.ir.types import F64, I64

#: What the builtins go over by position.
_BY_POSITION = (Traced, TracedRange, Elements)

#: Builtins that ask whether their items are true or greater.
_COMPARING = (any, all, max, min)


def takes(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a builtin called with these arguments has to be one of ours."""
    if function in _COMPARING and any(isinstance(a, GeneratorType) for a in args):
        return True  # which has nothing to show yet
    return any(_is_traced(a) for a in (*args, *kwargs.values()))


def _is_traced(x: Any) -> bool:
    if isinstance(x, (*_BY_POSITION, np.ndarray)):
        return True
    return isinstance(x, (tuple, list)) and any(_is_traced(item) for item in x)


# --- what a value is -----------------------------------------------------------------------------------------


def _isinstance(x: Any, kinds: Any) -> bool:
    """A traced array passes for an ndarray, a traced scalar for a NumPy scalar of its dtype or a number."""
    if isinstance(x, Mixed):
        return decide(x, lambda part: _isinstance(part, kinds))
    if not isinstance(x, Traced):
        return isinstance(x, kinds)
    if x.weak is not None:
        return issubclass(x.weak, kinds)
    return issubclass(x.dtype.type if x.is_scalar else np.ndarray, kinds)


def _type(x: Any) -> Any:
    if not isinstance(x, Traced):
        return type(x)
    return x.weak or (x.dtype.type if x.is_scalar else np.ndarray)


def _len(x: Any) -> Any:
    if isinstance(x, Traced) and x.shape:
        return as_int(x.trace, x.shape[0])
    if isinstance(x, TracedRange):
        return x.count()
    return len(x)


# --- going over things ---------------------------------------------------------------------------------------


def _enumerate(iterable: Any, start: Any = 0) -> Any:
    items = elements(iterable)
    if items is None:
        return enumerate(iterable, start)
    return Elements(items.count, lambda k: (start + k, items.item(k)), (items,))


def _zip(*iterables: Any, strict: bool = False) -> Any:
    parts = [elements(x) for x in iterables]
    if not parts or any(p is None for p in parts):
        return zip(*iterables, strict=strict)
    counts = [p.count for p in parts]  # type: ignore[union-attr]
    if strict and any(c is not counts[0] and c != counts[0] for c in counts):
        raise ValueError("zip() arguments have different lengths")
    count = counts[0]
    for other in counts[1:]:
        count = _shorter(count, other)
    return Elements(count, lambda k: tuple(p.item(k) for p in parts), tuple(parts))  # type: ignore[union-attr]


def _shorter(a: Any, b: Any) -> Any:
    traced = a if isinstance(a, Traced) else b
    return extreme(traced.trace, "minimum", a, b) if isinstance(traced, Traced) else min(a, b)


def _reversed(x: Any) -> Any:
    items = elements(x)
    if items is None:
        return reversed(x)
    return Elements(items.count, lambda k: items.item(items.count - 1 - k), (items,))


def _listed(kind: type) -> Callable[..., Any]:
    def make(x: Any = ()) -> Any:
        return kind(_items(x))

    return make


def _items(x: Any) -> Iterator[Any]:
    """The items of anything whose length is known, one by one."""
    found = elements(x)
    if found is None:
        return iter(x)
    if isinstance(found.count, Traced):
        raise ConcretizationError("the number of items is known only at run time", loc=user_loc(),
                                  hint="go over them with a `for` statement")
    return map(found.item, range(found.count))


def _fold(x: Any, start: Any, step: Callable[[Any, Any], Any], first: int = 0) -> Any:
    """`step` over all items from the left; a long array becomes a loop."""
    total = start

    def body(item: Any) -> None:
        nonlocal total
        total = step(total, item)

    def set_(values: Any) -> None:
        nonlocal total
        (total,) = values

    found = elements(x)
    if found is not None and first:
        rest = found
        found = Elements(rest.count - first, lambda k: rest.item(k + first), (rest,))
    for_(x if found is None else found, body, Scope(("total",), lambda: (total,), set_), used=("total",))
    return total


def _sum(x: Any, /, start: Any = 0) -> Any:
    return _fold(x, start, operator.add)


def _any(x: Any) -> Any:
    return _fold(_until(x, True), False, lambda a, b: choose(a, lambda: True, lambda: _bool(b)))


def _all(x: Any) -> Any:
    return _fold(_until(x, False), True, lambda a, b: choose(a, lambda: _bool(b), lambda: False))


def _until(x: Any, decides: bool) -> Any:
    """What a generator gives, up to the first value that is known and decides; anything else as it is."""
    if not isinstance(x, GeneratorType):
        return x
    given = []
    for value in x:
        given.append(value)
        if not _is_traced(value) and bool(value) is decides:
            break
    return given


# --- extremes --------------------------------------------------------------------------------------------------


def _extreme(native: Any, better: Callable[[Any, Any], Any], ufunc: str) -> Callable[..., Any]:
    name = native.__name__

    def pick(a: Any, b: Any) -> Any:
        if _is_int(a) and _is_int(b):
            traced = a if isinstance(a, Traced) else b
            return extreme(traced.trace, ufunc, a, b) if isinstance(traced, Traced) else (b if better(b, a) else a)
        test = truth(better(b, a))
        if not isinstance(test, Traced):
            return b if test else a
        return choose(test, lambda: b, lambda: a)

    def rule(*args: Any, key: Any = None, **kwargs: Any) -> Any:
        if key is not None or kwargs:
            if not _is_traced((*args, *kwargs.values())):  # a generator, of which nothing is known
                return native(*args, key=key, **kwargs)
            raise UnsupportedError(f"{name}() of run-time values takes no key= and no default=", loc=user_loc())
        if len(args) > 1:
            best = args[0]
            for other in args[1:]:
                best = pick(best, other)
            return best
        (items,) = args
        if isinstance(items, GeneratorType):
            items = list(items)
            if not _is_traced(items):
                return native(items)
        found = elements(items)
        if found is None:
            return rule(*items) if len(items) > 1 else items[0]
        if not isinstance(found.count, Traced) and found.count == 0:
            raise ValueError(f"{name}() iterable argument is empty")
        return _fold(items, found.item(0), pick, 1)

    return rule


def _is_int(x: Any) -> bool:
    return type(x) is int or (isinstance(x, Traced) and not isinstance(x, Mixed) and x.weak is int)


# --- conversions ----------------------------------------------------------------------------------------------


def _single(x: Any) -> Traced:
    """The only element of an array, or a scalar. Raises TypeError for more."""
    array = as_traced(x)
    if array.type.size != 1:
        raise TypeError("only length-1 arrays can be converted to Python scalars")
    return array.as_scalar()


def _int(x: Any = 0, *args: Any) -> Any:
    if not _is_traced(x):
        return int(x, *args)
    if isinstance(x, Mixed):
        return decide(x, _int) if (one := as_python(x, int)) is None else one
    if _is_int(x):
        return x
    scalar = _single(x)
    trace = scalar.trace
    if scalar.dtype.kind == "c":
        raise TypeError("int() argument must be a string, a bytes-like object or a real number, not 'complex'")
    if scalar.dtype.kind == "f":
        wide = cast(trace, scalar.value, F64)
        number = trace.op("logical_not", trace.op("isnan", wide))
        trace.ops("check", number, kind="value", message="cannot convert float NaN to integer")
        inside = trace.op("less", trace.op("abs", wide), trace.const(2.0**63, F64))
        trace.ops("check", inside, kind="overflow", message="a float that is no 64-bit integer, made one by int()")
        return Traced.scalar(trace, cast(trace, wide, I64), int)
    if scalar.dtype == np.uint64:
        small = trace.op("less_equal", scalar.value, trace.const((1 << 63) - 1, scalar.dtype))
        trace.ops("check", small, kind="overflow", message="a Python integer outgrows 64 bits")
    return Traced.scalar(trace, cast(trace, scalar.value, I64), int)


def _number(kind: type) -> Callable[..., Any]:
    target = np.dtype({float: "f8", complex: "c16"}[kind])

    def convert(x: Any = 0, *args: Any) -> Any:
        if isinstance(x, Mixed) and not args:
            return decide(x, convert) if (one := as_python(x, kind)) is None else one
        if args or not _is_traced(x):
            if _is_traced(x) or _is_traced(args):
                parts = [_number(float)(part) for part in (x, *args)]  # two real ones, or a TypeError
                real, imaginary = (as_traced(part) for part in parts)
                made = real.trace.op("make_complex", real.value, imaginary.value)
                return Traced.scalar(real.trace, made, complex)
            return kind(x, *args)
        scalar = _single(x)
        if scalar.dtype.kind == "c" and kind is float:
            raise TypeError("float() argument must be a string or a real number, not 'complex'")
        return Traced.scalar(scalar.trace, cast(scalar.trace, scalar.value, target), kind)

    return convert


def _bool(x: Any = False) -> Any:
    test = truth(x)
    if not isinstance(test, Traced):
        return test
    return Traced.scalar(test.trace, cast(test.trace, test.value, np.dtype(bool)), bool)


# --- arithmetic ------------------------------------------------------------------------------------------------


def _round(x: Any, ndigits: Any = None) -> Any:
    """To the nearest, halves to even; without digits a Python integer of a scalar."""
    if isinstance(x, Mixed):
        return decide(x, lambda part: _round(part, ndigits) if isinstance(part, Traced) else round(part, ndigits))
    array = as_traced(x)
    if _is_int(x):
        return x
    if not array.is_scalar and array.ndim:
        raise TypeError("type numpy.ndarray doesn't define __round__ method")
    if ndigits is not None:
        if array.weak is None:
            return np.round(array.as_scalar(), ndigits)  # type: ignore[call-overload]
        raise UnsupportedError("round() of a Python number that is computed at run time, to digits, is not supported",
                               loc=user_loc(), hint="use np.round")
    return _int(Traced.scalar(array.trace, array.trace.op("rint", cast(array.trace, array.as_scalar().value, F64))))


def _pow(x: Any, y: Any, mod: Any = None) -> Any:
    if mod is not None:
        raise UnsupportedError("pow() with a modulus of run-time values is not supported", loc=user_loc())
    return x**y


def _text(write: Callable[..., str]) -> Callable[..., str]:
    """The text of what is known while tracing; of containers, Python would show what traced arrays are."""

    def rule(x: Any, *args: Any) -> str:
        if isinstance(x, Traced):
            return x.text(f"{write.__name__}()", lambda known: write(known, *args))
        if _is_traced(x) and not require_trace("text").telling:
            raise ConcretizationError(f"{write.__name__}() of values that are computed at run time", loc=user_loc())
        return write(x, *args)

    return rule


def _print(*args: Any, **kwargs: Any) -> None:
    """While tracing, once: values show as what they are."""
    print(*(repr(a) if isinstance(a, Traced) else a for a in args), **kwargs)


BUILTINS: dict[Any, Callable[..., Any]] = {
    isinstance: _isinstance, type: _type, range: TracedRange.make, len: _len, enumerate: _enumerate, zip: _zip,
    reversed: _reversed, list: _listed(list), tuple: _listed(tuple), sum: _sum, any: _any, all: _all,
    max: _extreme(max, operator.gt, "maximum"), min: _extreme(min, operator.lt, "minimum"), int: _int,
    float: _number(float), complex: _number(complex), bool: _bool, round: _round, pow: _pow,
    abs: operator.abs, divmod: divmod, str: _text(str), repr: _text(repr), format: _text(format), print: _print,
}

#: Builtins that are taken over whatever they are given: what they make decides how a loop runs.
ALWAYS = (enumerate, zip, reversed)


# --- math --------------------------------------------------------------------------------------------------------


def _real(ufunc: np.ufunc, valid: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """A function of `math`: a Python float. Raises ValueError at run time where Python's function does."""

    def rule(*args: Any) -> Any:
        operands = [_number(float)(a) for a in args]
        traced = next(a for a in operands if isinstance(a, Traced))
        if valid is not None:
            fine = truth(valid(*operands))
            if isinstance(fine, Traced):
                traced.trace.ops("check", fine.value, kind="value", message="math domain error")
            elif not fine:
                raise ValueError("math domain error")
        strong = [Traced.scalar(a.trace, a.value) if isinstance(a, Traced) else np.float64(a) for a in operands]
        made = ufunc(*strong)
        return Traced.scalar(made.trace, made.value, float)

    return rule


def _rounded(ufunc: np.ufunc) -> Callable[..., Any]:
    def rule(x: Any) -> Any:
        if isinstance(x, Mixed):
            return decide(x, lambda part: rule(part) if isinstance(part, Traced) else int(ufunc(part)))
        return x if _is_int(x) else _int(_real(ufunc)(x))

    return rule


def _finite(x: Any) -> Any:
    return np.isfinite(Traced.scalar(x.trace, x.value)) if isinstance(x, Traced) else math.isfinite(x)


def _question(ufunc: np.ufunc) -> Callable[..., Any]:
    def rule(x: Any) -> Any:
        made = ufunc(Traced.scalar(x.trace, as_traced(_number(float)(x)).value))
        return Traced.scalar(made.trace, made.value, bool)

    return rule


def _log(x: Any, base: Any = None) -> Any:
    top = _real(np.log, lambda v: v > 0)(x) if isinstance(x, Traced) else math.log(x)
    if base is None:
        return top
    return top / (_real(np.log, lambda v: v > 0)(base) if isinstance(base, Traced) else math.log(base))


MATH: dict[Any, Callable[..., Any]] = {
    math.sqrt: _real(np.sqrt, lambda v: np.logical_not(v < 0)), math.exp: _real(np.exp), math.log: _log,
    math.log2: _real(np.log2, lambda v: v > 0), math.log10: _real(np.log10, lambda v: v > 0),
    math.log1p: _real(np.log1p, lambda v: v > -1), math.expm1: _real(np.expm1),
    math.sin: _real(np.sin, _finite), math.cos: _real(np.cos, _finite), math.tan: _real(np.tan, _finite),
    math.asin: _real(np.arcsin, lambda v: abs(v) <= 1), math.acos: _real(np.arccos, lambda v: abs(v) <= 1),
    math.atan: _real(np.arctan), math.atan2: _real(np.arctan2), math.sinh: _real(np.sinh), math.cosh: _real(np.cosh),
    math.tanh: _real(np.tanh), math.hypot: _real(np.hypot), math.fabs: _real(np.fabs),
    math.copysign: _real(np.copysign), math.pow: _real(np.power), math.fmod: _real(np.fmod, lambda x, y: y != 0),
    math.floor: _rounded(np.floor), math.ceil: _rounded(np.ceil), math.trunc: _rounded(np.trunc),
    math.isnan: _question(np.isnan), math.isinf: _question(np.isinf), math.isfinite: _question(np.isfinite),
    math.radians: _real(np.radians), math.degrees: _real(np.degrees),
}
