"""Children that answer, fail, crash and hang."""

import os
import time

import pytest

from sparsec.runtime.isolate import run_script

WRITE = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text"


def run(tmp_path, source, timeout=30.0, env=None):
    script = tmp_path / "script.py"
    script.write_text(source)
    return run_script(script, timeout=timeout, env=env)


def test_answer_and_stderr(tmp_path):
    source = f"{WRITE}('[1, 2]'); print('noise'); print('said', file=sys.stderr)"
    outcome = run(tmp_path, source)
    assert (outcome.answer, outcome.failure, outcome.stderr) == ([1, 2], "", "said")


def test_environment_is_added(tmp_path):
    source = f"import os; {WRITE}('\"' + os.environ['A'] + os.environ['PATH'][:1] + '\"')"
    assert run(tmp_path, source, env={"A": "a"}).answer == "a" + os.environ["PATH"][:1]


def test_neighbours_do_not_shadow_the_standard_library(tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    assert run(tmp_path, f"import json; {WRITE}('1')").answer == 1


@pytest.mark.parametrize(
    ("source", "failure"),
    [
        ("raise ValueError('why')", "ended with status 1"),
        ("import os; os.abort()", "crashed (SIGABRT)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed (SIGSEGV)"),
        ("pass", "gave no answer"),
        (f"{WRITE}('{{')", "gave no answer"),
    ],
)
def test_failures(tmp_path, source, failure):
    outcome = run(tmp_path, source)
    assert outcome.answer is None
    assert outcome.failure.startswith(failure)


def test_the_reason_is_kept_and_the_noise_cut(tmp_path):
    outcome = run(tmp_path, "import sys; sys.stderr.write('x' * 100_000); raise ValueError('why')")
    assert outcome.stderr.endswith("why")
    assert len(outcome.stderr) < 5000


def test_time_limit_stops_grandchildren_too(tmp_path):
    alive = tmp_path / "alive"
    grandchild = f"import time, pathlib; time.sleep(2); pathlib.Path({str(alive)!r}).touch()"
    source = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    begin = time.monotonic()
    outcome = run(tmp_path, source, timeout=0.5)
    assert outcome.failure == "did not answer within 0.5 s"
    assert time.monotonic() - begin < 20
    time.sleep(2.5)
    assert not alive.exists()


def test_a_python_that_does_not_start(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    assert run(tmp_path, "").failure.startswith("could not be started")
    monkeypatch.setattr("sys.executable", "")
    assert "does not know its own executable" in run(tmp_path, "").failure
