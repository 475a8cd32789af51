"""Small matrices that are copied turned: loads of rows, and shuffles."""

import numpy as np
import pytest

from sparsec.codegen.llvm import llvm_text
from sparsec.ir.loop_text import parse_program
from tests.codegen.running import agree, cpu_target

BODY = """alloc %t: private {dtype}[512] rw align 64
    for i in 0..{rows} bind(vector) {{ let row = %n[i] for t in 0..{columns} {{
        %t[t * {rows} + i] = %x[row * {stride} + t + 1] }} }}
    for j in 0..{elements} {{ %y[j] = %t[j] }}"""


def program(rows, columns, dtype="f32", body=BODY):
    text = body.format(rows=rows, columns=columns, dtype=dtype, stride=columns + 2, elements=rows * columns)
    slots = f"%x: global {dtype}[1024] r", f"%y: global {dtype}[512] rw", "%n: global i64[32] r"
    params = " ".join(f"slot {slot} = param {k}" for k, slot in enumerate(slots))
    return parse_program(f"""program @p {{ arena 0 {params}
        kernel @k({", ".join(slots)}) {{ {text} }} host {{ launch @k(%x, %y, %n) }} }}""")


def memory(dtype):
    rng = np.random.default_rng(0)
    kind = {"f32": "f4", "f64": "f8"}[dtype]
    return [rng.uniform(-1, 1, 1024).astype(kind), np.zeros(512, kind), rng.integers(0, 20, 32)]


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5, 9, 16])
@pytest.mark.parametrize("rows", [4, 8, 16, 32])
def test_they_are_copies(rows, columns, dtype):
    made = program(rows, columns, dtype)
    agree(made, memory(dtype))
    text = llvm_text(made, cpu_target(False))
    assert "gather" not in text and ("shufflevector" in text or columns * (8 if dtype == "f64" else 4) < 16)


@pytest.mark.parametrize("change", [
    ("%x[row * {stride} + t + 1]", "%x[row * {stride} + t * 2]"),  # columns that are no neighbours
    ("%t[t * {rows} + i]", "%t[t * {rows} + {rows} - 1 - i]"),  # rows that are no neighbours in the copy
    ("%t[t * {rows} + i]", "%y[t * {rows} + i]"),  # memory that may be somebody else's
    ("= %x[row * {stride} + t + 1]", "= %x[row * {stride} + t + 1] * 2.0:{dtype}"),
])  # fmt: skip
def test_what_is_none_is_written_as_any_loop(change):
    agree(program(12, 5), memory("f32"))  # rows that fill no power of two
    body = BODY.replace(*change)
    made = program(16, 5, body=body if "%y[t" not in body else body[: body.index("for j")])
    agree(made, memory("f32"))
    assert "shufflevector <4 x float>" not in llvm_text(made, cpu_target(False))
