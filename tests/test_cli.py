"""The `sparsec` command: subcommands, lazy imports, and what a user sees of an error."""

import argparse
import importlib
import subprocess
import sys
from types import SimpleNamespace

import pytest

from sparsec.cli import main
from sparsec.errors import SparsecError


@pytest.fixture
def failing(monkeypatch):
    """Makes `sparsec doctor` raise; returns a function that sets what."""

    def raising(error):
        def run(args):
            raise error

        command = SimpleNamespace(add_arguments=lambda parser: None, run=run, __doc__="")
        monkeypatch.setattr(main.importlib, "import_module", lambda name: command)

    return raising


@pytest.mark.parametrize("name", list(main.COMMANDS))
def test_every_command_has_its_module(name):
    module = importlib.import_module(f"sparsec.cli.{name}")
    assert callable(module.run)
    module.add_arguments(argparse.ArgumentParser())
    assert module.__doc__.startswith(f"`sparsec {name}`")


@pytest.mark.parametrize("name", list(main.COMMANDS))
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main.main([name, "--help"])
    assert ended.value.code == 0
    assert "--debug" in capsys.readouterr().out


def test_help_lists_every_command_and_imports_none(capsys, monkeypatch):
    monkeypatch.setattr(main.importlib, "import_module", None)
    with pytest.raises(SystemExit) as ended:
        main.main(["--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert all(name in out for name in main.COMMANDS)


def test_no_words_are_answered_with_the_help(capsys):
    assert main.main([]) == 2
    err = capsys.readouterr().err
    assert all(text in err for text in ("usage: sparsec", *main.COMMANDS))


@pytest.mark.parametrize("words", [["nonsense"], ["--nonsense"], ["doctor", "--nonsense"]])
def test_wrong_usage(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main.main(words)
    assert ended.value.code == 2
    assert "usage: sparsec" in capsys.readouterr().err


def test_user_errors_are_one_message(failing, capsys):
    failing(SparsecError("what is wrong", hint="what to do"))
    assert main.main(["doctor"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("sparsec: error: ") and "what is wrong" in err and "what to do" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("words", [["--debug", "doctor"], ["doctor", "--debug"]])
def test_debug_shows_the_traceback(failing, capsys, words):
    failing(SparsecError("what is wrong"))
    assert main.main(words) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err and "what is wrong" in err


def test_a_defect_is_not_hidden(failing):
    failing(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main.main(["doctor"])


def test_interrupt(failing):
    failing(KeyboardInterrupt())
    assert main.main(["doctor"]) == 130


def test_as_a_module_and_with_a_reader_that_leaves():
    out = subprocess.run([sys.executable, "-m", "sparsec", "--version"], capture_output=True, text=True)
    assert out.returncode == 0 and out.stdout.startswith("sparsec ")

    child = subprocess.Popen(
        [sys.executable, "-m", "sparsec", "doctor"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None and child.stderr is not None
    child.stdout.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait() == 1
