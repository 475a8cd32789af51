"""The `sparsec` command: finds the subcommand, runs it, and turns an error into a message and a status.

A subcommand is a module of this folder with `add_arguments(parser)` and `run(args) -> int`, the exit status; its
docstring is its help. It is named in `COMMANDS` and imported only when it is the one asked for, so that
`sparsec doctor` works where the compiler cannot even be imported.

Exit status: 0 done, 1 an error that sparsec reports or the user's function raises, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from sparsec.errors import SparsecError

__all__ = ["COMMANDS", "main"]

#: Name and one-line help of each subcommand; its module has the same name.
COMMANDS = {
    "dump": "show the stages of a compiled Python function",
    "explain": "show what each line of a function becomes, and why",
    "ops": "list the ops of the IR and the NumPy functions that are supported",
    "doctor": "show what sparsec finds on this machine, and whether it can work",
    "cache": "show or clear the compiled code that is kept between runs",
    "tune": "search for faster code for a function and keep it",
    "opt": "run passes over the text of the IR",
    "run": "run a function from the text of the IR",
}

_DEBUG_HELP = "show the Python traceback of an error"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (by default the process's own) and returns the exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    if not words:
        _parser(None).print_help(sys.stderr)
        return 2
    args = _parser(_command_in(words)).parse_args(words)
    try:
        status = args.run(args)
        sys.stdout.flush()
        return int(status)
    except SparsecError as error:
        if args.debug:
            traceback.print_exc()
        else:
            print(f"sparsec: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. Python flushes stdout once more at exit; give it a new one.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        from sparsec.frontend.locate import users_frames, users_own  # there: the compiler could be imported

        if args.debug or not users_own(error):
            raise
        traceback.print_exception(error.with_traceback(users_frames(error)))
        return 1


def _command_in(words: Sequence[str]) -> str | None:
    """The subcommand that a command line names. The options before it take no values."""
    return next((word for word in words if not word.startswith("-")), None)


def _parser(command: str | None) -> argparse.ArgumentParser:
    """A parser that knows every subcommand by name and only `command` in full."""
    parser = argparse.ArgumentParser(prog="sparsec", description="A tensor compiler for NumPy-style Python.",
                                     epilog="`sparsec COMMAND --help` says more, with examples.")
    parser.add_argument("--version", action="version", version=f"sparsec {_version()}")
    parser.add_argument("--debug", action="store_true", help=_DEBUG_HELP)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        if name == command:
            _add_in_full(name, text, subparsers)
        else:
            subparsers.add_parser(name, help=text)
    return parser


def _add_in_full(name: str, text: str, subparsers: Any) -> None:
    module = importlib.import_module(f"sparsec.cli.{name}")
    parser = subparsers.add_parser(
        name, help=text, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    module.add_arguments(parser)
    parser.set_defaults(run=module.run)
    # Accepted after the subcommand too; without SUPPRESS, its default would undo one given before.
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=_DEBUG_HELP)


def _version() -> str:
    try:
        return metadata.version("sparsec")
    except metadata.PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
