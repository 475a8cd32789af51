"""The new program under construction: its op lists, from the function's own to the innermost that is open.

Index flow that needs no data stands before all else, so that it is computed once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from sparsec.ir.builder import Names, infer_types
from sparsec.ir.dims import Dim
from sparsec.ir.graph import Op, Value
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.types import I32, TensorType
from sparsec.passes.channels.live import Live, annotated

__all__ = ["Construction"]


class Construction:
    """Ops are written to one of the open lists: `at` says to which."""

    def __init__(self, names: Names, params: Iterable[Value]) -> None:
        self.names = names
        self.head: list[Op] = []  # index flow that needs no data: it stands first
        self.made: dict[str, Op] = {}  # the op behind each value of the new program
        self._like: Op | None = None  # the op of the old program that is being rewritten: its line is theirs
        self._blocks: list[list[Op]] = [[]]
        self._at = 0  # which of them is written to
        self._apart = False  # whether what lies outside of the innermost is copied before it is written
        self._home: dict[str, int] = {}  # which of them a value is of, old and new ones
        self._early = {p.name for p in params}  # values that stand before all data flow

    @property
    def ops(self) -> tuple[Op, ...]:
        """The new program."""
        return (*self.head, *self._blocks[0])

    def home(self, *values: Value) -> int:
        """The innermost of the blocks that values are of."""
        return max(self._home.get(v.name, 0) for v in values)

    @contextmanager
    def at(self, block: int) -> Iterator[None]:
        """Ops go into that block for now, one that is open."""
        before, self._at = self._at, block
        try:
            yield
        finally:
            self._at = before

    @contextmanager
    def block(self, ops: list[Op], params: Iterable[Value] = ()) -> Iterator[None]:
        """The op list of a region, for now the innermost."""
        self._blocks.append(ops)
        self._home.update((p.name, len(self._blocks) - 1) for p in params)
        with self.at(len(self._blocks) - 1):
            yield
        self._blocks.pop()

    @contextmanager
    def apart(self) -> Iterator[None]:
        """For now, blocks write to no memory from outside of them."""
        before, self._apart = self._apart, True
        try:
            yield
        finally:
            self._apart = before

    def write_down(self, op: Op, *, first: bool = False) -> None:
        """Appends an op."""
        (self.head if first else self._blocks[self._at]).append(op)
        self.made.update((r.name, op) for r in op.results)
        self._home.update((r.name, 0 if first else self._at) for r in op.results)

    def _loc(self) -> Any:
        return self._like.loc if self._like is not None else None

    def emit(self, name: str, *operands: Value, stem: str = "", channels: Live | None = None, **attrs: Any) -> Value:
        """Appends an op; `channels`: the result has the channels of this value, along its axis."""
        rec = record(name)
        full = {**rec.defaults, **attrs}
        (type,) = infer_types(rec, operands, full)
        if rec.kind is Kind.VIEW and (type.shape, type.ref) == (operands[0].type.shape, operands[0].ref):
            return operands[0]
        if 0 in type.shape and rec.kind not in (Kind.VIEW, Kind.UPDATE):  # no channel is live: nothing is computed
            name, operands, full = "empty", (), {"dtype": type.dtype, "shape": type.shape}
        if channels is not None:
            type = annotated(type, channels.axis, channels.full, channels.index)
        result = Value(self.names.fresh(stem), type)
        self.write_down(Op(name, operands, (result,), full, (), self._loc()))
        return result

    def emit_for(self, op: Op, name: str, *operands: Value, **attrs: Any) -> Value:
        """Another op for `op`, whose result is dense and keeps its name."""
        made = Op(name, operands, (Value(op.result.name, op.result.type),), attrs, (), op.loc)
        self.write_down(made)
        return made.result

    def _emit_index(self, name: str, *operands: Value, **attrs: Any) -> Value:
        """Index flow; it stands before all data flow where it can, and else where its operands are: it is kept, and
        asked for behind the loop that needs it first."""
        rec = record(name)
        (type,) = infer_types(rec, operands, attrs)
        result = Value(self.names.fresh(name.removeprefix("index_")), type)
        early = all(v.name in self._early for v in operands)
        with self.at(self.home(*operands)):
            self.write_down(Op(name, operands, (result,), attrs, (), self._loc()), first=early)
        if early:
            self._early.add(result.name)
        return result

    def _emit_literal(self, entries: np.ndarray[Any, Any]) -> Value:
        result = Value(self.names.fresh("channels"), TensorType(I32, (len(entries),)))
        attrs = {"value": tuple(entries.tolist()), "dtype": I32, "shape": (len(entries),)}
        self.write_down(Op("const", (), (result,), attrs, (), self._loc()), first=True)
        self._early.add(result.name)
        return result

    def constant(self, value: Any, dtype: Any, shape: tuple[Dim, ...] = ()) -> Value:
        """A number, or fresh storage that is full of it."""
        type = TensorType(np.dtype(dtype), ())
        result = Value(self.names.fresh("c"), type)
        attrs = {"value": np.asarray(value, dtype).item(), "dtype": type.dtype, "shape": ()}
        self.write_down(Op("const", (), (result,), attrs, (), self._loc()))
        return result if shape == () else self.emit("copy", self.emit("broadcast", result, shape=shape))
