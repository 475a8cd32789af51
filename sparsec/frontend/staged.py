"""The runtime half of staging: what rewritten calls and loads do while a function is traced."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparsec.errors import UnsupportedError
from sparsec.frontend import stage
from sparsec.frontend.array import Traced
from sparsec.frontend.builtins import ALWAYS, BUILTINS, MATH, takes
from sparsec.frontend.control import RUNTIME
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
from sparsec.frontend.locate import user_loc
from sparsec.frontend.methods import attribute
from sparsec.frontend.mixed import Mixed, decide
from sparsec.frontend.symbolic import as_int
from sparsec.frontend.trace import Trace
from sparsec.sparse.channel import ChannelSparse

#: What becomes an array of the program, wherever it is found.
_ARRAYS = (np.ndarray, ChannelSparse)

_PLAIN = (int, float, complex, bool, str, bytes, type(None))


#: What a traced array keeps to itself, out of the program's sight.
_INNER = frozenset(
    {"trace", "view"} | {n for n in vars(Traced) if not n.startswith("_") and not hasattr(np.ndarray, n)}
)


@dataclass(frozen=True)
class Guard:
    """A value from outside that the trace relied on: what is found at `name` of `owner` must still be `value`.

    kind: "entry" of a namespace dict, contents of a "cell" (no name), "attribute", or "item" of a container.
    """

    kind: str
    owner: Any
    name: Any
    value: Any

    def now(self) -> Any:
        """What is found there; raises what the look-up raises."""
        match self.kind:
            case "cell":
                return self.owner.cell_contents
            case "attribute":
                return getattr(self.owner, self.name)
        return self.owner[self.name]

    def holds(self) -> bool:
        try:
            now = self.now()
        except (AttributeError, KeyError, IndexError, ValueError):
            return False
        if now is self.value:
            return True
        return type(now) is type(self.value) and isinstance(now, _PLAIN) and (
            now == self.value or (now != now and self.value != self.value))


@dataclass
class Outside:
    """Everything that a trace read from outside its arguments."""

    trace: Trace
    guards: list[Guard] = field(default_factory=list)
    _seen: set[tuple[int, Any]] = field(default_factory=set)

    def relied_on(self) -> tuple[Guard, ...]:
        """The guards that hold when the trace is over; others were about objects that the trace itself changed."""
        return tuple(g for g in self.guards if g.holds())

    def watch(self, kind: str, owner: Any, name: Any, value: Any) -> None:
        seen = (id(owner), name if isinstance(name, (int, str)) else repr(name))
        if seen not in self._seen:
            self._seen.add(seen)
            self.guards.append(Guard(kind, owner, name, value))

    def replace(self, place: Any) -> Any:
        """A global (dict, name) or closure cell of a staged function: arrays are traced, the rest guarded."""
        if isinstance(place, types.CellType):
            value = place.cell_contents
            self.watch("cell", place, "", value)
        else:
            space, name = place
            value = space[name]
            self.watch("entry", space, name, value)
        return as_traced(value) if type(value) in _ARRAYS else value

    # --- what staged code calls ---

    def call(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        rule = lookup(function)
        if rule is not None:
            if function in CREATORS or holds_array((args, kwargs)):
                return apply(qualified_name(function), rule, *args, **kwargs)
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
            if builtin is not None and (function in ALWAYS or takes(args, kwargs)):
                return builtin(*args, **kwargs)
        _refuse_random(function)
        module = getattr(function, "__module__", None) or ""
        if module.split(".")[0] == "numpy" and holds_array((args, kwargs)) and not isinstance(function, type):
            owner = getattr(function, "__self__", None)
            if not isinstance(owner, Traced):
                raise unsupported(function)
        target = self._stageable(function)
        if target is not None:
            return target(*args, **kwargs)
        return self._lift(function(*args, **kwargs))

    def _stageable(self, function: Any) -> Any:
        """The staged form of a user's function or method, or None for everything else."""
        if isinstance(function, functools.partial):
            inner = self._stageable(function.func)
            return (
                functools.partial(inner, *function.args, **function.keywords) if inner is not None else None
            )
        function = getattr(function, "__sparsec_function__", function)
        if isinstance(function, types.MethodType):
            inner = self._stageable(function.__func__)
            return types.MethodType(inner, function.__self__) if inner is not None else None
        if not isinstance(function, types.FunctionType) or not _is_user_code(function):
            return None
        if function.__globals__.get(stage.CALL) is not None or not stage.has_source(function):
            return None  # staged already (an inner function), or nothing to stage
        return self.staged(function)

    def staged(self, function: types.FunctionType) -> types.FunctionType:
        return stage.instantiate(function, self.runtime(), self.replace)

    def stage_function(self, function: Any) -> Any:
        """The staged form of the function that is being compiled, whatever module it comes from."""
        if isinstance(function, types.MethodType):
            return types.MethodType(self.staged(function.__func__), function.__self__)  # type: ignore[arg-type]
        return self.staged(function)

    def runtime(self) -> dict[str, Any]:
        return {
            stage.CALL: self.call,
            stage.ATTR: self.load_attr,
            stage.ITEM: self.load_item,
            stage.SLICE: slice,
            stage.TELL: self.tell,
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
        value = getattr(owner, name)
        if isinstance(owner, Traced) and name in ("shape", "size", "nbytes"):
            dims = value if isinstance(value, tuple) else (value,)
            seen = tuple(as_int(self.trace, d) for d in dims)
            return seen if isinstance(value, tuple) else seen[0]
        if isinstance(owner, (Traced, types.ModuleType)):
            if type(value) in _ARRAYS:
                self.watch("attribute", owner, name, value)
                return as_traced(value)
            return value
        if type(value) in _ARRAYS or isinstance(value, _PLAIN):
            self.watch("attribute", owner, name, value)
        return as_traced(value) if type(value) in _ARRAYS else value

    def load_item(self, owner: Any, key: Any) -> Any:
        if isinstance(owner, Traced):
            return owner[key]
        if type(owner) is np.ndarray:
            return as_traced(owner)[key]
        rule = SUBSCRIPTS.get(type(owner))
        if rule is not None:
            return rule(owner, key)
        value = owner[key]
        if type(value) in _ARRAYS and isinstance(owner, (list, dict, tuple)):
            self.watch("item", owner, key, value)
            return as_traced(value)
        return value

    def _lift(self, result: Any) -> Any:
        """Arrays that NumPy made from static arguments become traced ones, fresh at every call."""
        if type(result) is np.ndarray:
            from sparsec.frontend.numpy_api.creation import literal

            return literal(self.trace, result)
        if type(result) in (tuple, list):
            return type(result)(self._lift(r) for r in result)
        return result


def _refuse_random(function: Any) -> None:
    owner = getattr(function, "__self__", None)
    module = getattr(function, "__module__", None) or type(owner).__module__ or ""
    homes = (module, type(owner).__module__)
    if any(home in ("random", "secrets") or home.startswith("numpy.random") for home in homes):
        raise UnsupportedError(
            f"{qualified_name(function)}: random numbers drawn while tracing would be frozen",
            loc=user_loc(),
            hint="draw them outside and pass them as an argument",
        )


def _is_user_code(function: types.FunctionType) -> bool:
    """User code is staged; the standard library, installed packages and sparsec itself are called as they are."""
    name = function.__code__.co_filename
    module = (function.__module__ or "").split(".")[0]
    if module in ("numpy", "sparsec", "builtins") or name.startswith("<frozen"):
        return False
    return module not in sys.stdlib_module_names and "site-packages" not in name


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
