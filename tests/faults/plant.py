"""Plants the bug that SPARSEC_TEST_BUG names: as a plugin of pytest (`-p tests.faults.plant`), and in the processes
that tests start. Without the variable it does nothing.

As a plugin it writes what became of each test to the file SPARSEC_TEST_BUG_REPORT, one JSON list a line: the test,
the phase, the outcome, and the message of a failure.
"""

from __future__ import annotations

import json
import os
from typing import Any


def _plant() -> None:
    name = os.environ.get("SPARSEC_TEST_BUG")
    if name:
        import pytest

        from tests.faults.bugs import all_bugs

        all_bugs()[name].plant(pytest.MonkeyPatch())


def pytest_runtest_logreport(report: Any) -> None:
    path = os.environ.get("SPARSEC_TEST_BUG_REPORT")
    if not path or (report.when != "call" and report.outcome == "passed"):
        return
    crash = getattr(report.longrepr, "reprcrash", None)
    message = "" if report.outcome == "passed" else crash.message if crash is not None else str(report.longrepr)
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps([report.nodeid, report.when, report.outcome, message]) + "\n")


_plant()
