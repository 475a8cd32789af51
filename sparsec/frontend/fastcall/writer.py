"""A record under construction: its tables, and the objects whose addresses stand in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparsec.frontend.arguments import Arguments
from sparsec.frontend.tracing import TracedFunction

__all__ = ["NativeRecord", "Unfit", "Writer", "need"]


class Unfit(Exception):
    """This specialisation has no record."""


def need(condition: bool) -> None:
    """Raises Unfit unless the condition holds."""
    if not condition:
        raise Unfit


@dataclass
class NativeRecord:
    """The words of a record; keeps alive what they point to."""

    words: np.ndarray
    kept: list[Any]

    @property
    def address(self) -> int:
        return int(self.words.ctypes.data)


@dataclass
class Writer:
    """Tables under construction, and the objects whose addresses stand in them."""

    traced: TracedFunction
    call: Arguments
    kept: list[Any] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)  # what each value is in this call
    arrays: list[int] = field(default_factory=list)  # array -> value
    scalars: list[int] = field(default_factory=list)  # scalar -> value
    checks: list[list[int]] = field(default_factory=list)
    captures: list[Any] = field(default_factory=list)  # arrays, then containers, that the function reads from outside
    counts: dict[str, int] = field(default_factory=dict)  # numbers of live channels -> value of an index
    blocks: Mapping[int, tuple[int, int]] = field(default_factory=dict)  # parameters that the program gets packed
    packed: dict[int, int] = field(default_factory=dict)  # those -> value

    def room(self, count: int) -> int:
        """Where that many more values begin."""
        self.values.extend([None] * count)
        return len(self.values) - count

    def ref(self, item: Any) -> int:
        """The address of an object, which the record keeps."""
        self.kept.append(item)
        return id(item)

    def table(self, rows: Sequence[Sequence[int]], words: int = 1) -> int:
        """The address of a table."""
        made = np.zeros((max(len(rows), 1), words), np.int64)
        for k, row in enumerate(rows):
            made[k, : len(row)] = row
        self.kept.append(made)
        return int(made.ctypes.data)

    def list(self, numbers: Sequence[int]) -> int:
        return self.table([[n] for n in numbers])

    def given(self, number: int) -> np.ndarray:
        """One of the call's arrays, those that the function captures last."""
        return [*self.call.arrays, *self.traced.captures][number]

    @property
    def must_be(self) -> bool:
        """Whether the next of the call's arrays must be the very one of this call: what is passed was made of it."""
        specs = self.traced.capture_specs
        storages = {specs[self.traced.params[k].array].storage for k in self.blocks}
        return specs[len(self.arrays)].storage in storages
