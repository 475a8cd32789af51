"""Types of IR values: dtype, shape, and, for arrays, where in which storage they live.

`f32[4,2] @x+1:(12,2)` is a float32 array of shape (4,2), whose element (i,j) is element 1+12i+2j of storage
`@x`. Without `@…` a value is the whole of its own storage, in C order. `f32` is a scalar: no storage.
`f32[1, k<=32 of 64 @%idx, 56, 56]` stores at most 32 of 64 channels; `%idx` says which.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sparsec.errors import UnsupportedDtype
from sparsec.ir.dims import Dim, Poly, dim_text, product, symbols
from sparsec.ir.tensorref import TensorRef, contiguous_strides

DType = np.dtype[Any]

#: Text name of every dtype that a value may have.
DTYPES: dict[str, DType] = {
    "bool": np.dtype(np.bool_),
    **{f"i{8 * n}": np.dtype(f"i{n}") for n in (1, 2, 4, 8)},
    **{f"u{8 * n}": np.dtype(f"u{n}") for n in (1, 2, 4, 8)},
    **{f"f{8 * n}": np.dtype(f"f{n}") for n in (2, 4, 8)},
    **{f"c{8 * n}": np.dtype(f"c{n}") for n in (8, 16)},
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}

BOOL, I32, I64, F16, F32, F64 = (DTYPES[n] for n in ("bool", "i32", "i64", "f16", "f32", "f64"))

#: Axes that a type may have: NumPy's own limit.
MAX_RANK = 64


def dtype_name(dtype: DType) -> str:
    """`f32` for float32. Raises UnsupportedDtype for a dtype that no value can have."""
    try:
        return _NAMES[np.dtype(dtype)]
    except KeyError:
        raise unsupported_dtype(dtype) from None


def unsupported_dtype(dtype: Any) -> UnsupportedDtype:
    """The error for a dtype outside `DTYPES`, with advice for the kind it is."""
    dtype = np.dtype(dtype)
    hint = "sparsec compiles bool, int8-64, uint8-64, float16/32/64 and complex64/128"
    if not dtype.isnative:
        hint = "convert once with `x.astype(x.dtype.newbyteorder('='))`"
    return UnsupportedDtype(f"dtype {dtype} is not supported", hint=hint)


def is_supported(dtype: DType) -> bool:
    """Whether a value may have this dtype."""
    return np.dtype(dtype) in _NAMES


@dataclass(frozen=True, slots=True)
class Channels:
    """A channel index on one axis: `shape[axis]` of `full` channels are stored, named by value `index`."""

    axis: int
    full: int
    index: str  # name of the i32 SSA value, with its `%`


@dataclass(frozen=True, slots=True)
class TensorType:
    """dtype and shape; `ref` None means: the whole of the value's own storage, in C order."""

    dtype: DType
    shape: tuple[Dim, ...] = ()
    ref: TensorRef | None = None
    channels: Channels | None = None

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> Dim:
        return product(self.shape)

    @property
    def static_shape(self) -> tuple[int, ...]:
        """The shape as ints. Raises TypeError when a dim is symbolic."""
        if any(isinstance(d, Poly) for d in self.shape):
            raise TypeError(f"{self} has symbolic dims")
        return tuple(int(d) for d in self.shape)  # type: ignore[arg-type]

    @property
    def is_static(self) -> bool:
        return not any(symbols(d) for d in self.shape)

    def fresh(self) -> TensorType:
        """The same dtype, shape and channels in a storage of its own."""
        return replace(self, ref=None)

    def with_ref(self, ref: TensorRef | None) -> TensorType:
        return replace(self, ref=ref)

    def __str__(self) -> str:
        return type_text(self)


def tensor(dtype: Any, *shape: Dim) -> TensorType:
    """`tensor(F32, 4, 2)` is `f32[4,2]`."""
    return TensorType(np.dtype(dtype), tuple(shape))


def type_text(t: TensorType) -> str:
    """The text form; the parser in `text.py` reads it back."""
    dims = [dim_text(d) for d in t.shape]
    if t.channels is not None:
        c = t.channels
        dims[c.axis] += f" of {c.full} @{c.index}"
    text = dtype_name(t.dtype) + (f"[{','.join(dims)}]" if dims else "")
    return f"{text} {ref_text(t.ref, t.shape)}" if t.ref is not None else text


def ref_text(ref: TensorRef, shape: tuple[Dim, ...]) -> str:
    """`@x+1:(12,2)`; offset 0 and C-order strides are left out."""
    text = f"@{ref.storage}"
    if ref.offset != 0:
        offset = dim_text(ref.offset).split("<=")[0]
        text += offset if offset.startswith("-") else f"+{offset}"
    if ref.strides != contiguous_strides(shape):
        text += ":(" + ",".join(dim_text(s).split("<=")[0] for s in ref.strides) + ")"
    return text
