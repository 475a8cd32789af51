"""What all tests share: the quick run's choice of tests, and golden files with their refresh switch."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="rewrite golden files with what the tests now give")


def pytest_configure(config: pytest.Config) -> None:
    # A pass that breaks the IR is named here; users have it checked at both ends of the pipeline only.
    os.environ.setdefault("SPARSEC_VERIFY", "1")
    # Every test compiles what it tests; the tests of the cache turn it on.
    os.environ.setdefault("SPARSEC_CACHE", "0")
    # A busy machine makes no test wrong.
    settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("untimed")
    # Where changes are checked, a golden file is evidence; rewriting it there would make every test pass.
    if config.getoption("--bless") and os.environ.get("CI", "").lower() not in ("", "0", "false"):
        raise pytest.UsageError("--bless is refused where CI is set")


@pytest.hookimpl(tryfirst=True)  # before pytest itself selects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not any(item.get_closest_marker(name) for name in ("slow", "long")):
            item.add_marker(pytest.mark.quick)


def check_golden(path: Path, text: str, bless: bool) -> None:
    """Fails with a diff where the file at `path` does not hold `text`; with `bless`, writes it instead."""
    if not text.endswith("\n"):
        text += "\n"
    if bless:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        return
    if not path.exists():
        pytest.fail(f"there is no golden file {path}; `pytest --bless` writes it", pytrace=False)
    expected = path.read_text(encoding="utf-8")
    if text != expected:
        before, after = expected.splitlines(keepends=True), text.splitlines(keepends=True)
        diff = "".join(difflib.unified_diff(before, after, str(path), "what the test gave"))
        pytest.fail(f"{diff}\nif the change is meant, `pytest --bless` rewrites the file", pytrace=False)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden("passes/fuse.txt", text)` compares `text` with that file under tests/golden/."""
    bless = request.config.getoption("--bless")

    def check(name: str, text: str) -> None:
        path = (GOLDEN / name).resolve()
        assert path.is_relative_to(GOLDEN), f"{name} is not under {GOLDEN}"
        check_golden(path, text, bless)

    return check
