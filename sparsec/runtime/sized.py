"""Programs whose sizes only the call knows: dims are read from the program's i64 parameters.

A temporary of such a size is memory of the call (`scratch`): one more pointer behind those of the results.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsec.errors import OutOfMemory
from sparsec.ir.dims import Dim, evaluate
from sparsec.ir.graph import Func
from sparsec.ir.limits import is_integer, size_values

__all__ = ["SizedRunner", "allocate", "sizes_at"]


def sizes_at(func: Func, params: Sequence[int]) -> dict[str, int]:
    """The values of a function's integer parameters, as symbols, where these addresses are its parameters."""
    found: dict[str, int] = {}
    for param, at in zip(func.params, params, strict=True):
        if is_integer(param):
            found.update(size_values(param.name, ctypes.c_int64.from_address(at).value))
    return found


def allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Memory for an array. Raises OutOfMemory."""
    try:
        return np.empty(shape, dtype)
    except (MemoryError, ValueError) as error:  # ValueError: more elements than an address can count
        raise OutOfMemory(str(error)) from None


@dataclass
class SizedRunner:
    """Runs `inner` with scratch of the right size.

    pointers: bytes behind each parameter, result and scratch pointer, in that order.
    """

    inner: Any
    func: Func
    pointers: tuple[Dim, ...]

    @property
    def transactional(self) -> bool:
        return bool(self.inner.transactional)

    def run(self, params: Sequence[int], results: Sequence[int], sizes: Sequence[int] = ()) -> int:
        """As `inner` does; the sizes are known here."""
        dims = sizes_at(self.func, params)
        nbytes = [evaluate(n, dims) for n in self.pointers]
        given = len(params) + len(results)
        scratch = [allocate((max(n, 1),), np.dtype(np.uint8)) for n in nbytes[given:]]
        addresses = [a.__array_interface__["data"][0] for a in scratch]
        return int(self.inner.run(params, [*results, *addresses], nbytes))
