"""What an element of an op costs, in additions: for passes that weigh doing it twice against memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from sparsec.ir.graph import Op
from sparsec.ir.loop_rewrite import nodes
from sparsec.ir.loops import Apply, Expr, Load, Var
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.scalar import S
from sparsec.ir.types import I64, DType

__all__ = ["looks_at_index", "op_cost"]

_SLOW = {"div": 4, "sqrt": 4, "quo": 8, "rem": 8}
_FREE = frozenset(("add", "sub", "mul", "neg", "abs", "min", "max", "and", "or", "xor", "not", "eq", "ne", "lt",
                   "le", "gt", "ge", "select", "cast", "bitcast", "shl", "shr", "copysign", "floor", "ceil",
                   "trunc", "rint", "complex", "real", "imag"))  # fmt: skip


def op_cost(op: Op) -> int:
    """Of an ELEMENTWISE or MAP op; what has no plain instruction counts 20."""
    return sum(_weight(node) for node in nodes(_trial(op)[0]))


def _weight(node: Expr) -> int:
    if isinstance(node, Load):
        return 1
    if not isinstance(node, Apply):
        return 0
    return 1 if node.fn in _FREE else _SLOW.get(node.fn, 20)


def looks_at_index(op: Op) -> bool:
    """Whether a MAP op's element depends on where it is, and not on what its operands hold there alone."""
    if record(op.name).kind is not Kind.MAP:
        return False
    expr, marks, seen = _trial(op)
    return any(node in marks for x in (expr, *seen) for node in nodes(x))


def _trial(op: Op) -> tuple[Expr, tuple[Var, ...], list[Expr]]:
    """The op lowered on names that occur nowhere else; for a map also its index, and where it reads."""
    rec = record(op.name)
    marks = tuple(Var(f"axis{n}", I64) for n in range(len(op.result.type.shape)))
    seen: list[Expr] = []
    names = [_mark(n, v.type.dtype) for n, v in enumerate(op.operands)]
    if rec.kind is Kind.ELEMENTWISE:
        return rec.lower(S, *names, **op.attrs), (), seen

    def read(position: int) -> Callable[..., Expr]:
        def load(*at: Expr, given: tuple[Expr, object] | None = None) -> Expr:
            if position not in rec.pointwise:
                seen.extend(at)
                return Load(f"operand{position}", at[0] if at else names[position], names[position].dtype)
            return names[position]

        return load

    return rec.lower(S, marks, [read(n) for n in range(len(names))], **op.attrs), marks, seen


@lru_cache(maxsize=256)
def _mark(number: int, dtype: DType) -> Var:
    return Var(f"operand{number}", dtype)
