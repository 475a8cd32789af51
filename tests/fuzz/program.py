"""A random program: the source text of a function `f`, and the calls that are made of it."""

from __future__ import annotations

import math
import textwrap
import warnings
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

from tests.fuzz import data
from tests.fuzz.grammar import byte_views, control, rebinding  # noqa: F401  # they add their statements
from tests.fuzz.grammar.scope import Rejected, Scope
from tests.fuzz.grammar.statements import STATEMENTS, WEIGHTS
from tests.fuzz.recipe import Recipe

HEADER = "import numpy as np\n"
_KEEP_ERROR = 0.06
#: What NumPy raises for programs that have no meaning.
REFUSALS = (ValueError, TypeError, IndexError, OverflowError, ZeroDivisionError)


@dataclass(frozen=True)
class Program:
    """Source and calls. `inexact`: floating-point values may be off by some rounding. `staged`: every loop of
    two turns or more becomes a loop op, where it would be unrolled otherwise."""

    source: str
    calls: tuple[Recipe, ...]
    inexact: bool = False
    staged: bool = False


def generate(seed: int, number: int) -> Program:
    """Program `number` of a seed. Depends on nothing else."""
    rng = Random(f"{seed}:{number}")
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _generate(rng)


def _generate(rng: Random) -> Program:
    recipe = data.random_recipe(rng)
    args, _ = recipe.build()
    params, opening, values = parameters(args)
    twice = rng.random() < 0.15
    scope = Scope(rng, values, twice)
    wanted = rng.choices((2, 3, 4, 5, 6, 7, 9), (8, 18, 22, 20, 14, 10, 8))[0]
    failed = _draw(scope, wanted)
    ending = "" if failed else f"return {_result(scope)}"
    body = "\n".join([*opening, *scope.chunks, ending])
    source = HEADER + "".join(f"\n\n{h}" for h in scope.helpers) + (
        f"\n\ndef f({', '.join(params)}):\n{textwrap.indent(body, '    ').rstrip()}\n")
    calls = (recipe, data.realiased(rng, recipe), recipe) if twice else (recipe,)
    return Program(source, calls, scope.any_inexact, rng.random() < 0.6)


def parameters(args: tuple[Any, ...]) -> tuple[list[str], list[str], dict[str, Any]]:
    """Parameter names, the statements that open containers, and every leaf by its name."""
    params: list[str] = []
    opening: list[str] = []
    values: dict[str, Any] = {}
    for arg in args:
        if isinstance(arg, (tuple, list, dict)):
            params.append(f"p{len(params)}")
            names = [f"a{len(values) + k}" for k in range(len(arg))]
            if isinstance(arg, dict):
                opening += [f"{n} = {params[-1]}[{k!r}]" for n, k in zip(names, arg)]
                values.update(zip(names, arg.values()))
            else:
                opening.append(f"{', '.join(names)} = {params[-1]}")
                values.update(zip(names, arg))
        else:
            params.append(f"a{len(values)}")
            values[params[-1]] = arg
    return params, opening, values


def _draw(scope: Scope, wanted: int) -> bool:
    """Draws statements; True if the last one is one that NumPy refuses."""
    for _ in range(wanted * 8):
        if len(scope.chunks) >= wanted:
            break
        rule = scope.rng.choices(STATEMENTS, WEIGHTS)[0]
        scope.attempt = ""
        try:
            rule(scope)
        except Rejected:
            continue
        except REFUSALS:
            if scope.attempt and scope.rng.random() < _KEEP_ERROR:
                scope.chunks.append(scope.attempt)
                return True
    return False


def _result(scope: Scope) -> str:
    """What is returned: variables (the last ones likelier), views made on the spot, in some container."""
    rng = scope.rng
    newest, made = scope.names[-4:], [n for n in scope.names if n[0] == "v"]
    if rng.random() < 0.5:
        items = made[-6:]  # all that was computed: nothing wrong stays unseen
    else:
        items = [rng.choice(newest) if rng.random() < 0.7 else rng.choice(scope.names)
                 for _ in range(rng.choices((0, 1, 2, 3), (4, 36, 40, 20))[0])]
    items += scope.only_returned
    for k, name in enumerate(items):
        value = scope.space[name]
        if rng.random() < 0.15 and isinstance(value, np.ndarray):
            key = "..." if value.ndim == 0 else rng.choice(("...", "1:", "::-1", ":1"))
            items[k] = f"{name}[{key}]"
    if not items:
        return rng.choice(("None", "3", "()"))
    if len(items) == 1 and rng.random() < 0.8:
        return items[0]
    style = rng.random()
    if style < 0.75:
        return f"({', '.join(items)},)"
    if style < 0.87:
        return f"[{', '.join(items)}]"
    return "{" + ", ".join(f"'r{k}': {item}" for k, item in enumerate(items)) + "}"


def size(program: Program) -> int:
    """How big a program is, for the shrinker."""
    shapes = sum(math.prod(leaf.shape) for c in program.calls for leaf in _views(c))
    return len(program.source) + shapes


def _views(recipe: Recipe) -> list[Any]:
    from tests.fuzz.recipe import View, recipe_leaves

    return [leaf for leaf in recipe_leaves(recipe.args) if isinstance(leaf, View)]
