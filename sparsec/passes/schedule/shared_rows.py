"""Rows whose neighbours compute the same are computed side by side, so that it is computed once.

    for i in 0..126 {                                    for i in 0..126 step 2 {
      for j in 0..n {                                      for j in 0..n {
        let a = max(%x[i * n + j], %x[i * n + j + 1])        let a = max(%x[i * n + j], %x[i * n + j + 1])
        let b = max(%x[i * n + j + n], …)             ->     let b = max(%x[i * n + j + n], …)
        %y[i * n + j] = max(a, b)                            let c = max(%x[i * n + j + 2 * n], …)
      }                                                      %y[i * n + j] = max(a, b)
    }                                                        %y[i * n + j + n] = max(b, c)
                                                           }
                                                         }

The maximum of each row of a window serves all the windows that the row is in, and what depends on the column alone
serves all rows. Here the rows only come side by side: what is computed twice then is found by whoever finds equal
expressions anyway.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from functools import partial

from sparsec.ir.loop_rewrite import affine, declared_names, nodes, substitute, with_bodies
from sparsec.ir.loops import Apply, Body, Expr, For, Kernel, Let, Load, Program, Stmt, Store, Var
from sparsec.ir.scalar import S, index
from sparsec.passes.schedule.copies import Namer, jam, turns_of
from sparsec.passes.schedule.nests import strip

__all__ = ["shared_rows"]

#: Rows side by side, and places that they may write to at once.
_ROWS = 4

#: A loop of fewer rows is left alone, as are rows of fewer elements.
_LEAST = 16

#: What is computed for rows side by side, of what is computed for each by itself, from which on it is worth it; and
#: the most that one element may take: all of it is to be in registers.
_SHARE, _MOST = 0.75, 200


def shared_rows(program: Program) -> Program:
    """The program with such rows in its kernels side by side."""
    return replace(program, kernels=tuple(map(_kernel, program.kernels)))


def _kernel(kernel: Kernel) -> Kernel:
    names = Namer(declared_names(kernel.body))
    body = tuple(new for stmt in kernel.body for new in _joined(stmt, names))
    return kernel if body == kernel.body else replace(kernel, body=body)


def _joined(stmt: Stmt, names: Namer) -> Body:
    if isinstance(stmt, For) and _fits(stmt) and (count := _count(stmt)) > 1:
        return strip(stmt, count, partial(_rows, stmt, names), names)
    return (with_bodies(stmt, lambda body: tuple(new for inner in body for new in _joined(inner, names))),)


def _rows(loop: For, names: Namer, turn: Expr, count: int) -> Body:
    return jam(loop.body, loop.var.name, [S.add(turn, index(k)) for k in range(count)], names)


def _fits(loop: For) -> bool:
    """Whether it is a loop over rows: around loops over elements, and a few elements by themselves."""
    rows = [stmt for stmt in loop.body if isinstance(stmt, For)]
    return (
        loop.bind == "parallel" and loop.step == 1 and _long(loop) and bool(rows)
        and all(isinstance(stmt, For | Let | Store) for stmt in loop.body)
        and all(row.bind == "parallel" and _long(row) for row in rows)
        and all(isinstance(stmt, Let | Store) for row in rows for stmt in row.body)
    )


def _long(loop: For) -> bool:
    """Whether there are enough turns, and not more than any memory has elements."""
    turns = turns_of(loop)
    return turns is not None and len(turns[:_LEAST]) == _LEAST and turns[-1] < sys.maxsize


def _count(loop: For) -> int:
    """How many rows are worth being side by side."""
    rows = [stmt for stmt in loop.body if isinstance(stmt, For)]
    stores = max(sum(isinstance(stmt, Store) for stmt in row.body) for row in rows)
    count = _ROWS // max(stores, 1)
    alone = sum(_work(loop, row.body, 1) for row in rows)
    if count < 2 or not 0 < alone <= _MOST:
        return 1
    return count if sum(_work(loop, row.body, count) for row in rows) <= _SHARE * count * alone else 1


def _work(loop: For, body: Body, turns: int) -> int:
    """How many scalar functions are applied for so many rows, each to the same arguments once."""
    seen = _Seen()
    for turn in range(turns):
        known: dict[str, int] = {}
        for stmt in substitute(body, {loop.var.name: S.add(loop.var, index(turn))}):
            assert isinstance(stmt, Let | Store)
            number = seen.number(stmt.value, known)
            if isinstance(stmt, Let):
                known[stmt.var.name] = number
    return seen.applied


@dataclass
class _Seen:
    """Numbers of values: equal expressions have one."""

    numbers: dict[Hashable, int] = field(default_factory=dict)
    applied: int = 0

    def number(self, expr: Expr, known: dict[str, int]) -> int:
        """The number of an expression's value. known: those of variables."""
        match expr:
            case Var(name) if name in known:
                return known[name]
            case Load(buffer, at, dtype):
                lets = tuple(known[node.name] for node in nodes(at) if isinstance(node, Var) and node.name in known)
                return self._of(("load", buffer, *affine(at), dtype, lets))
            case Apply(fn, args, dtype):
                key = (fn, *(self.number(arg, known) for arg in args), dtype)
                self.applied += key not in self.numbers
                return self._of(key)
        return self._of(expr)

    def _of(self, key: Hashable) -> int:
        return self.numbers.setdefault(key, len(self.numbers))
