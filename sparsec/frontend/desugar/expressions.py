"""Operators that evaluate only some of their operands: those become functions."""

from __future__ import annotations

import ast

from sparsec.frontend.desugar.analysis import binds_inside
from sparsec.frontend.desugar.names import AND, BOTH, CHAIN, CHOOSE, EITHER, NOT, OR, PREFIX
from sparsec.frontend.desugar.nodes import arguments, call_of, thunk

__all__ = ["Expressions", "as_test"]


def as_test(node: ast.expr) -> ast.expr:
    """Marks the `and` and `or` of which only the truth is asked for: their operands may be of any kinds."""
    match node:
        case ast.BoolOp(values=operands):
            node.only_truth = True  # type: ignore[attr-defined]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            operands = [operand]
        case ast.IfExp(body=body, orelse=orelse):
            operands = [body, orelse]
        case _:
            operands = []
    for operand in operands:
        as_test(operand)
    return node


class Expressions(ast.NodeTransformer):
    """Conditional expressions and boolean operators evaluate their operands when asked."""

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        as_test(node.test)
        self.generic_visit(node)
        if binds_inside(node):
            return node
        return call_of(CHOOSE, [node.test, thunk(node.body), thunk(node.orelse)], node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        if binds_inside(node):
            return node
        names = (BOTH, EITHER) if getattr(node, "only_truth", False) else (AND, OR)
        name = names[isinstance(node.op, ast.Or)]
        return call_of(name, [thunk(v) for v in node.values], node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        as_test(node)
        self.generic_visit(node)
        return call_of(NOT, [node.operand], node) if isinstance(node.op, ast.Not) else node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """`a < b < c` is `a < b and b < c` with `b` evaluated once."""
        self.generic_visit(node)
        if len(node.ops) == 1 or binds_inside(node):
            return node
        x, y = f"{PREFIX}x", f"{PREFIX}y"
        tests: list[ast.expr] = [
            ast.copy_location(
                ast.Lambda(
                    arguments([x, y]), ast.Compare(ast.Name(x, ast.Load()), [op], [ast.Name(y, ast.Load())])
                ),
                node,
            )
            for op in node.ops
        ]
        operands = [thunk(v) for v in (node.left, *node.comparators)]
        return call_of(CHAIN, [ast.Tuple(tests, ast.Load()), *operands], node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        self.generic_visit(node)
        return node
