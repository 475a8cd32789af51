"""Index keys as text: slices with every sign, ints, Ellipsis, newaxis, integer arrays."""

from __future__ import annotations

from random import Random

from tests.fuzz.grammar.scope import Rejected


def slice_text(rng: Random, dim: int, start: int, step: int, count: int) -> str:
    """One of the ways to write `count` elements of an axis from `start` in steps of `step`."""
    if count == 0:
        return rng.choice(("0:0", f"{dim}:", "2:1", ":0"))
    stop = start + step * count
    if step > 0:
        # The last step may overshoot; any stop beyond the last element does.
        stop = rng.randint(start + step * (count - 1) + 1, stop)
        first = str(start - dim if rng.random() < 0.25 else start)
        first = "" if start == 0 and rng.random() < 0.7 else first
        last = "" if stop >= dim and (rng.random() < 0.7 or stop > dim + 2) else str(stop)
        if last and stop < dim and rng.random() < 0.3:
            last = str(stop - dim)
    else:
        first = "" if start == dim - 1 and rng.random() < 0.7 else str(start)
        last = "" if stop < 0 else str(stop - dim if rng.random() < 0.3 else stop)
    text = f"{first}:{last}"
    return text if step == 1 and rng.random() < 0.9 else f"{text}:{step}"


def random_slice(rng: Random, dim: int) -> str:
    style = rng.random()
    if style < 0.3:
        return ":"
    if style < 0.45:
        return "::-1"
    if style < 0.55:
        return f"::{rng.choice((2, -2, 3))}"
    if style < 0.65:
        return rng.choice(("1:", ":-1", "-2:", ":2", "-1:0:-1"))
    if dim == 0 or style < 0.68:
        return slice_text(rng, dim, 0, 1, 0)
    count = rng.randint(1, dim)
    return placed_slice(rng, dim, count)


def placed_slice(rng: Random, dim: int, count: int) -> str:
    """Some slice of an axis that selects exactly `count` elements, which must be possible."""
    if count == 0:
        return slice_text(rng, dim, 0, 1, 0)
    widest = (dim - 1) // (count - 1) if count > 1 else 2
    step = rng.randint(1, max(1, min(widest, 3)))
    room = dim - 1 - step * (count - 1)
    start = rng.randint(0, room)
    if rng.random() < 0.35:
        start, step = start + step * (count - 1), -step
    return slice_text(rng, dim, start, step, count)


def index(rng: Random, dim: int) -> str:
    if dim == 0:
        raise Rejected
    return str(rng.randint(-dim, dim - 1))


def basic_key(rng: Random, shape: tuple[int, ...], ints: float = 0.25) -> str:
    """A random basic key for an array of this shape, without brackets."""
    if not shape:
        return rng.choice(("...", "()", "None", "..., None"))
    if rng.random() < 0.08:
        return rng.choice(("...", ":"))
    used = len(shape) if rng.random() < 0.7 else rng.randint(1, len(shape))
    items = [index(rng, d) if d and rng.random() < ints else random_slice(rng, d) for d in shape[:used]]
    if rng.random() < 0.12:
        items.insert(rng.randint(0, len(items)), "None")
    if rng.random() < 0.12:
        if used == len(shape):
            items.insert(rng.randint(0, len(items)), "...")
        else:
            items.append("...")
    return ", ".join(items)


def key_of_shape(rng: Random, shape: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """A key that selects an array of shape `wanted`. Raises Rejected where the shapes do not allow it."""
    extra = len(shape) - len(wanted)
    if extra < 0:
        raise Rejected
    dropped = set(rng.sample(range(len(shape)), extra))
    items, left = [], list(wanted)
    for axis, dim in enumerate(shape):
        if axis in dropped:
            items.append(index(rng, dim))
            continue
        count = left.pop(0)
        if count > dim:
            raise Rejected
        style = rng.random()
        items.append(placed_slice(rng, dim, count) if count != dim or style < 0.15 else
                     "::-1" if style < 0.45 and dim > 1 else ":")
    if not items:
        return "..."
    return ", ".join(items)


def region(rng: Random, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that several different keys of an array can select."""
    return tuple(rng.randint(max(d - 2, min(d, 1)), d) if rng.random() < 0.7 else d
                 for d in shape[rng.choice((0, 0, 0, 1)):])


def integers(rng: Random, dim: int, count: int) -> str:
    """A list of indexes into an axis, negative ones and duplicates included."""
    if dim == 0:
        raise Rejected
    found = [rng.randint(-dim, dim - 1) for _ in range(count)]
    if count > 1 and rng.random() < 0.5:
        found[-1] = found[0]
    return f"[{', '.join(map(str, found))}]"


def fancy_key(rng: Random, shape: tuple[int, ...]) -> str:
    """A key with one or two integer arrays in it."""
    if not shape:
        raise Rejected
    count = rng.randint(1, 4)
    items = []
    arrays = rng.sample(range(len(shape)), min(len(shape), rng.choice((1, 1, 1, 2))))
    for axis, dim in enumerate(shape):
        if axis in arrays:
            text = integers(rng, dim, count)
            style = rng.random()
            if style < 0.3:
                text = f"np.array({text})"
            elif style < 0.4 and len(arrays) == 1:
                text = f"np.array([{text}, {text}])"
            items.append(text)
        else:
            items.append(index(rng, dim) if dim and rng.random() < 0.15 else random_slice(rng, dim))
    while len(items) > 1 and items[-1] == ":":
        items.pop()
    return ", ".join(items)
