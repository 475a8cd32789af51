"""Programs whose sizes only the call knows: dims are read from the program's i64 parameters.

A temporary of such a size is memory of the call (`scratch`): one more pointer behind those of the results.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsec.errors import OutOfMemory
from sparsec.ir.block import BLOCK_BYTES
from sparsec.ir.dims import Dim, evaluate
from sparsec.ir.graph import Func, Value
from sparsec.ir.limits import is_integer, size_values
from sparsec.ir.tensorref import reach

__all__ = ["SizedRunner", "allocate", "param_elements", "pointer_bytes", "sizes_at"]


def sizes_at(func: Func, params: Sequence[int]) -> dict[str, int]:
    """The values of a function's integer parameters, as symbols, where these addresses are its parameters."""
    found: dict[str, int] = {}
    for param, at in zip(func.params, params, strict=True):
        if is_integer(param):
            found.update(size_values(param.name, ctypes.c_int64.from_address(at).value))
    return found


def param_elements(param: Value, sizes: Mapping[str, int]) -> int:
    """Elements of a parameter's storage up to the last that it can reach; `sizes` are its symbols."""
    return evaluate(reach(param.ref, param.type.shape), sizes)


def pointer_bytes(planned: Func) -> tuple[Dim, ...]:
    """The bytes behind each pointer of the program: parameters, results, scratch."""
    found = [reach(p.ref, p.type.shape) * p.type.dtype.itemsize for p in planned.params]
    for spaces in (("result", "made"), ("scratch",)):
        places = {p.offset: BLOCK_BYTES if p.space == "made" else p.nbytes for p in planned.plan if p.space in spaces}
        found += [places[k] for k in sorted(places)]
    return tuple(found)


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
