"""Stores that are overwritten unread, and those that must stay."""

import pytest

from sparsec.ir.loop_text import parse_program
from sparsec.ir.loops import Store, walk_stmts
from sparsec.passes.schedule.dead_stores import without_dead_stores

PROGRAM = """
program @p {{
  slot %x: global i64[8] rw = param 0
  slot %y: global i64[8] rw = param 1
  kernel @p_0(%x: global i64[8] rw, %y: global i64[8] rw) {{
    for i in 0..8 {{
{}
    }}
  }}
  host {{ launch @p_0(%x, %y) }}
}}
"""


@pytest.mark.parametrize("body, stores", [
    ("%y[i] = 1\n%y[i] = 2", 1),
    ("%y[i] = 1\n%y[7 - i] = 2", 2),
    ("%y[i] = 1\nlet a = %x[i]\n%y[i] = a", 1),
    ("%y[i] = 1\nlet a = %y[i]\n%y[i] = a", 2),
    ("%y[i] = 1\nif i > 3 {\n%y[i] = 2\n}", 2),
    ("%y[i] = 1\nif i > 3 {\nfail 1\n}\n%y[i] = 2", 2),
    ("mut s = 0\n%y[s] = 1\ns = 1\n%y[s] = 2", 2),
    ("%y[%x[0]] = 1\n%x[0] = 5\n%y[%x[0]] = 2", 3),
])
def test_stores_that_stay(body, stores):
    text = PROGRAM.format(body)
    kernel = parse_program(text).kernels[0]
    kept = without_dead_stores(kernel.body)
    assert sum(isinstance(s, Store) for s in walk_stmts(kept)) == stores
