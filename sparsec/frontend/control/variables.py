"""The variables that a loop carries from turn to turn: of what kind, how they enter a turn, what the loop leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sparsec.frontend.array import Traced
from sparsec.frontend.control.aliases import inherit, mark_choice, shared
from sparsec.frontend.control.choices import alike, choose, maybe, storages_of
from sparsec.frontend.control.merge import (
    Kind,
    Mix,
    fits,
    flexed,
    is_array,
    is_scalar,
    join,
    kind_of,
    same,
    values_as,
    variable,
    varying,
    zeros_of,
)
from sparsec.frontend.control.refuse import FILL, CannotStage
from sparsec.frontend.control.scope import Scope, State
from sparsec.frontend.mixed import Mixed
from sparsec.frontend.trace import Storage, Trace
from sparsec.frontend.tree import Tree, flatten, leaf_count, packed
from sparsec.frontend.undefined import Undefined
from sparsec.ir.graph import Value
from sparsec.ir.types import TensorType

__all__ = ["Flat", "Variables"]

#: The leaves of a state: what its tuples, lists and dicts hold.
Flat = list[Any]


@dataclass
class Variables:
    """The variables that a loop body assigns: their values before, and the kinds of those that are carried.

    A tuple or list of values is carried by its leaves. `used` names those that are read outside the loop. walks: 1
    if the loop goes over something.
    """

    scope: Scope
    used: Sequence[str] = ()
    walks: int = 0
    before: State = field(init=False)
    kinds: list[Kind | None] = field(default_factory=list)
    leaves: Flat = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    same_length: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    entered: list[Storage | None] = field(default_factory=list)
    known: tuple[int, ...] = ()  # the leaves that are arrays which others can see
    watched: tuple[int, ...] = ()  # these, and those which the loop goes over

    def __post_init__(self) -> None:
        self.before = self.scope.get()
        self.leaves, self.trees = _leaves(self.before)
        self.kinds = [varying(kind_of(x)) if is_scalar(x) else None for x in self.leaves]

    def now(self) -> Variables:
        """The variables as they are now, for a loop that begins here."""
        return Variables(self.scope, self.used, self.walks)

    def differ_from(self, earlier: Variables) -> bool:
        """Whether a variable is of another kind than it was."""
        return self.trees != earlier.trees or any(
            (is_scalar(x) or is_array(x)) != (is_scalar(y) or is_array(y)) or type(x) is not type(y)
            or ((is_scalar(x) or is_array(x)) and varying(kind_of(x)) != varying(kind_of(y)))
            for x, y in zip(self.leaves, earlier.leaves))

    def forget_unused(self, later: Variables) -> None:
        """Takes the values from variables that nobody reads after the loop, if they could not be one with those that
        the turns leave."""
        self.scope.set(tuple(
            x if name in self.used or not _apart(name, x, y) else Undefined(name, "is of another kind after the loop")
            for name, x, y in zip(self.scope.names, self.before, later.before)))

    def look_around(self) -> None:
        """Notes which arrays others can see, while all variables still are as they were before the loop."""
        arrays = [(k, x, name) for k, (x, name) in enumerate(zip(self.leaves, self.leaf_names)) if is_array(x)]
        self.known = tuple(k for k, x, name in arrays if shared(x, name, leaving=self.walks))
        self.watched = tuple(k for k, x, name in arrays if shared(x, name))

    @property
    def leaf_names(self) -> list[str]:
        """The variable of each leaf."""
        return [n for n, tree in zip(self.scope.names, self.trees) for _ in range(leaf_count(tree))]

    @property
    def types(self) -> list[TensorType]:
        """The types of the carried values."""
        return [t for kind in self.kinds if kind is not None for t in kind.types]

    def initial(self, trace: Trace) -> list[Value]:
        """The carried values before the first turn."""
        return self.values(trace, self.leaves)

    def values(self, trace: Trace, leaves: Flat) -> list[Value]:
        """The carried values of a state."""
        out: list[Value] = []
        for kind, x in zip(self.kinds, leaves):
            if kind is not None:
                out += zeros_of(trace, kind) if isinstance(x, Undefined) else values_as(trace, x, kind)
        return out

    def enter(self, trace: Trace, params: Sequence[Value]) -> None:
        """Sets the variables to the block's arguments."""
        values = iter(params)
        lengths: dict[tuple[int, int], Any] = {}
        made: list[Any] = []
        for k, (before, kind) in enumerate(zip(self.leaves, self.kinds)):
            if kind is None:
                made.append(before)
                continue
            known = {axis: lengths[root] for axis in kind.flexible
                     if (root := self.same_length.get((k, axis), (k, axis))) in lengths}
            made.append(variable(trace, values, kind, known))
            for axis in kind.flexible:
                lengths.setdefault(self.same_length.get((k, axis), (k, axis)), known[axis])
        self.entered = [x.storage if kind is not None and is_array(x) else None for x, kind in zip(made, self.kinds)]
        for k in self.known:
            if (entered := self.entered[k]) is not None:
                entered.maybe = frozenset(storages_of(self.leaves[k]))
        self.scope.set(packed(self.trees, made))

    def widen(self, trace: Trace, after: State, runs_once: bool) -> bool:
        """Adapts the kinds to what a turn left; True if they changed. Raises CannotStage."""
        leaves, trees = _leaves(after)
        if trees != self.trees:
            if not self._made_by_the_body(trees):
                name, tree = next((n, a) for n, a, b in zip(self.scope.names, self.trees, trees) if a != b)
                hint = FILL if tree.kind in (list, dict) else ""
                raise CannotStage(f"`{name}` has another structure after a turn", hint)
            leaves = self._without_inner(after)
        names = self.leaf_names
        kinds = [self._kind(trace, k, names[k], x, runs_once) for k, x in enumerate(leaves)]
        groups = self._lengths(kinds, leaves)
        changed = kinds != self.kinds or groups != self.same_length
        self.kinds, self.same_length = kinds, groups
        return changed

    def _made_by_the_body(self, trees: list[Tree]) -> bool:
        """Whether only variables without a value before have a structure that they did not have."""
        return all(a == b or isinstance(x, Undefined) for x, a, b in zip(self.before, self.trees, trees))

    def _without_inner(self, after: State) -> Flat:
        """The leaves after a turn, containers that the body made left out."""
        seen = tuple(Undefined(n) if isinstance(b, Undefined) and isinstance(x, (tuple, list, dict)) else x
                     for n, b, x in zip(self.scope.names, self.before, after))
        return _leaves(seen)[0]

    def leaves_after(self, after: State) -> Flat:
        """The leaves of what a turn left."""
        leaves, trees = _leaves(after)
        return leaves if trees == self.trees else self._without_inner(after)

    def _lengths(self, kinds: Sequence[Kind | None], after: Flat) -> dict[tuple[int, int], tuple[int, int]]:
        """Which lengths are equal before the loop and after each turn: they go by one name in the body."""
        first: dict[Any, tuple[int, int]] = {}
        found = {}
        for k, kind in enumerate(kinds):
            before, x = self.leaves[k], after[k]
            if kind is None or not is_array(x) or not is_array(before):
                continue
            for axis in kind.flexible:
                key = (before.type.shape[axis], x.type.shape[axis])
                found[k, axis] = first.setdefault(key, (k, axis))
        return {place: root for place, root in found.items() if place != root}

    def _kind(self, trace: Trace, k: int, name: str, after: Any, runs_once: bool) -> Kind | None:
        before, kind = self.leaves[k], self.kinds[k]
        if kind is not None:
            if not (is_scalar(after) or is_array(after)):
                raise CannotStage(f"`{name}` is {type(after).__name__} after a turn")
            # From what it is before: a known number may be all that there is of its kind.
            joined = flexed(trace, join(name, kind_of(before) if is_scalar(before) else kind, kind_of(after)))
            joined = join(name, kind, joined) if isinstance(kind, Mix) else varying(joined)
            if not fits(before, joined):
                raise CannotStage(f"`{name}` is {before} before the loop, which {joined.dtype} cannot hold")
            return joined
        if same(before, after):
            return None
        if isinstance(before, Undefined):
            return self._kind_of_new(trace, name, before, after) if runs_once else None
        if is_array(before) and is_array(after):
            return flexed(trace, join(name, kind_of(before), kind_of(after)))
        raise CannotStage(f"`{name}` is another {type(after).__name__} after each turn")

    def _kind_of_new(self, trace: Trace, name: str, before: Undefined, after: Any) -> Kind | None:
        """Made by the body of a loop that surely runs: handed on if it may be read after the loop."""
        if before.__dict__["why"] or name not in self.used:
            return None
        if is_scalar(after):
            return varying(kind_of(after))
        return flexed(trace, kind_of(after)) if is_array(after) else None

    def kept(self, k: int, after: Flat) -> list[Traced]:
        """The arrays from before the loop, which others can see, that leaf `k` may be after some turns."""
        return [self.leaves[m] for m in self._sources(k, after) if m in self.known]

    def _sources(self, k: int, after: Flat) -> list[int]:
        """The leaves that may have become leaf `k` after some turns."""
        seen: set[int] = set()
        todo = {k}
        while todo:
            last = after[todo.pop()]
            places = (last.storage, *last.storage.maybe) if is_array(last) else ()
            found = {m for m, storage in enumerate(self.entered) if storage is not None and storage in places}
            todo |= found - seen
            seen |= found
        return sorted(seen)

    def written(self, trace: Trace, k: int, after: Flat) -> bool:
        """Whether a turn writes to what may be the array that a leaf was before the loop."""
        users = [m for m in range(len(self.entered)) if m == k or k in self._sources(m, after)]
        entered = {self.entered[m] for m in users} - {None}
        return any(s.written for s in trace.live if not entered.isdisjoint((s, *s.maybe)))

    def replaced(self, after: Flat) -> bool:
        """Whether a leaf is an array that others can see if there is no turn, and another one after each turn."""
        return any(self.kinds[k] is not None and not self.kept(k, after) for k in self.known)

    def _left(self, trace: Trace, k: int, made: Any, after: Flat, ran: Value | bool) -> Any:
        """What a carried leaf is after the loop. ran: whether there was a turn."""
        before = self.leaves[k]
        if is_array(made):
            earlier = [self.leaves[m] for m in {k, *self._sources(k, after)}]
            made.storage.maybe |= {s for x in earlier if is_array(x) for s in maybe(x)}
            inherit(made, after[k])
        kept = self.kept(k, after)
        if k in self.known and ran is not True and not any(x is before for x in kept):
            if isinstance(ran, Value) and not kept and alike(made, before):
                return choose(trace, ran, made, before)
            kept.append(before)
        if kept:
            mark_choice(made, self.leaf_names[k], kept)
            made.storage.maybe |= {s for x in kept for s in storages_of(x)}
        return made

    def leave(self, trace: Trace, results: Sequence[Value], after: Flat, ran: Value | bool, runs_once: bool) -> None:
        """Sets the variables to what the loop leaves. runs_once: there is a turn for certain."""
        values = iter(results)
        final: list[Any] = []
        for k, (name, before, last, kind) in enumerate(zip(self.leaf_names, self.leaves, after, self.kinds)):
            if kind is not None:
                made = variable(trace, values, kind)
                if runs_once and isinstance(kind, Mix) and not isinstance(last, Mixed):
                    made = made.parts[kind.place(last)]  # no longer what it was before
                final.append(self._left(trace, k, made, after, ran))
            elif isinstance(before, Undefined) and not isinstance(last, Undefined):
                final.append(Undefined(name, "is assigned inside a traced loop only"))
            else:
                final.append(before)
        self.scope.set(packed(self.trees, final))


def _apart(name: str, x: Any, y: Any) -> bool:
    """Whether a variable cannot be joined of what it is on two paths."""
    try:
        if all(is_scalar(v) or is_array(v) for v in (x, y)):
            join(name, kind_of(x), kind_of(y))
    except CannotStage:
        return True
    return False


def _leaves(state: State) -> tuple[Flat, list[Tree]]:
    leaves: Flat = []
    trees = [flatten(x, leaves) for x in state]
    return leaves, trees
