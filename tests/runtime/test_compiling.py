"""The modules of a large program: compiled by other processes, and linked when they are loaded."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import sparsec
from sparsec.codegen import llvm
from sparsec.config import settings
from sparsec.errors import CompileError
from sparsec.runtime import compiling
from sparsec.runtime.compiling import compile_objects
from sparsec.runtime.cpu import CpuExecutable, compile_object

PART = """
define i64 @part{n}(i64 %x) {{
  %y = add i64 %x, {n}
  ret i64 %y
}}"""
ENTRY = """
declare i64 @part1(i64)
declare i64 @part2(i64)
define i32 @sparsec_entry(ptr %pointers, ptr %arena, ptr %flags) {
  %p = load ptr, ptr %pointers
  %x = load i64, ptr %p
  %y = call i64 @part1(i64 %x)
  %z = call i64 @part2(i64 %y)
  store i64 %z, ptr %p
  ret i32 0
}"""
MODULES = (PART.format(n=1), PART.format(n=2), ENTRY)


@pytest.fixture(autouse=True)
def two_jobs():
    with settings.override(compile_jobs=2):
        yield


def test_helpers_make_what_this_process_makes():
    objects = compile_objects(iter(MODULES))
    assert objects == tuple(map(compile_object, MODULES))
    x = np.array([10])
    CpuExecutable(objects).run([x.ctypes.data])
    assert x[0] == 13


@pytest.mark.parametrize("broken", ["define", PART.format(n=1).replace("ret i64", "ret i32")])
def test_what_llvm_refuses_is_a_typed_error(broken):
    with pytest.raises(CompileError, match="LLVM refuses"):
        compile_objects([MODULES[0], broken, ENTRY])


def test_a_helper_that_falls_is_a_typed_error(monkeypatch):
    monkeypatch.setattr(compiling, "_PROGRAM", "import os; os.write(1, b'r'); os._exit(1)")
    with pytest.raises(CompileError, match="came to an end"):
        compile_objects(MODULES)


@pytest.mark.parametrize("program, executable", [("raise SystemExit", sys.executable), ("", os.devnull)])
def test_without_helpers_everything_is_compiled_here(monkeypatch, program, executable):
    monkeypatch.setattr(compiling, "_PROGRAM", program)
    monkeypatch.setattr(sys, "executable", executable)
    assert compile_objects(MODULES) == tuple(map(compile_object, MODULES))


def test_a_frozen_program_is_not_started_again(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(subprocess, "Popen", None)
    assert compile_objects(MODULES) == tuple(map(compile_object, MODULES))


def test_no_process_is_left_when_the_writer_of_modules_fails(monkeypatch):
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])

    def interrupted():
        yield from MODULES
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compile_objects(interrupted())
    assert len(started) == 2 and all(process.poll() is not None for process in started)


def several(x, y):
    table = np.array([3.0, 1.0, 2.0])  # a literal that a kernel looks into
    s = (x @ y).sum(axis=0)
    x[1:] += x[:-1]
    total = 0.0
    for k in range(3):
        total = total + s[k] * table[k]
    return np.sort(x, axis=0) + total, x.T @ x


def test_a_program_in_parts_computes_what_the_whole_one_does(monkeypatch):
    monkeypatch.setattr(llvm, "_PART", 1)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 4)), rng.normal(size=(4, 3))
    ours, theirs = x.copy(), x.copy()
    jitted = sparsec.jit(several)
    assert jitted.trace(x, y).as_text("llvm").count("target triple") >= 3
    for got, want in zip(jitted(ours, y), several(theirs, y), strict=True):
        np.testing.assert_allclose(got, want)
    np.testing.assert_array_equal(ours, theirs)
