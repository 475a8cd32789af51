"""What the functions of the stub often say: rows of the record's tables, and references to Python's objects.

The record is the parameter `%record` of the function that is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TypeVar

from sparsec.codegen.llfunc import Function
from sparsec.ir.call_record import WORDS, Record

__all__ = ["cases", "each_row", "hold", "release"]

_Kind = TypeVar("_Kind", bound=IntEnum)


@contextmanager
def each_row(f: Function, table: Record) -> Iterator[tuple[str, str]]:
    """The number and the place of each row."""
    first = f.word("%record", table, "ptr")
    with f.loop(f.word("%record", table + 1)) as k:
        yield k, f.row(first, k, WORDS[table])


def cases(f: Function, value: str, kinds: type[_Kind], otherwise: str) -> dict[_Kind, str]:
    """Jumps to the label of the kind."""
    labels = {kind: f.label() for kind in kinds}
    f.switch(value, [(int(kind), label) for kind, label in labels.items()], otherwise)
    return labels


def hold(f: Function, thing: str) -> None:
    """One more reference."""
    f.call("void", "sparsec_Py_IncRef", ("ptr", thing))


def release(f: Function, thing: str) -> None:
    """One reference less, unless it is null."""
    f.call("void", "sparsec_Py_DecRef", ("ptr", thing))
