"""Python containers that a loop body or a branch can reach: a traced one must leave them as they were.

A body is traced once for all its turns, and both branches of an `if` are traced, so a list that one of them
changes would not end as Python leaves it. The change is found by comparing before and after, and undone.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from sparsec.frontend.array import Traced
from sparsec.frontend.control.refuse import FILL, CannotStage

_ATOMS = (int, float, complex, str, bytes, bool, type(None), type, types.ModuleType, types.BuiltinFunctionType)


class Snapshot:
    """What the containers reachable from some functions held."""

    def __init__(self, functions: Iterable[Callable[..., Any]]) -> None:
        self.seen: dict[int, tuple[Any, Any]] = {}  # id -> (object, what it held)
        self._names: dict[int, str] = {}  # of what variables hold
        for function in functions:
            self._function(function)

    def check(self, what: str) -> None:
        """Raises CannotStage, with everything restored, if a container has changed."""
        changed = self.restore()
        if changed:
            kind, name = type(changed[0]).__name__, self._names.get(id(changed[0]))
            plain = isinstance(changed[0], (list, dict, set, deque))
            raise CannotStage(f"{what} changes {f'`{name}`, ' if name else ''}a Python {kind}",
                              FILL if plain else "keep what changes in variables of the function")

    def restore(self) -> list[Any]:
        """Undoes every change; gives the containers that had one."""
        changed = [(x, held) for x, held in self.seen.values() if not _holds(x, held)]
        for x, held in changed:
            _put_back(x, held)
        return [x for x, _ in changed]

    def _function(self, function: Any) -> None:
        code = getattr(function, "__code__", None)
        if code is None or id(function) in self.seen:
            return
        self.seen[id(function)] = (function, None)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                self._names.setdefault(id(cell.cell_contents), name)
                self._visit(cell.cell_contents)
            except ValueError:  # an empty cell
                continue
        space = function.__globals__
        for name in code.co_names:
            if isinstance(space.get(name), (list, dict, set, deque)):
                self._visit(space[name])

    def _visit(self, x: Any) -> None:
        if isinstance(x, _ATOMS) or id(x) in self.seen:
            return
        if isinstance(x, types.FunctionType):
            self._function(x)
            return
        if isinstance(x, (tuple, frozenset)):
            for item in x:
                self._visit(item)
            return
        held = _content(x)
        if held is None:
            return
        self.seen[id(x)] = (x, held)
        if not isinstance(x, Traced):
            for item in held.values() if isinstance(held, dict) else held:
                self._visit(item)


def _content(x: Any) -> Any:
    """A shallow copy of what a container or a plain object holds; None for everything else."""
    if isinstance(x, Traced):
        return None if x.is_scalar else (x.type, x.steps)
    if isinstance(x, (list, set, deque)):
        return list(x)
    if isinstance(x, dict):
        return dict(x)
    if type(x).__module__.split(".")[0] in ("numpy", "sparsec", "builtins"):
        return None
    return dict(x.__dict__) if isinstance(getattr(x, "__dict__", None), dict) else None


def _holds(x: Any, held: Any) -> bool:
    if held is None:
        return True
    now = _content(x)
    if isinstance(held, dict):
        return list(now) == list(held) and all(now[k] is held[k] for k in held)
    if isinstance(x, Traced):
        return bool(now == held)
    return len(now) == len(held) and all(a is b for a, b in zip(now, held))


def _put_back(x: Any, held: Any) -> None:
    if isinstance(x, Traced):
        x.type, x.steps = held
    elif isinstance(x, (list, deque)):
        x.clear()
        x.extend(held)
    else:
        target = x if isinstance(x, (dict, set)) else x.__dict__
        target.clear()
        target.update(held)
