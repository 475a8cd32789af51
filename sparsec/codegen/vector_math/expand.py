"""Replaces functions of the scalar table by their formulas.

    let y = exp(x)   ->   let exp1 = ...
                          let exp2 = ...
                          let y = exp1 * exp2

Parts that are used more than once get names in front of the statement. sin, cos and tan have formulas for
most arguments and leave huge ones to the function as it was; `far_blocks` keeps that out of vector loops.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from sparsec.codegen.vector_math import (
    circular,
    exponential,
    far_blocks,
    hyperbolic,
    inverse_circular,
    inverse_hyperbolic,
    logarithm,
    power,
    root,
)
from sparsec.codegen.vector_math.number import Number, magnitude
from sparsec.ir.loop_rewrite import map_expr, nodes, post_order, with_bodies, with_exprs
from sparsec.ir.loops import (
    Apply,
    Assign,
    Body,
    Const,
    Expr,
    For,
    If,
    Let,
    Mut,
    Stmt,
    Var,
    While,
    exprs,
    operands,
)
from sparsec.ir.types import BOOL, DType

__all__ = ["EXPANSIONS", "Expander", "expand_math", "far"]

Formula = Callable[..., Number]

#: The functions that have a formula.
EXPANSIONS: dict[str, Formula] = {
    "exp": exponential.exp, "exp2": exponential.exp2, "expm1": exponential.expm1,
    "log": logarithm.log, "log2": logarithm.log2, "log10": logarithm.log10, "log1p": logarithm.log1p,
    "pow": power.pow,
    "sin": circular.sin, "cos": circular.cos, "tan": circular.tan,
    "asin": inverse_circular.asin, "acos": inverse_circular.acos, "atan": inverse_circular.atan,
    "atan2": inverse_circular.atan2,
    "sinh": hyperbolic.sinh, "cosh": hyperbolic.cosh, "tanh": hyperbolic.tanh,
    "asinh": inverse_hyperbolic.asinh, "acosh": inverse_hyperbolic.acosh, "atanh": inverse_hyperbolic.atanh,
    "cbrt": root.cbrt, "hypot": root.hypot,
}  # fmt: skip

#: Those of them whose formula holds for arguments up to `circular.FAST` only.
PERIODIC = frozenset(("sin", "cos", "tan"))


def expand_math(body: Body, taken: Iterable[str], blocks: bool) -> Body:
    """A kernel's body with formulas in place of functions. `taken`: names that it uses.

    `blocks`: loops look a block ahead for huge arguments of sin, cos and tan, as a CPU's vectors want it;
    otherwise each element has a branch.
    """
    return Expander(set(taken), blocks).body(body)


def expandable(expr: Expr) -> bool:
    """Whether this node is a function with a formula for its dtype."""
    return isinstance(expr, Apply) and expr.fn in EXPANSIONS and expr.dtype.itemsize >= 4


def far(x: Expr) -> Expr:
    """Whether sin(x) is beyond its formula. Infinities and NaN are not."""
    size = magnitude(Number(x))
    return ((size > circular.FAST[x.dtype.itemsize]) & (size < float("inf"))).expr


class Expander:
    """Expands bodies; keeps names apart."""

    def __init__(self, taken: set[str], blocks: bool) -> None:
        self.taken = taken
        self._blocks = blocks
        self._before: list[Stmt] = []
        self._near = False

    def body(self, body: Body, near: bool = False) -> Body:
        """`near`: no argument of sin, cos or tan is beyond its formula here."""
        outer, self._near = self._near, self._near or near
        result = tuple(new for stmt in body for new in self._stmt(stmt))
        self._near = outer
        return result

    def plain(self, loop: For, near: bool) -> For:
        """The loop with its body expanded and no blocks."""
        return replace(loop, body=self.body(loop.body, near))

    def _stmt(self, stmt: Stmt) -> list[Stmt]:
        match stmt:
            case While(cond) if any(map(expandable, nodes(cond))):
                return self._while(stmt)
            case For() if self._blocks and not self._near and (loop := far_blocks.split(stmt, self)):
                return [loop]
        stmt = with_bodies(stmt, self.body)
        outer, self._before = self._before, []
        if any(expandable(node) for expr in exprs(stmt) for node in nodes(expr)):
            stmt = with_exprs(stmt, self.expr)
        result, self._before = [*self._before, stmt], outer
        return result

    def _while(self, stmt: While) -> list[Stmt]:
        """The condition is computed before the loop and again at the end of each turn."""
        cond = self.fresh("again", BOOL)
        first = self._stmt(Mut(cond, stmt.cond))
        again = self._stmt(Assign(cond, stmt.cond))
        return [*first, While(cond, (*self.body(stmt.body), *again))]

    def fresh(self, stem: str, dtype: DType) -> Var:
        """A variable that nobody uses."""
        count = 1
        while f"{stem}{count}" in self.taken:
            count += 1
        self.taken.add(f"{stem}{count}")
        return Var(f"{stem}{count}", dtype)

    # --- expressions ---

    def expr(self, expr: Expr) -> Expr:
        """The expression without functions that have a formula; what it needs stands in `_before`."""
        return map_expr(expr, self._node)

    def _node(self, node: Expr) -> Expr:
        if not expandable(node):
            return node
        assert isinstance(node, Apply)
        args = [self._named(arg, "x") for arg in node.args]
        value = self._flat(EXPANSIONS[node.fn](*map(Number, args)).expr, node.fn)
        if node.fn in PERIODIC and not self._near:
            return self._or_else(node, args[0], value)
        return self._named(value, node.fn)

    def _or_else(self, node: Apply, x: Expr, value: Expr) -> Expr:
        """The formula's value, or the function's for a huge argument."""
        result = self.fresh(node.fn, node.dtype)
        self._before.append(Mut(result, value))
        self._before.append(If(far(x), (Assign(result, Apply(node.fn, (x,), node.dtype)),)))
        return result

    def _named(self, value: Expr, stem: str) -> Expr:
        if isinstance(value, Const | Var):
            return value
        var = self.fresh(stem, value.dtype)
        self._before.append(Let(var, value))
        return var

    def _flat(self, expr: Expr, stem: str) -> Expr:
        """The expression as a tree: parts that occur several times get names."""
        uses = Counter(id(arg) for node in nodes(expr) for arg in operands(node))
        made: dict[int, Expr] = {}
        for node in post_order([expr]):
            new: Expr = node
            if isinstance(node, Apply):
                new = Apply(node.fn, tuple(made[id(arg)] for arg in node.args), node.dtype)
            made[id(node)] = self._named(new, stem) if uses[id(node)] > 1 else new
        return made[id(expr)]
