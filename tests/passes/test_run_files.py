"""Every text test that runs a function on the graph interpreter also runs through passes and lowering."""

import re
from pathlib import Path

import numpy as np
import pytest

from sparsec.compiler import Compilation
from sparsec.errors import UnsupportedError
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
    check_everywhere(func, args)


SIZES = """
func @f(%x: i64[n<=10,2], %n: i64) {
  %y = add %x, %x : i64[n,2]
  return %y
}
"""


def test_sizes_that_only_an_argument_tells_are_a_typed_error():
    """The interpreter finds them. A compiled program is given values, and is told which of them is a size."""
    with pytest.raises(UnsupportedError, match=r"the symbolic dim n of an argument.*(?s:.)*%n: i64"):
        Compilation(parse(SIZES), "loops").program


def test_sizes_that_are_values_are_lowered():
    func = parse(SIZES.replace("n<=", "%n<=").replace("[n,", "[%n,"))
    assert Compilation(func, "loops").program.kernels


def test_there_are_calls():
    assert len(CALLS) > 10
