"""Records are put in front of a function, where its native calls find them."""

from __future__ import annotations

import sys

import numpy as np

from sparsec.compiler import Compilation
from sparsec.errors import CompileError
from sparsec.frontend.arguments import Arguments
from sparsec.frontend.fastcall.record import record_of
from sparsec.frontend.fastcall.writer import NativeRecord
from sparsec.frontend.tracing import TracedFunction
from sparsec.frontend.warn import warn
from sparsec.runtime import native

__all__ = ["accelerate"]

#: Records that a function tries before it goes the long way.
_MOST_RECORDS = 16


def accelerate(
    target: native.CallTarget, traced: TracedFunction, call: Arguments, compilation: Compilation, backend: str | None
) -> None:
    """Lets calls like this one run natively from here on, where that can be."""
    # Imported late: most programs call most functions once.
    from sparsec.codegen.stub import CALL, stub_text
    from sparsec.runtime.cpu import compile_object
    from sparsec.runtime.stored import cached_object

    name = traced.func.name
    record = record_of(traced, call, compilation, lambda flags: warn(flags, name, 3), backend)
    if record is None:
        return
    try:
        huge = sys.platform.startswith("linux")
        function = native.load(type(target), lambda layout: stub_text(layout, huge_pages=huge), CALL,
                               lambda text: cached_object(text, lambda t: compile_object(t, 1)))
    except CompileError:  # an LLVM that does not take it: calls go on in Python
        return
    if function:
        _put(target, record, function)


def _put(target: native.CallTarget, record: NativeRecord, function: int) -> None:
    """Puts a record in front of an object's others; the last of too many goes."""
    old = getattr(target, "_table", None) or (np.zeros(1, np.int64),)
    kept = {r.address: r for r in old[1:]}
    order = [int(a) for a in old[0][1 : 1 + int(old[0][0])] if int(a) in kept][: _MOST_RECORDS - 1]
    records = [record, *(kept[a] for a in order)]
    words = np.array([len(records), *(r.address for r in records)], np.int64)
    native.attach(target, (words, *records), function)
