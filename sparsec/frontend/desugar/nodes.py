"""Calls, lambdas and functions as nodes of the syntax tree."""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence

__all__ = ["arguments", "call_of", "define", "no_arguments", "thunk"]


def call_of(name: str, args: Sequence[ast.expr], at: ast.AST) -> ast.expr:
    """A call of the function of that name."""
    func = ast.copy_location(ast.Name(name, ast.Load()), at)
    return ast.copy_location(ast.Call(func, list(args), []), at)


def thunk(node: ast.expr) -> ast.expr:
    """The expression as a function without arguments."""
    return ast.copy_location(ast.Lambda(no_arguments(), node), node)


def no_arguments() -> ast.arguments:
    """No parameters."""
    return arguments([])


def arguments(names: Sequence[str]) -> ast.arguments:
    """Plain positional parameters."""
    return ast.arguments([], [ast.arg(n) for n in names], None, [], [], None, [])


def define(name: str, args: ast.arguments, body: list[ast.stmt]) -> ast.FunctionDef:
    """A `def` statement; Python 3.12 wants one field more than 3.11 knows."""
    node = ast.FunctionDef(name=name, args=args, body=body, decorator_list=[], returns=None)
    if sys.version_info >= (3, 12):
        node.type_params = []
    return node
