"""One function of the scalar table as a compiled loop over arrays, for the measurements of vector math."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from sparsec.codegen.legalize import legalize
from sparsec.codegen.llvm import LlvmTarget, llvm_text
from sparsec.codegen.target import CPU
from sparsec.ir.loops import Buffer, For, Kernel, Launch, Load, Program, Slot, Store
from sparsec.ir.scalar import FNS, apply, index, var
from sparsec.runtime.cpu import CpuExecutable, compile_object, host_cpu

#: Names of the scalar table that NumPy spells otherwise.
NUMPY_NAMES = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh",
    "atanh": "arctanh", "pow": "power", "atan2": "arctan2",
}  # fmt: skip


def numpy_function(name: str) -> np.ufunc:
    """NumPy's function of this name of the scalar table."""
    return getattr(np, NUMPY_NAMES.get(name, name))


def program(name: str, dtype: np.dtype, count: int) -> Program:
    """y[i] = name(x0[i], …)"""
    i, arity = var("i"), FNS[name].arity
    names = [f"x{n}" for n in range(arity)]
    slots = [Slot(Buffer(x, dtype, count, access="r"), "param", n) for n, x in enumerate(names)]
    slots.append(Slot(Buffer("y", dtype, count, access="w"), "result", 0))
    value = apply(name, *(Load(x, i, dtype) for x in names))
    loop = For(i, index(0), index(count), 1, (Store("y", i, value),), "parallel")
    kernel = Kernel("k", tuple(slot.buffer for slot in slots), (), (loop,))
    return Program("p", tuple(slots), (kernel,), (Launch("k", (*names, "y")),))


class Compiled:
    """A compiled function; `own` False: as the C library has it."""

    def __init__(self, name: str, dtype: np.dtype, count: int, own: bool = True) -> None:
        host = host_cpu()
        target = LlvmTarget(host.triple, host.data_layout, host.cpu, host.features, host.vector_bits)
        legal = legalize(program(name, np.dtype(dtype), count), replace(CPU, own_math=own))
        self.llvm = llvm_text(legal, target)
        self.executable = CpuExecutable([compile_object(self.llvm)])

    def bind(self, inputs: list[np.ndarray], out: np.ndarray) -> Callable[[], object]:
        """A call with everything prepared, to be timed. The arrays must stay alive."""
        addresses = [array.ctypes.data for array in (*inputs, out)]
        return lambda: self.executable.run(addresses)

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        out = np.empty_like(inputs[0])
        self.bind(list(inputs), out)()
        return out
