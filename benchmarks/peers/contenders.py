"""What takes part: each installed tool with its own version of a function and its own kind of arrays.

A contender's `call` ends when the result is there (JAX returns earlier). Its first call compiles.
"""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import textwrap
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np

import sparsec
from benchmarks.postprocess.case import Case

__all__ = ["NAMES", "Contender", "contenders", "versions"]

#: In the order of the tables.
NAMES = ("numpy", "sparsec", "numba", "torch", "torch.compile", "jax")


@dataclass(frozen=True)
class Contender:
    """`call()` runs the function on `args`. to_numpy: a result or an argument as NumPy has it. ran_eager: whether
    something ran that was not compiled, asked after the first call. in_place: whether it writes to its arguments."""

    name: str
    call: Callable[[], Any]
    args: tuple[Any, ...]
    to_numpy: Callable[[Any], Any] = lambda x: x
    ran_eager: Callable[[], bool] = lambda: False
    in_place: bool = True


def installed(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def versions() -> dict[str, str]:
    """Of everything that takes part."""
    found = {}
    for name in ("numpy", "sparsec", "numba", "torch", "jax", "llvmlite"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def contenders(case: Case, given: tuple[Any, ...]) -> Iterator[Contender]:
    """All that are installed, each with arguments of its own."""
    makers = {"numpy": _numpy, "sparsec": _sparsec, "numba": _numba, "torch": _torch,
              "torch.compile": _torch_compile, "jax": _jax}
    for name in NAMES:
        module = name.partition(".")[0]
        if installed(module):
            yield makers[name](case, copy.deepcopy(given))


def _numpy(case: Case, args: tuple[Any, ...]) -> Contender:
    return Contender("numpy", lambda: case.fn(*args), args)


def _sparsec(case: Case, args: tuple[Any, ...]) -> Contender:
    compiled = sparsec.jit(case.fn, static_argnames=case.static_argnames)
    return Contender("sparsec", lambda: compiled(*args), args)


def _numba(case: Case, args: tuple[Any, ...]) -> Contender:
    import numba

    warnings.simplefilter("ignore", numba.core.errors.NumbaWarning)
    compiled = numba.njit(respelled(case.fn))
    return Contender("numba", lambda: compiled(*args), args)


def respelled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with `out=` of ufuncs by position and `np.bool_` for `bool`: numba takes these, and not those."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    space = dict(function.__globals__)
    code = compile(ast.fix_missing_locations(_Respell().visit(tree)), function.__code__.co_filename, "exec")
    exec(code, space)  # noqa: S102  our own functions, spelt otherwise
    made: Callable[..., Any] = space[function.__name__]
    return made


class _Respell(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        for keyword in list(node.keywords):
            match keyword:
                case ast.keyword("out", value) if _is_ufunc(node.func):
                    node.args.append(value)
                    node.keywords.remove(keyword)
                case ast.keyword("dtype", ast.Name("bool")):
                    keyword.value = ast.parse("np.bool_", mode="eval").body
        return node


def _is_ufunc(function: ast.expr) -> bool:
    match function:
        case ast.Attribute(ast.Name("np"), name):
            return isinstance(getattr(np, name, None), np.ufunc)
    return False


# --- torch -------------------------------------------------------------------------------------------------


def _torch_args(args: tuple[Any, ...]) -> tuple[Any, ...]:
    import torch

    return tuple(torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in args)


def _torch_numpy(x: Any) -> Any:
    import torch

    return x.numpy() if isinstance(x, torch.Tensor) else x


def _torch(case: Case, args: tuple[Any, ...]) -> Contender:
    from benchmarks.peers.torch_functions import FUNCTIONS

    function, tensors = FUNCTIONS[case.name], _torch_args(args)
    return Contender("torch", lambda: function(*tensors), tensors, _torch_numpy)


def _torch_compile(case: Case, args: tuple[Any, ...]) -> Contender:
    import torch
    from torch._dynamo.utils import counters

    from benchmarks.peers.torch_functions import FUNCTIONS

    torch._dynamo.reset()
    counters.clear()
    function, tensors = torch.compile(FUNCTIONS[case.name]), _torch_args(args)

    def ran_eager() -> bool:
        return bool(counters["graph_break"]) or not counters["stats"].get("unique_graphs")

    return Contender("torch.compile", lambda: function(*tensors), tensors, _torch_numpy, ran_eager)


def _jax(case: Case, args: tuple[Any, ...]) -> Contender:
    import jax

    from benchmarks.peers.jax_functions import FUNCTIONS

    function = FUNCTIONS[case.name]
    arrays = tuple(jax.device_put(a) if isinstance(a, np.ndarray) else a for a in args)
    return Contender("jax", lambda: jax.block_until_ready(function(*arrays)), arrays, _from_jax, in_place=False)


def _from_jax(x: Any) -> Any:
    return np.asarray(x) if hasattr(x, "devices") else x
