"""Statements of the loop IR on both backends, against the interpreter."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import numpy as np
import pytest

from sparsec.codegen.device_parts import parts
from sparsec.codegen.llvm import llvm_text
from sparsec.codegen.opencl import opencl_source
from sparsec.errors import CompileError
from sparsec.ir.loop_text import parse_program
from sparsec.ir.loops import (
    Apply,
    Assign,
    Barrier,
    Buffer,
    Extern,
    Fail,
    For,
    Kernel,
    Launch,
    Let,
    Load,
    Mut,
    Program,
    Slot,
    Store,
    Var,
)
from sparsec.ir.scalar import S, apply, const, index, var
from sparsec.ir.types import DTYPES, F32, F64, I32
from sparsec.runtime.host_body import evaluate
from tests.codegen.running import BACKENDS, agree, compile_cpu, optimised, param, program, run_cpu, run_opencl

RNG = np.random.default_rng(3)
i, j, k = var("i"), var("j"), var("k")
FIRST = index(0)


def floats(*shape):
    return RNG.uniform(-4, 4, shape).astype(np.float32)


def text(body, slots, host="launch @k(%x, %y)", params=None, arena=0):
    params = params or "%x: global f32[8] r, %y: global f32[8] rw"
    kernel = f"kernel @k({params}) {{ {body} }}"
    failures = 'failure index "a" failure value "b"'
    return parse_program(f"program @p {{ arena {arena} {slots} {failures} {kernel} host {{ {host} }} }}")


SLOTS = "slot %x: global f32[8] r = param 0 slot %y: global f32[8] rw = param 1"

BODIES = {
    "negative step": "for i in 7..-1 step -1 { %y[7 - i] = %x[i] }",
    "negative step, two at a time": "for i in 7..0 step -2 { %y[i] = %x[i - 1] }",
    "parallel, negative step": "for i in 7..-1 step -3 bind(parallel) { %y[i] = %x[i] }",
    "parallel nest": """for i in 1..4 bind(parallel) { for j in 0..2 bind(parallel) {
        %y[i * 2 + j] = %x[j] } }""",
    "parallel, name between": """for i in 0..4 bind(parallel) { let base = i * 2
        for j in 1..-1 step -1 bind(parallel) { %y[base + j] = %x[base] } }""",
    "triangle": """for i in 0..3 bind(parallel) { for j in 0..i bind(parallel) {
        %y[i * 2 + j] = %x[j] } }""",
    "empty range": "for i in 5..2 bind(parallel) { %y[i] = %x[i] }",
    "two nests": """for i in 0..8 bind(parallel) { %y[i] = %x[i] }
        for i in 0..8 step 2 bind(parallel) { %y[i] = %y[i] + %y[i + 1] }""",
    "statements between nests": """let n = 7 + 1
        for i in 0..n bind(parallel) { %y[i] = %x[i] }
        %y[3] = %y[0] * 2.0:f32
        for i in 4..n bind(parallel) { %y[i] = %y[3] }
        if %x[0] < 100.0:f32 { %y[0] = 5.0:f32 }""",
    "reduction": "mut s = 0.0:f32 for i in 0..8 { s = s + %x[i] } %y[0] = s",
    "vector": "for i in 0..8 bind(vector) { %y[i] = %x[i] * 2.0:f32 }",
    "unroll": "for i in 0..8 bind(unroll) { %y[i] = %x[i] }",
    "while": "mut n = 0 while n < 7 { %y[n] = %x[n] n = n + 2 }",
    "a bound that the body changes": "mut n = 3 for i in 0..n { %y[i] = %x[i] n = 100 }",
    "branches": """for i in 0..8 bind(parallel) {
        if %x[i] < 0.0:f32 { %y[i] = 0.0:f32 } else { if %x[i] > 1.0:f32 { %y[i] = 1.0:f32 } else {
        %y[i] = %x[i] } } }""",
    "scratch": """for i in 0..4 bind(parallel) { alloc %t: private f32[4] rw
        for j in 0..4 { %t[j] = %x[i + j] }
        for j in 1..4 { %t[0] = %t[0] + %t[j] } %y[i] = %t[0] }""",
    "cells in a work-item": """for i in 0..8 bind(parallel) { mut a = %x[i]
        for j in 0..3 { a = a * 0.5:f32 } %y[i] = a }""",
    "names that mean something in C": """for float4 in 0..8 bind(parallel) { let int = %x[float4]
        let exp = int + 1.0:f32 let NULL = exp * 2.0:f32 let status = NULL let gid = status
        %y[float4] = gid }""",
}


@pytest.mark.parametrize("name", BODIES)
def test_statements(name):
    made = text(BODIES[name], SLOTS)
    x, y = floats(8), np.zeros(8, np.float32)
    agree(made, [x, y])


def test_the_order_of_iterations_is_free_only_where_it_is_said():
    """A scan must not be vectorised."""
    made = text("for i in 1..8 { %y[i] = %y[i - 1] + %x[i] }", SLOTS)
    agree(made, [floats(8), floats(8)])


def test_scalars_and_multi_kernel_programs_with_an_arena():
    made = parse_program("""
    program @two {
      arena 192
      slot %x: global f32[8] r = param 0
      slot %y: global f32[8] w = result 0
      slot %t: global f32[8] rw = arena 64
      slot %u: global i32[2] rw = arena 128
      slot %c: global f32[2] r = const 0 "0000803f00000040"
      kernel @first(%x: global f32[8] r, %t: global f32[8] w, %c: global f32[2] r; n) {
        for i in 0..n bind(parallel) { %t[i] = %x[i] * %c[1] }
      }
      kernel @second(%t: global f32[8] r, %u: global i32[2] w, %y: global f32[8] w) {
        for i in 0..8 bind(parallel) { %y[7 - i] = %t[i] }
        %u[0] = 3:i32
      }
      host { launch @first(%x, %t, %c; 8) launch @second(%t, %u, %y) }
    }""")
    x, y = floats(8), np.zeros(8, np.float32)
    assert np.array_equal(agree(made, [x, y])[1], (x * 2)[::-1])


def test_a_sum_keeps_its_order_under_any_binding():
    x = floats(1000) * 1e3
    x[::7] *= 1e4
    want = np.float32(0)
    for value in x:
        want += value
    for bind in ("seq", "unroll"):
        s = var("s", F32)
        add = (Assign(s, S.add(s, Load("x", i, F32))),)
        body = (Mut(s, const(0, F32)), For(i, FIRST, index(1000), 1, add, bind), Store("y", FIRST, s))
        made = program(body, [param("x", x, 0, "r"), param("y", np.zeros(1, np.float32), 1, "w")])
        for run in (run_cpu, run_opencl):
            y = np.zeros(1, np.float32)
            assert run(made, [x, y]) == (0, 0) and y[0] == want, bind


def host_program(host):
    """Adds 1 to all, doubles element n; the host decides how often."""
    return parse_program(f"""
    program @p {{
      slot %n: global i64[2] rw = param 0
      slot %y: global f32[8] rw = param 1
      failure index "a"
      kernel @more(%y: global f32[8] rw) {{ for i in 0..8 bind(parallel) {{ %y[i] = %y[i] + 1.0:f32 }} }}
      kernel @double(%y: global f32[8] rw; n) {{ %y[n] = %y[n] * 2.0:f32 }}
      kernel @less(%n: global i64[2] rw) {{ %n[0] = %n[0] - 1 }}
      host {{ {host} }}
    }}""")


HOSTS = {
    "for": "for i in 0..3 { launch @more(%y) launch @double(%y; i) }",
    "backwards": "for i in 6..0 step -2 { launch @double(%y; i) }",
    "if": "if %n[0] > 3 { launch @more(%y) } else { launch @double(%y; %n[1]) }",
    "while": "while %n[0] > 0 { launch @more(%y) launch @less(%n) }",
    "names": "let a = %n[0] + 1 mut b = 0 while b < a { launch @double(%y; b) b = b + 1 }",
    "store": "%n[1] = 5 launch @double(%y; %n[1])",
    "note": "note 4",
}


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize("n", [0, 4])
def test_host_bodies(name, n):
    flags = 4 if name == "note" else 0
    agree(host_program(HOSTS[name]), [np.array([n, 2]), floats(8)], (0, flags))


def test_fail_stops_the_program_and_note_does_not():
    made = parse_program("""
    program @p {
      slot %x: global i32[8] r = param 0
      slot %y: global i32[8] rw = param 1
      failure index "a" failure value "b"
      kernel @check(%x: global i32[8] r) {
        for i in 0..8 bind(parallel) {
          if %x[i] == 0:i32 { note 1 }
          if %x[i] < 0:i32 { note 2 fail 2 }
        }
      }
      kernel @write(%y: global i32[8] rw) { for i in 0..8 bind(parallel) { %y[i] = 9:i32 } }
      host { launch @check(%x) launch @write(%y) }
    }""")
    # On a device kernels are queued before the first has run: each looks for itself.
    assert opencl_source(made).text.count("if (status[0] != 0) return;") == 2
    good = np.arange(8, dtype=np.int32)
    assert np.array_equal(agree(made, [good, good], (0, 1))[1], np.full(8, 9))
    for run in BACKENDS.values():
        y = good.copy()
        status, notes = run(made, [good - 2, y])
        assert (status, notes & 2) == (2, 2)
        assert np.array_equal(y, good), "the kernel after the failure has run"


def test_fail_in_the_host_body():
    made = host_program("launch @more(%y) if %n[0] == 4 { fail 1 } launch @more(%y)")
    agree(made, [np.array([3, 0]), floats(8)])
    agree(made, [np.array([4, 0]), floats(8)], (1, 0))


def test_unaligned_arguments():
    """A pointer one byte past a multiple of 64."""
    body = (
        For(
            i, FIRST, index(100), 1, (Store("y", i, S.add(Load("x", i, F64), Load("x", i, F64))),), "parallel"
        ),
    )
    x, y = (np.zeros(801, np.uint8)[1:].view(np.float64) for _ in range(2))
    x[:] = np.arange(100)
    assert not x.flags.aligned
    made = program(body, [param("x", x, 0, "r"), param("y", y, 1, "w")])
    assert run_cpu(made, [x, y]) == (0, 0)
    assert np.array_equal(y, 2 * x)
    loads = [
        line
        for line in optimised(made).splitlines()
        if " = load " in line and "double" in line
    ]
    assert loads and all("align 1" in line for line in loads)


def test_stated_alignment_is_used():
    buffer = Buffer("x", F32, 64, align=64)
    made = program((Store("x", FIRST, const(1, F32)),), [Slot(buffer, "param", 0)])
    made_text = llvm_text(made)
    assert "align 64 %b0" in made_text and "store float" in made_text and ", align 4" in made_text


VIEWS = [
    ("f4", "i4"),
    ("f4", "u1"),
    ("f4", "f8"),
    ("i8", "u2"),
    ("f8", "i8"),
    ("u1", "?"),
    ("c8", "f4"),
    ("c16", "f4"),
]


@pytest.mark.parametrize(("declared", "seen"), VIEWS)
def test_buffers_seen_as_another_dtype(declared, seen):
    declared, seen = np.dtype(declared), np.dtype(seen)
    x = RNG.integers(0, 2, 64, np.uint8).view(declared)
    y = np.zeros_like(x)
    count = x.nbytes // seen.itemsize
    body = (
        For(
            i,
            FIRST,
            index(count),
            1,
            (Store("y", S.sub(index(count - 1), i), Load("x", i, seen)),),
            "parallel",
        ),
        # The bytes just written, as the declared type would see them and as another one: order matters.
        Store("y", FIRST, Load("y", index(1), seen)),
        Store("y", FIRST, Load("y", FIRST, np.dtype("u1"))),
    )
    agree(program(body, [param("x", x, 0, "r"), param("y", y, 1)]), [x, y])


def test_scratch_seen_as_another_dtype():
    t = Buffer("t", F32, 4, "private")
    from sparsec.ir.loops import Alloc

    body = (
        Alloc(t),
        Store("t", FIRST, Load("x", FIRST, F32)),
        Store("t", index(1), Load("x", index(1), F32)),
        Store("y", FIRST, Load("t", index(1), I32)),
        Store("t", FIRST, Load("x", FIRST, F64)),
        Store("y", index(1), Load("t", index(1), I32)),
    )
    x, y = floats(4), np.zeros(2, np.int32)
    agree(program(body, [param("x", x, 0, "r"), param("y", y, 1)]), [x, y])


def test_shared_subexpressions_are_written_once():
    """A tower of 60 squares of sums would be 2**60 nodes as text."""
    value = Load("x", FIRST, F32)
    for _ in range(60):
        value = S.mul(S.add(value, value), const(0.5, F32))
    x, y = floats(1), floats(1)
    made = program((Store("y", FIRST, value),), [param("x", x, 0, "r"), param("y", y, 1)])
    assert len(opencl_source(made).text) < 10_000
    for run in (run_cpu, run_opencl):
        assert run(made, [x, y]) == (0, 0) and y[0] == x[0]


def test_deep_expressions():
    value = Load("x", FIRST, F32)
    for n in range(3000):
        value = S.add(const(n % 7, F32), value)
    x, y = floats(1), floats(1)
    made = program((Store("y", FIRST, value),), [param("x", x, 0, "r"), param("y", y, 1)])
    x[0] = 1
    results = []
    for run in (run_cpu, run_opencl):
        assert run(made, [x, y]) == (0, 0)
        results.append(y[0])
    assert results == [float(1 + sum(n % 7 for n in range(3000)))] * 2


def test_parts_of_a_kernel():
    def launches(body):
        return [evaluate(part.items, {}) for part in parts(text(body, SLOTS).kernels[0])]

    assert launches(BODIES["parallel nest"]) == [6]
    assert launches(BODIES["statements between nests"]) == [8, 1, 4, 1]
    assert launches(BODIES["reduction"]) == [1]
    assert launches(BODIES["triangle"]) == [3]
    # What a nest writes may not be read once more, later, under the name it had before.
    assert launches("""let a = %y[0] for i in 0..8 bind(parallel) { %y[i] = a }""") == [1]


def test_a_range_that_only_the_kernel_knows():
    body = "let n = cast:i64(%x[0]) for i in 0..n bind(parallel) { %y[i] = %x[i] }"
    made = text(body, SLOTS)
    x = floats(8)
    x[0] = 6.5
    assert parts(made.kernels[0])[0].items is None
    agree(made, [x, floats(8)])


TEXTS = """
from sparsec.codegen.llvm import llvm_text
from sparsec.codegen.opencl import opencl_source
from tests.codegen.test_statements import BODIES, SLOTS, text
for body in BODIES.values():
    print(llvm_text(text(body, SLOTS)), opencl_source(text(body, SLOTS)))
"""


def test_text_is_the_same_in_every_process():
    def generate(seed):
        command = [sys.executable, "-c", TEXTS]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert len(generate("1")) > 1000
    assert generate("1") == generate("2")


def test_names_cannot_inject_source():
    evil = 'x"); system("true'
    slot = Slot(Buffer(evil, F32, 4), "param", 0)
    body = (Let(Var("*/ int i", F32), Load(evil, FIRST, F32)), Store(evil, index(1), Var("*/ int i", F32)))
    made = Program(evil, (slot,), (Kernel(evil, (slot.buffer,), (), body),), (Launch(evil, (evil,)),))
    for run in (run_cpu, run_opencl):
        x = floats(4)
        assert run(made, [x]) == (0, 0) and x[1] == x[0]
    for made_text in (llvm_text(made), opencl_source(made).text):
        assert "system(" not in made_text and '"true' not in made_text and "*/" not in made_text


C8, F16 = DTYPES["c64"], DTYPES["f16"]
ILLEGAL = {
    "complex": Store("x", FIRST, Load("x", FIRST, C8)),
    "complex function": Let(var("a", C8), Apply("complex", (const(1, F32), const(2, F32)), C8)),
    "float16 arithmetic": Let(var("a", F16), apply("add", const(1, F16), const(2, F16))),
    "unknown function": Let(var("a", F32), Apply("frobnicate", (const(1, F32),), F32)),
    "unknown name": Let(var("a", F32), var("b", F32)),
    "unknown buffer": Store("z", FIRST, const(1, F32)),
    "barrier": Barrier(),
    "assignment to a let": Assign(var("i"), index(1)),
    "library": Extern("fft", (), (), F32),
    "fail 0": Fail(0),
    "step 0": For(i, FIRST, index(3), 0, (), "parallel"),
}


@pytest.mark.parametrize("name", ILLEGAL)
def test_illegal_nodes_are_refused(name):
    made = program((ILLEGAL[name],), [param("x", floats(4), 0)])
    for generate in (llvm_text, opencl_source):
        with pytest.raises(CompileError):
            generate(made)


def test_control_bits_are_unchanged():
    """Rounding, flush-to-zero and denormals-are-zero are as the caller had them."""
    x = floats(64)
    made = program(
        (For(i, FIRST, index(64), 1, (Store("x", i, S.exp(Load("x", i, F32))),), "parallel"),),
        [param("x", x, 0)],
    )
    library = ctypes.CDLL(None)
    before, after = (ctypes.create_string_buffer(64) for _ in range(2))
    executable = compile_cpu(made)
    library.fegetenv(before)
    assert executable.run([x.ctypes.data]) == (0, 0)
    library.fegetenv(after)
    mxcsr = [int.from_bytes(env.raw[28:32], "little") for env in (before, after)]
    assert mxcsr[0] & 0xFFC0 == mxcsr[1] & 0xFFC0  # the rest says which exceptions were seen


def test_parallel_loops_are_vectorised():
    x, y = floats(1024), floats(1024)
    made = program(
        (
            For(
                i,
                FIRST,
                index(1024),
                1,
                (Store("y", i, S.mul(Load("x", i, F32), Load("y", i, F32))),),
                "parallel",
            ),
        ),
        [param("x", x, 0, "r"), param("y", y, 1)],
    )
    assert "x float>" in optimised(made)
