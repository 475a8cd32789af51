"""Compiled code on disk: entries by key, written whole or not at all, checked when read, the oldest dropped first.

    cache = disk_cache()
    data = cache.get(key)          # None: not there, or not to be trusted
    cache.put(key, data)

A cache is never the reason why something fails: where the folder cannot be used (no permission, disk full,
somebody else's) a warning is given once, and everything is compiled as if there were none. What is read will
be executed, so only a folder that nobody else can write to is used.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sparsec.config import settings
from sparsec.runtime.locks import ForkLock

__all__ = ["DiskCache", "disk_cache"]

#: First bytes of an entry; another layout gets another number.
_MAGIC = b"sparsec entry 1\n"
_SUFFIX, _TEMPORARY = ".entry", ".tmp"

#: A temporary file this old was left behind by a process that ended.
_STALE_SECONDS = 3600

_counter = itertools.count()
_warned = False


@dataclass
class DiskCache:
    """A folder of entries. `limit`: bytes that they may take together."""

    folder: Path
    limit: int
    _lock: ForkLock = field(default_factory=ForkLock, repr=False)
    _usable: bool | None = None
    _bytes: int = -1  # -1: not counted yet

    def get(self, key: str) -> bytes | None:
        """The data of an entry; None if there is none. An entry that is damaged is removed."""
        if not self._ready():
            return None
        path = self._path(key)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        data = _opened(content, key)
        with suppress(OSError):
            if data is None:
                path.unlink()
            else:
                os.utime(path)  # what is used is kept
        return data

    def put(self, key: str, data: bytes) -> None:
        """Adds or replaces an entry. A reader sees all of it or the one before."""
        if not self._ready():
            return
        content = _closed(data, key)
        temporary = self.folder / f"{key}.{os.getpid()}.{next(_counter)}{_TEMPORARY}"
        try:
            temporary.write_bytes(content)
            os.replace(temporary, self._path(key))
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            self._give_up(error)
            return
        self._grown(len(content))

    def entries(self) -> list[tuple[Path, os.stat_result]]:
        """Every entry with its size and time, the oldest first."""
        found = [(path, status) for path, status in self._files() if path.suffix == _SUFFIX]
        return sorted(found, key=lambda item: (item[1].st_mtime_ns, item[0].name))

    def clear(self) -> int:
        """Removes everything; gives the number of entries."""
        count = 0
        for path, _ in self._files():
            with suppress(OSError):
                path.unlink()
                count += path.suffix == _SUFFIX
        self._bytes = -1
        return count

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        try:
            names = sorted(os.listdir(self.folder))
        except OSError:
            return
        for name in names:
            path = self.folder / name
            with suppress(OSError):
                status = path.lstat()
                if stat.S_ISREG(status.st_mode) and path.suffix in (_SUFFIX, _TEMPORARY):
                    yield path, status

    def _ready(self) -> bool:
        """Whether the folder can be used; makes it on the first call."""
        if self._usable is None:
            with self._lock:
                if self._usable is None:
                    try:
                        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                        _check_ours(self.folder)
                        self._usable = True
                    except OSError as error:
                        self._give_up(error)
        return bool(self._usable)

    def _give_up(self, error: OSError) -> None:
        global _warned
        self._usable = False
        if not _warned:
            _warned = True
            warnings.warn(f"compiled code is not kept: {self.folder} cannot be used ({error.strerror or error}); "
                          "set SPARSEC_CACHE_DIR to another folder, or SPARSEC_CACHE=0", RuntimeWarning, stacklevel=2)

    def _grown(self, size: int) -> None:
        """Drops the oldest entries when there is too much, down to nine tenths of the limit."""
        with self._lock:
            known = self._bytes >= 0
            self._bytes = self._bytes + size if known else sum(s.st_size for _, s in self._files())
            if self._bytes <= self.limit:
                return
            self._drop_stale()
            entries = self.entries()
            self._bytes = sum(s.st_size for _, s in entries)
            for path, status in entries:
                if self._bytes <= self.limit * 9 // 10:
                    break
                with suppress(OSError):
                    path.unlink()
                self._bytes -= status.st_size

    def _drop_stale(self) -> None:
        files = list(self._files())
        newest = max((s.st_mtime for _, s in files), default=0.0)
        for path, status in files:
            if path.suffix == _TEMPORARY and status.st_mtime < newest - _STALE_SECONDS:
                with suppress(OSError):
                    path.unlink()


def _check_ours(folder: Path) -> None:
    """Raises OSError for a folder into which somebody else could put code."""
    status = folder.stat()
    if hasattr(os, "geteuid") and (status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        raise PermissionError(0, "others may write to it")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionError(0, "no permission")


def _closed(data: bytes, key: str) -> bytes:
    """An entry says whose it is and proves that it is whole."""
    return _MAGIC + _proof(data, key) + data


def _proof(data: bytes, key: str) -> bytes:
    return hashlib.sha256(key.encode() + b"\n" + data).digest()


def _opened(content: bytes, key: str) -> bytes | None:
    start = len(_MAGIC) + hashlib.sha256().digest_size
    data = content[start:]
    return data if content[:start] == _MAGIC + _proof(data, key) else None


_open: dict[tuple[Path, int], DiskCache] = {}


def disk_cache() -> DiskCache | None:
    """The cache that the settings ask for, or None. Who wants to see every stage wants every stage run."""
    if not settings.cache or settings.dump is not None or settings.debug >= 2:
        return None
    place = (settings.cache_dir / "code", settings.cache_mb << 20)
    return _open.setdefault(place, DiskCache(*place))
