"""A call's arguments, sorted into arrays, scalars and static values, and the key that they make."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsec.errors import ArgumentError, SourceError
from sparsec.frontend.array import Traced
from sparsec.frontend.dynamic import Dynamic, Given
from sparsec.frontend.sparse_arguments import Stored, generalise, parts_of
from sparsec.frontend.spec import ArraySpec, describe
from sparsec.frontend.tree import Tree, flatten
from sparsec.ir.types import is_supported, unsupported_dtype
from sparsec.sparse.channel import ChannelSparse


@dataclass(frozen=True, slots=True)
class Static:
    """A leaf that is part of the key by value; the class counts, so that 1, 1.0 and True differ."""

    value: Any

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Static) or type(self.value) is not type(other.value):
            return False
        # -0.0 and 0.0 differ; NaN equals itself.
        return (
            repr(self.value) == repr(other.value)
            if isinstance(self.value, float)
            else self.value == other.value
        )


@dataclass(frozen=True, slots=True)
class ScalarSpec:
    """A NumPy scalar or a Python float/complex: passed by value. `weak` is the Python class, if it is one."""

    dtype: str
    weak: type | None


@dataclass(frozen=True, slots=True)
class _Int:
    """A Python int that `dynamic=` makes a value of the program."""

    value: int


def _as_value(x: Any) -> Any:
    return _Int(x) if type(x) is int and -(1 << 63) <= x < 1 << 63 else x


class Arguments:
    """One call. `key` decides which specialisation serves it."""

    __slots__ = (
        "tree", "leaves", "arrays", "scalars", "stored", "sparse", "specs", "key", "sizes", "_dynamic", "_names",
        "_empty",
    )

    def __init__(
        self, tree: Tree, leaves: list[Any], dynamic: Dynamic | None = None, names: Sequence[tuple[str, str]] = ()
    ) -> None:
        """names: for `dynamic`, the parameter of each leaf and the leaf's own name."""
        self.tree = tree
        self.leaves = leaves
        self.sizes: dict[str, int] = {}  # of dynamic dims, by symbol
        self._dynamic, self._names = dynamic, list(_array_names(names, leaves))
        if dynamic:
            leaves[:] = [_as_value(x) if dynamic.takes(n[0]) else x for n, x in zip(names, leaves, strict=True)]
        self.arrays: list[np.ndarray] = []
        self.scalars: list[np.generic] = []
        self.stored: list[Stored] = []  # sparse arguments, in order
        self.sparse: list[ChannelSparse] = []
        self._empty: dict[int, np.ndarray] = {}
        kinds: list[Any] = []
        for leaf in leaves:
            kinds.append(self._sort(leaf))
        self.specs: tuple[ArraySpec, ...] = self.describe()
        self.key = (tree, tuple(kinds), self.specs)

    def describe(self, captures: Sequence[np.ndarray] = ()) -> tuple[ArraySpec, ...]:
        """The key of the arrays, those that the function captures included. Raises what `describe` raises."""
        specs = describe((*self.arrays, *captures))
        if self._dynamic:
            specs, self.sizes = self._dynamic.generalise(specs, self._names)
        if self.stored:
            specs, counts = generalise(specs, self.stored)
            self.sizes = {**self.sizes, **counts}
        return specs

    def _sort(self, leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray):
            self.arrays.append(leaf)
            return None
        if type(leaf) is ChannelSparse:
            return self._store(leaf)
        if isinstance(leaf, np.generic):
            if not is_supported(leaf.dtype):
                raise unsupported_dtype(leaf.dtype)
            self.scalars.append(leaf)
            return ScalarSpec(leaf.dtype.str, None)
        if type(leaf) is _Int:
            self.scalars.append(np.int64(leaf.value))
            return ScalarSpec("<i8", int)
        if type(leaf) in (float, complex):
            self.scalars.append(np.float64(leaf) if type(leaf) is float else np.complex128(leaf))
            return ScalarSpec("<f8" if type(leaf) is float else "<c16", type(leaf))
        static = leaf if isinstance(leaf, Static) else Static(leaf)
        try:
            hash(static)
        except TypeError:
            raise ArgumentError(
                f"an argument of type {type(static.value).__name__} is neither an array nor hashable",
                hint="pass arrays, numbers, and tuples, lists or dicts of them",
            ) from None
        return static


    def _store(self, leaf: ChannelSparse) -> Any:
        """The arrays of a sparse argument."""
        spec, arrays = parts_of(leaf, self._empty)
        first = len(self.arrays)
        self.sparse.append(leaf)
        self.arrays += arrays
        self.stored.append(Stored(first, first + 1 if len(arrays) > 1 else -1, spec, len(leaf.index)))
        return spec


def _array_names(names: Sequence[tuple[str, str]], leaves: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """For each array of a call, its parameter and its own name."""
    for (root, name), leaf in zip(names, leaves, strict=bool(names)):
        if isinstance(leaf, np.ndarray):
            yield root, name
        elif type(leaf) is ChannelSparse:
            yield "", name
            if not leaf.static:
                yield "", f"{name}_index"


class Binder:
    """Knows which parameters of a function are static, and takes calls apart."""

    def __init__(self, fn: Callable[..., Any], static_argnames: Sequence[str], dynamic: Given = ()) -> None:
        self.signature = _signature(fn)
        self.names = tuple(self.signature.parameters) if self.signature else ()
        unknown = [n for n in static_argnames if self.signature is not None and n not in self.names]
        if unknown and not self._takes_any_keyword():
            raise SourceError(f"static_argnames {unknown} are not parameters of `{fn.__name__}`")
        self.static = frozenset(static_argnames)
        self.static_positions = tuple(k for k, n in enumerate(self.names) if n in self.static)
        self.dynamic = Dynamic(dynamic, self.names, self.signature is None or self._takes_any_keyword())

    def _takes_any_keyword(self) -> bool:
        assert self.signature is not None
        return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in self.signature.parameters.values())

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Arguments:
        """Raises ArgumentError, UnsupportedDtype; a wrong number of arguments is Python's own TypeError."""
        if self.static:
            args = tuple(Static(a) if k in self.static_positions else a for k, a in enumerate(args))
            kwargs = {n: Static(v) if n in self.static else v for n, v in kwargs.items()}
        leaves: list[Any] = []
        tree = flatten((args, dict(kwargs)), leaves)
        return Arguments(tree, leaves, self.dynamic, self._rooted(tree)) if self.dynamic else Arguments(tree, leaves)

    def array_names(self, call: Arguments) -> list[str]:
        """A name for every array of a call."""
        return [name for _, name in _array_names(self._rooted(call.tree), call.leaves)]

    def leaf_names(self, tree: Tree) -> list[str]:
        """A name for every leaf, from the parameters' names, for the IR and for messages."""
        return [leaf for _, leaf in self._rooted(tree)]

    def _rooted(self, tree: Tree) -> list[tuple[str, str]]:
        """For every leaf its parameter and its own name."""
        positional, keyword = tree.children
        roots = [self.names[k] if k < len(self.names) else f"arg{k}" for k in range(len(positional.children))]
        roots += [str(name) for name in keyword.keys]
        out: list[tuple[str, str]] = []
        for root, child in zip(roots, (*positional.children, *keyword.children), strict=True):
            found: list[str] = []
            _name_leaves(child, root, found)
            out += [(root, leaf) for leaf in found]
        return out


def _signature(fn: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(fn)
    except (TypeError, ValueError):
        return None


def _name_leaves(tree: Tree, stem: str, out: list[str]) -> None:
    if tree.kind is None:
        out.append("".join(c if c.isalnum() and c.isascii() else "_" for c in stem))
        return
    keys = tree.keys or range(len(tree.children))
    for key, child in zip(keys, tree.children, strict=True):
        _name_leaves(child, f"{stem}_{key}", out)


def holds_traced_leaf(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call comes from inside a trace."""
    leaves: list[Any] = []
    flatten((args, dict(kwargs)), leaves)
    return any(isinstance(leaf, Traced) for leaf in leaves)
