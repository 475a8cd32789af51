"""Joining arrays: an empty array and a write into a view of it for each part."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sparsec.errors import UnsupportedError
from sparsec.frontend.array import Traced
from sparsec.frontend.convert import PYTHON_NUMBERS, as_traced, np_dtype
from sparsec.frontend.dispatch import SUBSCRIPTS, implements
from sparsec.frontend.layout import order_of, stand_in
from sparsec.frontend.locate import user_loc
from sparsec.frontend.numpy_api.creation import allocate
from sparsec.frontend.numpy_api.support import (
    ALL,
    agreed,
    along,
    at_least,
    axis_index,
    bound,
    flattened,
    new_array,
    result_dtype,
    strong,
)
from sparsec.frontend.ufuncs import store

# --- concatenate and what is made of it ------------------------------------------------------------------


@implements(np.concatenate)
def concatenate(
    arrays: Any, /, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Traced:
    """NumPy's order of memory: that of the parts where they agree."""
    given = [as_traced(a) for a in arrays]
    if not given:
        raise ValueError("need at least one array to concatenate")
    if out is not None and dtype is not None:
        raise TypeError("concatenate() only takes `out` or `dtype` as an argument, but both were provided.")
    if dtype is not None:
        target = np_dtype(dtype)
    else:
        target = result_dtype(*given) if out is None else as_traced(out).dtype
    parts = [flattened(strong(a)) if axis is None else a for a in given]
    axis = 0 if axis is None else _join_axis(parts, axis)
    for part in parts:
        if not np.can_cast(part.dtype, target, casting):  # type: ignore[arg-type]
            raise TypeError(
                f"Cannot cast array data from {part.dtype!r} to {target!r} according to the rule '{casting}'"
            )
    shape, where = _joined_shape(parts, axis)
    if out is None:
        layout = order_of(np.concatenate([stand_in(p) for p in parts], axis))
        joined = new_array(parts[0].trace, shape, target, layout)
    else:
        joined = as_traced(out)
        if joined.shape != shape:
            raise ValueError("Output array is the wrong shape")
    for part, (start, stop) in zip(parts, itertools.pairwise(where)):
        section = slice(bound(joined.trace, start), bound(joined.trace, stop))
        store(joined.trace, along(joined, axis, section), part.read())
    return joined


def _join_axis(parts: Sequence[Traced], axis: Any) -> int:
    if parts[0].ndim == 0:
        raise ValueError("zero-dimensional arrays cannot be concatenated")
    return axis_index(axis, parts[0].ndim)


def _joined_shape(parts: Sequence[Traced], axis: int) -> tuple[tuple[Any, ...], list[Any]]:
    """The shape of a join, and where along `axis` each part begins and the last one ends."""
    first = parts[0]
    shape = list(first.shape)
    for k, part in enumerate(parts):
        if part.ndim != first.ndim:
            raise ValueError(
                "all the input arrays must have same number of dimensions, but the array at index 0 has "
                f"{first.ndim} dimension(s) and the array at index {k} has {part.ndim} dimension(s)"
            )
        for dim in range(first.ndim):
            if dim != axis:
                message = (
                    "all the input array dimensions except for the concatenation axis must match exactly, "
                    f"but along dimension {dim}, the array at index 0 has size {first.shape[dim]} and "
                    f"the array at index {k} has size {part.shape[dim]}"
                )
                shape[dim] = agreed(first.trace, shape[dim], part.shape[dim], message)
    where = list(itertools.accumulate((p.shape[axis] for p in parts), initial=0))
    shape[axis] = where[-1]
    return tuple(shape), where


@implements(np.stack)
def stack(
    arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Traced:
    parts = [strong(a) for a in arrays]
    if not parts:
        raise ValueError("need at least one array to stack")
    if len({p.ndim for p in parts}) != 1:
        raise ValueError("all input arrays must have the same shape")
    for part in parts[1:]:
        for one, other in zip(parts[0].shape, part.shape):
            agreed(part.trace, one, other, "all input arrays must have the same shape")
    axis = axis_index(axis, parts[0].ndim + 1)
    return concatenate(
        [along(p, axis, None) for p in parts], axis=axis, out=out, dtype=dtype, casting=casting
    )


def _sequence(tup: Any) -> list[Traced]:
    if not isinstance(tup, (list, tuple, Traced, np.ndarray)):
        raise TypeError('arrays to stack must be passed as a "sequence" type such as list or tuple.')
    return [strong(a) for a in tup]


@implements(np.vstack, *([np.row_stack] if "row_stack" in vars(np) else []))
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Traced:
    return concatenate([at_least(a, 2) for a in _sequence(tup)], 0, dtype=dtype, casting=casting)


@implements(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Traced:
    parts = [at_least(a, 1) for a in _sequence(tup)]
    return concatenate(parts, 0 if parts and parts[0].ndim == 1 else 1, dtype=dtype, casting=casting)


@implements(np.dstack)
def dstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Traced:
    return concatenate([_three_axes(a) for a in _sequence(tup)], 2, dtype=dtype, casting=casting)


def _three_axes(a: Traced) -> Traced:
    """`np.atleast_3d`: a matrix gets its third axis behind, a row becomes (1, n, 1)."""
    key = {0: (None, None, None), 1: (None, ALL, None), 2: (ALL, ALL, None)}.get(a.ndim)
    return a if key is None else a[key]


@implements(np.column_stack)
def column_stack(tup: Any) -> Traced:
    return concatenate([a if a.ndim > 1 else at_least(a, 2).T for a in _sequence(tup)], 1)


@implements(np.append)
def append(arr: Any, values: Any, axis: Any = None) -> Traced:
    first, second = strong(arr), strong(values)
    if axis is None:
        first, second, axis = flattened(first), flattened(second), 0
    return concatenate((first, second), axis=axis)


# --- block -----------------------------------------------------------------------------------------------


@implements(np.block)
def block(arrays: Any) -> Traced:
    depth = _block_depth(arrays, ())
    leaves = list(_leaves(arrays))
    parts = [strong(a) for a in leaves]
    rank = max(depth, max(p.ndim for p in parts))
    shape, placed = _arrange(arrays, iter([at_least(p, rank) for p in parts]), depth, rank)
    fortran = all(p.flags.f_contiguous for p in parts) and not all(p.c_contiguous for p in parts)
    result = allocate(parts[0].trace, None, shape, result_dtype(*parts), "F" if fortran else "C")
    for corner, part in placed:
        result[tuple(slice(c, c + d) for c, d in zip(corner, part.shape))] = part
    return result


def _leaves(arrays: Any) -> Iterator[Any]:
    if isinstance(arrays, list):
        for item in arrays:
            yield from _leaves(item)
    else:
        yield arrays


def _block_depth(arrays: Any, where: tuple[int, ...]) -> int:
    """How deep the lists are nested: equally everywhere."""
    name = "arrays" + "".join(f"[{k}]" for k in where)
    if isinstance(arrays, tuple):
        raise TypeError(
            f"{name} is a tuple. Only lists can be used to arrange blocks, and np.block does not allow "
            "implicit conversion from tuple to ndarray."
        )
    if not isinstance(arrays, list):
        return 0
    if not arrays:
        raise ValueError(f"List at {name} cannot be empty")
    depths = {_block_depth(a, (*where, k)) for k, a in enumerate(arrays)}
    if len(depths) > 1:
        raise ValueError(f"List depths are mismatched under {name}")
    return depths.pop() + 1


Placed = list[tuple[tuple[int, ...], Traced]]


def _arrange(arrays: Any, parts: Iterator[Traced], depth: int, rank: int) -> tuple[tuple[int, ...], Placed]:
    """The shape of a block and the corner of every part in it."""
    if not isinstance(arrays, list):
        part = next(parts)
        return part.shape, [((0,) * rank, part)]
    axis = rank - depth
    placed: Placed = []
    shapes, at = [], 0
    for item in arrays:
        shape, inside = _arrange(item, parts, depth - 1, rank)
        placed += [((*c[:axis], c[axis] + at, *c[axis + 1 :]), p) for c, p in inside]
        shapes.append(shape)
        at += shape[axis]
    if len({(*s[:axis], *s[axis + 1 :]) for s in shapes}) > 1:
        raise ValueError(f"Mismatched array shapes in block along axis {axis}.")
    return (*shapes[0][:axis], at, *shapes[0][axis + 1 :]), placed


# --- np.r_, np.c_ ----------------------------------------------------------------------------------------


def joined_by_subscript(owner: Any, key: Any) -> Traced:
    """`np.r_[…]` and `np.c_[…]`: arrays, numbers and static ranges, without the string directives."""
    columns = isinstance(owner, type(np.c_))
    items = key if isinstance(key, tuple) else (key,)
    if any(isinstance(item, str) for item in items):
        raise UnsupportedError(
            "a string in np.r_ or np.c_ is not supported", loc=user_loc(), hint="use np.concatenate"
        )
    operands = [np.r_[item] if isinstance(item, slice) else item for item in items]
    dtype = result_dtype(*(o if type(o) in PYTHON_NUMBERS else as_traced(o) for o in map(_lifted, operands)))
    parts = [at_least(strong(_lifted(o)), 1) for o in operands]
    if columns:
        parts = [p[:, None] if p.ndim == 1 else p for p in parts]
    return concatenate(parts, -1 if columns else 0, dtype=dtype, casting="unsafe")


def _lifted(item: Any) -> Any:
    from sparsec.frontend.numpy_api.creation import array

    return array(item.tolist(), item.dtype) if type(item) is np.ndarray else item


SUBSCRIPTS.update(dict.fromkeys((type(np.r_), type(np.c_)), joined_by_subscript))
