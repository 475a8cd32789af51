"""The fuzzer finds what it is there to find."""

from __future__ import annotations

import pytest

from tests.fuzz.seeded import SEEDED, programs_needed


@pytest.mark.slow
@pytest.mark.parametrize("name", SEEDED)
def test_seeded_error_is_found(name: str) -> None:
    needed = programs_needed(name)
    print(f"{name}: {needed} programs")
    assert needed is not None
