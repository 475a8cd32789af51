"""`sparsec.jit`: a NumPy-style function, compiled for the arguments that it is called with.

Each kind of arguments (the key of `arguments.py`) gets a specialisation of its own, traced and compiled once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

import numpy as np

from sparsec.compiler import BACKENDS, Compilation, CpuRunner, param_elements
from sparsec.config import settings
from sparsec.errors import ArgumentError, ConfigError, SparsecError, UnsupportedError
from sparsec.frontend.arguments import Arguments, Binder, holds_traced_leaf
from sparsec.frontend.dynamic import Given
from sparsec.frontend.fastcall import accelerate
from sparsec.frontend.locate import users_frames, users_own
from sparsec.frontend.results import (
    Argument,
    Constant,
    Either,
    Leaf,
    SameAs,
    Scalar,
    Sparse,
    SparseArgument,
    View,
    is_choice,
    shared,
    view_of,
)
from sparsec.frontend.sparse_arguments import densified
from sparsec.frontend.trace import current_trace
from sparsec.frontend.tracing import TracedFunction, trace_function
from sparsec.frontend.tree import unflatten
from sparsec.frontend.warn import warn
from sparsec.ir.block import Block
from sparsec.ir.dims import Dim, evaluate
from sparsec.ir.graph import Func
from sparsec.ir.limits import is_integer, size_values
from sparsec.ir.loops import Kernel
from sparsec.ir.remarks import collect_remarks
from sparsec.ir.types import I32, I64
from sparsec.runtime.locks import ForkLock
from sparsec.runtime.native import CallTarget, detach
from sparsec.runtime.native import address_of as address
from sparsec.runtime.sized import allocate, sizes_at
from sparsec.sparse.channel import ChannelSparse

if TYPE_CHECKING:
    from sparsec.passes.choices import Choices
    from sparsec.report import CostAnalysis, Explanation, MemoryAnalysis

P = ParamSpec("P")
R = TypeVar("R")


class Specialisation:
    """A traced function, its compilation, and how a call's memory meets it."""

    def __init__(
        self, traced: TracedFunction, backend: str, optimise: bool, choices: Choices | None = None
    ) -> None:
        self.traced = traced
        self.compilation = Compilation(traced.func, backend, _alignments(traced), optimise, choices=choices)
        self.calls = 0  # in Python, with this number of threads
        self.threads = 0
        if {k for k, (shape, _) in enumerate(traced.results.storages) if shape is None} != self.compilation.made:
            raise UnsupportedError("the size of a result has no upper bound", loc=traced.func.loc)

    def serves(self, call: Arguments) -> bool:
        """Whether what the trace read from outside is still the same, captured arrays included."""
        traced = self.traced
        if not all(g.holds() for g in traced.guards):
            return False
        return not traced.captures or call.describe(traced.captures) == traced.capture_specs

    def count(self) -> None:
        """Notes a call in Python."""
        runner = self.compilation.runner
        threads = settings.num_threads if isinstance(runner, CpuRunner) and runner.code.threads else 1
        self.calls = self.calls + 1 if threads == self.threads else 1
        self.threads = threads

    def run(self, call: Arguments) -> Any:
        """One call: memory in, native code, objects out."""
        traced = self.traced
        runner = self.compilation.runner
        arrays = [*call.arrays, *traced.captures]
        cells, sizes = _cells(traced, call)
        storages = traced.results.storages
        pointers = [
            address(arrays[p.array]) - evaluate(p.offset, sizes) * arrays[p.array].itemsize
            if p.array >= 0
            else address(cells[k])
            for k, p in enumerate(traced.params)
        ]
        if any(is_integer(p) for p in traced.func.params):
            sizes.update(sizes_at(traced.func, pointers))  # those in arrays of no axis, too
        blocks = {k: Block() for k in self.compilation.made}
        results = [allocate(_numbers(shape or (), sizes), dtype) for shape, dtype in storages]
        places = [blocks[k].address if k in blocks else address(r) for k, r in enumerate(results)]
        if runner.transactional and traced.written:
            flags = self._run_on_copies(arrays, pointers, places, sizes)
        else:
            flags = runner.run(pointers, places)
        if flags:
            warn(flags, traced.func.name, 4)
        for k, block in blocks.items():
            results[k] = block.array(storages[k][1])
            places[k] = address(results[k])
        return self._result(call, arrays, pointers, results, places, sizes)

    def _run_on_copies(
        self, arrays: list[np.ndarray], pointers: list[int], places: list[int], sizes: Mapping[str, int]
    ) -> int:
        """Runs on copies of the storages that are written; they reach the caller only if all went well."""
        traced = self.traced
        shadows: dict[int, int] = {}
        kept: list[np.ndarray] = []
        for param, views in traced.written.items():
            first = views[0]
            count = param_elements(traced.func.params[param], sizes)
            view = View(0, True, arrays[first].dtype, (count,), 0, (1,), writeable=True)
            shadow = view_of(arrays[first], pointers[param], view).copy()
            kept.append(shadow)
            shadows[param] = address(shadow)
        flags = self.compilation.runner.run([shadows.get(k, p) for k, p in enumerate(pointers)], places)
        for param, views in traced.written.items():
            for k in views:
                spec, array = traced.capture_specs[k], arrays[k]
                if array.size and array.flags.writeable:
                    source = View(0, True, array.dtype, spec.shape, spec.offset, spec.strides, True)
                    array[...] = view_of(array, shadows[param], source.at(sizes))
        return flags

    def _result(
        self,
        call: Arguments,
        arrays: list[np.ndarray],
        pointers: list[int],
        results: list[np.ndarray],
        places: list[int],
        sizes: Mapping[str, int],
    ) -> Any:
        leaves = self.traced.results.leaves
        made: list[Any] = [None] * len(leaves)
        for k in sorted(range(len(leaves)), key=lambda k: is_choice(leaves, k)):  # they may be any of the others
            made[k] = _object(leaves[k], made, call, arrays, pointers, results, places, self.traced, sizes)
        items = iter(made)
        return unflatten(self.traced.results.tree, lambda: next(items))


def _cells(traced: TracedFunction, call: Arguments) -> tuple[dict[int, np.ndarray], dict[str, int]]:
    """Memory for the parameters that are passed by value, and the integers among them by their symbols."""
    cells: dict[int, np.ndarray] = {}
    sizes: dict[str, int] = {}
    for k, (p, value) in enumerate(zip(traced.params, traced.func.params, strict=True)):
        if p.array < 0:
            cells[k] = np.array(call.scalars[p.scalar] if p.scalar >= 0 else call.sizes[p.size], p.dtype)
            if p.dtype == I64:
                sizes.update(size_values(value.name, int(cells[k])))
    return cells, sizes


def _choices(text: str) -> Choices | None:
    """What is chosen by hand. Raises ConfigError."""
    if not text:
        return None
    from sparsec.passes.choices import Choices

    return Choices.parse(text)


def _numbers(shape: Sequence[Dim], sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(max(evaluate(d, sizes), 0) for d in shape)


def _object(
    leaf: Leaf,
    made: list[Any],
    call: Arguments,
    arrays: list[np.ndarray],
    pointers: list[int],
    results: list[np.ndarray],
    places: list[int],
    traced: TracedFunction,
    sizes: Mapping[str, int],
) -> Any:
    match leaf:
        case Constant(value=value):
            return value
        case Argument(position=k):
            return arrays[k]
        case SameAs(leaf=k):
            return made[k]
        case Either(test=k, leaves=(one, other)):
            chosen = one if results[k] else other
            return _object(chosen, made, call, arrays, pointers, results, places, traced, sizes)
        case SparseArgument(position=k):
            return call.sparse[k]
        case Sparse():
            def part(x: Leaf) -> Any:
                return _object(x, made, call, arrays, pointers, results, places, traced, sizes)

            index = leaf.index
            if not isinstance(index, np.ndarray):
                index = call.sparse[index.position].index if isinstance(index, SparseArgument) else part(index)
            static = isinstance(leaf.index, np.ndarray)
            return ChannelSparse(part(leaf.data), index, leaf.full, leaf.axis, cap=leaf.cap, static=static)
        case Scalar(storage=k, weak=weak):
            return results[k].item() if weak is not None else results[k][()]
        case View(symbols=held) if held:
            env = {name: int(results[k]) if k >= 0 else sizes[name] for name, k in held}
            seen = _object(leaf.at(env), made, call, arrays, pointers, results, places, traced, sizes)
            # The memory was for the largest size; a much smaller result should not keep it.
            small = not leaf.param and seen.flags.c_contiguous and seen.nbytes * 2 < results[leaf.storage].nbytes
            if small and not shared(leaf, traced.results):
                seen = seen.copy()
                seen.flags.writeable = leaf.writeable
            return seen
        case View(param=True, storage=k):
            return view_of(arrays[traced.params[k].array], pointers[k], leaf)
        case View(storage=k):
            root = results[k]
            whole = (
                leaf.shape == root.shape and leaf.dtype == root.dtype and leaf.offset == 0 and leaf.writeable
            )
            same_layout = tuple(s * root.itemsize for s in leaf.strides) == root.strides
            if whole and same_layout and not any(m is root for m in made):
                return root
            return view_of(root, places[k], leaf)


def _alignments(traced: TracedFunction) -> dict[str, int]:
    """Bytes that may be assumed of each parameter: its item size, or 1 where an argument is not aligned."""
    aligned = {
        p.array: spec.aligned
        for p in traced.params
        if p.array >= 0
        for spec in [traced.capture_specs[p.array]]
    }
    return {
        value.storage: value.type.dtype.itemsize if p.array < 0 or aligned[p.array] else 1
        for p, value in zip(traced.params, traced.func.params, strict=True)
    }


class Jitted(CallTarget, Generic[P, R]):
    """A function that compiles itself. Call it as you would call the original."""

    def __init__(
        self,
        fn: Callable[P, R],
        *,
        backend: str | None = None,
        static_argnames: str | Sequence[str] = (),
        dynamic: Given = (),
        optimise: bool = True,
        choices: str = "",
    ) -> None:
        if not callable(fn):
            raise ArgumentError(f"jit takes a function, not {type(fn).__name__}")
        if backend is not None and backend not in BACKENDS:
            raise ConfigError(f"backend {backend!r} is not one of {', '.join(BACKENDS)}")
        self.__sparsec_function__ = fn
        names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
        self._fn, self._backend, self._optimise = fn, backend, optimise
        self._choices = _choices(choices)
        self.static_argnames = names
        self._binder = Binder(fn, names, dynamic)
        self._lock = ForkLock()
        self._found: dict[Any, list[Specialisation]] = {}
        functools.update_wrapper(self, fn)

    @property
    def backend(self) -> str:
        return self._backend or settings.backend

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if current_trace() is not None and holds_traced_leaf(args, kwargs):
            return self._fn(*args, **kwargs)  # inside another traced function: part of it
        call = self._binder.bind(args, kwargs)
        try:
            found = self._specialise(call)
        except Exception as error:
            if isinstance(error, SparsecError) or not users_own(error):
                raise
            raise error.with_traceback(users_frames(error))  # noqa: B904  it is this very error
        found.count()
        if found.calls == 2 and type(self) is Jitted:  # it is not called just once: worth a record
            with self._lock:
                accelerate(self, found.traced, call, found.compilation, self._backend)
        return found.run(call)  # type: ignore[no-any-return]

    def __reduce__(self) -> str:
        return str(self.__dict__["__qualname__"])  # copied and pickled by name, as functions are

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Methods: `@sparsec.jit` inside a class."""
        return self if instance is None else functools.partial(self, instance)

    def _specialise(self, call: Arguments) -> Specialisation:
        found = self._lookup(call)
        if found is None:
            with self._lock:  # one thread compiles; the others wait and find it done
                found = self._lookup(call)
                if found is None:
                    found = self._compile(call)
                    self._found.setdefault((self.backend, call.key), []).append(found)
        return found

    def _lookup(self, call: Arguments) -> Specialisation | None:
        for candidate in self._found.get((self.backend, call.key), ()):
            if candidate.serves(call):
                return candidate
        return None

    def _compile(self, call: Arguments) -> Specialisation:
        traced = trace_function(self._fn, self._binder, call)
        made = Specialisation(traced, self.backend, self._optimise, self._choices)
        made.compilation.runner  # noqa: B018  compile now, so that a failure is not cached
        return made

    # --- stages ---

    def trace(self, *args: P.args, **kwargs: P.kwargs) -> Stages:
        """The traced function for these arguments. Nothing is run and nothing written."""
        call = self._binder.bind(args, kwargs)
        traced = trace_function(self._fn, self._binder, call)
        made = Specialisation(traced, self.backend, self._optimise, self._choices)
        return Stages(made, self._binder.bind)

    def lower(self, *args: P.args, **kwargs: P.kwargs) -> Stages:
        """The function lowered to kernels for these arguments."""
        return self.trace(*args, **kwargs).lower()

    def explain(self, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """What the function becomes for these arguments, line by line: kernels, bytes moved, copies, memory.

        Nothing is run and nothing written. `str()` of the report is text for people.
        """
        from sparsec.report import explain

        with collect_remarks() as found:
            call = self._binder.bind(args, kwargs)
            traced = trace_function(self._fn, self._binder, call)
        made = Specialisation(traced, self.backend, self._optimise, self._choices)
        code = getattr(self._fn, "__code__", None)
        return explain(made.compilation, found, _cells(traced, call)[1], code.co_filename if code is not None else "")

    def memory_analysis(self, *args: P.args, **kwargs: P.kwargs) -> MemoryAnalysis:
        """What the function holds in memory for these arguments, beside what it would if every channel were stored.

        Nothing is run and nothing written. `str()` of it is a table.
        """
        from sparsec.report import memory_analysis

        whole = densified((args, kwargs))
        dense = None if whole is None else memory_analysis(*self._plan(*whole))
        return memory_analysis(*self._plan(args, kwargs), dense)

    def cost_analysis(self, *args: P.args, **kwargs: P.kwargs) -> CostAnalysis:
        """Multiply-adds, bytes moved and an estimate of the energy for these arguments, kernel by kernel.

        Nothing is run and nothing written. `str()` of it is a table.
        """
        from sparsec.report import cost_analysis

        return cost_analysis(*self._plan(args, kwargs))

    def _plan(self, args: Any, kwargs: Any) -> tuple[Func, dict[str, int]]:
        """The PLANNED function for these arguments, and what they tell of its symbols."""
        from sparsec.report import index_sizes

        call = self._binder.bind(args, kwargs)
        traced = trace_function(self._fn, self._binder, call)
        planned = Specialisation(traced, self.backend, self._optimise, self._choices).compilation.planned
        indexes = {
            value.name: call.arrays[p.array] for p, value in zip(traced.params, traced.func.params, strict=True)
            if 0 <= p.array < len(call.arrays) and value.type.dtype == I32 and value.type.rank == 1
        }
        return planned, index_sizes(planned, _cells(traced, call)[1], indexes)

    def cache_clear(self) -> None:
        """Forgets every specialisation."""
        with self._lock:
            self._found.clear()
            detach(self)

    @property
    def specialisations(self) -> int:
        """How many specialisations there are."""
        return sum(map(len, self._found.values()))


class Stages:
    """One specialisation, stage by stage: `.lower()`, `.compile()`, `.as_text(stage)`."""

    def __init__(self, specialisation: Specialisation, bind: Callable[..., Arguments]) -> None:
        self._specialisation, self._bind = specialisation, bind

    @property
    def func(self) -> Func:
        """The traced function in graph IR."""
        return self._specialisation.traced.func

    @property
    def compilation(self) -> Compilation:
        return self._specialisation.compilation

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels that a call runs."""
        return self.compilation.kernels

    def lower(self) -> Stages:
        """Down to loop IR. Raises what lowering refuses."""
        self.compilation.program  # noqa: B018
        return self

    def compile(self) -> Compiled:
        """Down to something that runs."""
        self.compilation.runner  # noqa: B018
        return Compiled(self._specialisation, self._bind)

    def as_text(self, stage: str = "trace") -> str:
        """A stage as text: trace, a pass's name, graph, loops, legal, llvm, asm, opencl, or all."""
        return self.compilation.text(stage)

    def __repr__(self) -> str:
        return f"<sparsec stages of {self.func.name} for {self.compilation.backend}>"


class Compiled(Stages):
    """A compiled specialisation: call it with arguments of the same kind."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call = self._bind(args, kwargs)
        if (
            not self._specialisation.serves(call)
            or call.specs != self._specialisation.traced.capture_specs[: len(call.specs)]
        ):
            raise ArgumentError(
                "these arguments are of another kind than this function was compiled for",
                hint="call the jitted function itself: it compiles what it needs",
            )
        return self._specialisation.run(call)


@overload
def jit(
    fn: Callable[P, R],
    /,
    *,
    backend: str | None = None,
    static_argnames: str | Sequence[str] = (),
    dynamic: Given = (),
    optimise: bool = True,
    choices: str = "",
) -> Jitted[P, R]: ...
@overload
def jit(
    fn: None = None,
    /,
    *,
    backend: str | None = None,
    static_argnames: str | Sequence[str] = (),
    dynamic: Given = (),
    optimise: bool = True,
    choices: str = "",
) -> Callable[[Callable[P, R]], Jitted[P, R]]: ...
def jit(
    fn: Any = None,
    /,
    *,
    backend: str | None = None,
    static_argnames: str | Sequence[str] = (),
    dynamic: Given = (),
    optimise: bool = True,
    choices: str = "",
) -> Any:
    """Compiles a NumPy-style function; use it bare, called, or as a function.

    fn: takes and returns arrays, numbers, and tuples, lists or dicts of them. Slices are views, in-place
        writes reach the caller's arrays, overlapping arguments are allowed: the meaning is NumPy's.
    backend: "cpu" (default; or SPARSEC_BACKEND), "opencl", "interp" (the reference interpreter).
    static_argnames: parameters that are part of the program by value. Python ints, bools and strings always
        are; Python floats and NumPy scalars are run-time values unless named here.
    dynamic: array parameters whose sizes may differ from call to call without compiling anew, and Python ints
        that are run-time values: names, or axes by name (`frontend/dynamic.py`).
    optimise: False leaves out every pass that is not needed.
    choices: what the cost model would decide otherwise, as `reorder=0,max-ops=16`; `sparsec.passes.choices` has all
        of them. No choice changes a value.

    Raises, at call time, a `sparsec.errors.SparsecError` that shows the user's line for anything that has
    no NumPy meaning here; nothing is written then.
    """

    def make(function: Any) -> Any:
        return Jitted(
            function, backend=backend, static_argnames=static_argnames, dynamic=dynamic, optimise=optimise,
            choices=choices,
        )

    return make if fn is None else make(fn)
