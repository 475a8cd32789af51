"""Shows that the test of every fault can fail: plants bugs in sparsec, one at a time, and runs the faults' tests.

    python -m tests.faults.seeded                  all bugs; takes about ten minutes
    python -m tests.faults.seeded --only 1,44,75   those of some faults

A fault's tests are those that are called after it (`test_f44_...`). First they run as they are, and must pass. Then,
for each bug of `bugs/`, the tests of its faults run in a process in which it is planted: for each fault at least one
must fail, with a message that shows the mistake.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults.bugs import Bug, all_bugs

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

#: Seconds that the tests of one bug may take.
LIMIT = 300


@dataclass(frozen=True)
class Outcome:
    """What became of one test."""

    test: str
    phase: str
    result: str
    message: str

    @property
    def fault(self) -> int:
        found = re.search(r"::test_f(\d+)_", self.test)
        return int(found[1]) if found else 0


@dataclass(frozen=True)
class Verdict:
    """How one fault's tests took one bug. `failed` and `shown`: the tests that failed, and those of them that failed
    as the mistake should."""

    fault: int
    bug: Bug
    run: int
    failed: tuple[Outcome, ...]
    shown: tuple[Outcome, ...]

    @property
    def found(self) -> bool:
        return bool(self.shown)


def run_tests(faults: Collection[int], bug: str = "") -> list[Outcome]:
    """The tests of some faults, with a bug planted or without; the last outcome is the process's own if it died."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        names = " or ".join(f"test_f{n:02d}_" for n in sorted(faults))
        command = [sys.executable, "-m", "pytest", str(HERE), "-q", "-x" if not bug else "-q", "--no-header",
                   "-p", "no:cacheprovider", "-p", "tests.faults.plant", "-k", names]
        env = {**os.environ, "SPARSEC_TEST_BUG": bug, "SPARSEC_TEST_BUG_REPORT": str(report),
               "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}
        done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
        lines = report.read_text(encoding="utf-8").splitlines() if report.exists() else []
        outcomes = [Outcome(*json.loads(line)) for line in lines]
        if done.returncode not in (0, 1):
            said = (done.stderr.strip() or done.stdout.strip())[-2000:]
            outcomes.append(Outcome("", "process", "failed", f"pytest ended with {done.returncode}: {said}"))
        return outcomes


def verdicts(bug: Bug, faults: Collection[int]) -> Iterator[Verdict]:
    """What the tests of those of `faults` that the bug is for say of it."""
    mine = [n for n in bug.shows if n in faults]
    outcomes = run_tests(mine, bug.what)
    for fault in mine:
        own = [o for o in outcomes if o.fault == fault or o.phase == "process"]
        failed = tuple(o for o in own if o.result == "failed")
        shown = tuple(o for o in failed if o.phase == "call" and re.search(bug.shows[fault], o.message))
        yield Verdict(fault, bug, len(own), failed, shown)


def line(verdict: Verdict) -> str:
    """A row of the table."""
    example = (verdict.shown or verdict.failed or (None,))[0]
    said = ""
    if example is not None:
        said = f"{example.test.split('::')[-1]}: {example.message[:110]}".split("\n")[0]
    mark = " " if verdict.found else "MISSED"
    return f"{verdict.fault:>3}  {verdict.bug.what}  {len(verdict.shown)}/{verdict.run}  {mark} {said}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.seeded", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="numbers of faults, with commas")
    parser.add_argument("--bug", default="", help="only bugs with this in their name")
    given = parser.parse_args(arguments)
    bugs = [b for b in all_bugs().values() if given.bug in b.what]
    known = {n for b in bugs for n in b.shows}
    faults = {int(n) for n in given.only.split(",")} if given.only else known
    start = time.perf_counter()
    clean = run_tests(faults)
    wrong = [o for o in clean if o.result == "failed"]
    for outcome in wrong:
        print(f"fails without any bug: {outcome.test}: {outcome.message}")
    print(f"{len(clean)} tests of {len(faults)} faults without a bug: {len(clean) - len(wrong)} pass", flush=True)
    missed = len(wrong) + len(faults - known)
    for bug in bugs:
        if faults & set(bug.shows):
            for verdict in verdicts(bug, faults):
                print(line(verdict), flush=True)
                missed += not verdict.found
    print(f"{time.perf_counter() - start:.0f} s; {missed} missed")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
