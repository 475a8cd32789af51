"""Bugs about staging and tracing, and about the text of the IR: faults 52 to 60, 74 and 75."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from sparsec import compiler
from sparsec.frontend import (
    jit,
    outside,
    python_numbers,
    spec,
    staged,
    symbolic,
    trace,
    tracing,
)
from sparsec.frontend.array import Traced
from sparsec.frontend.control import branches, expressions, turns
from sparsec.frontend.fastcall import record
from sparsec.frontend.indexing import masks, selection, views
from sparsec.frontend.numpy_api.creation import literal
from sparsec.frontend.python_numbers import operate
from sparsec.ir import text
from sparsec.ir.types import BOOL, I64
from sparsec.runtime.locks import ForkLock
from tests.faults.bugs import bug


@bug("a branch on a run-time value is the one of its sample", 52, shows="values differ|NumPy (gives|raises)")
def _(plant):
    truth = branches.truth
    for module in (branches, expressions, turns):
        plant.setattr(module, "truth", lambda x: True if isinstance(truth(x), Traced) else truth(x))


@bug("traced arrays show as what they are", 52, shows="not refused")
def _(plant):
    plant.setattr(Traced, "text", lambda self, what, write: repr(self))


@bug("Python integers wrap at 64 bits", 53, shows="not refused")
def _(plant):
    plant.setattr(python_numbers, "_surely_fits", lambda ufunc, dims: True)


@bug("a list times a number is arithmetic", 53, shows="not refused")
def _(plant):
    for name, ufunc in (("__mul__", np.multiply), ("__rmul__", np.multiply)):
        plant.setattr(Traced, name, lambda self, other, ufunc=ufunc: operate(ufunc, self, other))


@bug("a mask selects as many elements as it has", 60, shows="NumPy gives")
def _(plant):
    plant.setattr(masks, "true_positions", lambda of, mask: symbolic.true_positions(
        of, of.op("logical_or", mask, of.const(True, BOOL))))


@bug("a traced array works after its trace", 54, shows="not refused|DID NOT RAISE")
def _(plant):
    plant.setattr(trace.Trace, "check_open", lambda self: None)


@bug("an array from outside becomes a constant", 55)
def _(plant):
    plant.setattr(spec, "capture_array", lambda trace, array: literal(trace, array.copy()))


@bug("nobody asks whether what is outside has changed", 55)
def _(plant):
    guards = record.guards

    def without(w: Any, backend: Any) -> Any:
        return guards(w, backend)[: 0 if backend else 3]

    plant.setattr(outside.Guard, "holds", lambda self: True)
    plant.setattr(record, "guards", without)


@bug("random numbers are drawn while tracing", 56, shows="array_equal|values differ")
def _(plant):
    plant.setattr(staged, "refuse_ever_new", lambda function: None)


@bug("a trace that fails stays the current one", 57, shows="is still being traced")
def _(plant):
    @contextmanager
    def careless(of: trace.Trace) -> Iterator[trace.Trace]:
        stack = trace._local.__dict__.setdefault("stack", [])
        stack.append(of)
        yield of
        stack.pop()
        of.closed = True

    plant.setattr(tracing, "tracing", careless)


@bug("what cannot be traced is run by Python", 57, shows="not one of sparsec's errors|wrote its arguments|assert")
def _(plant):
    call = jit.Jitted.__call__

    def lenient(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return call(self, *args, **kwargs)
        except Exception:
            return self._fn(*args, **kwargs)

    plant.setattr(jit.Jitted, "__call__", lenient)


@bug("a trace that fails keeps the lock", 57, shows="waits for ever")
def _(plant):
    class Kept(ForkLock):
        def __exit__(self, *error: object) -> None:
            if error[0] is None:
                super().__exit__(*error)

    plant.setattr(jit, "ForkLock", Kept)


@bug("a jitted function inside another gets copies", 58)
def _(plant):
    stageable = staged.Runtime._stageable

    def copying(self: Any, function: Any) -> Any:
        target = stageable(self, function)
        if not hasattr(function, "__sparsec_function__"):
            return target
        return lambda *args: target(*(a.copy() if isinstance(a, Traced) else a for a in args))

    plant.setattr(staged.Runtime, "_stageable", copying)


@bug("a static index is not compared with the axis", 59, shows="NumPy raises IndexError|no IndexError")
def _(plant):
    exact = views.index_of
    plant.setattr(views, "index_of", lambda of, index, dim, axis: (
        index % dim if isinstance(index, int) and isinstance(dim, int) and dim else exact(of, index, dim, axis)))


@bug("indexes out of range are clamped", 59, shows="NumPy raises IndexError")
def _(plant):
    def clamped(of: Any, value: Any, dim: Any, axis: int) -> Any:
        size = symbolic.value_of(of, dim)
        negative = of.op("less", value, of.const(0, I64))
        value = of.op("where", negative, of.op("add", value, size), value)
        value = of.op("maximum", value, of.const(0, I64))
        return of.op("minimum", value, of.op("sub", size, of.const(1, I64)))

    for module in (selection, symbolic):
        plant.setattr(module, "checked", clamped)


@bug("a call that may fail late runs on the caller's arrays", 59, shows="wrote its arguments|assert")
def _(plant):
    plant.setattr(compiler, "may_fail_late", lambda func: False)


@bug("floats are printed with six digits", 74, shows="assert")
def _(plant):
    exact = text.number_text
    plant.setattr(text, "number_text", lambda value, dtype: (
        f"{value:.6e}" if np.isfinite(value) else exact(value, dtype)))


@bug("the text of NaN does not say which", 74, shows="assert")
def _(plant):
    exact = text.number_text
    plant.setattr(text, "number_text", lambda value, dtype: "nan" if value != value else exact(value, dtype))


@bug("attributes stand in the order of a set", 75, shows="assert [2-5] == 1")
def _(plant):
    head = text._head

    def shuffled(op: Any) -> str:
        attrs = {name: op.attrs[name] for name in sorted(op.attrs, key=hash)}
        return head(type(op)(op.name, op.operands, op.results, attrs, op.regions, op.loc))

    plant.setattr(text, "_head", shuffled)


@bug("the object code depends on the process", 75, shows="assert [2-5] == 1")
def _(plant):
    from sparsec.codegen import llvm

    names = llvm._safe
    plant.setattr(llvm, "_safe", lambda name: f"{names(name)}.{os.getpid()}")
