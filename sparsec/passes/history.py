"""Finds the earlier accesses that a new one may meet, without looking at all of them.

A program that writes a thousand elements one by one has half a million pairs of writes, nearly all far apart.
Accesses lie in a grid of cells per storage, each at the level whose cells are as large as its own byte range:
it is in two cells at most, and a query looks only at the cells that its range crosses. Reads are asked for only
where something is written, and the same access of several groups is kept once, for the last of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sparsec.ir.dims import Poly
from sparsec.ir.tensorref import span
from sparsec.passes.accesses import Access

Range = tuple[int, int]  # first byte, and the one after the last
Entry = tuple[int, Access]  # the group that makes the access
Cell = dict[Access, int]  # the last group that makes each access


def byte_range(a: Access) -> Range | None:
    """The bytes of the storage between which the access stays; None if symbols decide."""
    numbers = (a.ref.offset, *a.ref.strides, *a.shape)
    if any(isinstance(n, Poly) for n in numbers):
        return None
    low, high = span(a.ref, tuple(int(d) for d in a.shape))  # type: ignore[arg-type]
    return low * a.itemsize, high * a.itemsize


@dataclass
class _Storage:
    """Accesses of one storage: by level and cell, and those that may be anywhere."""

    levels: dict[int, dict[int, Cell]] = field(default_factory=dict)
    anywhere: Cell = field(default_factory=dict)


class History:
    """The accesses so far."""

    def __init__(self) -> None:
        self._read: dict[str, _Storage] = {}
        self._written: dict[str, _Storage] = {}

    def add(self, number: int, a: Access) -> None:
        """Records an access that group `number` makes."""
        storages = self._written if a.write else self._read
        storage = storages.setdefault(a.storage, _Storage())
        where = byte_range(a)
        if where is None:
            _keep(storage.anywhere, number, a)
            return
        low, high = where
        if low == high:
            return  # no element: it meets nothing
        level = (high - low).bit_length()
        cells = storage.levels.setdefault(level, {})
        for cell in range(low >> level, ((high - 1) >> level) + 1):
            _keep(cells.setdefault(cell, {}), number, a)

    def near(self, a: Access) -> Iterator[Entry]:
        """Earlier accesses that `a` may have to stay behind; some twice."""
        for storages in (self._written, self._read) if a.write else (self._written,):
            storage = storages.get(a.storage)
            if storage is not None:
                for cell in _cells(storage, byte_range(a)):
                    for access, number in cell.items():
                        yield number, access


def _keep(cell: Cell, number: int, a: Access) -> None:
    cell[a] = max(number, cell.get(a, -1))


def _cells(storage: _Storage, where: Range | None) -> Iterator[Cell]:
    """The cells that a range (None: anywhere) may cross."""
    yield storage.anywhere
    for level, cells in storage.levels.items():
        if where is None or (where[1] - where[0]) >> level > len(cells):
            yield from cells.values()
        else:
            for number in range(where[0] >> level, ((where[1] - 1) >> level) + 1):
                if (cell := cells.get(number)) is not None:
                    yield cell
