"""An innermost loop that writes many rows at once becomes loops that write a few each, one behind the other.

    for i in 0..960 {                                      for i in 0..960 {
      for j in 0..320 {                                      for j in 0..320 {
        %y[i * 320 + j] = %x[i * 1280 + j * 2]                 %y[i * 320 + j] = %x[i * 1280 + j * 2]
        %z[i * 320 + j] = %x[i * 1280 + j * 2 + 640]           %u[i * 320 + j] = %x[i * 1280 + j * 2 + 1]
        %u[i * 320 + j] = %x[i * 1280 + j * 2 + 1]     ->    }
        %v[i * 320 + j] = %x[i * 1280 + j * 2 + 641]         for k in 0..320 {
      }                                                        %z[i * 320 + k] = %x[i * 1280 + k * 2 + 640]
    }                                                          %v[i * 320 + k] = %x[i * 1280 + k * 2 + 641]
                                                           } }

A core follows a few streams of addresses well; with more, lines leave the cache before they are full. What depends on
each other, or is in the same line of memory, stays in one loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sparsec.ir.loop_rewrite import affine, declared_names, nodes, rename
from sparsec.ir.loops import Body, Expr, For, If, Kernel, Let, Load, Program, Stmt, Store, Var, While, exprs
from sparsec.passes.schedule.copies import Namer, turns_of

__all__ = ["few_streams"]

#: A loop that writes to fewer places at once is left alone, as is one of fewer turns, or with fewer around it: of two
#: loops in each other threads share the turns of one.
_STREAMS, _TURNS = 4, 32

#: Bytes of a line.
_LINE = 64


def few_streams(program: Program) -> Program:
    """The program with such loops in its kernels cut."""
    return replace(program, kernels=tuple(map(_kernel, program.kernels)))


def _kernel(kernel: Kernel) -> Kernel:
    body = _body(kernel.body, 1, Namer(declared_names(kernel.body)))
    return kernel if body == kernel.body else replace(kernel, body=body)


def _body(body: Body, around: int, names: Namer) -> Body:
    """around: turns of the parallel loops that a body is in."""
    return tuple(new for stmt in body for new in _cut(stmt, around, names))


def _cut(stmt: Stmt, around: int, names: Namer) -> Body:
    match stmt:
        case For(bind="parallel", body=body) if all(isinstance(inner, Let | Store) for inner in body):
            long = around >= _TURNS and len(turns_of(stmt) or ()) >= _TURNS
            parts = _parts(body) if long and len(_streams(body)) >= _STREAMS else []
            return tuple(_renamed(stmt, part, names) for part in parts) if len(parts) > 1 else (stmt,)
        case For() | While():
            turns = turns_of(stmt) if isinstance(stmt, For) and stmt.bind == "parallel" else None
            return (replace(stmt, body=_body(stmt.body, around * len(turns or (0,)), names)),)
        case If():
            return (replace(stmt, then=_body(stmt.then, 1, names), orelse=_body(stmt.orelse, 1, names)),)
    return (stmt,)


def _renamed(loop: For, part: Sequence[Stmt], names: Namer) -> For:
    declared = {name: names.fresh(name) for name in (loop.var.name, *declared_names(tuple(part)))}
    (renamed,) = rename((replace(loop, body=tuple(part)),), declared)
    assert isinstance(renamed, For)
    return renamed


def _parts(body: Body) -> list[list[Stmt]]:
    """The statements of a body in groups that have nothing to do with each other; one group if order may count."""
    stores = [stmt for stmt in body if isinstance(stmt, Store)]
    loads = (node.buffer for stmt in body for expr in exprs(stmt) for node in nodes(expr) if isinstance(node, Load))
    ways = {(stmt.buffer, affine(stmt.index)[0]) for stmt in stores}
    written = {stmt.buffer for stmt in stores}
    if len(ways) > len(written) or not written.isdisjoint(loads):
        return [list(body)]
    own = {*declared_names(body)}
    groups: list[tuple[set[object], list[int]]] = []
    for number, stmt in enumerate(body):
        touched = set(_touched(stmt, own))
        near = [group for group in groups if group[0] & touched]
        groups = [group for group in groups if not group[0] & touched]
        groups.append((touched.union(*(keys for keys, _ in near)), [*(k for _, ks in near for k in ks), number]))
    return [[body[k] for k in sorted(numbers)] for _, numbers in groups]


def _touched(stmt: Stmt, own: set[str]) -> Iterator[object]:
    """The names of `own` that a statement has to do with, and the lines of memory."""
    if isinstance(stmt, Let):
        yield stmt.var.name
    if isinstance(stmt, Store):
        yield from _lines(stmt.buffer, stmt.index, stmt.value.dtype.itemsize)
    for expr in exprs(stmt):
        for node in nodes(expr):
            if isinstance(node, Var) and node.name in own:
                yield node.name
            elif isinstance(node, Load):
                yield from _lines(node.buffer, node.index, node.dtype.itemsize)


def _lines(buffer: str, index: Expr, itemsize: int) -> Iterator[object]:
    """A line and the next one: of two places that are closer than a line, one of them is the same."""
    terms, constant = affine(index)
    line = constant * itemsize // _LINE
    yield from ((buffer, terms, line), (buffer, terms, line + 1))


def _streams(body: Body) -> set[object]:
    """The places that are written, close ones as one."""
    found: set[object] = set()
    for stmt in body:
        if isinstance(stmt, Store):
            first, second = _lines(stmt.buffer, stmt.index, stmt.value.dtype.itemsize)
            if not found & {first, second}:
                found.add(first)
    return found
