"""Loop IR to OpenCL C (1.2): one `__kernel` for each launch. The host body is the runtime's to run.

The text is meant to be read and compared: names are the program's, made harmless; expressions nest as they
did in the loop IR. What C leaves undefined is spelled out: the user's signed arithmetic goes through unsigned
types, where it wraps. float16 lives in `ushort` (a device need not have the type), bool in `uchar` in memory.
"""

from __future__ import annotations

import re

import numpy as np

from sparsec.codegen.device_parts import parts
from sparsec.codegen.gemm import part_dtype
from sparsec.codegen.opencl_builder import OpenClBuilder
from sparsec.codegen.opencl_text import memory_type, value_type
from sparsec.ir.abi import DeviceKernel, DeviceSource
from sparsec.ir.loops import Fail, Kernel, Launch, Program, walk_stmts
from sparsec.ir.types import DType

__all__ = ["opencl_source"]


def opencl_source(program: Program) -> DeviceSource:
    """The kernels of a program. Raises CompileError for a node that an earlier pass should have removed."""
    module = _Module(program)
    kernels = tuple((kernel.name, module.kernel(kernel)) for kernel in program.kernels)
    return DeviceSource(module.text(), program, kernels, module.fp64)


_HALF_TO_FLOAT = """\
float half_to_float(ushort bits) {
  return vload_half(0, (const half *)&bits);
}"""
_TO_HALF = """\
ushort %s_to_half(%s x) {
  ushort bits;
  vstore_half_rte(x, 0, (half *)&bits);
  return bits;
}"""


class _Module:
    """The text of all kernels, and what they need from the file."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.fp64 = False
        self.can_fail = any(
            isinstance(stmt, Fail) for kernel in program.kernels for stmt in walk_stmts(kernel.body)
        )
        self._helpers: dict[str, str] = {}
        self._kernels: list[str] = []
        self._names: set[str] = set()
        self._in_arena = self._arena_bound()

    def text(self) -> str:
        head = ["#pragma OPENCL FP_CONTRACT OFF"]
        if self.fp64:
            head.append("#pragma OPENCL EXTENSION cl_khr_fp64 : enable")
        return "\n\n".join(["\n".join(head), *self._helpers.values(), *self._kernels]) + "\n"

    def type(self, dtype: DType) -> str:
        """The C type of a value; takes note of what the file must enable."""
        self._see(dtype)
        return value_type(dtype)

    def memory_type(self, dtype: DType) -> str:
        self._see(dtype)
        return memory_type(dtype)

    def _see(self, dtype: DType) -> None:
        if part_dtype(dtype) == np.float64:
            self.fp64 = True

    def helper(self, name: str) -> str:
        texts = {
            "half_to_float": _HALF_TO_FLOAT,
            "float_to_half": _TO_HALF % ("float", "float"),
            "double_to_half": _TO_HALF % ("double", "double"),
        }
        self._helpers.setdefault(name, texts[name])
        return name

    def alias(self, ctype: str) -> str:
        """A type that may look at memory of another type; without it C lets the compiler reorder them."""
        name = f"any_{ctype}"
        self._helpers.setdefault(name, f"typedef {ctype} __attribute__((may_alias)) {name};")
        return name

    def _arena_bound(self) -> set[tuple[str, int]]:
        """(kernel, buffer number) that some launch binds to the arena: these come with an offset."""
        arena = {slot.buffer.name for slot in self.program.slots if slot.role == "arena"}
        return {
            (stmt.kernel, n)
            for stmt in walk_stmts(self.program.body)
            if isinstance(stmt, Launch)
            for n, buffer in enumerate(stmt.buffers)
            if buffer in arena
        }

    def kernel(self, kernel: Kernel) -> tuple[DeviceKernel, ...]:
        """Writes the launches of one kernel."""
        pieces = parts(kernel)
        elements = tuple(
            part_dtype(buffer.dtype).itemsize if (kernel.name, n) in self._in_arena else 0
            for n, buffer in enumerate(kernel.buffers)
        )
        launches = []
        for n, part in enumerate(pieces):
            name = self._kernel_name(kernel.name if len(pieces) == 1 else f"{kernel.name}_part{n}")
            self._kernels.append(OpenClBuilder(self, part).kernel(name, kernel, elements))
            launches.append(DeviceKernel(name, part.items, elements))
        return tuple(launches)

    def _kernel_name(self, name: str) -> str:
        # The prefix keeps a function called `exp` from redefining OpenCL's.
        stem = unique = "sparsec_" + re.sub(r"[^A-Za-z0-9_]", "_", name)
        count = 0
        while unique in self._names:
            count += 1
            unique = f"{stem}_{count}"
        self._names.add(unique)
        return unique
