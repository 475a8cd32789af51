"""Loops that take elements one by one, on machines where gathering them into vectors is slow."""

import pytest

from sparsec.codegen.llvm import LlvmTarget, llvm_text
from sparsec.ir.loop_text import parse_program

BODIES = {
    "at an index": ("let k = %i[j] %y[j] = %x[k]", True),
    "at an index that is computed": ("let k = %i[j] let m = k * 2 + 1 %y[j] = %x[m]", True),
    "at a rounded float": ("let k = cast:i64(%x[j]) %y[j] = %x[k]", True),
    "to places that are far apart": ("%y[j * 9] = %x[j * 9]", True),
    "neighbours": ("let k = %i[j] let m = cast:f64(k) %y[j] = %x[j] + m", False),
    "in turn": ("%y[j * 2] = %x[j * 9] %y[j * 2 + 1] = %x[j]", False),
}


@pytest.mark.parametrize("name", BODIES)
def test_only_such_loops_are_told(name):
    body, one_by_one = BODIES[name]
    program = parse_program(f"""program @p {{
      slot %x: global f64[512] r align 8 = param 0
      slot %i: global i64[512] r align 8 = param 1
      slot %y: global f64[512] w align 8 = result 0
      kernel @k(%x: global f64[512] r align 8, %i: global i64[512] r align 8, %y: global f64[512] w align 8) {{
        for j in 0..50 bind(parallel) {{ {body} }}
      }}
      host {{ launch @k(%x, %i, %y) }}
    }}""")
    told = llvm_text(program, LlvmTarget(cpu="c", features="+avx2", slow_gather=True))
    assert ('"target-features"="+avx2,+prefer-no-gather"' in told) and ("#2 #1 {" in told) is one_by_one
    assert "prefer-no-gather" not in llvm_text(program, LlvmTarget(features="+avx2"))
