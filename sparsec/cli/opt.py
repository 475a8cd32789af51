"""`sparsec opt`: reads the text of the graph IR, runs passes over it and prints what comes out.

    sparsec opt f.sir -p 'resolve-views,fuse{max-ops=8}'
    sparsec opt f.sir -p default --print-changed --time

Any text that a stage printed can be the input: the passes begin at the latest form that it has.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from sparsec.errors import ArgumentError, SparsecError, VerifyError
from sparsec.ir.forms import Form, check_form
from sparsec.ir.graph import Func
from sparsec.ir.text import parse_all, to_text
from sparsec.ir.verify import verify
from sparsec.passes.base import Pass, run_pipeline
from sparsec.passes.pipeline import PASSES, parse_pipeline

__all__ = ["add_arguments", "read_functions", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the subcommand takes."""
    add = parser.add_argument
    add("file", nargs="?", help="a file of functions, `-` for standard input")
    add("-p", "--passes", default="", metavar="SPEC", help="pass,pass{option=value} or `default`")
    add("--print-after", action="append", default=[], metavar="PASS", help="print after this pass too")
    add("--print-changed", action="store_true", help="print after each pass that changed something")
    add("--verify-each", action="store_true", help="check the IR and its form after each pass")
    add("--time", action="store_true", help="say on stderr how long each pass took")
    add("--list", action="store_true", help="list the passes and their options")


def run(args: argparse.Namespace) -> int:
    """Prints the functions of the file as the passes leave them."""
    if args.list:
        print("\n".join(map(_describe, PASSES.values())))
        return 0
    if args.file is None:
        raise ArgumentError("no file is named", hint="sparsec opt FILE.sir -p SPEC")
    passes = parse_pipeline(args.passes)
    known = {step.name for step in passes}
    if unknown := [name for name in args.print_after if name not in known]:
        raise ArgumentError(f"--print-after names {unknown[0]}, which is not among the passes")
    for func in read_functions(args.file):
        verify(func)
        print(to_text(_optimise(func, passes, args)), end="")
    return 0


def read_functions(file: str) -> tuple[Func, ...]:
    """The functions in a file (`-`: standard input)."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ArgumentError(f"cannot read {file}: {reason}") from None
    return parse_all(text, "<stdin>" if file == "-" else file)


def _optimise(func: Func, passes: tuple[Pass, ...], args: argparse.Namespace) -> Func:
    before, started = func, time.perf_counter()

    def observe(step: Pass, after: Func) -> None:
        nonlocal before, started
        if args.time:
            print(f"{1e3 * (time.perf_counter() - started):9.3f} ms  {step.spec}", file=sys.stderr)
        if step.name in args.print_after or (args.print_changed and after != before):
            print(f"// after {step.spec}\n{to_text(after)}")
        before, started = after, time.perf_counter()

    result = run_pipeline(func, passes, start=_form_of(func), verify=args.verify_each, observe=observe)
    verify(result)
    return result


def _form_of(func: Func) -> Form:
    """The latest form that the function has."""
    found = Form.TRACED
    for form in Form:
        try:
            check_form(func, form)
        except VerifyError:
            break
        found = form
    return found


def _describe(cls: type[Pass]) -> str:
    """A line for a pass: its spec with all options at their defaults, and what it does."""
    try:
        options = ",".join(f"{key.replace('_', '-')}={value}" for key, value in vars(cls()).items())
    except (TypeError, SparsecError):
        options = "…"
    spec = f"{cls.name}{{{options}}}" if options else cls.name
    return f"{spec:32} {(cls.__doc__ or '').strip().splitlines()[0] if cls.__doc__ else ''}".rstrip()
