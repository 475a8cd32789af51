"""A trace: storages and their newest versions, while a user's function runs on traced arrays.

One rule gives NumPy's aliasing: a traced array is a storage and a chain of view steps, and reading it always
applies the steps to the storage's newest version. Everything else is ordinary SSA building.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsec.errors import AliasError, DTypeError, LeakedTracer, Loc, ReadOnlyError, SourceError
from sparsec.frontend.locate import user_loc
from sparsec.ir.builder import Builder, infer_types
from sparsec.ir.dims import Dim, Poly
from sparsec.ir.graph import Attr, Func, Op, Value
from sparsec.ir.limits import Limits
from sparsec.ir.ops.record import record
from sparsec.ir.types import DType, TensorType

if TYPE_CHECKING:
    from sparsec.frontend.array import Traced
    from sparsec.frontend.live_channels import LiveChannels

Step = tuple[str, tuple[tuple[str, Attr], ...]]  # a view op and its attributes


@dataclass(frozen=True)
class Conflict:
    """Why a write to a storage cannot be expressed, and what to do instead."""

    why: str
    hint: str


@dataclass(eq=False)
class Storage:
    """One allocation. `newest` is its latest version; `param` its position among the parameters, or -1.

    `readonly` and `conflict` say why a write must be refused: the caller's flag, or that others, who can see the
    elements, would not see it. maybe: storages of arrays of which this is a copy, made
    where control flow joins, while for the user it may be one of them.
    stands_for: those among them that others can see, and the line that makes it so. written: whether the user's
    function has written to it. copied: storages and their versions of which this is a copy, while for some lengths
    it is a view.
    """

    newest: Value
    param: int = -1
    readonly: str = ""
    conflict: Conflict | None = None
    views: dict[tuple[str, tuple[Step, ...]], Value] = field(default_factory=dict)
    depth: int = 0  # how many loops that are being traced stood around its making
    maybe: frozenset[Storage] = frozenset()
    stands_for: dict[Storage, Loc | None] = field(default_factory=dict)
    written: bool = False
    copied: tuple[tuple[Storage, Value], ...] = ()

    @property
    def name(self) -> str:
        return self.newest.storage

    def read(self, trace: Trace, array: Traced) -> Value:
        """The value of a view of this storage now."""
        if self.conflict and any(source.newest is not version for source, version in self.copied):
            raise AliasError(self.conflict.why, loc=user_loc(), hint=self.conflict.hint)
        value = self.newest
        for k in range(len(array.steps)):
            key = (self.newest.name, array.steps[: k + 1])
            found = self.views.get(key)
            if found is None:
                name, attrs = array.steps[k]
                found = self.views[key] = trace.op(name, value, **dict(attrs))
            value = found
        return value

    def check_writable(self) -> None:
        """Raises ReadOnlyError or AliasError."""
        if self.readonly:
            raise _read_only(self.readonly)
        if self.conflict:
            raise AliasError(self.conflict.why, loc=user_loc(), hint=self.conflict.hint)

    def change(self, trace: Trace, array: Traced, make: Callable[[Traced, Storage], None]) -> None:
        """Lets `make` write to a view of this storage."""
        make(array, self)


#: The region of what is no longer part of the program.
_NOWHERE = -1


class Trace:
    """The function under construction."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.builder = Builder()
        self.closed = False
        self.storages: list[Storage] = []  # of parameters, in order
        self.captures: Captures | None = None
        #: Values that depend on no parameter, with the op that makes each: `concrete.py` can run them.
        self.static: dict[str, tuple[int, Op]] = {}
        self.known: dict[str, np.ndarray | None] = {}
        self.live: list[Storage] = []  # every storage, in order of making
        self.telling = False  # the message of an error is being written: values need not be known
        self.unrolled = 1  # turns of the loops that are being unrolled, multiplied
        self.loops = 0  # loops that are being traced
        self.walked: list[Any] = []  # what the loops that are being run or traced go over
        self._depths: dict[str, int] = {}  # of the storages, by name
        self.regions: list[int] = [0]  # open regions, outermost first
        self.home: dict[str, int] = {}  # value -> the region that defines it, where that is not the outermost
        self._region_count = 0
        self.made: dict[str, Op] = {}  # the op behind each value, those in regions included
        self.positions: dict[str, tuple[Value, ...]] = {}  # mask -> positions of its true elements
        self.slices: dict[Any, tuple[Dim, Dim, int]] = {}  # bounds, step and axis -> first index, count, step
        self.sparse: list[Traced] = []  # sparse arguments, in full
        self.sparse_indexes: list[Value] = []  # their indexes
        self.captured_sparse: dict[int, Traced] = {}  # those from outside the arguments, by identity
        self.live_channels: LiveChannels | None = None  # which channels are live, where some argument is sparse
        self.ignored: frozenset[str] = frozenset()  # by an `np.errstate` of the function's own
        self.running = True  # whether the user's function is; before and after it, only its caller's lines are

    # --- building ---

    def _stamp(self) -> None:
        """Ops get the user's current line; what is made of the function's result, the last one that ran."""
        if self.running:
            self.builder.loc = user_loc()

    def op(self, name: str, *operands: Value, **attrs: Attr) -> Value:
        """Appends an op at the user's current line."""
        (value,) = self.ops(name, *operands, **attrs)
        return value

    def ops(self, name: str, *operands: Value, **attrs: Attr) -> tuple[Value, ...]:
        """Appends an op with any number of results."""
        self.check_open()
        self._stamp()
        for value in operands:
            self.check_visible(value)
        results = self.builder.ops_of(name, *operands, **attrs)
        self._defined(results, all(map(self.settled, operands)))
        return results

    def check(self, fine: Value, kind: str, message: str, loc: Loc | None = None) -> None:
        """Raises an error of this kind where `fine` is False when the program runs; loc: not the current line."""
        self.ops("check", fine, kind=kind, message=message)
        if loc is not None:
            self.builder.ops[-1] = replace(self.builder.ops[-1], loc=loc)

    def settled(self, value: Value) -> bool:
        """Whether a value is made of constants alone. What lies in a storage from outside the loop that is being
        traced is not: an earlier turn may have written it."""
        return value.name in self.static and self._depths.get(value.storage, self.loops) >= self.loops

    def emit(self, op: Op) -> tuple[Value, ...]:
        """Appends a finished op (one with regions)."""
        self.builder.ops.append(op)
        self._defined(op.results, static=False)
        return op.results

    def limits(self) -> Limits:
        """What is known of the largest sizes so far."""
        return Limits(self.builder.params, self.made)

    def _defined(self, results: tuple[Value, ...], static: bool) -> None:
        self.made.update((r.name, self.builder.ops[-1]) for r in results)
        if static and not _mentions_symbols(self.builder.ops[-1]):
            op = self.builder.ops[-1]
            self.static.update((r.name, (len(self.static), op)) for r in results)
        if len(self.regions) > 1:
            self.home.update((r.name, self.regions[-1]) for r in results)

    def take_back(self, count: int) -> None:
        """Drops the ops behind the first `count` of the open region: nothing may use what they made."""
        for op in self.builder.ops[count:]:
            self.home.update((r.name, _NOWHERE) for r in op.results)
        del self.builder.ops[count:]

    def visible(self, value: Value) -> bool:
        """Whether the region that defines a value is still open."""
        return self.home.get(value.name, 0) in self.regions

    def check_visible(self, value: Value) -> None:
        """Raises LeakedTracer for a value of a loop body or branch whose tracing is over."""
        if not self.visible(value):
            raise LeakedTracer(
                "a value made inside a traced loop or branch is used after it",
                loc=user_loc(),
                hint="assign it to a variable that exists before the loop, or write it into an array; a list that "
                "grows in a loop over a large range cannot be traced",
            )

    def const(self, value: Any, dtype: DType, shape: tuple[int, ...] = ()) -> Value:
        self.check_open()
        self._stamp()
        result = self.builder.const(value, TensorType(np.dtype(dtype), shape))
        self._defined((result,), static=True)
        return result

    def check_open(self) -> None:
        if self.closed or current_trace() is not self:
            raise LeakedTracer(
                f"a traced array of `{self.name}` is used outside the call that made it",
                loc=user_loc(),
                hint="return arrays from the function instead of keeping them in globals or attributes",
            )

    # --- storages ---

    def add_param(self, type: TensorType, name: str, conflict: str = "") -> Storage:
        """A parameter with a name that `names.fresh` gave."""
        value = Value(name, type)
        self.builder.params.append(value)
        storage = self.new_storage(value, len(self.storages))
        if conflict:
            storage.conflict = Conflict(conflict, "pass copies, or arrays of one dtype")
        self.storages.append(storage)
        return storage

    def new_storage(self, value: Value, param: int = -1) -> Storage:
        """A storage whose first version is `value`."""
        storage = Storage(value, param, depth=self.loops)
        self.live.append(storage)
        self._depths[storage.name] = storage.depth
        return storage

    # --- regions ---

    @contextmanager
    def region(self, ops: list[Op], number: int = -1) -> Iterator[int]:
        """Ops built inside go to `ops`. Gives the region's number; -1 makes a new one."""
        if number < 0:
            self._region_count += 1
            number = self._region_count
        outer, self.builder.ops = self.builder.ops, ops
        self.regions.append(number)
        self.forget_views()
        try:
            yield number
        finally:
            self.builder.ops = outer
            self.regions.pop()
            self.forget_views()

    def forget_views(self) -> None:
        for storage in self.live:
            storage.views.clear()

    def versions(self) -> dict[Storage, Value]:
        """The newest version of every storage now."""
        return {s: s.newest for s in self.live}

    def restore(self, versions: dict[Storage, Value]) -> None:
        """Back to these versions of the storages."""
        for storage, value in versions.items():
            self.advance(storage, value)

    def view_type(self, of: TensorType, step: Step) -> TensorType:
        """The type of a view, without building the op. Raises what the op's rules raise."""
        (result,) = infer_types(record(step[0]), (Value("", of),), dict(step[1]))
        return result

    def read(self, array: Traced) -> Value:
        """The value of an array now: its view steps on the newest version of its storage."""
        self.check_open()
        storage = array.storage
        if storage is None:
            return array.value
        return storage.read(self, array)

    def write(self, array: Traced, value: Value) -> None:
        """Replaces the array's elements by `value` (same dtype; same shape or a scalar)."""
        storage = self.check_writable(array)
        if 0 in array.shape:
            return

        def update(target: Traced, storage: Storage) -> None:
            region = self.read(target)
            if value is not region:  # `a[1:] += x` stores the view back into itself
                self.advance(storage, self.op("update", storage.newest, region, value))

        storage.change(self, array, update)

    def scatter(self, array: Traced, indexes: Sequence[Value], value: Value, combine: str = "set") -> None:
        """Writes elements of `value` (same dtype) to one position each, or combines them with what is there."""

        def put(target: Traced, storage: Storage) -> None:
            new = self.op("copy", value) if value.storage == storage.name else value  # else it changes as it is read
            region = self.read(target)
            self.advance(storage, self.op("scatter", storage.newest, region, *indexes, new, combine=combine))

        self.check_writable(array).change(self, array, put)

    def advance(self, storage: Storage, version: Value) -> None:
        """Makes `version` the newest of its storage; views of older ones are forgotten."""
        storage.newest = version
        storage.views.clear()

    def check_writable(self, array: Traced) -> Storage:
        """The storage of an array that may be written. Raises ReadOnlyError or AliasError."""
        storage = array.storage
        if storage is None:
            raise DTypeError(f"'numpy.{array.dtype}' object does not support item assignment", loc=user_loc())
        storage.check_writable()
        if array.readonly:
            raise _read_only(array.readonly)
        storage.written = True
        return storage

    # --- the end ---

    def finish(self, results: Sequence[Value]) -> Func:
        """The traced function. `results` were read last; written parameters are added."""
        writes = tuple(s.newest for s in self.storages if s.newest is not self.builder.params[s.param])
        self.closed = True
        return self.builder.func(self.name, tuple(results), writes)


def _read_only(why: str) -> ReadOnlyError:
    return ReadOnlyError(f"assignment destination is read-only: {why}", loc=user_loc(),
                         hint="write to a copy (`x = x.copy()`)")


def _mentions_symbols(op: Op) -> bool:
    """Whether a dim that only run time knows is in the op's attributes."""
    return any(isinstance(d, Poly) for a in op.attrs.values() for d in (a if isinstance(a, tuple) else (a,)))


#: Why an array that untraced code made must not be written.
MADE_UNSEEN = "it was not made by the traced function's source"


class Captures:
    """Arrays of NumPy's that the function uses beside its arguments; each becomes a parameter, by reference.

    reached: those found outside the function, by identity. Others were made while it was traced, by code that is
    not; every call sees them as they were then, and so nothing may write to them.
    """

    def __init__(self, reached: dict[int, np.ndarray]) -> None:
        self.reached = reached
        self.arrays: list[np.ndarray] = []
        self.traced: list[Traced] = []
        self._found: dict[Any, Traced] = {}
        self._made: list[tuple[np.ndarray, np.ndarray]] = []  # with what they held

    def reach(self, array: np.ndarray) -> None:
        """Takes note that an array is from outside the function."""
        root = _root(array)
        self.reached[id(root)] = root

    def of(self, array: np.ndarray) -> Traced | None:
        """The traced form of an array, or of another object that is the same view of the same memory."""
        return self._found.get(_layout(array))

    def add(self, array: np.ndarray, traced: Traced) -> None:
        """The traced form of one more array."""
        if id(_root(array)) not in self.reached:
            traced.readonly = traced.readonly or MADE_UNSEEN
            self._made.append((array, array.copy()))
        self.arrays.append(array)
        self.traced.append(traced)
        self._found[_layout(array)] = traced

    def put(self, found: Traced, stand_in: Traced) -> None:
        """Another object stands for an array that was found."""
        self.traced[:] = [stand_in if x is found else x for x in self.traced]
        self._found.update({k: stand_in for k, x in self._found.items() if x is found})

    def check_unchanged(self) -> None:
        """Raises SourceError where code that is not traced wrote to an array that the program reads."""
        for array, held in self._made:
            if array.tobytes() != held.tobytes():
                raise SourceError(f"an array that is read has changed during the trace: {MADE_UNSEEN}")


def _root(array: np.ndarray) -> np.ndarray:
    """The array whose memory this one sees."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _layout(array: np.ndarray) -> Any:
    return array.ctypes.data, array.shape, array.strides, array.dtype.str, array.flags.writeable


_local = threading.local()


def current_trace() -> Trace | None:
    """The innermost trace that is running in this thread."""
    stack = getattr(_local, "stack", None)
    return stack[-1] if stack else None


def require_trace(what: str) -> Trace:
    """The running trace. Raises SourceError where there is none."""
    trace = current_trace()
    if trace is None:
        raise SourceError(f"{what} works only while a jitted function is traced", loc=user_loc())
    return trace


@contextmanager
def tracing(trace: Trace) -> Iterator[Trace]:
    """Makes `trace` the current one of this thread."""
    stack = _local.__dict__.setdefault("stack", [])
    stack.append(trace)
    try:
        yield trace
    finally:
        stack.pop()
        trace.closed = True
