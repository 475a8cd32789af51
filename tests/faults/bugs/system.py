"""Bugs about threads, processes, signals, memory and the cache: faults 61 to 67."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np

from sparsec.frontend import jit, specialisation
from sparsec.runtime import cache, cpu, locks, stored
from tests.faults.bugs import bug


class NoLock:
    """Lets everybody in."""

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


@bug("compiling takes no lock", 61, shows="assert")
def _(plant):
    plant.setattr(jit, "ForkLock", NoLock)


@bug("a child inherits the locks of threads that it has not", 62, shows=r"assert \['[0-3]'")
def _(plant):
    plant.setattr(locks.ForkLock, "_after_fork", lambda self: None)


@bug("an executable closes its engine itself", 63, shows="lost in")
def _(plant):
    plant.setattr(cpu, "_own", lambda owner, engine: None)
    plant.setattr(cpu.CpuExecutable, "__del__", lambda self: self._engine.close(), raising=False)


@bug("compiling is tried again, whatever ended it", 63, shows=r"assert [0-4] >= 5")
def _(plant):
    compile_ = jit.Jitted._compile

    def stubborn(self: Any, call: Any) -> Any:
        try:
            return compile_(self, call)
        except BaseException:
            return compile_(self, call)

    plant.setattr(jit.Jitted, "_compile", stubborn)


@bug("memory that runs out is Python's own error", 64, shows=r"assert \['MemoryError")
def _(plant):
    plant.setattr(specialisation, "allocate", np.empty)


@bug("what the cache gives is not looked at", 65, shows="assert")
def _(plant):
    start = len(cache._MAGIC) + 32
    plant.setattr(cache, "_opened", lambda content, key: content[start:])


@bug("the key of the cache does not say which processor", 65, shows="assert .* != ")
def _(plant):
    plant.setattr(stored, "_surroundings", _without_cpu(stored._surroundings))


def _without_cpu(surroundings: Any) -> Any:
    def blind() -> bytes:
        return b"\n".join(surroundings.__wrapped__().split(b"\n")[1:])

    blind.__wrapped__ = blind  # type: ignore[attr-defined]
    return blind


@bug("a cache that cannot be used is an error", 66, shows="assert|OSError|No space left")
def _(plant):
    def give_up(self: Any, error: OSError) -> None:
        raise error

    plant.setattr(cache.DiskCache, "_give_up", give_up)


@bug("temporary files of the cache are copied and stay", 67, shows="assert not")
def _(plant):
    plant.setattr(cache.os, "replace", shutil.copy)


@bug("entries are written in place", 67, shows="a part of an entry")
def _(plant):
    def put(self: Any, key: str, data: bytes) -> None:
        if self._ready():
            self._path(key).write_bytes(cache._closed(data, key))

    plant.setattr(cache.DiskCache, "put", put)
