"""Staging: a user's function, rewritten from its source so that tracing sees what plain calls would hide.

    f(x)            ->  call(f, x)             NumPy functions without traced arguments (`np.zeros(n)`) are seen
    obj.attr        ->  load_attr(obj, "attr") arrays from outside become parameters, other values guards
    table[k]        ->  load_item(table, k)
    obj.attr = v    ->  changing(obj, "attr").attr = v      nothing outside the function may change
    obj.attr += v   ->  update(at_attr(obj, "attr"), "iadd", v)
    raise E(text)   ->  raise tell(lambda: E(text))  the text may mention values that only the run will know

Line and column numbers stay the user's, so tracebacks and carets point at the original source. The staged
function runs with copies of its globals and closure in which arrays are traced.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import textwrap
import types
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sparsec.errors import Loc, SourceError
from sparsec.frontend.desugar import desugar
from sparsec.frontend.desugar.names import PREFIX
from sparsec.frontend.desugar.nodes import arguments, define
from sparsec.runtime.locks import ForkLock

if TYPE_CHECKING:
    from sparsec.frontend.outside import Outside

#: Names under which the staged code reaches the runtime half of staging (`staged.py`).
CALL, ATTR, ITEM, SLICE, TELL = (f"{PREFIX}{n}__" for n in ("call", "attr", "item", "slice", "tell"))
CHANGE, AT_ATTR, AT_ITEM, UPDATE = (f"{PREFIX}{n}__" for n in ("change", "at_attr", "at_item", "update"))

#: Builtins that look at the calling frame: rewriting the call would change what they see.
_FRAME_BOUND = frozenset({"super", "locals", "globals", "vars", "dir", "eval", "exec"})


#: The function of `operator` behind each augmented assignment.
_IN_PLACE: dict[type[ast.operator], str] = {
    ast.Add: "iadd", ast.Sub: "isub", ast.Mult: "imul", ast.MatMult: "imatmul", ast.Div: "itruediv", ast.Mod: "imod",
    ast.Pow: "ipow", ast.LShift: "ilshift", ast.RShift: "irshift", ast.BitOr: "ior", ast.BitXor: "ixor",
    ast.BitAnd: "iand", ast.FloorDiv: "ifloordiv",
}


class _Rewrite(ast.NodeTransformer):
    """Calls, attribute loads and subscript loads go through the staging runtime."""

    def __init__(self) -> None:
        self._declared: set[int] = set()  # annotations in the body of a class, by identity

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id in _FRAME_BOUND:
            return node
        if isinstance(node.func, ast.Name) and node.func.id.startswith(PREFIX):
            self.generic_visit(node)
            return node
        self.generic_visit(node)
        return self._at(node, CALL, [node.func, *node.args], node.keywords)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        name = ast.copy_location(ast.Constant(node.attr), node)
        if isinstance(node.ctx, ast.Load):
            return self._at(node, ATTR, [node.value, name], [])
        node.value = self._at(node, CHANGE, [node.value, name], [])
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.ctx, ast.Load):
            return self._at(node, ITEM, [node.value, _index_expression(node.slice)], [])
        node.value = self._at(node, CHANGE, [node.value], [])
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        target = node.target
        if isinstance(target, ast.Name):
            self.generic_visit(node)
            return node
        owner, value = self.visit(target.value), self.visit(node.value)
        if isinstance(target, ast.Attribute):
            place = self._at(target, AT_ATTR, [owner, ast.copy_location(ast.Constant(target.attr), target)], [])
        else:
            place = self._at(target, AT_ITEM, [owner, _index_expression(self.visit(target.slice))], [])
        name = ast.copy_location(ast.Constant(_IN_PLACE[type(node.op)]), node)
        return ast.copy_location(ast.Expr(self._at(node, UPDATE, [place, name, value], [])), node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.exc, ast.Call):
            none = ast.arguments([], [], None, [], [], None, [])
            node.exc = self._at(node.exc, TELL, [ast.copy_location(ast.Lambda(none, node.exc), node.exc)], [])  # type: ignore[assignment]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """The annotations of a class stay, as text: dataclasses and named tuples are made of them."""
        self._declared.update(id(inner) for inner in node.body if isinstance(inner, ast.AnnAssign))
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Annotations of variables are not evaluated: they say nothing about the computation."""
        if id(node) in self._declared:
            node.annotation = ast.copy_location(ast.Constant(ast.unparse(node.annotation)), node.annotation)
            node.value = None if node.value is None else self.visit(node.value)
            return node
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return self.visit(ast.copy_location(ast.Assign([node.target], node.value), node))  # type: ignore[no-any-return]

    def visit_Global(self, node: ast.Global) -> ast.AST:
        raise _Refused("`global` in a traced function", node, "return the value instead")

    def _at(self, node: ast.AST, name: str, args: list[ast.expr], keywords: list[ast.keyword]) -> ast.expr:
        func = ast.copy_location(ast.Name(name, ast.Load()), node)
        return ast.copy_location(ast.Call(func, args, keywords), node)


def _refuse_foreign(node: ast.FunctionDef, free: Sequence[str]) -> None:
    """Raises _Refused where variables outside the function are assigned."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Nonlocal) and set(inner.names) & set(free):
            what = "`nonlocal` of a variable outside the traced function"
            raise _Refused(what, inner, "return the value instead")


class _Refused(Exception):
    def __init__(self, what: str, node: ast.AST, hint: str = "") -> None:
        super().__init__(what)
        self.what, self.node, self.hint = what, node, hint


def _index_expression(node: ast.expr) -> ast.expr:
    """A subscript as an ordinary expression: `a:b:c` becomes `slice(a, b, c)`."""
    if isinstance(node, ast.Slice):
        parts = [
            p or ast.copy_location(ast.Constant(None), node) for p in (node.lower, node.upper, node.step)
        ]
        return ast.copy_location(
            ast.Call(ast.copy_location(ast.Name(SLICE, ast.Load()), node), parts, []), node
        )
    if isinstance(node, ast.Tuple):
        return ast.copy_location(ast.Tuple([_index_expression(e) for e in node.elts], ast.Load()), node)
    return node


_templates: weakref.WeakKeyDictionary[types.CodeType, types.CodeType] = weakref.WeakKeyDictionary()


def template(fn: types.FunctionType) -> types.CodeType:
    """The rewritten code of `fn`. Raises SourceError where there is no source to rewrite."""
    found = _templates.get(fn.__code__)
    if found is None:
        with _lock, _deep():
            try:
                found = _templates[fn.__code__] = _build(fn)
            except RecursionError:
                raise SourceError(
                    f"an expression of `{fn.__name__}` has too many parts, one inside the other",
                    loc=Loc(fn.__code__.co_filename, fn.__code__.co_firstlineno),
                    hint="give names to parts of it",
                ) from None
    return found


_lock = ForkLock()

#: How deep a rewrite may go. `a0 + a1 + … + a999` is a thousand operators, one inside the other: Python compiles
#: that, but visitors of its syntax tree take several calls for each.
_DEPTH = 40_000


@contextmanager
def _deep() -> Iterator[None]:
    """Room for a rewrite. The limit holds for all threads, and so is changed by one at a time."""
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(max(usual, _DEPTH))
    try:
        yield
    finally:
        sys.setrecursionlimit(usual)


def has_source(fn: Any) -> bool:
    """Whether a function can be staged. Raises SourceError where its source has what no trace can have."""
    try:
        template(fn)
    except SourceError as error:
        if error.loc is not None:  # there is a source, and it has something that cannot be staged
            raise
        return False
    return True


def _build(fn: types.FunctionType) -> types.CodeType:
    node, first_line = _function_node(fn)
    try:
        _refuse_foreign(node, fn.__code__.co_freevars)
        node = _Rewrite().visit(desugar(node))
    except _Refused as refused:
        line = getattr(refused.node, "lineno", 1) + first_line - 1
        raise SourceError(
            f"{refused.what} is not supported", loc=Loc(fn.__code__.co_filename, line), hint=refused.hint
        ) from None
    node.decorator_list = []
    for arg in [
        *node.args.posonlyargs,
        *node.args.args,
        *node.args.kwonlyargs,
        node.args.vararg,
        node.args.kwarg,
    ]:
        if arg is not None:
            arg.annotation = None
    node.returns = None
    # Defaults come from the function object; here they only mark which parameters have one.
    # (One node each: line numbers are moved once per appearance.)
    node.args.defaults = [ast.copy_location(ast.Constant(None), d) for d in node.args.defaults]
    node.args.kw_defaults = [
        ast.copy_location(ast.Constant(None), d) if d is not None else None for d in node.args.kw_defaults
    ]
    freevars = fn.__code__.co_freevars
    # Under its own name, a global function that calls itself would find the factory's local variable.
    node.name = f"{PREFIX}staged__"
    factory = define("__sparsec_factory__", arguments(freevars), [node])
    module = ast.Module([factory], [])
    # In this order: a node without a place would be moved from line 0.
    ast.fix_missing_locations(module)
    ast.increment_lineno(module, first_line - 1)
    code = compile(module, fn.__code__.co_filename, "exec", dont_inherit=True)
    outer = next(c for c in code.co_consts if isinstance(c, types.CodeType))
    inner = next(c for c in outer.co_consts if isinstance(c, types.CodeType) and c.co_name == node.name)
    return inner.replace(co_name=fn.__code__.co_name)


#: Where `exec` says that code comes from. Python 3.13 has the program of `python -c` under the same name.
_NO_FILE = ("<string>", "<stdin>")


def _function_node(fn: types.FunctionType) -> tuple[ast.FunctionDef, int]:
    """The `def` (or lambda, as a def) of a function and the line where its source begins."""
    if fn.__code__.co_filename in _NO_FILE:
        raise SourceError(f"the source of `{fn.__name__}` is not available")
    try:
        lines, first_line = inspect.getsourcelines(fn.__code__)  # of the function itself, not of what it wraps
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError):
        raise SourceError(f"the source of `{fn.__name__}` is not available") from None
    except (SyntaxError, IndentationError):
        tree, first_line = _parse_lambda_file(fn)
    indent = len(lines[0]) - len(lines[0].lstrip()) if lines else 0
    node = _find(tree, fn, first_line)
    if indent and node.col_offset == 0:
        _shift_columns(node, indent)
    return node, first_line


def _parse_lambda_file(fn: types.FunctionType) -> tuple[ast.Module, int]:
    """A lambda's lines need not parse alone: take the whole file."""
    try:
        with open(fn.__code__.co_filename, encoding="utf-8") as file:
            return ast.parse(file.read()), 1
    except (OSError, SyntaxError):
        raise SourceError(f"the source of `{fn.__name__}` is not available") from None


def _find(tree: ast.Module, fn: types.FunctionType, first_line: int) -> ast.FunctionDef:
    code = fn.__code__
    if fn.__name__ == "<lambda>":
        found = [
            n
            for n in ast.walk(tree)
            if isinstance(n, ast.Lambda)
            and n.lineno + first_line - 1 == code.co_firstlineno
            and len(n.args.args) == code.co_argcount
        ]
        exact = [n for n in found if _positions_match(n, code)]
        if len(exact or found) != 1:
            raise SourceError("several lambdas stand on this line: their source cannot be told apart")
        node = (exact or found)[0]
        body = ast.copy_location(ast.Return(node.body), node.body)
        return ast.copy_location(define("lambda_", node.args, [body]), node)
    for candidate in ast.walk(tree):
        if isinstance(candidate, ast.FunctionDef) and candidate.name == code.co_name:
            return candidate
    raise SourceError(
        f"`{fn.__name__}` is not a plain function", loc=Loc(code.co_filename, code.co_firstlineno)
    )


def _positions_match(node: ast.Lambda, code: types.CodeType) -> bool:
    cols = {p[2] for p in code.co_positions() if p[2] is not None and p[0] == code.co_firstlineno}
    return any(getattr(n, "col_offset", -1) in cols for n in ast.walk(node.body)) and all(
        node.col_offset <= c <= (node.end_col_offset or 0) for c in cols
    )


def _shift_columns(node: ast.AST, indent: int) -> None:
    for child in ast.walk(node):
        if hasattr(child, "col_offset"):
            child.col_offset += indent
        if getattr(child, "end_col_offset", None) is not None:
            child.end_col_offset += indent  # type: ignore[attr-defined]


def instantiate(fn: types.FunctionType, runtime: dict[str, Any], outside: Outside) -> types.FunctionType:
    """The staged function, with `runtime` names; its globals, closure and defaults are what `outside` has for them.

    A function without source is not rewritten; it, too, sees what stands for what is outside.
    """
    code = template(fn) if has_source(fn) else fn.__code__
    names = {n for c in _nested(code) for n in c.co_names}
    space = dict(fn.__globals__)
    space.update({n: outside.read((fn.__globals__, n)) for n in names if n in fn.__globals__})
    space.update(runtime)
    cells = dict(zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True))
    closure = tuple(
        types.CellType(outside.read(cells[n])) if _filled(cells[n]) else cells[n] for n in code.co_freevars
    )
    staged = types.FunctionType(code, space, fn.__name__, outside.adopt(fn.__defaults__), closure)
    staged.__kwdefaults__ = outside.adopt(fn.__kwdefaults__)
    functools.update_wrapper(staged, fn)
    return staged


def _filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _nested(code: types.CodeType) -> list[types.CodeType]:
    found = [code]
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            found.extend(_nested(const))
    return found
