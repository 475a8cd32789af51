"""Rows that compute the same side by side: what is shared, what is left over, and that values stay."""

import numpy as np
import pytest

from sparsec.ir.loop_text import parse_program
from sparsec.ir.loops import For, walk_stmts
from sparsec.passes.schedule.shared_rows import shared_rows
from tests.codegen.running import run_interp

WINDOW = """let a = max(%x[i * 40 + j], %x[i * 40 + j + 1]) let b = max(%x[i * 40 + j + 40], %x[i * 40 + j + 41])
    let c = max(%x[i * 40 + j + 80], %x[i * 40 + j + 81]) %y[i * 40 + j] = max(max(a, b), c)"""
BODIES = {
    "a window": (WINDOW, 4),
    "columns": ("let a = j * 3 let b = a * a + j %y[i * 40 + j] = %x[i * 40 + j] + b * b", 4),
    "two results": ("let b = j * j * 3 + j %y[i * 40 + j] = %x[i * 40 + j] + b %y[i * 40 + j + 2000] = b", 2),
    "many results": (" ".join([WINDOW, *(f"%y[i * 40 + j + {k}000] = b" for k in (2, 4, 6, 8))]), 1),
    "nothing in common": ("let a = %x[i * 40 + j] %y[i * 40 + j] = a * a + i", 1),
    "a place that is computed": ("let a = i * i %y[i * 40 + j] = %x[min(a + j, 9)] * %x[min(a + j + 1, 9)]", 1),
    "nothing is computed": ("let a = %x[i * 40 + j] %y[i * 40 + j] = a", 1),
}


def program(body, rows):
    buffers = "%x: global i64[1800] r align 8, %y: global i64[9999] rw align 8"
    return parse_program(f"""program @p {{
      slot %x: global i64[1800] r align 8 = param 0
      slot %y: global i64[9999] rw align 8 = param 1
      kernel @k({buffers}) {{ for i in 0..{rows} bind(parallel) {{ for j in 0..35 bind(parallel) {{ {body} }} }} }}
      host {{ launch @k(%x, %y) }}
    }}""")


@pytest.mark.parametrize("rows", (16, 38))
@pytest.mark.parametrize("name", BODIES)
def test_rows_and_values(name, rows):
    body, count = BODIES[name]
    before = program(body, rows)
    after = shared_rows(before)
    steps = [stmt.step for stmt in walk_stmts(after.kernels[0].body) if isinstance(stmt, For)]
    assert steps[0] == count and (after == before) == (count == 1)
    results = []
    for each in (before, after):
        memory = [np.random.default_rng(0).integers(-99, 99, 1800), np.zeros(9999, np.int64)]
        assert run_interp(each, memory) == (0, 0)
        results.append(memory[1])
    np.testing.assert_array_equal(*results)


def test_few_rows_and_triangles_stay():
    few = program(WINDOW, 15)
    assert shared_rows(few) == few
    text = "for i in 0..20 bind(parallel) { for j in 0..i bind(parallel) { %y[i * 40 + j] = j * j * j } }"
    triangle = parse_program(f"""program @p {{ slot %y: global i64[999] rw align 8 = param 0
      kernel @k(%y: global i64[999] rw align 8) {{ {text} }} host {{ launch @k(%y) }} }}""")
    assert shared_rows(triangle) == triangle
