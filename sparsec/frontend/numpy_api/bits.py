"""Bits as bytes of 0 and 1, and packed eight to a byte."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.dispatch import implements
from sparsec.frontend.numpy_api.creation import literal, zeros
from sparsec.frontend.numpy_api.joining import concatenate
from sparsec.frontend.numpy_api.support import (
    axis_index,
    axis_last,
    axis_to,
    flattened,
    is_f_ordered,
    reshaped,
    strong,
)

_U1 = np.dtype(np.uint8)


def _shifts(x: Traced, bitorder: str) -> Traced:
    """How far each bit of a byte is shifted, first bit first."""
    if bitorder not in ("big", "little"):
        raise ValueError("'order' must be either 'little' or 'big'")
    places = np.arange(8, dtype=_U1)
    return literal(x.trace, places[::-1].copy() if bitorder == "big" else places)


def _rows(x: Traced, axis: Any) -> tuple[Traced, int]:
    """The bytes with the axis that counts at the end, and where it was."""
    if axis is None:
        return flattened(x), 0
    at = axis_index(axis, x.ndim)
    return axis_last(x, at), at


def _lengthened(rows: Traced, count: int) -> Traced:
    """Zeros behind the last axis, up to `count`."""
    missing = zeros((*rows.shape[:-1], count - rows.shape[-1]), _U1)
    return concatenate((rows, missing), axis=-1)  # type: ignore[no-any-return]


def _laid_out(made: Traced, like: Traced) -> Traced:
    """A new array in the order of memory that the operand has."""
    return made.copy("F" if made.ndim > 1 and is_f_ordered(like) else "C")  # type: ignore[no-any-return]


@implements(np.unpackbits)
def unpackbits(a: Any, /, axis: Any = None, count: Any = None, bitorder: str = "big") -> Traced:
    x = strong(a)
    if x.dtype != _U1:
        raise TypeError("Expected an input array of unsigned byte data type")
    rows, at = _rows(x, axis)
    size = rows.shape[-1] * 8
    bits: Any = reshaped((rows[..., None] >> _shifts(x, bitorder)) & 1, (*rows.shape[:-1], size))
    if count is not None:
        wanted = operator.index(count)
        if wanted < -size:
            raise ValueError("-count larger than number of elements")
        bits = bits[..., :wanted] if wanted <= size else _lengthened(bits, wanted)
    return _laid_out(axis_to(bits, bits.ndim - 1, at), x)


@implements(np.packbits)
def packbits(a: Any, /, axis: Any = None, bitorder: str = "big") -> Traced:
    x: Any = strong(a)
    if x.dtype.kind not in "bui":
        raise TypeError("Expected an input array of integer or boolean data type")
    rows, at = _rows((x != 0).astype(_U1), axis)
    count = -(-rows.shape[-1] // 8)
    if rows.shape[-1] != 8 * count:
        rows = _lengthened(rows, 8 * count)
    bits: Any = reshaped(rows, (*rows.shape[:-1], count, 8))
    bits = bits << _shifts(x, bitorder)
    return _laid_out(axis_to(bits.sum(axis=-1, dtype=_U1), bits.ndim - 2, at), x)
