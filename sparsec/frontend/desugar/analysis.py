"""Which names statements bind and read, and where control may leave them."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Sequence

from sparsec.frontend.desugar.names import PREFIX

__all__ = ["SCOPES", "assigned_in", "binds_inside", "blocks_of", "borrowed_by", "functions_in", "may_jump",
           "own_nodes", "parameters_of", "reads_of", "ways_out"]

SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def own_nodes(nodes: Iterable[ast.AST]) -> Iterable[ast.AST]:
    """All nodes of a function's own scope: inner functions and classes are seen, not entered."""
    waiting = [*nodes][::-1]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, SCOPES):
            waiting += [*ast.iter_child_nodes(node)][::-1]


def assigned_in(nodes: Sequence[ast.AST]) -> tuple[str, ...]:
    """Names that these statements bind in their own scope, in order of appearance."""
    found: dict[str, None] = {}

    def visit(node: ast.AST, in_comprehension: bool) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found[node.name] = None
            return
        if isinstance(node, ast.Lambda):
            return
        if isinstance(node, ast.NamedExpr):
            found[node.target.id] = None
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and not in_comprehension:
            found[node.id] = None
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found.update((a.asname or a.name.split(".")[0], None) for a in node.names)
        inside = in_comprehension or isinstance(node, _COMPREHENSIONS)
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    for node in nodes:
        visit(node, False)
    return tuple(n for n in found if not n.startswith(PREFIX))


def functions_in(nodes: Iterable[ast.AST]) -> list[ast.FunctionDef]:
    """The functions that these statements define, methods of classes included, but not those inside of them."""
    found: list[ast.FunctionDef] = []
    for node in own_nodes(nodes):
        if isinstance(node, ast.FunctionDef):
            found.append(node)
        elif isinstance(node, ast.ClassDef):
            found += functions_in(node.body)
    return found


def borrowed_by(node: ast.FunctionDef) -> set[str]:
    """Variables of functions around it that a function, or one inside of it, may assign: `nonlocal`."""
    own = {n for inner in own_nodes(node.body) if isinstance(inner, ast.Nonlocal) for n in inner.names}
    bound = {*assigned_in(node.body), *parameters_of(node)} - own
    return own | {n for inner in functions_in(node.body) for n in borrowed_by(inner)} - bound


def parameters_of(node: ast.FunctionDef) -> tuple[str, ...]:
    """The names of a function's parameters."""
    a = node.args
    every = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]
    return tuple(arg.arg for arg in every)


def reads_of(nodes: Sequence[ast.AST]) -> Counter[str]:
    """How often each name is read in these statements, inner functions included; `x += 1` and `nonlocal x` count."""
    found: Counter[str] = Counter()
    for node in (n for top in nodes for n in ast.walk(top)):
        if isinstance(node, ast.Nonlocal):
            found.update(node.names)
        target = node.target if isinstance(node, ast.AugAssign) else node
        if isinstance(target, ast.Name) and (target is not node or isinstance(target.ctx, ast.Load)):
            found[target.id] += 1
    return found


def set_first(loop: ast.For | ast.While) -> set[str]:
    """The variables that each turn gives a value, by a plain assignment of the body's own, before it reads them."""
    read = set(reads_of([loop.test])) if isinstance(loop, ast.While) else set()
    found = {loop.target.id} if isinstance(loop, ast.For) and isinstance(loop.target, ast.Name) else set()
    for stmt in loop.body:
        read |= reads_of([stmt]).keys()
        if isinstance(stmt, ast.Assign):
            found |= {t.id for t in stmt.targets if isinstance(t, ast.Name)} - read
    return found


def binds_inside(node: ast.AST) -> bool:
    """A `:=` inside a lambda would bind in the lambda; `yield` and `await` cannot move there."""
    return any(isinstance(n, (ast.NamedExpr, ast.Yield, ast.YieldFrom, ast.Await)) for n in ast.walk(node))


def may_jump(nodes: Sequence[ast.stmt], in_loop: bool = False) -> bool:
    """Whether control may leave these statements by `return`, or by `break`/`continue` of a loop around them."""
    for node in nodes:
        if isinstance(node, ast.Return) or (isinstance(node, (ast.Break, ast.Continue)) and not in_loop):
            return True
        if isinstance(node, (ast.For, ast.While)):
            if may_jump(node.body, True) or may_jump(node.orelse, in_loop):
                return True
        elif not isinstance(node, SCOPES) and any(may_jump(block, in_loop) for block in blocks_of(node)):
            return True
    return False


def ways_out(stmts: Sequence[ast.stmt]) -> int:
    """In how many places a statement list is left without a jump, if what follows stands in each branch."""
    count = 1
    for stmt in stmts:
        if isinstance(stmt, (ast.Return, ast.Break, ast.Continue)):
            return 0
        if isinstance(stmt, ast.If) and may_jump([stmt]):
            count *= ways_out(stmt.body) + ways_out(stmt.orelse)
    return count


def blocks_of(node: ast.stmt) -> list[list[ast.stmt]]:
    """The statement lists inside a statement."""
    found = [
        getattr(node, name)
        for name in ("body", "orelse", "finalbody")
        if isinstance(getattr(node, name, None), list)
    ]
    for handler in getattr(node, "handlers", []):
        found.append(handler.body)
    for case in getattr(node, "cases", []):
        found.append(case.body)
    return found
