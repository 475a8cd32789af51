"""Nested tuples, lists, dicts and sparse weights of leaves, taken apart and put together again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sparsec.sparse.weights import SparseWeight


@dataclass(frozen=True, slots=True)
class Tree:
    """The structure around leaves: `kind` is None for a leaf, else the container's class.

    Hashable, so it can be part of a specialisation key. Named tuples keep their class.
    """

    kind: Any
    keys: tuple[Any, ...] = ()
    children: tuple[Tree, ...] = ()


LEAF = Tree(None)
_EMPTY = Tree(dict)  # the keywords of most calls


def flatten(value: Any, leaves: list[Any]) -> Tree:
    """Appends the leaves of `value` to `leaves`, left to right, and returns the structure."""
    kind = type(value)
    if kind is tuple or kind is list or (isinstance(value, tuple) and hasattr(value, "_fields")):
        return Tree(kind, (), tuple(flatten(v, leaves) for v in value))
    if kind is dict:
        if not value:
            return _EMPTY
        return Tree(kind, tuple(value), tuple(flatten(v, leaves) for v in value.values()))
    if isinstance(value, SparseWeight):
        names = value.parts()
        return Tree(kind, names, tuple(flatten(getattr(value, name), leaves) for name in names))
    leaves.append(value)
    return LEAF


def unflatten(tree: Tree, leaves: Callable[[], Any]) -> Any:
    """The value of this structure, taking each leaf from `leaves()` in order."""
    if tree.kind is None:
        return leaves()
    parts = [unflatten(child, leaves) for child in tree.children]
    if tree.kind is dict:
        return dict(zip(tree.keys, parts, strict=True))
    if tree.kind in (tuple, list):
        return tree.kind(parts)
    return tree.kind.of_parts(parts) if issubclass(tree.kind, SparseWeight) else tree.kind(*parts)


def leaf_count(tree: Tree) -> int:
    """How many leaves a structure has."""
    return 1 if tree.kind is None else sum(map(leaf_count, tree.children))


def packed(trees: Sequence[Tree], leaves: Sequence[Any]) -> tuple[Any, ...]:
    """Values of these structures, from all their leaves in order."""
    items = iter(leaves)
    return tuple(unflatten(tree, lambda: next(items)) for tree in trees)
