"""Whether a storage's first contents matter, or every element is overwritten before anyone reads it.

    out = np.zeros((n, 2)); out[:, 0] = a; out[:, 1] = b        the zeros do not matter

Exact, by marking the written elements; a storage too large to mark counts as read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsec.ir.graph import Op, free_values
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.tensorref import TensorRef, contiguous_strides
from sparsec.ir.types import TensorType
from sparsec.passes.accesses import Access, accesses
from sparsec.passes.facts import is_plain_write

_MOST = 1 << 22  # elements


def overwritten_unread(ops: Sequence[Op]) -> bool:
    """Whether `ops`, whose first is a write to a storage, overwrite all of it before an element is read.

    The storage's version must be the whole of it, in C order.
    """
    version = ops[0].operands[0]
    if not _markable(version.type):
        return False
    marks = np.zeros(version.type.size, np.bool_)  # type: ignore[arg-type]
    for op in ops:
        if record(op.name).kind is Kind.CONTROL:
            if version.storage in {v.storage for v in (*free_values(op), *op.results)}:
                return False
            continue
        touched = [a for a in accesses(op) if a.storage == version.storage]
        if any(not _in_marks(a, version.type) for a in touched):
            return False
        if any(not a.write and not _elements(marks, a).all() for a in touched):
            return False
        if is_plain_write(op):
            for a in touched:
                if a.write:
                    _elements(marks, a)[...] = True
        elif any(a.write for a in touched):
            return False
        if touched and marks.all():
            return True
    return False


def _markable(type: TensorType) -> bool:
    if not type.is_static or type.size > _MOST:  # type: ignore[operator]
        return False
    return type.ref is None or (type.ref.offset == 0 and type.ref.strides == contiguous_strides(type.shape))


def _in_marks(a: Access, type: TensorType) -> bool:
    """Whether the access counts in the storage's own elements, at known places."""
    numbers = (a.ref.offset, *a.ref.strides, *a.shape)
    return a.itemsize == type.dtype.itemsize and all(isinstance(n, int) for n in numbers)


def _elements(marks: np.ndarray[Any, Any], a: Access) -> np.ndarray[Any, Any]:
    ref: TensorRef = a.ref
    if 0 in a.shape:
        return marks[:0]
    start = marks[int(ref.offset):]  # type: ignore[arg-type]
    return np.lib.stride_tricks.as_strided(start, a.shape, ref.strides)  # type: ignore[arg-type]
