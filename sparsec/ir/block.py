"""Memory whose size a program decides: it asks for it, and whoever runs the program gives it back.

    block = Block()                 two words, an address and a number of bytes: nothing yet
    … a program fills them …        codegen's `reserve`, or `fill` where no native code runs
    block.array(dtype)              the memory as a flat array, which keeps the block alive
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np

from sparsec.ir.types import DType

__all__ = ["BLOCK_BYTES", "Block", "fill", "memory_functions"]

BLOCK_BYTES = 16


@cache
def memory_functions() -> dict[str, int]:
    """The C library's functions that programs call for memory, by the names that generated code uses."""
    c = ctypes.CDLL(None)
    return {f"sparsec_{name}": ctypes.cast(c[name], ctypes.c_void_p).value or 0 for name in ("malloc", "free")}


@cache
def _function(name: str, result: Any, argument: Any) -> Any:
    return ctypes.CFUNCTYPE(result, argument)(memory_functions()[name])


def fill(words: np.ndarray[Any, Any], data: np.ndarray[Any, Any]) -> None:
    """Puts a copy of the bytes `data` into the block whose two words are these 16 bytes. Raises MemoryError."""
    address = _function("sparsec_malloc", ctypes.c_void_p, ctypes.c_size_t)(max(data.nbytes, 1))
    if not address:
        raise MemoryError(f"{data.nbytes} bytes for a result could not be allocated")
    words.view(np.int64)[:] = address, data.nbytes
    ctypes.memmove(address, data.ctypes.data, data.nbytes)


class Block:
    """Two words, and the memory that they come to name: freed with this object."""

    def __init__(self) -> None:
        self.words = np.zeros(2, np.int64)

    @property
    def address(self) -> int:
        """Where the words stand."""
        return int(self.words.ctypes.data)

    def array(self, dtype: DType) -> np.ndarray[Any, Any]:
        """All of the memory, flat."""
        address, nbytes = map(int, self.words)
        return np.asarray(_Memory(self, address, nbytes // dtype.itemsize, dtype)) if address else np.empty(0, dtype)

    def __del__(self) -> None:
        if self.words[0]:
            _function("sparsec_free", None, ctypes.c_void_p)(int(self.words[0]))


class _Memory:
    def __init__(self, owner: Block, address: int, count: int, dtype: DType) -> None:
        self.owner = owner
        self.__array_interface__ = {
            "version": 3, "data": (address, False), "shape": (count,), "typestr": dtype.str,
        }  # fmt: skip
