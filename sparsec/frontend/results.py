"""What a traced function returned, and how the caller's objects are made from it after each call."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sparsec.errors import ArgumentError
from sparsec.frontend.array import Traced
from sparsec.frontend.control.aliases import check_results
from sparsec.frontend.control.choices import Choice
from sparsec.frontend.convert import as_traced
from sparsec.frontend.live_channels import Channels
from sparsec.frontend.mixed import Mixed
from sparsec.frontend.trace import MADE_UNSEEN, Trace
from sparsec.frontend.tree import Tree, flatten
from sparsec.frontend.undefined import Undefined
from sparsec.ir.dims import Dim, evaluate, symbols
from sparsec.ir.graph import Value
from sparsec.ir.types import BOOL, I64, DType, tensor


@dataclass(frozen=True, slots=True)
class Constant:
    """A Python object that does not depend on the arguments' values."""

    value: Any


@dataclass(frozen=True, slots=True)
class Argument:
    """That array of the call itself, or of those that the function captures, counted behind them."""

    position: int


@dataclass(frozen=True, slots=True)
class SameAs:
    """The object that an earlier leaf is: `return b, b` gives one array twice."""

    leaf: int


@dataclass(frozen=True, slots=True)
class View:
    """A view of a parameter's (`param`) or a result's storage; offset and strides in elements.

    symbols: run-time dims among them, each with the result storage that holds its value; -1: an argument's size.
    """

    storage: int
    param: bool
    dtype: DType
    shape: tuple[Any, ...]
    offset: Any
    strides: tuple[Any, ...]
    writeable: bool
    symbols: tuple[tuple[str, int], ...] = ()

    def at(self, env: Mapping[str, int]) -> View:
        """The view with its run-time dims known."""
        shape = tuple(evaluate(d, env) for d in self.shape)
        strides = tuple(evaluate(s, env) for s in self.strides)
        return replace(self, shape=shape, offset=evaluate(self.offset, env), strides=strides, symbols=())


@dataclass(frozen=True, slots=True)
class Scalar:
    """A NumPy scalar from a result storage of one element; `weak`: the Python number instead."""

    storage: int
    weak: type | None


@dataclass(frozen=True, slots=True)
class SparseArgument:
    """That sparse argument of the call itself."""

    position: int


@dataclass(frozen=True, slots=True)
class Sparse:
    """A `ChannelSparse` of `data`. Its index: another leaf, the index of a sparse argument, or always the same."""

    data: Leaf
    index: Leaf | SparseArgument | np.ndarray
    full: int
    axis: int
    cap: int


@dataclass(frozen=True, slots=True)
class Either:
    """The first of two leaves if the bool in result storage `test` says so, else the second."""

    test: int
    leaves: tuple[Leaf, ...]


Leaf = Constant | Argument | SameAs | View | Scalar | SparseArgument | Sparse | Either


def views_in(leaf: Leaf) -> list[View]:
    """The views among what a leaf may be."""
    match leaf:
        case View():
            return [leaf]
        case Either(leaves=parts):
            return [x for part in parts for x in views_in(part)]
        case Sparse(data=data):
            return views_in(data)
    return []


@dataclass
class Results:
    """The structure, its leaves, the SSA values to return, and the result storages (shape, dtype) in order; the
    shape is None where only the program can tell the size."""

    tree: Tree
    leaves: list[Leaf] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    storages: list[tuple[tuple[Any, ...] | None, DType]] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    behind: list[Any] = field(default_factory=list)  # arrays that leaves may be, whose own leaves follow

    def place(self, part: Any, items: Sequence[Any]) -> int:
        """Which leaf an array is that others may be: one of the items, or one behind them."""
        known = [*items, *self.behind]
        found = next((k for k, x in enumerate(known) if x is part), None)
        if found is None:
            found = len(known)
            self.behind.append(part)
        return found

    def storage(self, value: Value, shape: tuple[Dim, ...] | None, dtype: DType) -> int:
        """The number of the result storage in which `value` lies."""
        self.values.append(value)
        if value.storage not in self.numbers:
            self.numbers[value.storage] = len(self.storages)
            self.storages.append((shape, dtype))
        return self.numbers[value.storage]


def is_choice(leaves: Sequence[Leaf], k: int) -> bool:
    """Whether a leaf is one of several objects, as run-time values decide."""
    leaf = leaves[k]
    return isinstance(leaf, Either) or (isinstance(leaf, SameAs) and is_choice(leaves, leaf.leaf))


def shared(leaf: View, results: Results) -> bool:
    """Whether another part of the result lies in the same result storage."""
    return sum(any(not x.param and x.storage == leaf.storage for x in views_in(y)) for y in results.leaves) > 1


def collect(
    trace: Trace, result: Any, arguments: Sequence[Traced], constant: Callable[[Any], Any] = lambda x: x
) -> Results:
    """Takes the result apart; arrays are read now, after all writes.

    constant: what every call gives for an object that is no array.
    """
    items: list[Any] = []
    found = Results(flatten(result, items))
    check_results([x for x in items if isinstance(x, Traced)])
    for k, item in enumerate(items):
        earlier = next((j for j in range(k) if items[j] is item), None)
        if earlier is not None and isinstance(item, (Traced, np.ndarray)):
            found.leaves.append(SameAs(earlier))
        elif isinstance(item, (Traced, np.ndarray)):
            found.leaves.append(_array_or_either(trace, item, items, arguments, found))
        elif isinstance(item, Undefined):
            raise item.error(item.loc)
        else:
            found.leaves.append(Constant(constant(item)))
    found.leaves += [_leaf(trace, part, arguments, found) for part in found.behind]
    return found


def _array_or_either(
    trace: Trace, item: Any, items: Sequence[Any], arguments: Sequence[Traced], found: Results
) -> Leaf:
    if isinstance(item, Mixed):
        return _one_of(trace, item, item.parts, found)
    if not isinstance(item, Traced) or not isinstance(item.storage, Choice):
        return _leaf(trace, item, arguments, found)
    tests = [found.storage(trace.op("copy", test), (), BOOL) for test in item.storage.tests]
    parts = item.storage.parts(item.steps)
    if item is item.storage.whole:
        leaves: list[Leaf] = [SameAs(found.place(part, items)) for part in parts]
    else:
        leaves = [_leaf(trace, part.again(item.readonly), arguments, found) for part in parts]
    leaf = leaves.pop()
    for test, other in zip(reversed(tests), reversed(leaves), strict=True):
        leaf = Either(test, (other, leaf))
    return leaf


def _one_of(trace: Trace, item: Mixed, parts: Sequence[Any], found: Results) -> Leaf:
    """A scalar that is one of several kinds: the first of these parts, or one of the others."""
    first, *rest = parts
    leaf = _leaf(trace, first, (), found)
    if not rest:
        return leaf
    test = found.storage(item.is_part(len(item.parts) - len(parts)).value, (), BOOL)
    return Either(test, (leaf, _one_of(trace, item, rest, found)))


def _leaf(trace: Trace, item: Any, arguments: Sequence[Traced], found: Results) -> Leaf:
    if type(item) is np.ndarray:
        item = as_traced(item)
    elif isinstance(item, np.ndarray):
        raise ArgumentError(f"array subclass {type(item).__name__} in the result")
    if not isinstance(item, Traced):
        return Constant(item)
    if item.readonly == MADE_UNSEEN:
        item = Traced.fresh(trace, trace.op("copy", item.read()))
    captured = trace.captures.traced if trace.captures is not None else []
    for k, argument in enumerate((*arguments, *captured)):
        if argument is item:
            return Argument(k)
    for k, argument in enumerate(trace.sparse):
        if argument is item:
            return SparseArgument(k)
    if trace.live_channels is not None and not item.is_scalar:
        channels = trace.live_channels.of(item.read())
        if channels is not None:
            return _sparse(trace, item, channels, found)
    if item.is_scalar:
        item.trace.check_open()
        value = item.value
        if value in trace.builder.params:
            value = trace.op("copy", value)
        return Scalar(found.storage(value, (), item.dtype), item.weak)
    return _view(trace, item, found)


def _view(trace: Trace, item: Traced, found: Results) -> View:
    """An array in the storage of a parameter or a result."""
    ref, storage = item.type.ref, item.storage
    assert ref is not None and storage is not None
    value = item.read()
    is_param = storage.param >= 0
    root = storage.newest.type
    number = storage.param if is_param else found.storage(value, _largest(trace, root.shape), root.dtype)
    dims = (*item.type.shape, ref.offset, *ref.strides)
    names = tuple(dict.fromkeys(s.name for d in dims for s in symbols(d)))
    held = tuple((name, _symbol_storage(trace, name, found)) for name in names)
    return View(
        number, is_param, item.dtype, item.type.shape, ref.offset, ref.strides, not item.readonly, held
    )


def _sparse(trace: Trace, item: Traced, channels: Channels, found: Results) -> Sparse:
    """A result of which only some channels are live."""
    taken = trace.op("take_channels", item.read(), channels.index, axis=channels.axis, fill=None)
    data = _leaf(trace, Traced.fresh(trace, taken), (), found)
    index: Leaf | SparseArgument | np.ndarray
    if channels.listed is not None:
        index = channels.listed.copy()
        index.flags.writeable = False
    else:
        given = [k for k, x in enumerate(trace.sparse_indexes) if x == channels.index]
        copied = channels.index if given else trace.op("copy", channels.index)
        index = SparseArgument(given[0]) if given else _leaf(trace, Traced.fresh(trace, copied), (), found)
    return Sparse(data, index, channels.full, channels.axis, channels.cap)


def _largest(trace: Trace, shape: Sequence[Dim]) -> tuple[Dim, ...] | None:
    """The shape of the memory that a result needs at most; None where nothing limits it."""
    if not any(symbols(d) for d in shape):
        return tuple(shape)
    limits = trace.limits()
    bounds = [limits.dim(d) for d in shape]
    return None if None in bounds else tuple(b for b in bounds if b is not None)


def _symbol_storage(trace: Trace, name: str, found: Results) -> int:
    """A result storage for the integer behind a symbol; -1 for a parameter."""
    value = Value(name.removeprefix("%"), tensor(I64))
    if value in trace.builder.params:
        return -1
    return found.storage(trace.op("copy", value), (), I64)


class _Memory:
    """Memory of `owner`, seen through NumPy's array interface; keeps the owner alive."""

    def __init__(self, owner: Any, address: int, view: View) -> None:
        self.owner = owner
        itemsize = view.dtype.itemsize
        self.__array_interface__ = {
            "version": 3,
            "data": (address + view.offset * itemsize, not view.writeable),
            "shape": view.shape,
            "strides": tuple(s * itemsize for s in view.strides),
            "typestr": view.dtype.str,
        }


def view_of(owner: np.ndarray, base_address: int, view: View) -> np.ndarray:
    """The NumPy array of a `View` whose storage begins at `base_address`, in memory that `owner` keeps."""
    if math.prod(view.shape) == 0:
        made = np.empty(view.shape, view.dtype)
        made.flags.writeable = view.writeable
        return made
    return np.asarray(_Memory(owner, base_address, view))
