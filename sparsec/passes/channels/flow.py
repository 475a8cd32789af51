"""One walk over a function that keeps compact what is compact.

    %x = spread %d, %i {axis=1, full=4}            %y.live = exp2 … on compact data
    %y = sin %x : f32[1,4,8,8]               ->    %y.live = sin %d : f32[1,k<=4 of 4 @%i,8,8]
    return %y                                      %y = spread %y.live, %i {axis=1, full=4} : f32[1,4,8,8]

Every value of the old program is one of two things in the new one: a value (`env`, itself by default), or `Live`,
of which only some channels are stored. An op of which an operand is live is handed to the rule of its kind; where no
rule takes it, the operand is spread: that is what densifying is, and `reasons` says why. A spread is written where
it is first needed, once, and keeps the name of the value.

Regions are walked as the function is (`control.py`). What is computed of a value for its channels' sake alone, a
spread or a selection, is written down where the value is: in a loop, once before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from sparsec.ir.builder import Names, infer_types
from sparsec.ir.graph import Op, Value, walk
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.tensorref import contiguous_strides
from sparsec.ir.types import I32, TensorType
from sparsec.passes.channels.construction import Construction
from sparsec.passes.channels.index_flow import IndexFlow
from sparsec.passes.channels.live import Live
from sparsec.passes.rebuild import retyped

__all__ = ["Flow", "Later", "Refused", "Rule", "Rules", "State", "channels_of", "whole"]


@dataclass(frozen=True, slots=True)
class Later:
    """An op that is written down when its result is needed: a part of a join, or a view of one."""

    op: Op
    join: Waiting | None


class Waiting(Protocol):
    """Writes that may turn out to make a live value."""

    @property
    def axis(self) -> int: ...

    @property
    def parts(self) -> tuple[tuple[int, Op], ...]: ...

    def is_whole(self) -> bool:
        """Whether no part is missing."""

    def settle(self, flow: Flow) -> Live | None:
        """The live value, if it is one."""


State = Live | Later | Value


class Refused(Exception):
    """No rule keeps this op compact; the words say why."""


class Flow(Construction):
    """The walk: what every value of the old program is in the new one."""

    def __init__(self, names: Names, rules: Rules, params: Iterable[Value] = (), fixed: Iterable[str] = ()) -> None:
        super().__init__(names, params)
        self.rules = rules
        self.env: dict[str, State] = {}
        self.reasons: dict[str, tuple[Op, str]] = {}  # spread -> the op that needs it, and why
        self.views: dict[str, Op] = {}  # views of the old program
        self.fixed = set(fixed)  # storages that stay whole: arguments, and what loops carry whole
        self.partial: dict[str, Op] = {}  # writes to live channels of arrays that may have elements without a value
        self.mixed: dict[str, Op] = {}  # dense results of elementwise ops on live operands -> the op
        self.indexes = IndexFlow(self._emit_index, self._emit_literal)
        self._spread: dict[str, Value] = {}
        self._taken: dict[tuple[str, str, int], Value] = {}

    # --- values ------------------------------------------------------------------------------------------

    def peek(self, value: Value) -> State:
        """What a value of the old program is in the new one, so far."""
        return self.env.get(value.name, value)

    def state(self, value: Value) -> Live | Value:
        """What a value of the old program is in the new one."""
        found = self.peek(value)
        if isinstance(found, Later):
            with self.at(self.home(value)):
                self._settle(value, found)
            found = self.peek(value)
            assert not isinstance(found, Later)
        return found

    def live(self, value: Value) -> Live | None:
        found = self.state(value)
        return found if isinstance(found, Live) else None

    def absent(self, value: Value) -> Live | None:
        """As `live`, where the channels that are not stored are 0."""
        found = self.live(value)
        return found if found is not None and found.absent else None

    def waiting(self, value: Value) -> Any | None:
        """The writes that wait behind a version, if there are any."""
        found = self.peek(value)
        return found.join if isinstance(found, Later) else None

    def _settle(self, value: Value, later: Later) -> None:
        """Writes down an op that waits."""
        live = later.join.settle(self) if later.join is not None else None
        if live is not None:
            self.env[value.name] = self._simplified(live)
            return
        pending = [op for _, op in later.join.parts] if later.join is not None else [later.op]
        for op in pending:
            if isinstance(self.env.get(op.result.name), Later):
                del self.env[op.result.name]
                self.copy(op, "a part of an array that has all its channels elsewhere is written")

    def dense(self, value: Value, why: str = "", user: Op | None = None) -> Value:
        """The elements of a value of the old program, to be read. Spreads it where it is live: `user` needs it."""
        found = self.state(value)
        if isinstance(found, Live) and self.is_full(found.index, found.full):
            return found.data
        return self.rooted(value, why, user)

    def rooted(self, value: Value, why: str = "", user: Op | None = None) -> Value:
        """A value in full, which lies in its storage as it did in the old program."""
        found = self.state(value)
        if not isinstance(found, Live):
            return found
        if value.name not in self._spread:
            with self.at(self.home(value)):
                self._spread[value.name] = self._in_full(value, found, why, user)
        return self._spread[value.name]

    def _in_full(self, value: Value, live: Live, why: str, user: Op | None) -> Value:
        view = self.views.get(value.name)
        if view is not None:  # of the storage that it was taken of: what it lies in is seen elsewhere, too
            again = retyped(view, (self.rooted(view.operands[0], why, user),))
            self.write_down(again)
            return again.result
        if value.name in self.partial:
            return self._written_again(self.partial[value.name], why, user)
        made = self._written_out(value, live)
        if user is not None:
            self.reasons[made.name] = user, why
        return made

    def _written_again(self, op: Op, why: str, user: Op | None) -> Value:
        """A write as it was: what it did not reach cannot be spread, as it may have no value yet."""
        version, region, value = op.operands
        placed = self.rooted(version, why, user), self.rooted(region, why, user)
        made = retyped(op, (*placed, self.dense(value, why, user)))
        self.write_down(made)
        return made.result

    def _written_out(self, value: Value, live: Live) -> Value:
        type = TensorType(value.type.dtype, value.type.shape)
        name = value.name if value.type.ref is None else self.names.fresh(f"{value.name}.full")
        result = Value(name, type)
        attrs = {"axis": live.axis, "full": live.full, "fill": live.element()}
        self.write_down(Op("spread", (live.data, live.index), (result,), attrs, (), self._loc()))
        return result

    # --- one op after the other --------------------------------------------------------------------------

    def adopt(self, op: Op) -> None:
        """Takes over an op that needs no look (literals, index flow of the program)."""
        is_index = op.name != "const" or (op.result.type.dtype == I32 and op.result.type.rank == 1)
        if self._at and not is_index:
            self.write_down(op)
            return
        known = self.indexes.known(op) if self._at else None
        if known is not None:
            self.env[op.result.name] = known
            return
        early = all(v.name in self._early for v in op.operands)
        self.write_down(op, first=early)
        if early:
            self._early.update(r.name for r in op.results)
        if op.name == "const" and op.result.type.dtype == I32 and op.result.type.rank == 1:
            self.indexes.literals[op.result.name] = np.full(op.attrs["shape"], op.attrs["value"], I32)
        self.indexes.adopt(op)

    def add(self, op: Op) -> None:
        """The next op of the old program."""
        if op.results and op.results[0].name in self.made:
            return  # index flow that stands at the top already
        self._like = op
        self._home.update((r.name, self._at) for r in op.results)
        if op.name == "spread":
            self._take_spread(op)
            return
        kind = record(op.name).kind
        if kind in (Kind.CONST, Kind.INDEX):
            self.adopt(self._renamed(op))
            return
        if kind is Kind.CONTROL:
            self.rules.control(self, op)
            return
        if kind is Kind.VIEW:
            self.views[op.result.name] = op
            if isinstance(self.peek(op.operands[0]), Later):
                self.env[op.result.name] = Later(op, None)
                return
        rule = self.rules.of(op)
        always = rule is not None and self.rules.always(op)
        lives = () if always else [v for v in op.operands if self.live(v) is not None]
        if not lives and not always:
            self.copy(op, "")
            return
        try:
            if rule is None:
                raise Refused(f"{op.name} has no rule for absent channels")
            self._define(op, rule(self, op))
        except Refused as refused:
            self.copy(op, str(refused))

    def added(self, name: str, *operands: Value, **attrs: Any) -> Value:
        """One more op of the old program, and its result there."""
        rec = record(name)
        (type,) = infer_types(rec, operands, {**rec.defaults, **attrs})
        result = Value(self.names.fresh(), type)
        like = self._like
        self.add(Op(name, operands, (result,), {**rec.defaults, **attrs}, (), self._loc()))
        self._like = like
        return result

    def _define(self, op: Op, found: State | None) -> None:
        if found is not None:
            # A view stays one of the storage that it was taken of: results may lie in it.
            view = record(op.name).kind is Kind.VIEW
            self.env[op.result.name] = found if view else self._simplified(found)
        if isinstance(found, Later) and found.join is not None and found.join.is_whole():
            self.state(op.result)

    def _simplified(self, found: State) -> State:
        """A value that has all its channels is no sparse one, if it has a storage of its own."""
        if isinstance(found, Live) and self.is_full(found.index, found.full):
            return found if found.data.storage in self.fixed or not whole(found.data) else found.data
        return found

    def is_full(self, index: Value, full: int) -> bool:
        """Whether an index is known to name all channels."""
        known = self.indexes.literals.get(index.name)
        return known is not None and len(known) == full and full > 0

    def _take_spread(self, op: Op) -> None:
        data, index = (self.dense(v) for v in op.operands)
        axis, full = op.attrs["axis"], op.attrs["full"]
        fill = data.type.dtype.type(op.attrs["fill"])
        self.indexes.note(index)
        self._define(op, Live(data, index, axis, full, fill))

    def copy(self, op: Op, why: str) -> None:
        """The op as it is, on whole operands."""
        kind = record(op.name).kind
        placed = op.operands if kind is Kind.VIEW else op.operands[:2] if kind is Kind.UPDATE else ()
        swapped = {
            v.name: (self.rooted if v in placed else self.dense)(v, why, op)
            for v in op.operands if v.name in self.env
        }
        new = self._renamed(op, swapped)
        self.write_down(new)
        for old, result in zip(op.results, new.results):
            if old != result:
                self.env[old.name] = result

    def _renamed(self, op: Op, swapped: dict[str, Value] | None = None) -> Op:
        if swapped is None:
            swapped = {v.name: self.dense(v) for v in op.operands if v.name in self.env}
        if not swapped:
            return op
        return retyped(op, tuple(swapped.get(v.name, v) for v in op.operands))

    def define(self, value: Value, state: State) -> None:
        """Says what a value of the old program is in the new one."""
        self.env[value.name] = state

    def forget(self, op: Op) -> None:
        """Regions of `op` are walked again: nothing is known of what they make."""
        inside = [r for part in walk([op]) for r in (*part.results, *(p for x in part.regions for p in x.params))]
        names = {r.name for r in inside} - self._early
        for table in (self.env, self.made, self.views, self.mixed, self.partial, self._spread):
            for name in names & table.keys():
                del table[name]  # type: ignore[attr-defined]
        self._taken = {key: value for key, value in self._taken.items() if key[0] not in names}

    # --- what rules ask for ------------------------------------------------------------------------------

    def known(self, value: Value) -> Any | None:
        """The one number that all elements of a dense value are, if that is known: a NumPy scalar."""
        op = self.made.get(value.name)
        while op is not None and op.name in ("broadcast", "copy", "reshape", "slice", "transpose"):
            op = self.made.get(op.operands[0].name)
        if op is None or op.name != "const":
            return None
        number = op.attrs["value"]
        if isinstance(number, tuple):
            if len(number) != 1:
                return None
            number = number[0]
        with np.errstate(all="ignore"):
            return np.asarray(number, op.attrs["dtype"])[()]

    def taken(self, live: Live, index: Value) -> Value:
        """The data of a live value at the channels of another index; its fill where it has none."""
        if live.index.name == index.name:
            return live.data
        if 0 in live.data.type.shape:
            shape = (*live.shape[: live.axis], index.type.shape[0], *live.shape[live.axis + 1 :])
            return self.constant(live.fill, live.data.type.dtype, shape)
        at = self.indexes.positions(index, live.index)
        key = (live.data.name, at.name, live.axis)
        if key not in self._taken:
            with self.at(self.home(live.data, at)):
                self._taken[key] = self._take(live, index, at)
        return self._taken[key]

    def _take(self, live: Live, index: Value, at: Value) -> Value:
        fill = None if self.indexes.within(index, live.index) else live.element()
        return self.emit("take_channels", live.data, at, axis=live.axis, fill=fill, stem=f"{live.data.name}.at",
                         channels=replace(live, index=index))

    def owned(self, live: Live, index: Value) -> Value:
        """As `taken`, to be written: no argument's memory, and nothing that others read. Data with these channels are
        written where they lie, as the old program does."""
        if live.index.name != index.name and 0 not in live.data.type.shape:
            return self._take(live, index, self.indexes.positions(index, live.index))
        data = self.taken(live, index)
        outside = self._apart and self.home(data) < self._at
        if outside or data.storage in self.fixed or not whole(data):
            return self.emit("copy", data, channels=replace(live, index=index))
        return data

    def gathered(self, value: Value, index: Value, axis: int) -> Value:
        """The channels `index` of a value of the old program, along `axis`."""
        found = self.state(value)
        if isinstance(found, Live):
            if found.axis != axis:
                whole = self.dense(value, "its channels are on another axis", self._like)
                return self.gathered_dense(whole, index, axis)
            return self.taken(found, index)
        return self.gathered_dense(found, index, axis)

    def gathered_dense(self, value: Value, index: Value, axis: int) -> Value:
        if self.is_full(index, int(value.type.shape[axis])):  # type: ignore[arg-type]
            return value
        key = (value.name, index.name, axis)
        if key not in self._taken:
            with self.at(self.home(value, index)):
                self._taken[key] = self._pushed(value, index, axis)
        return self._taken[key]

    def _pushed(self, value: Value, index: Value, axis: int) -> Value:
        """Taking channels moves before views and before ops that had to be dense for their own sake only."""
        found = self.rules.pushed(self, value, index, axis)
        if found is not None:
            return found
        full = int(value.type.shape[axis])  # type: ignore[arg-type]
        goal = Live(value, index, axis, full, 0)
        return self.emit("take_channels", value, index, axis=axis, fill=None, stem=f"{value.name}.at", channels=goal)


Rule = Callable[[Flow, Op], State | None]


class Rules(Protocol):
    """What the walk asks for: `rules.py` has the answers."""

    def of(self, op: Op) -> Rule | None:
        """The rule of an op, or None: then its operands are spread."""

    def always(self, op: Op) -> bool:
        """Whether the rule is asked although no operand is live."""

    def pushed(self, flow: Flow, value: Value, index: Value, axis: int) -> Value | None:
        """Channels of a dense value, taken further up; None where they are best taken here."""

    def control(self, flow: Flow, op: Op) -> None:
        """A loop or a branch, and all that is in it."""


def whole(value: Value) -> bool:
    """Whether a value is all of its storage, in C order."""
    return value.ref.offset == 0 and value.ref.strides == contiguous_strides(value.type.shape)


def channels_of(lives: Sequence[Live]) -> tuple[int, int]:
    """The axis and full length that values share. Raises Refused where they differ."""
    first = lives[0]
    if any((x.axis, x.full) != (first.axis, first.full) for x in lives):
        raise Refused("its operands have channels on different axes")
    return first.axis, first.full
