"""Runs a script in a child process, for work that may crash or hang: drivers, code generators.

A library that aborts takes its whole process along, and one that waits for a lock waits for ever. So what is
not trusted is asked in a child, with a time limit, and how the child ended is part of the answer.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Outcome", "run_script"]

# A driver may print a great deal before it dies; the end says why.
_STDERR_KEPT = 2000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a child answered, or how it failed. `failure` is empty exactly when there is an answer."""

    answer: Any
    failure: str
    stderr: str


def run_script(script: Path, *, timeout: float, env: Mapping[str, str] | None = None) -> Outcome:
    """Runs a Python script that writes JSON to the file named by its argument.

    The answer goes through a file, since a driver may print to stdout. `env` is added to the environment.
    The script does not see the folder it lies in, so its neighbours cannot shadow the standard library.
    """
    if not sys.executable:
        return Outcome(None, "this Python does not know its own executable, so no child can be started", "")
    with tempfile.TemporaryDirectory(prefix="sparsec-") as folder, tempfile.TemporaryFile() as stderr:
        result = Path(folder, "answer.json")
        failure = _wait(
            [sys.executable, "-P", str(script), str(result)], {**os.environ, **(env or {})}, stderr, timeout
        )
        stderr.seek(0)
        said = stderr.read().decode(errors="replace").strip()[-_STDERR_KEPT:]
        if not failure:
            try:
                return Outcome(json.loads(result.read_text(encoding="utf-8")), "", said)
            except (OSError, ValueError) as error:
                failure = f"gave no answer that can be read ({error})"
        return Outcome(None, failure, said)


def _wait(command: list[str], env: Mapping[str, str], stderr: Any, timeout: float) -> str:
    """Runs a command to its end or its time limit; returns what went wrong, if anything."""
    try:
        # Its own session, so that whatever it starts can be stopped together with it. Output goes to a file
        # and not to a pipe: a grandchild that keeps a pipe open would outlast the time limit.
        child = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
    except OSError as error:
        return f"could not be started ({error})"
    try:
        return _how_it_ended(child.wait(timeout))
    except subprocess.TimeoutExpired:
        return f"did not answer within {timeout:g} s"
    finally:
        _stop(child)


def _how_it_ended(status: int) -> str:
    if status == 0:
        return ""
    if status > 0:
        return f"ended with status {status}"
    try:
        return f"crashed ({signal.Signals(-status).name})"
    except ValueError:
        return f"crashed (signal {-status})"


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Ends a child that is still running, and waits for it, so that no zombie stays."""
    if child.poll() is not None:
        return
    if hasattr(os, "killpg"):
        os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.wait()
