"""Every text test that runs a function on the graph interpreter also runs through passes and lowering."""

import re
from pathlib import Path

import numpy as np
import pytest

from sparsec.ir.text import parse
from tests.passes.compiled import check_everywhere

FOLDER = Path(__file__).parent.parent / "filetests"
CALLS = [
    pytest.param(path, line, id=f"{path.relative_to(FOLDER).with_suffix('')}-{n}")
    for path in sorted(FOLDER.rglob("*.sir"))
    for n, line in enumerate(re.findall(r"^// run: (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE))
]


@pytest.mark.parametrize(("path", "line"), CALLS)
def test_same_as_the_graph_interpreter(path, line):
    func = parse(path.read_text(encoding="utf-8").partition("// ----\n")[0])
    text = line.partition(" == ")[0].partition("(")[2].removesuffix(")")
    literals = eval(f"({text},)", {"nan": np.nan, "inf": np.inf}) if text else ()
    args = [np.array(a, p.type.dtype) for a, p in zip(literals, func.params, strict=True)]
    if any(not v.type.is_static for v in (*func.params, *func.results)):
        pytest.skip("arguments of symbolic size are not lowered yet")
    check_everywhere(func, args)


def test_there_are_calls():
    assert len(CALLS) > 10
