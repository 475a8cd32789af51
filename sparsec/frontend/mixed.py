"""Scalars of which the run decides what they are: a Python number on one path, a NumPy scalar on another.

    s = 0
    for k in range(n):
        o[k] = s - 1         # -1 in the first turn, by Python's rules; uint8's 255 for a later 0
        s = s + a[k]         # a uint8 from now on

Where all that it may be gives one result dtype, it is settled: one value of the dtype in which the operation
works. Else the operation is done with each, and its result may be mixed again. What no rule here knows asks for
the type, and is told that there is none: an error, never a guess.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np

from sparsec.errors import ConcretizationError, SparsecError
from sparsec.frontend.array import Traced
from sparsec.frontend.convert import PYTHON_NUMBERS, as_traced, cast, number, python_dtype, weak_cast
from sparsec.frontend.locate import user_loc
from sparsec.frontend.trace import Trace
from sparsec.ir.graph import Value
from sparsec.ir.ops.record import Kind as OpKind
from sparsec.ir.ops.record import record
from sparsec.ir.types import BOOL, I64, DType

#: The most results of one operation that are compared before it is done with each part.
_MOST = 16


class Mixed(Traced):
    """One of `parts` (Python numbers that are known, or traced scalars): the one at position `which`, an i64.

    faithful: while it is the only known number among the parts, the others hold that number too, converted.
    """

    __slots__ = ("which", "parts", "faithful")

    def __init__(self, trace: Trace, which: Value, parts: Sequence[Any], faithful: bool = False) -> None:
        self.trace, self.storage, self.steps, self.readonly, self.dim = trace, None, (), "", None
        self.which, self.parts, self.faithful = which, tuple(parts), faithful

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name in ("type", "value", "weak"):  # never set: what asks for them does not know mixed scalars
            raise ConcretizationError(
                f"a scalar is {self.words()}, as run-time values decide, and this has to know which",
                loc=user_loc(), hint="give it one type from the beginning (`s = np.uint8(0)`, not `s = 0`)",
            )
        return super().__getattr__(name)

    def __repr__(self) -> str:
        return f"Traced<{self.words()}>"

    @property
    def known(self) -> tuple[int, ...]:
        """The position of the only known number, if the other parts hold it too while it is that; else nothing."""
        known = tuple(k for k, p in enumerate(self.parts) if type(p) in PYTHON_NUMBERS)
        return known if self.faithful and len(known) == 1 else ()

    def words(self) -> str:
        """What it may be, in words."""
        return " or ".join(words_of(dtype_of(p), weak_of(p)) for p in self.parts)

    def item(self, *args: Any) -> Any:
        return each(self, lambda p: p if type(p) in PYTHON_NUMBERS else p.item(*args))

    def is_part(self, k: int) -> Traced:
        """Whether it is part `k`, as a traced bool."""
        return Traced.scalar(self.trace, self.trace.op("equal", self.which, self.trace.const(k, I64)), bool)

    def chosen(self, values: Sequence[Value]) -> Value:
        """The one of these values, one for each part, that belongs to the part that it is."""
        made = values[-1]
        for k in reversed(range(len(values) - 1)):
            if values[k] is not made:
                made = self.trace.op("where", self.is_part(k).value, values[k], made)
        return made


def words_of(dtype: DType, weak: type | None) -> str:
    """A kind of scalar in words."""
    return f"a Python {weak.__name__}" if weak else f"a NumPy {dtype}"


def dtype_of(part: Any) -> DType:
    """The dtype of a part; a Python number has the one that it takes alone."""
    return python_dtype(part) if type(part) in PYTHON_NUMBERS else np.dtype(part.dtype)


def weak_of(part: Any) -> type | None:
    """The class of a part that is a Python number."""
    return type(part) if type(part) in PYTHON_NUMBERS else getattr(part, "weak", None)


def converted(x: Any, dtype: DType) -> np.ndarray | None:
    """A Python number as an array of `dtype`; None where it does not fit."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return np.array(x, dtype) if type(x) is int and dtype.kind in "iu" else np.asarray(x).astype(dtype)
        except (OverflowError, TypeError, ValueError):
            return None


def any_mixed(values: Sequence[Any]) -> Mixed | None:
    """The first mixed scalar among values, containers and slices looked into."""
    for x in values:
        if isinstance(x, Mixed):
            return x
        if isinstance(x, slice):
            x = (x.start, x.stop, x.step)
        elif type(x) is dict:
            x = tuple(x.values())
        if type(x) in (tuple, list) and (found := any_mixed(x)) is not None:
            return found
    return None


def replaced(value: Any, mixed: Mixed, part: Any) -> Any:
    """A value with `part` in the place of a mixed scalar, in containers and slices too."""
    if value is mixed:
        return part
    if type(value) in (tuple, list):
        return type(value)(replaced(x, mixed, part) for x in value)
    if type(value) is dict:
        return {k: replaced(x, mixed, part) for k, x in value.items()}
    if isinstance(value, slice):
        return slice(*(replaced(x, mixed, part) for x in (value.start, value.stop, value.step)))
    return value


# --- one value ---------------------------------------------------------------------------------------------


def settled(mixed: Mixed, dtype: DType) -> Value | None:
    """Its value, converted to `dtype` as each part converts; None where a Python number does not fit."""
    trace, parts = mixed.trace, mixed.parts
    known = [k for k, p in enumerate(parts) if type(p) in PYTHON_NUMBERS]
    if any(not _fits(parts[k], dtype) for k in known):
        return None
    base = _holder(mixed, dtype)
    values = [_converted_part(mixed, k, dtype) for k in range(len(parts)) if base is None or k not in known]
    if base is None:
        return mixed.chosen(values)
    rest = [k for k in range(len(parts)) if k not in known]
    made = values[rest.index(base)]
    for k, value in zip(rest, values):
        if k != base:
            made = trace.op("where", mixed.is_part(k).value, value, made)
    return made


def truth_of(mixed: Mixed) -> Value:
    """Its truth: every number has one."""
    value = settled(mixed, BOOL)
    assert value is not None
    return value


def _fits(x: Any, dtype: DType) -> bool:
    held = converted(x, dtype)
    return held is not None and (type(x) is not int or dtype.kind not in "iu" or int(held) == x)


def _holder(mixed: Mixed, dtype: DType) -> int | None:
    """The part that holds the known number so well that `dtype` makes the same of it: no test is needed then."""
    known = mixed.known
    if not known:
        return None
    x = mixed.parts[known[0]]
    direct = converted(x, dtype)
    for k, part in enumerate(mixed.parts):
        if k != known[0] and _fits(x, dtype_of(part)):
            held = converted(x, dtype_of(part))
            again = None if held is None else converted(held[()], dtype)
            if direct is not None and again is not None and direct.tobytes() == again.tobytes():
                return k
    return None


def _converted_part(mixed: Mixed, k: int, dtype: DType) -> Value:
    trace, part = mixed.trace, mixed.parts[k]
    if type(part) in PYTHON_NUMBERS:
        return number(trace, part, dtype)
    part = as_traced(part)
    if part.weak is int and dtype.kind in "iu" and dtype != I64:
        # Only the part that it is has to fit.
        value = trace.op("where", mixed.is_part(k).value, part.value, trace.const(0, I64))
        return weak_cast(trace, Traced.scalar(trace, value, int), dtype)
    return cast(trace, part.value, dtype)


def as_python(mixed: Mixed, kind: type) -> Traced | None:
    """As a Python number of a class: what `int(x)`, an index or a bound makes of parts of that kind."""
    allowed = {int: "iu", float: "biuf", bool: "biufc", complex: "biufc"}[kind]
    dtype = python_dtype(kind(0))
    if any(dtype_of(p).kind not in allowed or (kind is int and dtype_of(p) == np.uint64) for p in mixed.parts):
        return None
    value = settled(mixed, dtype)
    return None if value is None else Traced.scalar(mixed.trace, value, kind)


def without_mixed_ints(value: Any) -> Any:
    """A value with Python ints in the place of mixed scalars that are integers in any case: as indexes, bounds and
    lengths are."""
    found = any_mixed((value,))
    while found is not None:
        whole = as_python(found, int)
        if whole is None:
            return value
        value = replaced(value, found, whole)
        found = any_mixed((value,))
    return value


# --- operations ------------------------------------------------------------------------------------------------

Typing = tuple[type | None, tuple[DType, ...]]


def settle_operands(
    operands: Sequence[Any], typing: Callable[[Sequence[Any]], Typing | None]
) -> tuple[Any, ...] | None:
    """Operands with one value in the place of each mixed one, if the operation gives one kind of result whatever
    they are. typing: the class of the result if that is a Python number, and the dtypes of the loop."""
    choices = [x.parts if isinstance(x, Mixed) else (x,) for x in operands]
    if np.prod([len(c) for c in choices]) > _MOST:
        return None
    try:
        first, *others = (typing(c) for c in product(*choices))
    except (SparsecError, TypeError, ValueError, OverflowError):
        return None
    if first is None or any(o != first for o in others):
        return None
    weak, dtypes = first
    out = []
    for x, dtype in zip(operands, dtypes):
        if isinstance(x, Mixed):
            value = settled(x, dtype)
            if value is None:
                return None
            python = {"b": bool, "i": int, "f": float, "c": complex}.get(dtype.kind) if weak is not None else None
            x = Traced.scalar(x.trace, value, python)
        out.append(x)
    return tuple(out)


def each(mixed: Mixed, f: Callable[[Any], Any]) -> Any:
    """What `f`, which only computes, makes of each part, as one value: of all parts where that can do no harm."""
    found = _of_all(mixed, f)
    return decide(mixed, f) if found is None else found


def decide(mixed: Mixed, f: Callable[[Any], Any], first: int = 0) -> Any:
    """What `f` does with the part that it is: the branches of an `if`."""
    from sparsec.frontend.control.expressions import choose

    if first == len(mixed.parts) - 1:
        return f(mixed.parts[first])
    return choose(mixed.is_part(first), lambda: f(mixed.parts[first]), lambda: decide(mixed, f, first + 1))


def _of_all(mixed: Mixed, f: Callable[[Any], Any]) -> Any:
    """None, and nothing done, where `f` may fail or gives no scalars."""
    trace = mixed.trace
    count = len(trace.builder.ops)
    try:
        made = [x if type(x) in PYTHON_NUMBERS or not is_number(x) else as_traced(x) for x in map(f, mixed.parts)]
    except Exception:  # noqa: BLE001  whatever it is: raised again if that part is met
        made = []
    harmless = all(record(op.name).kind is not OpKind.CHECK for op in trace.builder.ops[count:])
    if made and harmless and all(is_number(x) and not isinstance(x, Mixed) for x in made):
        return joined(mixed, made, _stays_faithful(mixed, f, made))
    trace.take_back(count)
    return None


def _stays_faithful(mixed: Mixed, f: Callable[[Any], Any], made: Sequence[Any]) -> bool:
    """Whether the other results hold the known number's result, as the other parts hold the known number."""
    known = mixed.known
    if not known or type(made[known[0]]) not in PYTHON_NUMBERS:
        return False
    trace, count = mixed.trace, len(mixed.trace.builder.ops)
    for k, part in enumerate(mixed.parts):
        if k == known[0]:
            continue
        held = converted(mixed.parts[known[0]], dtype_of(part))
        with np.errstate(all="ignore"):
            got = None if held is None or weak_of(part) else f(held[()])
        if not isinstance(got, np.generic) or got.dtype != dtype_of(made[k]):
            trace.take_back(count)
            return False
        want = converted(made[known[0]], got.dtype)
        if want is None or want.tobytes() != got.tobytes():
            return False
    return True


def is_number(x: Any) -> bool:
    """A Python number, a NumPy scalar, or a traced one."""
    return type(x) in PYTHON_NUMBERS or isinstance(x, np.generic) or (isinstance(x, Traced) and x.is_scalar)


def joined(mixed: Mixed, results: Sequence[Any], faithful: bool = False) -> Any:
    """Scalars, one for each part, as one: mixed again unless they are of one kind."""
    trace = mixed.trace
    kinds = list(dict.fromkeys((dtype_of(x), weak_of(x)) for x in results))
    places = [kinds.index((dtype_of(x), weak_of(x))) for x in results]
    parts = []
    for k, (dtype, weak) in enumerate(kinds):
        own = [j for j, place in enumerate(places) if place == k]
        first = results[own[0]]
        if type(first) in PYTHON_NUMBERS and all(repr(results[j]) == repr(first) for j in own):
            parts.append(first)
            continue
        values = {j: number(trace, x, dtype) if type(x := results[j]) in PYTHON_NUMBERS else x.value for j in own}
        filled = [values.get(j, values[own[0]]) for j in range(len(results))]
        parts.append(Traced.scalar(trace, mixed.chosen(filled), weak))
    if len(parts) == 1:
        return parts[0]
    same = places == list(range(len(results)))
    which = mixed.which if same else mixed.chosen([trace.const(p, I64) for p in places])
    return Mixed(trace, which, parts, faithful and same)


#: Python's operators on numbers that are known.
PYTHON: dict[np.ufunc, Callable[..., Any]] = {
    np.add: operator.add, np.subtract: operator.sub, np.multiply: operator.mul, np.true_divide: operator.truediv,
    np.floor_divide: operator.floordiv, np.remainder: operator.mod, np.divmod: divmod, np.power: operator.pow,
    np.negative: operator.neg, np.positive: operator.pos, np.absolute: abs, np.invert: operator.invert,
    np.left_shift: operator.lshift, np.right_shift: operator.rshift, np.bitwise_and: operator.and_,
    np.bitwise_or: operator.or_, np.bitwise_xor: operator.xor, np.equal: operator.eq, np.not_equal: operator.ne,
    np.less: operator.lt, np.less_equal: operator.le, np.greater: operator.gt, np.greater_equal: operator.ge,
}

