"""Makes indexes from indexes: every one once, and at compile time where its operands are literals.

What is known of inclusion is used: the union of `a` with a union that holds `a` is that union.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparsec.ir.dims import Dim, sym, upper_bound
from sparsec.ir.graph import Op, Value
from sparsec.ir.ops.record import record
from sparsec.ir.types import I32

__all__ = ["IndexFlow"]

Key = tuple[Any, ...]


@dataclass
class IndexFlow:
    """emit: appends an op and gives its result; const: appends an i32 literal."""

    emit: Callable[..., Value]
    const: Callable[[np.ndarray[Any, Any]], Value]
    literals: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)  # what is known of indexes
    _indexes: set[str] = field(default_factory=set)
    _made: dict[Key, Value] = field(default_factory=dict)
    _below: dict[str, frozenset[str]] = field(default_factory=dict)  # indexes that lie in this one
    _above: dict[str, frozenset[str]] = field(default_factory=dict)  # indexes that this one lies in
    _expanded: dict[str, tuple[Value, int]] = field(default_factory=dict)
    _stacked: dict[str, tuple[Value, int]] = field(default_factory=dict)

    def is_index(self, value: Value) -> bool:
        """Whether a vector is known to be sorted and unique, and not a list of positions."""
        known = self.literals.get(value.name)
        if known is not None:
            return bool((known[1:] > known[:-1]).all() and (known >= 0).all())
        return value.name in self._indexes

    def note(self, *indexes: Value) -> None:
        """These are indexes."""
        self._indexes.update(i.name for i in indexes)

    def known(self, op: Op) -> Value | None:
        """What an index op of the program is already, under another name."""
        key = _key(op)
        return self._made.get(key) if key is not None and key[0] != "size" else None

    def adopt(self, op: Op) -> None:
        """Takes an index op of the program itself for what this class would have made."""
        if op.name in ("index_union", "index_intersect", "index_concat", "index_expand"):
            self.note(op.result, *op.operands)
        key = _key(op)
        if key is not None:
            self._made.setdefault(key, op.result)
        match op.name:
            case "index_union":
                self._note_union(op.result, *op.operands)
            case "index_intersect":
                self._note_intersection(op.result, *op.operands)
            case "index_expand":
                self._expanded[op.result.name] = op.operands[0], op.attrs["by"]
            case "index_positions" if self.within(*op.operands):
                self.note(op.result)  # sorted, as its operands are

    # --- sets --------------------------------------------------------------------------------------------

    def within(self, a: Value, b: Value) -> bool:
        """Whether every channel of `a` is known to be one of `b`."""
        if a.name == b.name or a.name in self._below.get(b.name, ()) or b.name in self._above.get(a.name, ()):
            return True
        if a.name in self.literals and b.name in self.literals:
            return bool(np.isin(self.literals[a.name], self.literals[b.name]).all())
        return False

    def union(self, a: Value, b: Value, full: int) -> Value:
        """The channels of one or the other, of `full`."""
        if self.within(a, b):
            return b
        if self.within(b, a):
            return a
        most = _least(full, _sum(upper_bound(_size(a)), upper_bound(_size(b))))
        found = self._join("union", a, b, most)
        self._note_union(found, a, b)
        return found

    def intersection(self, a: Value, b: Value) -> Value:
        """The channels of both."""
        if self.within(a, b):
            return a
        if self.within(b, a):
            return b
        found = self._join("intersect", a, b, _least(upper_bound(_size(a)), upper_bound(_size(b))))
        self._note_intersection(found, a, b)
        return found

    def _join(self, join: str, a: Value, b: Value, most: int) -> Value:
        key = (join, *sorted((a.name, b.name)))
        if key not in self._made:
            self._made[key] = self._folded(f"index_{join}", a, b, size=0) or self._sized(join, a, b, most)
            self.note(self._made[key])
        return self._made[key]

    def _sized(self, join: str, a: Value, b: Value, most: int) -> Value:
        key = ("size", join, *sorted((a.name, b.name)))
        if key not in self._made:
            self._made[key] = self.emit("index_size", a, b, join=join)
        return self.emit(f"index_{join}", a, b, size=sym(f"%{self._made[key].name}", most, 0))

    def _note_union(self, found: Value, *parts: Value) -> None:
        for part in parts:
            self._below[found.name] = self._of(self._below, found) | self._of(self._below, part) | {part.name}

    def _note_intersection(self, found: Value, *parts: Value) -> None:
        for part in parts:
            self._above[found.name] = self._of(self._above, found) | self._of(self._above, part) | {part.name}

    @staticmethod
    def _of(table: dict[str, frozenset[str]], value: Value) -> frozenset[str]:
        return table.get(value.name, frozenset())

    # --- places ------------------------------------------------------------------------------------------

    def positions(self, of: Value, within: Value) -> Value:
        """Where each channel of `of` stands in `within`; -1 if nowhere."""
        return self._once(("positions", of.name, within.name), "index_positions", of, within)

    def table(self, index: Value, full: int) -> Value:
        """Where each of all channels stands in an index; -1 if nowhere."""
        if index.name in self.literals:
            return self.positions(self.everything(full), index)
        return self.positions(self._once(("iota", full), "iota", dtype=I32, shape=(full,), axis=0), index)

    def concat(self, parts: tuple[Value, ...], offsets: tuple[int, ...]) -> Value:
        """The channels of several values, each behind the last."""
        found = self._once(("concat", offsets, *(p.name for p in parts)), "index_concat", *parts, offsets=offsets)
        self.note(found)
        return found

    def everything(self, full: int) -> Value:
        """The index of a value that has all its channels."""
        return self.literal(np.arange(full, dtype=np.int32))

    def literal(self, entries: np.ndarray[Any, Any]) -> Value:
        """An index that is known now."""
        key = ("literal", tuple(entries.tolist()))
        if key not in self._made:
            found = self.const(entries.astype(np.int32))
            self.literals[found.name] = entries.astype(np.int32)
            self._made[key] = found
        return self._made[key]

    def expand(self, index: Value, by: int) -> Value:
        """Each channel as `by` consecutive ones."""
        found = self._once(("expand", by, index.name), "index_expand", index, by=by)
        self._expanded[found.name] = index, by
        self.note(found)
        return found

    def gathered(self, index: Value, by: int) -> Value | None:
        """The index of which this one is the expansion by `by`."""
        source, times = self._expanded.get(index.name, (None, 0))
        return source if times == by else None

    def stacked(self, index: Value, times: int, full: int) -> Value:
        """The index over and over, each time behind another `full` channels."""
        found = self.concat((index,) * times, tuple(range(0, times * full, full)))
        self._stacked[found.name] = index, times
        return found

    def unstacked(self, index: Value) -> tuple[Value | None, int]:
        """The index that this one is so many of; None if it is not known to be."""
        return self._stacked.get(index.name, (None, 0))

    def sliced(self, index: Value, start: int, step: int, count: int) -> tuple[Value, Value]:
        """Channels start, start+step, …: as `among`."""
        return self.among(index, self.literal(np.arange(count, dtype=np.int32) * step + start))

    def among(self, index: Value, chosen: Value) -> tuple[Value, Value]:
        """The chosen channels that are live: the index of them under their new numbers, and their places in
        `index`."""
        kept = self.intersection(index, chosen)
        renumbered = self.positions(kept, chosen)
        self.note(renumbered)
        return renumbered, self.positions(kept, index)

    def _once(self, key: Key, name: str, *operands: Value, **attrs: Any) -> Value:
        if key not in self._made:
            self._made[key] = self._folded(name, *operands, **attrs) or self.emit(name, *operands, **attrs)
        return self._made[key]

    def _folded(self, name: str, *operands: Value, **attrs: Any) -> Value | None:
        """The index as a literal, where its operands are."""
        if not operands or any(v.name not in self.literals for v in operands):
            return None
        ref = record(name).ref
        assert ref is not None
        return self.literal(np.asarray(ref(*(self.literals[v.name] for v in operands), **attrs)))


def _key(op: Op) -> Key | None:
    """The name that an index op goes by here."""
    names = [v.name for v in op.operands]
    match op.name:
        case "index_size":
            return ("size", op.attrs["join"], *sorted(names))
        case "index_union":
            return ("union", *sorted(names))
        case "index_intersect":
            return ("intersect", *sorted(names))
        case "index_positions":
            return ("positions", *names)
        case "index_concat":
            return ("concat", op.attrs["offsets"], *names)
        case "index_expand":
            return ("expand", op.attrs["by"], *names)
    return None


def _size(index: Value) -> Dim:
    return index.type.shape[0]


def _sum(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b


def _least(*bounds: int | None) -> int:
    """The smallest bound; an index without one has at most as many channels as there are."""
    return min(b for b in bounds if b is not None)

