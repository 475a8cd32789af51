"""Statements of control flow as calls, their blocks as inner functions."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from sparsec.frontend.desugar.analysis import (
    SCOPES,
    assigned_in,
    binds_inside,
    blocks_of,
    borrowed_by,
    functions_in,
    may_jump,
    own_nodes,
    parameters_of,
    reads_of,
    set_first,
    ways_out,
)
from sparsec.frontend.desugar.expressions import Expressions, as_test
from sparsec.frontend.desugar.names import (
    AFTER,
    BREAK,
    CONTINUE,
    FOR,
    GO_ON,
    IF,
    LOCALS,
    PREFIX,
    RETURN,
    SCOPE,
    UNWRAP,
    WHILE,
)
from sparsec.frontend.desugar.nodes import arguments, call_of, define, no_arguments

__all__ = ["desugar"]

#: What follows an `if` that may jump is part of each branch that does not: in so many copies at most.
MOST_COPIES = 4


def desugar(node: ast.FunctionDef) -> ast.FunctionDef:
    """The function with its control flow rewritten; as it is where it does something that closures cannot."""
    if _is_special(node):
        return node
    return _Function(node).rewrite()


def _is_special(node: ast.FunctionDef) -> bool:
    """Generators, `super()`, `del` of variables and `nonlocal` rely on the frame that the rewrite would split."""
    for inner in own_nodes(node.body):
        if isinstance(inner, (ast.Yield, ast.YieldFrom, ast.Await, ast.Nonlocal, ast.Global)):
            return True
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Del):
            return True
        if isinstance(inner, ast.Name) and inner.id in ("super", "locals", "__class__"):
            return True
    return False


class _Function:
    """Rewrites one function. `depth` 0 is the function's own body, where `return` returns the value itself."""

    def __init__(self, node: ast.FunctionDef) -> None:
        self.node = node
        self.locals = assigned_in(node.body)
        self.lent = tuple(sorted({n for inner in functions_in(node.body) for n in borrowed_by(inner)}))
        self.variables = frozenset((*self.locals, *parameters_of(node), *self.lent))
        self.count = 0
        self.copies = 1  # of the statements that are being rewritten
        self.reads = reads_of(node.body)
        self.changed_by: dict[str, tuple[str, ...]] = {}  # a `rest` function -> variables that it assigns

    def rewrite(self) -> ast.FunctionDef:
        node = self.node
        branches = any(isinstance(n, (ast.If, ast.While, ast.For, ast.Assert)) for n in own_nodes(node.body))
        body = self.block(node.body, top=True)
        if self.locals and branches:
            # Never run: makes every local a variable of this function, which the inner ones then share.
            never = ast.If(
                ast.Constant(False),
                [ast.Assign([ast.Name(n, ast.Store()) for n in self.locals], ast.Constant(None))],
                [],
            )
            body.insert(1 if _has_docstring(body) else 0, ast.copy_location(never, node))
        node.body = body
        return node

    def changed(self, nodes: Sequence[ast.AST]) -> tuple[str, ...]:
        """Variables that statements assign, those included that an inner function would assign if they call it."""
        return (*assigned_in(nodes), *self.lent)

    def fresh(self, stem: str) -> str:
        self.count += 1
        return f"{PREFIX}{stem}_{self.count}"

    # --- statements ---

    def block(self, stmts: Sequence[ast.stmt], *, top: bool, then: str | None = None) -> list[ast.stmt]:
        """A statement list. Not at the top, its value is a signal: None, or what a jump made.

        then: the inner function that goes on where the list is left without a jump.
        """
        out: list[ast.stmt] = []
        for k, stmt in enumerate(stmts):
            if isinstance(stmt, ast.Assert):
                stmt = _as_branch(stmt)
            if isinstance(stmt, ast.While) and binds_inside(stmt.test) and not stmt.orelse:
                stmt = _testing_inside(stmt)
            if isinstance(stmt, (ast.Return, ast.Break, ast.Continue)):
                out.append(self.jump(stmt, top=top))
                return out
            if isinstance(stmt, (ast.If, ast.While, ast.For)):
                leaves = may_jump([stmt])
                if leaves and not self.can_jump(stmt):
                    out.append(_kept(stmt, top=top))
                    continue
                if leaves:
                    out.extend(self.leaving(stmt, stmts[k + 1 :], top=top, then=then))
                    return out
                out.append(ast.copy_location(ast.Expr(self.compound(stmt, None, out)), stmt))
                continue
            out.append(self.other(stmt, top=top))
        if then is not None:
            out.append(
                ast.copy_location(ast.Return(call_of(then, [], self.node)), stmts[-1] if stmts else self.node)
            )
        return out or [ast.Pass()]

    @staticmethod
    def can_jump(stmt: ast.stmt) -> bool:
        """Whether what jumps may become functions: not out of `with`, `try` and `match`, or of a loop's `else`."""
        for inner in own_nodes([stmt]):
            if isinstance(inner, (ast.With, ast.Try, ast.Match)) and any(may_jump(b) for b in blocks_of(inner)):
                return False
            if isinstance(inner, (ast.For, ast.While)) and may_jump(inner.orelse):
                return False
        return True

    def jump(self, stmt: ast.stmt, *, top: bool) -> ast.stmt:
        if isinstance(stmt, ast.Return):
            if top:
                return Expressions().visit(stmt)  # type: ignore[no-any-return]
            value = Expressions().visit(stmt.value) if stmt.value is not None else ast.Constant(None)
            return ast.copy_location(ast.Return(call_of(RETURN, [value], stmt)), stmt)
        name = BREAK if isinstance(stmt, ast.Break) else CONTINUE
        return ast.copy_location(ast.Return(ast.Name(name, ast.Load())), stmt)

    def other(self, stmt: ast.stmt, *, top: bool) -> ast.stmt:
        """A statement without control flow of its own; blocks inside it are rewritten where nothing jumps out."""
        if isinstance(stmt, ast.FunctionDef):
            return desugar(stmt)
        if isinstance(stmt, SCOPES):
            return stmt
        blocks = blocks_of(stmt)
        if not blocks:
            return Expressions().visit(stmt)  # type: ignore[no-any-return]
        if any(may_jump(b) for b in blocks):
            return _kept(stmt, top=top)
        for block in blocks:
            block[:] = self.block(block, top=False) if block else []
        return stmt

    def leaving(
        self, stmt: ast.stmt, rest: Sequence[ast.stmt], *, top: bool, then: str | None
    ) -> list[ast.stmt]:
        """An `if` or a loop that may jump, with all that follows it: its value is the block's."""
        out: list[ast.stmt] = []
        once = False
        if rest:
            name, copies = self.fresh("rest"), self.copies
            ends = ways_out([stmt])
            once = isinstance(stmt, ast.If) and ends > 1 and copies * ends > MOST_COPIES
            self.copies = copies if once else copies * ends
            out.append(self.inner(name, [], self.block(rest, top=False, then=then), stmt))
            self.copies = copies
            self.changed_by[name] = (*self.changed(rest), *self.changed_by.get(then or "", ()))
            then = name
        if once:
            call = self.followed(GO_ON, self.compound(stmt, None, out), then or "", stmt, out)
        else:
            call = self.compound(stmt, then, out)
        out.append(ast.copy_location(ast.Return(call_of(UNWRAP, [call], stmt) if top else call), stmt))
        return out

    def compound(self, stmt: ast.stmt, then: str | None, out: list[ast.stmt]) -> ast.expr:
        """The call that an `if` or a loop becomes; its inner functions go to `out`."""
        if isinstance(stmt, ast.If):
            return self.if_(stmt, then, out)
        call = self.loop(stmt, out)
        return call if then is None else self.followed(AFTER, call, then, stmt, out)

    def followed(self, how: str, call: ast.expr, then: str, stmt: ast.stmt, out: list[ast.stmt]) -> ast.expr:
        """A statement's call, and what follows it unless it has jumped."""
        scope = self.scope(self.changed_by[then], stmt, out)
        return call_of(how, [call, ast.Name(then, ast.Load()), scope], stmt)

    def if_(self, stmt: ast.If, then: str | None, out: list[ast.stmt]) -> ast.expr:
        names = []
        for stem, body in (("then", stmt.body), ("orelse", stmt.orelse)):
            name = self.fresh(stem)
            out.append(self.inner(name, [], self.block(body, top=False, then=then), stmt))
            names.append(name)
        changed = tuple(
            dict.fromkeys((*self.changed([*stmt.body, *stmt.orelse]), *self.changed_by.get(then or "", ())))
        )
        return call_of(
            IF,
            [
                Expressions().visit(as_test(stmt.test)),
                *(ast.Name(n, ast.Load()) for n in names),
                self.scope(changed, stmt, out),
            ],
            stmt,
        )

    def loop(self, stmt: ast.stmt, out: list[ast.stmt]) -> ast.expr:
        assert isinstance(stmt, (ast.For, ast.While))
        inside, first_set = reads_of([stmt]), set_first(stmt)
        body_name = self.fresh("body")
        body = self.block(stmt.body, top=False)
        if isinstance(stmt, ast.For):
            item = f"{PREFIX}item"
            body.insert(
                0, ast.copy_location(ast.Assign([stmt.target], ast.Name(item, ast.Load())), stmt.target)
            )
            out.append(self.inner(body_name, [item], body, stmt))
            first: ast.expr = Expressions().visit(stmt.iter)
            changed = self.changed([stmt.target, *stmt.body, *stmt.orelse])
        else:
            out.append(self.inner(body_name, [], body, stmt))
            test = Expressions().visit(as_test(stmt.test))
            first = ast.copy_location(ast.Lambda(no_arguments(), test), stmt.test)
            changed = self.changed([*stmt.body, *stmt.orelse])
        orelse: ast.expr = ast.Constant(None)
        if stmt.orelse:
            orelse_name = self.fresh("orelse")
            out.append(self.inner(orelse_name, [], self.block(stmt.orelse, top=False), stmt))
            orelse = ast.Name(orelse_name, ast.Load())
        name = FOR if isinstance(stmt, ast.For) else WHILE
        scope = self.scope(changed, stmt, out)
        used: list[ast.expr] = [ast.Constant(n) for n in changed if self.reads[n] > inside[n]]
        own: list[ast.expr] = [ast.Constant(n) for n in changed if n in first_set]
        body_ = ast.Name(body_name, ast.Load())
        names = [ast.Tuple(used, ast.Load()), ast.Tuple(own, ast.Load())]
        return call_of(name, [first, body_, scope, orelse, *names], stmt)

    def scope(self, names: Sequence[str], at: ast.stmt, out: list[ast.stmt]) -> ast.expr:
        """Defines how to read and set the variables that a statement assigns; gives them as one object."""
        names = list(dict.fromkeys(n for n in names if n in self.variables))
        get, set_ = self.fresh("get"), self.fresh("set")
        reads: list[ast.expr] = [ast.Lambda(no_arguments(), ast.Name(n, ast.Load())) for n in names]
        out.append(self.inner(get, [], [ast.Return(call_of(LOCALS, reads, at))], at, shares=False))
        item = f"{PREFIX}state"
        stores: list[ast.stmt] = [ast.Pass()]
        if names:
            target = ast.Tuple([ast.Name(n, ast.Store()) for n in names], ast.Store())
            stores = [ast.Assign([target], ast.Name(item, ast.Load()))]
        out.append(self.inner(set_, [item], stores, at))
        text: list[ast.expr] = [ast.Constant(n) for n in names]
        parts = [ast.Tuple(text, ast.Load()), ast.Name(get, ast.Load()), ast.Name(set_, ast.Load())]
        return call_of(SCOPE, parts, at)

    def inner(
        self, name: str, args: Sequence[str], body: list[ast.stmt], at: ast.stmt, *, shares: bool = True
    ) -> ast.stmt:
        """An inner function over the variables of this one."""
        shared = [n for n in assigned_in(body) if n in self.variables] if shares else []
        if shared:
            body = [ast.copy_location(ast.Nonlocal(shared), at), *body]
        return ast.copy_location(define(name, arguments(args), body), at)


def _has_docstring(body: Sequence[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)


def _kept(stmt: ast.stmt, *, top: bool) -> ast.stmt:
    """A statement whose control flow stays Python's own. In an inner function it returns signals, as others do."""
    return stmt if top else _Signals().visit(stmt)  # type: ignore[no-any-return]


class _Signals(ast.NodeTransformer):
    """Jumps out of a statement as what an inner function returns for them."""

    def visit_Break(self, node: ast.Break) -> ast.AST:
        return ast.copy_location(ast.Return(ast.Name(BREAK, ast.Load())), node)

    def visit_Continue(self, node: ast.Continue) -> ast.AST:
        return ast.copy_location(ast.Return(ast.Name(CONTINUE, ast.Load())), node)

    def visit_For(self, node: ast.For | ast.While) -> ast.AST:
        """A loop inside keeps its own `break` and `continue`."""
        node.body = [_Returns().visit(s) for s in node.body]
        node.orelse = [self.visit(s) for s in node.orelse]
        return node

    visit_While = visit_For

    def visit_Return(self, node: ast.Return) -> ast.AST:
        value = node.value if node.value is not None else ast.Constant(None)
        return ast.copy_location(ast.Return(call_of(RETURN, [value], node)), node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        return node if isinstance(node, (*SCOPES, ast.expr)) else super().generic_visit(node)


class _Returns(_Signals):
    """The same inside a loop, where only `return` jumps out."""

    def visit_Break(self, node: ast.Break) -> ast.AST:
        return node

    def visit_Continue(self, node: ast.Continue) -> ast.AST:
        return node


def _as_branch(stmt: ast.Assert) -> ast.If:
    """`assert test, message` as `if not test: raise AssertionError(message)`."""
    name = ast.Name("AssertionError", ast.Load())
    error = ast.copy_location(ast.Call(name, [stmt.msg] if stmt.msg else [], []), stmt)
    fails = ast.copy_location(ast.Raise(error, None), stmt)
    return ast.copy_location(ast.If(ast.UnaryOp(ast.Not(), stmt.test), [fails], []), stmt)


def _testing_inside(stmt: ast.While) -> ast.While:
    """`while (v := f()) < 5: A` as `while True: if not …: break; A`: a condition of its own could not bind `v`."""
    leave = ast.If(ast.UnaryOp(ast.Not(), stmt.test), [ast.copy_location(ast.Break(), stmt.test)], [])
    always = ast.copy_location(ast.Constant(True), stmt.test)
    body = [ast.copy_location(leave, stmt.test), *stmt.body]
    return ast.copy_location(ast.While(always, body, []), stmt)
