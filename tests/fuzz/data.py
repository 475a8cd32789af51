"""Random arguments: numbers that break naive code, memory layouts, and arguments that overlap."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np

from tests.fuzz.recipe import Buffer, Leaf, Recipe, Same, Scalar, View, width

#: dtype -> weight.
DTYPES = {"f8": 30, "f4": 16, "i8": 14, "i4": 10, "u1": 6, "b1": 6, "i1": 3, "i2": 3, "u2": 2, "u4": 3,
          "u8": 3, "c8": 3, "c16": 4}
_NAMES, _WEIGHTS = list(DTYPES), list(DTYPES.values())
#: (dims of an argument) -> weight.
_RANKS = ([0, 1, 2, 3, 4], [6, 34, 38, 17, 5])
_DIMS = ([0, 1, 2, 3, 4, 5], [3, 8, 22, 30, 22, 15])
MAX_ELEMENTS = 200


def _float_pool(dtype: str) -> list[float]:
    info = np.finfo(dtype)
    tiny, least, largest = float(info.smallest_normal), float(info.smallest_subnormal), float(info.max)
    return [0.0, -0.0, 1.0, -1.0, 0.5, -1.5, 2.0, 3.25, -7.0, 1e10, math.nan, math.nan, math.inf, -math.inf,
            least, -3 * least, tiny, -largest, largest, float(np.dtype(dtype).type(0.1))]


def _int_pool(dtype: str) -> list[int]:
    info = np.iinfo(dtype)
    low, high = int(info.min), int(info.max)
    rest = [-1, -2, -7] if low < 0 else []
    return [0, 1, 2, 3, 5, 7, 10, low, high, low + 1, high - 1, high // 2, *rest]


SPECIAL: dict[str, list[Any]] = {
    "b1": [False, True], "c8": _float_pool("f4"), "c16": _float_pool("f8"),
    **{d: _float_pool(d) for d in ("f4", "f8")},
    **{d: _int_pool(d) for d in _NAMES if d[0] in "iu"},
}


def numbers(rng: Random, dtype: str, count: int) -> tuple[Any, ...]:
    """`count` elements: all kinds of specials, or small ones for which sums and products are exact."""
    style = rng.random()
    count *= width(np.dtype(dtype))
    if dtype == "b1":
        return tuple(rng.choices([False, True], k=count))
    if style < 0.55:
        return tuple(rng.choices(SPECIAL[dtype], k=count))
    low = 0 if dtype[0] == "u" or style > 0.9 else -4
    whole = rng.choices(range(low, 7), k=count)
    return tuple(whole) if dtype[0] in "iu" else tuple(map(float, whole))


# --- shapes -----------------------------------------------------------------------------------------------


def random_shape(rng: Random) -> tuple[int, ...]:
    rank = rng.choices(*_RANKS)[0]
    if rank == 2 and rng.random() < 0.3:
        return (rng.choice((2, 3, 4)),) * 2
    shape = tuple(rng.choices(*_DIMS, k=rank))
    return shape if math.prod(shape) <= MAX_ELEMENTS else shape[:3]


def related_shape(rng: Random, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that often broadcasts with `shape`."""
    style = rng.random()
    if style < 0.45:
        return shape
    if style < 0.6:
        return shape[rng.randint(0, len(shape)):]
    if style < 0.75:
        return tuple(1 if rng.random() < 0.4 else d for d in shape)
    if style < 0.85:
        return shape[::-1]
    return random_shape(rng)


# --- layouts ----------------------------------------------------------------------------------------------


def laid_out(rng: Random, shape: tuple[int, ...], dtype: str, buffer: int) -> tuple[Buffer, View]:
    """A buffer and a view of `shape` in it: C, Fortran, permuted, reversed, strided, padded, misaligned."""
    style = rng.random()
    rank = len(shape)
    order = list(range(rank))
    steps = [1] * rank
    shift, writeable = 0, rng.random() > 0.02
    if 0.45 <= style < 0.58:
        order.reverse()
    elif 0.58 <= style < 0.63:
        rng.shuffle(order)
    elif 0.63 <= style < 0.76:
        steps = [-1 if rng.random() < 0.6 else 1 for _ in shape]
    elif 0.76 <= style < 0.9:
        steps = [rng.choice((1, 1, 2, 3, -2)) for _ in shape]
    elif 0.9 <= style < 0.95:
        shift = rng.choice((1, 1, 2, 4))
    stretched = {k for k in range(rank) if rng.random() < 0.5} if style >= 0.95 and rank else set()
    strides, reach, low = [0] * rank, 1, 0
    for axis in reversed(order):
        if axis not in stretched:
            strides[axis] = reach * steps[axis]
            low += max(shape[axis] - 1, 0) * max(-strides[axis], 0)
            reach *= max(shape[axis], 1) * abs(steps[axis])
    before, after = (rng.choice((0, 0, 1, 3)), rng.choice((0, 0, 2))) if style > 0.4 else (0, 0)
    data = numbers(rng, dtype, before + reach + after)
    view = View(buffer, before + low, shape, tuple(strides), writeable and not stretched)
    return Buffer(dtype, data, shift), view


def derived(rng: Random, view: View) -> View:
    """Another view of elements of `view`: reversed, transposed, a slice, every second, or the same."""
    offset, shape, strides = view.offset, list(view.shape), list(view.strides)
    for _ in range(rng.choice((0, 1, 1, 2))):
        style = rng.random()
        if style < 0.25 or not shape:
            shape.reverse()
            strides.reverse()
            continue
        axis = rng.randrange(len(shape))
        dim, stride = shape[axis], strides[axis]
        if style < 0.5 and dim:
            offset += (dim - 1) * stride
            strides[axis] = -stride
        elif style < 0.85 and dim > 1:
            first = rng.randint(0, 1)
            offset += first * stride
            shape[axis] = dim - 1
        elif dim > 1:
            shape[axis], strides[axis] = (dim + 1) // 2, stride * 2
    return View(view.buffer, offset, tuple(shape), tuple(strides), view.writeable)


# --- recipes ----------------------------------------------------------------------------------------------


def random_recipe(rng: Random) -> Recipe:
    """One to three arrays, now and then a number; a quarter of the later arrays overlap an earlier one."""
    buffers: list[Buffer] = []
    leaves: list[Leaf] = []
    shape, dtype = random_shape(rng), rng.choices(_NAMES, _WEIGHTS)[0]
    for position in range(rng.choices((1, 2, 3), (35, 45, 20))[0]):
        views = [k for k, leaf in enumerate(leaves) if isinstance(leaf, View)]
        if position and rng.random() < 0.3:
            k = rng.choice(views)
            if rng.random() < 0.2:
                leaves.append(Same(k))
                continue
            view = leaves[k]
            assert isinstance(view, View)
            leaves.append(derived(rng, view))
            if rng.random() < 0.5:
                leaves[k] = derived(rng, view)
            continue
        if position and rng.random() < 0.4:
            dtype = rng.choices(_NAMES, _WEIGHTS)[0]
        buffer, view = laid_out(rng, related_shape(rng, shape) if position else shape, dtype, len(buffers))
        buffers.append(buffer)
        leaves.append(view)
    if rng.random() < 0.12:
        leaves.append(random_scalar(rng))
    return Recipe(tuple(buffers), _bundled(rng, leaves))


def random_scalar(rng: Random) -> Scalar:
    kind = rng.choice(("int", "float", "bool", "f8", "f4", "i8", "i4", "u1", "c16"))
    if kind == "bool":
        return Scalar(kind, rng.random() < 0.5)
    if kind in ("int", "i8", "i4", "u1"):
        return Scalar(kind, rng.choice((0, 1, 2, 3, 7)))
    if kind == "c16":
        return Scalar(kind, (rng.choice((0.0, 1.0, -2.0)), rng.choice((0.0, 1.0, -0.0))))
    return Scalar(kind, rng.choice((0.0, -0.0, 1.0, 2.5, -3.0, math.nan, math.inf)))


def _bundled(rng: Random, leaves: list[Leaf]) -> tuple[Any, ...]:
    """Now and then the first two arguments come in one container."""
    style = rng.random()
    if len(leaves) < 2 or style > 0.08:
        return tuple(leaves)
    first, rest = leaves[:2], leaves[2:]
    if style < 0.03:
        return (tuple(first), *rest)
    if style < 0.05:
        return (first, *rest)
    return ({"p": first[0], "q": first[1]}, *rest)


def realiased(rng: Random, recipe: Recipe) -> Recipe:
    """The same shapes, dtypes and strides, but all buffers of one dtype laid over each other.

    What was disjoint now overlaps: a kernel compiled for disjoint arguments must not serve this call.
    """
    merged: dict[tuple[str, int], int] = {}
    place: list[int] = []
    shift: list[int] = []
    buffers: list[Buffer] = []
    for buffer in recipe.buffers:
        key = (buffer.dtype, buffer.shift)
        extra = rng.choice((0, 0, 1, 2)) * width(np.dtype(buffer.dtype))
        if key not in merged:
            merged[key] = len(buffers)
            buffers.append(buffer)
            extra = 0
        k = merged[key]
        missing = range(len(buffers[k].data), len(buffer.data) + extra)
        more = tuple(buffer.data[at % len(buffer.data)] for at in missing)
        buffers[k] = Buffer(buffer.dtype, buffers[k].data + more, buffer.shift)
        place.append(k)
        shift.append(extra // width(np.dtype(buffer.dtype)))

    def moved(arg: Any) -> Any:
        if isinstance(arg, View):
            return replace(arg, buffer=place[arg.buffer], offset=arg.offset + shift[arg.buffer])
        if isinstance(arg, dict):
            return {k: moved(v) for k, v in arg.items()}
        return type(arg)(map(moved, arg)) if isinstance(arg, (tuple, list)) else arg

    return Recipe(tuple(buffers), moved(recipe.args))
