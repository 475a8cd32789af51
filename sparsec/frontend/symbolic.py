"""Dims that are known only at run time: as indexes, slice bounds and extents.

A symbol named `%v` stands for the integer SSA value `v`. What its bounds prove is used at once; what they do
not, becomes a check or a clamp in the program.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any

from sparsec.errors import DTypeError, ShapeError
from sparsec.frontend.array import Traced
from sparsec.frontend.concrete import concrete_value
from sparsec.frontend.convert import as_traced, cast
from sparsec.frontend.locate import user_loc
from sparsec.frontend.trace import Trace, require_trace
from sparsec.ir.dims import Dim, Poly, lower_bound, shape_text, sym, symbols, upper_bound
from sparsec.ir.graph import Value
from sparsec.ir.types import I64


def at_least(dim: Dim, least: int) -> bool:
    """Whether the bounds prove `dim >= least`."""
    low = lower_bound(dim)
    return low is not None and low >= least


def value_of(trace: Trace, dim: Dim) -> Value:
    """An i64 value equal to `dim`."""
    if not isinstance(dim, Poly):
        return trace.const(int(dim), I64)
    total: Value | None = None
    for monomial, factor in dim.terms:
        term: Value | None = None if factor != 1 or not monomial else _symbol(monomial[0].name)
        rest = monomial if term is None else monomial[1:]
        if term is None:
            term = trace.const(factor, I64)
        for symbol in rest:
            term = trace.op("mul", term, _symbol(symbol.name))
        total = term if total is None else trace.op("add", total, term)
    assert total is not None
    return total


def _symbol(name: str) -> Value:
    from sparsec.ir.types import tensor

    return Value(name.removeprefix("%"), tensor(I64))


def as_int(trace: Trace, dim: Dim) -> Any:
    """A dim as the user sees it: an int, or a traced Python int."""
    if not isinstance(dim, Poly):
        return int(dim)
    made = Traced.scalar(trace, value_of(trace, dim), int)
    made.dim = dim
    return made


def symbol_of(value: Value, low: int, high: Dim | None) -> Dim:
    """The symbol for an i64 value with these bounds."""
    most = None if high is None else upper_bound(high)
    return sym(f"%{value.name}", -1 if most is None else most, low)


def check_not_empty(trace: Trace, dims: Sequence[Dim], message: str) -> None:
    """A ValueError, when the program runs, if one of these lengths is 0 then."""
    for dim in dims:
        if not at_least(dim, 1):
            some = trace.op("greater", value_of(trace, dim), trace.const(0, I64))
            trace.ops("check", some, kind="value", message=message)


def length_dim(x: Any) -> Dim:
    """A length that a program gives, as for `np.zeros(n)`; one known only at run time is checked then."""
    if not isinstance(x, Traced) or x.dtype.kind not in "iu" or x.ndim or concrete_value(x) is not None:
        return operator.index(x)
    if x.dim is not None and at_least(x.dim, 0):
        return x.dim
    trace = x.trace
    value = cast(trace, x.as_scalar().value, I64)
    fine = trace.op("greater_equal", value, trace.const(0, I64))
    trace.ops("check", fine, kind="value", message="negative dimensions are not allowed")
    return symbol_of(trace.op("maximum", value, trace.const(0, I64)), 0, x.dim)


def index_dim(trace: Trace, index: Traced, dim: Dim, axis: int) -> Dim:
    """A traced index as a dim in 0..dim-1; what cannot be proved is checked when the program runs."""
    known = index.dim
    if known is not None:
        if at_least(known, 0) and at_least(dim - known, 1):
            return known
        if at_least(-1 - known, 0) and at_least(known + dim, 0):
            return known + dim
    value = cast(trace, index.value, I64)
    return symbol_of(checked(trace, value, dim, axis), 0, dim - 1)


def checked(trace: Trace, value: Value, dim: Dim, axis: int) -> Value:
    """An i64 index (any shape) that is in range, with negative ones wrapped; fails at run time if it is not."""
    size = value_of(trace, dim)
    low = trace.op("greater_equal", value, trace.op("neg", size))
    high = trace.op("less", value, size)
    trace.ops(
        "check",
        trace.op("logical_and", low, high),
        kind="index",
        message=f"index out of bounds for axis {axis} with size {dim}",
    )
    negative = trace.op("less", value, trace.const(0, I64))
    return trace.op("where", negative, trace.op("add", value, size), value)


def slice_dims(trace: Trace, part: slice, dim: Dim) -> tuple[Dim, Dim, int]:
    """(first index, count, step) of a slice whose bounds or axis are traced; Python's clamping."""
    step = 1 if part.step is None else part.step
    if isinstance(step, Traced):
        step = step.__index__()
    if step == 0:
        raise ShapeError("slice step cannot be zero", loc=user_loc())
    # The same bounds are the same dims: `x[a:b] += 1` reads and writes one region.
    key = (_identity(part.start), _identity(part.stop), int(step), dim)
    found = trace.slices.get(key)
    if found is None or not all(map(trace.visible, map(_symbol, _names(*found)))):
        found = trace.slices[key] = _slice_dims(trace, part, int(step), dim)
    return found


def _identity(bound: Any) -> Any:
    """Equal for bounds that are surely equal."""
    if not isinstance(bound, Traced):
        return bound
    return bound.value.name if bound.is_scalar else object()


def _names(*dims: Dim) -> Iterator[str]:
    return (symbol.name for dim in dims for symbol in symbols(dim))


def _slice_dims(trace: Trace, part: slice, step: int, dim: Dim) -> tuple[Dim, Dim, int]:
    least: Dim = 0 if step > 0 else -1
    most: Dim = dim if step > 0 else dim - 1
    first = _bound(trace, part.start, dim, least, most, least if step > 0 else most)
    last = _bound(trace, part.stop, dim, least, most, most if step > 0 else least)
    if first == (most if step > 0 else least):
        return 0, 0, 1  # from behind the last element, or backwards from before the first: nothing
    distance = last - first if step > 0 else first - last
    return first, _count(trace, distance, abs(step), dim), step


def _bound(trace: Trace, bound: Any, dim: Dim, least: Dim, most: Dim, default: Dim) -> Dim:
    """A slice bound in least..most."""
    if bound is None:
        return default
    if not isinstance(bound, Traced) and not isinstance(dim, Poly):
        wrapped = int(bound) + dim if bound < 0 else int(bound)
        return max(least, min(wrapped, most))  # type: ignore[type-var]
    known = bound.dim if isinstance(bound, Traced) else int(bound)
    if known is not None:
        if at_least(known, 0) and at_least(most - known, 0):
            return known
        if at_least(-1 - known, 0) and at_least(known + dim - least, 0):
            return known + dim
    if isinstance(bound, Traced) and bound.dtype.kind not in "iu":
        raise DTypeError("slice indices must be integers or None or have an __index__ method", loc=user_loc())
    value = cast(trace, as_traced(bound).as_scalar().value, I64)
    negative = trace.op("less", value, trace.const(0, I64))
    value = trace.op("where", negative, trace.op("add", value, value_of(trace, dim)), value)
    value = trace.op("maximum", value, value_of(trace, least))
    value = trace.op("minimum", value, value_of(trace, most))
    # A symbol's lower bound is not negative: -1 (before the first element) is one less than a symbol.
    if least == -1:
        shifted = trace.op("add", value, trace.const(1, I64))
        return symbol_of(shifted, 0, dim) - 1
    return symbol_of(value, 0, dim)


def _count(trace: Trace, distance: Dim, step: int, dim: Dim) -> Dim:
    """ceil(distance / step), at least 0."""
    if step == 1 and at_least(distance, 0):
        return distance
    if not isinstance(distance, Poly):
        return max(0, -(-distance // step))
    value = trace.op("maximum", value_of(trace, distance), trace.const(0, I64))
    if step != 1:
        value = trace.op("add", value, trace.const(step - 1, I64))
        value = trace.op("floor_div", value, trace.const(step, I64))
    if upper_bound(dim) is None:
        # No more than there are: true anyhow, but this says so where memory is planned.
        value = trace.op("minimum", value, value_of(trace, dim))
    return symbol_of(value, 0, dim)


def count_of(trace: Trace, distance: Traced, step: int) -> Traced:
    """ceil(distance / step), at least 0, as a traced Python int."""
    known = distance.dim
    if known is not None and step == 1 and at_least(known, 0):
        return distance
    value = trace.op("maximum", cast(trace, distance.value, I64), trace.const(0, I64))
    if step != 1:
        value = trace.op("add", value, trace.const(step - 1, I64))
        value = trace.op("floor_div", value, trace.const(step, I64))
    most = None if known is None else upper_bound(known)
    made = Traced.scalar(trace, value, int)
    made.dim = symbol_of(value, 0, None if most is None else max(0, -(-most // step)))
    return made


def extreme(trace: Trace, op: str, a: Any, b: Any) -> Any:
    """`min(a, b)` or `max(a, b)` (op "minimum", "maximum") of Python integers, with what is known of it."""
    if not isinstance(a, Traced) and not isinstance(b, Traced):
        return min(a, b) if op == "minimum" else max(a, b)
    dims = [x.dim if isinstance(x, Traced) else int(x) for x in (a, b)]
    if None not in dims:
        for one, other in ((0, 1), (1, 0)):
            if at_least(dims[other] - dims[one], 0):  # type: ignore[operator]
                return (a, b)[one if op == "minimum" else other]
    values = [cast(trace, as_traced(x).as_scalar().value, I64) for x in (a, b)]
    made = Traced.scalar(trace, trace.op(op, *values), int)
    lows = [None if d is None else lower_bound(d) for d in dims]
    highs = [None if d is None else upper_bound(d) for d in dims]
    low, high = (_tighter(ends, op) for ends in (lows, highs))
    if low is not None and low >= 0:
        made.dim = symbol_of(made.value, low, high)
    return made


def _tighter(ends: Sequence[int | None], op: str) -> int | None:
    """The bound of an extreme from the bounds of both: one is enough on the side that it limits."""
    known = [e for e in ends if e is not None]
    if len(known) < 2:
        return None
    return min(known) if op == "minimum" else max(known)


def true_positions(trace: Trace, mask: Value) -> tuple[Value, ...]:
    """i64 positions of the true elements of a mask, one value per axis; their length is a symbol."""
    found = trace.positions.get(mask.name)
    if found is None or not trace.visible(found[0]):
        numbers = trace.op("cast", mask, dtype=I64)
        total = trace.op("sum", numbers, axes=tuple(range(mask.type.rank)))
        found = trace.ops("nonzero", mask, count=symbol_of(total, 0, mask.type.size))
        trace.positions[mask.name] = found
    return found


def same_dim(trace: Trace, a: Dim, b: Dim, what: str, kind: str = "value") -> Dim:
    """The dim that two axes share: equal by form, or checked to be when the program runs."""
    if a == b:
        return a
    if not isinstance(a, Poly) and not isinstance(b, Poly):
        raise ShapeError(what, loc=user_loc())
    trace.ops("check", trace.op("equal", value_of(trace, a), value_of(trace, b)), kind=kind, message=what)
    return a if not isinstance(a, Poly) else b


def broadcast_shapes(*shapes: Sequence[Dim]) -> tuple[Dim, ...]:
    """NumPy's broadcast of shapes with symbolic dims. A run-time length of 1 is not stretched: it is an error.

    Raises ShapeError (or makes the program raise it) where the shapes do not fit.
    """
    rank = max(map(len, shapes), default=0)
    out: list[Dim] = []
    for axis in range(-rank, 0):
        found: Dim = 1
        for shape in shapes:
            dim = shape[axis] if -axis <= len(shape) else 1
            if dim == 1 or dim == found:
                continue
            if found == 1:
                found = dim
            else:
                words = " ".join(map(shape_text, shapes))
                found = same_dim(
                    require_trace("broadcasting"),
                    found,
                    dim,
                    f"operands could not be broadcast together with shapes {words}",
                )
        out.append(found)
    return tuple(out)
