"""Finds the earlier accesses that a new one may meet, without looking at all of them.

A program that writes a thousand elements one by one has half a million pairs of writes, nearly all far apart.
Accesses lie in a grid of cells per storage, each at the level whose cells are as large as its own byte range:
it is in two cells at most, and a query looks only at the cells that its range crosses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sparsec.ir.dims import Poly
from sparsec.ir.tensorref import span
from sparsec.passes.accesses import Access

Range = tuple[int, int]  # first byte, and the one after the last
Entry = tuple[int, Access]  # the group that makes the access


def byte_range(a: Access) -> Range | None:
    """The bytes of the storage between which the access stays; None if symbols decide."""
    numbers = (a.ref.offset, *a.ref.strides, *a.shape)
    if any(isinstance(n, Poly) for n in numbers):
        return None
    low, high = span(a.ref, tuple(int(d) for d in a.shape))  # type: ignore[arg-type]
    return low * a.itemsize, high * a.itemsize


@dataclass
class _Storage:
    """The accesses of one storage: by level and cell, and those that may be anywhere."""

    levels: dict[int, dict[int, list[Entry]]] = field(default_factory=dict)
    anywhere: list[Entry] = field(default_factory=list)


class History:
    """The accesses so far."""

    def __init__(self) -> None:
        self._storages: dict[str, _Storage] = {}

    def add(self, number: int, a: Access) -> None:
        """Records an access that group `number` makes."""
        storage = self._storages.setdefault(a.storage, _Storage())
        where = byte_range(a)
        if where is None:
            storage.anywhere.append((number, a))
            return
        low, high = where
        if low == high:
            return  # no element: it meets nothing
        level = (high - low).bit_length()
        cells = storage.levels.setdefault(level, {})
        for cell in range(low >> level, ((high - 1) >> level) + 1):
            cells.setdefault(cell, []).append((number, a))

    def near(self, a: Access) -> Iterator[Entry]:
        """Earlier accesses whose range may cross that of `a`; some twice."""
        storage = self._storages.get(a.storage)
        if storage is None:
            return
        yield from storage.anywhere
        where = byte_range(a)
        for level, cells in storage.levels.items():
            if where is None or (where[1] - where[0]) >> level > len(cells):
                for entries in cells.values():
                    yield from entries
            else:
                for cell in range(where[0] >> level, ((where[1] - 1) >> level) + 1):
                    yield from cells.get(cell, ())
