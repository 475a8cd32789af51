"""Facts about ops and storages that several graph passes ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sparsec.ir.graph import Func, Op, Value, symbol_uses, value_symbols, walk
from sparsec.ir.loops import Expr, Var
from sparsec.ir.ops.control import FIXED_OPERANDS
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.scalar import S

#: Kinds whose results depend on operands and attributes alone.
PURE = (Kind.CONST, Kind.VIEW, Kind.ELEMENTWISE, Kind.MAP, Kind.REDUCE, Kind.NEST, Kind.INDEX)


def is_identity(op: Op) -> bool:
    """Whether the op gives its operand's elements in fresh storage: a copy, a cast that changes nothing."""
    rec = record(op.name)
    if rec.kind is not Kind.ELEMENTWISE or len(op.operands) != 1:
        return False
    if op.operands[0].type.dtype != op.result.type.dtype:
        return False
    mark: Expr = Var("x", op.result.type.dtype)
    return bool(rec.lower(S, mark, **op.attrs) == mark)


def is_plain_write(op: Op) -> bool:
    """Whether the op replaces the elements of a region by its value, whatever they were."""
    rec = record(op.name)
    if rec.kind is not Kind.UPDATE or not rec.region or len(op.operands) != 3:
        return False
    dtype = op.operands[1].type.dtype
    mark: Expr = Var("value", dtype)
    return bool(rec.lower(S, Var("old", dtype), mark, **op.attrs) == mark)


def is_noop_view(op: Op) -> bool:
    """Whether a view op gives exactly what it is taken of."""
    source, result = op.operands[0], op.result
    return source.type.with_ref(source.ref) == result.type.with_ref(result.ref)


def reads_of(op: Op) -> Iterator[tuple[int, Value]]:
    """The operands whose elements an op itself reads, with their positions. A view reads none; the version and the
    place of a write, and a version that a loop carries, say where something is written: no other value will do."""
    kind = record(op.name).kind
    if kind is Kind.VIEW:
        return
    in_place = {0, 1} if kind is Kind.UPDATE else _carried_in_place(op) if kind is Kind.CONTROL else ()
    for position, value in enumerate(op.operands):
        if position not in in_place:
            yield position, value


def _carried_in_place(op: Op) -> set[int]:
    """Positions of the operands that a loop's block arguments follow in the same storage."""
    fixed = FIXED_OPERANDS[op.name]
    carried = len(op.operands) - fixed
    return {fixed + k for r in op.regions for k, p in enumerate(r.params[len(r.params) - carried:])
            if p.type.ref is not None}


def literal(value: Value, definitions: dict[str, Op]) -> Op | None:
    """The `const` op that defines the value's storage, if one does and nothing has written to it."""
    op = definitions.get(value.storage)
    if op is None or record(op.name).kind is not Kind.CONST:
        return None
    while value.name != value.storage:
        made = definitions.get(value.name)
        if made is None or record(made.name).kind is not Kind.VIEW:
            return None
        value = made.operands[0]
    return op


def written_storages(func: Func) -> set[str]:
    """Storages that get a second version, or that control flow carries."""
    found: set[str] = set()
    for op in walk(func.ops):
        kind = record(op.name).kind
        if kind is Kind.UPDATE:
            found.add(op.operands[0].storage)
        if kind is Kind.CONTROL:
            found.update(v.storage for v in (*op.operands, *op.results))
            found.update(v.storage for r in op.regions for v in (*r.params, *r.yields))
    return found


def used_symbols(func: Func) -> set[str]:
    """Names of the values that dims or channel indexes mention."""
    names = set(value_symbols(*func.params))
    for op in func.ops:
        names.update(symbol_uses(op))
    return names


def direct_uses(ops: Sequence[Op]) -> dict[str, list[tuple[Op, int]]]:
    """Value name -> the ops that have it as an operand, and its position; yields count as position -1."""
    found: dict[str, list[tuple[Op, int]]] = {}
    for op in walk(ops):
        for position, value in enumerate(op.operands):
            found.setdefault(value.name, []).append((op, position))
        for region in op.regions:
            for value in region.yields:
                found.setdefault(value.name, []).append((op, -1))
    return found
