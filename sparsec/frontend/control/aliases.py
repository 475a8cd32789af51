"""Who else can see an array: what a variable that is rebound in a loop or a branch may do with its old array.

Where control flow joins, a variable that holds different arrays becomes a new one. That is right only if the
old array has no other name through which a later write would be seen.
"""

from __future__ import annotations

import gc
import sys
import types
from collections.abc import Container, Iterator, Sequence
from typing import Any

from sparsec.errors import AliasError
from sparsec.frontend.array import Traced
from sparsec.frontend.control.choices import Choice, storages_of
from sparsec.frontend.desugar.names import FOR, PREFIX
from sparsec.frontend.locate import user_loc
from sparsec.frontend.ranges import Elements
from sparsec.frontend.trace import Conflict, Storage
from sparsec.frontend.tree import flatten

_MARK = FOR  # a name that the globals of every staged function have

_ITERATORS = ("builtins", "itertools")  # whose iterators tell the garbage collector what they hold

#: Stands for a variable's name where it is a value that may be several arrays.
RESULT = "return"

_NOBODY = " "  # the name of no variable

_DEPTH = 8  # of containers in one another


def shared(array: Traced, name: str, leaving: int = 0) -> bool:
    """Whether the elements of `array` can be reached otherwise than by the local variable `name`: by another
    name, or as what a loop goes over. leaving: how many of the innermost loops do not count."""
    storage = array.storage
    if storage is None:
        return False
    if storage.param >= 0 or not name or isinstance(storage, Choice) or storage.stands_for:
        return True
    walked = array.trace.walked
    if _reaches(walked[: len(walked) - leaving], storage, _DEPTH):
        return True
    own = True  # frames of the function that has the variable, its branches and bodies
    frame = sys._getframe(1)
    while frame is not None:
        if _MARK in frame.f_globals:
            for other, value in frame.f_locals.items():
                itself = own and (other == name or other.startswith(PREFIX))
                if not itself and _reaches(value, storage, _DEPTH):
                    return True
            own = own and frame.f_code.co_name.startswith((PREFIX, "<lambda>"))
        frame = frame.f_back  # type: ignore[assignment]
    return False


class Held:
    """The arrays that a branch or a loop leaves in variables and in what it returns. outer: storages from before."""

    def __init__(self, left: Any, outer: Container[Storage]) -> None:
        leaves: list[Any] = []
        flatten(left, leaves)
        self.outer, self.arrays = outer, [x for x in leaves if isinstance(x, Traced) and not x.is_scalar]

    def private(self, x: Traced, name: str) -> bool:
        """Whether nobody else can see the elements of `x`: a copy is as good."""
        if isinstance(x.storage, Choice) or self.twice(x):
            return False
        return x.storage not in self.outer or not shared(x, name)

    def twice(self, x: Traced) -> bool:
        """Whether two of the arrays may have elements in common with `x`."""
        own = set(_all_behind(x))
        return sum(not own.isdisjoint(_all_behind(a)) for a in self.arrays) > 1


def _words(name: str) -> str:
    return "what the branch gives" if name == RESULT else f"`{name}`"


def mark_choice(made: Traced, name: str, others: Sequence[Traced]) -> None:
    """`made` is a copy where NumPy may have one of `others`, which can be seen: none may be written any more."""
    if others and made.storage is not None:
        made.storage.conflict = Conflict(
            f"{_words(name)} is one of several arrays, chosen when the program runs",
            "choose copies (`.copy()`)" if name == RESULT
            else f"write to each where it is chosen, or make `{name}` a copy (`{name} = {name}.copy()`)")
        made.storage.stands_for |= {s: user_loc() for x in others for s in _all_behind(x)}
    refuse_writes(name, others)


def mark_copy(made: Traced, x: Traced) -> None:
    """`made` is a copy where NumPy has a view of `x` for some lengths, which only the run knows. If others can see
    `x`, it is not written any more, nor read after `x` is."""
    if made.storage is not None and shared(x, _NOBODY):
        made.storage.conflict = Conflict(
            "lengths that only the run knows decide whether NumPy makes a view here, in which what is written to one "
            "of the two arrays is seen in the other, or a copy",
            "make a copy of what is reshaped (`.copy()`), or write before that")
        made.storage.copied = tuple((storage, storage.newest) for storage in storages_of(x))


def inherit(made: Any, *parts: Any) -> None:
    """`made` is a copy of one of some values: what they stand for, it stands for too."""
    if not isinstance(made, Traced) or made.storage is None:
        return
    for storage in (s for x in parts if isinstance(x, Traced) for s in storages_of(x)):
        made.storage.conflict = made.storage.conflict or storage.conflict
        made.storage.stands_for |= storage.stands_for
        made.storage.copied += storage.copied


def refuse_writes(name: str, others: Sequence[Traced]) -> None:
    """No more writes to arrays of which `name` may be one and will be a copy."""
    for storage in (s for x in others for s in storages_of(x)):
        storage.conflict = Conflict(
            f"the array may be {_words(name)}, which was chosen when the program runs: a write would not be seen "
            "through it",
            "write before the choice, or choose copies (`.copy()`)")


def _reaches(x: Any, storage: Storage, depth: int) -> bool:
    """Whether a value, or a container of values, holds a view of a storage, or a copy that stands for one."""
    if isinstance(x, Traced):
        return storage in _all_behind(x)
    if isinstance(x, Elements):
        return _reaches(x.sources, storage, depth)
    if depth and (isinstance(x, types.CellType) or (isinstance(x, Iterator) and type(x).__module__ in _ITERATORS)):
        return any(_reaches(item, storage, depth - 1) for item in gc.get_referents(x))
    if depth and isinstance(x, (tuple, list, set)):
        return any(_reaches(item, storage, depth - 1) for item in x)
    if depth and isinstance(x, dict):
        return any(_reaches(item, storage, depth - 1) for item in x.values())
    fields = getattr(x, "__dict__", None)
    plain = type(x).__module__.split(".")[0] not in ("numpy", "sparsec", "builtins")
    if depth and plain and isinstance(fields, dict):
        return any(_reaches(item, storage, depth - 1) for item in list(fields.values()))
    return False


def check_results(results: Sequence[Traced]) -> None:
    """Raises AliasError for a copy where NumPy may return an argument, or two results that share their elements."""
    for x in results:
        own = {s: line for storage in storages_of(x) for s, line in storage.stands_for.items()}
        if not own:  # as most: others need not be looked at
            continue
        seen = {s for y in results if storages_of(y) != storages_of(x) for s in _all_behind(y)}
        same = [s for s in own if s.param >= 0 or s in seen]
        if same:
            why = next(s.conflict.why for s in storages_of(x) if s.stands_for and s.conflict)
            raise AliasError(f"{why}: what is returned would be a copy", loc=own[same[0]], hint="return a copy of it")


def _all_behind(x: Traced) -> list[Storage]:
    """The storages in which the elements of an array lie, or for NumPy may lie."""
    return [s for own in storages_of(x) for s in (own, *own.stands_for)]
