"""A chain of maxima becomes a tree: no element waits for all the others.

    %a = maximum %p, %q                    %a = maximum %p, %q
    %b = maximum %a, %r             ->     %b = maximum %r, %s
    %c = maximum %b, %s                    %c = maximum %a, %b

Minima likewise. The bits are the same: of equal numbers each way gives the last one (0.0 and -0.0 are equal), and of
NaNs the first, quiet unless it is the last operand. So an operand that comes twice in a row, with others behind it,
counts once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from sparsec.ir.forms import Form
from sparsec.ir.graph import Op, Value
from sparsec.passes.facts import direct_uses, is_identity
from sparsec.passes.view_reads import ListPass, Reads

__all__ = ["Balance"]

#: Ops whose grouping does not show.
_ANY_GROUPING = ("maximum", "minimum")

#: Operands of a chain that is worth it.
_FEWEST = 4


@dataclass(frozen=True)
class Balance(ListPass):
    """Chains whose links nobody else uses."""

    name: ClassVar[str] = "balance"
    requires: ClassVar[Form] = Form.VIEWS_RESOLVED

    def rewrite(self, reads: Reads) -> tuple[Op, ...]:
        uses = direct_uses(reads.ops)
        ends = {value.name for value in reads.ends}
        links: dict[str, Op] = {}  # ops that only the next of their kind uses, by result
        for op in reads.ops:
            users = uses.get(op.result.name, []) if len(op.results) == 1 and op.name in _ANY_GROUPING else []
            if len(users) == 1 and op.result.name not in ends and _is_next(users[0], op, reads):
                links[op.result.name] = op
        trees: dict[int, list[Op]] = {}
        gone: set[str] = set()
        for number, op in enumerate(reads.ops):
            if op.name in _ANY_GROUPING and op.result.name not in links and op.operands[0].name in links:
                chain = _chain(op, links)
                leaves = _leaves(chain, reads)
                if len(leaves) >= _FEWEST and not _overwritten(chain, number, reads):
                    gone.update(link.result.name for link in chain[:-1])
                    trees[number] = _tree(leaves, op, reads)
        out: list[Op] = []
        for number, op in enumerate(reads.ops):
            if number in trees:
                out += trees[number]
            elif not (op.results and op.results[0].name in gone):
                out.append(op)
        return tuple(out)


def _is_next(use: tuple[Op, int], link: Op, reads: Reads) -> bool:
    user, position = use
    same = user.name == link.name and position == 0 and user.result.type.shape == link.result.type.shape
    return same and user.result.name in reads.definitions and user.operands[1].name != link.result.name


def _chain(last: Op, links: dict[str, Op]) -> list[Op]:
    """The ops from the first to `last`, each of which has the one before as its first operand."""
    found = [last]
    while found[-1].operands[0].name in links:
        found.append(links[found[-1].operands[0].name])
    return found[::-1]


def _leaves(chain: Sequence[Op], reads: Reads) -> list[Value]:
    """The operands in order; of equal ones in a row, the first."""
    values = [chain[0].operands[0], *(op.operands[1] for op in chain)]
    kept = values[:1]
    for value, after in zip(values[1:], [*values[2:], None]):
        if after is None or _origin(value, reads).name != _origin(kept[-1], reads).name:
            kept.append(value)
    return kept


def _origin(value: Value, reads: Reads) -> Value:
    """What a value is a copy of."""
    made = reads.definitions.get(value.name)
    while made is not None and is_identity(made):
        value = made.operands[0]
        made = reads.definitions.get(value.name)
    return value


def _overwritten(chain: Sequence[Op], number: int, reads: Reads) -> bool:
    """Whether an operand is written to before the end of the chain, where it is read now."""
    return any(reads.written_between(value.storage, reads.position[op.result.name], number)
               for op in chain for value in op.operands)


def _tree(leaves: Sequence[Value], last: Op, reads: Reads) -> list[Op]:
    """Ops that make the result of `last` of the leaves: of each row of a window by itself, two by two."""
    out: list[Op] = []

    def one(level: Sequence[Value], result: Value | None) -> Value:
        if len(level) == 1:
            return level[0]
        if length := _row_length([_origin(value, reads) for value in level]):
            rows = [level[k : k + length] for k in range(0, len(level), length)]
            return one([one(row, None) for row in rows], result)
        while len(level) > 2:
            level = [one(level[k : k + 2], None) for k in range(0, len(level), 2)]
        made = result or Value(reads.names.fresh(f"{last.result.name}.of"), last.result.type.fresh())
        out.append(Op(last.name, tuple(level), (made,), dict(last.attrs), (), last.loc))
        return made

    one(leaves, last.result)
    return out


def _row_length(leaves: Sequence[Value]) -> int:
    """Where views of one array are those of a window: how many lie in a row, so that the next row repeats them
    further on. 0: they do not."""
    refs = [value.type.ref for value in leaves]
    if len({(ref.storage, ref.strides) if ref is not None else None for ref in refs}) > 1:
        return 0
    places = [ref.offset for ref in refs if ref is not None and isinstance(ref.offset, int)]
    for length in range(3, len(leaves) // 2 + 1) if len(places) == len(leaves) else ():
        steps = {after - before for before, after in zip(places, places[length:])}
        if len(leaves) % length == 0 and len(steps) == 1:
            return length
    return 0
