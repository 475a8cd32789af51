"""Native code with all that a call needs beside it, as bytes that can be kept, and the key to keep it under."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path

from sparsec.errors import Loc
from sparsec.ir.loops import Failure
from sparsec.runtime.cache import disk_cache

__all__ = ["StoredCode", "cache_key", "cached_object", "load_or_make"]


@dataclass(frozen=True)
class StoredCode:
    """Native code, and what a call needs to know of it."""

    objects: tuple[bytes, ...]  # sealed object files (`runtime.cpu`)
    arena_bytes: int  # for temporaries
    failures: tuple[Failure, ...]  # what the codes mean that it may return
    statements: int  # how much it does (`ir.work`)
    late: bool  # whether it may fail after its first write
    threads: bool = False  # whether threads share some of its loops
    #: Parameters that it gets packed (`runtime.constants`): number, (columns, rows in a block).
    packed: tuple[tuple[int, tuple[int, int]], ...] = ()

    def to_bytes(self) -> bytes:
        facts = {
            "arena_bytes": self.arena_bytes, "failures": [asdict(f) for f in self.failures],
            "statements": self.statements, "late": self.late, "threads": self.threads,
            "sizes": [len(code) for code in self.objects], "packed": self.packed,
        }
        head = json.dumps(facts).encode()
        return struct.pack("<Q", len(head)) + head + b"".join(self.objects)

    @classmethod
    def from_bytes(cls, data: bytes) -> StoredCode:
        (size,) = struct.unpack_from("<Q", data)
        facts = json.loads(data[8 : 8 + size])
        failures = tuple(Failure(f["kind"], f["message"], Loc(**f["loc"]) if f["loc"] else None)
                         for f in facts["failures"])
        ends = list(accumulate(facts["sizes"], initial=8 + size))
        objects = tuple(data[begin:end] for begin, end in pairwise(ends))
        packed = tuple((k, (columns, block)) for k, (columns, block) in facts["packed"])
        return cls(
            objects, facts["arena_bytes"], failures, facts["statements"], facts["late"], facts["threads"], packed
        )  # fmt: skip


def load_or_make(key: str, make: Callable[[], StoredCode]) -> StoredCode:
    """The code under a key, from the disk if it is there."""
    kept = disk_cache()
    if kept is None:
        return make()
    data = kept.get(key)
    if data is not None:
        return StoredCode.from_bytes(data)
    made = make()
    kept.put(key, made.to_bytes())
    return made


def cached_object(text: str, compile: Callable[[str], bytes]) -> bytes:
    """The object code of an LLVM text, from the disk if it is there."""
    stored = load_or_make(cache_key("llvm", text), lambda: StoredCode((compile(text),), 0, (), 0, False))
    return stored.objects[0]


def cache_key(*parts: str) -> str:
    """A name for what these texts lead to, on this machine and with these versions."""
    digest = hashlib.sha256(_surroundings())
    for part in parts:
        digest.update(struct.pack("<Q", len(part)) + part.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


@cache
def _surroundings() -> bytes:
    import llvmlite
    import llvmlite.binding as llvm

    from sparsec.runtime.blas import find_blas
    from sparsec.runtime.cpu import host_cpu

    blas = find_blas()
    facts = [repr(host_cpu()), llvmlite.__version__, repr(llvm.llvm_version_info), str(blas.bits if blas else 0)]
    return "\n".join([*facts, *_sources()]).encode("utf-8", "surrogatepass")


def _sources() -> Iterator[str]:
    """Every module of sparsec that has a say in what is compiled, by size and time: a change starts anew."""
    home = Path(__file__).parent.parent
    for part in ("ir", "passes", "codegen", "runtime", "compiler.py"):
        for path in sorted((home / part).rglob("*.py")) if (home / part).is_dir() else [home / part]:
            status = os.stat(path)
            yield f"{path.relative_to(home).as_posix()} {status.st_size} {status.st_mtime_ns}"
