"""The switches of sparsec, each of them an environment variable, an attribute and a context manager.

    SPARSEC_DEBUG=2 python program.py       # for a process
    settings.debug = 2                      # from here on, in every thread
    with settings.override(debug=2): ...    # for this block, in this thread or task only

The innermost wins: a block, else the attribute, else the environment, else the default. The environment is
read when a switch is read, so a test or a child process needs no reload; a bad value is a `ConfigError` that
names the variable and what it may be.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar, overload

from sparsec.errors import ConfigError

__all__ = ["Settings", "Switch", "get_num_threads", "set_num_threads", "settings", "usable_cpus"]

T = TypeVar("T")

_NOTHING: Mapping[str, Any] = MappingProxyType({})

# What `override` has put in place, for the current thread or task. Never mutated, always replaced.
_overrides: ContextVar[Mapping[str, Any]] = ContextVar("sparsec_overrides", default=_NOTHING)


@dataclass(frozen=True)
class Kind(Generic[T]):
    """What values a switch takes: how they are read from text, and what else is accepted."""

    expects: str  # completes the sentence "... must be ..."
    parse: Callable[[str], T]  # from the environment; ValueError means no
    check: Callable[[Any], T]  # from Python; ValueError means no


class Switch(Generic[T]):
    """One typed switch; a data descriptor of `Settings`."""

    def __init__(self, kind: Kind[T], default: T | Callable[[], T], doc: str) -> None:
        self.kind = kind
        self.default = default
        self.__doc__ = doc

    def __set_name__(self, owner: type[Settings], name: str) -> None:
        self.name = name
        self.env = f"SPARSEC_{name.upper()}"

    @overload
    def __get__(self, instance: None, owner: type[Settings]) -> Switch[T]: ...
    @overload
    def __get__(self, instance: Settings, owner: type[Settings]) -> T: ...
    def __get__(self, instance: Settings | None, owner: type[Settings]) -> T | Switch[T]:
        if instance is None:
            return self
        for scope in (_overrides.get(), instance._assigned):
            if self.name in scope:
                value: T = scope[self.name]
                return value
        return self.from_environment()

    def __set__(self, instance: Settings, value: T) -> None:
        checked = self.checked(value)
        scope = _overrides.get()
        if self.name in scope:
            # Inside a block that overrides this switch: what is read next is what was just written, and the
            # block's end still restores what was there before it.
            _overrides.set({**scope, self.name: checked})
        else:
            instance._assigned[self.name] = checked

    def from_environment(self) -> T:
        """The value that the environment asks for, or the default. An empty variable is an unset one."""
        text = os.environ.get(self.env, "")
        if text == "":
            return self.default() if callable(self.default) else self.default
        try:
            return self.kind.parse(text)
        except ValueError:
            raise ConfigError(
                f"the environment variable {self.env} must be {self.kind.expects}, not {text!r}",
                hint=f"change or unset {self.env}",
            ) from None

    def checked(self, value: Any) -> T:
        """`value` as this switch stores it, or a `ConfigError`."""
        try:
            return self.kind.check(value)
        except ValueError:
            raise ConfigError(f"the setting {self.name} must be {self.kind.expects}, not {value!r}") from None


def integer(low: int, high: int | None = None) -> Kind[int]:
    """Integers from `low` to `high`, both included."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError
        if value < low or (high is not None and value > high):
            raise ValueError
        return value

    expects = f"an integer of at least {low}" if high is None else f"an integer from {low} to {high}"
    return Kind(expects, parse=lambda text: check(int(text)), check=check)


def boolean() -> Kind[bool]:
    """True or False; in the environment any of the usual spellings."""
    words = {
        **dict.fromkeys(("1", "true", "yes", "on"), True),
        **dict.fromkeys(("0", "false", "no", "off"), False),
    }

    def parse(text: str) -> bool:
        try:
            return words[text.strip().lower()]
        except KeyError:
            raise ValueError from None

    def check(value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError
        return value

    return Kind("1 or 0 (true/false, yes/no, on/off)", parse, check)


def choice(*names: str) -> Kind[str]:
    """One of a few names."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError
        return value

    return Kind("one of " + ", ".join(names), parse=lambda text: check(text.strip().lower()), check=check)


def text_or_none() -> Kind[str | None]:
    """Any text, or None for "not given"."""

    def check(value: Any) -> str | None:
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise ValueError
        return value

    return Kind("a name", parse=check, check=check)


def _folder(value: Any) -> Path:
    if not isinstance(value, str | os.PathLike):
        raise ValueError
    # Unlike its namesake in pathlib, this one leaves a `~` without a home as it is, and never raises.
    path = os.path.expanduser(os.fspath(value))
    if not isinstance(path, str) or not path.strip() or "\0" in path:
        raise ValueError
    if os.path.exists(path) and not os.path.isdir(path):
        raise ValueError
    return Path(path)


def folder() -> Kind[Path]:
    """A folder that exists or can still be made; `~` is the user's home."""
    return Kind("a folder (or a path where one can be made)", parse=_folder, check=_folder)


def folder_or_none() -> Kind[Path | None]:
    """As `folder`, or None for "not given"."""
    return Kind(folder().expects, _folder, lambda value: None if value is None else _folder(value))


def _default_cache_dir() -> Path:
    """Where this system keeps files that may be deleted at any time."""
    base: str | None
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME")
        # The XDG rules: a relative path is invalid and to be ignored.
        if not base or not os.path.isabs(base):
            base = "~/.cache"
    return Path(os.path.expanduser(base or "~/.cache")) / "sparsec"


def usable_cpus() -> int:
    """The processors this process may run on, which in a container are fewer than the machine has."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _raw_environment(name: str) -> tuple[dict[Any, Any], Any]:
    """The dict behind `os.environ`, and the key under which it has a variable."""
    inner = os.environ._data  # type: ignore[attr-defined]  # a lookup in it takes no encoding
    return inner, os.environ.encodekey(name)  # type: ignore[attr-defined]


class Settings:
    """All switches. Use the one instance, `settings`."""

    def __init__(self) -> None:
        self._assigned: dict[str, Any] = {}

    debug = Switch(
        integer(0, 4),
        0,
        "How much is said on stderr: 0 nothing, 1 what was compiled, 2 passes and times, 3 the IR after each "
        "pass, 4 generated code too. From 2 on, nothing is taken from the cache.",
    )
    dump = Switch(folder_or_none(), None, "A folder that receives the text of every stage; none by default.")
    verify = Switch(boolean(), False, "Check the IR after every pass, not only before the first and after the last.")
    backend = Switch(
        choice("cpu", "opencl", "interp"), "cpu", "The backend of a jit call that does not name one."
    )
    cache = Switch(boolean(), True, "Keep compiled code between runs.")
    cache_dir = Switch(folder(), _default_cache_dir, "Where compiled code is kept between runs.")
    cache_mb = Switch(integer(1), 512, "How many megabytes of compiled code are kept; the oldest goes first.")
    num_threads = Switch(integer(1), usable_cpus, "How many threads take part in a kernel, at most.")
    compile_jobs = Switch(
        integer(1), lambda: min(usable_cpus(), 8),
        "How many processes may compile a large program side by side; 1: only this one.",
    )
    opencl_platform = Switch(
        text_or_none(), None, "The OpenCL platform to use, by (part of) its name; chosen when not given."
    )

    @contextmanager
    def override(self, **values: Any) -> Iterator[Settings]:
        """Sets switches for the length of a block, in this thread or task only."""
        switches = self.switches()
        checked = {}
        for name, value in values.items():
            if name not in switches:
                raise _no_such(name)
            checked[name] = switches[name].checked(value)
        token = _overrides.set({**_overrides.get(), **checked})
        try:
            yield self
        finally:
            _overrides.reset(token)

    def __setattr__(self, name: str, value: Any) -> None:
        # A misspelt switch would otherwise be set silently and never read.
        if name != "_assigned" and name not in self.switches():
            raise _no_such(name)
        super().__setattr__(name, value)

    def sources(self, name: str) -> tuple[tuple[Any, Any, Any], ...]:
        """Where the value of a switch comes from: (ContextVar, None, value), then (dict, key, value or None).

        While every one of these values is the same object, so is the switch's. For those who must know that
        it has not changed, and have no time to read it.
        """
        switch = self.switches()[name]
        environment, key = _raw_environment(switch.env)
        return ((_overrides, None, _overrides.get()), (self._assigned, name, self._assigned.get(name)),
                (environment, key, environment.get(key)))

    def reset(self) -> None:
        """Forgets what was assigned; the environment and the defaults hold again."""
        self._assigned.clear()

    @classmethod
    def switches(cls) -> dict[str, Switch[Any]]:
        """Every switch by name, in the order of their declaration."""
        return {name: switch for name, switch in vars(cls).items() if isinstance(switch, Switch)}


def _no_such(name: str) -> ConfigError:
    return ConfigError(f"there is no setting {name!r}", hint="settings: " + ", ".join(Settings.switches()))


#: The one instance that all of sparsec reads.
settings = Settings()


def set_num_threads(count: int) -> None:
    """Lets that many threads take part in a kernel, the caller among them; 1: no others. For the whole process,
    as `settings.num_threads = count`. Raises ConfigError for what is not a positive integer."""
    settings.num_threads = count


def get_num_threads() -> int:
    """How many threads may take part in a kernel: what was set, else SPARSEC_NUM_THREADS, else as many as there
    are processors for this process."""
    return settings.num_threads


def say(level: int, text: str) -> None:
    """Writes to stderr what the switch `debug` asks to hear at this level or a higher one."""
    if settings.debug >= level:
        print(text, file=sys.stderr)
