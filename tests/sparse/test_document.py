"""What docs/sparsity.md shows: the dump of its network, and its table of memory and cost."""

import re
from pathlib import Path

import numpy as np
import pytest

import sparsec
from examples import networks

TEXT = (Path(__file__).parents[2] / "docs" / "sparsity.md").read_text(encoding="utf-8")


def test_the_dump_is_what_the_pass_leaves():
    section = TEXT[TEXT.index("## A network") : TEXT.index("## What densifies")]
    source, dump = re.findall(r"^```(?:python)?\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    values = {"__name__": "docs"}
    exec(compile(source, "sparsity.md", "exec"), values)
    made = [re.sub(r"  // .*", "", line).strip() for line in values["text"].splitlines()]
    at = 0
    for line in (line.strip() for line in dump.splitlines()):
        if line.startswith("…"):
            continue
        begins, _, ends = line.partition("…}")
        found = [k for k in range(at, len(made)) if made[k].startswith(begins) and made[k].endswith(ends)]
        assert found, line
        at = found[0] + 1


ROWS = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in TEXT.splitlines()
        if re.match(r"\| \d+% \|", line)]


def how_often(row):
    return pytest.mark.slow if row[:2] == ["50%", "shared"] else pytest.mark.long


@pytest.mark.parametrize("row", [pytest.param(r, id=" ".join(r[:2]), marks=how_often(r)) for r in ROWS])
def test_the_table_is_what_the_analyses_say(row):
    share, indexes, *cells = row
    function = sparsec.jit(networks.forward_resnet18, choices="registers=16")  # the same plan on every machine
    params, ratio = networks.resnet18(), int(share[:-1]) / 100
    image = np.zeros((1, 3, 224, 224), "f4")
    given = networks.arguments(networks.prune(params, ratio, indexes == "shared") if ratio else params)
    memory, cost = function.memory_analysis(image, given), function.cost_analysis(image, given)
    dense = (memory.dense or memory).total
    megabytes = [f"{n / 1e6:.2f}" for n in (memory.peak, memory.used, memory.parameters, memory.total)]
    assert cells[:5] == [*megabytes, f"{memory.total / dense:.2f}"]
    assert cells[6:] == [f"{cost.macs / 1e6:.0f}", f"{cost.most_macs / 1e6:.0f}", f"{cost.nbytes / 1e6:.1f}"]
    assert abs(float(cells[5]) / (memory.total / 1e6) - 1) < 0.1
    assert memory.weight_temporaries == 0
