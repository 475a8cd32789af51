"""Arrays that nobody ever writes to, and the packed copies of them that compiled code reads.

A constant is a plain NumPy array over memory that cannot be made writeable again. It is known here by identity as
long as it lives, with the copies that were made of it: they are shared by all functions that read them.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparsec.runtime.locks import ForkLock

__all__ = ["fixed", "is_constant", "packed"]

Array = np.ndarray[Any, Any]

#: Bytes that constants and their copies are aligned to.
_ALIGN = 64


@dataclass(slots=True)
class _Known:
    array: weakref.ref[Array]
    copies: dict[tuple[int, int], Array] = field(default_factory=dict)  # by columns and block


_KNOWN: dict[int, _Known] = {}
_LOCK = ForkLock()


def fixed(x: Array) -> Array:
    """A constant with the elements of an array, in C order; the very array if it is one."""
    if is_constant(x):
        return x
    memory = _memory(x.size, x.dtype)
    memory.reshape(x.shape)[...] = x
    # Nobody can make an array over a read-only buffer writeable.
    made = np.frombuffer(memory.view(np.uint8).data.toreadonly(), x.dtype) if x.size else memory
    made = made.reshape(x.shape)
    made.flags.writeable = False
    number = id(made)
    _KNOWN[number] = _Known(weakref.ref(made, lambda _: _KNOWN.pop(number, None)))
    return made


def is_constant(x: Array) -> bool:
    """Whether an array was made by `fixed`; a view of one is an array like others."""
    known = _KNOWN.get(id(x))
    return known is not None and known.array() is x


def packed(x: Array, columns: int, block: int) -> Array:
    """The rows of a constant, of so many elements each, in blocks of rows in which these are the innermost axis; the
    last block is filled up with zeros. It is made once and kept as long as the constant."""
    with _LOCK:
        copies = _KNOWN[id(x)].copies
        if (columns, block) not in copies:
            copies[columns, block] = _packed(x.reshape(-1, columns), block)
        return copies[columns, block]


def _packed(rows: Array, block: int) -> Array:
    count, columns = rows.shape
    blocks = -(-count // block)
    made = _memory(blocks * columns * block, rows.dtype).reshape(blocks, columns, block)
    full = count // block
    made[:full] = rows[: full * block].reshape(full, block, columns).transpose(0, 2, 1)
    if full < blocks:
        made[full] = 0
        made[full, :, : count - full * block] = rows[full * block :].T
    made.flags.writeable = False
    return made


def _memory(size: int, dtype: np.dtype[Any]) -> Array:
    """A flat array, aligned."""
    memory = np.empty(size * dtype.itemsize + _ALIGN, np.uint8)
    start = -memory.ctypes.data % _ALIGN
    return memory[start : start + size * dtype.itemsize].view(dtype)
