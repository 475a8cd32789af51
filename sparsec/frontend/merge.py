"""Variables where control flow joins: what a branch or a loop turn may change, and into what.

A variable that holds a number or a scalar becomes an SSA value of one dtype; a Python number that meets a
NumPy scalar takes its dtype. One that holds an array stays that array where it is the same on all paths; a
different array on each path becomes a new array, if nothing else can see the old ones change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsec.errors import ConcretizationError
from sparsec.frontend.array import Traced
from sparsec.frontend.convert import PYTHON_NUMBERS, as_traced, cast, number, python_dtype
from sparsec.frontend.locate import user_loc
from sparsec.frontend.trace import Trace
from sparsec.ir.graph import Value
from sparsec.ir.types import DType


class Undefined:
    """A local variable that has no value (yet); any use is Python's own error."""

    name: str
    why: str

    def __init__(self, name: str = "", why: str = "") -> None:
        self.__dict__.update(name=name, why=why)

    def _use(self, *args: Any, **kwargs: Any) -> Any:
        if self.why:
            raise ConcretizationError(
                f"variable `{self.name}` {self.why}",
                loc=user_loc(),
                hint="give it a value before the loop or in both branches",
            )
        raise UnboundLocalError(
            f"cannot access local variable '{self.name}' where it is not associated with a value"
        )

    __getattr__ = __getitem__ = __setitem__ = __call__ = __iter__ = __len__ = __bool__ = __array__ = _use
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _use
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __neg__ = __index__ = __float__ = __int__ = _use  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


UNDEFINED = Undefined()


class CannotStage(Exception):
    """A loop or branch that cannot become a region; Python can still run it where it is static."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


@dataclass(frozen=True)
class Kind:
    """What a joined variable holds. shape None: a scalar; weak: a Python number."""

    dtype: DType
    weak: type | None = None
    shape: tuple[Any, ...] | None = None


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
    return Kind(x.dtype, x.weak) if x.is_scalar else Kind(x.dtype, None, x.type.shape)


def join(name: str, a: Kind, b: Kind) -> Kind:
    """The kind of a variable that is `a` on one path and `b` on another. Raises CannotStage."""
    if a == b:
        return a
    if a.shape is not None or b.shape is not None:
        raise CannotStage(f"`{name}` is {_words(a)} on one path and {_words(b)} on another")
    if a.weak is not None and b.weak is not None:
        order = [bool, int, float, complex]
        weak = max(a.weak, b.weak, key=order.index)
        return Kind(python_dtype(weak(0)), weak)
    if a.weak is None and b.weak is None:
        raise CannotStage(f"`{name}` is {_words(a)} on one path and {_words(b)} on another")
    strong, weaker = (a, b) if a.weak is None else (b, a)
    if np.result_type(strong.dtype, weaker.weak(0)) != strong.dtype:  # type: ignore[misc]
        raise CannotStage(f"`{name}` is {_words(a)} on one path and {_words(b)} on another")
    return strong


def _words(kind: Kind) -> str:
    what = f"a Python {kind.weak.__name__}" if kind.weak else f"a NumPy {kind.dtype}"
    return f"{what} array of shape {kind.shape}" if kind.shape is not None else what


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
    """A variable's value in a region, as `kind`."""
    if kind.shape is None:
        return (
            number(trace, x, kind.dtype)
            if type(x) in PYTHON_NUMBERS
            else cast(trace, as_traced(x).read(), kind.dtype)
        )
    return trace.op("copy", as_traced(x).read())


def variable(trace: Trace, value: Value, kind: Kind) -> Traced:
    """The traced object for a joined variable."""
    return Traced.scalar(trace, value, kind.weak) if kind.shape is None else Traced.fresh(trace, value)


def zero_of(trace: Trace, kind: Kind) -> Value:
    """A placeholder that is never read."""
    zero = trace.const(0, kind.dtype)
    if kind.shape is None:
        return zero
    return (
        trace.op("copy", trace.op("broadcast", zero, shape=kind.shape))
        if kind.shape
        else trace.op("copy", zero)
    )
