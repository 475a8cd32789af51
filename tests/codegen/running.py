"""Runs loop-IR programs on each backend, for the tests of code generation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest

from sparsec.codegen.device_calls import without_calls
from sparsec.codegen.llvm import LlvmTarget, llvm_text
from sparsec.codegen.opencl import opencl_source
from sparsec.ir.loop_interp import run as interpret
from sparsec.ir.loops import Body, Buffer, Expr, For, Kernel, Launch, Load, Program, Slot, Store
from sparsec.ir.scalar import index, var
from sparsec.ir.types import DType
from sparsec.runtime.blas import find_blas
from sparsec.runtime.cpu import CpuExecutable, compile_object, host_cpu, optimised_text
from sparsec.runtime.devices import POCL, DeviceInfo, probe
from sparsec.runtime.opencl import OpenClExecutable

Memory = Sequence[np.ndarray]
Runner = Callable[[Program, Memory], tuple[int, int]]


@cache
def cpu_target(blas: bool = True) -> LlvmTarget:
    host, found = host_cpu(), find_blas() if blas else None
    bits = found.bits if found else 0
    return LlvmTarget(
        host.triple, host.data_layout, host.cpu, host.features, host.vector_bits, host.vector_bytes, bits
    )


@cache
def pocl() -> DeviceInfo:
    for device in probe().devices:
        if device.platform == POCL:
            return device
    pytest.skip("PoCL is not installed")


def compile_cpu(program: Program, blas: bool = True, level: int = 2) -> CpuExecutable:
    found = find_blas() if blas else None
    text = llvm_text(program, cpu_target(blas))
    return CpuExecutable([compile_object(text, level)], found.symbols if found else {})


def optimised(program: Program) -> str:
    """The program after LLVM's passes."""
    return optimised_text(llvm_text(program, cpu_target(True)))


def aligned(size: int) -> np.ndarray:
    """Memory at a multiple of 64."""
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


def run_cpu(program: Program, memory: Memory, level: int = 2) -> tuple[int, int]:
    executable = compile_cpu(program, level=level)
    arena = aligned(program.arena_bytes)
    return executable.run([view.ctypes.data for view in memory], arena.ctypes.data)


def run_opencl(program: Program, memory: Memory) -> tuple[int, int]:
    device = pocl()
    views = [view.reshape(-1).view(np.uint8) for view in memory]
    return OpenClExecutable(opencl_source(without_calls(program)), device).run(views)


def run_interp(program: Program, memory: Memory) -> tuple[int, int]:
    return interpret(program, [view.reshape(-1).view(np.uint8) for view in memory])


BACKENDS: dict[str, Runner] = {"cpu": run_cpu, "opencl": run_opencl}


def agree(program: Program, memory: Memory, status: tuple[int, int] = (0, 0)) -> list[np.ndarray]:
    """Runs on the interpreter and on both backends; their bytes must be equal. Returns the interpreter's."""
    expected = [view.copy() for view in memory]
    assert run_interp(program, expected) == status
    for name, run in BACKENDS.items():
        given = [view.copy() for view in memory]
        assert run(program, given) == status, name
        # After a failure, CPU code has written what it had; a device copies nothing back.
        for want, got in zip(expected, given) if status[0] == 0 else ():
            np.testing.assert_array_equal(got.view(np.uint8), want.view(np.uint8), err_msg=name)
    return expected


def param(name: str, array: np.ndarray, position: int, access: str = "rw", role: str = "param") -> Slot:
    return Slot(Buffer(name, array.dtype, array.size, access=access), role, position)


def program(
    body: Body, slots: Sequence[Slot], failures: int = 0, arena_bytes: int = 0, **kernel: object
) -> Program:
    """One kernel over all slots, launched once."""
    from sparsec.ir.loops import Failure

    buffers = tuple(slot.buffer for slot in slots)
    names = tuple(buffer.name for buffer in buffers)
    return Program(
        "p", tuple(slots), (Kernel("k", buffers, (), body),), (Launch("k", names),), arena_bytes,
        tuple(Failure("value", f"failure {n}") for n in range(failures)),
    )  # fmt: skip


def elementwise(
    fns: Sequence[Callable[..., Expr]], inputs: Sequence[np.ndarray], outputs: Sequence[DType]
) -> Program:
    """outputs[f][i] = fns[f](inputs[0][i], …)"""
    i = var("i")
    slots = [param(f"x{n}", x, n, "r") for n, x in enumerate(inputs)]
    operands = [Load(f"x{n}", i, x.dtype) for n, x in enumerate(inputs)]
    count = inputs[0].size
    results = [np.empty(count, dtype) for dtype in outputs]
    slots += [param(f"y{n}", y, n, "w", "result") for n, y in enumerate(results)]
    stores = tuple(Store(f"y{n}", i, fn(*operands)) for n, fn in enumerate(fns))
    return program((For(i, index(0), index(count), 1, stores, "parallel"),), slots)


def run_elementwise(
    run: Runner, fns: Sequence[Callable[..., Expr]], inputs: Sequence[np.ndarray], outputs: Sequence[DType]
) -> list[np.ndarray]:
    made = elementwise(fns, inputs, outputs)
    results = [np.empty(inputs[0].size, dtype) for dtype in outputs]
    assert run(made, [*(np.ascontiguousarray(x) for x in inputs), *results]) == (0, 0)
    return results
