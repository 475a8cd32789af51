"""`sparsec run`: runs a function from the text of the graph IR and shows its results.

    sparsec run f.sir --seed 7                 random arguments
    sparsec run f.sir --args in.npz            arrays named like the parameters, or arr_0, arr_1, … in order

An argument is the flat storage of its parameter, or an array of the parameter's shape where that is the whole
storage. Results are printed; `--out` saves them, and the storages that were written, to a file.
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsec.cli.opt import read_functions
from sparsec.errors import ArgumentError
from sparsec.ir.dims import Dim, Poly, evaluate, symbols
from sparsec.ir.graph import Func, Value
from sparsec.ir.interp import interpret
from sparsec.ir.tensorref import TensorRef, span
from sparsec.ir.verify import verify

__all__ = ["add_arguments", "random_arguments", "run"]

_DEFAULT_DIM = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the subcommand takes."""
    add = parser.add_argument
    add("file", help="a file with one function, `-` for standard input")
    add("--args", metavar="FILE.npz", help="the arguments; random ones by default")
    add("--seed", type=int, default=0, help="of the random arguments")
    add("--dim", action="append", default=[], metavar="N=SIZE", help="the value of a symbolic dim")
    add("--out", metavar="FILE.npz", help="save results and written storages")


def run(args: argparse.Namespace) -> int:
    """Prints the results and the written storages."""
    funcs = read_functions(args.file)
    if len(funcs) != 1:
        raise ArgumentError(f"{args.file} has {len(funcs)} functions; `run` needs one")
    (func,) = funcs
    verify(func)
    dims = _dims(args.dim)
    if args.args is None:
        dims = {**_small_dims(func), **dims}
        given = random_arguments(func, args.seed, dims)
    else:
        given = _read_arguments(func, args.args)
    results, writes = interpret(func, given, dims)
    shown = {f"result {k}": r for k, r in enumerate(results)}
    shown.update((f"storage {v.storage}", w) for v, w in zip(func.writes, writes))
    for name, array in shown.items():
        print(f"{name}: {array.dtype}{list(array.shape)}\n{array}")
    if args.out:
        named: dict[str, Any] = {name.replace(" ", "_"): array for name, array in shown.items()}
        np.savez(args.out, **named)
    return 0


def random_arguments(func: Func, seed: int, dims: dict[str, int]) -> list[np.ndarray]:
    """Random flat storages for the parameters; those of one storage get the same elements."""
    rng = np.random.default_rng(seed)
    channels = [p.type.channels for p in func.params if p.type.channels is not None]
    full = {c.index.removeprefix("%"): c.full for c in channels}
    sizes: dict[str, int] = {}
    for param in func.params:
        sizes[param.storage] = max(sizes.get(param.storage, 0), _extent(param, dims))
    flats: dict[str, np.ndarray] = {}
    for param in func.params:
        if param.storage not in flats:
            size = sizes[param.storage]
            flats[param.storage] = (
                np.sort(rng.choice(full[param.name], size, replace=False)).astype(param.type.dtype)
                if param.name in full else _random(rng, param.type.dtype, size)
            )
    return [flats[p.storage] for p in func.params]


def _random(rng: np.random.Generator, dtype: np.dtype[Any], size: int) -> np.ndarray:
    match dtype.kind:
        case "b":
            return rng.integers(0, 2, size).astype(dtype)
        case "i" | "u":
            return rng.integers(0, 8, size).astype(dtype)
        case "c":
            return (rng.standard_normal(size) + 1j * rng.standard_normal(size)).astype(dtype)
    return rng.standard_normal(size).astype(dtype)


def _extent(param: Value, dims: dict[str, int]) -> int:
    def number(dim: Dim) -> int:
        try:
            return evaluate(dim, dims)
        except KeyError as error:
            raise ArgumentError(f"symbol {error.args[0]} of %{param.name} has no value") from None

    ref = TensorRef(param.storage, number(param.ref.offset), tuple(map(number, param.ref.strides)))
    return span(ref, tuple(map(number, param.type.shape)))[1]


def _small_dims(func: Func) -> dict[str, int]:
    """A small size for each symbol, inside its bounds."""
    dims: dict[str, int] = {}
    for param in func.params:
        for dim in param.type.shape:
            for symbol in symbols(dim) if isinstance(dim, Poly) else ():
                top = min(symbol.upper, _DEFAULT_DIM) if symbol.upper >= 0 else _DEFAULT_DIM
                dims[symbol.name] = max(symbol.lower, top)
    return dims


def _dims(words: Sequence[str]) -> dict[str, int]:
    dims: dict[str, int] = {}
    for word in words:
        name, _, size = word.partition("=")
        if not size.isdecimal():
            raise ArgumentError(f"--dim {word}: write N=SIZE")
        dims[name] = int(size)
    return dims


def _read_arguments(func: Func, file: str) -> list[np.ndarray]:
    try:
        with np.load(Path(file), allow_pickle=False) as arrays:
            names = [p.name if p.name in arrays else f"arr_{k}" for k, p in enumerate(func.params)]
            if missing := [p.name for p, name in zip(func.params, names) if name not in arrays]:
                raise ArgumentError(f"{file} has no array for the parameter %{missing[0]}")
            return [arrays[name] for name in names]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(f"cannot read {file}: it is no file of NumPy arrays (.npz)") from None
