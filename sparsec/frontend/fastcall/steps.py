"""The object that a call returns, built leaf by leaf and container by container."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sparsec.frontend.fastcall.amounts import amounts, given
from sparsec.frontend.fastcall.writer import Unfit, Writer, need
from sparsec.frontend.results import Argument, Constant, Leaf, SameAs, Scalar, View, shared
from sparsec.frontend.tree import Tree
from sparsec.ir.call_record import MAX_RANK, WRITEABLE, Step
from sparsec.ir.tensorref import contiguous_strides

__all__ = ["steps"]

_NUMBERS = {float: Step.FLOAT, int: Step.INT, bool: Step.BOOL, complex: Step.COMPLEX}
_STORED = {float: "f8", int: "i8", bool: "?", complex: "c16"}


def steps(w: Writer) -> Iterator[list[int]]:
    """The steps that leave the result on a stack, in the order of its leaves."""
    rooted: set[int] = set()
    leaves = iter(w.traced.results.leaves)
    yield from _tree_steps(w, w.traced.results.tree, leaves, rooted)


def _tree_steps(w: Writer, tree: Tree, leaves: Iterator[Leaf], rooted: set[int]) -> Iterator[list[int]]:
    if tree.kind is None:
        yield _leaf_step(w, next(leaves), rooted)
        return
    need(tree.kind in (tuple, list, dict))
    for child in tree.children:
        yield from _tree_steps(w, child, leaves, rooted)
    if tree.kind is dict:
        need(all(type(key) in (str, int) for key in tree.keys))
        yield [Step.DICT, len(tree.keys), w.list([w.ref(key) for key in tree.keys])]
    else:
        yield [Step.TUPLE if tree.kind is tuple else Step.LIST, len(tree.children)]


def _leaf_step(w: Writer, leaf: Leaf, rooted: set[int]) -> list[int]:
    match leaf:
        case Constant(value=value):
            return [Step.CONSTANT, w.ref(value)]
        case Argument(position=k):
            return [Step.VALUE, w.arrays[k]]
        case SameAs(leaf=k):
            return [Step.AGAIN, k]
        case Scalar(storage=k, weak=None):
            return [Step.SCALAR, k, w.ref(np.dtype(w.traced.results.storages[k][1]))]
        case Scalar(storage=k, weak=weak):
            assert weak is not None
            need(weak in _NUMBERS and w.traced.results.storages[k][1] == np.dtype(_STORED[weak]))
            return [_NUMBERS[weak], k]
        case View():
            return _view_step(w, leaf, rooted)
    raise Unfit


def _view_step(w: Writer, leaf: View, rooted: set[int]) -> list[int]:
    size, params, whole_size = leaf.dtype.itemsize, len(w.traced.params), 0
    if not leaf.param:
        shape, dtype = w.traced.results.storages[leaf.storage]
        whole = leaf.shape == shape and leaf.dtype == dtype and leaf.offset == 0 and leaf.writeable
        packed = 0 in leaf.shape or leaf.strides == contiguous_strides(leaf.shape)
        if whole and packed and leaf.storage not in rooted:
            rooted.add(leaf.storage)
            return [Step.ROOT, leaf.storage]
        whole_size = 0 if shared(leaf, w.traced.results) else dtype.itemsize
    need(not leaf.param or leaf.storage not in w.packed)  # it is a view of the array, not of what is passed
    owner = w.arrays[w.traced.params[leaf.storage].array] if leaf.param else leaf.storage
    head = [int(leaf.param), owner, leaf.storage if leaf.param else params + leaf.storage]
    descr, rank, flags = w.ref(np.dtype(leaf.dtype)), len(leaf.shape), WRITEABLE if leaf.writeable else 0
    if leaf.symbols:
        need(rank <= MAX_RANK)
        places = given(w) | {name: params + k for name, k in leaf.symbols if k >= 0}
        dims = (leaf.offset * size, *leaf.shape, *(s * size for s in leaf.strides))
        return [Step.SIZED, *head, amounts(w, dims, places), descr, rank, flags, size, whole_size]
    return [Step.VIEW, *head, leaf.offset * size, descr, rank, w.list(leaf.shape),
            w.list([s * size for s in leaf.strides]), flags]
