"""Running results along one axis, in exact left-to-right order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sparsec.errors import DTypeError
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Expr
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops import rules
from sparsec.ir.ops.declare import SAMPLES, refuse_half
from sparsec.ir.ops.record import Kind, OpRecord, Sparse, case, register
from sparsec.ir.scalar import S, index
from sparsec.ir.types import TensorType, dtype_name


def _running(ufunc: np.ufunc) -> Callable[..., np.ndarray]:
    """The reference that `accumulate` is."""
    return lambda x, axis: ufunc.accumulate(x, axis=axis, dtype=x.dtype)


def _first_running(ufunc: np.ufunc, better: np.ufunc) -> Callable[..., np.ndarray]:
    """`accumulate` of an extremum that changes only where an element is better than all before it."""

    def ref(x: np.ndarray, axis: int) -> np.ndarray:
        x = np.moveaxis(x, axis, -1)
        best, at = ufunc.accumulate(x, axis=-1), np.zeros(x.shape, np.intp)
        changes = better(x[..., 1:], best[..., :-1]) | (np.isnan(best[..., 1:]) & ~np.isnan(best[..., :-1]))
        at[..., 1:] = np.where(changes, np.arange(1, x.shape[-1]), 0)
        return np.moveaxis(np.take_along_axis(x, np.maximum.accumulate(at, axis=-1), -1), -1, axis)

    return ref


def _scan(
    name: str, doc: str, ref: Callable[..., np.ndarray], step: Callable[[Expr, Expr], Expr], *, kinds: str,
    numpy: tuple[str, ...] = (), ulp: int = 0,
) -> None:
    """Declares result[i] = step(result[i - 1], x[i]) along `axis`, starting with result[0] = x[0]."""

    def infer(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
        (x,) = types
        if x.dtype.kind not in kinds:
            raise DTypeError(f"{name} does not take {dtype_name(x.dtype)}")
        refuse_half(name, x.dtype)
        return [TensorType(x.dtype, x.shape)]

    def lower(nest: NestBuilder, axis: int) -> None:
        shape = nest.shape(0)
        with nest.loops([d for k, d in enumerate(shape) if k != axis], bind="parallel") as others:
            def at(i: Expr) -> tuple[Expr, ...]:
                return (*others[:axis], i, *others[axis:])

            with nest.if_(nest.s.gt(shape[axis], index(0))):
                total = nest.mut(nest.read(0, *at(index(0))))
                nest.write(0, at(index(0)), total)
                with nest.loop(shape[axis], index(1)) as i:
                    nest.assign(total, step(total, nest.read(0, *at(i))))
                    nest.write(0, at(i), total)

    cases = [case((3, 4), dtypes=d, axis=axis, ulp=ulp if k == "c" else 0)
             for k in kinds for d in SAMPLES[k] for axis in (0, 1)]
    register(OpRecord(
        name=name, kind=Kind.NEST, doc=doc, infer=infer, ref=ref, lower=lower, attrs=("axis",), numpy=numpy,
        sparse=Sparse.KEEP, channelwise=lambda attrs, rank: tuple(k for k in range(rank) if k != attrs["axis"]),
        cases=(*cases, case((2, 0, 3), axis=1), case((5,), axis=0)),
    ))


_scan("cumsum", "The running sum along an axis.", _running(np.add), S.add, kinds="iufc",
      numpy=("cumsum",))
_scan("cumprod", "The running product along an axis.", _running(np.multiply), S.mul, kinds="iufc",
      numpy=("cumprod",), ulp=16)
_scan("cummax", "The running maximum along an axis; NaN from the first NaN on.", _running(np.maximum), rules.larger,
      kinds="biufc")
_scan("cummin", "The running minimum along an axis; NaN from the first NaN on.", _running(np.minimum), rules.smaller,
      kinds="biufc")
_scan("first_cummax", "`cummax` of floats; of zeros of both signs the first, as NumPy's float16 has it.",
      _first_running(np.maximum, np.greater), rules.first_larger, kinds="f")
_scan("first_cummin", "`cummin` of floats; of zeros of both signs the first, as NumPy's float16 has it.",
      _first_running(np.minimum, np.less), rules.first_smaller, kinds="f")
