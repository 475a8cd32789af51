"""Attributes and methods of traced arrays that are not on the class itself."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from sparsec.errors import AttributeMissing, UnsupportedError
from sparsec.frontend.array import Traced
from sparsec.frontend.dispatch import METHODS, apply
from sparsec.frontend.flat import Flat
from sparsec.frontend.locate import user_loc
from sparsec.frontend.mixed import Mixed, decide
from sparsec.ir.types import I64


def attribute(x: Traced, name: str) -> Any:
    """`x.name`: a property, or a method bound to its rule. Raises AttributeError or UnsupportedError."""
    if isinstance(x, Mixed):
        return _of_mixed(x, name)
    prop = PROPERTIES.get(name)
    if prop is not None:
        return prop(x)
    rule = METHODS.get(name)
    if rule is not None:
        return partial(apply, f"ndarray.{name}", rule, x)
    if name.startswith("__"):
        raise AttributeError(name)
    kind = x.weak or (x.dtype.type if x.is_scalar else np.ndarray)
    if hasattr(kind, name):
        raise UnsupportedError(
            f"{kind.__name__}.{name} is not supported", loc=user_loc(), hint="`sparsec ops` lists what is"
        )
    message = f"'{kind.__module__}.{kind.__name__}' object has no attribute '{name}'"
    raise AttributeMissing(message, loc=user_loc())


def _of_mixed(x: Mixed, name: str) -> Any:
    """An attribute of a scalar that is Python's or NumPy's, as the run decides: they have not all the same."""
    if name in METHODS:
        return lambda *args, **kwargs: decide(x, lambda part: getattr(part, name)(*args, **kwargs))
    return decide(x, lambda part: getattr(part, name))


def _transposed(x: Traced) -> Traced:
    if x.is_scalar:
        return x
    return x.view("transpose", perm=tuple(reversed(range(x.ndim))))


def _matrix_transposed(x: Traced) -> Traced:
    if x.ndim < 2:
        raise ValueError("matrix transpose with ndim < 2 is undefined")
    perm = [*range(x.ndim - 2), x.ndim - 1, x.ndim - 2]
    return x.view("transpose", perm=tuple(perm))


def _part(which: int) -> Any:
    def get(x: Traced) -> Traced:
        if x.weak is bool:  # Python's parts of a bool are ints
            x = Traced.scalar(x.trace, x.trace.op("cast", x.value, dtype=I64), int)
        if x.dtype.kind != "c":
            if which == 0:
                return x
            from sparsec.frontend.numpy_api.creation import zeros

            if x.is_scalar:
                return Traced.scalar(x.trace, x.trace.const(0, x.dtype), x.weak)
            made = zeros(x.shape, x.dtype, "F" if _transposed(x).c_contiguous and not x.c_contiguous else "C")
            made.readonly = "the imaginary part of a real array"
            return made
        if x.is_scalar:
            return Traced.scalar(x.trace, x.trace.op("imag" if which else "real", x.value))
        return x.view("part", part=which)

    return get


class _Flags:
    """The flags that code asks for before a reshape or a write."""

    def __init__(self, x: Traced) -> None:
        self.c_contiguous = x.c_contiguous
        self.f_contiguous = x.is_scalar or _transposed(x).c_contiguous
        self.contiguous = self.c_contiguous
        self.writeable = not (x.is_scalar or x.readonly)
        self.owndata = not x.steps
        self.aligned = True

    def __getitem__(self, name: str) -> bool:
        return getattr(self, name.lower())  # type: ignore[no-any-return]


PROPERTIES = {
    "T": _transposed,
    "mT": _matrix_transposed,
    "real": _part(0),
    "imag": _part(1),
    "flags": _Flags,
    "flat": Flat,
    "device": lambda x: "cpu",
}
