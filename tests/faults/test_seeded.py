"""The tests of the faults can fail: `python -m tests.faults.seeded` shows it for all, this for a few."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.bugs import all_bugs
from tests.faults.seeded import verdicts

#: Faults whose tests must have been seen to fail.
NUMBERS = {*range(1, 68), 74, 75}


def test_every_fault_has_a_bug_and_a_test():
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    tested = {int(n) for n in re.findall(r"^def test_f(\d+)_", tests, re.MULTILINE)}
    seeded = {n for bug in all_bugs().values() for n in bug.shows}
    assert NUMBERS <= seeded <= tested


PLANT_ALL = """
import pytest
from tests.faults.bugs import all_bugs
for what, bug in all_bugs().items():
    patch = pytest.MonkeyPatch()
    try:
        bug.plant(patch)
    except Exception as error:
        print(f"{what}: {error!r}")
    patch.undo()
"""


def test_every_bug_can_still_be_planted():
    """What the bugs change is still there, by its name. In a process of its own: some bugs stay."""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", PLANT_ALL], cwd=root, capture_output=True, text=True, timeout=100)
    assert (done.stdout, done.returncode) == ("", 0), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("what", [
    "a slice is a copy",
    "every array is taken for an aligned one",
    "the machine shifts by the low bits of the amount",
    "a call that may fail late runs on the caller's arrays",
])  # fmt: skip
def test_a_seeded_bug_is_found(what):
    bug = all_bugs()[what]
    for verdict in verdicts(bug, bug.shows):
        assert verdict.found, verdict.failed
