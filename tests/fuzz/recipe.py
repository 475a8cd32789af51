"""What a program is called with, as data: buffers, and arguments that are views of them.

Two arguments overlap if their views name one buffer, so aliasing is part of the recipe. A recipe prints as
Python that builds it again (`recipe_text`), which is how a found case is stored.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

PYTHON_TYPES = {"int": int, "float": float, "bool": bool, "complex": complex}


@dataclass(frozen=True)
class Buffer:
    """One allocation. `data`: its numbers; complex elements take two. `shift`: bytes it is misaligned by."""

    dtype: str
    data: tuple[Any, ...]
    shift: int = 0


@dataclass(frozen=True)
class View:
    """An array argument: offset and strides in elements of the buffer. Always laid inside it."""

    buffer: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    writeable: bool = True


@dataclass(frozen=True)
class Scalar:
    """A number argument: of a Python type (`float`) or a NumPy dtype (`f4`). Complex values are (re, im)."""

    type: str
    value: Any


@dataclass(frozen=True)
class Same:
    """The very object that leaf number `leaf` is."""

    leaf: int


Leaf = View | Scalar | Same


@dataclass(frozen=True)
class Recipe:
    """Buffers and arguments; an argument is a leaf, or a tuple, list or dict of leaves."""

    buffers: tuple[Buffer, ...]
    args: tuple[Any, ...]

    def build(self) -> tuple[tuple[Any, ...], list[np.ndarray]]:
        """The arguments in fresh memory, and the buffers behind them."""
        roots = [allocate(b) for b in self.buffers]
        leaves: list[Any] = []
        return tuple(_build(a, roots, leaves) for a in self.args), roots


def width(dtype: np.dtype[Any]) -> int:
    """Numbers of `Buffer.data` that make one element."""
    return 2 if dtype.kind == "c" else 1


def allocate(buffer: Buffer) -> np.ndarray:
    dtype = np.dtype(buffer.dtype)
    part = np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype
    count = len(buffer.data) // width(dtype)
    raw = np.empty(count * dtype.itemsize + 16, np.uint8)
    root = np.ndarray((count,), dtype, raw, buffer.shift)
    np.ndarray((len(buffer.data),), part, raw, buffer.shift)[:] = np.array(buffer.data, part)
    return root


def _build(arg: Any, roots: list[np.ndarray], leaves: list[Any]) -> Any:
    match arg:
        case View():
            root = roots[arg.buffer]
            size = root.itemsize
            strides = [s * size for s in arg.strides]
            made: Any = np.ndarray(arg.shape, root.dtype, root, arg.offset * size, strides)
            made.flags.writeable = arg.writeable
        case Scalar(type=kind, value=value):
            number = complex(*value) if isinstance(value, tuple) else value
            made = PYTHON_TYPES[kind](number) if kind in PYTHON_TYPES else np.dtype(kind).type(number)
        case Same(leaf=k):
            made = leaves[k]
        case dict():
            return {key: _build(item, roots, leaves) for key, item in arg.items()}
        case _:
            return type(arg)(_build(item, roots, leaves) for item in arg)
    leaves.append(made)
    return made


def recipe_leaves(args: Any) -> list[Leaf]:
    """The leaves of arguments, left to right."""
    if isinstance(args, (View, Scalar, Same)):
        return [args]
    items = args.values() if isinstance(args, dict) else args
    return [leaf for item in items for leaf in recipe_leaves(item)]


def recipe_text(value: Any, indent: str = "") -> str:
    """Python source of a recipe, one buffer or argument per line; NaN and inf print as `nan` and `inf`."""
    if isinstance(value, Recipe):
        inner = indent + "    "
        parts = {"buffers": value.buffers, "args": value.args}
        lines = "".join(f"{inner}{name}={_lines(items, inner)},\n" for name, items in parts.items())
        return f"Recipe(\n{lines}{indent})"
    if isinstance(value, (Buffer, View, Scalar, Same)):
        given = [getattr(value, f.name) for f in fields(value) if getattr(value, f.name) is not f.default]
        return f"{type(value).__name__}({', '.join(map(recipe_text, given))})"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(recipe_text, value)) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, list):
        return "[" + ", ".join(map(recipe_text, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k!r}: {recipe_text(v)}" for k, v in value.items()) + "}"
    return repr(value)


def _lines(items: tuple[Any, ...], indent: str) -> str:
    return "(\n" + "".join(f"{indent}    {recipe_text(i)},\n" for i in items) + f"{indent})"
