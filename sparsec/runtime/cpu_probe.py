"""Compiles and calls one function through LLVM; run as a script in a child process.

A machine may forbid memory that is written and then executed, and may do so by killing whoever tries. This
finds out without the user's program being the one that tries.
"""

from __future__ import annotations

import ctypes
import json
import sys
from typing import Any

_ADD = """
define i32 @add(i32 %a, i32 %b) {
  %c = add i32 %a, %b
  ret i32 %c
}
"""


def call_compiled(llvm: Any) -> None:
    """Raises unless a function compiled by `llvm` (llvmlite's binding module) can be called."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(_ADD)
    engine = llvm.create_mcjit_compiler(module, llvm.Target.from_default_triple().create_target_machine())
    engine.finalize_object()
    add = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32, ctypes.c_int32)(engine.get_function_address("add"))
    if add(40, 2) != 42:
        raise RuntimeError("a compiled function returned a wrong value")


def host_features(llvm: Any) -> list[str]:
    """The features of this CPU that are switched on, by LLVM's names; none where LLVM cannot tell."""
    try:
        features = llvm.get_host_cpu_features()
    except RuntimeError:
        return []
    return sorted(name for name, present in features.items() if present)


def main(result: str) -> None:
    """Writes the versions of NumPy, llvmlite and LLVM, and the CPU's name and features."""
    import llvmlite
    import llvmlite.binding as llvm
    import numpy

    call_compiled(llvm)
    answer = {
        "numpy": numpy.__version__,
        "llvmlite": llvmlite.__version__,
        "llvm": ".".join(map(str, llvm.llvm_version_info)),
        "cpu": llvm.get_host_cpu_name(),
        "features": host_features(llvm),
    }
    with open(result, "w", encoding="utf-8") as file:
        json.dump(answer, file)


if __name__ == "__main__":
    main(sys.argv[1])
