"""Complex numbers and their parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparsec.errors import DTypeError
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Expr
from sparsec.ir.ops.declare import common_shape, elementwise
from sparsec.ir.ops.record import Kind, OpRecord, Sparse, case, register
from sparsec.ir.scalar import ScalarBuilder
from sparsec.ir.types import F32, F64, TensorType, dtype_name


def _conj(s: ScalarBuilder, x: Expr) -> Expr:
    return s.complex(s.real(x), s.neg(s.imag(x))) if x.dtype.kind == "c" else x


elementwise(
    "real", "The real part, as a new array (`part` is the view).", np.real, lambda s, x: s.real(x), kinds="c",
    result="real", numpy=(), sparse=Sparse.KEEP,
)
elementwise(
    "imag", "The imaginary part, as a new array (`part` is the view).", np.imag, lambda s, x: s.imag(x),
    kinds="c",
    result="real", numpy=(), sparse=Sparse.KEEP,
)
elementwise(
    "conj", "The complex conjugate; real numbers stay as they are.", np.conjugate, _conj, kinds="iufc",
    numpy=("conjugate", "conj"), sparse=Sparse.KEEP,
)


def _complex_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    re, im = types
    if re.dtype != im.dtype or re.dtype not in (F32, F64):
        raise DTypeError(f"make_complex does not take ({dtype_name(re.dtype)}, {dtype_name(im.dtype)})")
    return [TensorType(np.dtype(f"c{2 * re.dtype.itemsize}"), common_shape("make_complex", types))]


def _complex_array(re: np.ndarray, im: np.ndarray) -> np.ndarray:
    """Not re + 1j*im, which loses signs of zero and makes NaN of infinities."""
    out = np.empty(np.broadcast_shapes(re.shape, im.shape), f"c{2 * re.dtype.itemsize}")
    out.real, out.imag = re, im
    return out


register(OpRecord(
    name="make_complex", kind=Kind.ELEMENTWISE, arity=2, doc="The complex number with these parts.",
    infer=_complex_types, ref=_complex_array, lower=lambda s, re, im: s.complex(re, im), sparse=Sparse.UNION,
    cases=(case((2, 3), (2, 3), dtypes="f4"), case((3,), (), dtypes="f8")),
))
