"""Smaller recipes: plainer layouts, fewer elements, simpler numbers, no overlap."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from tests.fuzz.recipe import Buffer, Recipe, Same, Scalar, View, recipe_leaves, width


def smaller_recipes(recipe: Recipe) -> Iterator[Recipe]:
    """Every recipe that one simplification makes."""
    for k, leaf in enumerate(recipe_leaves(recipe.args)):
        if isinstance(leaf, View):
            for view, buffers in _smaller_views(leaf, recipe.buffers):
                yield pruned(Recipe(buffers, _with_leaf(recipe.args, k, view)))
        elif isinstance(leaf, Same):
            yield Recipe(recipe.buffers, _with_leaf(recipe.args, k, recipe_leaves(recipe.args)[leaf.leaf]))
        elif leaf.value not in (0, 1):
            yield Recipe(recipe.buffers, _with_leaf(recipe.args, k, Scalar(leaf.type, type(leaf.value)(1))
                                                    if not isinstance(leaf.value, tuple) else leaf))
    for k, buffer in enumerate(recipe.buffers):
        for smaller in _smaller_buffers(buffer):
            yield Recipe((*recipe.buffers[:k], smaller, *recipe.buffers[k + 1:]), recipe.args)


def without_argument(recipe: Recipe, position: int) -> Recipe | None:
    """The recipe less one plain argument; None where another leaf is that object, or it is a container."""
    args = recipe.args
    same = any(isinstance(x, Same) for x in recipe_leaves(args))
    if same or not isinstance(args[position], (View, Scalar)):
        return None
    return pruned(Recipe(recipe.buffers, args[:position] + args[position + 1:]))


def _with_leaf(args: Any, position: int, leaf: Any) -> Any:
    count = iter(range(1000))

    def visit(arg: Any) -> Any:
        if isinstance(arg, (View, Scalar, Same)):
            return leaf if next(count) == position else arg
        if isinstance(arg, dict):
            return {k: visit(v) for k, v in arg.items()}
        return type(arg)(visit(a) for a in arg)

    return visit(args)


def pruned(recipe: Recipe) -> Recipe:
    """Without buffers that no argument views."""
    used = sorted({x.buffer for x in recipe_leaves(recipe.args) if isinstance(x, View)})
    args = recipe.args
    for k, leaf in enumerate(recipe_leaves(args)):
        if isinstance(leaf, View):
            args = _with_leaf(args, k, replace(leaf, buffer=used.index(leaf.buffer)))
    return Recipe(tuple(recipe.buffers[k] for k in used), args)


def _smaller_views(view: View, buffers: tuple[Buffer, ...]) -> Iterator[tuple[View, tuple[Buffer, ...]]]:
    plain = _contiguous(view.shape)
    own = _own_buffer(view, buffers[view.buffer])
    if view.strides != plain or view.offset or len(own.data) != len(buffers[view.buffer].data):
        yield View(len(buffers), 0, view.shape, plain), (*buffers, own)
    if not view.writeable:
        yield replace(view, writeable=True), buffers
    for axis, dim in enumerate(view.shape):
        if dim > 1:
            yield replace(view, shape=(*view.shape[:axis], dim - 1, *view.shape[axis + 1:])), buffers
        yield replace(view, shape=view.shape[:axis] + view.shape[axis + 1:],
                      strides=view.strides[:axis] + view.strides[axis + 1:]), buffers


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(max(math.prod(shape[k + 1:]), 1) for k in range(len(shape)))


def _own_buffer(view: View, buffer: Buffer) -> Buffer:
    """A buffer with just the elements of the view."""
    wide = width(np.dtype(buffer.dtype))
    data: list[Any] = []
    for at in np.ndindex(view.shape):
        place = view.offset + sum(i * s for i, s in zip(at, view.strides))
        data += buffer.data[place * wide: (place + 1) * wide]
    return Buffer(buffer.dtype, tuple(data) or (0,) * wide)


def _smaller_buffers(buffer: Buffer) -> Iterator[Buffer]:
    if buffer.shift:
        yield replace(buffer, shift=0)
    kind = np.dtype(buffer.dtype).kind
    number = float if kind in "fc" else int
    if kind != "b":
        for data in (range(1, len(buffer.data) + 1), [1] * len(buffer.data)):
            plain = tuple(map(number, data))
            if repr(plain) != repr(buffer.data) and len(plain) < 120 and set(buffer.data) != {1}:
                yield replace(buffer, data=plain)
        for wider in ("f8", "i8"):
            if buffer.dtype not in ("f8", "i8", "c8", "c16") and all(map(math.isfinite, buffer.data)):
                yield Buffer(wider, tuple(map(float if wider == "f8" else int, buffer.data)), buffer.shift)
    if len(buffer.data) <= 40:
        for k, value in enumerate(buffer.data):
            if value != number(1) and not (0 < value < 40 and value == int(value)):
                yield replace(buffer, data=(*buffer.data[:k], number(1), *buffer.data[k + 1:]))
