"""`sparsec tune`: searches around the cost model's choices for a function, and keeps the winner in the disk cache.

    sparsec tune boxes.py:decode --spec "f32[1000,4], f32[1000,4]"

The spec is that of `sparsec dump`; arrays of floats are random numbers from 0 to 1, others are zeros. The function is
run: each candidate's values are compared with the default version's, then both are timed in turn. Later calls of the
function with such arguments are compiled with what has won, until sparsec or the function changes (`sparsec cache`
shows and clears what is kept).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsec.cli.dump import add_function, example_arguments, jitted, static_arguments
from sparsec.errors import ArgumentError
from sparsec.frontend.tune import Trial, tune

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the subcommand takes."""
    add_function(parser)
    parser.add_argument("--seconds", type=float, default=0.2, help="of measuring, for each candidate")


def run(args: argparse.Namespace) -> int:
    """Prints each candidate as it is measured, and the winner."""
    if not args.seconds > 0:
        raise ArgumentError(f"--seconds {args.seconds}: write a number above 0")
    static = static_arguments(args)
    function = jitted(args, static)
    found = tune(function, _filled(example_arguments(args.spec)), static, seconds=args.seconds, progress=_show)
    if found.ratio == 1.0:
        print("the default choices stay: nothing was faster")
    else:
        print(f"kept: {found.choices}, {found.ratio:.2f} times as fast as the default choices")
    return 0


def _show(trial: Trial) -> None:
    words = "the same code" if trial.ratio is None else f"{trial.ratio:.2f} times as fast"
    print(f"  {str(trial.choices) or 'default':40} {words}", flush=True)


def _filled(args: Sequence[Any]) -> tuple[Any, ...]:
    """Zeros make branches and logarithms untypical; integers may be indexes and stay."""
    rng = np.random.default_rng(0)
    for array in args:
        if isinstance(array, np.ndarray) and array.dtype.kind in "fc":
            array[...] = rng.uniform(0.0, 1.0, array.shape)
    return tuple(args)
