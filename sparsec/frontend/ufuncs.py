"""Calls of NumPy ufuncs on traced arrays: dtype resolution, broadcasting, `out=` and `where=`.

NumPy itself decides dtypes (`ufunc.resolve_dtypes`) and the memory order of new arrays (`np.nditer`). What computes
the elements is in `ufunc_rules.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsec.errors import DTypeError, ShapeError, UnsupportedDtype, UnsupportedError, wrap
from sparsec.frontend.array import Traced
from sparsec.frontend.convert import PYTHON_NUMBERS, as_traced, broadcast, cast, np_dtype, number, weak_cast
from sparsec.frontend.layout import MAX_RANK, order_like
from sparsec.frontend.locate import user_loc
from sparsec.frontend.mixed import (
    Mixed,
    Typing,
    any_mixed,
    decide,
    each,
    is_number,
    replaced,
    settle_operands,
)
from sparsec.frontend.symbolic import broadcast_shapes
from sparsec.frontend.trace import Trace, require_trace
from sparsec.frontend.ufunc_rules import COMPARISONS, compute
from sparsec.ir.dims import Poly, shape_text
from sparsec.ir.graph import Value
from sparsec.ir.types import BOOL, I64, DType


def call_ufunc(ufunc: np.ufunc, method: str, inputs: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """`__array_ufunc__` for traced operands."""
    if method == "__call__":
        if ufunc.signature is not None:
            from sparsec.frontend.dispatch import call_numpy

            return call_numpy(ufunc, tuple(inputs), kwargs)
        return apply_ufunc(ufunc, inputs, **kwargs)
    from sparsec.frontend.ufunc_methods import METHODS

    try:
        rule = METHODS[method]
    except KeyError:
        raise UnsupportedError(f"np.{ufunc.__name__}.{method} is not supported", loc=user_loc()) from None
    return rule(ufunc, *inputs, **kwargs)


def apply_ufunc(
    ufunc: np.ufunc,
    inputs: Sequence[Any],
    *,
    out: Any = None,
    where: Any = True,
    dtype: Any = None,
    casting: str = "same_kind",
    order: str = "K",
    subok: bool = True,
    sig: Any = None,
    signature: Any = None,
) -> Any:
    """A call of an elementwise ufunc, with NumPy's promotion, broadcasting, `out` and `where`."""
    if sig is not None or signature is not None:
        raise UnsupportedError(
            "the signature= argument of ufuncs is not supported", loc=user_loc(), hint="use dtype="
        )
    operands, out = _operands_and_out(ufunc, inputs, out)
    as_array = out is Ellipsis or (isinstance(out, tuple) and out[0] is Ellipsis)  # never a scalar
    outs = _outs(ufunc, None if as_array else out)
    if (mixed := any_mixed((*operands, where))) is not None:
        options = {"where": where, "dtype": dtype, "casting": casting, "order": order}
        return _on_mixed(ufunc, operands, out, outs, options, mixed)
    operands = [x if type(x) in PYTHON_NUMBERS else as_traced(x) for x in operands]
    trace = require_trace(f"np.{ufunc.__name__}")
    dtypes = resolve(ufunc, operands, outs, dtype, casting)
    constant = _out_of_range_comparison(ufunc, operands)
    dtypes = _wide_comparison(ufunc, operands, dtypes)
    shape = _shape(operands, outs, where)
    alone = all(o is None for o in outs)
    inner = shape if alone or where is not True else _named(_shape(operands, [], True), outs)
    loop = _Loop(trace, inner, order_like([x for x in operands if isinstance(x, Traced)], inner, order), where)
    if constant is None:
        results = compute(trace, ufunc, loop.operands(ufunc, operands, dtypes), dtypes[ufunc.nin :])
    else:
        results = [trace.const(constant, BOOL)]
    if shape == () and alone and where is True and not as_array:
        finished = [Traced.scalar(trace, value) for value in results]
    else:
        made = zip(results, outs, dtypes[ufunc.nin :], strict=True)
        finished = [loop.result(value, o, dtype, casting) for value, o, dtype in made]
    return finished[0] if len(finished) == 1 else tuple(finished)


def _on_mixed(
    ufunc: np.ufunc, operands: Sequence[Any], out: Any, outs: Sequence[Traced | None], options: dict[str, Any],
    mixed: Mixed,
) -> Any:
    """A call with scalars that are Python's or NumPy's, as the run decides."""
    one = settle_operands(operands, lambda x: typing_of(ufunc, x, outs, options["dtype"], options["casting"]))
    if one is not None and not isinstance(options["where"], Mixed):
        return apply_ufunc(ufunc, one, out=out, **options)

    def on(part: Any) -> Any:
        known, own = replaced(list(operands), mixed, part), replaced(options, mixed, part)
        return apply_ufunc(ufunc, known, out=out, **own)

    if out is None and all(map(is_number, operands)):
        return each(mixed, on)
    made = decide(mixed, on)
    return made if outs[0] is None else outs[0] if ufunc.nout == 1 else tuple(outs)


def typing_of(
    ufunc: np.ufunc, operands: Sequence[Any], outs: Sequence[Traced | None] = (), dtype: Any = None,
    casting: str = "same_kind",
) -> Typing | None:
    """No Python number results; the dtypes of the loop. None for a comparison that is no matter of dtypes."""
    known = [x if type(x) in PYTHON_NUMBERS else as_traced(x) for x in operands]
    if _out_of_range_comparison(ufunc, known) is not None:
        return None
    dtypes = resolve(ufunc, known, outs or [None] * ufunc.nout, dtype, casting)
    return None, tuple(_wide_comparison(ufunc, known, dtypes))


def _named(shape: tuple[Any, ...], outs: Sequence[Traced | None]) -> tuple[Any, ...]:
    """The shape in the words of a place for a result: lengths that a check found equal may have several names, and
    a place is written at the positions that are read only if it is seen to be."""
    for o in outs:
        if o is not None and len(o.shape) == len(shape) and all(
            a == b or (isinstance(a, Poly) and isinstance(b, Poly)) for a, b in zip(shape, o.shape, strict=True)
        ):
            return o.shape
    return shape


def _operands_and_out(ufunc: np.ufunc, inputs: Sequence[Any], out: Any) -> tuple[list[Any], Any]:
    """The positional arguments of a call, of which those behind the operands are `out`."""
    operands = list(inputs[: ufunc.nin])
    if len(operands) != ufunc.nin:
        raise DTypeError(
            f"{ufunc.__name__}() takes {ufunc.nin} positional arguments but {len(operands)} were given",
            loc=user_loc(),
        )
    return operands, tuple(inputs[ufunc.nin :]) or out


def _outs(ufunc: np.ufunc, out: Any) -> list[Traced | None]:
    outs = list(out) if isinstance(out, tuple) else [out]
    outs += [None] * (ufunc.nout - len(outs))
    found = [None if o is None else as_traced(o) for o in outs]
    for o in found:
        if o is not None and o.is_scalar:
            raise DTypeError("return arrays must be of ArrayType", loc=user_loc())
        if o is not None:
            o.trace.check_writable(o)
    return found


def resolve(
    ufunc: np.ufunc, operands: Sequence[Any], outs: Sequence[Traced | None], dtype: Any, casting: str
) -> list[DType]:
    """The dtypes of the loop that NumPy would run, inputs then outputs. Raises what NumPy raises."""
    spec: list[Any] = []
    for x in operands:
        weak = type(x) if type(x) in PYTHON_NUMBERS else x.weak
        spec.append(x.dtype if weak is None else np.dtype(bool) if weak is bool else weak)
    # (`dtype == float` is true of float64 dtypes: only `isinstance` tells the weak classes.)
    if all(isinstance(s, type) for s in spec):
        spec = [np.dtype({int: "i8", float: "f8", complex: "c16"}[s]) for s in spec]
    options: dict[str, Any] = {"casting": casting}
    if dtype is not None:
        options["signature"] = (None,) * ufunc.nin + (np_dtype(dtype),) * ufunc.nout
    try:
        found = ufunc.resolve_dtypes((*spec, *(None if o is None else o.dtype for o in outs)), **options)
    except (TypeError, ValueError) as error:
        raise wrap(error, user_loc()) or error from None
    for d in found:
        if d.kind in "gGmMOSUV" or d.char in "gG":
            raise UnsupportedDtype(f"np.{ufunc.__name__} would compute in {d}", loc=user_loc())
    return list(found)


def _out_of_range_comparison(ufunc: np.ufunc, operands: Sequence[Any]) -> bool | None:
    """NumPy compares an integer array exactly with a Python int outside its range: one answer for all."""
    if ufunc.__name__ not in COMPARISONS:
        return None
    for k, x in enumerate(operands):
        other = operands[1 - k]
        if type(x) is int and isinstance(other, Traced) and other.dtype.kind in "iu" and not other.weak:
            info = np.iinfo(other.dtype)
            if not info.min <= x <= info.max:
                sample = np.zeros((), other.dtype)
                return bool(ufunc(x, sample) if k == 0 else ufunc(sample, x))
    return None


def _wide_comparison(ufunc: np.ufunc, operands: Sequence[Any], dtypes: list[DType]) -> list[DType]:
    """The same for a Python int that only the run knows: both are compared as they are, in 64 bits."""
    if ufunc.__name__ not in COMPARISONS:
        return dtypes
    traced = [x for x in operands if isinstance(x, Traced)]
    strong = [x.dtype for x in traced if x.weak is None]
    if len(traced) < 2 or len(strong) != 1 or strong[0].kind not in "iu" or not any(x.weak is int for x in traced):
        return dtypes
    wide = [x.dtype if x.weak is None and x.dtype == np.uint64 else I64 for x in traced]
    return [*wide, *dtypes[2:]]


def _shape(operands: Sequence[Any], outs: Sequence[Traced | None], where: Any) -> tuple[Any, ...]:
    shapes = [x.shape for x in operands if isinstance(x, Traced)]
    if where is not True:
        shapes.append(as_traced(where).shape)
    shape = broadcast_shapes(*shapes)
    for o in outs:
        if o is not None and broadcast_shapes(shape, o.shape) != o.shape:
            raise ShapeError(
                f"non-broadcastable output operand with shape {shape_text(o.shape)} doesn't match the "
                f"broadcast shape {shape_text(shape)}",
                loc=user_loc(),
            )
    if len(shape) > MAX_RANK:
        raise ShapeError(
            f"arrays of rank {len(shape)} are not supported (at most {MAX_RANK})", loc=user_loc()
        )
    return shape


# --- the loop --------------------------------------------------------------------------------------------

#: Ufuncs that warn or raise for some second operands, but not where a mask leaves them out.
_COMPLAINS_OF_SECOND = {"floor_divide", "remainder", "fmod", "divmod", "power"}


@dataclass(frozen=True, slots=True)
class _Loop:
    """What a call goes over: all of `shape` where `where` holds; axes lie in memory as `layout` lists them (None: in
    C's order)."""

    trace: Trace
    shape: tuple[int, ...]
    layout: tuple[int, ...] | None
    where: Any

    def operands(self, ufunc: np.ufunc, given: Sequence[Any], dtypes: Sequence[DType]) -> list[Value]:
        """The inputs as values of the loop's dtypes."""
        values = [self._operand(x, dtype) for x, dtype in zip(given, dtypes, strict=False)]
        if self.where is not True and ufunc.__name__ in _COMPLAINS_OF_SECOND:
            mask, one = self._operand(as_traced(self.where), BOOL), self.trace.const(1, values[1].type.dtype)
            values[1] = self.trace.op("where", mask, values[1], one)
        return values

    def _operand(self, x: Any, dtype: DType) -> Value:
        trace = self.trace
        if type(x) in PYTHON_NUMBERS:
            return number(trace, x, dtype)
        value = x.read()
        if value.type.shape == ():
            return weak_cast(trace, x, dtype) if x.weak is int else cast(trace, value, dtype)
        if self.layout is not None:
            value = trace.op("transpose", broadcast(trace, value, self.shape), perm=self.layout)
            return cast(trace, value, dtype)
        return broadcast(trace, cast(trace, value, dtype), self.shape)

    def result(self, value: Value, out: Traced | None, dtype: DType, casting: str) -> Traced:
        """A result as a new array, or written into `out`."""
        if out is None and self.where is True:
            return self._new(value)
        if self.layout is not None and value.type.shape != ():
            value = self.trace.op("transpose", value, perm=inverse(self.layout))
        if out is None:
            out = Traced.fresh(self.trace, self.trace.op("empty", dtype=dtype, shape=self.shape))
        if not np.can_cast(value.type.dtype, out.dtype, casting):  # type: ignore[arg-type]
            raise DTypeError(
                f"cannot cast ufunc output from {value.type.dtype} to {out.dtype} with casting rule '{casting}'",
                loc=user_loc(),
            )
        store(self.trace, out, value, self.where)
        return out

    def _new(self, value: Value) -> Traced:
        if value.type.shape == () and self.shape != ():  # of operands without axes: every element is this one
            shape = self.shape if self.layout is None else tuple(self.shape[p] for p in self.layout)
            value = self.trace.op("copy", self.trace.op("broadcast", value, shape=shape))
        return fresh_array(self.trace, value, self.layout)


# --- arrays ----------------------------------------------------------------------------------------------


def inverse(perm: Sequence[int]) -> tuple[int, ...]:
    """The permutation that undoes `perm`."""
    return tuple(int(k) for k in np.argsort(perm))


def fresh_array(trace: Trace, value: Value, layout: tuple[int, ...] | None) -> Traced:
    """A new array; with a layout, its storage is in that axis order and the array is the transposed view. NumPy
    knows no order of a new array without elements."""
    if layout is not None and 0 in value.type.shape:
        shape = tuple(value.type.shape[k] for k in inverse(layout))
        return Traced.fresh(trace, trace.op("empty", dtype=value.type.dtype, shape=shape))
    if value.type.ref is not None:
        value = trace.op("copy", value)  # a fresh array never shares a storage with a view
    array = Traced.fresh(trace, value)
    return array if layout is None else array.view("transpose", perm=inverse(layout))


def store(trace: Trace, target: Traced, value: Value, where: Any = True) -> None:
    """Writes `value` (any dtype, broadcastable) into an array, only where the mask is true."""
    trace.check_writable(target)
    value = broadcast(trace, cast(trace, value, target.dtype), target.shape)
    if where is not True:
        chosen = where if isinstance(where, Value) else as_traced(where).read()
        mask = broadcast(trace, cast(trace, chosen, BOOL), target.shape)
        value = trace.op("where", mask, value, target.read())
    trace.write(target, value)


def power_operator(x: Traced, y: Any) -> Any:
    """`x ** y`: for exponents that are Python or NumPy scalars NumPy replaces the power by a cheaper ufunc."""
    from sparsec.frontend.python_numbers import operate

    exponent = y if type(y) in (int, float) else None
    if not x.is_scalar and exponent is not None and x.dtype.kind in "fc":
        fast = {-1: np.reciprocal, 0.5: np.sqrt, 1: np.positive, 2: np.square}.get(exponent)
        if fast is not None:
            return apply_ufunc(fast, (x,))
    if not x.is_scalar and exponent == 2 and type(y) is int and x.dtype.kind in "biu":
        return apply_ufunc(np.square, (x,))
    return operate(np.power, x, y)
