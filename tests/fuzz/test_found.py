"""Every program that once differed from NumPy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.found_case import FOUND, load_case
from tests.fuzz.runner import check_function, configs, quiet
from tests.programs.harness import backends

_CASES = sorted(FOUND.glob("case_*.py"))


@pytest.mark.parametrize("path", _CASES, ids=lambda p: p.stem)
def test_found(path: Path) -> None:
    f, program = load_case(path)
    with quiet():
        outcome = check_function(f, program, configs(backends("interp", "cpu"), "both"))
    assert not outcome.mismatches
