"""What is known of the machines that loops are made for: facts, no code.

A target decides nothing by itself. Legalisation asks it what cannot be expressed, scheduling what is worth
doing. Mali is the OpenCL target with other facts, not another backend.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CPU", "INTERP", "MALI", "OPENCL", "TARGETS", "Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """Facts of a kind of machine; those of the device at hand are put in with `dataclasses.replace`.

    kind: which backend serves it: "cpu", "opencl" or "interp".
    vector_bytes: the natural width of its vectors; 0: none.
    vector_registers: how many of them one thread has, where our own vectors are worth it; 0: it is left to others.
    spaces: memory spaces worth using for scratch (local memory of a unified-memory GPU is not).
    fp64, fp16: whether kernels may compute in that precision.
    max_group: work-items of the largest work-group; 0: it has no work-groups.
    has_blas: whether `Extern("gemm")` is a call into a library.
    threads: whether parallel loops run at the same time.
    own_math: whether exp and its kin are our own formulas; they need a fused multiply-add in hardware.
    """

    name: str
    kind: str
    vector_bytes: int
    spaces: tuple[str, ...] = ("private",)
    fp64: bool = True
    fp16: bool = False
    max_group: int = 0
    has_blas: bool = False
    threads: bool = True
    own_math: bool = False
    vector_registers: int = 0


INTERP = Target("interp", "interp", 0, ("local", "private"), max_group=1 << 16, has_blas=True, threads=False)
CPU = Target("cpu", "cpu", 32, has_blas=True, own_math=True, vector_registers=16)
OPENCL = Target("opencl", "opencl", 16, ("local", "private"), max_group=256, own_math=True)
MALI = Target("mali", "opencl", 16, fp64=False, fp16=True, max_group=256)

TARGETS = {target.name: target for target in (INTERP, CPU, OPENCL, MALI)}
