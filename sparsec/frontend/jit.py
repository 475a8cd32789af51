"""`sparsec.jit`: a NumPy-style function, compiled for the arguments that it is called with.

Each kind of arguments (the key of `arguments.py`) gets a specialisation of its own, traced and compiled once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from sparsec.compiler import BACKENDS, Compilation
from sparsec.config import settings
from sparsec.errors import ArgumentError, ConfigError, SparsecError
from sparsec.frontend.arguments import Arguments, Binder, holds_traced_leaf
from sparsec.frontend.dynamic import Given
from sparsec.frontend.fastcall import accelerate
from sparsec.frontend.locate import users_frames, users_own
from sparsec.frontend.sparse_arguments import densified
from sparsec.frontend.specialisation import Specialisation, passed_by_value
from sparsec.frontend.stages import Stages
from sparsec.frontend.trace import current_trace
from sparsec.frontend.tracing import trace_function
from sparsec.ir.remarks import collect_remarks
from sparsec.ir.types import I32
from sparsec.runtime.locks import ForkLock
from sparsec.runtime.native import CallTarget, detach

if TYPE_CHECKING:
    from sparsec.passes.choices import Choices
    from sparsec.report import CostAnalysis, Explanation, MemoryAnalysis

P = ParamSpec("P")
R = TypeVar("R")


def _choices(text: str) -> Choices | None:
    """What is chosen by hand. Raises ConfigError."""
    if not text:
        return None
    from sparsec.passes.choices import Choices

    return Choices.parse(text)


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
        if found.count(call) == 2 and type(self) is Jitted:  # it is not called just once: worth a record
            with self._lock:
                accelerate(self, found.traced, call, found.compilation, self._backend)
        return found.run(call)  # type: ignore[no-any-return]

    def __reduce__(self) -> str:
        return str(self.__dict__["__qualname__"])  # copied and pickled by name, as functions are

    def __repr__(self) -> str:
        return f"<sparsec.jit of {getattr(self, '__qualname__', self._fn)}>"

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
        made = self._traced(call)
        made.compilation.runner  # noqa: B018  compile now, so that a failure is not cached
        return made

    def _traced(self, call: Arguments) -> Specialisation:
        traced = trace_function(self._fn, self._binder, call)
        return Specialisation(traced, self.backend, self._optimise, self._choices)

    # --- stages ---

    def trace(self, *args: P.args, **kwargs: P.kwargs) -> Stages:
        """The traced function for these arguments. Nothing is run and nothing written."""
        return Stages(self._traced(self._binder.bind(args, kwargs)), self._binder.bind)

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
            made = self._traced(call)
        sizes = passed_by_value(made.traced, call)[1]
        code = getattr(self._fn, "__code__", None)
        return explain(made.compilation, found, sizes, code.co_filename if code is not None else "")

    def memory_analysis(self, *args: P.args, **kwargs: P.kwargs) -> MemoryAnalysis:
        """What the function holds in memory for these arguments, beside what it would if every channel were stored.

        Nothing is run and nothing written. `str()` of it is a table.
        """
        from sparsec.report import memory_analysis

        whole = densified((args, kwargs))
        dense = None
        if whole is not None:
            made, sizes = self._plan(*whole)
            dense = memory_analysis(made.planned, sizes, scratch=made.scratch)
        made, sizes = self._plan(args, kwargs)
        return memory_analysis(made.planned, sizes, dense, made.packed_bytes(sizes), made.scratch)

    def cost_analysis(self, *args: P.args, **kwargs: P.kwargs) -> CostAnalysis:
        """Multiply-adds, bytes moved and an estimate of the energy for these arguments, kernel by kernel.

        Nothing is run and nothing written. `str()` of it is a table.
        """
        from sparsec.report import cost_analysis

        made, sizes = self._plan(args, kwargs)
        return cost_analysis(made.planned, sizes)

    def _plan(self, args: Any, kwargs: Any) -> tuple[Compilation, dict[str, int]]:
        """The compilation for these arguments, and what they tell of the symbols of its PLANNED function."""
        from sparsec.report import index_sizes

        call = self._binder.bind(args, kwargs)
        made = self._traced(call)
        traced, planned = made.traced, made.compilation.planned
        indexes = {
            value.name: call.arrays[p.array] for p, value in zip(traced.params, traced.func.params, strict=True)
            if 0 <= p.array < len(call.arrays) and value.type.dtype == I32 and value.type.rank == 1
        }
        return made.compilation, index_sizes(planned, passed_by_value(traced, call)[1], indexes)

    def cache_clear(self) -> None:
        """Forgets every specialisation."""
        with self._lock:
            self._found.clear()
            detach(self)

    @property
    def specialisations(self) -> int:
        """How many specialisations there are."""
        return sum(map(len, self._found.values()))


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
