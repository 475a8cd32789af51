"""Bugs to plant in sparsec, each a small change of the real mechanism: what shows that a test of a fault can fail.

    @bug("a copy of an array is the array itself", 11)
    def _(plant):
        plant.setattr(...)

Faults are numbered as the names of their tests are (`test_f11_...`). `seeded.py` runs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest

from sparsec.ir.ops.record import record

Plant = Callable[[pytest.MonkeyPatch], None]

#: The modules that hold bugs, by the test file that they are for.
FAMILIES = ("overlap", "layout", "numeric", "trace", "system")

VALUES = "values differ"


@dataclass(frozen=True)
class Bug:
    """what: the mistake in a few words, also its name. shows: for each fault, a pattern that the failure of one of
    its tests must match: that it failed because of the mistake, and not because something fell over."""

    what: str
    shows: dict[int, str]
    plant: Plant


BUGS: dict[str, Bug] = {}


def bug(what: str, *faults: int, shows: str = VALUES) -> Callable[[Plant], Plant]:
    """Registers a bug that tests of `faults` must find; one fault may need several bugs, and the other way about."""

    def add(plant: Plant) -> Plant:
        assert what not in BUGS
        BUGS[what] = Bug(what, dict.fromkeys(faults, shows), plant)
        return plant

    return add


def all_bugs() -> dict[str, Bug]:
    """Every bug of every family."""
    for family in FAMILIES:
        import_module(f"{__name__}.{family}")
    return BUGS


def change_op(op: str, **changes: Callable[[Any], Any]) -> None:
    """Replaces fields of an op's record by what `changes` make of them. (The record is frozen, and used in place.)"""
    found = record(op)
    for name, change in changes.items():
        object.__setattr__(found, name, change(getattr(found, name)))
