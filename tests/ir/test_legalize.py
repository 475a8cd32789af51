"""Legalisation: what is legal on a target afterwards, and that complex programs keep their values."""

import random
from dataclasses import replace

import numpy as np
import pytest

from sparsec.codegen.gemm import part_dtype
from sparsec.codegen.legalize import check_legal, legalize
from sparsec.codegen.target import CPU, INTERP, MALI, OPENCL, TARGETS
from sparsec.errors import CompileError, DeviceError, Loc
from sparsec.ir.loop_interp import run
from sparsec.ir.loop_rewrite import nodes
from sparsec.ir.loop_text import kernel_text, parse_program, program_text
from sparsec.ir.loop_verify import verify_program
from sparsec.ir.loops import Extern, exprs, walk_stmts
from sparsec.ir.types import DTYPES


def program(body, params, host, slots, arena=0):
    return parse_program(f"""program @p {{ arena {arena} {slots} failure value "bad"
      kernel @k({params}) {{ {body} }} host {{ {host} }} }}""")


def one_kernel(body, dtype="f32"):
    """A kernel on %x, %w (read) and %y (read and written), four elements each."""
    roles = (("x", "r", "param 0"), ("w", "r", "param 1"), ("y", "rw", "result 0"))
    params = ", ".join(f"%{n}: global {dtype}[4] {a}" for n, a, _ in roles)
    slots = " ".join(f"slot %{n}: global {dtype}[4] {a} = {role}" for n, a, role in roles)
    return program(body, params, "launch @k(%x, %w, %y)", slots)


def results(p, dtype, seed=0):
    rng = np.random.default_rng(seed)
    part = part_dtype(DTYPES[dtype])
    special = np.array([0.0, -0.0, np.inf, np.nan, 1.5, -2.25, 1e30, 3e-39], part)
    x, w, y = (rng.choice(special, 8).astype(part) for _ in range(3))
    status = run(p, [v.view(np.uint8) for v in (x, w, y)])
    y[np.isnan(y)] = np.nan  # which of two NaNs an addition keeps is the processor's choice
    return status, y.tobytes()


BODIES = {
    "copy": "for i in 0..4 { %y[i] = %x[i] }",
    "swap": "for i in 0..4 { let a = %x[i] %y[i] = complex:T(imag(a), real(a)) }",
    "in place": "for i in 0..4 { %y[i] = complex:T(imag(%y[i]), real(%y[i])) * %y[i] }",
    "arithmetic": "for i in 0..4 { let z = %x[i] * %w[i] - neg(%x[i]) + T(1.5, -0.0) %y[3 - i] = z * z }",
    "accumulate": """mut s = T(0.0, 1.0) for i in 0..4 { s = complex:T(imag(s), real(s))
                     s = s * %x[i] + s } %y[0] = s""",
    "cells": """mut s = %x[0] let t = s let u = complex:T(real(s), imag(t)) s = %x[1] %y[0] = t %y[1] = u
                let v = complex:T(real(t * t), real(s)) s = s * v %y[2] = v %y[3] = s""",
    "swapped cell": "mut s = T(2.0, 3.0) s = complex:T(imag(s), real(s)) %y[0] = s",
    "compare": """for i in 0..4 { if %x[i] == %w[i] { %y[i] = T(1.0, nan) } else {
                  %y[i] = select:T(%x[i] != %x[i], %w[i], T(-inf, 2.0)) } }""",
    "cast": """for i in 0..4 { let b = cast:bool(%x[i]) let r = cast:P(%x[i])
               %y[i] = select:T(b, cast:T(r), cast:T(i) + cast:T(cast:c128(%w[i]))) }""",
    "while": "mut n = 0 while and(n < 4, %x[n] * %x[n] == %x[n] * %x[n]) { %y[n] = %x[n] n = n + 1 }",
    "scratch": """for i in 0..4 { alloc %t: private T[2] rw %t[0] = %x[i] %t[1] = %w[i] * %t[0]
                  %t[0] = %t[1] + %t[0] %y[i] = %t[0] }""",
    "parts": "for i in 0..8 { %y[i] = %x:P[7 - i] }",
    "shared name": "let z_re = 1 let z = %x[z_re] for i in 0..4 { let re = z %y[i] = re * re }",
}


@pytest.mark.parametrize("dtype", ["c64", "c128"])
@pytest.mark.parametrize("name", BODIES)
def test_complex_programs_keep_their_values(name, dtype):
    body = BODIES[name].replace("T", dtype).replace("P", {"c64": "f32", "c128": "f64"}[dtype])
    before = one_kernel(body, dtype)
    verify_program(before)
    for target in (CPU, OPENCL, INTERP):
        after = legalize(before, target)
        verify_program(after)
        assert parse_program(program_text(after)) == after
        assert no_complex(after)
        for seed in range(3):
            assert results(after, dtype, seed) == results(before, dtype, seed)


def no_complex(p):
    bodies = [p.body, *(k.body for k in p.kernels)]
    buffers = [*(s.buffer for s in p.slots), *(b for k in p.kernels for b in k.buffers)]
    values = (n for b in bodies for s in walk_stmts(b) for e in exprs(s) for n in nodes(e))
    return not any(x.dtype.kind == "c" for x in (*values, *buffers))


def random_body(rng, dtype):
    """Random complex arithmetic on cells, loads and stores that alias."""
    lines = ["mut a = %x[0]", "mut b = %w[1]"]

    def value(depth):
        if depth == 0:
            at = rng.randrange(4)
            return rng.choice(["a", "b", f"%x[{at}]", f"%y[{at}]", f"{dtype}(0.5, -2.0)"])
        x, y = value(depth - 1), value(depth - 1)
        return rng.choice([
            f"({x} + {y})", f"({x} - {y})", f"({x} * {y})", f"neg({x})",
            f"complex:{dtype}(imag({x}), real({y}))", f"select:{dtype}({x} == {y}, {x}, {y})",
        ])

    for _ in range(6):
        place = rng.choice(["a", "b", f"%y[{rng.randrange(4)}]"])
        lines.append(f"{place} = {value(rng.randrange(3))}")
    return "\n".join(lines)


@pytest.mark.parametrize("seed", range(30))
def test_random_complex_programs_keep_their_values(seed):
    rng = random.Random(seed)
    dtype = rng.choice(["c64", "c128"])
    before = one_kernel(random_body(rng, dtype), dtype)
    assert results(legalize(before, CPU), dtype, seed) == results(before, dtype, seed)


def test_legal_text():
    p = one_kernel("for i in 0..4 { let z = %x[i] * %w[i] %y[i] = z }", "c64")
    assert kernel_text(legalize(p, CPU).kernels[0]) == """\
kernel @k(%x: global f32[8] r, %w: global f32[8] r, %y: global f32[8] rw) {
  for i in 0..4 {
    let re = %x[i * 2]
    let im = %x[i * 2 + 1]
    let re1 = %w[i * 2]
    let im1 = %w[i * 2 + 1]
    let z_re = re * re1 - im * im1
    let z_im = re * im1 + im * re1
    %y[i * 2] = z_re
    %y[i * 2 + 1] = z_im
  }
}
"""


# --- library calls ---------------------------------------------------------------------------------------

GEMM = "extern gemm:{}(%y[0], %x[0], %w[0]; 2, 2, 2, 2, 1, 2, 1, 1, 2)"


@pytest.mark.parametrize("dtype", ["f32", "f64", "c64", "c128"])
@pytest.mark.parametrize("where", ["kernel", "host"])
def test_gemm_becomes_loops_where_there_is_no_library(dtype, where):
    call = GEMM.format(dtype)
    before = one_kernel(call, dtype)
    if where == "host":
        before = replace(before, kernels=(), body=before.kernels[0].body)
    kept, spelled = legalize(before, CPU), legalize(before, OPENCL)
    verify_program(spelled)
    bodies = [spelled.body, *(k.body for k in spelled.kernels)]
    assert not any(isinstance(s, Extern) for b in bodies for s in walk_stmts(b))
    with pytest.raises(CompileError, match="no library function gemm"):
        check_legal(kept, OPENCL)
    expected = gemm_result(before, dtype)
    assert gemm_result(kept, dtype) == expected and gemm_result(spelled, dtype) == expected


def gemm_result(p, dtype):
    x, w, y = (np.random.default_rng(k).normal(size=4).astype(DTYPES[dtype]) for k in range(3))
    assert run(p, [v.view(np.uint8) for v in (x, w, y)]) == (0, 0)
    assert np.allclose(y.reshape(2, 2), x.reshape(2, 2) @ w.reshape(2, 2).T, rtol=1e-5)
    return y.tobytes()


# --- what a target lacks ---------------------------------------------------------------------------------


def test_float16_is_stored_and_converted_only():
    good = "for i in 0..4 { %y[i] = cast:f16(cast:f32(%x[i]) * 2.0:f32) let a = %x[i] %y[i] = a }"
    legalize(one_kernel(good, "f16"), OPENCL)
    for body in ("%y[0] = %x[0] + %w[0]", "if %x[0] < %w[0] { }", "%y[0] = sqrt(%x[0])"):
        with pytest.raises(CompileError, match="arithmetic on float16"):
            legalize(one_kernel(body, "f16"), CPU)


@pytest.mark.parametrize(("body", "dtype"), [
    ("%y[0] = %x[0]", "f64"), ("%y[0] = cast:f32(cast:f64(%x[0]) * 2.0)", "f32"), ("%y[0] = %x[0]", "c128"),
])  # fmt: skip
def test_a_device_without_doubles_says_which_line(body, dtype):
    p = one_kernel(body, dtype)
    p = replace(p, kernels=(replace(p.kernels[0], locs=(Loc("user.py", 12),)),))
    with pytest.raises(DeviceError, match="float64 is needed") as caught:
        legalize(p, MALI)
    assert caught.value.loc == Loc("user.py", 12)
    legalize(p, OPENCL)
    legalize(one_kernel("%y[0] = %x[0]", "f32"), MALI)


def test_bindings_are_clamped():
    body = """
    for g in 0..4 bind(group) { for i in 0..2 bind(local) { for j in 0..300 bind(local) { } } }
    for i in 0..256 bind(local) { }
    """
    text = {t.name: kernel_text(legalize(one_kernel(body), t).kernels[0]) for t in (CPU, OPENCL, INTERP)}
    assert text["interp"].count("bind(local)") == 3
    assert "for g in 0..4 bind(parallel)" in text["cpu"] and "bind(local)" not in text["cpu"]
    for line in ("for g in 0..4 bind(group)", "for i in 0..256 bind(local)"):
        assert line in text["opencl"]
    assert "for i in 0..2 bind(local)" in text["opencl"] and "for j in 0..300 {" in text["opencl"]


def test_barriers_need_work_groups():
    body = "for g in 0..4 bind(group) { for i in 0..8 bind(local) { barrier } }"
    legalize(one_kernel(body), OPENCL)
    with pytest.raises(CompileError, match="no work-groups"):
        legalize(one_kernel(body), CPU)
    with pytest.raises(CompileError, match="at most 256"):
        legalize(one_kernel(body.replace("0..8", "0..800")), OPENCL)


def test_unlegalised_programs_are_not_legal():
    p = one_kernel("%y[0] = %x[0]", "c64")
    with pytest.raises(CompileError, match="c64"):
        check_legal(p, CPU)
    for target in TARGETS.values():
        check_legal(legalize(p, target), target)
