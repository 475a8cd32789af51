"""Makes a differing program small while it still differs in the same way.

Greedy: every smaller neighbour is tried until none differs. Neighbours of the source come from its syntax
tree (a statement less, an expression replaced by a part of it), those of the calls from their recipes.
"""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from tests.fuzz.program import Program
from tests.fuzz.runner import Config, Workshop
from tests.fuzz.shrink_recipe import smaller_recipes, without_argument

Check = Callable[[Program], bool]


def kind(message: str) -> str:
    """What differs: the first word of a message (value, dtype, layout, …)."""
    return message.split(":")[0]


def _sort(message: str) -> list[str]:
    return message.split(":")[: 2 if kind(message) == "error" else 1]


def shrink(program: Program, way: Config, message: str, workshop: Workshop, seconds: float = 30.0) -> Program:
    """The smallest program found in time whose difference is of the same kind, an error of the same class."""
    raises = workshop.check(program, ()).raised
    crashes = kind(message) == "crash"

    def differs(candidate: Program) -> bool:
        try:
            outcome = workshop.check_apart(candidate, way) if crashes else workshop.check(candidate, (way,))
        except Exception:  # a candidate need not even be a program
            return False
        found = outcome.mismatches.get(way, "")
        return _sort(found) == _sort(message) and (crashes or outcome.raised == raises)

    return minimise(program, differs, time.monotonic() + seconds)


def minimise(program: Program, differs: Check, deadline: float) -> Program:
    """Greedy descent over all neighbours, the coarse ones first."""
    tried: set[str] = set()
    progress = True
    while progress:
        progress = False
        for candidate in _neighbours(program):
            text = repr(candidate)
            if text in tried:
                continue
            tried.add(text)
            if time.monotonic() > deadline:
                return program
            if differs(candidate):
                program, progress = candidate, True
                break
    return program


def _neighbours(program: Program) -> Iterator[Program]:
    if len(program.calls) > 1:
        for k in range(len(program.calls)):
            yield replace(program, calls=program.calls[:k] + program.calls[k + 1:])
    for source in smaller_sources(program.source):
        yield replace(program, source=source)
    yield from _fewer_arguments(program)
    for k, recipe in enumerate(program.calls):
        for smaller in smaller_recipes(recipe):
            yield replace(program, calls=(*program.calls[:k], smaller, *program.calls[k + 1:]))


def _fewer_arguments(program: Program) -> Iterator[Program]:
    tree = ast.parse(program.source)
    main = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "f")
    for k in range(len(main.args.args)):
        recipes = [without_argument(r, k) for r in program.calls]
        if len(main.args.args) > 1 and None not in recipes:
            taken = main.args.args.pop(k)
            yield replace(program, source=ast.unparse(tree) + "\n", calls=tuple(r for r in recipes if r))
            main.args.args.insert(k, taken)


# --- source -----------------------------------------------------------------------------------------------


def smaller_sources(source: str) -> Iterator[str]:
    """Every source that one edit of the syntax tree makes. The tree is edited in place and put back."""
    tree = ast.parse(source)
    for parent in list(ast.walk(tree)):
        for field in ("body", "orelse"):
            body = getattr(parent, field, None)
            if isinstance(body, list):
                yield from _fewer_statements(tree, body)
    for parent in list(ast.walk(tree)):
        for name, value in list(ast.iter_fields(parent)):
            if isinstance(value, list):
                yield from _edit_list(tree, parent, name, value)
            elif isinstance(value, ast.expr):
                for new in _smaller(value):
                    setattr(parent, name, new)
                    yield ast.unparse(tree) + "\n"
                setattr(parent, name, value)


def _fewer_statements(tree: ast.Module, body: list[ast.stmt]) -> Iterator[str]:
    for k in range(len(body)):
        statement = body[k]
        if len(body) > 1:
            del body[k]
            yield ast.unparse(tree) + "\n"
            body.insert(k, statement)
        inner = getattr(statement, "body", None)
        if isinstance(inner, list) and not isinstance(statement, ast.FunctionDef):
            body[k: k + 1] = inner
            yield ast.unparse(tree) + "\n"
            body[k: k + len(inner)] = [statement]
        if isinstance(statement, ast.AugAssign):
            body[k] = ast.copy_location(ast.Assign([statement.target], statement.value), statement)
            yield ast.unparse(tree) + "\n"
            body[k] = statement


def _edit_list(tree: ast.Module, parent: ast.AST, name: str, items: list[Any]) -> Iterator[str]:
    """Elements of a tuple, arguments, keywords: replaced by something smaller, or left out."""
    for k, item in enumerate(list(items)):
        if isinstance(item, ast.expr):
            for new in _smaller(item):
                items[k] = new
                yield ast.unparse(tree) + "\n"
            items[k] = item
        droppable = name in ("elts", "keywords") or (name == "args" and isinstance(parent, ast.Call))
        if droppable and (len(items) > 1 or name == "keywords"):
            del items[k]
            yield ast.unparse(tree) + "\n"
            items.insert(k, item)


def _smaller(node: ast.expr) -> Iterator[ast.expr]:
    """Expressions that may stand for `node`: its parts, and plainer literals and slices."""
    if isinstance(node, ast.Slice):
        parts = {name: getattr(node, name) for name in ("step", "lower", "upper")}
        yield from (ast.Slice(**{**parts, name: None}) for name, part in parts.items() if part is not None)
        return
    if isinstance(node, ast.Constant):
        if isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
            for plain in (0, 1):
                if repr(node.value) != repr(plain) and abs(node.value) > plain:
                    yield ast.Constant(plain)
        return
    if isinstance(getattr(node, "ctx", None), ast.Store):
        return
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr) and not isinstance(child, ast.Slice):
            yield child
    if isinstance(node, ast.Dict):
        yield from (v for v in node.values if v)
