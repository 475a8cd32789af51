"""The twelve view programs on every backend."""

from __future__ import annotations

import pytest

from tests.programs.harness import backends, check_calls
from tests.programs.twelve import TWELVE


@pytest.mark.parametrize("backend", backends())
@pytest.mark.parametrize("name", TWELVE)
def test_program(name, backend):
    program = TWELVE[name]
    check_calls(program.fn, program.calls, backend, may_refuse=program.data_dependent)


@pytest.mark.parametrize("backend", backends())
@pytest.mark.parametrize("name", TWELVE)
def test_program_again(name, backend):
    """The second call of what is compiled already gives the same answer."""
    program = TWELVE[name]
    check_calls(program.fn, program.calls * 2, backend, may_refuse=program.data_dependent)
