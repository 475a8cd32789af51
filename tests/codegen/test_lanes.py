"""Vector loops as LLVM vectors: what the interpreter says, bit for bit, and vectors of the machine's width."""

import numpy as np
import pytest

from sparsec.codegen.llvm import LlvmTarget, llvm_text
from sparsec.ir.loop_text import parse_program
from tests.codegen.running import agree

SLOTS = """slot %x: global f32[64] r = param 0 slot %y: global f32[64] rw = param 1
    slot %n: global i64[4] r = param 2 slot %b: global bool[64] rw = param 3"""
PARAMS = "%x: global f32[64] r, %y: global f32[64] rw, %n: global i64[4] r, %b: global bool[64] rw"


def text(body):
    return parse_program(f"""program @p {{ arena 0 {SLOTS} kernel @k({PARAMS}) {{ {body} }}
        host {{ launch @k(%x, %y, %n, %b) }} }}""")


BODIES = {
    "neighbours": "for i in 0..48 bind(vector) { %y[i] = %x[i + 3] * 2.0:f32 }",
    "odd number of lanes": "for i in 0..21 bind(vector) { %y[i] = %x[i] }",
    "no turns, one turn": """for i in 3..3 bind(vector) { %y[i] = %x[i] }
        for i in 3..4 bind(vector) { %y[i] = %x[i] }""",
    "from somewhere else": "for i in 5..37 bind(vector) { %y[i - 5] = %x[i] }",
    "strides and backwards": "for i in 0..20 bind(vector) { %y[i * 3] = %x[63 - i * 2] }",
    "the same everywhere": "for i in 0..16 bind(vector) { let a = %x[%n[1]] %y[i] = a * a }",
    "positions as numbers": "for i in 0..16 bind(vector) { %y[i] = cast:f32(i * i - %n[0] * i) }",
    "quotient and remainder": """for i in 0..32 bind(vector) { let q = i + %n[0]
        %y[i] = %x[quo(q, 7) + rem(q, 7) * 4] }""",
    "reduction in each lane": """for i in 0..32 bind(vector) { mut s = 0.0:f32
        for p in 0..%n[2] { s = fma(%x[p], %x[i + p], s) } %y[i] = s }""",
    "mask": """for i in 0..32 bind(vector) { if %x[i] < 0.0:f32 { %y[i] = 0.0:f32 } else {
        if %x[i] > 1.0:f32 { %y[i] = 1.0:f32 } else { %y[i] = %x[i] } } }""",
    "masked loads may lie outside": """for i in 0..32 bind(vector) { let at = i * 1 - 9 mut v = 0.5:f32
        if at >= 0 { v = %x[at] } %y[i] = v }""",
    "a guard around everything": """for i in 0..32 bind(vector) { if i < %n[3] { mut s = %x[i]
        for p in 0..%n[2] { s = s + %x[p] } %y[i] = s } }""",
    "a guard that no lane passes": """for i in 0..32 bind(vector) { let at = %n[3] * 1000
        if i > at + 64 { %y[i] = %x[at + 64] } }""",
    "division under a mask": """for i in 0..16 bind(vector) { let d = i - 3 mut q = 0
        if d > 0 { q = quo(100, d) + rem(i, d) } %y[i] = cast:f32(q) }""",
    "a while loop that all lanes share": """for i in 0..16 bind(vector) { mut k = 0 mut s = %x[i]
        while k < %n[2] { s = s * 0.5:f32 k = k + 1 } %y[i] = s }""",
    "a while loop for each lane": """for i in 0..16 bind(vector) { mut k = 0
        while k < i { k = k + 3 } %y[i] = cast:f32(k) }""",
    "bounds for each lane": """for i in 0..16 bind(vector) { mut s = 0.0:f32
        for p in 0..i { s = s + %x[p] } %y[i] = s }""",
    "bools": """for i in 0..24 bind(vector) { let c = %b[i] %b[i] = not(c)
        %y[i] = select:f32(c, %x[i], neg(%x[i])) }""",
    "functions without vectors": """for i in 0..16 bind(vector) {
        %y[i] = nextafter(abs(%x[i]), 9.0:f32) + copysign(floor(%x[i]), sqrt(abs(%x[i]))) }""",
    "half and double": """for i in 0..16 bind(vector) { let d = div(cast:f64(%x[i]), 3.0:f64)
        %y[i] = cast:f32(cast:f16(d)) + cast:f32(cast:f16(i)) }""",
    "integers": """for i in 0..16 bind(vector) { let k = cast:i32(i) - 5:i32
        %y[i] = cast:f32(min(abs(k), shl(k, 2:i32)) - neg(k)) }""",
    "many lanes into one place": "for i in 0..1 bind(vector) { %y[2] = %x[i + 5] }",
    "scratch stays a loop": """for i in 0..8 bind(vector) { alloc %t: private f32[2] rw
        %t[0] = %x[i] %t[1] = %t[0] * 2.0:f32 %y[i] = %t[1] }""",
    "inside other loops": """for j in 0..3 bind(parallel) { for i in 0..16 bind(vector) {
        let k = j * 16 + i %y[k] = %x[k] - %x[j] } }""",
}


@pytest.mark.parametrize("name", BODIES)
def test_lanes_do_what_turns_do(name):
    rng = np.random.default_rng(3)
    x = rng.uniform(-2, 2, 64).astype(np.float32)
    flags = rng.random(64) < 0.5
    agree(text(BODIES[name]), [x, np.zeros(64, np.float32), np.array([5, 3, 4, 19]), flags])


@pytest.mark.parametrize(("width", "vector"), [(64, "<16 x float>"), (32, "<8 x float>"), (16, "<4 x float>")])
def test_vectors_have_the_width_of_the_machine(width, vector):
    llvm = llvm_text(text(BODIES["reduction in each lane"]), LlvmTarget(vector_bytes=width))
    lines = [line for line in llvm.splitlines() if "@llvm.fma" in line and "call" in line]
    assert len(lines) == 32 // (width // 4)
    assert all(f"call {vector}" in line for line in lines)


def test_neighbours_are_one_load_and_masks_go_to_memory_with_it():
    llvm = llvm_text(text(BODIES["masked loads may lie outside"]), LlvmTarget(vector_bytes=64))
    assert llvm.count("call <16 x float> @llvm.masked.load") == 2
    assert "gather" not in llvm
    llvm = llvm_text(text(BODIES["neighbours"]), LlvmTarget(vector_bytes=64))
    assert llvm.count("load <16 x float>") == 3 and "masked" not in llvm
