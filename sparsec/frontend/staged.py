"""The runtime half of staging: what rewritten calls and loads do while a function is traced."""

from __future__ import annotations

import abc
import functools
import operator
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsec.errors import UnsupportedError
from sparsec.frontend import stage
from sparsec.frontend.array import Traced
from sparsec.frontend.builtins import ALWAYS, BUILTINS, MATH, takes
from sparsec.frontend.control.runtime import RUNTIME
from sparsec.frontend.convert import PYTHON_NUMBERS, as_traced, np_dtype
from sparsec.frontend.dispatch import (
    CREATORS,
    SUBSCRIPTS,
    apply,
    holds_array,
    lookup,
    qualified_name,
    unsupported,
)
from sparsec.frontend.ever_new import refuse_ever_new
from sparsec.frontend.locate import user_loc
from sparsec.frontend.methods import attribute
from sparsec.frontend.mixed import Mixed, decide
from sparsec.frontend.outside import ARRAYS, Outside, is_user_module
from sparsec.frontend.symbolic import as_int
from sparsec.ir.flags import BITS

#: What a traced array keeps to itself, out of the program's sight.
_INNER = frozenset(
    {"trace", "view"} | {n for n in vars(Traced) if not n.startswith("_") and not hasattr(np.ndarray, n)}
)


@dataclass(frozen=True)
class _Attribute:
    name: str


@dataclass(frozen=True)
class _Place:
    """What an augmented assignment goes to: where it was found, and what was there."""

    owner: Any
    key: Any
    value: Any


class Runtime:
    """What staged code calls."""

    def __init__(self, outside: Outside) -> None:
        self.outside, self.trace = outside, outside.trace

    def call(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        rule = lookup(function)
        if rule is not None:
            if function in CREATORS or holds_array((args, kwargs)):
                given = {name: self._callback(value) for name, value in kwargs.items()}
                return apply(qualified_name(function), rule, *map(self._callback, args), **given)
            return self._lift(function(*args, **kwargs))
        if isinstance(function, np.ufunc):
            if not holds_array((args, kwargs)):
                return self._lift(function(*args, **kwargs))
            first = next(a for a in (*args, *kwargs.values()) if holds_array(a))
            return as_traced(first).__array_ufunc__(function, "__call__", *args, **kwargs)
        return self._call_other(function, args, kwargs)

    def _call_other(self, function: Any, args: Any, kwargs: Any) -> Any:
        if isinstance(function, type) and issubclass(function, np.generic) and holds_array(args):
            return _to_scalar(function, *args)
        if isinstance(function, (type, types.BuiltinFunctionType)):
            builtin = BUILTINS.get(function) or MATH.get(function)
            if builtin is not None and (function in ALWAYS or takes(function, args, kwargs)):
                return builtin(*args, **kwargs)
            if function in (getattr, setattr, delattr):
                return self._named_attribute(function, *args)
        refuse_ever_new(function)
        if any(function is f for f in (np.errstate, np.seterr, np.seterrcall)):
            return self._error_state(function, **kwargs)
        if isinstance(function, np.vectorize) and holds_array((args, kwargs)):
            from sparsec.frontend.numpy_api.callbacks import vectorized

            return vectorized(self._stageable(function.pyfunc) or function.pyfunc, function, args, kwargs)
        owner = getattr(function, "__self__", None)
        module = getattr(function, "__module__", None) or ""
        numpys = module.split(".")[0] == "numpy" and not isinstance(owner, Traced)
        if numpys and function is not np.dtype and holds_array((args, kwargs)):
            raise unsupported(function)
        target = self._stageable(function)
        if target is not None:
            return target(*args, **kwargs)
        result = function(*map(self._callback, args), **{k: self._callback(v) for k, v in kwargs.items()})
        if owner is not None:
            self.outside.check_unchanged(owner)
        return self._lift(result)

    def _error_state(self, function: Any, **modes: Any) -> Any:
        """`np.errstate`: warnings may be ignored. Compiled code tests no flags, and so raises nothing."""
        if function is not np.errstate or not set(modes.values()) <= {"ignore", "warn"}:
            raise UnsupportedError(
                f"np.{function.__name__}, but to ignore or to warn, inside a traced function", loc=user_loc(),
                hint="compute what tells: `(b == 0).any()`, `np.isfinite(x).all()`",
            )
        flags = BITS if "all" in modes else ()
        every = {**dict.fromkeys(flags, modes.pop("all", "")), **modes}
        return self._ignoring(
            self.trace.ignored - set(every) | {f for f, mode in every.items() if mode == "ignore"}, every)

    @contextmanager
    def _ignoring(self, flags: frozenset[str], modes: dict[str, Any]) -> Iterator[None]:
        before, self.trace.ignored = self.trace.ignored, flags
        try:
            with np.errstate(**modes):
                yield
        finally:
            self.trace.ignored = before

    def _named_attribute(self, function: Any, owner: Any, name: str, *rest: Any) -> Any:
        """`getattr`, `setattr` and `delattr`."""
        if function is not getattr:
            return function(self.changing(owner, name), name, *rest)
        try:
            return self.load_attr(owner, name)
        except AttributeError:
            if not rest:
                raise
            return rest[0]

    def _stageable(self, function: Any) -> Any:
        """The staged form of a user's function, method, class or callable object, or None for everything else."""
        if isinstance(function, functools.partial):
            inner = self._stageable(function.func)
            args, kwargs = function.args, function.keywords
            if self.outside.holds(function):
                args, kwargs = self.outside.adopt(args), self.outside.adopt(kwargs)
            return functools.partial(inner or function.func, *args, **kwargs)
        function = getattr(function, "__sparsec_function__", function)
        if isinstance(function, types.MethodType):
            inner = self._stageable(function.__func__)
            return types.MethodType(inner, function.__self__) if inner is not None else None
        if isinstance(function, type):
            return self._constructor(function)
        if not isinstance(function, types.FunctionType):
            inner = self._special(function, "__call__")
            return types.MethodType(inner, function) if inner is not None else None
        if not is_user_module(function.__module__, function.__code__.co_filename):
            return None
        if function.__globals__.get(stage.CALL) is not None or not stage.has_source(function):
            return None  # staged already (an inner function), or nothing to stage
        return self.staged(function)

    def _constructor(self, made: Any) -> Any:
        """A class whose objects a function of the user's fills, and nothing else makes."""
        if type(made) not in (type, abc.ABCMeta) or made.__new__ is not object.__new__:
            return None
        init = self._stageable(made.__init__) if isinstance(made.__init__, types.FunctionType) else None
        if init is None:
            return None

        def construct(*args: Any, **kwargs: Any) -> Any:
            new = object.__new__(made)
            init(new, *args, **kwargs)
            return new

        return construct

    def _special(self, x: Any, name: str) -> Any:
        """The staged form of a special method that the user wrote, or None."""
        method = getattr(type(x), name, None)
        return self._stageable(method) if isinstance(method, types.FunctionType) else None

    def _callback(self, x: Any) -> Any:
        """A user's function that is handed to code which is not staged (`map`, `reduce`, …)."""
        return (self._stageable(x) or x) if isinstance(x, types.FunctionType) else x

    def staged(self, function: types.FunctionType) -> types.FunctionType:
        return stage.instantiate(function, self.runtime(), self.outside)

    def stage_function(self, function: Any) -> Any:
        """The staged form of the function that is being compiled, whatever module it comes from."""
        if isinstance(function, types.MethodType):
            return types.MethodType(self.stage_function(function.__func__), self.outside.adopt(function.__self__))
        if isinstance(function, types.FunctionType):
            return self.staged(function)
        return self._stageable(self.outside.adopt(function)) or function

    def runtime(self) -> dict[str, Any]:
        return {
            stage.CALL: self.call,
            stage.ATTR: self.load_attr,
            stage.ITEM: self.load_item,
            stage.SLICE: slice,
            stage.TELL: self.tell,
            stage.CHANGE: self.changing,
            stage.AT_ATTR: self.at_attr,
            stage.AT_ITEM: self.at_item,
            stage.UPDATE: self.update,
            **RUNTIME,
        }

    def tell(self, make: Callable[[], Any]) -> Any:
        """The exception that a `raise` statement makes."""
        self.trace.telling = True
        try:
            return make()
        finally:
            self.trace.telling = False

    def load_attr(self, owner: Any, name: str) -> Any:
        if isinstance(owner, Traced) and name in _INNER:
            return attribute(owner, name)  # `x.trace()` is NumPy's
        if isinstance(owner, Traced):
            value = getattr(owner, name)
            if name not in ("shape", "size", "nbytes"):
                return value
            dims = value if isinstance(value, tuple) else (value,)
            seen = tuple(as_int(self.trace, d) for d in dims)
            return seen if isinstance(value, tuple) else seen[0]
        if type(owner) in ARRAYS:
            return self.load_attr(as_traced(owner), name)
        prop = getattr(type(owner), name, None)
        getter = self._stageable(prop.fget) if isinstance(prop, property) else None
        if getter is not None:
            return getter(owner)
        return self.outside.attribute(owner, name)

    def load_item(self, owner: Any, key: Any) -> Any:
        if isinstance(owner, Traced):
            return owner[key]
        if type(owner) is np.ndarray:
            return as_traced(owner)[key]
        rule = SUBSCRIPTS.get(type(owner))
        if rule is not None:
            return rule(owner, key)
        method = self._special(owner, "__getitem__")
        return self.outside.item(owner, key) if method is None else method(owner, key)

    def changing(self, owner: Any, name: str | None = None) -> Any:
        """The object whose attribute (or, without a name, item) is assigned or deleted."""
        if type(owner) in ARRAYS:
            owner = as_traced(owner)
        if not isinstance(owner, Traced):
            what = f"a {type(owner).__name__}" if name is None else f"the attribute `{name}` of an object"
            self.outside.refuse_change(owner, what)
        elif name == "shape":
            self.outside.refuse_change(owner, "the shape of an array")
        return owner

    def at_attr(self, owner: Any, name: str) -> _Place:
        return _Place(owner, _Attribute(name), self.load_attr(owner, name))

    def at_item(self, owner: Any, key: Any) -> _Place:
        return _Place(owner, key, self.load_item(owner, key))

    def update(self, place: _Place, operation: str, operand: Any) -> None:
        """`owner.name += operand` and its kin."""
        value = getattr(operator, operation)(place.value, operand)
        named = isinstance(place.key, _Attribute)
        foreign = not isinstance(place.owner, (Traced, tuple)) and self.outside.holds(place.owner)
        if value is place.value and foreign:
            return  # in place: the owner keeps what it had
        owner = self.changing(place.owner, place.key.name if named else None)
        if named:
            setattr(owner, place.key.name, value)
        else:
            owner[place.key] = value

    def _lift(self, result: Any) -> Any:
        """Arrays that NumPy made from static arguments become traced ones, fresh at every call."""
        if type(result) is np.ndarray:
            from sparsec.frontend.numpy_api.creation import literal

            return literal(self.trace, result)
        if type(result) in (tuple, list):
            return type(result)(self._lift(r) for r in result)
        return result


def _to_scalar(dtype: Any, x: Any = 0) -> Any:
    """`np.float32(x)`: a scalar of 0-d input, an array of array input."""
    if isinstance(x, Mixed):
        return decide(x, lambda part: dtype(part) if type(part) in PYTHON_NUMBERS else _to_scalar(dtype, part))
    source = as_traced(x)
    target = np_dtype(dtype)
    if source.ndim == 0:
        from sparsec.frontend.convert import cast

        return Traced.scalar(source.trace, cast(source.trace, source.read(), target))
    return source.astype(target)
