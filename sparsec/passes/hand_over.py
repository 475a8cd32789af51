"""Which storages may share one place because control flow only hands the elements of one on to the other.

    %r = for … %x (%p: f32[8]) {          @p, @y and @r in one place: nothing is copied at the end of a turn,
      %y = fused () {… exp %p}            nor behind the loop; @x too, if nobody needs it afterwards
      yield %y
    } : f32[8]

A storage is alive from the first op that touches it to the last; what a loop touches and does not make itself is
alive in all of it. An array that is handed on and the one that takes it are both alive at that one point; if that is
the only one, they may be the same memory. So may an array and what a kernel computes of it, element for element, if
it is needed for the last time there. A block argument is not alive between its last use in a turn and the end of
the turn: that is where the next turn's elements are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from sparsec.ir.graph import Func, Op, Value, touched_storages, value_symbols
from sparsec.ir.graph import walk as every_op
from sparsec.ir.ops.control import FIXED_OPERANDS
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.tensorref import is_contiguous
from sparsec.ir.types import TensorType
from sparsec.passes.accesses import is_kernel, last_pointwise_reads

__all__ = ["shared_places"]


#: Storages in one place: each new one is compared with all of them.
_MOST = 32


def shared_places(func: Func, types: Mapping[str, TensorType]) -> dict[str, str]:
    """For storages that may take another's place, that storage's name; it is in no other's place itself.
    types: of the storages that may share. A loop's counter has no elements: it is a variable of the code."""
    counters = {op.regions[0].params[0].storage for op in every_op(func.ops) if op.name == "for"}
    types = {name: type for name, type in types.items() if name not in counters}
    walk = _Walk(types)
    walk.op_list(func.ops)
    walk.touch(touched_storages(Op("", func.ends, ())), walk.next())
    groups = {name: [name] for name in types}
    for source, target in (*walk.handed, *walk.reused):
        one, other = groups[source], groups[target]
        if one is other or len(one) + len(other) > _MOST:
            continue
        if not any(walk.clash(a, b) for a in one for b in other):
            one += other
            groups.update(dict.fromkeys(other, one))
    return {name: group[0] for name, group in groups.items() if name != group[0]}


class _Walk:
    """Numbers the points of a program; notes when storages are alive and what is handed on."""

    def __init__(self, types: Mapping[str, TensorType]) -> None:
        self.handed: list[tuple[str, str]] = []
        self.reused: list[tuple[str, str]] = []  # a kernel reads one element for element, and makes the other
        self._types = types
        self._touches: dict[str, list[int]] = {}
        self._branched: list[tuple[int, int, int]] = []  # of each `if`: begin, middle and end of its branches
        self._besides: dict[str, list[tuple[int, int]]] = {}  # where it is alive otherwise
        self._in_place: set[tuple[str, str, int]] = set()  # (from, to, at): the elements are where they belong
        self._loops: list[set[str]] = []  # what each of the loops around touches
        self._known: dict[str, list[tuple[int, int]]] = {}  # once the walk is done
        self._now, self._depth = 0, -1

    def next(self) -> int:
        self._now += 1
        return self._now

    def touch(self, names: Iterable[str], at: int) -> None:
        for name in names:
            self._touches.setdefault(name, []).append(at)
            for touched in self._loops:
                touched.add(name)

    def clash(self, a: str, b: str) -> bool:
        """Whether both are alive at once, other than where the elements of one are those of the other."""
        for first, last in self._alive(a):
            for start, stop in self._alive(b):
                low, high = max(first, start), min(last, stop)
                if low < high or (low == high and not {(a, b, low), (b, a, low)} & self._in_place):
                    return True
        return False

    def _alive(self, name: str) -> list[tuple[int, int]]:
        """From touch to touch; but one branch does not keep for the other what nobody needs behind both."""
        if name in self._known:
            return self._known[name]
        found = list(self._besides.get(name, ()))
        touches = sorted(set(self._touches.get(name, ())))
        found += [(at, at) for at in touches[:1]]
        for first, last in pairwise(touches):
            middles = [m for begin, m, end in self._branched if begin <= first <= m < last and touches[-1] <= end]
            found.append((max(middles, default=first), last))
        self._known[name] = found
        return found

    # --- ops ---

    def op_list(self, ops: Sequence[Op]) -> set[str]:
        """Walks ops in order; gives the storages that they make."""
        made: set[str] = set()
        self._depth += 1
        for op in ops:
            kind = record(op.name).kind
            made.update(_fresh(op.results))
            if kind in (Kind.CONST, Kind.CREATE):
                continue
            at = self.next()
            if kind is Kind.VIEW:  # touches no elements, but the integers behind the dims on both sides
                self.touch(touched_storages(op) - {op.result.storage}, at)
            elif not op.regions or is_kernel(op):
                self._kernel(op, at)
            elif len(op.regions) == FIXED_OPERANDS[op.name] + 1:
                made |= self._branches(op, at)
            else:
                made |= self._loop(op, at)
        self._depth -= 1
        return made

    def _kernel(self, op: Op, at: int) -> None:
        self.touch(touched_storages(op), at)
        # Outside control flow, `plan_memory.py` sees what can be reused.
        for result in op.results if is_kernel(op) and self._depth else ():
            type = self._types.get(result.storage)
            if type is not None:
                reads = sorted(n for n in last_pointwise_reads(op, result) if self._types.get(n) == type)
                self._in_place.update((name, result.storage, at) for name in reads)
                self.reused += [(name, result.storage) for name in reads]

    def _branches(self, op: Op, at: int) -> set[str]:
        self._read(op.operands, at)
        made: set[str] = set()
        bounds = [self.next()]
        for region in op.regions:
            made |= self.op_list(region.ops)
            at = self.next()
            self._hand_over(region.yields, op.results, at)
            self._also_alive(op.results, at, at)
            bounds.append(self.next())
        begin, middle, end = bounds
        self._branched.append((begin, middle, end))
        self.touch(_fresh(op.results), end)
        return made

    def _loop(self, op: Op, start: int) -> set[str]:
        """`for`: one region, with a counter. `while`: the test, whose arguments the turn and the results get."""
        *tests, turn = op.regions
        head = tests[0].params if tests else turn.params[1:]
        made = {name for region in op.regions for name in _fresh(region.params)}
        fixed = FIXED_OPERANDS[op.name]
        self._hand_over(op.operands[fixed:], head, start)
        self._loops.append({v.storage for v in op.operands[:fixed]})
        self.touch(_fresh(head), start)
        for test in tests:
            made |= self.op_list(test.ops)
            at = self.next()
            self._read(test.yields, at)
            self._hand_over(head, turn.params, at)
            self.touch(_fresh(turn.params), at)
        made |= self.op_list(turn.ops)
        at, end = self.next(), self.next()
        self._hand_over(turn.yields, head, at)
        self._also_alive(head, at, end)
        around = self._loops.pop() - made  # the next turn needs again what this one read
        self.touch(around, start)
        self.touch(around, end)
        self._pairs(head, op.results, end)
        self.touch(_fresh(op.results), end)
        return made

    # --- what is handed on ---

    def _hand_over(self, sources: Sequence[Value], targets: Sequence[Value], at: int) -> None:
        self._read(sources, at)
        self._read([t for t in targets if t.type.ref is not None], at)
        self._pairs(sources, targets, at)

    def _read(self, values: Sequence[Value], at: int) -> None:
        self.touch((*(v.storage for v in values), *value_symbols(*values)), at)

    def _pairs(self, sources: Sequence[Value], targets: Sequence[Value], at: int) -> None:
        for source, target in zip(sources, targets, strict=True):
            names = source.storage, target.storage
            types = self._types.get(source.storage), self._types.get(target.storage)
            if target.type.ref is None and None not in types and is_whole(source, types[0]) and (
                types[0] == types[1] and source.storage != target.storage
            ):
                self._in_place.add((*names, at))
                self.handed.append(names)

    def _also_alive(self, values: Sequence[Value], first: int, last: int) -> None:
        for name in _fresh(values):
            self._besides.setdefault(name, []).append((first, last))


def _fresh(values: Iterable[Value]) -> list[str]:
    """The storages that begin with these values."""
    return [v.storage for v in values if v.type.ref is None]


def is_whole(value: Value, type: TensorType | None) -> bool:
    """Whether the value is all of its storage, of that type, in its own order."""
    if type is None or value.type.shape != type.shape or value.type.dtype != type.dtype:
        return False
    return value.ref.offset == 0 and is_contiguous(value.ref, value.type.shape)
