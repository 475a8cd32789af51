"""`sparsec dump`: compiles a function of a Python file and shows a stage of it as text.

    sparsec dump boxes.py:decode --spec "f32[1000,4], f32[1000,4]" --stage loops
    sparsec dump net.py:layer --spec "f32[8,64], f32[64,32], 0.5" --static act=relu --stage all -o layer.txt

The spec has an item for each positional argument: a type (`f32[1000,4]`, `f32[4] @x:(2)` for every second
element of a storage x, `f32` for a scalar, `f32[1,4 of 8 @%i,7,7]` for at most 4 of 8 channels) or a Python literal
(`3`, `0.5`, `"str"`, `True`). Items that name the same storage overlap, those that name the same index have the same
channels. Arrays are zeros; the function is traced and compiled, not run.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from sparsec.compiler import BACKENDS, STAGES
from sparsec.errors import ArgumentError, ParseError, SparsecError
from sparsec.frontend.jit import Jitted, jit
from sparsec.ir.tensorref import TensorRef, contiguous_strides, span
from sparsec.ir.text import parse_types
from sparsec.ir.types import TensorType
from sparsec.sparse.channel import ChannelSparse

__all__ = ["add_function", "add_arguments", "example_arguments", "jitted", "load_function", "run", "static_arguments",
           "write_out"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the subcommand takes."""
    add_function(parser)
    parser.add_argument("--stage", default="trace", help=f"{', '.join(STAGES)}, the name of a pass, or all")
    parser.add_argument("-o", "--output", metavar="FILE", help="write there instead of printing")


def add_function(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which function is meant, and for which arguments it is compiled."""
    add = parser.add_argument
    add("function", metavar="FILE.py:FUNCTION", help="a function of a file, jitted or plain")
    add("--spec", default="", help="the positional arguments: types and literals, separated by commas")
    add("--static", action="append", default=[], metavar="NAME=VALUE", help="a static argument by keyword")
    add("--backend", choices=sorted(BACKENDS), default=None, help="default: the function's own")


def run(args: argparse.Namespace) -> int:
    """Prints the stage, or writes it to a file."""
    static = static_arguments(args)
    write_out(jitted(args, static).trace(*example_arguments(args.spec), **static).as_text(args.stage), args.output)
    return 0


def static_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """What `--static` gives, by name."""
    return dict(_static(word) for word in args.static)


def jitted(args: argparse.Namespace, static: Iterable[str]) -> Jitted[..., Any]:
    """The function that the command line names, with its own options where that leaves them open."""
    function = load_function(args.function)
    plain = getattr(function, "__sparsec_function__", function)
    backend = args.backend or getattr(function, "backend", None)
    names = (*getattr(function, "static_argnames", ()), *static)
    return jit(plain, backend=backend, static_argnames=tuple(dict.fromkeys(names)))


def write_out(text: str, file: str | None) -> None:
    """Prints a text, or writes it to a file. Raises ArgumentError."""
    text = text if text.endswith("\n") else text + "\n"
    if file is None:
        print(text, end="")
        return
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ArgumentError(f"cannot write {file}: {error.strerror}") from None


# --- the function ----------------------------------------------------------------------------------------


def load_function(place: str) -> Any:
    """The function that `FILE.py:name` names (`name` may have dots). Raises ArgumentError."""
    file, _, name = place.rpartition(":")
    if not file or not name:
        raise ArgumentError(f"{place!r} names no function", hint="write FILE.py:FUNCTION")
    found: Any = _import(Path(file))
    for part in name.split("."):
        if not hasattr(found, part):
            raise ArgumentError(f"{file} has no {name}", hint=_offers(found))
        found = getattr(found, part)
    if not callable(found):
        raise ArgumentError(f"{name} in {file} is not a function")
    return found


def _import(path: Path) -> ModuleType:
    if not path.is_file():
        raise ArgumentError(f"there is no file {path}")
    # A name that no installed module has: a file may well be called test.py.
    spec = importlib.util.spec_from_file_location(f"_dumped_{path.stem}", path.resolve())
    if spec is None or spec.loader is None:
        raise ArgumentError(f"{path} is no Python file", hint="its name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # its neighbours are importable, as when Python runs it
    try:
        spec.loader.exec_module(module)
    except SparsecError:
        raise
    except Exception as error:
        raise ArgumentError(f"cannot import {path}: {type(error).__name__}: {error}") from error
    return module


def _offers(module: Any) -> str:
    names = (
        [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")] if vars(module) else []
    )
    return f"it has {', '.join(names[:20])}" if names else ""


# --- its arguments ---------------------------------------------------------------------------------------


def _static(word: str) -> tuple[str, Any]:
    name, equals, value = word.partition("=")
    if not equals or not name.isidentifier():
        raise ArgumentError(f"--static {word}: write NAME=VALUE")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value  # a bare word is a string


def example_arguments(spec: str) -> tuple[Any, ...]:
    """Arguments that a spec describes: zeros, NumPy scalars and Python literals. Raises ParseError."""
    items = [_item(text) for text in _split(spec)]
    extents: dict[str, int] = {}
    for item in items:
        if isinstance(item, TensorType) and item.ref is not None:
            size = span(item.ref, _static_shape(item))[1]
            extents[item.ref.storage] = max(extents.get(item.ref.storage, 0), size)
    storages: dict[str, np.ndarray] = {}
    indexes: dict[str, np.ndarray] = {}
    return tuple(
        _sparse(item, indexes) if isinstance(item, TensorType) and item.channels is not None
        else _argument(item, storages, extents) for item in items
    )


def _sparse(type: TensorType, indexes: dict[str, np.ndarray]) -> ChannelSparse:
    """`f32[1,4 of 8 @%i,14,14]`: the first 4 of 8 channels, which may be any 4; @i: those that @i has elsewhere."""
    assert type.channels is not None
    channels, shape = type.channels, _static_shape(type)
    live = shape[channels.axis]
    index = indexes.setdefault(channels.index, np.arange(live, dtype=np.int32))
    return ChannelSparse(np.zeros(shape, type.dtype), index, channels.full, channels.axis, cap=live)


def _split(spec: str) -> Sequence[str]:
    """The items of a spec: at commas outside brackets and quotes."""
    items, depth, quote, start = [], 0, "", 0
    for k, char in enumerate(spec):
        if quote:
            quote = "" if char == quote and spec[k - 1] != "\\" else quote
        elif char in "'\"":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and depth == 0:
            items.append(spec[start:k])
            start = k + 1
    items.append(spec[start:])
    return [item.strip() for item in items] if spec.strip() else []


def _item(text: str) -> Any:
    """A type, or the value of a Python literal."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        pass
    types = parse_types(text, "--spec")
    if len(types) != 1:
        raise ParseError(f"`{text}` in --spec is neither a type nor a literal")
    return types[0]


def _static_shape(type: TensorType) -> tuple[int, ...]:
    try:
        shape = type.static_shape
    except TypeError:
        raise ArgumentError(f"{type} in --spec has dims without a size", hint="write numbers") from None
    if any(d < 0 for d in shape):
        raise ArgumentError(f"{type} in --spec has a negative size")
    return shape


def _argument(item: Any, storages: dict[str, np.ndarray], extents: dict[str, int]) -> Any:
    if not isinstance(item, TensorType):
        return item
    shape = _static_shape(item)
    if item.ref is None:
        return np.zeros(shape, item.dtype) if shape else item.dtype.type(0)
    ref: TensorRef = item.ref
    flat = storages.setdefault(ref.storage, np.zeros(extents[ref.storage], item.dtype))
    if flat.dtype != item.dtype:
        raise ArgumentError(f"storage @{ref.storage} in --spec has two dtypes")
    strides = tuple(int(s) * item.dtype.itemsize for s in ref.strides or contiguous_strides(shape))  # type: ignore[arg-type]
    return np.lib.stride_tricks.as_strided(flat[int(ref.offset) :], shape, strides)  # type: ignore[arg-type]
