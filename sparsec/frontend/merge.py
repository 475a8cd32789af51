"""Variables where control flow joins: what a branch or a loop turn may change, and into what.

A variable that holds a number or a scalar becomes an SSA value of one dtype; a Python number that meets a
NumPy scalar takes its dtype. One that holds an array stays that array where it is the same on all paths; a
different array on each path becomes a new array, if nothing else can see the old ones change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.convert import PYTHON_NUMBERS, as_traced, cast, number, python_dtype, weak_cast
from sparsec.frontend.layout import in_c_order, order_of_long_axes, stand_in
from sparsec.frontend.symbolic import symbol_of, value_of
from sparsec.frontend.trace import Trace
from sparsec.frontend.ufuncs import fresh_array
from sparsec.frontend.undefined import Undefined
from sparsec.ir.dims import Dim, Poly, symbols, upper_bound
from sparsec.ir.graph import Value
from sparsec.ir.types import BOOL, I64, DType, TensorType


class CannotStage(Exception):
    """A loop or branch that cannot become a region; Python can still run it where it is static."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


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


def is_scalar(x: Any) -> bool:
    """A Python number, a NumPy scalar, or a traced one of either."""
    return type(x) in PYTHON_NUMBERS or isinstance(x, np.generic) or (isinstance(x, Traced) and x.is_scalar)


def is_array(x: Any) -> bool:
    """A traced array: something with a storage."""
    return isinstance(x, Traced) and not x.is_scalar


def kind_of(x: Any) -> Kind:
    """The kind of a scalar or a traced array."""
    if type(x) in PYTHON_NUMBERS:
        return Kind(python_dtype(x), type(x))
    if isinstance(x, np.generic):
        return Kind(x.dtype)
    assert isinstance(x, Traced)
    if x.is_scalar:
        return Kind(x.dtype, x.weak)
    ordered = all(isinstance(d, int) for d in x.type.shape) and not in_c_order(x)
    return Kind(x.dtype, None, x.type.shape, order_of_long_axes(stand_in(x)) if ordered else None)


def join(name: str, a: Kind, b: Kind) -> Kind:
    """The kind of a variable that is `a` on one path and `b` on another. Raises CannotStage."""
    if a == b:
        return a
    if a.shape is not None and b.shape is not None and a.dtype == b.dtype and len(a.shape) == len(b.shape):
        dims = tuple(_join_dims(name, a, b, k) for k in range(len(a.shape)))
        return Kind(a.dtype, None, dims, a.layout if a.layout == b.layout and a.shape == b.shape else None)
    if a.shape is not None or b.shape is not None:
        raise _differ(name, a, b)
    if a.weak is not None and b.weak is not None:
        order = [bool, int, float, complex]
        weak = max(a.weak, b.weak, key=order.index)
        return Kind(python_dtype(weak(0)), weak)
    if a.weak is None and b.weak is None:
        raise _differ(name, a, b)
    strong, weaker = (a, b) if a.weak is None else (b, a)
    if np.result_type(strong.dtype, weaker.weak(0)) != strong.dtype:  # type: ignore[misc]
        raise _differ(name, a, b)
    return strong


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
    what = f"a Python {kind.weak.__name__}" if kind.weak else f"a NumPy {kind.dtype}"
    if kind.shape is None:
        return what
    return f"{what} array of shape ({', '.join(map(str, kind.shape))}{',' * (len(kind.shape) == 1)})"


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
    """A scalar variable's value in a region, as `kind`. The program stops there if a Python int does not fit."""
    if type(x) in PYTHON_NUMBERS:
        if not fits(x, kind):
            trace.check(trace.const(False, BOOL), "overflow", f"Python integer {x} out of bounds for {kind.dtype}")
            x = 0
        return number(trace, x, kind.dtype)
    x = as_traced(x)
    return weak_cast(trace, x, kind.dtype) if x.weak is int else cast(trace, x.read(), kind.dtype)


def fits(x: Any, kind: Kind) -> bool:
    """Whether a kind can hold a Python number."""
    if type(x) is not int or kind.dtype.kind not in "iu":
        return True
    bounds = np.iinfo(kind.dtype)
    return bool(bounds.min <= x <= bounds.max)


def values_as(trace: Trace, x: Any, kind: Kind) -> list[Value]:
    """The values that stand for a variable in a region: its own, and its lengths where they vary."""
    if kind.shape is None:
        return [value_as(trace, x, kind)]
    array = as_traced(x)
    value = array.read()
    lengths = [value_of(trace, array.type.shape[k]) for k in kind.flexible]
    if kind.layout is not None:
        return [trace.op("copy", trace.op("transpose", value, perm=kind.layout))]
    if tuple(array.type.shape) == kind.capacity:
        return [trace.op("copy", value), *lengths]
    room = _room(array, kind)
    if room is not None:
        return [trace.op("copy", room), *lengths]
    room = trace.op("empty", dtype=kind.dtype, shape=kind.capacity)
    rank = len(kind.shape)
    region = trace.op("slice", room, start=(0,) * rank, size=array.type.shape, step=(1,) * rank)
    return [trace.op("update", room, region, value), *lengths]


def _room(array: Traced, kind: Kind) -> Value | None:
    """The whole storage of an array that is the beginning of one as large as the variable may become."""
    if array.storage is None or len(array.steps) != 1:
        return None
    (name, attrs), whole = array.steps[0], array.storage.newest
    rank = len(kind.shape or ())
    beginning = name == "slice" and dict(attrs)["start"] == (0,) * rank and dict(attrs)["step"] == (1,) * rank
    fits = whole.type.shape == kind.capacity and whole.type.dtype == kind.dtype
    return whole if beginning and fits else None


def variable(
    trace: Trace, values: Iterator[Value], kind: Kind, lengths: dict[int, Dim] | None = None
) -> Traced:
    """The traced object for a joined variable. lengths: known names for lengths that vary, by axis."""
    value = next(values)
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
    zero = trace.const(0, kind.dtype)
    lengths = [trace.const(0, I64) for _ in kind.flexible]
    if not kind.capacity:
        return [zero if kind.shape is None else trace.op("copy", zero)]
    return [trace.op("copy", trace.op("broadcast", zero, shape=kind.types[0].shape)), *lengths]
