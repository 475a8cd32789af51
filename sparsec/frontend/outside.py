"""What a trace reaches from outside its arguments: globals, closures, defaults, attributes, items.

The function sees stand-ins. An array becomes a parameter, by reference; a list, dict or set is a copy of which the
arrays are stand-ins in turn, so that they are traced however they are taken out; so is an object with operators of
the user's, which Python runs unseen. Every other object is itself, and gives its attributes when it is asked.
What was read is guarded: a call that would find something else compiles anew. Nothing outside may change but the
elements of arrays: a program runs again and again, and what Python does while it is traced happens once.
"""

from __future__ import annotations

import copy
import enum
import io
import sys
import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparsec.errors import SparsecError, UnsupportedError
from sparsec.frontend.array import Traced
from sparsec.frontend.convert import as_traced
from sparsec.frontend.locate import user_loc
from sparsec.frontend.spec import check_array
from sparsec.frontend.trace import Trace
from sparsec.sparse.channel import ChannelSparse

#: What becomes an array of the program, wherever it is found.
ARRAYS = (np.ndarray, ChannelSparse)

#: Values that are compared; others are compared by identity.
PLAIN = (int, float, complex, bool, str, bytes, type(None))

_CONTAINERS = (list, dict, set, deque, OrderedDict, defaultdict)

_ONCE = " from outside the function would change, which happens while it is traced, not in every call"
_HINT = "return the new value, or write it into the elements of an array"


@dataclass(frozen=True)
class Guard:
    """A value from outside that the trace relied on: what is found at `name` of `owner` must still be `value`.

    kind: "entry" of a namespace dict, contents of a "cell" (no name), "attribute", or "item" of a container.
    """

    kind: str
    owner: Any
    name: Any
    value: Any

    def now(self) -> Any:
        """What is found there; raises what the look-up raises."""
        match self.kind:
            case "cell":
                return self.owner.cell_contents
            case "attribute":
                return getattr(self.owner, self.name)
        return self.owner[self.name]

    def holds(self) -> bool:
        try:
            now = self.now()
        except Exception:  # noqa: BLE001  whatever the look-up raises: the value is not there any more
            return False
        return _same(now, self.value)


@dataclass(frozen=True)
class Contents:
    """A container from outside, and what it must still hold: a dict's keys, then its values."""

    owner: Any
    held: tuple[Any, ...]

    def holds(self) -> bool:
        now = contents_of(self.owner)
        return len(now) == len(self.held) and all(map(_same, now, self.held))


def contents_of(x: Any) -> tuple[Any, ...]:
    """What a container holds; of a traced array what it sees, for it may be given another shape."""
    if isinstance(x, Traced):
        return (x.type, x.steps)
    return (*x, *x.values()) if isinstance(x, dict) else tuple(x)


def _same(now: Any, then: Any) -> bool:
    if now is then:
        return True
    if type(now) is not type(then):
        return False
    if isinstance(now, (tuple, list, dict)):
        return len(now) == len(then) and all(map(_same, contents_of(now), contents_of(then)))
    return isinstance(now, PLAIN) and (repr(now) == repr(then) if isinstance(now, (float, complex)) else now == then)


#: Special methods that staged code calls as it calls others, or that say nothing about values.
_SEEN = frozenset({"__init__", "__new__", "__call__", "__getitem__", "__repr__", "__str__", "__init_subclass__"})


def _runs_unseen(cls: type) -> bool:
    """Whether Python may run methods of the user's, operators or `__iter__`, of which staged code sees no call."""
    return any(
        isinstance(f, types.FunctionType) and n.startswith("__") and n.endswith("__") and n not in _SEEN
        and is_user_module(f.__module__, f.__code__.co_filename)
        for n, f in vars(cls).items()
    )


def _file_of(cls: type) -> str | None:
    return getattr(sys.modules.get(cls.__module__), "__file__", None)


def is_user_module(name: str | None, file: str | None) -> bool:
    """Whether a module is the user's: the standard library and installed packages are called as they are."""
    top = (name or "").split(".")[0]
    if top in ("numpy", "sparsec", "builtins") or file is None or file.startswith("<frozen"):
        return False
    return top not in sys.stdlib_module_names and "site-packages" not in file


class _Unread(Traced):
    """An array from outside, which becomes a parameter when the program first looks at it."""

    __slots__ = ("array", "outside")

    def __init__(self, outside: Outside, array: Any) -> None:
        for name, value in (("trace", outside.trace), ("outside", outside), ("array", array)):
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name not in Traced.__slots__:
            return super().__getattr__(name)
        found = as_traced(self.array)
        for slot in ("type", "storage", "steps", "value", "weak", "readonly", "dim"):
            object.__setattr__(self, slot, getattr(found, slot))
        self.outside.resolved(self, found)
        return getattr(self, name)


@dataclass
class Outside:
    """Everything that a trace reads from outside its arguments, and what stands for it."""

    trace: Trace
    guards: list[Guard] = field(default_factory=list)
    contents: list[Contents] = field(default_factory=list)
    _watched: set[tuple[int, Any]] = field(default_factory=set)
    _known: dict[int, tuple[Any, Any]] = field(default_factory=dict)  # id -> (object, stand-in), both ways
    _kept: dict[int, tuple[Any, tuple[Any, ...]]] = field(default_factory=dict)  # what must not change, what it held

    # --- reading ---

    def watch(self, kind: str, owner: Any, name: Any, value: Any) -> None:
        """The next calls must find the same value there."""
        seen = (id(owner), name if isinstance(name, (int, str)) else repr(name))
        if seen not in self._watched:
            self._watched.add(seen)
            self.guards.append(Guard(kind, owner, name, value))

    def read(self, place: Any) -> Any:
        """A global (dict, name) or closure cell of a function."""
        if isinstance(place, types.CellType):
            value = place.cell_contents
            self.watch("cell", place, "", value)
        else:
            space, name = place
            value = space[name]
            self.watch("entry", space, name, value)
        return self.adopt(value)

    def attribute(self, owner: Any, name: str) -> Any:
        """An attribute of any object but a traced array."""
        value = getattr(owner, name)
        library = isinstance(owner, types.ModuleType) and not is_user_module(
            owner.__name__, getattr(owner, "__file__", None))
        if library or not self.holds(owner):
            return as_traced(value) if type(value) in ARRAYS else value
        original = self._known[id(owner)][0] if id(owner) in self._known else owner
        if original is not owner and name in getattr(owner, "__dict__", ()):
            return value
        # What an object makes anew whenever it is asked (a bound method) is guarded by what it is made of, if at all.
        if isinstance(value, (*ARRAYS, *PLAIN, *_CONTAINERS, tuple)) or getattr(owner, name) is value:
            self.watch("attribute", original, name, value)
        return self.adopt(value)

    def item(self, owner: Any, key: Any) -> Any:
        """An item of any object but an array."""
        value = owner[key]
        if self.holds(owner) and not isinstance(owner, (*_CONTAINERS, tuple)):
            self.watch("item", owner, key, value)
            return self.adopt(value)
        return as_traced(value) if type(value) in ARRAYS else value

    def adopt(self, x: Any) -> Any:
        """What stands for an object from outside; always the same."""
        if type(x) in PLAIN or isinstance(x, Traced):
            return x
        known = self._known.get(id(x))
        if known is not None:
            return known[1]
        if type(x) in ARRAYS:
            return self._remember(x, self._array(x))
        if type(x) in _CONTAINERS:
            return self._container(x)
        if isinstance(x, tuple) and (type(x) is tuple or hasattr(x, "_fields")):
            items = [self.adopt(i) for i in x]
            changed = any(a is not b for a, b in zip(items, x, strict=True))
            made = x if not changed else tuple(items) if type(x) is tuple else type(x)(*items)
            return self._remember(x, made)
        return self._object(x)

    def _object(self, x: Any) -> Any:
        if isinstance(x, Iterator) and not isinstance(x, io.IOBase):
            raise UnsupportedError(f"a {type(x).__name__}{_ONCE}", loc=user_loc(), hint="make it inside the function")
        cls: Any = type(x)
        if cls.__new__ is not object.__new__ or not any(map(_runs_unseen, cls.__mro__)):
            return self._remember(x, x)
        made = self._remember(x, object.__new__(cls))
        self.contents.append(Contents(vars(x), contents_of(vars(x))))
        vars(made).update({k: v if isinstance(v, Iterator) else self.adopt(v) for k, v in vars(x).items()})
        self._keep(vars(made))
        return made

    def _remember(self, x: Any, stand_in: Any) -> Any:
        self._known[id(x)] = self._known[id(stand_in)] = (x, stand_in)
        return stand_in

    def _keep(self, x: Any) -> None:
        self._kept[id(x)] = (x, contents_of(x))

    def _array(self, x: Any) -> Any:
        if isinstance(x, np.ndarray):
            try:
                check_array(x)
            except SparsecError:
                return x  # whoever uses it is told
            if self.trace.captures is not None:
                self.trace.captures.reach(x)
        return _Unread(self, x)

    def resolved(self, x: Traced, found: Traced) -> None:
        """`x` stands for the captured array from here on, whose shape must not change."""
        if self.trace.captures is not None:
            self.trace.captures.put(found, x)
        self._keep(x)

    def _container(self, x: Any) -> Any:
        made = self._remember(x, copy.copy(x))
        self.contents.append(Contents(x, contents_of(x)))
        if isinstance(made, dict):
            made.update({k: self.adopt(v) for k, v in x.items()})
        elif not isinstance(made, set):
            for k, value in enumerate(x):
                made[k] = self.adopt(value)
        self._keep(made)
        return made

    def enter(self, arguments: Any) -> None:
        """Takes note of the arguments as the function gets them: containers of its own, traced arrays, objects."""
        if type(arguments) in PLAIN:
            return
        self._known.setdefault(id(arguments), (arguments, arguments))
        if isinstance(arguments, (list, dict, Traced)):
            self._keep(arguments)
        if isinstance(arguments, (list, tuple)):
            for item in arguments:
                self.enter(item)
        elif isinstance(arguments, dict):
            self.enter(tuple(arguments.values()))

    def holds(self, x: Any) -> bool:
        """Whether an object was reached from outside, or stands for one that was."""
        return id(x) in self._known or isinstance(x, (types.ModuleType, type))

    def returned(self, x: Any) -> Any:
        """An object that every call returns. Raises UnsupportedError where each should make its own."""
        if id(x) in self._known:
            return self._known[id(x)][0]
        users = isinstance(x, types.FunctionType) or is_user_module(type(x).__module__, _file_of(type(x)))
        mutable = type(x).__hash__ is None and not isinstance(x, slice)
        if isinstance(x, Iterator) or mutable or (users and not isinstance(x, enum.Enum)):
            raise UnsupportedError(
                f"a result of type {type(x).__name__}: every call should make its own", loc=self.trace.builder.loc,
                hint="return arrays, numbers, strings, and tuples, lists or dicts of them",
            )
        return x

    # --- changing ---

    def refuse_change(self, owner: Any, what: str) -> None:
        """Raises UnsupportedError if `owner` is from outside."""
        if self.holds(owner):
            raise UnsupportedError(f"{what}{_ONCE}", loc=user_loc(), hint=_HINT)

    def check_unchanged(self, x: Any = None) -> None:
        """Raises UnsupportedError if a container from outside, or the shape of such an array, has changed.

        x: only this one, if it is from outside.
        """
        kept = self._kept.values() if x is None else filter(None, [self._kept.get(id(x))])
        for x, held in kept:
            now = contents_of(x)
            if len(now) != len(held) or any(a is not b for a, b in zip(now, held)):
                kind = "the shape of an array" if isinstance(x, Traced) else f"a {type(x).__name__}"
                loc = user_loc() if self.trace.running else self.trace.builder.loc
                raise UnsupportedError(f"{kind}{_ONCE}", loc=loc, hint=_HINT)
