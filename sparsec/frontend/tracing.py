"""Running a user's function on traced arrays, and what its results are made of."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sparsec.errors import Loc, SourceError, SparsecError, wrap
from sparsec.frontend import numpy_api as _numpy_api  # fills the dispatch table
from sparsec.frontend.arguments import Arguments, Binder, ScalarSpec, Static
from sparsec.frontend.array import Traced
from sparsec.frontend.locate import OWN, raised_at, tracebacks
from sparsec.frontend.outside import Contents, Guard, Outside
from sparsec.frontend.results import Results, collect
from sparsec.frontend.sparse_arguments import SparseSpec, spread
from sparsec.frontend.spec import ArraySpec, add_arrays, describe
from sparsec.frontend.staged import Runtime
from sparsec.frontend.trace import Captures, Trace, tracing
from sparsec.frontend.tree import unflatten
from sparsec.ir.dims import sym, symbols
from sparsec.ir.graph import Func
from sparsec.ir.types import F64, I64, DType, tensor

assert _numpy_api


@dataclass(frozen=True, slots=True)
class Param:
    """Where a parameter of the compiled function comes from: storage of `array`, `offset` elements below its
    first, `scalar` by value, or the `size` that `dynamic=` calls so; positions count the call's arrays (captured
    ones last) and scalars."""

    array: int = -1
    offset: Any = 0  # a dim
    scalar: int = -1
    size: str = ""
    dtype: DType = F64


@dataclass(frozen=True)
class TracedFunction:
    """What tracing one specialisation gave.

    written: for each written parameter, the positions of the call's arrays (captured ones behind the
    arguments) through which its storage can be written. capture_specs: the key of arguments and captures
    together, which every later call must match.
    """

    func: Func
    params: tuple[Param, ...]
    results: Results
    written: dict[int, tuple[int, ...]]
    captures: tuple[np.ndarray, ...]
    capture_specs: tuple[ArraySpec, ...]
    guards: tuple[Guard | Contents, ...]


#: How often a function is traced until all captured arrays that overlap are known.
_ATTEMPTS = 5


def trace_function(fn: Callable[..., Any], binder: Binder, call: Arguments) -> TracedFunction:
    """Traces `fn` for this call. Raises SparsecError with the user's line; what the user's own code raises
    passes through."""
    known: tuple[np.ndarray, ...] = ()
    reached: dict[int, np.ndarray] = {}
    for _ in range(_ATTEMPTS):
        traced = _trace_once(fn, binder, call, known, reached)
        storages = {s.storage for s in traced.capture_specs}
        # Captured arrays that overlap the arguments, or each other, must share storages: trace again.
        apart = sum(p.array >= 0 for p in traced.params)
        if len(known) == len(traced.captures) or len(storages) == apart:
            return traced
        known = traced.captures
    raise SourceError(f"`{getattr(fn, '__name__', 'function')}` makes overlapping arrays anew whenever it is traced",
                      hint="make arrays in functions whose source is at hand")


def _trace_once(
    fn: Callable[..., Any], binder: Binder, call: Arguments, known: tuple[np.ndarray, ...],
    reached: dict[int, np.ndarray],
) -> TracedFunction:
    """known: captured arrays from an earlier attempt. reached: see `Captures`; it is filled here."""
    trace, defined_at = Trace(getattr(fn, "__name__", "function").strip("<>")), _definition(fn)
    trace.captures = Captures(reached)
    trace.running = False
    outside = Outside(trace)
    with tracing(trace):
        arrays, params, (args, kwargs) = _declared(trace, binder, call, known, outside)
        outside.enter((args, kwargs))
        try:
            result = _run(fn, args, kwargs, trace, outside)
            results = collect(trace, result, arrays[: len(call.arrays)], outside.returned)
        except Exception as error:
            explained = _explained(error, defined_at)
            if explained is error:
                raise
            raise explained from error
        for k, array in enumerate(trace.captures.arrays[len(known) :], len(arrays)):
            (spec,) = describe([array])
            params.append(Param(array=k, offset=spec.offset))
        arrays = [*arrays[: len(call.arrays)], *trace.captures.traced]
        func = trace.finish(results.values)
    func = replace(func, loc=defined_at or func.loc)
    return TracedFunction(
        func,
        tuple(params),
        results,
        _written(trace, func, arrays),
        tuple(trace.captures.arrays),
        call.describe(trace.captures.arrays),
        (*outside.guards, *outside.contents),
    )


def _declared(
    trace: Trace, binder: Binder, call: Arguments, known: tuple[np.ndarray, ...], outside: Outside
) -> tuple[list[Traced], list[Param], Any]:
    """All that the function is given, as parameters of the trace: arrays, scalars, then dynamic sizes.

    Gives the traced arrays, what each parameter is in a call, and the traced function's (args, kwargs).
    """
    specs = call.describe(known) if known else call.specs
    sizes = _size_names(trace, specs)
    names = binder.leaf_names(call.tree)
    arrays = _array_inputs(trace, specs, binder.array_names(call), call, known)
    params = _array_params(trace, specs, arrays)
    scalars = _scalar_params(trace, call, names, params)
    for name in sizes:
        trace.add_param(tensor(I64), name)
        params.append(Param(size=f"%{name}", dtype=I64))
    inputs = _inputs(trace, call, iter(arrays), iter(scalars), outside)
    return arrays, params, unflatten(call.tree, lambda: next(inputs))


def _run(fn: Callable[..., Any], args: Any, kwargs: Any, trace: Trace, outside: Outside) -> Any:
    """What the staged function returns. Raises if it has changed what it must not."""
    trace.running = True
    result = Runtime(outside).stage_function(fn)(*args, **kwargs)
    trace.running = False
    outside.check_unchanged()
    assert trace.captures is not None
    trace.captures.check_unchanged()
    return result


def _size_names(trace: Trace, specs: Sequence[ArraySpec]) -> list[str]:
    """Names of the dynamic sizes that the arrays' types mention; no other value is called so."""
    dims = (d for spec in specs for d in (*spec.shape, *spec.strides, spec.offset))
    names = dict.fromkeys(s.name.removeprefix("%") for d in dims for s in symbols(d))
    return [trace.builder.names.fresh(name) for name in names]


def _array_inputs(
    trace: Trace,
    specs: tuple[ArraySpec, ...],
    names: list[str],
    call: Arguments,
    known: tuple[np.ndarray, ...],
) -> list[Traced]:
    """Traced arrays for the arguments, then for the captured arrays known from an earlier attempt."""
    arrays = add_arrays(trace, specs, [*names, *(f"captured{k}" for k in range(len(known)))])
    assert trace.captures is not None
    for array, traced in zip(known, arrays[len(call.arrays) :], strict=True):
        trace.captures.add(array, traced)
    return arrays


def _array_params(trace: Trace, specs: tuple[ArraySpec, ...], arrays: list[Traced]) -> list[Param]:
    """One per storage, in the order of `trace.storages`: reached through the first array that views it."""
    found: dict[int, Param] = {}
    for k, (spec, array) in enumerate(zip(specs, arrays, strict=True)):
        assert array.storage is not None
        found.setdefault(array.storage.param, Param(array=k, offset=spec.offset))
    return [found[k] for k in range(len(trace.storages))]


def _scalar_params(trace: Trace, call: Arguments, names: list[str], params: list[Param]) -> list[Traced]:
    scalars: list[Traced] = []
    for name, kind in zip(names, call.key[1], strict=True):
        if isinstance(kind, ScalarSpec):
            storage = trace.add_param(tensor(np.dtype(kind.dtype)), trace.builder.names.fresh(name))
            params.append(Param(scalar=len(scalars), dtype=np.dtype(kind.dtype)))
            made = Traced.scalar(trace, storage.newest, weak=kind.weak)
            if kind.weak is int:
                made.dim = sym(f"%{storage.name}", lower=-1)
            scalars.append(made)
    return scalars


def _inputs(
    trace: Trace, call: Arguments, arrays: Iterator[Traced], scalars: Iterator[Traced], outside: Outside
) -> Iterator[Any]:
    for leaf, kind in zip(call.leaves, call.key[1], strict=True):
        if isinstance(leaf, np.ndarray):
            yield next(arrays)
        elif isinstance(kind, ScalarSpec):
            yield next(scalars)
        elif isinstance(kind, SparseSpec):
            yield spread(trace, next(arrays), None if kind.index is not None else next(arrays), kind)
        else:
            assert isinstance(kind, Static)
            yield outside.adopt(kind.value)


def _written(trace: Trace, func: Func, arrays: list[Traced]) -> dict[int, tuple[int, ...]]:
    names = {w.storage for w in func.writes}
    return {
        s.param: tuple(k for k, a in enumerate(arrays) if a.storage is s and not a.readonly)
        for s in trace.storages
        if s.name in names
    }


def _definition(fn: Any) -> Loc | None:
    """Where a function begins, if it is one of Python's."""
    code = getattr(fn, "__code__", None)
    return Loc(code.co_filename, code.co_firstlineno) if isinstance(code, types.CodeType) else None


def _explained(error: Exception, defined_at: Loc | None) -> Exception:
    """The error that the user sees: sparsec's get a line; Python's, where our code or NumPy raised them on the
    user's behalf, become typed; the user's own pass unchanged. defined_at: where the traced function begins."""
    loc = raised_at(error) or defined_at
    if isinstance(error, SparsecError):
        if error.loc is None:
            error.loc = loc
        return error
    *_, innermost = tracebacks(error)
    if not innermost.tb_frame.f_code.co_filename.startswith(OWN):
        return error
    return wrap(error, loc) or error
