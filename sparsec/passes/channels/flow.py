"""One walk over a function that keeps compact what is compact.

    %x = spread %d, %i {axis=1, full=4}            %y.live = exp2 … on compact data
    %y = sin %x : f32[1,4,8,8]               ->    %y.live = sin %d : f32[1,k<=4 of 4 @%i,8,8]
    return %y                                      %y = spread %y.live, %i {axis=1, full=4} : f32[1,4,8,8]

Every value of the old program is one of two things in the new one: a value (`env`, itself by default), or `Live`,
of which only some channels are stored. An op of which an operand is live is handed to the rule of its kind; where no
rule takes it, the operand is spread: that is what densifying is, and `reasons` says why. A spread is written where
it is first needed, once, and keeps the name of the value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from sparsec.ir.builder import Names, infer_types
from sparsec.ir.dims import Dim
from sparsec.ir.graph import Op, Value, free_values
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.types import I32, TensorType
from sparsec.passes.channels.index_flow import IndexFlow
from sparsec.passes.channels.live import Live, annotated
from sparsec.passes.rebuild import rename_op, retyped

__all__ = ["Flow", "Refused", "Rule", "Rules", "State", "channels_of"]

State = Live | Value


class Refused(Exception):
    """No rule keeps this op compact; the words say why."""


class Flow:
    """The new program under construction. `out` are its ops."""

    def __init__(self, names: Names, rules: Rules, params: Iterable[Value] = ()) -> None:
        self.rules = rules
        self.head: list[Op] = []  # index flow that needs no data: it stands first
        self.out: list[Op] = []
        self.made: dict[str, Op] = {}  # the op behind each value of the new program
        self.env: dict[str, State] = {}
        self.names = names
        self.reasons: dict[str, tuple[Op, str]] = {}  # spread -> the op that needs it, and why
        self.mixed: dict[str, Op] = {}  # dense results of elementwise ops on live operands -> the op
        self.indexes = IndexFlow(self._emit_index, self._emit_literal)
        self._like: Op | None = None
        self._early = {p.name for p in params}
        self._spread: dict[str, Value] = {}
        self._taken: dict[tuple[str, str, int], Value] = {}

    # --- values ------------------------------------------------------------------------------------------

    def state(self, value: Value) -> State:
        """What a value of the old program is in the new one."""
        return self.env.get(value.name, value)

    def live(self, value: Value) -> Live | None:
        found = self.env.get(value.name)
        return found if isinstance(found, Live) else None

    def dense(self, value: Value, why: str = "", user: Op | None = None) -> Value:
        """A value of the old program in full. Spreads it where it is live."""
        found = self.state(value)
        if not isinstance(found, Live):
            return found
        if value.name not in self._spread:
            self._spread[value.name] = self._written_out(value, found)
            if user is not None:
                self.reasons[self._spread[value.name].name] = user, why
        return self._spread[value.name]

    def _written_out(self, value: Value, live: Live) -> Value:
        type = TensorType(value.type.dtype, value.type.shape)
        name = value.name if value.type.ref is None else self.names.fresh(f"{value.name}.full")
        result = Value(name, type)
        attrs = {"axis": live.axis, "full": live.full, "fill": live.element()}
        self._append(Op("spread", (live.data, live.index), (result,), attrs, (), self._loc()))
        return result

    # --- building ----------------------------------------------------------------------------------------

    def _loc(self) -> Any:
        return self._like.loc if self._like is not None else None

    @property
    def ops(self) -> tuple[Op, ...]:
        """The new program."""
        return (*self.head, *self.out)

    def _append(self, op: Op, *, first: bool = False) -> None:
        (self.head if first else self.out).append(op)
        self.made.update((r.name, op) for r in op.results)

    def emit(self, name: str, *operands: Value, stem: str = "", channels: Live | None = None, **attrs: Any) -> Value:
        """Appends an op; `channels`: the result has the channels of this value, along its axis."""
        rec = record(name)
        full = {**rec.defaults, **attrs}
        (type,) = infer_types(rec, operands, full)
        if channels is not None:
            type = annotated(type, channels.axis, channels.full, channels.index)
        result = Value(self.names.fresh(stem), type)
        self._append(Op(name, operands, (result,), full, (), self._loc()))
        return result

    def _emit_index(self, name: str, *operands: Value, **attrs: Any) -> Value:
        """Index flow; it stands before all data flow where it can."""
        rec = record(name)
        (type,) = infer_types(rec, operands, attrs)
        result = Value(self.names.fresh(name.removeprefix("index_")), type)
        early = all(v.name in self._early for v in operands)
        self._append(Op(name, operands, (result,), attrs, (), self._loc()), first=early)
        if early:
            self._early.add(result.name)
        return result

    def _emit_literal(self, entries: np.ndarray[Any, Any]) -> Value:
        result = Value(self.names.fresh("channels"), TensorType(I32, (len(entries),)))
        attrs = {"value": tuple(entries.tolist()), "dtype": I32, "shape": (len(entries),)}
        self._append(Op("const", (), (result,), attrs, (), self._loc()), first=True)
        self._early.add(result.name)
        return result

    def constant(self, value: Any, dtype: Any, shape: tuple[Dim, ...] = ()) -> Value:
        """A number, or fresh storage that is full of it."""
        type = TensorType(np.dtype(dtype), ())
        result = Value(self.names.fresh("c"), type)
        attrs = {"value": np.asarray(value, dtype).item(), "dtype": type.dtype, "shape": ()}
        self._append(Op("const", (), (result,), attrs, (), self._loc()))
        return result if shape == () else self.emit("copy", self.emit("broadcast", result, shape=shape))

    # --- one op after the other --------------------------------------------------------------------------

    def adopt(self, op: Op) -> None:
        """Takes over an op that needs no look (literals, index flow of the program)."""
        early = all(v.name in self._early for v in op.operands)
        self._append(op, first=early)
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
        if op.name == "spread":
            self._take_spread(op)
            return
        kind = record(op.name).kind
        if kind in (Kind.CONST, Kind.INDEX):
            self.adopt(self._renamed(op))
            return
        lives = [v for v in op.operands if self.live(v) is not None]
        if kind is Kind.CONTROL:
            self.copy(op, "control flow takes whole arrays")
            return
        rule = self.rules.of(op)
        if not lives and not self.rules.always(op):
            self.copy(op, "")
            return
        try:
            if rule is None:
                raise Refused(f"{op.name} has no rule for absent channels")
            self._define(op, rule(self, op))
        except Refused as refused:
            self.copy(op, str(refused))

    def _define(self, op: Op, found: State | None) -> None:
        if found is not None:
            self.env[op.result.name] = self._simplified(found)

    def _simplified(self, found: State) -> State:
        """A value that has all its channels is no sparse one."""
        if isinstance(found, Live):
            known = self.indexes.literals.get(found.index.name)
            if known is not None and len(known) == found.full:
                return found.data
        return found

    def _take_spread(self, op: Op) -> None:
        data, index = (self.dense(v) for v in op.operands)
        axis, full = op.attrs["axis"], op.attrs["full"]
        fill = data.type.dtype.type(op.attrs["fill"])
        self.indexes.note(index)
        self._define(op, Live(data, index, axis, full, fill))

    def copy(self, op: Op, why: str) -> None:
        """The op as it is, on whole operands."""
        swapped = {v.name: self.dense(v, why, op) for v in free_values(op) if v.name in self.env}
        new = self._renamed(op, swapped)
        self._append(new)
        for old, result in zip(op.results, new.results):
            if old != result:
                self.env[old.name] = result

    def _renamed(self, op: Op, swapped: dict[str, Value] | None = None) -> Op:
        if swapped is None:
            swapped = {v.name: self.dense(v) for v in op.operands if v.name in self.env}
        if not swapped:
            return op
        if op.regions:
            return rename_op(op, swapped)
        return retyped(op, tuple(swapped.get(v.name, v) for v in op.operands))

    # --- what rules ask for ------------------------------------------------------------------------------

    def known(self, value: Value) -> Any | None:
        """The one number that all elements of a dense value are, if that is known: a NumPy scalar."""
        op = self.made.get(value.name)
        while op is not None and op.name in ("broadcast", "reshape", "slice", "transpose"):
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
            fill = None if self.indexes.within(index, live.index) else live.element()
            self._taken[key] = self.emit(
                "take_channels", live.data, at, axis=live.axis, fill=fill, stem=f"{live.data.name}.at",
                channels=replace(live, index=index),
            )
        return self._taken[key]

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
        key = (value.name, index.name, axis)
        if key not in self._taken:
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


def channels_of(lives: Sequence[Live]) -> tuple[int, int]:
    """The axis and full length that values share. Raises Refused where they differ."""
    first = lives[0]
    if any((x.axis, x.full) != (first.axis, first.full) for x in lives):
        raise Refused("its operands have channels on different axes")
    return first.axis, first.full
