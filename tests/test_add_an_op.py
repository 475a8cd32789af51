"""One declaration is all that an op takes: it is then parsed, printed, verified, interpreted, lowered, documented."""

import numpy as np
import pytest

from sparsec.cli import ops as ops_command
from sparsec.compiler import Compilation
from sparsec.errors import VerifyError
from sparsec.ir.builder import Builder
from sparsec.ir.interp import interpret
from sparsec.ir.ops.declare import elementwise
from sparsec.ir.ops.record import REGISTRY, Sparse
from sparsec.ir.scalar import const
from sparsec.ir.text import parse, to_text
from sparsec.ir.types import F32, tensor
from sparsec.ir.verify import verify
from tests.ops import test_records as derived
from tests.programs.harness import backends


@pytest.fixture
def softsign():
    """x / (1 + |x|), declared here and nowhere else."""
    record = elementwise(
        "softsign",
        "x / (1 + |x|).",
        lambda x: x / (1 + np.abs(x)),
        lambda s, x: s.div(x, s.add(const(1, x.dtype), s.abs(x))),
        kinds="f",
        numpy=(),
        sparse=Sparse.KEEP,
    )
    yield record
    del REGISTRY["softsign"]


TEXT = """\
func @f(%x: f32[3,4]) {
  %0 = softsign %x : f32[3,4]
  return %0
}
"""

X = np.linspace(-3, 3, 12, dtype=np.float32).reshape(3, 4)
WANT = X / (1 + np.abs(X))


def test_parsed_printed_and_verified(softsign):
    func = parse(TEXT)
    verify(func)
    assert to_text(func, locs=False) == TEXT
    with pytest.raises(VerifyError, match="softsign"):
        verify(parse(TEXT.replace("f32", "i32")))


def test_built_and_interpreted(softsign):
    b = Builder()
    x = b.param(tensor(F32, 3, 4), "x")
    func = b.func("f", (b.op("softsign", x),))
    (result,), _ = interpret(func, [X])
    np.testing.assert_array_equal(result, WANT)


@pytest.mark.parametrize("backend", [*backends("cpu", "opencl"), "loops"])
def test_lowered(softsign, backend):
    result = np.empty_like(X)
    runner = Compilation(parse(TEXT), backend).runner
    runner.run([X.ctypes.data], [result.ctypes.data])
    np.testing.assert_array_equal(result, WANT)


def test_documented(softsign):
    row = next(line for line in ops_command.markdown().splitlines() if "softsign" in line)
    assert "x / (1 + |x|)" in row.replace("\\", "")
    assert "keep" in row


DERIVED = (
    "test_infer_tells_what_the_reference_gives",
    "test_text_reads_back_as_the_same",
    "test_interpreters_give_the_reference",
)


def test_derived_tests_cover_it(softsign):
    """The tests that every record gets run on the new one, and would fail on a wrong lowering."""
    for case in softsign.cases:
        for name in DERIVED:
            getattr(derived, name)(softsign, case)
