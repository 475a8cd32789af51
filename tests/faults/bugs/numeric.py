"""Bugs about integers at their limits, NaN, zeros, denormals, sums, casts and promotion: faults 36 to 51."""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from sparsec.codegen import llvm_values
from sparsec.config import settings
from sparsec.errors import DTypeError
from sparsec.frontend import convert, specialisation, ufunc_reduce, ufunc_rules, ufuncs
from sparsec.frontend.fastcall import attach
from sparsec.ir.flags import MESSAGES, names
from sparsec.ir.ops import bitwise, cast, rules, summation
from sparsec.ir.ops.rules import like
from sparsec.ir.scalar import S
from sparsec.passes import lower_reductions
from sparsec.runtime.cpu import CpuExecutable
from tests.faults.bugs import bug, change_op

WARNS = r"warns \[\], NumPy \['RuntimeWarning'\]"
NOT_RAISED = "NumPy raises"


def lowered(*ops: str, wrong: Callable[..., Any]) -> None:
    """Replaces what elementwise ops are lowered to by `wrong(right result, *operands)`."""
    for op in ops:
        change_op(op, lower=lambda right: lambda s, *args, **attrs: wrong(right(s, *args, **attrs), *args))


@bug("an integer divided by zero goes unnoticed", 36, shows=WARNS)
def _(plant):
    plant.setattr(ufunc_rules, "_note", lambda trace, met, flag: None)


@bug("an integer divided by zero stays as it is", 36)
def _(plant):
    lowered("floor_div", wrong=lambda right, x, y: S.select(S.eq(y, like(y, 0)), x, right))


@bug("MIN // -1 saturates", 37)
def _(plant):
    def wrong(right: Any, x: Any, y: Any) -> Any:
        if x.dtype.kind != "i":
            return right
        meets = S.logical_and(S.eq(x, rules.lowest(x.dtype)), S.eq(y, like(y, -1)))
        return S.select(meets, rules.highest(x.dtype), right)

    lowered("floor_div", wrong=wrong)


@bug("integers are divided towards zero", 37)
def _(plant):
    def wrong(right: Any, x: Any, y: Any) -> Any:
        if x.dtype.kind != "i":
            return right
        return S.select(S.eq(y, like(y, 0)), like(y, 0), S.quo(x, rules.safe_divisor(x, y)))

    lowered("floor_div", wrong=wrong)


@bug("the absolute value of the least integer saturates", 38)
def _(plant):
    def wrong(right: Any, x: Any) -> Any:
        if x.dtype.kind != "i":
            return right
        return S.select(S.eq(x, rules.lowest(x.dtype)), rules.highest(x.dtype), right)

    lowered("abs", "neg", wrong=wrong)


@bug("LLVM is told that integers do not overflow", 39)
def _(plant):
    integer = llvm_values.LlvmValues._integer
    plant.setattr(llvm_values.LlvmValues, "_integer",
                  lambda self, fn, args, dtype, nsw: integer(self, fn, args, dtype, " nsw"))


@bug("sums of int32 are made in int64", 39, shows="NumPy gives int32")
def _(plant):
    dtypes = ufunc_reduce.reduction_dtypes

    def wide(ufunc: Any, x: Any, dtype: Any, out: Any) -> Any:
        return dtypes(ufunc, x, np.int64 if dtype == np.int32 else dtype, out)

    plant.setattr(ufunc_reduce, "reduction_dtypes", wide)


@bug("the machine shifts by the low bits of the amount", 40)
def _(plant):
    plant.setattr(bitwise, "_amount", lambda y: (
        rules.const(True, rules.BOOL), S.logical_and(y, like(y, 8 * y.dtype.itemsize - 1))))


@bug("maxima ignore NaN", 41)
def _(plant):
    plant.setattr(rules, "_extremum", rules._number_extremum)
    for op, ufunc in (("maximum", np.fmax), ("minimum", np.fmin)):
        change_op(op, ref=lambda ref, ufunc=ufunc: ufunc)


@bug("a NaN is no maximum for argmax", 42)
def _(plant):
    plant.setattr(rules, "better", rules.compare)


@bug("the last of equal elements is the largest", 42)
def _(plant):
    better = rules.better
    plant.setattr(rules, "better", lambda order, x, best: better(order[0] + "e", x, best))


@bug("-x is 0 - x", 43)
def _(plant):
    lowered("neg", wrong=lambda right, x: S.sub(like(x, 0), x) if x.dtype.kind == "f" else right)


@bug("x * 0 is 0", 43, 45)
def _(plant):
    def wrong(right: Any, x: Any, y: Any) -> Any:
        return S.select(S.eq(y, like(y, 0)), like(y, 0), right) if x.dtype.kind == "f" else right

    lowered("mul", wrong=wrong)


@bug("denormal results are 0", 44)
def _(plant):
    def wrong(right: Any, x: Any, y: Any) -> Any:
        if x.dtype.kind != "f":
            return right
        least = like(x, float(np.finfo(x.dtype).smallest_normal))
        return S.select(S.lt(S.abs(right), least), like(x, 0), right)

    lowered("add", "mul", wrong=wrong)


@bug("denormals are switched off and stay so", 44, shows="flushed")
def _(plant):
    run = CpuExecutable.run
    set_bits = _control_word_setter(0x8040)

    def careless(self: Any, *args: Any) -> Any:
        result = run(self, *args)
        set_bits()
        return result

    plant.setattr(CpuExecutable, "run", careless)


def _control_word_setter(bits: int) -> Callable[[], None]:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(f"""
        target triple = "{llvm.get_process_triple()}"
        declare void @llvm.x86.sse.stmxcsr(ptr)
        declare void @llvm.x86.sse.ldmxcsr(ptr)
        define void @set() {{
          %p = alloca i32
          call void @llvm.x86.sse.stmxcsr(ptr %p)
          %old = load i32, ptr %p
          %new = or i32 %old, {bits}
          store i32 %new, ptr %p
          call void @llvm.x86.sse.ldmxcsr(ptr %p)
          ret void
        }}""")
    engine = llvm.create_mcjit_compiler(module, llvm.Target.from_default_triple().create_target_machine())
    engine.finalize_object()
    function = ctypes.CFUNCTYPE(None)(engine.get_function_address("set"))
    function.engine = engine  # type: ignore[attr-defined]
    return function


@bug("LLVM may reorder float arithmetic", 45)
def _(plant):
    plant.setattr(llvm_values, "_FLOAT_OPS", {fn: f"{op} fast" for fn, op in llvm_values._FLOAT_OPS.items()})


@bug("LLVM may contract x * y + z", 45)
def _(plant):
    plant.setattr(llvm_values, "_FLOAT_OPS", {fn: f"{op} contract" for fn, op in llvm_values._FLOAT_OPS.items()})


@bug("floats that no integer holds saturate", 46)
def _(plant):
    def saturating(x: Any, dtype: Any) -> Any:
        bound = 2 ** (8 * dtype.itemsize - 1)
        small, large = S.lt(x, like(x, -bound)), S.ge(x, like(x, bound))
        fits = S.logical_not(rules.any_of(small, large, S.ne(x, x)))
        inside = S.cast(S.select(fits, x, like(x, 0)), dtype)
        return S.select(small, rules.lowest(dtype), S.select(large, rules.highest(dtype), inside))

    plant.setattr(cast, "_truncate", saturating)


@bug("floats are summed one by one", 47)
def _(plant):
    def one_by_one(nest: Any, count: Any, element: Any, dtype: Any, **form: Any) -> Any:
        total = nest.mut(summation.const(0, dtype), "total")
        with nest.loop(count) as k:
            nest.assign(total, S.add(total, element(k)))
        return total

    plant.setattr(lower_reductions, "pairwise_sum", one_by_one)


@bug("each thread has a partial sum", 47, shows="assert 2 == 1")
def _(plant):
    lanes = summation._lanes
    plant.setattr(summation, "_lanes", lambda dtype: lanes(dtype) // settings.num_threads)


@bug("an integer to a negative power is 1", 48, shows=NOT_RAISED)
def _(plant):
    plant.setitem(ufunc_rules.COMPOSITE, "power", lambda trace, values, dtypes: [
        trace.op("pow" if values[0].type.dtype.kind in "fc" else "ipow", *values)])


@bug("Python numbers have a dtype of their own", 49, shows="NumPy gives")
def _(plant):
    resolve = ufuncs.resolve

    def strong(ufunc: Any, operands: Any, *rest: Any) -> Any:
        kinds = {int: "i8", float: "f8", complex: "c16"}
        return resolve(ufunc, [SimpleNamespace(dtype=np.dtype(kinds[type(x)]), weak=None) if type(x) in kinds else x
                               for x in operands], *rest)

    plant.setattr(ufuncs, "resolve", strong)


@bug("a Python integer that does not fit wraps", 49, shows=NOT_RAISED)
def _(plant):
    def wrapping(trace: Any, x: Any, dtype: Any) -> Any:
        if type(x) is int and dtype.kind in "iu":
            x = np.array([x], np.int64).astype(dtype)[0]
        return trace.const(np.asarray(x).astype(dtype).item(), dtype)

    for module in (convert, ufuncs):
        plant.setattr(module, "number", wrapping)


@bug("True + True is False", 50)
def _(plant):
    lowered("add", wrong=lambda right, x, y: S.xor(x, y) if x.dtype.kind == "b" else right)


@bug("-True is an integer", 50, shows=NOT_RAISED)
def _(plant):
    resolve = ufuncs.resolve

    def lenient(ufunc: Any, operands: Any, outs: Any, dtype: Any, casting: str) -> Any:
        try:
            return resolve(ufunc, operands, outs, dtype, casting)
        except DTypeError:
            return [np.dtype("i8")] * ufunc.nargs

    plant.setattr(ufuncs, "resolve", lenient)


@bug("warnings do not ask for np.errstate", 51, shows="DID NOT RAISE|RuntimeWarning")
def _(plant):
    def always(flags: int, name: str, level: int) -> None:
        for flag in names(flags):
            warnings.warn(MESSAGES[flag], RuntimeWarning, stacklevel=level)

    plant.setattr(specialisation, "warn", always)
    plant.setattr(attach, "warn", always)

