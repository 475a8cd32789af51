"""The local variables that a statement assigns, which the functions that it has become share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sparsec.frontend.undefined import Undefined

__all__ = ["EMPTY", "Scope", "State", "locals_"]

#: The values of variables, in the order of their names.
State = tuple[Any, ...]


@dataclass(frozen=True)
class Scope:
    """Names, and how the variables are read and set."""

    names: Sequence[str]
    get: Callable[[], State]
    set: Callable[[State], None]


#: Of what assigns nothing.
EMPTY = Scope((), tuple, lambda state: None)


def locals_(*reads: Callable[[], Any]) -> State:
    """The values of local variables, where they have one."""
    found: list[Any] = []
    for read in reads:
        try:
            found.append(read())
        except NameError:
            found.append(Undefined(read.__code__.co_freevars[0] if read.__code__.co_freevars else ""))
    return tuple(found)
