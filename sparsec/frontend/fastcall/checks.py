"""What the values of a call must be: the rows by which native code recognises each argument and what is in it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from sparsec.frontend.arguments import ScalarSpec, Static
from sparsec.frontend.fastcall.writer import Unfit, Writer, need
from sparsec.frontend.outside import Contents
from sparsec.frontend.sparse_arguments import SparseSpec
from sparsec.frontend.spec import ArraySpec
from sparsec.frontend.tree import LEAF, Tree
from sparsec.ir.call_record import ANY, CONTIGUOUS, WRITEABLE, Check
from sparsec.ir.dims import as_sym
from sparsec.runtime import native
from sparsec.runtime.constants import packed
from sparsec.sparse.channel import ChannelSparse
from sparsec.sparse.weights import SparseWeight

__all__ = ["arguments"]


def arguments(w: Writer) -> tuple[int, tuple[str, ...]]:
    """The checks of all values; gives the number of positional arguments, and the keywords in the call's order."""
    positional, keyword = w.call.tree.children
    need(positional.kind is tuple)
    passed = (*positional.children, *keyword.children)
    leaves = iter(zip(w.call.leaves, w.call.key[1], strict=True))
    containers = [g for g in w.traced.guards if isinstance(g, Contents)]
    w.captures += [*w.traced.captures, *(c.owner for c in containers)]
    first_packed = len(passed) + len(w.captures)
    w.packed = dict(zip(w.blocks, range(first_packed, first_packed + len(w.blocks))))
    w.captures += [packed(w.given(w.traced.params[k].array), *block) for k, block in w.blocks.items()]
    w.values.extend([*[None] * len(passed), *w.captures])
    for k, child in enumerate(passed):
        _value(w, k, child, leaves)
    first = len(passed) + len(w.traced.captures)
    for k in range(len(passed), first):
        _array(w, k)
    for k, container in enumerate(containers, first):
        _contents(w, k, container)
    return len(positional.children), keyword.keys


def _value(w: Writer, place: int, tree: Tree, leaves: Iterator[Any]) -> None:
    """The check of one value, then those of its items."""
    if tree.kind is not None:
        first = w.room(len(tree.children))
        w.checks.append(_container_check(w, place, tree, first))
        for k, child in enumerate(tree.children):
            _value(w, first + k, child, leaves)
        return
    leaf, kind = next(leaves)
    w.values[place] = leaf
    match leaf, kind:
        case np.ndarray(), _:
            _array(w, place)
        case ChannelSparse(), SparseSpec():
            _channels(w, place, leaf)
        case _, ScalarSpec(weak=weak):
            cls: Any = type(leaf)
            need(weak in (float, complex) if weak else native.scalar_in_place(cls))
            w.checks.append([Check.NUMBER, place, w.ref(cls)])
            w.scalars.append(place)
        case _, Static(value=value):
            w.checks.append(_static_check(w, place, value))
        case _:
            raise Unfit


def _contents(w: Writer, place: int, container: Contents) -> None:
    """A list or dict from outside: it must hold the very objects that it held."""
    owner, held = container.owner, container.held
    keys = held[: len(held) // 2] if isinstance(owner, dict) else ()
    items = held[len(keys) :]
    first = w.room(len(items))
    w.checks.append(_container_check(w, place, Tree(type(owner), keys, (LEAF,) * len(items)), first))
    w.checks += [[Check.SAME, first + k, w.ref(item)] for k, item in enumerate(items)]


def _container_check(w: Writer, place: int, tree: Tree, first: int) -> list[int]:
    head = [place, w.ref(tree.kind), len(tree.children), first]
    if issubclass(tree.kind, tuple):
        return [Check.TUPLE, *head]
    if tree.kind is list:
        return [Check.LIST, *head]
    if tree.kind is dict:
        need(all(type(key) in (str, int) for key in tree.keys))
        return [Check.DICT, *head, w.list([w.ref(key) for key in tree.keys])]
    need(issubclass(tree.kind, SparseWeight))
    return [Check.OBJECT, *head, w.list([w.ref(sys.intern(name)) for name in tree.keys])]


def _array(w: Writer, place: int) -> None:
    """The next of the call's arrays."""
    if w.must_be:
        w.checks.append([Check.SAME, place, w.ref(w.given(len(w.arrays)))])
    else:
        w.checks.append(_array_check(w, place, w.traced.capture_specs[len(w.arrays)]))
    w.arrays.append(place)


def _channels(w: Writer, place: int, x: ChannelSparse) -> None:
    """A sparse argument: how many channels are live may differ from call to call, but not be 0."""
    names = ("data", "index", "full", "axis", "cap", "static")
    first = w.room(len(names))
    data, index, *facts, static = range(first, first + len(names))
    w.checks.append([Check.OBJECT, place, w.ref(ChannelSparse), len(names), first,
                     w.list([w.ref(name) for name in names])])
    w.checks += [_static_check(w, k, value) for k, value in zip(facts, (x.full, x.axis, x.cap), strict=True)]
    w.checks.append(_static_check(w, static, x.static))
    _stored(w, data)
    if x.static:
        w.checks.append([Check.SAME, index, w.ref(x.index)])
        return
    need(len(x.index) > 0)
    spec = w.traced.capture_specs[len(w.arrays)]
    _stored(w, index)
    count = as_sym(spec.shape[0])
    like = w.counts.setdefault(count.name, index) if count is not None else index
    w.checks.append([Check.INDEX, index, data, x.axis, x.cap, x.full, like])


def _stored(w: Writer, place: int) -> None:
    """An array of a sparse argument: contiguous, and nobody writes to it here. One that can be written to is no
    constant, of which a program of its own is made. Sizes that are free are for INDEX."""
    spec, given = w.traced.capture_specs[len(w.arrays)], w.given(len(w.arrays))
    need(not spec.conflict)
    if w.must_be:
        w.checks.append([Check.SAME, place, w.ref(given)])
        w.arrays.append(place)
        return
    flags = CONTIGUOUS | (WRITEABLE if given.flags.writeable else 0)
    dtype = np.dtype(spec.dtype)
    axes = [[d if type(d) is int else ANY, ANY] for d in spec.shape]
    w.checks.append([Check.ARRAY, place, w.ref(np.ndarray), w.ref(dtype), len(axes), CONTIGUOUS | WRITEABLE, flags,
                     dtype.itemsize - 1 if spec.aligned else 0, w.table(axes, 2)])
    w.arrays.append(place)


def _static_check(w: Writer, place: int, value: Any) -> list[int]:
    cls = type(value)
    if value is None or cls is bool or _by_identity(cls):
        return [Check.SAME, place, w.ref(value)]
    need(cls in (int, str, bytes))
    return [Check.EQUAL, place, w.ref(cls), w.ref(value)]


def _by_identity(cls: Any) -> bool:
    return cls.__eq__ is object.__eq__ and cls.__hash__ is object.__hash__


def _array_check(w: Writer, place: int, spec: ArraySpec) -> list[int]:
    need(not spec.conflict and all(type(d) is int for d in spec.shape))
    dtype = np.dtype(spec.dtype)
    axes = [[d, s * dtype.itemsize if d > 1 else ANY] for d, s in zip(spec.shape, spec.strides, strict=True)]
    # A dtype that is equal but another object (a byte order spelt out, metadata) is left to Python.
    return [Check.ARRAY, place, w.ref(np.ndarray), w.ref(dtype), len(axes), WRITEABLE,
            WRITEABLE if spec.writeable else 0, dtype.itemsize - 1 if spec.aligned else 0, w.table(axes, 2)]
