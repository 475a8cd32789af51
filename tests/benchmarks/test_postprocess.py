"""The benchmark functions, compiled, against NumPy."""

from __future__ import annotations

import pytest

from benchmarks.postprocess import CASES
from tests.programs.harness import backends, check

STATIC_FLOW = [case for case in CASES.values() if not case.data_dependent]
DATA_FLOW = [case for case in CASES.values() if case.data_dependent]
SLOW_SIZES = ("large", "ref0", "ref1", "ref2", "ref3", "ref4", "offset0", "offset1", "offset2")


def runs(cases, *wanted, slow):
    """Every size on every backend. A device takes seconds to build a program: "tiny" runs there by `-m long` only."""
    return [
        pytest.param(case, size, backend, id=f"{case.name}-{size}-{backend}",
                     marks=[pytest.mark.long] if (size, backend) == ("tiny", "opencl") else [])
        for case in cases for size in case.all_sizes if (size in SLOW_SIZES) == slow for backend in backends(*wanted)
    ]


def check_case(case, size, backend):
    check(
        case.fn,
        lambda: case.make(size, 0),
        backend,
        rtol=case.rtol,
        atol=case.atol,
        static_argnames=case.static_argnames,
    )


@pytest.mark.parametrize(("case", "size", "backend"), runs(STATIC_FLOW, slow=False))
def test_small(case, size, backend):
    check_case(case, size, backend)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "size", "backend"), runs(STATIC_FLOW, "cpu", "opencl", slow=True))
def test_large(case, size, backend):
    check_case(case, size, backend)


@pytest.mark.parametrize(("case", "size", "backend"), runs(DATA_FLOW, slow=False))
def test_data_dependent(case, size, backend):
    check_case(case, size, backend)
