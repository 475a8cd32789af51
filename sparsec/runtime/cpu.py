"""Native code: LLVM text in, a callable entry out.

    executable = CpuExecutable([compile_object(text)])
    status, notes = executable.run(pointers, arena)

Each executable is an engine of its own over its object files, so that its code goes after it. LLVM is
entered by one thread at a time, and not while the process forks; generated code runs without the GIL and
without any lock.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import llvmlite.binding as llvm

from sparsec.errors import CompileError
from sparsec.ir.block import memory_functions

__all__ = ["CpuExecutable", "HostCpu", "assembly", "compile_object", "host_cpu", "optimised_text"]

#: Guards every use of LLVM.
_llvm_lock = threading.RLock()

# llvmlite has a lock of its own around each call, which it also takes to free what the collector finds.
_llvmlite_lock = getattr(llvm.ffi.lib, "_lock", nullcontext())


def _before_fork() -> None:
    """Waits until no thread is inside LLVM: a child would inherit it, locks and all, as it stands."""
    _llvm_lock.acquire()
    _llvmlite_lock.__enter__()


def _after_fork() -> None:
    _llvmlite_lock.__exit__(None, None, None)
    _llvm_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


@dataclass(frozen=True, slots=True)
class HostCpu:
    """Facts of this machine's processor, in LLVM's words."""

    triple: str
    data_layout: str
    cpu: str
    features: str
    vector_bits: int  # the width that vector code should use; 0: LLVM's choice

    @property
    def vector_bytes(self) -> int:
        """What the widest vector register worth using holds."""
        if self.vector_bits:
            return self.vector_bits // 8
        return 32 if "+avx2" in self.features.split(",") else 16

    @property
    def vector_registers(self) -> int:
        """How many vector registers there are."""
        return 16 if "86" in self.triple and not self.vector_bits else 32

    @property
    def slow_gather(self) -> bool:
        """Whether a gathering load takes longer than loads of its elements: on AMD's processors it is microcode."""
        return self.cpu.startswith("znver")

    @property
    def has_fma(self) -> bool:
        """Whether a fused multiply-add is an instruction: on x86 a feature, elsewhere (64 bits) always there."""
        return "+fma" in self.features.split(",") if "86" in self.triple else True


@lru_cache(maxsize=1)
def host_cpu() -> HostCpu:
    """This machine. Also readies LLVM for use."""
    with _llvm_lock:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        _publish_math()
        try:
            features = llvm.get_host_cpu_features().flatten()
        except RuntimeError:  # LLVM cannot tell on every system
            features = ""
        triple, cpu = llvm.get_process_triple(), llvm.get_host_cpu_name()
        machine = _new_machine(triple, cpu, features, 2)
        wide = "+avx512f" in features.split(",") and "+avx512vl" in features.split(",")
        return HostCpu(triple, str(machine.target_data), cpu, features, 512 if wide else 0)


#: Functions of the C library that generated code calls, by itself or because LLVM chose to.
_MATH = (
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan",
    "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "cbrt", "pow", "atan2", "hypot", "nextafter", "fmod",
    "sqrt", "floor", "ceil", "trunc", "rint", "roundeven", "copysign", "fabs", "ldexp", "sincos", "exp10",
    "fma",
)  # fmt: skip
_MEMORY = ("memcpy", "memmove", "memset", "memcmp")


def _publish_math() -> None:
    """Tells LLVM where these functions are: a Python linked without libm does not show them by itself."""
    libraries = [ctypes.CDLL(None)]
    for name in ("libm.so.6", "libm.dylib"):
        try:
            libraries.append(ctypes.CDLL(name))
        except OSError:
            continue
    for symbol in (*_MEMORY, *_MATH, *(f"{name}f" for name in _MATH)):
        for library in libraries:
            found = getattr(library, symbol, None)
            if found is not None:
                llvm.add_symbol(symbol, _address(found))
                break


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _new_machine(triple: str, cpu: str, features: str, level: int) -> Any:
    # Code and data may land anywhere in the address space: every address is written in full.
    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=level, reloc="static", codemodel="large", jit=True
    )


def _host_machine(level: int = 2) -> Any:
    host = host_cpu()
    return _new_machine(host.triple, host.cpu, host.features, level)


def _optimised(text: str, machine: Any, level: int = 2) -> Any:
    """The module after LLVM's standard pipeline. The text is checked first: it must never crash LLVM."""
    try:
        module = llvm.parse_assembly(text, llvm.create_context())
        module.verify()
    except RuntimeError as error:
        raise CompileError(f"LLVM refuses the generated code: {error}") from error
    with llvm.create_pipeline_tuning_options(speed_level=level) as tuning:
        tuning.loop_vectorization = tuning.slp_vectorization = tuning.loop_interleaving = level >= 2
        with llvm.create_pass_builder(machine, tuning) as builder, builder.getModulePassManager() as passes:
            passes.run(module, builder)
    return module


def compile_object(text: str, level: int = 2) -> bytes:
    """The object file of an LLVM module, for this machine, under a seal: it can be kept on disk."""
    with _llvm_lock:
        _close_ownerless()
        with _host_machine(level) as machine, _optimised(text, machine, level) as module:
            return _sealed(bytes(machine.emit_object(module)))


def optimised_text(text: str) -> str:
    """An LLVM module as the standard pipeline leaves it for this machine, as text."""
    with _llvm_lock:
        return str(_optimised(text, _host_machine()))


def assembly(text: str) -> str:
    """The assembly that an LLVM module becomes on this machine."""
    with _llvm_lock:
        machine = _host_machine()
        return str(machine.emit_assembly(_optimised(text, machine)))


# LLVM's loader trusts what it is given, and a damaged file crashes it.
_SEAL = b"sparsec object 1\n"


def _sealed(code: bytes) -> bytes:
    return _SEAL + hashlib.sha256(code).digest() + code


def _unsealed(sealed: bytes) -> bytes:
    start = len(_SEAL) + hashlib.sha256().digest_size
    code = sealed[start:]
    if _sealed(code) != sealed:
        raise CompileError("the object code is damaged, or of another version")
    return code


class CpuExecutable:
    """A loaded program.

    `objects` are what `compile_object` made of its modules on this machine. `symbols` are addresses of library
    functions that the code calls by name; they must be the same for every program of the process. Raises
    CompileError where an object file is damaged or a symbol is missing.
    """

    def __init__(
        self, objects: Sequence[bytes], symbols: Mapping[str, int] | None = None, *, entry: str = "sparsec_entry"
    ) -> None:
        host_cpu()
        with _llvm_lock:
            _close_ownerless()
            self._engine = _load(objects, symbols or {})
            _own(self, self._engine)
        self.address = self.address_of(entry)
        # CFUNCTYPE releases the GIL for the time of the call.
        self._entry = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(
            self.address
        )

    def address_of(self, name: str) -> int:
        """The address of another function of the module. Raises CompileError if it has none of that name."""
        with _llvm_lock:
            address: int = self._engine.get_function_address(name)
        if not address:
            raise CompileError(f"the compiled module has no function {name!r}")
        return address

    def run(self, pointers: Sequence[int], arena: int = 0, threads: int = 1) -> tuple[int, int]:
        """Calls the entry: addresses of parameters, then of results (`sparsec.ir.abi`), and of the arena.

        threads: how many may take part. Returns the status (0, or the code of a `Fail`) and the or of all notes.
        """
        table = (ctypes.c_void_p * max(len(pointers), 1))(*pointers)
        flags = (ctypes.c_int32 * 2)(0, min(threads, 1 << 30))
        status = self._entry(ctypes.addressof(table), arena, ctypes.addressof(flags))
        return status, flags[0]


class _Owned(weakref.ref["CpuExecutable"]):
    """Knows an executable's engine, and when the executable is gone.

    No `__del__` closes engines, because what is raised in one is lost, a user's Ctrl-C too. The reference to a dead
    executable goes to a list, without a line of Python, and whoever uses LLVM next closes its engine.
    """

    __slots__ = ("engine",)

    engine: Any


_engines: set[_Owned] = set()
_ownerless: list[Any] = []


def _own(owner: CpuExecutable, engine: Any) -> None:
    owned = _Owned(owner, _ownerless.append)
    owned.engine = engine
    _engines.add(owned)


def _close_ownerless() -> None:
    while _ownerless:
        gone = _ownerless.pop()
        _engines.discard(gone)
        gone.engine.close()


def _load(objects: Sequence[bytes], symbols: Mapping[str, int]) -> Any:
    codes = [_unsealed(sealed) for sealed in objects]
    for name, address in {**memory_functions(), **symbols}.items():
        llvm.add_symbol(name, address)
    # An engine wants a module; the code comes from the object files beside it.
    empty = llvm.parse_assembly(f'target triple = "{host_cpu().triple}"')
    engine = llvm.create_mcjit_compiler(empty, _host_machine())
    try:
        for code in codes:
            engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
    except RuntimeError as error:
        raise CompileError(f"the compiled code cannot be loaded: {error}") from error
    return engine
