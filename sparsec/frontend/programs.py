"""NumPy functions that are NumPy programs themselves: staged and compiled like the user's own code.

    @staged
    def lu_in_place(a): ...

A program is written with loops, slices and in-place updates; the place that errors show is the user's call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from sparsec.frontend.convert import as_traced
from sparsec.frontend.outside import Outside
from sparsec.frontend.ranges import TracedRange
from sparsec.frontend.staged import Runtime
from sparsec.frontend.trace import require_trace
from sparsec.ir.types import BOOL

F = TypeVar("F", bound=Callable[..., Any])


def staged(fn: F) -> F:
    """`fn`, staged anew in each trace that calls it."""

    @functools.wraps(fn)
    def rule(*args: Any, **kwargs: Any) -> Any:
        trace = require_trace(fn.__name__)
        return Runtime(Outside(trace)).staged(fn)(*args, **kwargs)  # type: ignore[arg-type]

    return rule  # type: ignore[return-value]


def require(condition: Any, message: str) -> None:
    """A LinAlgError with this message, when the program runs, unless the condition holds."""
    test = as_traced(condition).as_scalar()
    test.trace.ops("check", test.trace.op("cast", test.value, dtype=BOOL) if test.dtype != BOOL else test.value,
                   kind="linalg", message=message)


def loop(start: Any, stop: Any, step: int = 1) -> Any:
    """A range whose loop is never unrolled: code size does not depend on the matrix."""
    return TracedRange(start, stop, step)
