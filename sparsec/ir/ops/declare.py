"""How the common kinds of op are declared: elementwise ops and reductions state what differs, no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sparsec.errors import DTypeError, ShapeError, UnsupportedDtype
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Expr
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops.record import Fold, Kind, OpRecord, Sparse, case, register
from sparsec.ir.types import BOOL, F16, DType, TensorType, dtype_name

#: Dtypes per kind letter, for derived cases.
SAMPLES = {"b": ("bool",), "i": ("i4", "i8"), "u": ("u1",), "f": ("f4", "f8"), "c": ("c8", "c16")}


def result_dtype(rule: str | DType, dtype: DType) -> DType:
    """The dtype that `rule` makes of an operand's: "same", "bool", "real" (the parts), or a dtype itself."""
    if not isinstance(rule, str):
        return rule
    if rule == "bool":
        return BOOL
    if rule == "real" and dtype.kind == "c":
        return np.dtype(f"f{dtype.itemsize // 2}")
    return dtype


def refuse_half(name: str, dtype: DType) -> None:
    """float16 is stored and converted, never computed in: NumPy computes in float32, the frontend casts."""
    if dtype == F16:
        raise UnsupportedDtype(f"{name} does not compute in f16", hint="cast to f32, and the result back")


def elementwise_infer(
    name: str, kinds: str, result: str | DType,
) -> Callable[[Sequence[TensorType], Attrs], list[TensorType]]:
    """Operands of one dtype, each of the result's shape or a scalar."""

    def infer(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
        dtype = types[0].dtype
        if dtype.kind not in kinds or any(t.dtype != dtype for t in types):
            raise DTypeError(f"{name} does not take ({', '.join(dtype_name(t.dtype) for t in types)})")
        refuse_half(name, dtype)
        return [TensorType(result_dtype(result, dtype), common_shape(name, types))]

    return infer


def common_shape(name: str, types: Sequence[TensorType]) -> tuple[Any, ...]:
    """The one shape among the operands that are not scalars."""
    shapes = dict.fromkeys(t.shape for t in types if t.shape != ())
    if len(shapes) > 1:
        raise ShapeError(f"{name}: operand shapes {' and '.join(map(str, shapes))} differ")
    return next(iter(shapes), ())


def _ulp_of(ulp: int | Mapping[str, int], kind: str) -> int:
    return ulp if isinstance(ulp, int) else ulp.get(kind, 0)


def elementwise(
    name: str, doc: str, ref: Callable[..., Any], lower: Callable[..., Any], *, kinds: str, arity: int = 1,
    result: str | DType = "same", sparse: Sparse = Sparse.DENSIFY, grad: Callable[..., Any] | None = None,
    numpy: tuple[str, ...] | None = None, ulp: int | Mapping[str, int] = 0,
) -> OpRecord:
    """Declares `result[i] = f(x[i], …)` on operands of one dtype.

    kinds: NumPy kind letters that it takes. result: "same", "bool", "real" or a dtype. numpy: the NumPy functions
    that it is (default: the one of its name). ulp: allowed distance of a backend from `ref`, for all or by kind.
    Its cases are one small shape per dtype of `kinds`, and a zero-size one.
    """
    cases = tuple(case(*[(2, 3)] * arity, dtypes=d, ulp=_ulp_of(ulp, k)) for k in kinds for d in SAMPLES[k])
    nothing = case(*[(0, 2)] * arity, dtypes=SAMPLES[kinds[-1]][0])
    return register(OpRecord(
        name=name, kind=Kind.ELEMENTWISE, doc=doc, infer=elementwise_infer(name, kinds, result), ref=ref,
        lower=lower, arity=arity, numpy=(name,) if numpy is None else numpy, sparse=sparse, grad=grad,
        cases=(*cases, nothing),
    ))


def elementwise_nest(
    name: str, doc: str, ref: Callable[..., Any], compute: Callable[..., Expr], *, kinds: str, arity: int = 1,
) -> OpRecord:
    """Declares `result[i] = f(x[i], …)` where computing f takes statements: `compute(nest, *scalars)`.

    Such an op fuses with nothing; declare it elementwise wherever an expression can say it.
    """

    def lower(nest: NestBuilder) -> None:
        with nest.loops(nest.result_shape(), bind="parallel") as at:
            scalars = [nest.read(k, *at[len(at) - len(nest.shape(k)):]) for k in range(arity)]
            nest.write(0, at, compute(nest, *scalars))

    return register(OpRecord(
        name=name, kind=Kind.NEST, doc=doc, infer=elementwise_infer(name, kinds, "same"), ref=ref,
        lower=lower, arity=arity, numpy=(name,),
        cases=tuple(case(*[(2, 3)] * arity, dtypes=d) for k in kinds for d in SAMPLES[k]),
    ))


def reduced_shape(shape: Sequence[Any], axes: Sequence[int]) -> tuple[Any, ...]:
    """`shape` without `axes`."""
    return tuple(d for k, d in enumerate(shape) if k not in axes)


def reduction(
    name: str, doc: str, ref: Callable[..., Any], fold: Fold, *, kinds: str, result: str | DType = "same",
    numpy: tuple[str, ...] | None = None, empty: bool = True, ulp: int | Mapping[str, int] = 0,
) -> OpRecord:
    """Declares an op that folds the axes `axes` (a sorted tuple) away. The accumulator has the operand's dtype.

    ref: called as ref(x, axis=axes). empty: whether folding nothing has a value (sum, not max).
    """

    def infer(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
        (x,) = types
        if x.dtype.kind not in kinds:
            raise DTypeError(f"{name} does not take {dtype_name(x.dtype)}")
        refuse_half(name, x.dtype)
        if not empty and any(x.shape[a] == 0 for a in attrs["axes"]):
            raise ShapeError(f"zero-size array to reduction operation {name} which has no identity")
        return [TensorType(result_dtype(result, x.dtype), reduced_shape(x.shape, attrs["axes"]))]

    cases = [case((3, 4), dtypes=d, ulp=_ulp_of(ulp, k), axes=axes)
             for k in kinds for d in SAMPLES[k] for axes in ((0,), (1,), (0, 1))]
    last, bound = SAMPLES[kinds[-1]][0], _ulp_of(ulp, kinds[-1])
    cases += [case((2, 3, 4), dtypes=last, ulp=bound, axes=(0, 2)), case((3, 0), dtypes=last, axes=(0,))]
    cases += [case((2, 3), dtypes=last, axes=())]
    if empty:
        cases += [case((0, 3), dtypes=last, axes=(0,))]
    return register(OpRecord(
        name=name, kind=Kind.REDUCE, doc=doc, infer=infer, ref=lambda x, axes: ref(x, axis=axes), lower=fold,
        attrs=("axes",), numpy=(name,) if numpy is None else numpy, cases=tuple(cases),
    ))

