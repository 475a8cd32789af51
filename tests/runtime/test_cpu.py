"""Compiled programs as objects: many of them, many threads, forks, bad input."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from sparsec.errors import CompileError
from sparsec.runtime.blas import find_blas
from sparsec.runtime.cpu import CpuExecutable, assembly, compile_object, host_cpu, optimised_text


def adds(n: int) -> str:
    """x[0] += n"""
    return f"""
define i32 @sparsec_entry(ptr %pointers, ptr %arena, ptr %flags) {{
  %p = load ptr, ptr %pointers
  %x = load i64, ptr %p
  %y = add i64 %x, {n}
  store i64 %y, ptr %p
  store i32 {n % 100}, ptr %flags
  ret i32 {n % 7}
}}"""


def load(text: str) -> CpuExecutable:
    return CpuExecutable([compile_object(text)])


def run(executable: CpuExecutable, start: int) -> tuple[int, int, int]:
    x = np.array([start])
    return int(x[0]), *executable.run([x.ctypes.data]), int(x[0])  # type: ignore[return-value]


def test_status_notes_and_memory():
    assert run(load(adds(10)), 5) == (5, 3, 10, 15)


def test_symbols_are_linked():
    text = """
declare double @sparsec_test_symbol(double)
define i32 @sparsec_entry(ptr %pointers, ptr %arena, ptr %flags) {
  %p = load ptr, ptr %pointers
  %x = load double, ptr %p
  %y = call double @sparsec_test_symbol(double %x)
  store double %y, ptr %p
  ret i32 0
}"""
    import ctypes
    import ctypes.util

    address = ctypes.cast(ctypes.CDLL(ctypes.util.find_library("m")).cosh, ctypes.c_void_p).value
    x = np.array([1.5])
    assert CpuExecutable([compile_object(text)], {"sparsec_test_symbol": address}).run([x.ctypes.data]) == (0, 0)
    assert x[0] == pytest.approx(np.cosh(1.5))


def test_code_is_loaded_again_from_its_object_file():
    code = compile_object(adds(3))
    assert compile_object(adds(3)) == code
    assert run(CpuExecutable([code]), 1) == (1, 3, 3, 4)


def test_texts_of_every_stage():
    assert "sparsec_entry" in optimised_text(adds(3))
    assert "sparsec_entry:" in assembly(adds(3))


@pytest.mark.parametrize(
    "text", ["", "define", "define i32 @sparsec_entry() { ret i64 0 }", adds(1).replace("sparsec_", "x_")]
)
def test_bad_text_is_a_typed_error(text):
    with pytest.raises(CompileError):
        load(text)


def test_a_damaged_object_file_is_a_typed_error():
    code = compile_object(adds(3))
    for damaged in (
        b"",
        b"not an object file",
        code[:-1],
        code[:200],
        code + b"x",
        code.replace(b"ELF", b"EFL"),
    ):
        with pytest.raises(CompileError):
            CpuExecutable([damaged])


def memory_kib() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux")
def test_many_modules_come_and_go():
    """Code is freed with its executable; a page or two for each would be 1 MiB here."""
    code = compile_object(adds(3))
    for _ in range(50):
        CpuExecutable([code])
    gc.collect()
    before = memory_kib()
    for _ in range(300):
        CpuExecutable([code])
    gc.collect()
    assert memory_kib() - before < 300 * 8
    alive = [load(adds(n)) for n in range(60)]
    assert [run(e, 1)[3] for e in alive] == [n + 1 for n in range(60)]


def test_sixteen_threads_compile_and_run():
    errors: list[BaseException] = []

    def work(n: int) -> None:
        try:
            for m in range(5):
                executable = load(adds(n * 10 + m))
                assert run(executable, 1)[3] == n * 10 + m + 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_the_gil_is_released():
    spin = """
define i32 @sparsec_entry(ptr %pointers, ptr %arena, ptr %flags) {
entry:
  %p = load ptr, ptr %pointers
  br label %again
again:
  %x = load volatile i64, ptr %p
  %go = icmp eq i64 %x, 0
  br i1 %go, label %again, label %done
done:
  ret i32 0
}"""
    executable, x = load(spin), np.zeros(1, np.int64)
    thread = threading.Thread(target=executable.run, args=([x.ctypes.data],))
    thread.start()
    x[0] = 1  # would never be reached
    thread.join(10)
    assert not thread.is_alive()


FORKING = """
import os, threading, time
from tests.runtime.test_cpu import adds, load, run

kept = load(adds(1))
stop = False
def compile_on():
    n = 0
    while not stop:
        load(adds(n := n + 1))
threads = [threading.Thread(target=compile_on, daemon=True) for _ in range(2)]
for thread in threads: thread.start()
for n in range(8):
    time.sleep(0.02)
    child = os.fork()
    if child == 0:
        good = run(kept, 1)[3] == 2 and run(load(adds(5)), 1)[3] == 6
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
stop = True
for thread in threads: thread.join()
print("fine")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_children_of_a_fork_compile_too_even_in_the_middle_of_a_compilation():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "fine", done.stderr


def test_compiling_a_small_program_takes_milliseconds():
    load(adds(1))
    start = time.perf_counter()
    load(adds(2))
    assert time.perf_counter() - start < 1


def test_host_facts():
    host = host_cpu()
    assert host.triple and host.cpu and host.data_layout
    assert host.vector_bits in (0, 512)


def test_blas_has_all_products():
    blas = find_blas()
    if blas is None:
        pytest.skip("no BLAS in this process")
    wanted = {f"sparsec_{f}_{d}" for f in ("gemm", "syrk", "gemv", "dot") for d in ("f32", "f64", "c64", "c128")}
    assert set(blas.symbols) == wanted
    assert all(blas.symbols.values()) and blas.bits in (32, 64)
