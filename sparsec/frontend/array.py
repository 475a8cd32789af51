"""`Traced`: what a NumPy array or scalar looks like while a function is traced.

It implements NumPy's dispatch protocols, operators, indexing and methods by handing each one to the function
that `dispatch.py` has for it. It knows shapes, dtypes and views; values exist only in the compiled program.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from sparsec.errors import ConcretizationError, ShapeError, UnsupportedError
from sparsec.frontend.locate import user_loc
from sparsec.frontend.trace import Step, Storage, Trace
from sparsec.ir.dims import Dim, Poly
from sparsec.ir.graph import Attr, Value
from sparsec.ir.tensorref import is_contiguous
from sparsec.ir.types import DType, TensorType

#: What to write instead where Python wants a value at once.
_BRANCH = (
    "an `if` or `while` statement may depend on it, np.where chooses between values; pass flags as static arguments "
    "(`static_argnames=`)"
)
_INDEX = "put what is chosen from into an array (np.stack); pass sizes as static arguments (`static_argnames=`)"


class Traced:
    """An array (a view: `storage` and `steps`) or a scalar (`value`, immutable, no storage).

    weak: for a Python number, its class: NEP 50 lets the other operand's dtype win.
    readonly: why writes through this view are refused (a broadcast), else "".
    """

    __slots__ = ("trace", "type", "storage", "steps", "value", "weak", "readonly", "dim", "__weakref__")
    __array_priority__ = 1000.0
    def __init__(
        self,
        trace: Trace,
        type: TensorType,
        *,
        storage: Storage | None = None,
        steps: tuple[Step, ...] = (),
        value: Value | None = None,
        weak: type | None = None,
        readonly: str = "",
    ) -> None:
        self.trace, self.type, self.storage, self.steps = trace, type, storage, steps
        self.value: Value = value  # type: ignore[assignment]
        self.weak, self.readonly = weak, readonly
        self.dim: Dim | None = None  # for an integer that is a known function of loop variables

    # --- making ---

    @staticmethod
    def fresh(trace: Trace, value: Value) -> Traced:
        """An array that owns a new storage, whose first version is `value`."""
        return Traced(trace, value.type.with_ref(value.ref), storage=trace.new_storage(value))

    @staticmethod
    def scalar(trace: Trace, value: Value, weak: type | None = None) -> Traced:
        return Traced(trace, value.type.fresh(), value=value, weak=weak)

    def view(self, name: Any = None, *, readonly: str = "", **attrs: Attr) -> Traced:
        """A view of this array by one view op; for a scalar, of a copy of it. Without attributes: NumPy's method."""
        if not attrs:
            from sparsec.frontend.dispatch import METHODS

            return METHODS["view"](self, *(() if name is None else (name,)))  # type: ignore[no-any-return]
        if self.storage is None:
            return self.as_array().view(name, readonly=readonly, **attrs)
        step: Step = (name, tuple(sorted(attrs.items())))
        type = self.trace.view_type(self.type, step)
        return Traced(
            self.trace,
            type,
            storage=self.storage,
            steps=(*self.steps, step),
            readonly=readonly or self.readonly,
        )

    def again(self, readonly: str = "") -> Traced:
        """Another object for the same view."""
        readonly = readonly or self.readonly
        return Traced(self.trace, self.type, storage=self.storage, steps=self.steps, readonly=readonly)

    def as_array(self) -> Traced:
        """A 0-d array with a scalar's value; an array as it is."""
        return Traced.fresh(self.trace, self.trace.op("copy", self.value)) if self.is_scalar else self

    def as_scalar(self) -> Traced:
        """The only element, as a scalar."""
        if self.is_scalar:
            return self
        array = self.view("reshape", shape=()) if self.shape else self
        return Traced.scalar(self.trace, self.trace.op("copy", array.read()))

    # --- what NumPy code asks ---

    @property
    def is_scalar(self) -> bool:
        return self.storage is None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape  # type: ignore[return-value]

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def ndim(self) -> int:
        return len(self.type.shape)

    @property
    def size(self) -> int:
        return self.type.size  # type: ignore[return-value]

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    @property
    def strides(self) -> tuple[int, ...]:
        ref = self.type.ref
        return tuple(int(s) * self.itemsize for s in ref.strides) if ref is not None else ()  # type: ignore[arg-type]

    @property
    def c_contiguous(self) -> bool:
        return self.type.ref is None or is_contiguous(self.type.ref, self.type.shape)

    def read(self) -> Value:
        """The SSA value of the elements now."""
        return self.trace.read(self)

    # --- protocols ---

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        from sparsec.frontend.ufuncs import call_ufunc

        return call_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        from sparsec.frontend.dispatch import call_numpy

        return call_numpy(func, args, kwargs)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        self.trace.check_open()
        raise ConcretizationError(
            "a traced array has no values yet",
            loc=user_loc(),
            hint="use NumPy functions on it; move code that needs values out of the function",
        )

    def _concrete(self, what: str, hint: str = "") -> Any:
        from sparsec.frontend.concrete import concrete_value

        found = concrete_value(self)
        if found is None:
            raise ConcretizationError(
                f"{what} needs a concrete value, but this one is computed at run time "
                f"({self.type.with_ref(None)})",
                loc=user_loc(),
                hint=hint or "pass sizes and flags as static arguments (`static_argnames=`)",
            )
        return found

    def __bool__(self) -> bool:
        return bool(self._concrete("a Python branch or bool()", _BRANCH))

    def __int__(self) -> int:
        return int(self._concrete("int()"))

    def __float__(self) -> float:
        return float(self._concrete("float()"))

    def __complex__(self) -> complex:
        return complex(self._concrete("complex()"))

    def __index__(self) -> int:
        return operator.index(self._concrete("a Python index or shape", _INDEX)[()])

    def item(self, *args: Any) -> Any:
        """The element as a Python number: a traced one where it is computed at run time."""
        from sparsec.frontend.concrete import concrete_value
        from sparsec.frontend.python_numbers import as_python_number

        known = concrete_value(self)
        if known is not None:
            return known.item(*args)
        return as_python_number(self[args[0] if len(args) == 1 else args] if args else self)

    def tolist(self) -> Any:
        return self._concrete(".tolist()").tolist()

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        if isinstance(self.shape[0], Poly):
            raise ConcretizationError(
                "Python needs to know how many elements there are, but that is counted at run time",
                loc=user_loc(),
                hint="go over them with a `for` statement, or use NumPy functions on the whole array",
            )
        return self.shape[0]

    def __hash__(self) -> int:
        if not self.is_scalar:
            raise TypeError("unhashable type: 'numpy.ndarray'")
        raise ConcretizationError(
            "a set or the keys of a dict need concrete values", loc=user_loc(), hint="use a list, or np.unique"
        )

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError("iteration over a 0-d array")
        return (self[k] for k in range(len(self)))

    def __contains__(self, item: Any) -> bool:
        return bool((self == item).any())

    def __getitem__(self, key: Any) -> Any:
        from sparsec.frontend.indexing.read import getitem

        return getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        from sparsec.frontend.indexing.write import setitem

        setitem(self, key, value)

    def __delitem__(self, key: Any) -> NoReturn:
        raise ShapeError("cannot delete array elements", loc=user_loc(), hint="np.delete makes an array without them")

    def __getattr__(self, name: str) -> Any:
        if name in Traced.__slots__:
            raise AttributeError(name)
        from sparsec.frontend.methods import attribute

        return attribute(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in Traced.__slots__:
            object.__setattr__(self, name, value)
            return
        if name in ("real", "imag", "flat"):
            getattr(self, name)[...] = value
            return
        if name == "shape":
            from sparsec.frontend.numpy_api.shapes import reshape_in_place

            reshape_in_place(self, value)
            return
        raise UnsupportedError(
            f"assignment to `.{name}` of an array",
            loc=user_loc(),
            hint="make a new view (`reshape`, `T`, …) instead",
        )

    def __repr__(self) -> str:
        return f"Traced<{self.type}>"

    def __str__(self) -> str:
        return self.text("str()", str)

    def __format__(self, spec: str) -> str:
        return self.text("a formatted string", lambda x: format(x, spec))

    def text(self, what: str, write: Callable[[Any], str]) -> str:
        """The text of a known value. In the message of an error that the program may raise: what the value is."""
        if self.trace.telling:
            return repr(self)
        known = self._concrete(what, "return the value, and make the text of what the function returned")
        return write(known.item() if self.weak else known[()] if self.is_scalar else known)

    def __copy__(self) -> Traced:
        return self.copy()  # type: ignore[no-any-return]

    def __deepcopy__(self, memo: Any) -> Traced:
        return self.copy()  # type: ignore[no-any-return]


def _binary(ufunc: np.ufunc) -> tuple[Any, Any, Any]:
    """`x op y`, `y op x` and `x op= y`. A scalar has no in-place form: Python then rebinds the name."""

    def forward(self: Traced, other: Any) -> Any:
        return NotImplemented if _is_foreign(self, other, ufunc) else _operate(ufunc, self, other)

    def backward(self: Traced, other: Any) -> Any:
        return NotImplemented if _is_foreign(self, other, ufunc) else _operate(ufunc, other, self)

    def inplace(self: Traced, other: Any) -> Any:
        if _is_foreign(self, other, ufunc):
            return NotImplemented
        if self.is_scalar:
            return _operate(ufunc, self, other)
        return self.__array_ufunc__(ufunc, "__call__", self, other, out=(self,))

    return forward, backward, inplace


def _operate(ufunc: np.ufunc, *operands: Any) -> Any:
    from sparsec.frontend.python_numbers import operate

    if ufunc.signature is not None:
        first = next(x for x in operands if isinstance(x, Traced))
        return first.__array_ufunc__(ufunc, "__call__", *operands)
    return operate(ufunc, *operands)


_FOREIGN = (str, bytes, dict, set)


def _is_foreign(x: Traced, other: Any, ufunc: np.ufunc) -> bool:
    """Whether an operator is left to Python: numbers and sequences know nothing of each other, but that an
    integer, of NumPy's too, repeats a list or tuple."""
    if type(other) in (list, tuple):
        return x.weak is not None or (x.is_scalar and x.dtype.kind in "iu" and ufunc is np.multiply)
    return type(other) in _FOREIGN


_OPERATORS = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "lshift": np.left_shift,
    "rshift": np.right_shift,
    "pow": np.power,
    "matmul": np.matmul,
    "divmod": np.divmod,
}
for _name, _ufunc in _OPERATORS.items():
    for _prefix, _method in zip(("", "r", "i"), _binary(_ufunc), strict=True):
        setattr(Traced, f"__{_prefix}{_name}__", _method)
for _name, _ufunc in {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}.items():
    setattr(Traced, f"__{_name}__", _binary(_ufunc)[0])


def _unary(ufunc: np.ufunc) -> Callable[[Traced], Any]:
    return lambda self: _operate(ufunc, self)


for _name, _ufunc in {
    "neg": np.negative,
    "pos": np.positive,
    "abs": np.absolute,
    "invert": np.invert,
}.items():
    setattr(Traced, f"__{_name}__", _unary(_ufunc))


def _power(self: Traced, other: Any, modulo: Any = None) -> Any:
    """`x ** y`: for some exponents NumPy's operator takes a cheaper ufunc than `np.power`."""
    from sparsec.frontend.ufuncs import power_operator

    return power_operator(self, other)


setattr(Traced, "__pow__", _power)  # noqa: B010  a plain assignment would tell mypy of one operator only
