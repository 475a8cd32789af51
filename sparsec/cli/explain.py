"""`sparsec explain`: what a function of a Python file becomes, line by line.

    sparsec explain boxes.py:decode --spec "f32[1000,4], f32[1000,4]"
    sparsec explain boxes.py:decode --spec "f32[1000,4], f32[1000,4]" --html -o decode.html

    sparsec explain net.py:block --spec "f32[1,4 of 8 @%i,14,14], f32[8,8,3,3]" --picture -o channels.svg

For every line: the kernel that it is part of, the bytes that move against those that must, why kernels are not
one, why something is copied or a write is not in place, what keeps loops from vectors; then the memory plan.
The spec is that of `sparsec dump`. The function is traced and compiled, not run.
"""

from __future__ import annotations

import argparse

from sparsec.cli.dump import add_function, example_arguments, jitted, static_arguments, write_out

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the subcommand takes."""
    add_function(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="everything, for programs")
    form.add_argument("--html", action="store_true", help="a page with pictures of the graph and of memory")
    form.add_argument("--dot", action="store_true", help="the graph for Graphviz")
    form.add_argument("--picture", action="store_true", help="the channel flow as SVG")
    parser.add_argument("-o", "--output", metavar="FILE", help="write there instead of printing")


def run(args: argparse.Namespace) -> int:
    """Prints the report, or writes it to a file."""
    static = static_arguments(args)
    found = jitted(args, static).explain(*example_arguments(args.spec), **static)
    forms = {"json": found.json, "html": found.html, "dot": found.dot, "picture": found.picture}
    chosen = next((form for name, form in forms.items() if getattr(args, name)), found.__str__)
    write_out(chosen(), args.output)
    return 0
