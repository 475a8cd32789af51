"""Launches over the same turns become one where no turn meets another's; memory is the same afterwards."""

import numpy as np
import pytest

from sparsec.ir.loop_interp import run
from sparsec.ir.loop_text import parse_program
from sparsec.ir.loops import Launch, walk_stmts
from sparsec.passes.schedule.side_by_side import side_by_side

PROGRAM = """
program @p {{
  arena 8192
  slot %x: global i64[400] rw = param 0
  slot %y: global i64[400] rw = param 1
  slot %a: global i64[400] rw = arena 0
  slot %b: global i64[400] rw = arena {place}
{kernels}
  host {{ {launches} }}
}}
"""
BUFFERS = ", ".join(f"%{name}: global i64[400] rw" for name in "xyab")


def loops(text):
    """`i:9 j:4 | statements` as nested loops."""
    head, _, body = text.partition("|")
    names = [part.split(":") for part in head.split()]
    opened = "".join(f"for {name} in 0..{count} bind(parallel) {{\n" for name, count in names)
    return opened + body.replace(";", "\n") + "\n}" * len(names)


def program(nests, place=3200):
    kernels = [f"kernel @p_{k}({BUFFERS}) {{\n{loops(nest)}\n}}" for k, nest in enumerate(nests)]
    launches = "\n".join(f"launch @p_{k}(%x, %y, %a, %b)" for k in range(len(nests)))
    return parse_program(PROGRAM.format(kernels="\n".join(kernels), launches=launches, place=place))


def memory_after(found):
    views = [np.arange(400) * (k + 3) for k in range(2)]
    assert run(found, [v.view(np.uint8) for v in views]) == (0, 0)
    return views


@pytest.mark.parametrize("nests, launches", [
    # a border and a middle: windows of 10 elements for each turn
    (["i:9 | %y[i * 10] = 1", "i:9 j:9 | %y[i * 10 + j + 1] = %x[i * 3 + j]"], 1),
    # what a turn has written, the same turn reads
    (["i:9 j:4 | %y[i * 10 + j] = %x[j]", "i:9 j:4 | %y[i * 10 + j + 4] = %y[i * 10 + 3 - j]"], 1),
    # … and here another one
    (["i:9 j:4 | %y[i * 10 + j] = %x[j]", "i:9 j:4 | %y[i * 10 + j + 4] = %y[i * 10 + 13 - j]"], 2),
    (["i:9 j:4 | %y[i * 10 + j + 9] = %x[j]", "i:9 j:4 | %y[i * 10 + j] = 7"], 2),
    (["i:9 j:4 | %y[i * 10 + j] = %x[j]", "i:9 j:4 | %y[80 - i * 10 + j] = 7"], 2),
    # memory that is apart, though it moves differently
    (["i:9 j:4 | %y[i * 10 + j] = %x[j]", "i:9 j:4 | %y[i * 20 + j + 100] = 7"], 1),
    (["i:9 j:4 | %y[i * 10 + j] = %x[j]", "i:9 j:4 | %y[i * 20 + j + 80] = 7"], 2),
    # other turns, too few of them, loops that make vectors
    (["i:9 j:4 | %y[i * 10 + j] = %x[j]", "i:8 j:4 | %y[i * 10 + j + 4] = 7"], 2),
    (["i:4 j:4 | %y[i * 10 + j] = %x[j]", "i:4 j:4 | %y[i * 10 + j + 4] = 7"], 2),
    (["i:9 | %y[i] = %x[i]", "i:9 j:4 | %y[i * 10 + j + 100] = 7"], 2),
    (["i:9 | %y[i] = %x[i]", "i:9 | %y[i + 100] = 7"], 2),
    # inner loops as well: one of 9 turns holds the element and the row
    (["i:9 j:9 | %y[i * 40 + j * 4] = 1", "i:9 j:9 k:3 | %y[i * 40 + j * 4 + k + 1] = j"], 1),
    (["i:9 j:9 | %y[i * 40 + j * 4] = 1", "i:9 j:9 k:3 | %y[i * 40 + j * 4 + k + 2] = j"], 1),
    # 72 turns are nine times eight
    (["i:9 j:8 | %y[i * 40 + j * 5] = 1", "i:72 k:4 | %y[i * 5 + k + 1] = i"], 1),
    (["i:72 k:4 | %y[i * 5 + k + 1] = i", "i:9 j:8 | %y[i * 40 + j * 5] = 1"], 1),
    (["i:72 k:4 | %y[i * 5 + k + 1] = i", "i:8 j:8 | %y[i * 40 + j * 5] = 1"], 2),
    # a gathered position may be anything
    (["i:9 j:4 | %y[i * 10 + j] = 5", "i:9 j:4 | %a[i * 4 + j] = %y[%x[i]]"], 2),
    # past one that has nothing to do with it, and not past one that has
    (["i:9 j:4 | %y[i * 10 + j] = 5", "i:4 | %b[i] = 3", "i:9 j:4 | %y[i * 10 + j + 5] = 6"], 2),
    (["i:9 j:4 | %y[i * 10 + j] = 5", "i:4 | %y[i + 8] = 3", "i:9 j:4 | %y[i * 10 + j + 5] = 6"], 3),
])
def test_memory_and_launches(nests, launches):
    before = program(nests)
    after = side_by_side(before)
    assert sum(isinstance(stmt, Launch) for stmt in walk_stmts(after.body)) == launches
    assert len(after.kernels) == launches
    for mine, wanted in zip(memory_after(after), memory_after(before), strict=True):
        assert np.array_equal(mine, wanted)


@pytest.mark.parametrize("place, launches", [(3200, 1), (800, 2)])
def test_temporaries_that_share_memory_stay_apart(place, launches):
    nests = ["i:9 j:4 | %a[i * 10 + j] = %x[i]; %y[i * 10 + j] = %a[i * 10 + j]", "i:9 j:4 | %b[i * 10 + j] = %x[j]"]
    nests.append("i:9 j:4 | %y[i * 10 + j + 5] = %b[i * 10 + j]")
    given = "%x: global i64[400] rw, %y: global i64[400] rw"
    lone = [f"kernel @p_{k}({given}, %{t}: global i64[400] rw) {{\n{loops(nest)}\n}}"
            for k, (nest, t) in enumerate(zip(nests, "abb", strict=True))]  # fmt: skip
    starts = "\n".join(f"launch @p_{k}(%x, %y, %{t})" for k, t in enumerate("abb"))
    before = parse_program(PROGRAM.format(kernels="\n".join(lone), launches=starts, place=place))
    after = side_by_side(before)
    assert sum(isinstance(stmt, Launch) for stmt in walk_stmts(after.body)) == launches
    for mine, wanted in zip(memory_after(after), memory_after(before), strict=True):
        assert np.array_equal(mine, wanted)
