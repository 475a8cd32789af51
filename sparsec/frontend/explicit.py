"""NumPy functions that know whether a trace is running: what `sparsec.numpy` is made of."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

from sparsec.frontend import numpy_api as _numpy_api  # fills the dispatch table
from sparsec.frontend.dispatch import SUBSCRIPTS
from sparsec.frontend.outside import Outside
from sparsec.frontend.staged import Runtime
from sparsec.frontend.trace import current_trace

assert _numpy_api


class Explicit:
    """A NumPy function or ufunc. Calls go through the dispatch table while a function is traced."""

    def __init__(self, function: Any) -> None:
        self.__wrapped__ = function
        self.__name__, self.__doc__ = function.__name__, function.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        trace = current_trace()
        if trace is None:
            return self.__wrapped__(*args, **kwargs)
        return Runtime(Outside(trace)).call(self.__wrapped__, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """`np.add.reduce` and the other attributes of ufuncs."""
        return getattr(self.__wrapped__, name)

    def __repr__(self) -> str:
        return f"<sparsec.numpy form of {self.__wrapped__!r}>"


class ExplicitSubscript:
    """`np.r_`, `np.mgrid` and their kin: the subscript goes through the table while a function is traced."""

    def __init__(self, owner: Any) -> None:
        self.__wrapped__ = owner

    def __getitem__(self, key: Any) -> Any:
        trace = current_trace()
        return self.__wrapped__[key] if trace is None else Runtime(Outside(trace)).load_item(self.__wrapped__, key)


def explicit(module: ModuleType, name: str, found: dict[str, Any]) -> Any:
    """`name` of a NumPy module: functions wrapped, everything else as it is; kept in `found`.

    Raises AttributeError for names that NumPy lacks, and for its submodules.
    """
    value = None if name.startswith("__") else getattr(module, name, None)
    if (value is None and name != "newaxis") or isinstance(value, ModuleType):
        raise AttributeError(f"module '{found['__name__']}' has no attribute {name!r}")
    if type(value) in SUBSCRIPTS:
        value = ExplicitSubscript(value)
    elif callable(value) and not inspect.isclass(value):
        value = Explicit(value)
    found[name] = value
    return value
