"""Variables where control flow joins: what a branch or a loop turn may change, and into what.

A variable that holds a number or a scalar becomes an SSA value of one dtype; where it is of several, a Python
number on one path and a NumPy scalar on another, it has a value for each, and a number that says which it is
(`mixed.py`). One that holds an array stays that array where it is the same on all paths; a different array on each
path becomes a new array, if nothing else can see the old ones change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.control.refuse import CannotStage
from sparsec.frontend.convert import PYTHON_NUMBERS, as_traced, cast, number, python_dtype, weak_cast
from sparsec.frontend.layout import in_c_order, order_of_long_axes, stand_in
from sparsec.frontend.mixed import Mixed, converted, dtype_of, weak_of, words_of
from sparsec.frontend.symbolic import symbol_of, value_of
from sparsec.frontend.trace import Trace
from sparsec.frontend.ufuncs import fresh_array
from sparsec.frontend.undefined import Undefined
from sparsec.ir.dims import Dim, Poly, shape_text, symbols, upper_bound
from sparsec.ir.graph import Value
from sparsec.ir.types import BOOL, I64, DType, TensorType


@dataclass(frozen=True)
class Flex:
    """A length that differs from turn to turn or path to path, at most `upper`."""

    upper: int

    def __str__(self) -> str:
        return f"<={self.upper}"


@dataclass(frozen=True)
class Kind:
    """What a joined variable holds. shape None: a scalar; weak: a Python number.

    An array with `Flex` lengths travels as an array of the largest shape, with its true lengths beside it.
    layout: the axes of an array in memory order, in which it travels, where that is not C order.
    """

    dtype: DType
    weak: type | None = None
    shape: tuple[Any, ...] | None = None
    layout: tuple[int, ...] | None = None

    @property
    def flexible(self) -> tuple[int, ...]:
        """The axes whose length varies."""
        return tuple(k for k, d in enumerate(self.shape or ()) if isinstance(d, Flex))

    @property
    def capacity(self) -> tuple[Any, ...]:
        """The shape with the largest lengths."""
        return tuple(d.upper if isinstance(d, Flex) else d for d in self.shape or ())

    @property
    def types(self) -> tuple[TensorType, ...]:
        """The types of the values that stand for the variable."""
        shape = self.capacity if self.layout is None else tuple(self.capacity[k] for k in self.layout)
        return (TensorType(self.dtype, shape), *[TensorType(I64)] * len(self.flexible))


@dataclass(frozen=True)
class Fixed(Kind):
    """A Python number that is the same wherever the variable has one: no value stands for it."""

    text: str = ""
    number: Any = field(default=None, compare=False)

    @property
    def types(self) -> tuple[TensorType, ...]:
        return ()


@dataclass(frozen=True)
class Mix(Kind):
    """A scalar of several kinds: which of them (an i64), and a value for each."""

    parts: tuple[Kind, ...] = ()

    @property
    def types(self) -> tuple[TensorType, ...]:
        return (TensorType(I64), *(t for p in self.parts for t in p.types))

    def place(self, x: Any) -> int:
        """The position of the part for a scalar of one kind."""
        return [(p.dtype, p.weak) for p in self.parts].index((dtype_of(x), weak_of(x)))


#: The most kinds that a scalar may have.
_MOST_KINDS = 4


def is_scalar(x: Any) -> bool:
    """A Python number, a NumPy scalar, or a traced one of either."""
    return type(x) in PYTHON_NUMBERS or isinstance(x, np.generic) or (isinstance(x, Traced) and x.is_scalar)


def is_array(x: Any) -> bool:
    """A traced array: something with a storage."""
    return isinstance(x, Traced) and not x.is_scalar


def kind_of(x: Any) -> Kind:
    """The kind of a scalar or a traced array."""
    if type(x) in PYTHON_NUMBERS:
        return Fixed(python_dtype(x), type(x), text=repr(x), number=x)
    if isinstance(x, Mixed):
        return Mix(I64, parts=tuple(map(kind_of, x.parts)))
    if is_scalar(x):
        return Kind(dtype_of(x), weak_of(x))
    assert isinstance(x, Traced)
    ordered = all(isinstance(d, int) for d in x.type.shape) and not in_c_order(x)
    return Kind(x.dtype, None, x.type.shape, order_of_long_axes(stand_in(x)) if ordered else None)


def varying(kind: Kind) -> Kind:
    """The kind of a scalar whose value, if it is a Python number, may change."""
    return Kind(kind.dtype, kind.weak) if isinstance(kind, Fixed) else kind


def join(name: str, a: Kind, b: Kind) -> Kind:
    """The kind of a variable that is `a` on one path and `b` on another. Raises CannotStage."""
    if a == b:
        return a
    if a.shape is None and b.shape is None:
        return _mix(name, a, b)
    if a.shape is not None and b.shape is not None and a.dtype == b.dtype and len(a.shape) == len(b.shape):
        dims = tuple(_join_dims(name, a, b, k) for k in range(len(a.shape)))
        return Kind(a.dtype, None, dims, a.layout if a.layout == b.layout and a.shape == b.shape else None)
    raise _differ(name, a, b)


def _mix(name: str, a: Kind, b: Kind) -> Kind:
    """One kind for scalars of both."""
    parts: dict[Any, Kind] = {}
    for kind in (*_parts(a), *_parts(b)):
        known = parts.setdefault((kind.dtype, kind.weak), kind)
        if known != kind:
            parts[kind.dtype, kind.weak] = varying(kind)
    if len(parts) > _MOST_KINDS:
        raise _differ(name, a, b)
    return next(iter(parts.values())) if len(parts) == 1 else Mix(I64, parts=tuple(parts.values()))


def _parts(kind: Kind) -> tuple[Kind, ...]:
    return kind.parts if isinstance(kind, Mix) else (kind,)


def _join_dims(name: str, a: Kind, b: Kind, axis: int) -> Any:
    """One length for both: itself, or any up to the larger bound."""
    assert a.shape is not None and b.shape is not None
    one, two = a.shape[axis], b.shape[axis]
    if one == two:
        return one
    limits = [d.upper if isinstance(d, Flex) else upper_bound(d) for d in (one, two)]
    if None in limits:
        raise _differ(name, a, b)
    return Flex(max(x for x in limits if x is not None))


def flexed(trace: Trace, kind: Kind) -> Kind:
    """The kind with lengths that are known only inside a region as flexible ones. Raises CannotStage without a
    bound."""
    if kind.shape is None:
        return kind
    return replace(kind, shape=tuple(_flex(trace, kind, d) for d in kind.shape))


def _flex(trace: Trace, kind: Kind, dim: Any) -> Any:
    if not isinstance(dim, Poly) or all(trace.visible(Value(s.name[1:], TensorType(I64))) for s in symbols(dim)):
        return dim
    most = upper_bound(dim)
    if most is None:
        raise CannotStage(f"it makes {_words(kind)}, which has no largest size")
    return Flex(most)


def _differ(name: str, a: Kind, b: Kind) -> CannotStage:
    return CannotStage(f"`{name}` is {_words(a)} on one path and {_words(b)} on another")


def _words(kind: Kind) -> str:
    if isinstance(kind, Mix):
        return " or ".join(map(_words, kind.parts))
    what = words_of(kind.dtype, kind.weak)
    if kind.shape is None:
        return what
    return f"{what} array of shape {shape_text(kind.shape)}"


def same(a: Any, b: Any) -> bool:
    """Whether a variable is unchanged: the same object, the same view, or an equal Python value."""
    if a is b:
        return True
    if isinstance(a, Traced) and isinstance(b, Traced):
        return not a.is_scalar and a.storage is b.storage and a.steps == b.steps
    if isinstance(a, Traced) or isinstance(b, Traced) or type(a) is not type(b):
        return False
    if isinstance(a, Undefined):
        return True
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    try:
        return bool(a == b) and repr(a) == repr(b)
    except Exception:  # noqa: BLE001  an object of the user's whose comparison fails is not the same
        return False


def value_as(trace: Trace, x: Any, kind: Kind) -> Value:
    """The value of a scalar of one kind. The program stops there if a Python int does not fit."""
    if type(x) in PYTHON_NUMBERS:
        if not fits(x, kind):
            trace.check(trace.const(False, BOOL), "overflow", f"Python integer {x} out of bounds for {kind.dtype}")
            x = 0
        return number(trace, x, kind.dtype)
    x = as_traced(x)
    return weak_cast(trace, x, kind.dtype) if x.weak is int else cast(trace, x.read(), kind.dtype)


def fits(x: Any, kind: Kind) -> bool:
    """Whether a kind can hold a Python number."""
    if type(x) is not int or kind.dtype.kind not in "iu" or isinstance(kind, (Fixed, Mix)):
        return True
    bounds = np.iinfo(kind.dtype)
    return bool(bounds.min <= x <= bounds.max)


def _mixed_values(trace: Trace, x: Any, kind: Mix) -> list[Value]:
    """Which kind a scalar has, and a value for each; where it is the only known number, all have that."""
    fixed = [k for k, p in enumerate(kind.parts) if isinstance(p, Fixed)]
    only = fixed[0] if len(fixed) == 1 else -1
    parts = x.parts if isinstance(x, Mixed) else (x,)
    places = [kind.place(p) for p in parts]
    which = [trace.const(k, I64) for k in places]
    if isinstance(x, Mixed):
        which = [x.which if places == list(range(len(places))) else x.chosen(which)]
    out = [*which]
    for k, part in enumerate(kind.parts):
        if isinstance(part, Fixed):
            continue
        if k not in places:
            out.append(_filler(trace, kind.parts[only], part.dtype))
            continue
        *others, last = (j for j, place in enumerate(places) if place == k)
        value = value_as(trace, parts[last], part)
        for j in others:
            value = trace.op("where", x.is_part(j).value, value_as(trace, parts[j], part), value)
        if isinstance(x, Mixed) and only in places and x.known != (places.index(only),):
            filler = _filler(trace, kind.parts[only], part.dtype)
            value = trace.op("where", x.is_part(places.index(only)).value, filler, value)
        out.append(value)
    return out


def _filler(trace: Trace, only: Kind, dtype: DType) -> Value:
    """What the other parts hold while a scalar is the only known number, or anything."""
    held = converted(only.number, dtype) if isinstance(only, Fixed) else None
    return trace.const(0 if held is None else held.item(), dtype)


def values_as(trace: Trace, x: Any, kind: Kind) -> list[Value]:
    """The values that stand for a variable in a region: its own, and its lengths where they vary."""
    if isinstance(kind, Fixed):
        return []
    if isinstance(kind, Mix):
        return _mixed_values(trace, x, kind)
    if kind.shape is None:
        return [value_as(trace, x, kind)]
    array = as_traced(x)
    value = array.read()
    lengths = [value_of(trace, array.type.shape[k]) for k in kind.flexible]
    if kind.layout is not None:
        return [trace.op("copy", trace.op("transpose", value, perm=kind.layout))]
    if tuple(array.type.shape) == kind.capacity:
        return [trace.op("copy", value), *lengths]
    room = trace.op("empty", dtype=kind.dtype, shape=kind.capacity)
    rank = len(kind.shape)
    region = trace.op("slice", room, start=(0,) * rank, size=array.type.shape, step=(1,) * rank)
    return [trace.op("update", room, region, value), *lengths]


def variable(
    trace: Trace, values: Iterator[Value], kind: Kind, lengths: dict[int, Dim] | None = None
) -> Any:
    """The traced object for a joined variable. lengths: known names for lengths that vary, by axis."""
    if isinstance(kind, Fixed):
        return kind.number
    value = next(values)
    if isinstance(kind, Mix):
        return Mixed(trace, value, [variable(trace, values, p) for p in kind.parts], faithful=True)
    if kind.shape is None:
        return Traced.scalar(trace, value, kind.weak)
    array = fresh_array(trace, value, kind.layout)
    if not kind.flexible:
        return array
    size = list(kind.capacity)
    for axis in kind.flexible:
        length = symbol_of(next(values), 0, kind.capacity[axis])
        size[axis] = (lengths or {}).get(axis, length)
        if lengths is not None:
            lengths.setdefault(axis, length)
    rank = len(size)
    return array.view("slice", start=(0,) * rank, size=tuple(size), step=(1,) * rank)


def zeros_of(trace: Trace, kind: Kind) -> list[Value]:
    """Placeholders that are never read."""
    if kind.shape is None:
        return [trace.const(0, type.dtype) for type in kind.types]
    zero = trace.const(0, kind.dtype)
    lengths = [trace.const(0, I64) for _ in kind.flexible]
    if not kind.capacity:
        return [trace.op("copy", zero)]
    return [trace.op("copy", trace.op("broadcast", zero, shape=kind.types[0].shape)), *lengths]
