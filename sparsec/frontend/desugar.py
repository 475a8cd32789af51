"""Control flow as calls: `if`, `while`, `for`, `and`, `or`, `not` and chained comparisons, rewritten.

    if c: A                 def then(): A
    else: B           ->    def orelse(): B
                            if_(c, then, orelse, scope(names, get, set))

Branches and loop bodies become inner functions over the same local variables (`nonlocal`), so that
`control/` may run them as Python would, or trace them into regions where a condition or a range is traced;
`get` and `set` are the variables that they assign. A jump (`return`, `break`, `continue`) becomes the value
of the inner function, and what follows a statement that may jump becomes one more inner function, `rest`,
called where no jump was taken: by the branches of an `if` themselves, or, where that would multiply it, once after
the `if`, unless the branch taken has jumped.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterable, Sequence

PREFIX = "__sparsec_"

#: How the names of loop bodies begin.
BODY = PREFIX + "body"

#: Names that rewritten code calls; `control/runtime.py` provides them.
IF, WHILE, FOR, AFTER, GO_ON, UNWRAP = (PREFIX + n for n in ("if", "while", "for", "after", "go_on", "unwrap"))
CHOOSE, AND, OR, NOT, CHAIN = (PREFIX + n for n in ("choose", "and", "or", "not", "chain"))
BOTH, EITHER = (PREFIX + n for n in ("both", "either"))
RETURN, BREAK, CONTINUE, SCOPE, LOCALS = (PREFIX + n for n in ("return", "break", "continue", "scope", "locals"))

#: What follows an `if` that may jump is part of each branch that does not: in so many copies at most.
MOST_COPIES = 4

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def desugar(node: ast.FunctionDef) -> ast.FunctionDef:
    """The function with its control flow rewritten; as it is where it does something that closures cannot."""
    if _is_special(node):
        return node
    return _Function(node).rewrite()


def _is_special(node: ast.FunctionDef) -> bool:
    """Generators, `super()`, `del` and `nonlocal` rely on the frame that the rewrite would split."""
    for inner in _own(node.body):
        if isinstance(inner, (ast.Yield, ast.YieldFrom, ast.Await, ast.Delete, ast.Nonlocal, ast.Global)):
            return True
        if isinstance(inner, ast.Name) and inner.id in ("super", "locals", "__class__"):
            return True
    return False


def _own(nodes: Iterable[ast.AST]) -> Iterable[ast.AST]:
    """All nodes of a function's own scope: inner functions and classes are seen, not entered."""
    waiting = [*nodes][::-1]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _SCOPES):
            waiting += [*ast.iter_child_nodes(node)][::-1]


def _assigned(nodes: Sequence[ast.AST]) -> tuple[str, ...]:
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


def _functions_in(nodes: Iterable[ast.AST]) -> list[ast.FunctionDef]:
    """The functions that these statements define, methods of classes included, but not those inside of them."""
    found: list[ast.FunctionDef] = []
    for node in _own(nodes):
        if isinstance(node, ast.FunctionDef):
            found.append(node)
        elif isinstance(node, ast.ClassDef):
            found += _functions_in(node.body)
    return found


def _borrowed(node: ast.FunctionDef) -> set[str]:
    """Variables of functions around it that a function, or one inside of it, may assign: `nonlocal`."""
    own = {n for inner in _own(node.body) if isinstance(inner, ast.Nonlocal) for n in inner.names}
    bound = {*_assigned(node.body), *_parameters(node)} - own
    return own | {n for inner in _functions_in(node.body) for n in _borrowed(inner)} - bound


def _reads(nodes: Sequence[ast.AST]) -> Counter[str]:
    """How often each name is read in these statements, inner functions included; `x += 1` and `nonlocal x` count."""
    found: Counter[str] = Counter()
    for node in (n for top in nodes for n in ast.walk(top)):
        if isinstance(node, ast.Nonlocal):
            found.update(node.names)
        target = node.target if isinstance(node, ast.AugAssign) else node
        if isinstance(target, ast.Name) and (target is not node or isinstance(target.ctx, ast.Load)):
            found[target.id] += 1
    return found


def _jumps(nodes: Sequence[ast.stmt], in_loop: bool = False) -> bool:
    """Whether control may leave these statements by `return`, or by `break`/`continue` of a loop around them."""
    for node in nodes:
        if isinstance(node, ast.Return) or (isinstance(node, (ast.Break, ast.Continue)) and not in_loop):
            return True
        if isinstance(node, (ast.For, ast.While)):
            if _jumps(node.body, True) or _jumps(node.orelse, in_loop):
                return True
        elif not isinstance(node, _SCOPES) and any(_jumps(block, in_loop) for block in _blocks(node)):
            return True
    return False


def _returns(nodes: Sequence[ast.stmt]) -> bool:
    """Whether a `return` stands in these statements, at any depth."""
    return any(isinstance(n, ast.Return) for n in _own(nodes))


def _ends(stmts: Sequence[ast.stmt]) -> int:
    """In how many places a statement list is left without a jump, if what follows stands in each branch."""
    count = 1
    for stmt in stmts:
        if isinstance(stmt, (ast.Return, ast.Break, ast.Continue)):
            return 0
        if isinstance(stmt, ast.If) and _jumps([stmt]):
            count *= _ends(stmt.body) + _ends(stmt.orelse)
    return count


def _blocks(node: ast.stmt) -> list[list[ast.stmt]]:
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


class _Function:
    """Rewrites one function. `depth` 0 is the function's own body, where `return` returns the value itself."""

    def __init__(self, node: ast.FunctionDef) -> None:
        self.node = node
        self.locals = _assigned(node.body)
        self.lent = tuple(sorted({n for inner in _functions_in(node.body) for n in _borrowed(inner)}))
        self.variables = frozenset((*self.locals, *_parameters(node), *self.lent))
        self.count = 0
        self.copies = 1  # of the statements that are being rewritten
        self.reads = _reads(node.body)
        self.changed_by: dict[str, tuple[str, ...]] = {}  # a `rest` function -> variables that it assigns

    def rewrite(self) -> ast.FunctionDef:
        node = self.node
        branches = any(isinstance(n, (ast.If, ast.While, ast.For, ast.Assert)) for n in _own(node.body))
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
        return (*_assigned(nodes), *self.lent)

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
            if isinstance(stmt, ast.While) and _binds(stmt.test) and not stmt.orelse:
                stmt = _testing_inside(stmt)
            if isinstance(stmt, (ast.Return, ast.Break, ast.Continue)):
                out.append(self.jump(stmt, top=top))
                return out
            if isinstance(stmt, (ast.If, ast.While, ast.For)):
                leaves = _jumps([stmt])
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
                ast.copy_location(ast.Return(_call(then, [], self.node)), stmts[-1] if stmts else self.node)
            )
        return out or [ast.Pass()]

    @staticmethod
    def can_jump(stmt: ast.stmt) -> bool:
        """Whether what jumps may become functions: not out of `with`, `try` and `match`, or of a loop's `else`."""
        for inner in _own([stmt]):
            if isinstance(inner, (ast.With, ast.Try, ast.Match)) and any(_jumps(b) for b in _blocks(inner)):
                return False
            if isinstance(inner, (ast.For, ast.While)) and _jumps(inner.orelse):
                return False
        return True

    def jump(self, stmt: ast.stmt, *, top: bool) -> ast.stmt:
        if isinstance(stmt, ast.Return):
            if top:
                return _Expressions().visit(stmt)  # type: ignore[no-any-return]
            value = _Expressions().visit(stmt.value) if stmt.value is not None else ast.Constant(None)
            return ast.copy_location(ast.Return(_call(RETURN, [value], stmt)), stmt)
        name = BREAK if isinstance(stmt, ast.Break) else CONTINUE
        return ast.copy_location(ast.Return(ast.Name(name, ast.Load())), stmt)

    def other(self, stmt: ast.stmt, *, top: bool) -> ast.stmt:
        """A statement without control flow of its own; blocks inside it are rewritten where nothing jumps out."""
        if isinstance(stmt, ast.FunctionDef):
            return desugar(stmt)
        if isinstance(stmt, _SCOPES):
            return stmt
        blocks = _blocks(stmt)
        if not blocks:
            return _Expressions().visit(stmt)  # type: ignore[no-any-return]
        if any(_jumps(b) for b in blocks):
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
            ends = _ends([stmt])
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
        out.append(ast.copy_location(ast.Return(_call(UNWRAP, [call], stmt) if top else call), stmt))
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
        return _call(how, [call, ast.Name(then, ast.Load()), scope], stmt)

    def if_(self, stmt: ast.If, then: str | None, out: list[ast.stmt]) -> ast.expr:
        names = []
        for stem, body in (("then", stmt.body), ("orelse", stmt.orelse)):
            name = self.fresh(stem)
            out.append(self.inner(name, [], self.block(body, top=False, then=then), stmt))
            names.append(name)
        changed = tuple(
            dict.fromkeys((*self.changed([*stmt.body, *stmt.orelse]), *self.changed_by.get(then or "", ())))
        )
        return _call(
            IF,
            [
                _Expressions().visit(_as_test(stmt.test)),
                *(ast.Name(n, ast.Load()) for n in names),
                self.scope(changed, stmt, out),
            ],
            stmt,
        )

    def loop(self, stmt: ast.stmt, out: list[ast.stmt]) -> ast.expr:
        assert isinstance(stmt, (ast.For, ast.While))
        inside = _reads([stmt])
        body_name = self.fresh("body")
        body = self.block(stmt.body, top=False)
        if isinstance(stmt, ast.For):
            item = f"{PREFIX}item"
            body.insert(
                0, ast.copy_location(ast.Assign([stmt.target], ast.Name(item, ast.Load())), stmt.target)
            )
            out.append(self.inner(body_name, [item], body, stmt))
            first: ast.expr = _Expressions().visit(stmt.iter)
            changed = self.changed([stmt.target, *stmt.body, *stmt.orelse])
        else:
            out.append(self.inner(body_name, [], body, stmt))
            test = _Expressions().visit(_as_test(stmt.test))
            first = ast.copy_location(ast.Lambda(_no_arguments(), test), stmt.test)
            changed = self.changed([*stmt.body, *stmt.orelse])
        orelse: ast.expr = ast.Constant(None)
        if stmt.orelse:
            orelse_name = self.fresh("orelse")
            out.append(self.inner(orelse_name, [], self.block(stmt.orelse, top=False), stmt))
            orelse = ast.Name(orelse_name, ast.Load())
        name = FOR if isinstance(stmt, ast.For) else WHILE
        scope = self.scope(changed, stmt, out)
        used: list[ast.expr] = [ast.Constant(n) for n in changed if self.reads[n] > inside[n]]
        body_ = ast.Name(body_name, ast.Load())
        return _call(name, [first, body_, scope, orelse, ast.Tuple(used, ast.Load())], stmt)

    def scope(self, names: Sequence[str], at: ast.stmt, out: list[ast.stmt]) -> ast.expr:
        """Defines how to read and set the variables that a statement assigns; gives them as one object."""
        names = list(dict.fromkeys(n for n in names if n in self.variables))
        get, set_ = self.fresh("get"), self.fresh("set")
        reads: list[ast.expr] = [ast.Lambda(_no_arguments(), ast.Name(n, ast.Load())) for n in names]
        out.append(self.inner(get, [], [ast.Return(_call(LOCALS, reads, at))], at, shares=False))
        item = f"{PREFIX}state"
        stores: list[ast.stmt] = [ast.Pass()]
        if names:
            target = ast.Tuple([ast.Name(n, ast.Store()) for n in names], ast.Store())
            stores = [ast.Assign([target], ast.Name(item, ast.Load()))]
        out.append(self.inner(set_, [item], stores, at))
        text: list[ast.expr] = [ast.Constant(n) for n in names]
        parts = [ast.Tuple(text, ast.Load()), ast.Name(get, ast.Load()), ast.Name(set_, ast.Load())]
        return _call(SCOPE, parts, at)

    def inner(
        self, name: str, args: Sequence[str], body: list[ast.stmt], at: ast.stmt, *, shares: bool = True
    ) -> ast.stmt:
        """An inner function over the variables of this one."""
        shared = [n for n in _assigned(body) if n in self.variables] if shares else []
        if shared:
            body = [ast.copy_location(ast.Nonlocal(shared), at), *body]
        return ast.copy_location(define(name, arguments(args), body), at)


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
        return ast.copy_location(ast.Return(_call(RETURN, [value], node)), node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        return node if isinstance(node, (*_SCOPES, ast.expr)) else super().generic_visit(node)


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


def _as_test(node: ast.expr) -> ast.expr:
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
        _as_test(operand)
    return node


class _Expressions(ast.NodeTransformer):
    """Conditional expressions and boolean operators evaluate their operands when asked."""

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        _as_test(node.test)
        self.generic_visit(node)
        if _binds(node):
            return node
        return _call(CHOOSE, [node.test, _thunk(node.body), _thunk(node.orelse)], node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        if _binds(node):
            return node
        names = (BOTH, EITHER) if getattr(node, "only_truth", False) else (AND, OR)
        name = names[isinstance(node.op, ast.Or)]
        return _call(name, [_thunk(v) for v in node.values], node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        _as_test(node)
        self.generic_visit(node)
        return _call(NOT, [node.operand], node) if isinstance(node.op, ast.Not) else node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """`a < b < c` is `a < b and b < c` with `b` evaluated once."""
        self.generic_visit(node)
        if len(node.ops) == 1 or _binds(node):
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
        operands = [_thunk(v) for v in (node.left, *node.comparators)]
        return _call(CHAIN, [ast.Tuple(tests, ast.Load()), *operands], node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        self.generic_visit(node)
        return node


def _binds(node: ast.AST) -> bool:
    """A `:=` inside a lambda would bind in the lambda; `yield` and `await` cannot move there."""
    return any(isinstance(n, (ast.NamedExpr, ast.Yield, ast.YieldFrom, ast.Await)) for n in ast.walk(node))


def _thunk(node: ast.expr) -> ast.expr:
    return ast.copy_location(ast.Lambda(_no_arguments(), node), node)


def _call(name: str, args: Sequence[ast.expr], at: ast.AST) -> ast.expr:
    func = ast.copy_location(ast.Name(name, ast.Load()), at)
    return ast.copy_location(ast.Call(func, list(args), []), at)


def _has_docstring(body: Sequence[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)


def _parameters(node: ast.FunctionDef) -> tuple[str, ...]:
    a = node.args
    every = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]
    return tuple(arg.arg for arg in every)


def _no_arguments() -> ast.arguments:
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
