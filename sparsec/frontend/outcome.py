"""What a call returns: the caller's objects, made from the memory that the compiled function has filled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparsec.frontend.arguments import Arguments
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
from sparsec.frontend.tracing import TracedFunction
from sparsec.frontend.tree import unflatten
from sparsec.sparse.channel import ChannelSparse

__all__ = ["Outcome"]


@dataclass
class Outcome:
    """A call that has run.

    arrays: those of the call, then those that the function captures. pointers: of parameters. results: the result
    storages, and `places` their addresses. sizes: the call's symbols.
    """

    traced: TracedFunction
    call: Arguments
    arrays: Sequence[np.ndarray]
    pointers: Sequence[int]
    results: Sequence[np.ndarray]
    places: Sequence[int]
    sizes: Mapping[str, int]
    made: list[Any] = field(default_factory=list)  # the object of each leaf

    def value(self) -> Any:
        """What the call returns."""
        leaves = self.traced.results.leaves
        self.made = [None] * len(leaves)
        for k in sorted(range(len(leaves)), key=lambda k: is_choice(leaves, k)):  # they may be any of the others
            self.made[k] = self.object(leaves[k])
        items = iter(self.made)
        return unflatten(self.traced.results.tree, lambda: next(items))

    def object(self, leaf: Leaf) -> Any:
        """The object that a leaf is."""
        match leaf:
            case Constant(value=value):
                return value
            case Argument(position=k):
                return self.arrays[k]
            case SameAs(leaf=k):
                return self.made[k]
            case Either(test=k, leaves=(one, other)):
                return self.object(one if self.results[k] else other)
            case SparseArgument(position=k):
                return self.call.sparse[k]
            case Sparse():
                return self._sparse(leaf)
            case Scalar(storage=k, weak=weak):
                return self.results[k].item() if weak is not None else self.results[k][()]
            case View(symbols=held) if held:
                return self._sized(leaf)
            case View(param=True, storage=k):
                return view_of(self.arrays[self.traced.params[k].array], self.pointers[k], leaf)
            case View():
                return self._view(leaf)

    def _sparse(self, leaf: Sparse) -> ChannelSparse:
        static, index = isinstance(leaf.index, np.ndarray), leaf.index
        if isinstance(index, SparseArgument):
            index = self.call.sparse[index.position].index
        elif not isinstance(index, np.ndarray):
            index = self.object(index)
        return ChannelSparse(self.object(leaf.data), index, leaf.full, leaf.axis, cap=leaf.cap, static=static)

    def _sized(self, leaf: View) -> np.ndarray:
        """A view whose run-time dims the call tells."""
        found = {name: int(self.results[k]) if k >= 0 else self.sizes[name] for name, k in leaf.symbols}
        seen: np.ndarray = self.object(leaf.at(found))
        # The memory was for the largest size; a much smaller result should not keep it.
        small = not leaf.param and seen.flags.c_contiguous and seen.nbytes * 2 < self.results[leaf.storage].nbytes
        if small and not shared(leaf, self.traced.results):
            seen = seen.copy()
            seen.flags.writeable = leaf.writeable
        return seen

    def _view(self, leaf: View) -> np.ndarray:
        """A view of a result, or once the result itself."""
        root = self.results[leaf.storage]
        whole = leaf.shape == root.shape and leaf.dtype == root.dtype and leaf.offset == 0 and leaf.writeable
        same_layout = tuple(s * root.itemsize for s in leaf.strides) == root.strides
        if whole and same_layout and not any(m is root for m in self.made):
            return root
        return view_of(root, self.places[leaf.storage], leaf)
