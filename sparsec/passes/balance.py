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
        if after is None or _origin(value, reads) != _origin(kept[-1], reads):
            kept.append(value)
    return kept


def _origin(value: Value, reads: Reads) -> str:
    """What a value is a copy of."""
    made = reads.definitions.get(value.name)
    while made is not None and is_identity(made):
        value = made.operands[0]
        made = reads.definitions.get(value.name)
    return value.name


def _overwritten(chain: Sequence[Op], number: int, reads: Reads) -> bool:
    """Whether an operand is written to before the end of the chain, where it is read now."""
    return any(reads.written_between(value.storage, reads.position[op.result.name], number)
               for op in chain for value in op.operands)


def _tree(leaves: Sequence[Value], last: Op, reads: Reads) -> list[Op]:
    """Ops that make the result of `last` of the leaves, two by two."""
    out: list[Op] = []
    level = list(leaves)
    while len(level) > 1:
        pairs = [level[k : k + 2] for k in range(0, len(level), 2)]
        level = []
        for pair in pairs:
            if len(pair) == 1:
                level += pair
                continue
            root = len(pairs) == 1
            name = reads.names.fresh(f"{last.result.name}.of") if not root else ""
            result = last.result if root else Value(name, last.result.type.fresh())
            out.append(Op(last.name, tuple(pair), (result,), dict(last.attrs), (), last.loc))
            level.append(result)
    return out
