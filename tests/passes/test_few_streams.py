"""Loops that write many rows at once are cut; what each element becomes stays."""

import numpy as np
import pytest

from sparsec.ir.loop_text import parse_program, program_text
from sparsec.ir.loops import For, Store, walk_stmts
from sparsec.passes.schedule.few_streams import few_streams
from tests.codegen.running import run_interp

ROWS = """let a = %x[i * 80 + j] %y[i * 40 + j] = a let b = %x[i * 80 + j + 40] %y[i * 40 + j + 1600] = b
    let c = %x[i * 80 + j + 1] %y[i * 40 + j + 3200] = c let d = %x[i * 80 + j + 41] %y[i * 40 + j + 4800] = d"""
BODIES = {
    "rows of two lines": (ROWS, [2, 2]),
    "few rows": (ROWS[: ROWS.index("let d")], [3]),
    "a number that all need": (f"let n = %x[i * 80] {ROWS.replace('] = ', '] = n + ')}", [4]),
    "side by side": ("""let a = %x[i * 80 + j] %y[i * 160 + j * 4] = a let b = %x[i * 80 + j + 40]
        %y[i * 160 + j * 4 + 1] = b %y[i * 160 + j * 4 + 2] = a %y[i * 160 + j * 4 + 3] = b""", [4]),
    "places that are not compared": (f"{ROWS} %y[i * 40 + 39 - j + 4800] = a", [5]),
    "what is written is read": (ROWS.replace("%x[i * 80 + j + 41]", "%y[i * 40 + j + 4900]"), [4]),
}


def program(body):
    params = "%x: global f64[3300] r align 8, %y: global f64[6600] rw align 8"
    return parse_program(f"""program @p {{
      slot %x: global f64[3300] r align 8 = param 0
      slot %y: global f64[6600] rw align 8 = param 1
      kernel @k({params}) {{ for i in 0..40 bind(parallel) {{ for j in 0..40 bind(parallel) {{ {body} }} }} }}
      host {{ launch @k(%x, %y) }}
    }}""")


@pytest.mark.parametrize("name", BODIES)
def test_loops_and_values(name):
    body, stores = BODIES[name]
    before = program(body)
    after = few_streams(before)
    inner = [s.body for s in walk_stmts(after.kernels[0].body) if isinstance(s, For) and s.var.name != "i"]
    assert [sum(isinstance(stmt, Store) for stmt in loop) for loop in inner] == stores
    assert (after == before) == (len(stores) == 1)
    results = []
    for each in (before, after):
        memory = [np.random.default_rng(0).random(3300), np.zeros(6600)]
        assert run_interp(each, memory) == (0, 0)
        results.append(memory[1])
    np.testing.assert_array_equal(*results)


def test_threads_keep_the_loop_that_they_share():
    few = parse_program(program_text(program(ROWS)).replace("i in 0..40", "i in 0..8"))
    assert few_streams(few) == few
